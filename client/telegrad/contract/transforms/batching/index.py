"""Ops that look up, scatter and fill by index. The row's own number stands in front of indices that differ from row to row."""

from __future__ import annotations

from typing import Any

from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentValueError, AutogradError
from telegrad.contract.indexing import INTEGERS, MASKS, Resolved, placement, resolve
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.shapes import broadcast, dimension
from telegrad.contract.transforms.batched import Call, aligned, by_rows, counted, rule
from telegrad.contract.transforms.batching.reduce import at_least_1d, moved
from telegrad.contract.transforms.wrapper import do

DYNAMIC = "vmap: We do not support batching operators that can support dynamic shape."
"""What is said of results whose shape would differ from row to row."""


def numbers(call: Call, *shape: int) -> Any:
    """The number of each row, in that shape."""
    first: Any = next(v for v, b in zip(call.values, call.batched, strict=True) if b)
    return do("reshape", counted(first, call.size), shape=shape)


# Brackets --------------------------------------------------------------------------------------------------------------------


@rule("getitem.int")
def select_first(call: Call) -> Any:
    """One slice of each row."""
    _ = call.outcome
    return do("select", call.rows(0), dim=1, index=call.parameters["index"])


@rule("getitem")
def getitem(call: Call) -> Any:
    """Integers and slices: a view."""
    _ = call.outcome
    return do("getitem", call.rows(0), index=(slice(None), *call.parameters["index"]))


@rule("getitem.tensor")
def getitem_by_tensors(call: Call) -> Any:
    """Integers that wait in tensors, the same for all rows: a view."""
    _ = call.outcome
    return do("getitem.tensor", call.rows(0), *call.values[1:], index=(slice(None), *call.parameters["index"]))


def _masks(call: Call, first: int) -> list[bool]:
    """Per index tensor from input ``first`` on, whether it is a mask. Refuses those that differ from row to row."""
    found = [spec.dtype in MASKS for spec in call.specs[first:]]
    if any(m and b for m, b in zip(found, call.batched[first:], strict=True)):
        raise AutogradError(f"{DYNAMIC} Attempting to batch over indexing with a boolean mask. Use telegrad.where.")
    return found


def _behind_rows(call: Call, first: int) -> tuple[Resolved, int, tuple[Any, ...], list[Any]]:
    """An index that also names the row: what it means for one row, the number of dimensions that the index tensors have together,
    the items for all rows, and their tensors. What it selects has the row in front, then those dimensions, then the others.
    """
    items = call.parameters["index"]
    resolved = resolve(call.specs[0].shape, items, call.specs[first:])
    shapes = [(int(item),) if type(item) is bool else call.specs[first - 1 + item.position].shape for _, item in resolved.advanced]
    together = len(broadcast(*shapes)) if shapes else 0
    # A row's integer may be of any type, a vector of them may not.
    values = [v if v.dtype in (*INTEGERS, *MASKS) else do("to", v, dtype=dtypes.int64) for v in call.values[first:]]
    tensors = [aligned(v, together) if b else v for v, b in zip(values, call.batched[first:], strict=True)]
    own = TensorSlot(len(tensors) + 1)
    return resolved, together, (own, *items), [*tensors, numbers(call, call.size, *(1,) * together)]


def _place(resolved: Resolved) -> int:
    return placement([dim for dim, _ in resolved.advanced]) if resolved.advanced else 0


def _one_mask(call: Call, masks: list[bool]) -> bool:
    """Whether the index is one mask, the same for all rows, beside integers and slices."""
    others = any(type(item) is bool for item in call.parameters["index"])
    return masks == [True] and not others


@rule("index")
def index(call: Call) -> Any:
    """Booleans and tensors."""
    masks = _masks(call, 1)
    if _one_mask(call, masks):
        # The same for all rows: one more dimension in front of it changes nothing.
        return do("index", call.rows(0), call.values[1], index=(slice(None), *call.parameters["index"]))
    if any(masks):
        return by_rows(call)
    _ = call.outcome
    resolved, together, items, tensors = _behind_rows(call, 1)
    made = do("index", call.rows(0), *tensors, index=items)
    at = _place(resolved)
    if at and together:
        source = tuple(range(1, together + 1))
        made = do("movedim", made, source=source, destination=tuple([d + at for d in source]))
    return call.shaped(made)


@rule("index_put")
def index_put(call: Call) -> Any:
    """Written where booleans and tensors select."""
    masks = _masks(call, 2)
    x, values = call.rows(0), call.values[1]
    accumulate = call.parameters["accumulate"]
    if any(masks) and not (_one_mask(call, masks) and not call.batched[1]):
        return by_rows(call)
    if any(masks):
        items = (slice(None), *call.parameters["index"])
        return do("index_put", x, values, call.values[2], index=items, accumulate=accumulate)
    _ = call.outcome
    resolved, together, items, tensors = _behind_rows(call, 2)
    at = _place(resolved)
    spec = call.specs[1]
    if hasattr(spec, "shape"):
        rank = len(resolved.view_shape) - len(resolved.advanced) + together
        if call.batched[1]:
            values = aligned(values, rank)
        elif at and together and len(spec.shape) < rank:
            values = do("reshape", values, shape=(*(1,) * (rank - len(spec.shape)), *spec.shape))
        if at and together:
            lead = int(call.batched[1])
            source = tuple(range(at + lead, at + lead + together))
            values = do("movedim", values, source=source, destination=tuple(range(lead, lead + together)))
    return do("index_put", x, values, *tensors, index=items, accumulate=accumulate)


# Along one dimension ---------------------------------------------------------------------------------------------------------


def _vectors(call: Call, position: int) -> Any:
    """All rows of an input, each at least a vector."""
    x = call.rows(position)
    return x if call.rank(position) else do("reshape", x, shape=(call.size, 1))


@rule("gather", "take_along_dim")
def gather(call: Call) -> Any:
    """Looked up by an index of the same rank."""
    _ = call.outcome
    dim = call.parameters["dim"]
    if dim is None:
        flat = do("reshape", call.rows(0), shape=(call.size, call.specs[0].size))
        at = do("reshape", call.rows(1), shape=(call.size, call.specs[1].size))
        return call.shaped(do("gather", flat, at, dim=1))
    return call.shaped(do(call.name, _vectors(call, 0), _vectors(call, 1), dim=moved(dim)))


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(call: Call) -> Any:
    """Written by an index of the same rank."""
    _ = call.outcome
    p = call.parameters
    source = _vectors(call, 2) if hasattr(call.specs[2], "shape") else call.values[2]
    return call.shaped(do(call.name, _vectors(call, 0), _vectors(call, 1), source, **{**p, "dim": moved(p["dim"])}))


@rule("select_scatter", "slice_scatter")
def scatter_part(call: Call) -> Any:
    """Written into a part."""
    _ = call.outcome
    p = call.parameters
    return do(call.name, call.rows(0), call.rows(1), **{**p, "dim": moved(p["dim"])})


@rule("diagonal_scatter")
def scatter_diagonal(call: Call) -> Any:
    """Written into a diagonal."""
    _ = call.outcome
    p = call.parameters
    return do(call.name, call.rows(0), call.rows(1), **{**p, "dim1": moved(p["dim1"]), "dim2": moved(p["dim2"])})


@rule("unfold")
def unfold(call: Call) -> Any:
    """Windows along a dimension, a view."""
    _ = call.outcome
    p = call.parameters
    if not call.rank():
        return by_rows(call)
    return do("unfold", call.rows(0), **{**p, "dimension": moved(p["dimension"])})


@rule("view.dtype")
def as_other_type(call: Call) -> Any:
    """The bits as another type."""
    _ = call.outcome
    return do("view.dtype", call.rows(0), **call.parameters) if call.rank() else by_rows(call)


@rule("bucketize")
def bucketize(call: Call) -> Any:
    """Places among boundaries that are the same for all rows."""
    _ = call.outcome
    return by_rows(call) if call.batched[1] else do("bucketize", *call.values, **call.parameters)


@rule("isin")
def isin(call: Call) -> Any:
    """Whether each element is among some that are the same for all rows."""
    _ = call.outcome
    return by_rows(call) if call.batched[1] else do("isin", *call.values, **call.parameters)


def _along(call: Call, shape: tuple[int, ...], dim: int) -> Any:
    """The index vector of each row, spread over the other dimensions of ``shape``."""
    count = call.specs[1].size
    index = do("reshape", call.rows(1), shape=(call.size, *[count if d == dim else 1 for d in range(len(shape))]))
    return do("expand", index, size=(call.size, *shape[:dim], count, *shape[dim + 1 :]))


@rule("index_select")
def index_select(call: Call) -> Any:
    """Slices by number."""
    _ = call.outcome
    x = at_least_1d(call)
    dim = dimension(call.parameters["dim"], call.rank())
    if not call.batched[1]:
        return call.shaped(do("index_select", x, call.values[1], dim=dim + 1))
    return call.shaped(do("gather", x, _along(call, call.specs[0].shape or (1,), dim), dim=dim + 1))


@rule("index_add", "index_copy")
def index_add(call: Call) -> Any:
    """Slices added to, or replaced, by number."""
    _ = call.outcome
    dim = dimension(call.parameters["dim"], call.rank())
    x, source = at_least_1d(call), _vectors(call, 2)
    if not call.batched[1]:
        return call.shaped(do(call.name, x, call.values[1], source, **{**call.parameters, "dim": dim + 1}))
    shape = call.specs[0].shape or (1,)
    index = _along(call, shape, dim)
    source = do("expand", source, size=index.shape)
    if call.name == "index_copy":
        return call.shaped(do("scatter", x, index, source, dim=dim + 1))
    if call.parameters["alpha"] != 1:
        source = do("mul", source, call.parameters["alpha"])
    return call.shaped(do("scatter_add", x, index, source, dim=dim + 1))


@rule("index_fill")
def index_fill(call: Call) -> Any:
    """Slices filled by number; negative ones from the end."""
    _ = call.outcome
    dim = dimension(call.parameters["dim"], call.rank())
    x, value = at_least_1d(call), call.values[2]
    if not call.batched[1] and not call.batched[2]:
        return call.shaped(do("index_fill", x, call.values[1], value, dim=dim + 1))
    shape = call.specs[0].shape or (1,)
    index = _along(call, shape, dim)
    index = do("where", do("lt", index, 0), do("add", index, shape[dim]), index)
    if hasattr(call.specs[2], "shape"):
        value = call.level.values_of(call.inputs[2])
        value = do("expand", do("reshape", value, shape=(call.size, *(1,) * len(shape))), size=index.shape)
        value = value if value.dtype is x.dtype else do("to", value, dtype=x.dtype)
        return call.shaped(do("scatter", x, index, value, dim=dim + 1))
    return call.shaped(do("scatter", x, index, value, dim=dim + 1))


@rule("take")
def take(call: Call) -> Any:
    """Elements of the flattened row, by number; negative ones from the end."""
    _ = call.outcome
    count = call.specs[0].size
    flat = do("reshape", call.rows(0), shape=(call.size, count))
    at = do("reshape", call.rows(1), shape=(call.size, call.specs[1].size))
    return call.shaped(do("gather", flat, do("where", do("lt", at, 0), do("add", at, count), at), dim=1))


# Masks and positions ---------------------------------------------------------------------------------------------------------


@rule("masked_select")
def masked_select(call: Call) -> Any:
    """What a mask that is the same for all rows selects."""
    if call.batched[1]:
        raise AutogradError(
            "vmap: Attempted to vmap over `mask` in telegrad.masked_select(self, mask). We cannot support this because for each "
            "batch this would return a differently shaped Tensor. Use telegrad.where."
        )
    shape = broadcast(call.specs[0].shape, call.specs[1].shape)
    if call.specs[1].dtype is not dtypes.bool_ or not shape:
        return by_rows(call)
    x = do("expand", aligned(call.rows(0), len(shape)), size=(call.size, *shape))
    mask = do("expand", call.values[1], size=shape)
    return do("index", x, mask, index=(slice(None), TensorSlot(1)))


@rule("nonzero", "unique", "unique_consecutive")
def positions(call: Call) -> Any:
    """Refused: rows have different numbers of them."""
    raise AutogradError(
        f"vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over {call.name}."
    )


@rule("embedding")
def embedding(call: Call) -> Any:
    """Rows of a table; of a table for each row, behind each other."""
    _ = call.outcome
    if call.parameters["scale_grad_by_freq"] or (call.batched[1] and call.parameters["padding_idx"] is not None):
        return by_rows(call)
    if not call.batched[1]:
        return do("embedding", call.values[0], call.values[1], **call.parameters)
    count, width = call.specs[1].shape
    table = do("reshape", call.rows(1), shape=(call.size * count, width))
    first = do("mul", numbers(call, call.size, *(1,) * call.rank(0)), count)
    return do("embedding", do("add", call.values[0], first), table, **call.parameters)


@rule("one_hot")
def one_hot(call: Call) -> Any:
    """Classes as vectors of a given length."""
    if call.parameters["num_classes"] <= 0:
        raise ArgumentValueError(
            "When vmap-ing telegrad.nn.functional.one_hot, please provide an explicit positive num_classes argument."
        )
    return do("one_hot", call.rows(0), **call.parameters)
