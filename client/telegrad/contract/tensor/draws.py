"""Random choices by given weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Spec, check_bytes, op
from telegrad.contract.shapes import broadcast, integer
from telegrad.contract.tensor.base import TensorBase

_MOST_CATEGORIES = 2**24
"""As many as a float32 tells apart, PyTorch's limit."""


def _multinomial(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x, count = inputs[0], p["num_samples"]
    if len(x.shape) not in (1, 2):
        raise ShapeError(f"prob_dist must be 1 or 2 dim, got shape {list(x.shape)}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"multinomial only supports floating-point dtypes for input, got: {x.dtype.name}")
    if count <= 0:
        raise ShapeError(f"cannot sample n_sample <= 0 samples, got num_samples={count}")
    if x.shape[-1] == 0:
        raise ShapeError("number of categories cannot be 0: there is nothing to choose from")
    if x.shape[-1] > _MOST_CATEGORIES:
        raise ShapeError(f"number of categories cannot exceed 2^24, got {x.shape[-1]}")
    if not p["replacement"] and count > x.shape[-1]:
        raise ShapeError(f"cannot sample n_sample > prob_dist.size(-1) samples without replacement: {count} of {x.shape[-1]}")
    shape = (*x.shape[:-1], count)
    check_bytes(shape, dtypes.int64)
    made = Spec(shape, dtypes.int64)
    return Outcome((made,), 30 * x.size + 30 * made.size, None, 24 * x.size + 16 * made.size)


def _normal_of(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    mean, std = inputs
    like = mean if isinstance(mean, Spec) else std
    if not like.dtype.is_differentiable:
        raise UnsupportedDTypeError(f'"normal" not implemented for {like.dtype.name}; convert it first, with .to(telegrad.float32)')
    if not isinstance(std, Spec) and isinstance(std, complex):
        raise ArgumentTypeError("normal(): argument 'std' must be float, not complex")
    if isinstance(std, Spec) and std.dtype.is_complex:
        raise DTypeError("normal expects standard deviation to be non-complex")
    if not isinstance(std, Spec) and std < 0:
        raise ShapeError("normal expects std >= 0.0, but a negative one was given")
    shape = broadcast(*[x.shape for x in inputs if isinstance(x, Spec)])
    made = Spec(shape, like.dtype)
    return Outcome((made,), 30 * made.size, None, made.nbytes)


class DrawOps(TensorBase):
    """Random choices."""

    __slots__ = ()

    @op(_normal_of, name="normal.Tensor", random=True, reflected=True, node="NormalBackward3")
    def _normal_of(self, std: Self | Number) -> Self:
        """Drawn from normal distributions, each element with a mean and a standard deviation of its own; either may be a number.

        Shapes: [...], [...] -> broadcast. dtype: that of the means, of the deviations where those are a number. Gradient: 0.
        Raises: NumericalError for a negative deviation, ShapeError for a negative number, DTypeError.
        """
        return self._apply("normal.Tensor", self, std)

    @op(_multinomial, differentiable=(), reason="its result are positions, drawn at random", random=True)
    def multinomial(self, num_samples: int, replacement: bool = False) -> Self:
        """Positions drawn from each row with probability in proportion to its weights, which need not add up to 1.

        Shapes: [n] -> [num_samples], [m, n] -> [m, num_samples], of int64. Without ``replacement`` no position comes
        twice in a row.
        Raises: ShapeError for more positions than there are, for none and for other than one or two dimensions; NumericalError for
        weights that are negative or not finite, and for a row without a positive one.
        """
        if not isinstance(replacement, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"multinomial(): argument 'replacement' must be bool, not {type(replacement).__name__}")
        return self._apply("multinomial", self, num_samples=integer(num_samples, "num_samples"), replacement=replacement)
