"""Derivatives of functions forwards: ``jvp``, ``jacfwd``, ``linearize``, and ``hessian`` forwards over backwards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, AutogradError
from telegrad.contract.modes import enable_grad, is_grad_enabled, without_inference
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.dual import Dual, ForwardLevel, make_dual
from telegrad.contract.transforms.forward_ways import Transposed
from telegrad.contract.transforms.trees import build, flatten, mapped
from telegrad.contract.transforms.wrapper import do, entered
from telegrad.func.batching import vmap
from telegrad.func.reverse import (
    Argnums,
    Recorded,
    chosen,
    jacrev,
    refuse_complex,
    replaced,
    tensors_of,
    with_aux,
)

_WHERE = "jvp(f, primals, tangents)"


class _Pushed:
    """One call of a function on duals.

    Attributes:
        values: the tensors of its result, without their tangents.
        tangents: theirs; zeros where a result does not depend on the primals.
        structure: of the result.
        aux: what it gave beside, without tangents.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Any]], Any],
        primals: Sequence[Any],
        tangents: Sequence[Any],
        *,
        has_aux: bool = False,
        strict: bool = False,
    ) -> None:
        for given, what in ((primals, "primal"), (tangents, "tangent")):
            for x in given:
                if not x.dtype.is_differentiable:
                    raise ArgumentValueError(f"Expected {what} to be floating point or complex, but got: {x.dtype!r}")
        level = ForwardLevel()
        with entered(level):
            output = call([make_dual(level, _ordinary(x), _ordinary(t)) for x, t in zip(primals, tangents, strict=True)])
            output, aux = with_aux(output, has_aux, _WHERE)
            results, self.structure = tensors_of(output, _WHERE)
            pairs = [_parts(level, y) for y in results]
            self.aux: Any = mapped(lambda x: _parts(level, x)[0], aux)
        if strict and any(t is None for _, t in pairs):
            raise AutogradError(
                f"{_WHERE[:-1]}, strict=True): The output of f is independent of the inputs. This is not allowed with strict=True."
            )
        self.values: list[Any] = [y for y, _ in pairs]
        self.tangents: list[Any] = [do("zeros_like", y) if t is None else t for y, t in pairs]


def _ordinary(x: Any) -> Any:
    """A tensor whose value can be saved; inference tensors are copied."""
    return do("clone", x) if x.is_inference() else x


def _parts(level: ForwardLevel, x: Any) -> tuple[Any, Any]:
    """A tensor without its tangent of this level, and the tangent."""
    return (x.primal, x.tangent) if isinstance(x, Dual) and x.level is level else (x, None)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of ``func``, and how it changes along a direction: its Jacobian times ``tangents``, in one pass forwards.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns such.
        primals: a tuple of its arguments.
        tangents: the direction: a tuple nested as ``primals``, of tensors of their shapes.
        strict: refuse results that do not depend on the primals, instead of giving zeros.
        has_aux: ``func`` returns ``(output, aux)``.

    Returns:
        ``(output, change)``, nested alike, or ``(output, change, aux)``.

    Raises:
        AutogradError: primals that are no tuple of tensors, tangents nested otherwise, results that are no tensors.
        ArgumentValueError: integers, which have no direction.
        ShapeError: a tangent of another shape than its primal.
    """
    if not isinstance(primals, tuple):
        raise AutogradError(f"{_WHERE}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    flat, structure = flatten(primals)
    directions, given = flatten(tangents)
    if structure != given:
        raise AutogradError(
            f"{_WHERE}: Expected primals and tangents to have the same python structure. For example, if primals is a tuple of 3 "
            f"tensors, tangents also must be. Got primals with structure {structure!r} and tangents with structure {given!r}"
        )
    if not flat:
        raise AutogradError(f"{_WHERE}: Expected primals to contain at least one Tensor.")
    for leaves, what in ((flat, "primals"), (directions, "tangents")):
        for x in leaves:
            if not isinstance(x, Tensor):
                raise AutogradError(f"{_WHERE}: Expected {what} to only contain Tensors, got {type(x)}")
    with without_inference():
        pushed = _Pushed(lambda own: func(*build(structure, own)), flat, directions, has_aux=has_aux, strict=strict)
    found = (build(pushed.structure, pushed.values), build(pushed.structure, pushed.tangents))
    return (*found, pushed.aux) if has_aux else found


# Jacobians -------------------------------------------------------------------------------------------------------------------


def _basis(primals: Sequence[Any]) -> list[Any]:
    """The unit vectors of all primals together, one a row: for each primal, the part that belongs to it."""
    sizes = [x.numel() for x in primals]
    total, before = sum(sizes), 0
    made: list[Any] = []
    for x, size in zip(primals, sizes, strict=True):
        session = x.session
        if size == total:
            rows = session.eye(size, dtype=x.dtype)
        else:
            places = do("unsqueeze", session.arange(-before, total - before), dim=1)
            rows = do("to", do("eq", places, session.arange(size)), dtype=x.dtype)
        made.append(do("reshape", rows, shape=(total, *x.shape)))
        before += size
    return made


def _split(rows: Any, primals: Sequence[Any]) -> list[Any]:
    """Of the changes of one result along all unit vectors, [directions, *result]: for each primal, [*result, *primal]."""
    columns = do("movedim", rows, source=(0,), destination=(-1,))
    before = 0
    made: list[Any] = []
    for x in primals:
        size = x.numel()
        own = columns if len(primals) == 1 else do("narrow", columns, dim=-1, start=before, length=size)
        made.append(do("reshape", own, shape=(*rows.shape[1:], *x.shape)))
        before += size
    return made


def columns(call: Callable[..., Sequence[Any]], primals: Sequence[Any]) -> list[list[Any]]:
    """The Jacobian of a function of tensors that gives several: for each result and primal, [*result, *primal]."""

    def push(*along: Any) -> tuple[Any, ...]:
        return tuple(_Pushed(lambda own: tuple(call(*own)), primals, along).tangents)

    return [_split(rows, primals) for rows in vmap(push)(*_basis(primals))]


def jacfwd(
    func: Callable[..., Any], argnums: Argnums | None = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``, column by column forwards, all columns in one pass.

    Better than ``jacrev`` where there are more outputs than inputs.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns such; real numbers only.
        argnums: the positional argument to differentiate with respect to, or a tuple of them; None for all.
        has_aux: ``func`` returns ``(output, aux)``; the result is ``(jacobian, aux)``.
        randomness: what a random op does in ``func``, as in ``vmap``.

    Returns:
        A function of the same arguments. The Jacobian is nested as the output, and in it as the argument (a tuple of such for a
        tuple of ``argnums``); each has the shape [*output, *argument].

    Raises:
        AutogradError: complex numbers, results that are no tensors, ``argnums`` that are not there.
        ArgumentValueError: an argument of integers.
    """

    @functools.wraps(func, updated=())
    @without_inference()
    def wrapped(*args: Any) -> Any:
        refuse_complex("jacfwd", "inputs", flatten(args)[0])
        numbers = tuple(range(len(args))) if argnums is None else argnums
        places, given = chosen(args, numbers)
        primals, structure = flatten(given)
        for x in primals:
            if not isinstance(x, Tensor):
                raise ArgumentTypeError(f"jacfwd: Expected all inputs to be Tensors, got {type(x)}")
        shape: Any = None
        beside: Any = None

        def push(*along: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            nonlocal shape, beside
            pushed = _Pushed(
                lambda own: func(*replaced(args, places, build(structure, own), numbers)), primals, along, has_aux=has_aux
            )
            refuse_complex("jacfwd", "outputs", pushed.values)
            shape, beside = pushed.structure, flatten(pushed.aux)
            return tuple(pushed.tangents), tuple([x for x in beside[0] if isinstance(x, Tensor)])

        rows, aux = vmap(push, out_dims=(0, None), randomness=randomness)(*_basis(primals))
        jacobian = build(shape, [build(structure, _split(r, primals)) for r in rows])
        if not has_aux:
            return jacobian
        rest = iter(aux)
        return jacobian, build(beside[1], [next(rest) if isinstance(x, Tensor) else x for x in beside[0]])

    return wrapped


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the matrix of second derivatives of ``func``: forwards over backwards, ``jacfwd(jacrev(func))``.

    Nested as the output, then twice as the argument; each has the shape [*output, *argument, *argument]. Arguments and errors as
    ``jacfwd``'s.
    """
    return jacfwd(jacrev(func, argnums), argnums)


# Linear maps -----------------------------------------------------------------------------------------------------------------


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of ``func`` at ``primals``, and its derivative there as a function of directions.

    ``func`` runs once; the derivative repeats only what is linear in the direction. Worth it for many directions at one point.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns such.
        primals: where to call it.

    Returns:
        ``(output, jvp_fn)``; ``jvp_fn(*tangents)`` takes directions nested as ``primals`` and gives what ``jvp`` would.

    Raises:
        AutogradError: results that are no tensors; in ``jvp_fn``, directions nested otherwise, of other shapes or types.
    """
    recorded = Recorded(lambda own: func(*own), tuple(primals))
    results, structure = tensors_of(recorded.output, "linearize(f, *primals)")
    smooth = [i for i, y in enumerate(results) if y.requires_grad]
    with without_inference(), enable_grad():
        transposed = Transposed([results[i] for i in smooth], recorded.aliases) if smooth else None
    keeps = recorded.depend([results[i] for i in smooth])

    @without_inference()
    def jvp_fn(*tangents: Any) -> Any:
        """How the output changes along this direction."""
        directions, given = flatten(tangents)
        if given != recorded.structure:
            raise AutogradError(f"Expected the tangents {given!r} to have the same argspec as the primals {recorded.structure!r}")
        for i, (t, x) in enumerate(zip(directions, recorded.aliases, strict=True)):
            if not isinstance(t, Tensor):
                raise AutogradError(f"tangent:{i} in flattened pytree must be a Tensor, got {type(t)}")
            for what, mine, wanted in (("shape", tuple(t.shape), tuple(x.shape)), ("dtype", t.dtype, x.dtype)):
                if mine != wanted:
                    raise AutogradError(
                        f"tangent:{i} with {what} {mine!r} in flattened pytree doesn't match the {what} {wanted!r} of the "
                        "corresponding primal."
                    )
        directions = [_ordinary(t) for t in directions]
        found: list[Any] = [None] * len(results)
        if transposed is not None:
            recorded_too = is_grad_enabled() and (keeps or any(t.requires_grad for t in directions))
            for i, t in zip(smooth, transposed.push(directions, create_graph=recorded_too), strict=True):
                found[i] = t
        return build(structure, [do("zeros_like", y) if t is None else t for y, t in zip(results, found, strict=True)])

    return recorded.freed(recorded.output), jvp_fn
