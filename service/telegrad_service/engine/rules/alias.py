"""The kernel of ``x.data``: the same memory."""

from __future__ import annotations

from telegrad_service.engine.table import Array, kernel


@kernel("data")
def _data(self: Array) -> Array:
    return self[...]
