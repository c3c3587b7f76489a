"""Data sets: tensors whose name is the hash of what they hold, so that nobody sends twice what a session has."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Final

import numpy as np

from telegrad.contract import codec, dtypes

PREFIX: Final = "sha256:"
_NAME: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")


def content_name(array: np.ndarray[Any, Any]) -> str:
    """The name of the data set with these elements: ``sha256:`` and, in base64url without padding, the SHA-256 of a line such as
    ``float32 60000,784`` (element type, sizes, a line feed) and of the raw little-endian elements in C order.
    """
    digest = hashlib.sha256(f"{dtypes.from_numpy(array.dtype).name} {','.join(map(str, array.shape))}\n".encode("ascii"))
    digest.update(codec.array_bytes(array))
    return PREFIX + base64.urlsafe_b64encode(digest.digest()).decode("ascii").rstrip("=")


def is_content_name(name: str) -> bool:
    """Whether only a data set can have that name."""
    return name.startswith(PREFIX) and _NAME.fullmatch(name) is not None
