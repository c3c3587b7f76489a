"""How numbers print: PyTorch's defaults, and ``telegrad.set_printoptions``, for the whole process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError


@dataclass(frozen=True)
class PrintOptions:
    """What a printed tensor looks like."""

    precision: int = 4
    """Digits after the point."""

    threshold: float = 1000
    """Tensors with more elements are summarised."""

    edgeitems: int = 3
    """Elements kept at each end of a dimension that is summarised."""

    linewidth: int = 80
    """Columns after which a row of elements wraps and a suffix goes to a line of its own."""

    sci_mode: bool | None = None
    """Whether floats are written with exponents; None: where they differ much in size."""


_PROFILES: Final = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=float("inf")),
}

_options = _PROFILES["default"]


def print_options() -> PrintOptions:
    """The options that hold now."""
    return _options


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print in this process; what is not given stays, but for ``sci_mode``.

    Args:
        precision: digits after the point, 4 at first.
        threshold: elements from which on the middle is left out, 1000 at first.
        edgeitems: elements that are kept at each end then, 3 at first.
        linewidth: columns of a line, 80 at first.
        profile: ``"default"``, ``"short"`` or ``"full"``, which the others then change.
        sci_mode: whether floats have exponents; unless given, where they differ much in size.

    Raises ArgumentTypeError and ArgumentValueError, and changes nothing then.
    """
    global _options  # noqa: PLW0603 - as in PyTorch, one setting for the process
    chosen = _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ArgumentValueError("set_printoptions(): profile must be 'default', 'short' or 'full'")
        chosen = _PROFILES[profile]
    given: dict[str, Any] = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    numbers = {name: value for name, value in given.items() if value is not None}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float) if name == "threshold" else int):
            raise ArgumentTypeError(f"set_printoptions(): {name} must be int, not {type(value).__name__}")
        if not value >= (name in ("edgeitems", "linewidth")):
            raise ArgumentValueError(f"set_printoptions(): {name} is too small")
    if sci_mode is not None and type(sci_mode) is not bool:
        raise ArgumentTypeError(f"set_printoptions(): sci_mode must be bool or None, not {type(sci_mode).__name__}")
    _options = dataclasses.replace(chosen, **numbers, sci_mode=sci_mode)
