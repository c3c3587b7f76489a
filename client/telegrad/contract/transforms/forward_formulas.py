"""Tangents of ops that are written down, where that takes less than the general ways of ``forward_ways``.

Sources: Griewank & Walther, "Evaluating Derivatives", 2nd ed. (2008), chapter 3; Giles, "Collected matrix derivative results"
(2008); Murray, "Differentiation of the Cholesky decomposition" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.transforms.forward_ways import Call, Rule, flat, slope, sum_of, zero_of
from telegrad.contract.transforms.wrapper import do

# Elementwise -----------------------------------------------------------------------------------------------------------------

LN_2: Final = math.log(2)
LN_10: Final = math.log(10)
TWO_OVER_ROOT_PI: Final = 2 / math.sqrt(math.pi)

OF_INPUT: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "log": lambda t, x: t / x,
    "log2": lambda t, x: t / (x * LN_2),
    "log10": lambda t, x: t / (x * LN_10),
    "log1p": lambda t, x: t / (x + 1),
    "sin": lambda t, x: t * x.cos(),
    "cos": lambda t, x: -t * x.sin(),
    "sinh": lambda t, x: t * x.cosh(),
    "cosh": lambda t, x: t * x.sinh(),
    "atan": lambda t, x: t / (x * x + 1),
    "square": lambda t, x: t * (2 * x),
    "frac": lambda t, _: t,
    "erf": lambda t, x: t * ((x * x).neg().exp() * TWO_OVER_ROOT_PI),
    "erfc": lambda t, x: t * ((x * x).neg().exp() * -TWO_OVER_ROOT_PI),
    "logsigmoid": lambda t, x: t * (-x).sigmoid(),
}
"""Tangents that need the input, of ops of one tensor that are holomorphic or real."""

OF_RESULT: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "exp": lambda t, y: t * y,
    "exp2": lambda t, y: t * (y * LN_2),
    "expm1": lambda t, y: t * (y + 1),
    "sqrt": lambda t, y: t / (2 * y),
    "rsqrt": lambda t, y: -0.5 * t * (y * y * y),
    "reciprocal": lambda t, y: -t * (y * y),
    "tan": lambda t, y: t * (1 + y * y),
    "tanh": lambda t, y: t * (1 - y * y),
    "sigmoid": lambda t, y: t * (y * (1 - y)),
    "relu": lambda t, y: t.masked_fill(y <= 0, 0),
}
"""Tangents that need the result."""


def _of_input(function: Callable[[Any, Any], Any]) -> Rule:
    return lambda call: function(call.tangents[0], call.inputs[0])


def _of_result(function: Callable[[Any, Any], Any]) -> Rule:
    return lambda call: function(call.tangents[0], call.result)


def _added(sign: int) -> Rule:
    def rule(call: Call) -> Any:
        t, u = call.tangents
        alpha = call.parameters["alpha"] * sign
        if u is not None and alpha != 1:
            u = u * alpha
        return t if u is None else u if t is None else t + u

    return rule


def _multiplied(call: Call) -> Any:
    (x, y), (t, u) = call.inputs, call.tangents
    return sum_of([*([] if t is None else [t * y]), *([] if u is None else [x * u])])


def _divided(call: Call) -> Any:
    (x, y), (t, u) = call.inputs, call.tangents
    if call.parameters["rounding_mode"] is not None:
        return flat(call)
    if u is None:
        return t / y
    along = (0 if t is None else t) - u * (x / y)
    return along / y


def _raised(call: Call) -> Any:
    (x, exponent), (t, u) = call.inputs, call.tangents
    if u is not None or isinstance(exponent, TensorBase):
        return slope(call)
    if exponent == 0:
        return do("zeros_like", call.result)
    return t * (2 * x) if exponent == 2 else t * (exponent * x ** (exponent - 1))


def _both(call: Call) -> tuple[Any, Any]:
    """The tangents of two inputs, zeros where there are none."""
    (x, y), (t, u) = call.inputs, call.tangents
    return zero_of(x) if t is None else t, zero_of(y) if u is None else u


def _turned(call: Call) -> Any:
    """Of ``atan2``."""
    (y, x), (t, u) = call.inputs, _both(call)
    return (x * t - y * u) / (x * x + y * y)


def _greater(sign: int) -> Rule:
    """Of the greater of two (sign 1), or the less: half of each where they are equal, as in PyTorch."""

    def rule(call: Call) -> Any:
        (x, y), (t, u) = call.inputs, _both(call)
        first = x > y if sign > 0 else x < y
        return u + (first.to(u.dtype) + (x == y).to(u.dtype) * 0.5) * (t - u)

    return rule


def _chosen(first: Callable[[Any, Any], Any]) -> Rule:
    """Of ``fmax`` and ``fmin``: the tangent of the input that was chosen."""

    def rule(call: Call) -> Any:
        (x, y), (t, u) = call.inputs, _both(call)
        return do("where", first(x, y) | y.isnan(), t, u)

    return rule


def _silu(call: Call) -> Any:
    x, s = call.inputs[0], call.inputs[0].sigmoid()
    return call.tangents[0] * (s * (1 + x * (1 - s)))


def _gelu(call: Call) -> Any:
    """Of ``x Phi(x)``, or of its approximation by ``tanh`` (Hendrycks & Gimpel, 2016)."""
    x, t = call.inputs[0], call.tangents[0]
    if call.parameters["approximate"] == "none":
        share = 0.5 * (1 + (x * math.sqrt(0.5)).erf())
        return t * (share + x * ((x * x * -0.5).exp() / math.sqrt(2 * math.pi)))
    scale = math.sqrt(2 / math.pi)
    bent = (scale * (x + 0.044715 * (x * x * x))).tanh()
    return t * (0.5 * (1 + bent) + 0.5 * x * ((1 - bent * bent) * (scale * (1 + 3 * 0.044715 * (x * x)))))


def _softplus(call: Call) -> Any:
    x, t = call.inputs[0], call.tangents[0]
    scaled = x * call.parameters["beta"]
    return do("where", scaled > call.parameters["threshold"], t, t * scaled.sigmoid())


def _leaky_relu(call: Call) -> Any:
    x, t = call.inputs[0], call.tangents[0]
    return do("where", x > 0, t, t * call.parameters["negative_slope"])


def _elu(call: Call) -> Any:
    x, t = call.inputs[0], call.tangents[0]
    return do("where", x <= 0, t * (do("where", x < 0, x, 0.0).exp() * call.parameters["alpha"]), t)


def _length(call: Call) -> Any:
    """``Re(conj(sgn x) t)``."""
    t, sign = call.tangents[0], call.inputs[0].sgn()
    return (sign.conj() * t).real if t.dtype.is_complex else t * sign


# Reductions ------------------------------------------------------------------------------------------------------------------


def _dims(call: Call) -> tuple[int, ...]:
    """The dimensions that are reduced; all for None and ()."""
    dim: Any = call.parameters.get("dim")
    rank = len(call.inputs[0].shape)
    if not rank:
        return ()
    if dim is None or dim == ():
        return tuple(range(rank))
    return tuple([d % rank for d in ((dim,) if isinstance(dim, int) else dim)])


def _kept(call: Call, result: Any) -> Any:
    """A result with size 1 in the place of what was reduced."""
    if call.parameters.get("keepdim") or not call.inputs[0].shape:
        return result
    gone = set(_dims(call))
    return result.reshape(tuple([1 if i in gone else n for i, n in enumerate(call.inputs[0].shape)]))


def _total(call: Call, x: Any) -> Any:
    """The sum over what the call reduces."""
    dims = _dims(call)
    return x.sum(dim=dims, keepdim=bool(call.parameters.get("keepdim"))) if dims else x


def _sum_without_nan(call: Call) -> Any:
    x, t = call.inputs[0], call.tangents[0]
    return call.repeat((t.masked_fill(x.isnan(), 0),))


def _log_of_sum(call: Call) -> Any:
    x = call.inputs[0]
    share = (x - _kept(call, call.result)).exp()
    return _total(call, call.tangents[0] * share)


def _shared(call: Call, t: Any, result: Any) -> Any:
    """The mean of the tangents of all elements that tie for an extreme."""
    x, kept = call.inputs[0], _kept(call, result)
    ties = x == kept
    return _total(call, t * ties) / _total(call, ties.to(t.dtype))


def _extreme(call: Call) -> Any:
    return tuple([_shared(call, call.tangents[0], y) for y in call.results])


def _along_real(x: Any, t: Any) -> Any:
    """``Re(conj(x) t)``, elementwise."""
    return (x.conj() * t).real if t.dtype.is_complex or x.dtype.is_complex else x * t


def _variance(call: Call) -> Any:
    """``2 / freedom * sum(Re(conj(x - mean) t))``; infinite slopes where no degree of freedom is left, as in PyTorch."""
    x, t, dims = call.inputs[0], call.tangents[0], _dims(call)
    correction = call.parameters["correction"]
    if correction is None:
        unbiased = call.parameters["unbiased"]
        correction = 1 if unbiased is None else int(unbiased)
    freedom = math.prod([x.shape[d] for d in dims]) - correction
    distance = x - (x.mean(dim=dims, keepdim=True) if dims else x)
    if freedom > 0:
        return _total(call, _along_real(distance, t)) * (2 / freedom)
    return _total(call, _along_real(distance * math.inf, t))


def _deviation(call: Call) -> Any:
    y = call.result
    return (_variance(call) / (2 * y)).masked_fill(y == 0, 0)


def _norm(call: Call) -> Any:
    x, t, y = call.inputs[0], call.tangents[0], call.result
    if call.parameters["dtype"] is not None:
        x, t = x.to(call.parameters["dtype"]), t.to(call.parameters["dtype"])
    p: Any = call.parameters["p"]
    order = 2.0 if p is None or isinstance(p, str) else float(p)
    if order == 0:
        return do("zeros_like", y)
    if order == 2:
        return (_total(call, _along_real(x, t)) / y).masked_fill(y == 0, 0)
    along = _along_real(x.sgn(), t)
    if order == 1:
        return _total(call, along)
    size = x.abs()
    if math.isinf(order):
        ties = size == _kept(call, y)
        return _total(call, along * ties) / _total(call, ties.to(along.dtype))
    grown = size ** (order - 1)
    if order < 1:
        grown = grown.masked_fill(x == 0, 0)
    return (_total(call, along * grown) * y ** (1 - order)).masked_fill(y == 0, 0)


def _at_indices(call: Call) -> Any:
    """The tangents of the elements that were picked."""
    t, indices = call.tangents[0], call.results[1]
    if not t.shape:
        return t, None
    dim = call.parameters["dim"]
    reduces = "keepdim" in call.parameters
    if reduces:
        indices = _kept(call, indices)
    picked = t.gather(dim, indices)
    return picked.reshape(tuple(call.result.shape)) if reduces else picked, None


# Layers ----------------------------------------------------------------------------------------------------------------------


def _along(x: Any, dim: int) -> Any:
    """The sum along a dimension, kept; a 0-d tensor is its own."""
    return x.sum(dim=dim, keepdim=True) if x.shape else x


def _softmax(call: Call) -> Any:
    y = call.result
    weighted = y * call.tangents[0]
    return weighted - y * _along(weighted, call.parameters["dim"])


def _log_softmax(call: Call) -> Any:
    t = call.tangents[0]
    if t.dtype is not call.result.dtype:
        t = t.to(call.result.dtype)
    return t - _along(call.result.exp() * t, call.parameters["dim"])


def _dropout(call: Call) -> Any:
    """The same elements are left out, the others scaled in the same way."""
    t, p = call.tangents[0], call.parameters["p"]
    if not call.parameters["training"]:
        return t, None
    return t * call.results[1] * (0.0 if p >= 1 else 1 / (1 - p)), None


def _pooled_maximum(call: Call) -> Any:
    """The tangents of the elements that were picked; their positions count over all pooled dimensions."""
    t, indices = call.tangents[0], call.results[1]
    lead = len(indices.shape) - int(call.name[-2])
    flat_indices = indices.reshape((*indices.shape[:lead], -1)) if 0 not in indices.shape else indices.flatten(lead)
    return t.flatten(lead).gather(-1, flat_indices).reshape(tuple(indices.shape)), None


def _pad(call: Call) -> Any:
    return do("pad", call.tangents[0], **{**call.parameters, "value": None})


# Matrices --------------------------------------------------------------------------------------------------------------------


def _inverse(call: Call) -> Any:
    y = call.result
    return -(y @ call.tangents[0] @ y)


def _cholesky(call: Call) -> Any:
    """``L phi(L^-1 t L^-H)``, phi being the lower triangle with half of the diagonal; of the upper factor, its adjoint."""
    upper = call.parameters["upper"]
    lower = call.results[0].mH if upper else call.results[0]
    inverse = do("inv", lower)
    core = inverse @ call.tangents[0] @ inverse.mH
    made = lower @ ((core.tril() + core.tril(-1)) * 0.5)
    return made.mH if upper else made


def _cholesky_ex(call: Call) -> Any:
    return _cholesky(call), None


EXPLICIT: Final[dict[str, Rule]] = {
    **{name: _of_input(function) for name, function in OF_INPUT.items()},
    **{name: _of_result(function) for name, function in OF_RESULT.items()},
    **dict.fromkeys(("max", "min", "amax", "amin", "aminmax"), _extreme),
    **dict.fromkeys(("max.dim", "min.dim", "cummax", "cummin", "sort", "topk"), _at_indices),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _pooled_maximum),
    "add": _added(1),
    "sub": _added(-1),
    "mul": _multiplied,
    "div": _divided,
    "pow": _raised,
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "abs": _length,
    "atan2": _turned,
    "maximum": _greater(1),
    "minimum": _greater(-1),
    "fmax": _chosen(lambda x, y: x > y),
    "fmin": _chosen(lambda x, y: x <= y),
    "var": _variance,
    "std": _deviation,
    "norm": _norm,
    "cholesky": _cholesky,
    "cholesky_ex": _cholesky_ex,
    "nansum": _sum_without_nan,
    "logsumexp": _log_of_sum,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "dropout": _dropout,
    "pad": _pad,
    "inv": _inverse,
}
"""The rules of this module."""

NEED_RESULT: Final = frozenset({*OF_RESULT, "logsumexp", "softmax", "log_softmax", "inv", "cholesky", "cholesky_ex", "std", "norm"})
"""Ops whose rule uses the results' values in a way that gradients flow through."""
