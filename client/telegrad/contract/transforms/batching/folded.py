"""Ops that take all rows at once in another shape, the rows among the batch that the op has itself, or as other ops."""

from __future__ import annotations

import math
from typing import Any

from telegrad.contract.dtypes import int64
from telegrad.contract.shapes import dimension
from telegrad.contract.transforms.batched import Call, aligned, by_rows, rule
from telegrad.contract.transforms.batching.reduce import at_least_1d, moved
from telegrad.contract.transforms.wrapper import do

# Rows in the op's own batch ---------------------------------------------------------------------------------------------------


@rule("stft", "istft")
def short_time(call: Call) -> Any:
    """Signals, or their spectra, one behind the other; a window that differs from row to row is done row after row."""
    shape = call.outcome.outputs[0].shape
    if call.batched[1] or not math.prod(shape):
        return by_rows(call)
    kept = 1 if call.name == "stft" else 2
    signals = do("reshape", call.rows(0), shape=(-1, *call.specs[0].shape[-kept:]))
    return call.shaped(do(call.name, signals, call.values[1], **call.parameters))


@rule("max_unpool1d", "max_unpool2d", "max_unpool3d")
def unpooled(call: Call) -> Any:
    """Images of all rows in one batch."""
    _ = call.outcome
    spatial = int(call.name[-2])
    shape = (-1, *call.specs[0].shape[-spatial - 1 :])
    if not call.specs[0].size:
        return by_rows(call)
    x, indices = (do("reshape", call.rows(i), shape=shape) for i in (0, 1))
    return call.shaped(do(call.name, x, indices, **call.parameters))


@rule("renorm")
def renorm(call: Call) -> Any:
    """The slices of all rows are slices."""
    _ = call.outcome
    rank, shape = call.rank(), call.specs[0].shape
    dim = dimension(call.parameters["dim"], rank) + 1
    order = (0, dim, *[d for d in range(1, rank + 1) if d != dim])
    turned = do("permute", call.rows(0), dims=order)
    slices = do("reshape", turned, shape=(call.size * shape[dim - 1], math.prod(turned.shape[2:])))
    made = do("renorm", slices, **{**call.parameters, "dim": 0})
    back = tuple(sorted(range(rank + 1), key=order.__getitem__))
    return do("permute", do("reshape", made, shape=turned.shape), dims=back)


@rule("quantile", "nanquantile")
def quantile(call: Call) -> Any:
    """Along one dimension, or over the flattened row; several quantiles come first, and go behind the rows."""
    _ = call.outcome
    if call.batched[1]:
        return by_rows(call)
    dim, several = call.parameters["dim"], bool(getattr(call.specs[1], "shape", ()))
    x = at_least_1d(call) if dim is not None else do("reshape", call.rows(0), shape=(call.size, call.specs[0].size))
    made = do(call.name, x, call.values[1], **{**call.parameters, "dim": 1 if dim is None else moved(dim)})
    return call.shaped(do("transpose", made, dim0=0, dim1=1) if several else made)


@rule("searchsorted")
def searchsorted(call: Call) -> Any:
    """Each row's values in each row's sequences."""
    _ = call.outcome
    values = call.specs[1]
    if not hasattr(values, "shape"):
        return by_rows(call)
    shape = call.specs[0].shape
    wanted = do("reshape", call.rows(1), shape=(call.size, *shape[:-1], values.size // max(math.prod(shape[:-1]), 1)))
    sorter = None if call.values[2] is None else call.rows(2)
    return call.shaped(do("searchsorted", call.rows(0), wanted, sorter, **call.parameters))


# Other ops that come to the same ----------------------------------------------------------------------------------------------


@rule("addbmm")
def added_products(call: Call) -> Any:
    """The sum of a batch's products is one product of longer matrices."""
    _ = call.outcome
    count, rows, inner = call.specs[1].shape
    left = do("reshape", do("permute", call.rows(1), dims=(0, 2, 1, 3)), shape=(call.size, rows, count * inner))
    right = do("reshape", call.rows(2), shape=(call.size, count * inner, call.specs[2].shape[2]))
    made = do("matmul", left, right)
    beta, alpha = call.parameters["beta"], call.parameters["alpha"]
    made = made if alpha == 1 else do("mul", made, alpha)
    if beta == 0:
        return made
    x = aligned(call.rows(0), 2)
    return do("add", made, x if beta == 1 else do("mul", x, beta))


@rule("dist")
def dist(call: Call) -> Any:
    """The norm of each row's differences."""
    compute = call.outcome.compute
    rank = max(call.rank(0), call.rank(1), 1)
    a, b = (aligned(call.rows(i), rank) for i in (0, 1))
    if compute is not None:
        a, b = (x if x.dtype is compute else do("to", x, dtype=compute) for x in (a, b))
    return do("norm", do("sub", a, b), p=call.parameters["p"], dim=tuple(range(1, rank + 1)), keepdim=False, dtype=None)


@rule("pdist")
def pdist(call: Call) -> Any:
    """The norm of the difference of each pair."""
    count, width = call.specs[0].shape
    if not call.outcome.outputs[0].size or not width:
        return by_rows(call)
    x = call.rows(0)
    pairs = x._apply("triu_indices", row=count, col=count, offset=1, dtype=int64)
    first, second = (do("index_select", x, do("select", pairs, dim=0, index=i), dim=1) for i in (0, 1))
    return do("norm", do("sub", first, second), p=call.parameters["p"], dim=(2,), keepdim=False, dtype=None)


@rule("masked_scatter")
def masked_scatter(call: Call) -> Any:
    """Each place takes the element of its own number among the places that hold."""
    shape = call.outcome.outputs[0].shape
    count = math.prod(shape)
    if not call.specs[2].size or not count:
        return by_rows(call)
    x, mask = (
        do("reshape", do("expand", aligned(call.rows(i), len(shape)), size=(call.size, *shape)), shape=(call.size, count))
        for i in (0, 1)
    )
    source = do("reshape", call.rows(2), shape=(call.size, call.specs[2].size))
    number = do("sub", do("cumsum", mask, dim=1, dtype=int64), 1)
    picked = do("gather", source, do("where", mask, number, 0), dim=1)
    return call.shaped(do("where", mask, picked, x))


@rule("put")
def put(call: Call) -> Any:
    """Elements of the flattened row, by number; negative ones from the end."""
    _ = call.outcome
    count, places = call.specs[0].size, call.specs[1].size
    flat, index, source = (do("reshape", call.rows(i), shape=(call.size, n)) for i, n in ((0, count), (1, places), (2, places)))
    index = do("where", do("lt", index, 0), do("add", index, count), index)
    return call.shaped(do("scatter_add" if call.parameters["accumulate"] else "scatter", flat, index, source, dim=1))


@rule("index_reduce")
def index_reduce(call: Call) -> Any:
    """Slices reduced into others, by number."""
    _ = call.outcome
    shape = call.specs[0].shape or (1,)
    dim = dimension(call.parameters["dim"], len(shape))
    count = call.specs[1].size
    x = at_least_1d(call)
    source = do("reshape", call.rows(2), shape=(call.size, *shape[:dim], count, *shape[dim + 1 :]))
    if not call.batched[1]:
        return call.shaped(do("index_reduce", x, call.values[1], source, **{**call.parameters, "dim": dim + 1}))
    along = tuple([count if d == dim else 1 for d in range(len(shape))])
    index = do("expand", do("reshape", call.rows(1), shape=(call.size, *along)), size=source.shape)
    return call.shaped(do("scatter_reduce", x, index, source, **{**call.parameters, "dim": dim + 1}))
