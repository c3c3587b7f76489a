"""Custom functions under ``vmap`` and in forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from telegrad.autograd.function import Function, FunctionCtx, as_tuple, call, overridden
from telegrad.contract.errors import ArgumentValueError, AutogradError, DTypeError, ShapeError
from telegrad.contract.modes import no_grad
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.batched import Batched, VmapLevel
from telegrad.contract.transforms.dual import Dual, is_fwd_grad_enabled
from telegrad.contract.transforms.trees import build, flatten
from telegrad.contract.transforms.wrapper import Wrapped, do, entered, innermost, outside


class VmapInfo(NamedTuple):
    """What ``Function.vmap`` is told.

    Attributes:
        batch_size: how many rows there are.
        randomness: what vmap was told of random ops.
    """

    batch_size: int
    randomness: str


Push: TypeAlias = Callable[[Sequence[Any]], Any]
"""From the tangents of the arguments, None where there is none, to those of the outputs."""


def transformed(cls: type[Function], wrapper: Wrapped, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function one of whose arguments is a tensor of a running transform."""
    return _transformed(cls, wrapper, args, kwargs)[0]


def _transformed(cls: type[Function], wrapper: Wrapped, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Push]:
    if isinstance(wrapper, Dual):
        return _forward_mode(cls, wrapper, args, kwargs)
    if isinstance(wrapper, Batched):
        if kwargs:
            raise AutogradError(f"{cls.__name__}: vmap takes no keyword-only arguments; give them by position")
        return _all_rows(cls, wrapper.level, args)
    raise AutogradError(f"{cls.__name__}: no custom functions inside of {type(wrapper.level).__name__}")


def _again(cls: type[Function], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Push]:
    """Call with what wrappers held: more of them, or plain tensors."""
    inner = innermost(args)
    if inner is not None:
        return _transformed(cls, inner, tuple(args), kwargs)
    result, ctx = call(cls, tuple(args), kwargs)
    return result, lambda tangents: _pushed(cls, ctx, args, tangents)


def _pushed(cls: type[Function], ctx: FunctionCtx, args: Sequence[Any], tangents: Sequence[Any]) -> Any:
    if ctx.materialize_grads:
        tangents = [
            do("zeros_like", p) if t is None and isinstance(p, Tensor) and p.dtype.is_differentiable else t
            for p, t in zip(args, tangents, strict=True)
        ]
    ctx._in_forward_mode = True
    try:
        return cls.jvp(ctx, *tangents)
    finally:
        ctx._in_forward_mode = False


def _pushed_on(cls: type[Function], args: Sequence[Any], result: Any, tangents: Sequence[Any]) -> Any:
    """The tangents where arguments and results are tensors of transforms themselves: what ``jvp`` does is transformed, too."""
    if not overridden(cls, "setup_context"):
        raise AutogradError(
            f"{cls.__name__}: in order to use an autograd.Function with nested transforms, it must override the setup_context "
            "staticmethod"
        )
    ctx = cls._context()
    ctx.needs_input_grad = tuple([isinstance(x, Tensor) and x.requires_grad for x in args])
    with no_grad():
        cls.setup_context(ctx, tuple(args), result)
    return _pushed(cls, ctx, args, tangents)


# Forward mode ----------------------------------------------------------------------------------------------------------------


def _forward_mode(cls: type[Function], wrapper: Dual, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Push]:
    level = wrapper.level
    primals = [x.primal if isinstance(x, Dual) and x.level is level else x for x in args]
    tangents = [x.tangent if isinstance(x, Dual) and x.level is level else None for x in args]

    with outside(level):
        result, push = _again(cls, primals, kwargs)
        made = push(tangents) if is_fwd_grad_enabled() and any(t is not None for t in tangents) else None
    duals = _duals(level, result, made)
    return duals, lambda tangents: _pushed_on(cls, args, duals, tangents)


def _duals(level: Any, result: Any, made: Any) -> Any:
    results = list(as_tuple(result))
    given = list(as_tuple(made))
    if made is None:
        given = [None] * len(results)
    if len(given) != len(results):
        raise AutogradError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(results)} but got {len(given)})"
        )
    duals = [_dual(level, y, t) for y, t in zip(results, given, strict=True)]
    return tuple(duals) if isinstance(result, tuple) else duals[0]


def _dual(level: Any, primal: Any, tangent: Any) -> Any:
    if not isinstance(primal, Tensor) or not primal.dtype.is_differentiable:
        return primal
    if tangent is not None:
        if not isinstance(tangent, Tensor):
            raise AutogradError(f"expected Variable or None (got {type(tangent).__name__})")
        if tuple(tangent.shape) != tuple(primal.shape):
            raise ShapeError(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
                f"supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
                f"{list(tangent.shape)}."
            )
        if tangent.dtype != primal.dtype:
            raise DTypeError(f"Function's jvp returned a tangent of {tangent.dtype} for an output of {primal.dtype}")
    return Dual(level, primal, tangent)


# vmap ------------------------------------------------------------------------------------------------------------------------


def _all_rows(cls: type[Function], level: VmapLevel, args: tuple[Any, ...]) -> tuple[Any, Push]:
    name, own = cls.__name__, overridden(cls, "vmap")
    if cls.generate_vmap_rule and own:
        raise AutogradError(
            f"You tried to vmap over {name}, but it has both generate_vmap_rule=True and an overridden vmap staticmethod. Please "
            "set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid ambiguity."
        )
    if not cls.generate_vmap_rule and not own:
        raise AutogradError(
            f"You tried to vmap over {name}, but it does not have vmap support. Please override and implement the vmap "
            "staticmethod or set generate_vmap_rule=True."
        )
    mine = [isinstance(x, Batched) and x.level is level for x in args]
    values = [x.value if here else x for x, here in zip(args, mine, strict=True)]
    with outside(level):
        if own:
            dims = tuple([0 if here else None for here in mine])
            made = cls.vmap(VmapInfo(level.size, level.randomness), dims, *values)
            if not isinstance(made, tuple) or len(as_tuple(made)) != 2:
                raise AutogradError(f"Expected the vmap staticmethod of {name} to return (output, out_dims)")

            rows, out_dims = as_tuple(made)
            found = _rows(level, rows, out_dims, name)
            return found, lambda tangents: _pushed_on(cls, args, found, tangents)
        result, push = _again(_generated(cls, level, mine), values, {})

    def pushed(tangents: Sequence[Any]) -> Any:
        rows = [t if t is None or not here else _values(level, t) for t, here in zip(tangents, mine, strict=True)]
        with outside(level):
            return _mapped(push(rows), lambda t: Batched(level, t) if isinstance(t, Tensor) else t)

    return _mapped(result, lambda y: Batched(level, y) if isinstance(y, Tensor) else y), pushed


def _mapped(result: Any, change: Callable[[Any], Any]) -> Any:
    """What ``change`` makes of a result, or of each in a tuple."""
    return tuple([change(y) for y in as_tuple(result)]) if isinstance(result, tuple) else change(result)


def _values(level: VmapLevel, x: Any) -> Any:
    """All rows of a result; of one that is the same for all, that many. What is no tensor stays."""
    if isinstance(x, Batched) and x.level is level:
        return x.value
    return level.lift(x).value if isinstance(x, Tensor) else x


def _rows(level: VmapLevel, outputs: Any, dims: Any, name: str) -> Any:
    """What a vmap staticmethod gave, as tensors of the level."""
    flat, structure = flatten(outputs)
    flat_dims: list[Any] = [dims] * len(flat) if dims is None or isinstance(dims, int) else flatten(dims)[0]
    if len(flat_dims) != len(flat):
        raise ArgumentValueError(f"The vmap staticmethod of {name} returned {len(flat)} outputs and {len(flat_dims)} out_dims")
    found: list[Any] = []
    for y, d in zip(flat, flat_dims, strict=True):
        if isinstance(y, Tensor) and d is not None:
            y = Batched(level, y if d == 0 else y.movedim(d, 0))
            if y.value.shape[0] != level.size:
                raise ShapeError(f"The vmap staticmethod of {name}: dimension {d} of an output is not the {level.size} rows")
        found.append(y)
    return build(structure, found)


def _generated(cls: type[Function], level: VmapLevel, mine: Sequence[bool]) -> type[Function]:
    """The function of all rows at once: that of one row, with every part of it run by ``vmap``."""

    def wrap(over: VmapLevel, values: Sequence[Any], here: Sequence[bool]) -> list[Any]:
        return [Batched(over, x) if there and x is not None else x for x, there in zip(values, here, strict=True)]

    def run(body: Callable[[VmapLevel], Any]) -> Any:
        over = VmapLevel(level.size, level.randomness)
        with entered(over):
            return body(over)

    def forward(*args: Any) -> Any:
        return run(lambda over: _mapped(cls.forward(*wrap(over, args, mine)), lambda y: _values(over, y)))

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.row = row = cls._context()
        row.needs_input_grad = ctx.needs_input_grad

        def body(over: VmapLevel) -> None:
            given = tuple(wrap(over, inputs, mine))
            made = _mapped(output, lambda y: Batched(over, y) if isinstance(y, Tensor) else y)
            cls.setup_context(row, given, made)
            own = {id(w): v for w, v in (*zip(given, inputs, strict=True), *zip(*_pairs(made, output), strict=True))}

            def kept(saved: Sequence[Any]) -> tuple[tuple[Any, ...], list[bool]]:
                here = [isinstance(t, Batched) and t.level is over for t in saved]
                return tuple([own.get(id(t), t.value if there else t) for t, there in zip(saved, here, strict=True)]), here

            ctx.to_save, ctx.here = kept(row.to_save)
            ctx.saved_for_forward, ctx.here_forward = kept(row.saved_for_forward)
            ctx.non_differentiable = tuple([own[id(t)] for t in row.non_differentiable])
            ctx.dirty_tensors = tuple([own[id(t)] for t in row.dirty_tensors])
            ctx.materialize_grads = row.materialize_grads
            row.to_save = row.saved_for_forward = row.non_differentiable = row.dirty_tensors = ()

        run(body)

    def backward(ctx: Any, *gradients: Any) -> Any:
        def body(over: VmapLevel) -> Any:
            lent = _Lent(ctx.row, tuple(wrap(over, ctx.saved_tensors, ctx.here)))
            made = cls.backward(lent, *wrap(over, gradients, [True] * len(gradients)))
            given = as_tuple(made)
            padded = (*mine, *[True] * (len(given) - len(mine)))
            return tuple([_summed(_values(over, g), here) for g, here in zip(given, padded, strict=False)])

        return run(body)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        def body(over: VmapLevel) -> Any:
            lent = _Lent(ctx.row, tuple(wrap(over, ctx.saved_tensors, ctx.here_forward)))
            return _mapped(cls.jvp(lent, *wrap(over, tangents, mine)), lambda t: _values(over, t))

        return run(body)

    methods: dict[str, Any] = {"forward": forward, "setup_context": setup_context, "backward": backward, "jvp": jvp}
    body: dict[str, Any] = {name: staticmethod(method) for name, method in methods.items()}
    made: type[Function] = type(f"Vmapped{cls.__name__}", (Function,), {"generate_vmap_rule": True, **body})
    return made


def _summed(gradient: Any, rows: bool) -> Any:
    """The gradient of an argument that is the same for all rows is the sum over them."""
    return gradient if rows or not isinstance(gradient, Tensor) else do("sum", gradient, dim=(0,), keepdim=False)


def _pairs(made: Any, output: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    return (made, output) if isinstance(made, tuple) else ((made,), (output,))


class _Lent:
    """A context as ``backward`` of one row sees it: the user's attributes, and what was saved, of a level that runs."""

    def __init__(self, row: FunctionCtx, saved: tuple[Any, ...]) -> None:
        self.__dict__.update(row.__dict__)
        self.needs_input_grad = row.needs_input_grad
        self.saved_tensors = saved
