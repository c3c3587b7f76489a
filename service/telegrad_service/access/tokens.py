"""JSON Web Tokens (RFC 7519) of an issuer that the server was told to trust, checked by PyJWT."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any, Final

from telegrad.contract.errors import ArgumentValueError, ConfigurationError
from telegrad_service.access.principal import Principal, check_scopes, check_tenant

LEEWAY_SECONDS: Final = 30
"""How far two clocks may differ."""

MIN_SECRET_BYTES: Final = 32
"""Of a shared secret: as long as the hash of HS256 (RFC 7518, section 3.2)."""


class TokenReader:
    """Recognises the holders of tokens. They carry ``exp``, ``tenant`` and ``scope`` (words joined by spaces)."""

    def __init__(self, key_file: Path, algorithm: str, *, issuer: str, audience: str) -> None:
        """Read the secret or the issuer's public key (PEM). Raises ConfigurationError.

        Exactly one algorithm is accepted, whatever a token names: none is checked by a method that its issuer never used.
        """
        if importlib.util.find_spec("jwt") is None:
            raise ConfigurationError("tokens need PyJWT: pip install 'telegrad[jwt]'")
        self._jwt: Any = importlib.import_module("jwt")
        try:
            self._key = key_file.read_bytes().strip()
        except OSError as error:
            raise ConfigurationError(f"the key of tokens at {key_file} cannot be read: {error.strerror}") from error
        if algorithm == "HS256" and len(self._key) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"the secret at {key_file} has {len(self._key)} bytes; HS256 needs {MIN_SECRET_BYTES}")
        if algorithm != "HS256" and b"-----BEGIN" not in self._key:
            raise ConfigurationError(f"the key of tokens at {key_file} is no public key in PEM form, which {algorithm} needs")
        self._algorithm = algorithm
        self._try(key_file)
        self._issuer = issuer
        self._audience = audience

    def _try(self, key_file: Path) -> None:
        """Check a token of nobody's, wrongly signed. Raises ConfigurationError where the key is none for the algorithm."""
        parts = (json.dumps({"alg": self._algorithm}).encode(), b"{}", bytes(64))
        probe = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        try:
            self._jwt.decode(probe, self._key, algorithms=[self._algorithm])
        except self._jwt.InvalidSignatureError:
            return
        except Exception as error:  # whatever the libraries below say of a key that is none
            kind = "secret" if self._algorithm == "HS256" else "public key"
            raise ConfigurationError(f"the key of tokens at {key_file} is no {kind} for {self._algorithm}") from error

    def find(self, text: str) -> Principal | None:
        """Who holds that token; None where it is not valid now, or says nothing of tenant and scope."""
        try:
            claims: dict[str, Any] = self._jwt.decode(
                text,
                self._key,
                algorithms=[self._algorithm],
                issuer=self._issuer or None,
                audience=self._audience or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "tenant", "scope"]},
            )
        except self._jwt.PyJWTError:
            return None
        tenant, scope = claims["tenant"], claims["scope"]
        if not (isinstance(tenant, str) and isinstance(scope, str)):
            return None
        try:
            return Principal(check_tenant(tenant), check_scopes(scope.split()))
        except ArgumentValueError:
            return None
