"""How tangents go through ops: one table that says of every op how its Jacobian-vector product (jvp) is made.

    constant      no input is differentiable: the results have no tangents
    flat          the derivative is zero wherever there is one: the tangent is zeros
    linear        the op is linear in all its differentiable inputs together: the op of their tangents
    multilinear   linear in each alone: the sum, over the inputs, of the op with one of them replaced by its tangent
    slope         elementwise: the sum of each tangent times the op's slope there, which backward gives
    explicit      written down here in ops, where that takes less than the general ways
    double        the general way, always right: the vjp is linear in its vector u, and the gradient of <vjp(u), t> by u is
                  the jvp along t

Tangents and primals may be tensors of this process, of a server, or wrappers: rules are made of ops and of ``session.grad``.

Sources: Griewank & Walther, "Evaluating Derivatives", 2nd ed. (2008), chapter 3, for forward mode; Townsend, "A new trick for
calculating Jacobian vector products" (2017), for the double vjp; Giles, "Collected matrix derivative results" (2008), for
matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

from telegrad.contract.dtypes import promote_pair
from telegrad.contract.modes import enable_grad, is_grad_enabled
from telegrad.contract.ops import OPS, Op
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.batched import do


class Call:
    """One op at a point with tangents, as a rule sees it.

    Attributes:
        name: the op.
        row: its row in the table.
        inputs: the primals: tensors, numbers and None.
        tangents: per input, its tangent or None; at least one is a tensor.
        parameters: complete.
        results: the primal results.
    """

    __slots__ = ("inputs", "name", "parameters", "results", "row", "tangents")

    def __init__(
        self, row: Op, inputs: tuple[Any, ...], tangents: tuple[Any, ...], parameters: dict[str, Any], results: tuple[Any, ...]
    ) -> None:
        self.name = row.name
        self.row = row
        self.inputs = inputs
        self.tangents = tangents
        self.parameters = parameters
        self.results = results

    @property
    def result(self) -> Any:
        """The first result."""
        return self.results[0]

    def differentiable(self, position: int) -> bool:
        """Whether gradients flow to this input."""
        slots = self.row.inputs
        return slots[min(position, len(slots) - 1)].name in self.row.differentiable

    @property
    def recorded(self) -> bool:
        """Whether the tangent has a history of its own: where anything that it is made of requires grad."""
        return is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in (*self.inputs, *self.tangents))

    def repeat(self, inputs: tuple[Any, ...]) -> Any:
        """The same op on other inputs."""
        return do(self.name, *inputs, **self.parameters)


Rule: TypeAlias = "Callable[[Call], Any]"
"""Gives the tangent of the result, or a tuple with one for each result; None for a result without."""


def many(made: Any) -> tuple[Any, ...]:
    """What an op or a rule gave, as a tuple."""
    return tuple(cast("Any", made)) if isinstance(made, (tuple, list)) else (made,)


def tangents_of(call: Call) -> tuple[Any, ...]:
    """The tangent of every result by the op's rule, in the result's shape; None where it has none."""
    made = rule_of(call.name)(call)
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


# The general ways ------------------------------------------------------------------------------------------------------------


def _zero_of(x: Any) -> Any:
    """What stands for the tangent of an input that has none."""
    if isinstance(x, TensorBase):
        return do("zeros_like", x)
    return None if x is None else type(x)(0)


def linear(call: Call) -> Any:
    """The op of the tangents."""
    inputs: list[Any] = []
    for position, (x, t) in enumerate(zip(call.inputs, call.tangents, strict=True)):
        inputs.append(t if t is not None else _zero_of(x) if call.differentiable(position) else x)
    return call.repeat(tuple(inputs))


def flat(call: Call) -> Any:
    """Zeros."""
    return tuple([do("zeros_like", y) if y.dtype.is_differentiable else None for y in call.results])


def multilinear(call: Call) -> Any:
    """One product for each tangent. An input that is added to the product, not multiplied, counts once, in the first."""
    slots = call.row.inputs
    added = ADDED.get(call.name, ())
    factors: list[int] = []
    start = list(call.inputs)
    for position, x in enumerate(call.inputs):
        slot = slots[min(position, len(slots) - 1)]
        if slot.name in added:
            t = call.tangents[position]
            start[position] = t if t is not None else None if slot.optional else _zero_of(x)
        elif call.tangents[position] is not None:
            factors.append(position)
    total: Any = None
    for position in factors:
        inputs = start.copy()
        inputs[position] = call.tangents[position]
        term = call.repeat(tuple(inputs))
        total = term if total is None else total + term
        for other, x in enumerate(call.inputs):
            slot = slots[min(other, len(slots) - 1)]
            if slot.name in added:
                start[other] = None if slot.optional else _zero_of(x)
    if total is None:  # only what is added has a tangent
        first = next(i for i, s in enumerate(slots) if s.name not in added and call.differentiable(i))
        start[first] = _zero_of(start[first])
        total = call.repeat(tuple(start))
    return total


def _grad(outputs: list[Any], inputs: list[Any], vectors: list[Any] | None, *, create_graph: bool) -> tuple[Any, ...]:
    found: tuple[Any, ...] = outputs[0].session.grad(
        outputs, inputs, vectors, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return found


def _alias(x: Any) -> Any:
    """The same tensor under another name, so that a gradient with respect to it is of what follows only."""
    alias = do("view", x, shape=tuple(x.shape))
    if not alias.requires_grad:
        alias.requires_grad = True
    return alias


def slope(call: Call) -> Any:
    """The sum of tangent times slope. ``grad`` with a vector of ones gives the conjugate slope of each element."""
    result = call.result
    shape, dtype = tuple(result.shape), result.dtype
    recording = call.recorded
    total: Any = None
    for position, t in enumerate(call.tangents):
        if t is None:
            continue
        with enable_grad():
            x = call.inputs[position]
            if x.dtype is not dtype:
                x = x.to(dtype)
            if tuple(x.shape) != shape:
                x = x.expand(shape)
            x = _alias(x)
            y = call.repeat((*call.inputs[:position], x, *call.inputs[position + 1 :]))
            (steepness,) = _grad([y], [x], [do("ones_like", y)], create_graph=recording)
        if dtype.is_complex:
            steepness = steepness.conj()
        term = t * steepness
        total = term if total is None else total + term
    return total


class Transposed:
    """The Jacobian of recorded tensors, as a map of directions: its transpose, twice.

    The product of a vector u with the Jacobian from the left, the gradient of <y, u>, is linear in u. The gradient by u of that
    product's inner product with a direction is the Jacobian times the direction.
    """

    __slots__ = ("_nothing", "_pulled", "_vectors")

    def __init__(self, roots: Sequence[Any], inputs: Sequence[Any]) -> None:
        """Record the product from the left of ``roots``, which require grad, to ``inputs``. To be called while grad is enabled."""
        self._vectors: list[Any] = []
        for y in roots:
            u = do("zeros_like", y)
            u.requires_grad = True
            self._vectors.append(u)
        self._pulled = _grad(list(roots), list(inputs), self._vectors, create_graph=True)
        # A product that is zero has no history of its own: what is added gives it one.
        self._nothing: Any = _sum_of([u.sum() * 0 for u in self._vectors])

    def push(self, tangents: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        """How the roots change along the direction ``tangents``, one for each input."""
        with enable_grad():
            total: Any = self._nothing
            for g, t in zip(self._pulled, tangents, strict=True):
                total = total + (g.conj() * t if g.dtype.is_complex else g * t).sum()
            total = total.real if total.dtype.is_complex else total
            return _grad([total], self._vectors, None, create_graph=create_graph)


def double(call: Call) -> Any:
    """The general way, see ``Transposed``."""
    positions = [i for i, t in enumerate(call.tangents) if t is not None and call.differentiable(i)]
    with enable_grad():
        inputs = list(call.inputs)
        for i in positions:
            inputs[i] = _alias(inputs[i])
        results = many(call.repeat(tuple(inputs)))
        smooth = [i for i, y in enumerate(results) if y.dtype.is_differentiable]
        transposed = Transposed([results[i] for i in smooth], [inputs[i] for i in positions])
    found = transposed.push([call.tangents[i] for i in positions], create_graph=call.recorded)
    tangents: list[Any] = [None] * len(results)
    for i, t in zip(smooth, found, strict=True):
        tangents[i] = t
    return tuple(tangents)


# Elementwise -----------------------------------------------------------------------------------------------------------------

LN_2: Final = math.log(2)
LN_10: Final = math.log(10)

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

SLOPE: Final = (
    *("asin", "acos", "asinh", "acosh", "atanh", "erf", "erfc", "sinc", "logit", "nan_to_num", "addcmul", "addcdiv"),
    *("lerp", "remainder", "fmod", "copysign", "nextafter", "clamp", "clamp_min", "clamp_max", "logaddexp", "logaddexp2"),
    *("hypot", "xlogy", "leaky_relu", "elu", "hardtanh", "gelu", "silu", "softplus", "logsigmoid"),
)
"""Elementwise ops, holomorphic where they take complex numbers, whose slope is left to backward."""


def _of_input(function: Callable[[Any, Any], Any]) -> Rule:
    return lambda call: function(call.tangents[0], call.inputs[0])


def _of_result(function: Callable[[Any, Any], Any]) -> Rule:
    return lambda call: function(call.tangents[0], call.result)


def _sum_of(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


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
    return _sum_of([*([] if t is None else [t * y]), *([] if u is None else [x * u])])


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
    return _zero_of(x) if t is None else t, _zero_of(y) if u is None else u


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

ADDED: Final[dict[str, tuple[str, ...]]] = {
    "addmm": ("self",),
    "addmv": ("self",),
    "baddbmm": ("self",),
    "linear": ("bias",),
    "conv1d": ("bias",),
    "conv2d": ("bias",),
    "conv3d": ("bias",),
    "conv_transpose1d": ("bias",),
    "conv_transpose2d": ("bias",),
    "conv_transpose3d": ("bias",),
}
"""Inputs of multilinear ops that are added to the product."""

FLAT: Final = ("sign", "floor", "ceil", "round", "trunc", "bernoulli")

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(LINEAR, linear),
    **dict.fromkeys(MULTILINEAR, multilinear),
    **dict.fromkeys(FLAT, flat),
    **dict.fromkeys(SLOPE, slope),
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
"""The table. Ops that it lacks are linear by their family, or go the general way; ``rule_of`` adds them when first asked."""

NEED_RESULT: Final = frozenset({*OF_RESULT, "logsumexp", "softmax", "log_softmax", "inv", "cholesky", "cholesky_ex", "std", "norm"})
"""Ops whose rule uses the results' values in a way that gradients flow through."""

_KINDS: Final[dict[Rule, str]] = {linear: "linear", flat: "flat", multilinear: "multilinear", slope: "slope", double: "double"}
