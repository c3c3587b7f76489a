"""Who asks, and what he may."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from telegrad.contract.errors import ArgumentValueError

SCOPES: Final = ("read", "write", "admin")
"""``read``: look at sessions; ``write``: change them, and open and close them; ``admin``: what concerns the whole server."""

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was recognised.

    Attributes:
        tenant: whose sessions are seen; others' do not exist for him. Empty where the server asks for no keys.
        scopes: some of ``SCOPES``.
        key_id: of the key that he showed, for logs; never the key. Empty for tokens and where no keys are asked for.
    """

    tenant: str
    scopes: frozenset[str]
    key_id: str = ""


ANYBODY: Final = Principal("", frozenset(SCOPES))
"""Who asks where the server asks for no keys."""


def check_tenant(text: str) -> str:
    """A tenant's name. Raises ArgumentValueError."""
    if not _TENANT.fullmatch(text):
        raise ArgumentValueError("a tenant's name has 1 to 64 letters, digits and . _ -, and begins with a letter or digit")
    return text


def check_scopes(words: Iterable[str]) -> frozenset[str]:
    """Scopes by name. Raises ArgumentValueError for none, and for words that are none."""
    found = frozenset(words)
    if not found or not found <= set(SCOPES):
        raise ArgumentValueError(f"scopes are some of {', '.join(SCOPES)}")
    return found
