"""The endpoints, a module a subject; each has its rows in ``ENDPOINTS``."""

from __future__ import annotations

from typing import Final

from telegrad_service.api.endpoint import Endpoint
from telegrad_service.api.routes import catalogue, commands, graphs, health, programs, sessions, tensors

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *sessions.ENDPOINTS,
    *tensors.ENDPOINTS,
    *commands.ENDPOINTS,
    *programs.ENDPOINTS,
    *graphs.ENDPOINTS,
    *catalogue.ENDPOINTS,
    *health.ENDPOINTS,
)
"""Every endpoint there is."""
