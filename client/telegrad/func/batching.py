"""``vmap``: a function of one thing as a function of many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, AutogradError
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.transforms import batching as _rules
from telegrad.contract.transforms.batched import Batched, VmapLevel
from telegrad.contract.transforms.trees import LEAF, build, flatten, spread
from telegrad.contract.transforms.wrapper import do, entered

P = ParamSpec("P")
R = TypeVar("R")

RANDOMNESS = ("error", "different", "same")

_ = _rules  # importing it fills the table of rules


def name_of(function: Any) -> str:
    """What messages call a function."""
    if isinstance(function, functools.partial):
        inner: Any = function
        return f"functools.partial({name_of(inner.func)}, ...)"
    return str(getattr(function, "__name__", repr(function)))


def vmap(
    func: Callable[P, R], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable[P, R]:
    """``func`` of single things as a function of batches of them, all rows done at once.

    Inside ``func`` a tensor has the shape of one row. What is the same for all rows (tensors that ``func`` refers to, keyword
    arguments, arguments with ``None`` in ``in_dims``) stays as it is. Calls may be nested, and mixed with the other transforms:
    ``vmap(grad(loss), in_dims=(None, 0, 0))`` gives the gradients of each sample.

    Args:
        func: takes tensors, or nested tuples, lists and dicts of them, and returns such.
        in_dims: the dimension to take rows from, or None for what is the same for all: one for all positional arguments, or a
            tuple with one for each, nested as the arguments are where need be.
        out_dims: where the rows appear in the results: one for all, or nested as the results; None for what has no rows.
        randomness: what a random op does: "error" refuses it, "different" draws for each row, "same" once for all.
        chunk_size: do so many rows at once at most, to need less memory; None does all.

    Returns:
        The function of batches; it takes what ``func`` takes.

    Raises:
        ArgumentValueError: dimensions that do not match the arguments, batches of different sizes, a result that is no tensor.
        AutogradError: inside ``func``, a value of which each row has its own where Python needs one (``if x > 0``, ``.item()``),
            a mask that selects other places in each row, a random op unless allowed.
    """
    if randomness not in RANDOMNESS:
        raise AutogradError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and (type(chunk_size) is not int or chunk_size < 1):
        raise ArgumentValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    if not callable(func):
        raise ArgumentTypeError(f"vmap takes a function, not {type(func).__name__}")

    @functools.wraps(func, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        dims, flat, structure = _input_dimensions(func, in_dims, args)
        size = _batch_size(dims, flat)
        values = [x if d is None else _rows_first(x, d) for x, d in zip(flat, dims, strict=True)]
        function = cast("Callable[..., Any]", func)
        draws: list[Any] = []
        if chunk_size is None or chunk_size >= size:
            level = VmapLevel(size, randomness, draws)
            results, shape, places = _run(level, function, values, dims, structure, kwargs, out_dims)
        else:
            chunks: list[list[Any]] = []
            shape, places = None, []
            for start in range(0, size, chunk_size):
                count = min(chunk_size, size - start)
                level = VmapLevel(count, randomness, draws)
                part = [
                    x if d is None else do("narrow", x, dim=0, start=start, length=count) for x, d in zip(values, dims, strict=True)
                ]
                found, shape, places = _run(level, function, part, dims, structure, kwargs, out_dims)
                chunks.append(found)
            results = [
                column[0] if place is None else do("cat", *column, dim=0)
                for column, place in zip(map(list, zip(*chunks, strict=True)), places, strict=True)
            ]
        moved = [x if not d else do("movedim", x, source=(0,), destination=(d,)) for x, d in zip(results, places, strict=True)]
        return build(shape, moved)

    return cast("Callable[P, R]", wrapped)


def _run(
    level: VmapLevel,
    func: Callable[..., Any],
    values: Sequence[Any],
    dims: Sequence[int | None],
    structure: Any,
    kwargs: dict[str, Any],
    out_dims: Any,
) -> tuple[list[Any], Any, list[Any]]:
    """One run: the results with the rows in front, their structure, and where the rows are wanted."""
    with entered(level):
        args = build(structure, [x if d is None else Batched(level, x) for x, d in zip(values, dims, strict=True)])
        output = func(*args, **kwargs)
        leaves, shape = flatten(output)
        places = _output_dimensions(func, out_dims, shape)
        return [_result(level, func, x, d) for x, d in zip(leaves, places, strict=True)], shape, places


def _input_dimensions(func: Any, in_dims: Any, args: tuple[Any, ...]) -> tuple[list[int | None], list[Any], Any]:
    """Per leaf of the arguments, the dimension to take rows from; the leaves, and their structure."""
    name = name_of(func)
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): "
    if type(in_dims) is not int and not isinstance(in_dims, tuple):
        raise ArgumentValueError(
            f"{where}expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, got: "
            f"{type(in_dims)}."
        )
    if not args:
        raise ArgumentValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function "
            "with no inputs. The latter is unsupported."
        )
    flat, structure = flatten(args)
    dims = spread(in_dims, structure)
    if dims is None:
        raise ArgumentValueError(
            f"{where}in_dims is not compatible with the structure of `inputs`. in_dims has structure {flatten(in_dims)[1]!r} but "
            f"inputs has structure {structure!r}."
        )
    for i, (x, d) in enumerate(zip(flat, dims, strict=True)):
        if d is None:
            continue
        if type(d) is not int:
            raise ArgumentValueError(f"{where}Got in_dim={d} for an input but in_dim must be either an integer dimension or None.")
        if not isinstance(x, TensorBase):
            raise ArgumentValueError(
                f"{where}Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, "
                "please use None as the respective in_dim"
            )
        given: Any = x
        rank = len(given.shape)
        if not -rank <= d < rank:
            raise ArgumentValueError(
                f"{where}Got in_dim={d} for some input, but that input is a Tensor of dimensionality {rank} so expected in_dim to "
                f"satisfy -{rank} <= in_dim < {rank}."
            )
        dims[i] = d % rank
    return dims, flat, structure


def _batch_size(dims: Sequence[int | None], flat: Sequence[Any]) -> int:
    sizes: list[int] = [x.shape[d] for x, d in zip(flat, dims, strict=True) if d is not None]
    if not sizes:
        raise ArgumentValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ArgumentValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped dimension"
        )
    return sizes[0]


def _rows_first(x: Any, dim: int) -> Any:
    return do("movedim", x, source=(dim,), destination=(0,)) if dim else x


def _output_dimensions(func: Any, out_dims: Any, structure: Any) -> list[Any]:
    """Where the rows of each leaf of the results are wanted; None for one without."""
    name = name_of(func)
    for d in flatten(out_dims)[0]:
        if d is not None and type(d) is not int:
            raise ArgumentValueError(
                f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of ints "
                "representing where in the outputs the vmapped dimension should appear."
            )
    given = out_dims
    if isinstance(given, tuple) and len(given) == 1 and structure is LEAF:
        given = given[0]  # one result needs no tuple around its dimension
    places = spread(given, structure)
    if places is None:
        raise ArgumentValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {flatten(out_dims)[1]!r} but outputs has structure {structure!r}."
        )
    return places


def _result(level: VmapLevel, func: Any, x: Any, place: int | None) -> Any:
    name = name_of(func)
    if place is None:
        if isinstance(x, Batched) and x.level is level:
            raise ArgumentValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return x
    if not isinstance(x, TensorBase):
        raise ArgumentValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set out_dims= to None for "
            "output?"
        )
    return level.values_of(x)
