"""Neural-network functions."""

from __future__ import annotations

from telegrad.nn import functional as functional
