"""Gradients of functions: ``grad``, ``vjp``, ``jacrev``, backwards through what a function records."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from telegrad.contract import checks
from telegrad.contract.errors import ArgumentValueError, AutogradError
from telegrad.contract.modes import enable_grad, is_grad_enabled, without_inference
from telegrad.contract.ops import Spec
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.trees import build, flatten
from telegrad.contract.transforms.wrapper import Level, Wrapped, do, entered, lifted, running

Argnums: TypeAlias = "int | tuple[int, ...]"


# Arguments -------------------------------------------------------------------------------------------------------------------


def positions_of(argnums: Any, count: int) -> tuple[int, ...]:
    """The positional arguments that ``argnums`` names, counted from the front.

    Raises AutogradError for anything but an int or a tuple of different ints, and for arguments that are not there.
    """
    if isinstance(argnums, bool) or not isinstance(argnums, (int, tuple)):
        raise AutogradError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    given: tuple[Any, ...] = argnums if isinstance(argnums, tuple) else (argnums,)
    found: list[int] = []
    for n in given:
        if type(n) is not int:
            raise AutogradError(f"argnum must be int, got: {type(n)}")
        if not -count <= n < count:
            raise AutogradError(f"Got argnum={n}, but only {count} positional inputs")
        found.append(n % count)
    if not given:
        raise AutogradError("argnums must be non-empty")
    if len(set(found)) != len(found):
        raise AutogradError(f"argnums elements must be unique, got {argnums}")
    return tuple(found)


def chosen(args: tuple[Any, ...], argnums: Any) -> tuple[tuple[int, ...], Any]:
    """Which arguments, and what is differentiated: one argument, or a tuple of them."""
    places = positions_of(argnums, len(args))
    return places, tuple([args[i] for i in places]) if isinstance(argnums, tuple) else args[places[0]]


def replaced(args: tuple[Any, ...], places: tuple[int, ...], values: Any, argnums: Any) -> list[Any]:
    """The arguments with others in the place of those that are differentiated."""
    every = list(args)
    for i, value in zip(places, values if isinstance(argnums, tuple) else (values,), strict=True):
        every[i] = value
    return every


# Recording a function --------------------------------------------------------------------------------------------------------


class Recorded:
    """One call of a function, recorded so that it can be differentiated.

    Attributes:
        aliases: what stands for each tensor that is differentiated; it requires grad.
        structure: of what is differentiated.
        outside: whether anything that was there before takes part in the graph, so that results keep a history.
        output: what the function gave.
    """

    def __init__(self, call: Callable[[Any], Any], given: Any) -> None:
        """Call ``call`` with a tree like ``given`` whose tensors require grad."""
        leaves, self.structure = flatten(given)
        for x in leaves:
            if not isinstance(x, Tensor):
                raise ArgumentValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        self._recording = is_grad_enabled()
        level = Level()
        with entered(level), without_inference(), enable_grad():
            around = running()
            own = [lifted(x, around) for x in leaves]
            self._earlier = any(x.requires_grad for x in own)
            self.aliases: list[Any] = [_alias(x) for x in own]
            self.output = call(build(self.structure, self.aliases))

    def depend(self, roots: Sequence[Any]) -> bool:
        """Whether ``roots`` depend on anything that requires grad apart from the aliases."""
        return self._earlier or _reaches_others(roots, self.aliases)

    def freed(self, tree: Any) -> Any:
        """Results of the function without the history that was made for this call, with any other."""

        def free(x: Any) -> Any:
            if not isinstance(x, Tensor):
                raise AutogradError(f"Expected tensors, got unsupported type {type(x)}")
            if not x.requires_grad or (self._recording and self.depend([x])):
                return x
            return _without_history(x)

        leaves, structure = flatten(tree)
        return build(structure, [free(x) for x in leaves])

    def gradients(
        self, outputs: Sequence[Any], vectors: Sequence[Any], *, batched: int | None = None, retain_graph: bool = False
    ) -> Any:
        """The gradients of ``outputs`` with these vectors, nested as what is differentiated; zeros where there is no dependence.

        ``batched`` says how many vectors there are along the first dimension of each of ``vectors``, where there are several.
        """
        pairs = [(y, v) for y, v in zip(outputs, vectors, strict=True) if y.requires_grad]
        found: Sequence[Any] = (None,) * len(self.aliases)
        # What is recorded now counts, and not what was when the function was called: as in PyTorch.
        create_graph = is_grad_enabled() and (any(_requires(v) for v in vectors) or self.depend([y for y, _ in pairs]))
        if pairs and self.aliases and batched != 0:
            with without_inference(), enable_grad():
                found = self.aliases[0].session.grad(
                    [y for y, _ in pairs],
                    self.aliases,
                    [v for _, v in pairs],
                    retain_graph=retain_graph or create_graph,
                    create_graph=create_graph,
                    allow_unused=True,
                    is_grads_batched=batched is not None,
                )
        return build(self.structure, [_zeros(x, batched) if g is None else g for x, g in zip(self.aliases, found, strict=True)])


def _alias(x: Any) -> Any:
    """What stands for ``x`` inside of the function: it requires grad, and its history begins or goes on at ``x``."""
    if x.requires_grad:
        return do("expand", x, size=tuple(x.shape))
    checks.check_can_require_grad(x.dtype)
    return _leaf(x)


def _leaf(x: Any) -> Any:
    if isinstance(x, Wrapped):
        return x._with_main(_leaf)
    made = do("clone" if x.is_inference() else "detach", x)  # such a tensor is never saved, nor are those that share its memory
    made.requires_grad = True
    return made


def _without_history(x: Any) -> Any:
    return x._with_held(_without_history) if isinstance(x, Wrapped) else do("detach", x)


def _requires(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _zeros(x: Any, batched: int | None) -> Any:
    size = tuple(x.shape) if batched is None else (batched, *x.shape)
    return do("new_full", x, size=size, fill_value=0)


def _held(x: Any) -> list[Any]:
    """The tensors under all wrappers."""
    return [t for part in x._all_held() for t in _held(part)] if isinstance(x, Wrapped) else [x]


def _reaches_others(roots: Sequence[Any], own: Sequence[Any]) -> bool:
    """Whether the graph of ``roots`` has leaves other than ``own``."""
    tensors = [t for x in roots for t in _held(x)]
    leaves = [t for x in own for t in _held(x)]
    return bool(tensors) and bool(tensors[0].session._reaches_others(tensors, leaves))


# Transforms ------------------------------------------------------------------------------------------------------------------


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., tuple[Any, Any]]:
    """A function that gives the gradient of the scalar function ``func``, and its value: ``(gradient, value)``.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns a 0-d tensor.
        argnums: the positional argument to differentiate with respect to, or a tuple of them.
        has_aux: ``func`` returns ``(value, aux)``; ``aux`` is handed on: ``(gradient, (value, aux))``.

    Returns:
        A function of the same arguments. The gradient is nested as the argument; a tuple of such for a tuple of ``argnums``.

    Raises:
        AutogradError: a result that is no 0-d tensor, ``argnums`` that are not there.
        DTypeError: an argument of integers.
    """

    @functools.wraps(func, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        places, given = chosen(args, argnums)
        recorded = Recorded(lambda own: func(*replaced(args, places, own, argnums), **kwargs), given)
        value, aux = with_aux(recorded.output, has_aux, "grad_and_value(f)(*args)")
        if not isinstance(value, Tensor):
            raise AutogradError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(value)}")
        if value.shape:
            raise AutogradError(
                "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                f"{len(value.shape)} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        checks.check_implicit(Spec(value.shape, value.dtype), True)
        gradient = recorded.gradients([value], [do("ones_like", _without_history(value))])
        return gradient, ((recorded.freed(value), recorded.freed(aux)) if has_aux else recorded.freed(value))

    return wrapped


def value_and_grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., tuple[Any, Any]]:
    """``grad_and_value`` the other way around: ``(value, gradient)``, or ``((value, aux), gradient)`` with ``has_aux``."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        gradient, value = both(*args, **kwargs)
        return value, gradient

    return wrapped


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of the scalar function ``func``; see ``grad_and_value``.

    ``grad(grad(f))`` is the second derivative. With ``has_aux`` it gives ``(gradient, aux)``.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of ``func`` at ``primals``, and a function that multiplies vectors with its Jacobian from the left.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns such.
        primals: where to call it.
        has_aux: ``func`` returns ``(output, aux)``.

    Returns:
        ``(output, vjp_fn)``, or ``(output, vjp_fn, aux)``. ``vjp_fn(cotangents)`` takes vectors nested as the output and gives a
        tuple of gradients, one for each primal, nested as it is; it may be called any number of times.

    Raises:
        AutogradError: a function whose results are no tensors, or none of floating or complex numbers; vectors nested otherwise
            than the output.
    """
    recorded = Recorded(lambda own: func(*own), tuple(primals))
    output, aux = with_aux(recorded.output, has_aux, "vjp(f, *primals)")
    results, structure = tensors_of(output, "vjp(f, *primals)")
    for y in results:
        if not y.dtype.is_differentiable:
            raise AutogradError(
                f"vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype {y.dtype!r}"
            )

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        """The gradients for these vectors, nested as the output; a tuple with one for each primal."""
        vectors, given = flatten(cotangents)
        if given != structure:
            raise AutogradError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {given!r}, primal output: {structure!r}"
            )
        for i, (y, v) in enumerate(zip(results, vectors, strict=True)):
            if not isinstance(v, Tensor):
                raise checks.not_a_vector(v)
            checks.check_vector(i, Spec(y.shape, y.dtype), Spec(v.shape, v.dtype))
        made = recorded.gradients(results, vectors, retain_graph=retain_graph)
        return _free(made) if create_graph is False else made

    freed = recorded.freed(output)
    return (freed, vjp_fn, recorded.freed(aux)) if has_aux else (freed, vjp_fn)


def jacrev(
    func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``, row by row backwards, all rows in one walk.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns such; real numbers only.
        argnums: the positional argument to differentiate with respect to, or a tuple of them.
        has_aux: ``func`` returns ``(output, aux)``; the result is ``(jacobian, aux)``.
        chunk_size: so many rows at once at most, to need less memory.

    Returns:
        A function of the same arguments. The Jacobian is nested as the output, and in it as the argument (a tuple of such for a
        tuple of ``argnums``); each has the shape [*output, *argument].

    Raises:
        AutogradError: complex numbers, results that are no tensors, ``argnums`` that are not there.
    """
    if chunk_size is not None and (type(chunk_size) is not int or chunk_size < 1):
        raise ArgumentValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func, updated=())
    def wrapped(*args: Any) -> Any:
        refuse_complex("jacrev", "inputs", flatten(args)[0])
        places, given = chosen(args, argnums)
        recorded = Recorded(lambda own: func(*replaced(args, places, own, argnums)), given)
        output, aux = with_aux(recorded.output, has_aux, "vjp(f, *primals)")
        results, structure = tensors_of(output, "vjp(f, *primals)")
        refuse_complex("jacrev", "outputs", results)
        rows = _rows(recorded, results, chunk_size)
        jacobian = build(structure, rows)
        return (jacobian, recorded.freed(aux)) if has_aux else jacobian

    return wrapped


def _rows(recorded: Recorded, results: Sequence[Any], chunk_size: int | None) -> list[Any]:
    """Per result, the Jacobian nested as what is differentiated."""
    sizes = [y.numel() for y in results]
    total = sum(sizes)
    step = total if chunk_size is None else min(chunk_size, total)
    pieces: list[list[Any]] = []
    for start in range(0, total, max(step, 1)):
        count = min(step, total - start)
        vectors = [_basis(y, offset, start, count) for y, offset in zip(results, _offsets(sizes), strict=True)]
        pieces.append(flatten(recorded.gradients(results, vectors, batched=count, retain_graph=start + count < total))[0])
    if not pieces:
        pieces.append(flatten(recorded.gradients(results, [None] * len(results), batched=0))[0])
    columns = [c[0] if len(c) == 1 else do("cat", *c, dim=0) for c in map(list, zip(*pieces, strict=True))]
    found: list[Any] = []
    for y, size, offset in zip(results, sizes, _offsets(sizes), strict=True):
        own = [
            do("reshape", do("narrow", c, dim=0, start=offset, length=size) if len(results) > 1 else c, shape=(*y.shape, *x.shape))
            for c, x in zip(columns, recorded.aliases, strict=True)
        ]
        found.append(build(recorded.structure, own))
    return found


def _offsets(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _basis(y: Any, offset: int, start: int, count: int) -> Any:
    """Of the unit vectors of all results together, numbers ``start`` to ``start + count``: the part that belongs to ``y``."""
    size = y.numel()
    session = y.session
    if start == offset and count == size:
        rows = session.eye(size, dtype=y.dtype)
    else:
        numbers = session.arange(start - offset, start - offset + count)
        rows = do("to", do("eq", do("unsqueeze", numbers, dim=1), session.arange(size)), dtype=y.dtype)
    return do("reshape", rows, shape=(count, *y.shape))


def with_aux(output: Any, has_aux: bool, where: str) -> tuple[Any, Any]:
    """What a function gave, and what it gave beside; refuses anything but a pair where there should be one."""
    if not has_aux:
        return output, None
    pair: Any = output
    if not isinstance(output, tuple) or len(pair) != 2:
        raise AutogradError(f"{where}: output of function f should be a tuple: (output, aux) if has_aux is True")
    value, aux = pair
    return value, aux


def tensors_of(output: Any, where: str) -> tuple[list[Any], Any]:
    """The tensors of a result, and its structure."""
    leaves, structure = flatten(output)
    if not leaves or (len(leaves) == 1 and leaves[0] is None):
        raise AutogradError(f"{where}: Expected f to be a function that has non-empty output (got output = {leaves})")
    for y in leaves:
        if not isinstance(y, Tensor):
            raise AutogradError(f"{where}: expected f(*primals) to return only tensors, got unsupported type {type(y)}")
    return leaves, structure


def refuse_complex(function: str, what: str, leaves: Sequence[Any]) -> None:
    """Raise the error of complex numbers where a Jacobian is of real ones."""
    for i, x in enumerate(leaves):
        if isinstance(x, Tensor) and x.dtype.is_complex:
            raise AutogradError(
                f"{function}: Expected all {what} to be real but received complex tensor at flattened input idx: {i}"
            )


def _free(tree: Any) -> Any:
    leaves, structure = flatten(tree)
    return build(structure, [_without_history(x) for x in leaves])
