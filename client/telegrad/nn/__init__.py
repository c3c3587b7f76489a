"""Neural-network functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telegrad.nn import functional as functional

if not TYPE_CHECKING:  # checkers know what there is

    def __getattr__(name: str) -> Any:
        raise AttributeError(
            f"module 'telegrad.nn' has no attribute '{name}': layers are functions, in telegrad.nn.functional, and their "
            "parameters tensors that you make yourself",
            name=name,
        )
