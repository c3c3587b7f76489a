"""``Dual``: a tensor with a tangent, which every op carries along: forward-mode differentiation.

An op on duals is done on the primals; the tangent of its result comes from the op's row in ``forward_rules``. Tensors made
inside of a running level are duals too, without a tangent, so that one can be written into them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any, Final, NoReturn

import numpy.typing as npt

from telegrad.contract import checks
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, AutogradError, ShapeError
from telegrad.contract.modes import is_grad_enabled, no_grad
from telegrad.contract.ops import OPS, Op, Shape, find
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.forward_formulas import NEED_RESULT
from telegrad.contract.transforms.forward_rules import tangents_of
from telegrad.contract.transforms.forward_ways import Call, many
from telegrad.contract.transforms.wrapper import Level, Wrapped, do, lifted, outside, plain, running

_MAY_COPY: Final = frozenset({"contiguous", "flatten", "reshape"})
"""Views that are copies where no view is possible."""

_WHOLE: Final = _MAY_COPY | {"view", "view_as_complex"}
"""Views that show all of their base, in the same order."""

_forward_enabled: ContextVar[bool] = ContextVar("telegrad_forward_enabled", default=True)

is_fwd_grad_enabled = _forward_enabled.get
"""Whether ops carry tangents now, in this thread and task."""


def set_forward_mode(mode: bool) -> Token[bool]:
    """Set whether ops carry tangents; the token restores what was before, see ``reset_forward_mode``."""
    return _forward_enabled.set(mode)


def reset_forward_mode(token: Token[bool]) -> None:
    """Restore what ``set_forward_mode`` replaced."""
    _forward_enabled.reset(token)


class ForwardLevel(Level):
    """One run of forward mode.

    Where it is not ``functional`` it is a ``dual_level()``: its tensors live on without their tangents when it has ended.
    """

    __slots__ = ()

    def adopts(self) -> bool:
        """Tensors made inside are duals, so that a value with a tangent can be written into them."""
        return True

    def adopted(self, made: Any) -> Any:
        """A dual without a tangent; integers stay what they are."""
        return Dual(self, made) if made.dtype.is_differentiable else made


class Dual(Wrapped):
    """A tensor and how it changes along a direction.

    Attributes:
        primal: the tensor.
        own: its tangent; None where it has none, and for a view, unless ``seen`` says of when it is.
        origin: for a view: the dual whose memory it shares, the view op, its other inputs, its parameters, and which
            output.
        seen: where nobody here knows whether it is a view or a copy: the tangents that ``origin`` had when ``own`` was right
            either way. Empty for a known copy, None for all others.
    """

    __slots__ = ("origin", "own", "primal", "seen")
    level: ForwardLevel

    def __init__(self, level: ForwardLevel, primal: Any, tangent: Any = None, origin: Any = None) -> None:
        self.level = level
        self.primal = primal
        self.own = tangent
        self.origin = origin
        self.seen: tuple[Any, ...] | None = None

    @property
    def tangent(self) -> Any:
        """The tangent, or None; a view's is the view of its base's, whatever was written since."""
        if self.origin is None:
            return self.own
        if self.seen is not None:
            if all(now is then for now, then in zip(self.origin[0]._stamp(), self.seen, strict=True)):
                return self.own
            return self._either()
        return self._shown()

    def _shown(self) -> Any:
        """What a view shows of its base's tangent."""
        base, op, others, parameters, output = self.origin
        above = base.tangent
        if above is None:
            return None
        if op == "view":
            op = "reshape"  # the tangent need not lie in memory as the primal does
        elif op == "view_as_complex":
            above = do("contiguous", above)
        made = do(op, _laid_out(above, base.primal) if op == "as_strided" else above, *others, **parameters)
        return made if output is None else made[output]

    def _stamp(self) -> tuple[Any, ...]:
        """What the tangent is made of: other objects after every write."""
        return (self.own,) if self.origin is None else (*self.origin[0]._stamp(), self.own)

    def _either(self) -> Any:
        """What is shown of the base's tangent where this is a view of it, the tangent of its own where it is a copy."""
        shown, own = self._shown(), self.own
        if shown is None and own is None:
            return None
        return do("where", self._is_one(), *(do("zeros_like", self.primal) if x is None else x for x in (shown, own)))

    def _is_one(self) -> Any:
        """Whether this is a view, and no copy, as a tensor of its shape: what is written to an equal one shows in its base."""
        with no_grad():
            trial = self.origin[0]._zeros_like_it()
            do("fill_", self._of(trial), 1)
            return do("ne", self._of(trial), 0)

    def _zeros_like_it(self) -> Any:
        """Zeros that lie in memory as the primal does. Raises AutogradError where that cannot be told."""
        if self.origin is None:
            if self.seen is None and plain(self.primal)._is_part():
                raise AutogradError(
                    "only the server knows whether reshaping a part of another tensor copies it, and so which tangents a write "
                    "changes; differentiate at x.clone() instead of x, or write to a clone of what is reshaped"
                )
            return _laid_out(do("zeros_like", self.primal), self.primal)
        return self._of(self.origin[0]._zeros_like_it())

    def _of(self, base: Any) -> Any:
        """The same view of another base."""
        _, op, others, parameters, output = self.origin
        made = do(op, base, *others, **parameters)
        return made if output is None else made[output]

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        return self.primal.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.primal.dtype  # type: ignore[no-any-return]

    def _memory(self) -> tuple[tuple[int, ...], int | None, int]:
        found: tuple[tuple[int, ...], int | None, int] = self._held()._memory()
        return found

    def _held(self) -> Any:
        return self.primal

    def _all_held(self) -> tuple[Any, ...]:
        tangent = self.tangent
        return (self.primal,) if tangent is None else (self.primal, tangent)

    def _with_main(self, change: Callable[[Any], Any]) -> Dual:
        return Dual(self.level, change(self.primal), self.tangent)

    def _with_held(self, change: Callable[[Any], Any]) -> Dual:
        tangent = self.tangent
        return Dual(self.level, change(self.primal), None if tangent is None else change(tangent))

    # Ops ---------------------------------------------------------------------------------------------------------------------

    def _transform(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        row = OPS.get(op)
        if row is None:
            return self._write(op, inputs, parameters)
        level = self.level
        primals = tuple([x.primal if isinstance(x, Dual) and x.level is level else x for x in inputs])
        tangents = self._tangents(row, inputs) if row.differentiable else None
        if row.random:
            with outside(level):
                made = do(op, *primals, **parameters)
        else:
            made = do(op, *primals, **parameters)
        results = many(made)
        if row.view and row.differentiable:
            if op in _MAY_COPY:
                return self._view_or_copy(inputs[0], made, op, primals[1:], parameters)
            single = not isinstance(made, (tuple, list))
            origins = [(inputs[0], op, primals[1:], parameters, None if single else i) for i in range(len(results))]
            views = [self._wrapped(y, None, origin) for y, origin in zip(results, origins, strict=True)]
            return views[0] if single else tuple(views)
        found: tuple[Any, ...] = (None,) * len(results)
        if tangents is not None:
            if op in NEED_RESULT and is_grad_enabled():
                # What follows depends on an alias, so that a gradient with respect to it leaves this op's own tangent out.
                results = tuple([do("view", y, shape=tuple(y.shape)) if y.requires_grad else y for y in results])
                before = many(made)
            else:
                before = results
            found = tangents_of(Call(row, primals, tangents, row.complete(parameters), before))
        duals = [self._wrapped(y, t) for y, t in zip(results, found, strict=True)]
        return tuple(duals) if isinstance(made, (tuple, list)) else duals[0]

    def _view_or_copy(self, base: Dual, made: Any, op: str, others: tuple[Any, ...], parameters: dict[str, Any]) -> Dual:
        """The result of an op that copies where no view is possible."""
        dual = Dual(self.level, made, None, (base, op, others, parameters, None))
        own = dual._shown() if is_fwd_grad_enabled() else None
        shares = _shares(made, base.primal)
        if shares:
            return dual
        dual.own = own
        if shares is None and not base._spread():
            dual.seen = base._stamp()
        else:
            dual.origin, dual.seen = None, ()
        return dual

    def _spread(self) -> bool:
        """Whether it shows elements of its base several times: reshaping it copies, and it cannot be written to."""
        return self.origin is not None and (self.origin[1] == "expand" or self.origin[0]._spread())

    def _tangents(self, row: Op, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The tangent of each input that gradients flow to; None where there is none at all."""
        if not is_fwd_grad_enabled():
            return None
        level, slots, flows = self.level, row.inputs, row.differentiable
        last = len(slots) - 1
        found: list[Any] = []
        some = False
        for i, x in enumerate(inputs):
            t = x.tangent if isinstance(x, Dual) and x.level is level and slots[min(i, last)].name in flows else None
            some = some or t is not None
            found.append(t)
        return tuple(found) if some else None

    def _wrapped(self, primal: Any, tangent: Any, origin: Any = None) -> Any:
        """A result: a dual, or a plain tensor where its type can have no tangent."""
        if not primal.dtype.is_differentiable:
            return primal
        return Dual(self.level, primal, tangent, origin)

    def _write(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """An in-place form: the new tangent first, from the values before the write."""
        name = op.removesuffix("_")
        row = OPS.get(name)
        if row is None or not op.endswith("_") or not row.inplace:
            find(op)
            raise LookupError(op)
        target, level = inputs[0], self.level
        if not isinstance(target, TensorBase):
            raise checks.in_place_target(name, target)
        primals = tuple([x.primal if isinstance(x, Dual) and x.level is level else x for x in inputs])
        tangents = self._tangents(row, inputs) if row.differentiable else None
        if not (isinstance(target, Dual) and target.level is level):
            if tangents is None or not target.dtype.is_differentiable:  # type: ignore[attr-defined]
                return do(op, *primals, **parameters)
            self._refuse_captured(op)
        found: Any = None
        if tangents is not None:
            before = primals
            if is_grad_enabled() and any(x.requires_grad for x in (*primals, *tangents) if isinstance(x, Tensor)):
                before = (primals[0].clone(), *primals[1:])  # what the tangent's graph saves is not overwritten then
            made = do(name, *before, **parameters)
            (found, *_) = tangents_of(Call(row, before, tangents, row.complete(parameters), (made,)))
        do(op, *primals, **parameters)
        if found is not None:
            target._replace_tangent(found)
        elif not row.differentiable:
            target._replace_tangent(None)
        return target

    def _replace_tangent(self, tangent: Any) -> None:
        """Give this dual another tangent; through a view, the base, as far as the view shows it."""
        if tangent is not None:
            if tangent.dtype is not self.dtype:
                tangent = tangent.to(self.dtype)
            if tuple(tangent.shape) != tuple(self.shape):
                tangent = tangent.expand(self.shape)
        if self.origin is None:
            self.own = tangent
            return
        base, op = self.origin[:2]
        if self.seen is not None:
            whole = do("zeros_like", self.primal) if tangent is None else tangent
            shown = self._shown()
            chosen = do("where", self._is_one(), whole, do("zeros_like", self.primal) if shown is None else shown)
            base._replace_tangent(do("reshape", chosen, shape=tuple(base.shape)))
            self.own, self.seen = tangent, base._stamp()
            return
        if op in _WHOLE:
            if tangent is not None and op == "view_as_complex":
                tangent = do("view_as_real", tangent)
            elif tangent is not None:
                tangent = do("reshape", tangent, shape=tuple(base.shape))
            base._replace_tangent(tangent)
            return
        above = base.tangent
        if above is None:
            if tangent is None:
                return
            above = do("zeros_like", base.primal)
        if isinstance(tangent, Wrapped):
            above = lifted(above, running()[: self.level.depth - 1])  # else there is nowhere to write it to
        above = _laid_out(above, base.primal) if op == "as_strided" else above.clone()
        view = self._of(above)
        if tangent is None:
            do("fill_", view, 0)
        else:
            do("copy_", view, tangent)
        base._replace_tangent(above)

    def _refuse_captured(self, op: str) -> NoReturn:
        if not self.level.functional:
            raise AutogradError(
                f"{op} would write a value with a tangent into a tensor made outside of this dual_level(), which can have none; "
                "make a dual of it first: telegrad.autograd.forward_ad.make_dual(x, telegrad.zeros_like(x))"
            )
        raise AutogradError(
            f"During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({op}) "
            "that would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to "
            "explicitly accept the mutated Tensor(s) as inputs."
        )

    def _outlived(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        if self.level.functional:
            self._escaped()
        level = self.level
        return do(op, *[x.primal if isinstance(x, Dual) and x.level is level else x for x in inputs], **parameters)

    # Gradients ---------------------------------------------------------------------------------------------------------------

    def _differentiate(
        self,
        outputs: Sequence[Any],
        inputs: Sequence[Any],
        grad_outputs: Sequence[Any] | None,
        *,
        retain_graph: bool | None,
        create_graph: bool,
        allow_unused: bool | None,
        is_grads_batched: bool,
        materialize_grads: bool,
    ) -> tuple[Any, ...]:
        """With y = (y0, y1), x = (x0, x1) and the vector (v0, v1): grad(y0, x0, v0), with the tangent
        grad(y1, x0, v0) + grad(y0, x0, v1).
        """
        level = self.level

        def parts(x: Any) -> tuple[Any, Any]:
            return (x.primal, x.tangent) if isinstance(x, Dual) and x.level is level else (x, None)

        values, turns = zip(*[parts(y) for y in outputs], strict=True)
        places = [parts(x)[0] for x in inputs]
        checks.check_vectors(len(outputs), (None,) * len(outputs) if grad_outputs is None else grad_outputs)
        vectors = [(None, None)] * len(outputs) if grad_outputs is None else [parts(v) for v in grad_outputs]
        keep = create_graph if retain_graph is None else retain_graph
        settings: dict[str, Any] = {"create_graph": create_graph, "is_grads_batched": is_grads_batched}
        session = places[0].session
        primals = session.grad(
            values,
            places,
            None if grad_outputs is None else [v for v, _ in vectors],
            retain_graph=True,
            allow_unused=allow_unused,
            materialize_grads=materialize_grads,
            **settings,
        )
        roots: list[Any] = []
        along: list[Any] = []
        for y, turn, (v, change) in zip(values, turns, vectors, strict=True):
            if turn is not None and turn.requires_grad:
                roots.append(turn)
                along.append(do("ones_like", y) if v is None else v)
            if change is not None:
                roots.append(y)
                along.append(change)
        tangents: tuple[Any, ...] = (None,) * len(places)
        if roots:
            tangents = session.grad(roots, places, along, retain_graph=keep, allow_unused=True, **settings)
        found: list[Any] = []
        for x, g, t in zip(inputs, primals, tangents, strict=True):
            if g is None and t is None:
                found.append(None)
                continue
            primal = do("zeros_like", parts(x)[0]) if g is None else g
            found.append(Dual(level, primal, t))
        return tuple(found)

    # Reads -------------------------------------------------------------------------------------------------------------------

    def _value(self) -> npt.NDArray[Any]:
        value: npt.NDArray[Any] = self.primal._value()
        return value

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """The primal's values; refused inside a function transform, whose results are not numbers yet."""
        if self.level.functional and not self.level.over:
            self._refuse_reading("numpy")
        values: npt.NDArray[Any] = self.primal.numpy(force=force)
        return values

    @property
    def grad(self) -> Any:
        """The gradient accumulated in the primal."""
        return self.primal.grad

    @grad.setter
    def grad(self, value: Any) -> None:
        self.primal.grad = value.primal if isinstance(value, Dual) and value.level is self.level else value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def retain_grad(self) -> None:
        """As the primal's."""
        if self.level.functional:
            super().retain_grad()
        self.primal.retain_grad()

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Accumulate the primal's gradients, as PyTorch does; ``autograd.grad`` gives gradients with their tangents."""
        if self.level.functional:
            super().backward(gradient, retain_graph, create_graph, inputs)
        given = gradient.primal if isinstance(gradient, Dual) else gradient
        self.primal.backward(given, retain_graph, create_graph, inputs)

    def __repr__(self) -> str:
        shown = repr(self.primal)
        tangent = None if self.level.over else self.tangent
        return shown if tangent is None else f"{shown.removesuffix(')')}, tangent={tangent!r})"


def _shares(made: Any, base: Any) -> bool | None:
    """Whether a reshaped tensor is a view; None where nobody here knows, of remote ones."""
    try:
        return bool(plain(made)._memory()[2] == plain(base)._memory()[2])
    except AutogradError:
        return None


def _laid_out(tangent: Any, primal: Any) -> Any:
    """A copy of a tangent that stands in memory as the primal does, for a view that counts steps there."""
    return do("copy_", do("neg", primal), tangent)  # an elementwise op leaves its result in the order of its input


def make_dual(level: ForwardLevel, primal: Any, tangent: Any) -> Dual:
    """A dual of two tensors; see ``telegrad.autograd.forward_ad.make_dual``."""
    for x, what in ((primal, "primal"), (tangent, "tangent")):
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"make_dual(): {what} must be Tensor, not {type(x).__name__}")
    if isinstance(primal, Dual) and primal.level is level and primal.tangent is not None:
        raise AutogradError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not supported."
        )
    if isinstance(tangent, Dual) and tangent.level is level and tangent.tangent is not None:
        raise AutogradError("Setting a forward grad that itself has a forward gradient at the same level 0 is not supported.")
    if tuple(tangent.shape) != tuple(primal.shape):
        raise ShapeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"Tensor is of size {list(primal.shape)} while the given forward gradient is of size {list(tangent.shape)}."
        )
    held = primal.primal if isinstance(primal, Dual) and primal.level is level else primal
    direction = tangent.primal if isinstance(tangent, Dual) and tangent.level is level else tangent
    if not is_fwd_grad_enabled():
        return Dual(level, do("view", held, shape=tuple(held.shape)))
    return Dual(level, do("view", held, shape=tuple(held.shape)), direction)
