"""The error tree; see ``telegrad.contract.errors``."""

from __future__ import annotations

from telegrad.contract.errors import *
