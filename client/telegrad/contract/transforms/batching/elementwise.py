"""Ops that work element by element, conversions, constants and random numbers."""

from __future__ import annotations

from typing import Any

from telegrad.contract.errors import AutogradError
from telegrad.contract.ops import OPS
from telegrad.contract.transforms.batched import ELEMENTWISE, Call, aligned, rule
from telegrad.contract.transforms.wrapper import do, outside

FAMILIES = ("elementwise", "transcendental", "comparison", "special")
"""All ops of these broadcast their tensors and know no dimensions, unless they have a parameter ``dim``."""

ELEMENTWISE.update(name for name, op in OPS.items() if op.family in FAMILIES and "dim" not in op.parameters)
ELEMENTWISE.update(("to", "clone", "conj", "real", "imag", "angle", "contiguous", "detach", "data"))
ELEMENTWISE.update(("relu", "leaky_relu", "elu", "hardtanh", "gelu", "silu", "softplus", "logsigmoid"))
ELEMENTWISE.update(("zeros_like", "ones_like", "full_like"))
ELEMENTWISE.update(("frexp", "ldexp", "complex", "polar", "view_as_complex", "view_as_real", "_as_complex"))


def _as_one(call: Call, position: int, rank: int) -> Any:
    """An input that broadcasts, its rows aligned to ``rank``; what has no rows broadcasts to all of them as it is."""
    return aligned(call.values[position], rank) if call.batched[position] else call.values[position]


@rule("fill")
def fill(call: Call) -> Any:
    """One value, a number or 0-d tensor, for each row."""
    x, value = call.rows(0), call.values[1]
    _ = call.outcome
    if not call.batched[1]:
        return do("fill", x, value)
    return do("copy", x, aligned(value, call.rank()))


@rule("copy")
def copy(call: Call) -> Any:
    """The source broadcast to the target's shape."""
    shape = call.outcome.outputs[0].shape
    source: Any = call.values[1]
    extra = call.rank(1) - len(shape)
    if extra > 0:  # ones in front of a source of higher rank, which copying drops
        lead = (call.size,) if call.batched[1] else ()
        source = do("reshape", source, shape=(*lead, *call.specs[1].shape[extra:]))
        return do("copy", call.rows(0), source)
    return do("copy", call.rows(0), _as_one(call, 1, len(shape)))


@rule("masked_fill")
def masked_fill(call: Call) -> Any:
    """The value, a number or 0-d tensor, where the mask says so."""
    out = call.outcome.outputs[0]
    x, mask = (_as_one(call, i, len(out.shape)) for i in (0, 1))
    value = call.values[2]
    if call.batched[2]:
        value = aligned(value, len(out.shape))
        made = do("where", mask, value if value.dtype is out.dtype else do("to", value, dtype=out.dtype), x)
    else:
        if call.batched[1] and not call.batched[0]:
            x = do("expand", x, size=(call.size, *out.shape))
        made = do("masked_fill", x, mask, value)
    return made


@rule("new_full")
def new_full(call: Call) -> Any:
    """A constant tensor for each row, so that rows can be written to."""
    return do("new_full", call.rows(0), **{**call.parameters, "size": (call.size, *call.parameters["size"])})


# Random numbers --------------------------------------------------------------------------------------------------------------


@rule("rand_like", "randn_like", "randint_like")
def draw_like(call: Call) -> Any:
    """Numbers for each row, or the same for all."""
    level = call.level
    level.check_randomness()
    return _for_each(call) if level.randomness == "different" else _for_all(call)


@rule("dropout")
def dropout(call: Call) -> Any:
    """Zeros for each row, or in the same places of all."""
    level = call.level
    x = call.rows(0)
    if not call.parameters["training"] or call.parameters["p"] == 1 or level.randomness == "different":
        with outside(level):
            return do("dropout", x, **call.parameters)
    level.check_randomness()
    kept, mask = level.same(lambda: do("dropout", _a_row(call, 1), **call.parameters))
    return do("mul", x, kept), do("expand", mask, size=(call.size, *mask.shape))


@rule("bernoulli")
def bernoulli(call: Call) -> Any:
    """Draws for each row."""
    level = call.level
    level.check_randomness()
    if level.randomness == "same" and call.parameters.get("p") is None:
        raise AutogradError("Vmap does not currently support same randomness with a batched tensor input")
    return _for_each(call) if level.randomness == "different" else _for_all(call)


def _for_each(call: Call) -> Any:
    with outside(call.level):
        return do(call.name, call.rows(0), **call.parameters)


def _for_all(call: Call) -> Any:
    made = call.level.same(lambda: do(call.name, _a_row(call, 0), **call.parameters))
    return do("expand", made, size=(call.size, *made.shape))


def _a_row(call: Call, value: int) -> Any:
    """A tensor of one row's shape and type, also where there is no row."""
    x = call.values[0]
    return do("new_full", x, size=call.specs[0].shape, fill_value=value)
