"""``Authorization: Bearer …`` (RFC 6750): who asks, and whether he may."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers

from telegrad.contract.errors import ForbiddenError, UnauthenticatedError
from telegrad.contract.limits import Quotas
from telegrad_service.access.keys import KeyStore
from telegrad_service.access.principal import ANYBODY, Principal
from telegrad_service.access.tokens import TokenReader
from telegrad_service.api.endpoint import Endpoint
from telegrad_service.settings import Settings

CHALLENGE: Final = 'Bearer realm="telegrad"'
_MAX_CREDENTIAL: Final = 8192
_HOW: Final = "send `Authorization: Bearer KEY` with a key that `telegrad keys create` made"


class Access:
    """What the settings say of keys and tokens."""

    def __init__(self, settings: Settings) -> None:
        """Open the key file and read the tokens' key, where they are set. Raises ConfigurationError."""
        opened = {"docs": settings.public_docs, "metrics": settings.public_metrics}
        self._public = {"all", *(audience for audience, public in opened.items() if public)}
        self._keys = KeyStore(Path(settings.keys_file)) if settings.keys_file else None
        if self._keys is not None:
            self._keys.check()
        self._tokens = (
            TokenReader(
                Path(settings.jwt_key_file),
                settings.jwt_algorithm,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
            )
            if settings.jwt_key_file
            else None
        )

        self._quotas = settings.quotas
        self.is_open = self._keys is None and self._tokens is None
        """Whether anybody may do anything."""

    def quotas_of(self, tenant: str) -> Quotas:
        """What a tenant may have: as the key file says, as the settings say otherwise."""
        own = self._keys.quotas(tenant) if self._keys is not None else None
        return dataclasses.replace(self._quotas, **own) if own else self._quotas

    def principal(self, headers: Headers, endpoint: Endpoint) -> Principal:
        """Who asks. Raises UnauthenticatedError where nobody known does, ForbiddenError where he may not."""
        if self.is_open or endpoint.audience in self._public:
            return ANYBODY
        given = headers.getlist("authorization")
        if not given:
            raise UnauthenticatedError(f"this server asks for a key: {_HOW}")
        scheme, _, credential = given[0].partition(" ")
        credential = credential.strip()
        if len(given) > 1 or scheme.lower() != "bearer" or not 0 < len(credential) <= _MAX_CREDENTIAL:
            raise UnauthenticatedError(f"the Authorization header is not in the form that is read here: {_HOW}")
        found = self._keys.find(credential) if self._keys is not None else None
        if found is None and self._tokens is not None:
            found = self._tokens.find(credential)
        if found is None:
            raise UnauthenticatedError("the key or token is not valid: unknown, expired, revoked, or signed by somebody else")
        if endpoint.scope not in found.scopes:
            raise ForbiddenError(f"the key lacks the scope '{endpoint.scope}'; it has: {', '.join(sorted(found.scopes))}")
        return found

    @property
    def trouble(self) -> str | None:
        """Why nobody can be recognised for the moment; None where all is well."""
        return None if self._keys is None else self._keys.current_trouble()

    def close(self) -> None:
        """Close the key file."""
        if self._keys is not None:
            self._keys.close()
