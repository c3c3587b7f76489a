"""What functions of matrices ask of their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from telegrad.contract.dtypes import float16
from telegrad.contract.errors import DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Spec

_WITHOUT_KERNEL: Final = frozenset(
    f"linalg.{name}" for name in ("eigh", "eigvalsh", "lu", "lu_factor", "lu_factor_ex", "solve_triangular")
)
"""What PyTorch refuses for whole numbers as not implemented, and not as a wrong type."""


def require_implemented(name: str, x: Any) -> None:
    """Refuse whole numbers where PyTorch has no kernel for them, which it calls another error than a wrong type."""
    if x.dtype.category < 2:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert it first, with .to(telegrad.float32)')


def check_floating(name: str, x: Spec) -> None:
    """Refuse numbers that are neither floating nor complex, and half precision, which LAPACK has no routines for."""
    if x.dtype.category < 2:
        missing = UnsupportedDTypeError if name in _WITHOUT_KERNEL else DTypeError
        raise missing(f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    if x.dtype is float16:
        raise UnsupportedDTypeError(
            f"{name}: Low precision dtypes not supported. Got float16; convert it first, for example with .float()"
        )


def check_square(name: str, x: Spec) -> None:
    """Refuse what is no batch of square matrices of floating or complex numbers."""
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: The input tensor A must have at least 2 dimensions, but it has shape {list(x.shape)}")
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices")
    check_floating(name, x)


def has_vectors(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether the right side of a system, of shape ``b``, holds vectors rather than matrices; ``a`` is the matrices' shape."""
    return len(b) == 1 or (len(a) - 1 == len(b) and tuple(b) == tuple(a[:-1]))
