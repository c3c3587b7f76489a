"""Free functions of the index family."""

from __future__ import annotations

__all__: list[str] = []
