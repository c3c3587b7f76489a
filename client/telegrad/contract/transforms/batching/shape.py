"""Ops that move elements about: views, joins, copies of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from telegrad.contract.ops import Spec
from telegrad.contract.shapes import dimension, dimensions
from telegrad.contract.transforms.batched import Call, aligned, by_rows, rule
from telegrad.contract.transforms.batching.reduce import at_least_1d, moved
from telegrad.contract.transforms.wrapper import do


@rule("reshape", "view", "flatten", "unflatten")
def resized(call: Call) -> Any:
    """Other sizes of the same elements."""
    name = "view" if call.name == "view" else "reshape"
    return do(name, call.rows(0), shape=(call.size, *call.outcome.outputs[0].shape))


@rule("squeeze")
def squeeze(call: Call) -> Any:
    """Without the dimensions of size 1, or those named."""
    _ = call.outcome
    dim = call.parameters["dim"]
    shape = call.specs[0].shape
    wanted: Sequence[int]
    if dim is None:
        wanted = range(len(shape))
    else:
        named = (dim,) if isinstance(dim, int) else dim
        wanted = dimensions(named, len(shape)) if named else ()
    return do("squeeze", call.rows(0), dim=tuple([d + 1 for d in wanted if d < len(shape) and shape[d] == 1]))


@rule("unsqueeze")
def unsqueeze(call: Call) -> Any:
    """With one dimension more."""
    _ = call.outcome
    return do("unsqueeze", call.rows(0), dim=moved(call.parameters["dim"]))


@rule("expand")
def expand(call: Call) -> Any:
    """Repeated without memory."""
    shape = call.outcome.outputs[0].shape
    return do("expand", aligned(call.rows(0), len(shape)), size=(call.size, *shape))


@rule("sum_to_size")
def sum_to_size(call: Call) -> Any:
    """Summed over what was broadcast."""
    shape = call.outcome.outputs[0].shape
    missing = call.rank() - len(shape)
    made = do("sum_to_size", call.rows(0), size=(call.size, *(1,) * missing, *shape))
    return call.shaped(made)


@rule("repeat")
def repeat(call: Call) -> Any:
    """Copies beside each other."""
    repeats = call.parameters["repeats"]
    _ = call.outcome
    return do("repeat", aligned(call.rows(0), len(repeats)), repeats=(1, *repeats))


@rule("permute")
def permute(call: Call) -> Any:
    """Dimensions in another order."""
    _ = call.outcome
    rank = call.rank()
    return do("permute", call.rows(0), dims=(0, *[dimension(d, rank) + 1 for d in call.parameters["dims"]]))


@rule("transpose")
def transpose(call: Call) -> Any:
    """Two dimensions swapped."""
    _ = call.outcome
    rank = call.rank()
    if not rank:
        return do("permute", call.rows(0), dims=(0,))
    dim0, dim1 = (dimension(call.parameters[k], rank) + 1 for k in ("dim0", "dim1"))
    return do("transpose", call.rows(0), dim0=dim0, dim1=dim1)


@rule("t")
def t(call: Call) -> Any:
    """A matrix's two dimensions swapped; less than a matrix stays."""
    _ = call.outcome
    rank = call.rank()
    return do("permute", call.rows(0), dims=(0, 2, 1) if rank == 2 else tuple(range(rank + 1)))


@rule("movedim")
def movedim(call: Call) -> Any:
    """Dimensions moved to other places."""
    _ = call.outcome
    rank = call.rank()
    if not rank:
        return do("permute", call.rows(0), dims=(0,))

    def places(given: Any) -> tuple[int, ...]:
        return tuple([dimension(d, rank) + 1 for d in ((given,) if isinstance(given, int) else given)])

    return do("movedim", call.rows(0), source=places(call.parameters["source"]), destination=places(call.parameters["destination"]))


@rule("flip")
def flip(call: Call) -> Any:
    """Reversed along dimensions."""
    _ = call.outcome
    made = do("flip", at_least_1d(call), dims=tuple([moved(d) for d in call.parameters["dims"]]))
    return call.shaped(made)


@rule("roll")
def roll(call: Call) -> Any:
    """Shifted around, along dimensions or through the flattened row."""
    _ = call.outcome
    dims, shifts = call.parameters["dims"], call.parameters["shifts"]
    if dims is None or dims == ():
        flat = do("reshape", call.rows(0), shape=(call.size, call.specs[0].size))
        one = shifts if isinstance(shifts, int) else shifts[0]
        return call.shaped(do("roll", flat, shifts=(one,), dims=(1,)))
    several = (dims,) if isinstance(dims, int) else dims
    made = do("roll", at_least_1d(call), shifts=shifts, dims=tuple([moved(d) for d in several]))
    return call.shaped(made)


@rule("tril", "triu")
def triangle(call: Call) -> Any:
    """A part of each matrix."""
    _ = call.outcome
    return do(call.name, call.rows(0), **call.parameters)


@rule("diagonal", "diag_embed")
def diagonal(call: Call) -> Any:
    """A diagonal as a dimension, or a dimension as a diagonal."""
    _ = call.outcome
    p = call.parameters
    return do(call.name, at_least_1d(call), offset=p["offset"], dim1=moved(p["dim1"]), dim2=moved(p["dim2"]))


@rule("select", "narrow", "split", "split_with_sizes", "chunk", "unbind")
def part(call: Call) -> Any:
    """Parts along one dimension."""
    _ = call.outcome
    p = call.parameters
    return do(call.name, call.rows(0), **{**p, "dim": dimension(p["dim"], call.rank()) + 1})


@rule("cat")
def cat(call: Call) -> Any:
    """Joined along a dimension; as for single tensors, empty vectors join anything."""
    rank = len(call.outcome.outputs[0].shape)
    rows = [call.rows(i) for i, spec in enumerate(call.specs) if rank == 1 or spec.shape != (0,)]
    made = do("cat", *rows, dim=moved(call.parameters["dim"]))
    return _as(made, call.outcome.outputs[0])


@rule("stack")
def stack(call: Call) -> Any:
    """Joined along a new dimension."""
    out = call.outcome.outputs[0]
    return _as(do("stack", *[call.rows(i) for i in range(len(call.inputs))], dim=moved(call.parameters["dim"])), out)


def _as(made: Any, out: Spec) -> Any:
    """The result in the type of one row's: 0-d tensors count less in promotion than their rows do."""
    return made if made.dtype is out.dtype else do("to", made, dtype=out.dtype)


@rule("as_strided_scatter")
def as_strided_scatter(call: Call) -> Any:
    """Each row as if it had memory of its own."""
    _ = call.outcome
    x, src = call.rows(0), call.rows(1)
    if not call.size:
        return do("clone", x)
    made: list[Any] = []
    for i in range(call.size):
        row, part = (do("select", rows, dim=0, index=i) for rows in (x, src))
        made.append(do(call.name, do("clone", row), part, **call.parameters))
    return do("stack", *made, dim=0)


@rule("as_strided")
def as_strided(call: Call) -> Any:
    """Each row from where it begins: ``storage_offset`` counts from there, as it does in PyTorch."""
    p = call.parameters
    size, stride, offset = p["size"], p["stride"], p["storage_offset"]
    _ = call.outcome
    if not offset:
        return by_rows(Call(call.level, call.name, call.inputs, {**p, "storage_offset": None}))
    # A view may begin where the tensor does, or anywhere in memory: the second of two rows that lie so far apart.
    steps = {"size": (2, *size), "stride": (offset, *stride), "storage_offset": None}
    return do("select", by_rows(Call(call.level, call.name, call.inputs, steps)), dim=1, index=1)
