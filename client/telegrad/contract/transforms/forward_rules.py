"""How tangents go through ops: one table that says of every op how its Jacobian-vector product (jvp) is made.

    constant      no input is differentiable: the results have no tangents
    flat          the derivative is zero wherever there is one: the tangent is zeros
    linear        the op is linear in all its differentiable inputs together: the op of their tangents
    multilinear   linear in each alone: the sum, over the inputs, of the op with one of them replaced by its tangent
    slope         elementwise: the sum of each tangent times the op's slope there, which backward gives
    explicit      written down in ``forward_formulas``, where that takes less than the general ways
    double        the general way, always right: the vjp is linear in its vector u, and the gradient of <vjp(u), t> by u is
                  the jvp along t

The ways themselves are in ``forward_ways``.

Source of the last: Townsend, "A new trick for calculating Jacobian vector products" (2017).
"""

from __future__ import annotations

from typing import Any, Final

from telegrad.contract.dtypes import promote_pair
from telegrad.contract.errors import DerivativeMissingError
from telegrad.contract.ops import OPS
from telegrad.contract.transforms.forward_formulas import EXPLICIT
from telegrad.contract.transforms.forward_ways import Call, Rule, aligned, double, flat, linear, many, multilinear, slope

SLOPE: Final = (
    *("asin", "acos", "asinh", "acosh", "atanh", "sinc", "logit", "nan_to_num", "addcmul", "addcdiv", "lerp"),
    *("remainder", "fmod", "copysign", "nextafter", "clamp", "clamp_min", "clamp_max", "logaddexp", "logaddexp2"),
    *("hypot", "xlogy", "hardtanh"),
)
"""Elementwise ops, holomorphic where they take complex numbers, whose slope is left to backward."""


LINEAR_FAMILIES: Final = frozenset({"fft", "shape"})
"""Families whose differentiable ops are linear, all but those in ``RULES``."""

LINEAR: Final = (
    *("to", "clone", "conj", "real", "imag", "fill", "copy", "neg", "deg2rad", "rad2deg", "where", "sum", "mean", "cumsum"),
    *("getitem.int", "getitem", "index", "_getitem_gradient", "_index_gradient", "index_put", "gather", "scatter"),
    *("scatter_add", "index_select", "index_add", "index_fill", "index_copy", "take_along_dim", "take", "masked_fill"),
    *("masked_select", "masked_scatter", "embedding", "_embedding_gradient", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("_avg_pool_gradient", "_pad_gradient", "trace", "_pick_class", "_spread_class"),
)

MULTILINEAR: Final = (
    *("matmul", "mm", "bmm", "mv", "dot", "inner", "outer", "addmm", "addmv", "baddbmm", "einsum", "_contract", "linear"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "_convolution_input"),
    "_convolution_weight",
)

FLAT: Final = ("sign", "floor", "ceil", "round", "trunc", "bernoulli")

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(LINEAR, linear),
    **dict.fromkeys(MULTILINEAR, multilinear),
    **dict.fromkeys(FLAT, flat),
    **dict.fromkeys(SLOPE, slope),
    **EXPLICIT,
    "ctc_loss": aligned,
}
"""The table. Ops that it lacks are linear by their family, or go the general way; ``rule_of`` adds them when first asked."""

_KINDS: Final[dict[Rule, str]] = {linear: "linear", flat: "flat", multilinear: "multilinear", slope: "slope", double: "double"}


def tangents_of(call: Call) -> tuple[Any, ...]:
    """The tangent of every result by the op's rule, in the result's shape; None where it has none."""
    try:
        made = rule_of(call.name)(call)
    except DerivativeMissingError as error:  # found on the general way, which asks for the gradient
        raise DerivativeMissingError(
            f"Trying to use forward AD with {call.name} that does not support it because it has not been implemented yet: {error}"
        ) from None
    found = many(made)
    return tuple([None if t is None else _fitted(t, y) for t, y in zip(found, call.results, strict=False)])


def _fitted(tangent: Any, result: Any) -> Any:
    """A tangent that broadcasting or promotion has yet to reach."""
    if tangent.dtype is not result.dtype and promote_pair(tangent.dtype, result.dtype) is result.dtype:
        tangent = tangent.to(result.dtype)
    return tangent if tangent.shape == result.shape else tangent.expand(result.shape)


def rule_of(name: str) -> Rule:
    """The rule of an op that is differentiable in some input."""
    found = RULES.get(name)
    if found is None:
        found = RULES[name] = linear if OPS[name].family in LINEAR_FAMILIES else double
    return found


def kind_of(name: str) -> str:
    """The kind of an op's rule, as in this module's docstring."""
    if not OPS[name].differentiable:
        return "constant"
    found = rule_of(name)
    return _KINDS.get(found, "explicit")
