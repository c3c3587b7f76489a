"""Internal ops, which gradients are made of: many vectors through one graph meet them."""

from __future__ import annotations

import math
from typing import Any

from telegrad.contract.indexing import MASKS, placement, resolve
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.shapes import broadcast
from telegrad.contract.transforms.batched import Call, aligned, by_rows, counted, rule
from telegrad.contract.transforms.batching.index import numbers
from telegrad.contract.transforms.batching.reduce import moved
from telegrad.contract.transforms.wrapper import do


@rule("_getitem_gradient")
def getitem_gradient(call: Call) -> Any:
    """The transpose of a view of each row."""
    p = call.parameters
    return do("_getitem_gradient", call.rows(0), shape=(call.size, *p["shape"]), index=(slice(None), *p["index"]))


@rule("_index_gradient")
def index_gradient(call: Call) -> Any:
    """The transpose of looking up in each row."""
    shape, items = tuple(call.parameters["shape"]), call.parameters["index"]
    specs = call.specs[1:]
    if any(spec.dtype in MASKS for spec in specs) or any(type(item) is bool for item in items):
        return by_rows(call)
    resolved = resolve(shape, items, specs)
    together = len(broadcast(*[specs[item.position - 1].shape for _, item in resolved.advanced])) if resolved.advanced else 0
    at = placement([dim for dim, _ in resolved.advanced]) if resolved.advanced else 0
    g = call.rows(0)
    if at and together:
        source = tuple(range(at + 1, at + 1 + together))
        g = do("movedim", g, source=source, destination=tuple(range(1, together + 1)))
    tensors = [aligned(v, together) if b else v for v, b in zip(call.values[1:], call.batched[1:], strict=True)]
    own = TensorSlot(len(tensors) + 1)
    rows = numbers(call, call.size, *(1,) * together)
    return do("_index_gradient", g, *tensors, rows, shape=(call.size, *shape), index=(own, *items))


@rule("_contract")
def contract(call: Call) -> Any:
    """The batch is one label more."""
    left, _, output = call.parameters["equation"].partition(">")
    row = next(c for c in map(chr, range(ord("A"), 0x10000)) if c not in left and c not in output)
    terms = [row * b + term for term, b in zip(left.split(","), call.batched, strict=True)]
    shape = (call.size, *call.parameters["shape"])
    return do("_contract", *call.values, equation=f"{','.join(terms)}>{row}{output}", shape=shape)


@rule("_pick_class", "_spread_class")
def classes(call: Call) -> Any:
    """The elements at the classes of each sample, and back; rows as more samples."""
    p = dict(call.parameters)
    target = call.specs[1].shape
    x, own = call.rows(0), call.specs[0].shape
    if call.name == "_spread_class" and own != target:
        x, own = do("expand", aligned(x, len(target)), size=(call.size, *target)), target
    count = call.size * target[0] if target else call.size
    x = do("reshape", x, shape=(count, *(own[1:] if target else own)))
    if call.name == "_spread_class":
        shape = tuple(p["shape"])
        p["shape"] = (count, *(shape[1:] if target else shape))
    made = do(call.name, x, do("reshape", call.rows(1), shape=(count, *target[1:])), **p)
    result = target if call.name == "_pick_class" else tuple(call.parameters["shape"])
    return do("reshape", made, shape=(call.size, *result))


@rule("_class_weights")
def class_weights(call: Call) -> Any:
    """The weight of each target class."""
    if call.batched[2]:
        return by_rows(call)
    return do("_class_weights", call.rows(0), call.values[1], call.values[2], **call.parameters)


@rule("_embedding_gradient")
def embedding_gradient(call: Call) -> Any:
    """Rows added into a table for each."""
    count = call.parameters["count"]
    if call.parameters["padding_idx"] is not None:
        return by_rows(call)
    index = do("add", call.rows(1), do("mul", numbers(call, call.size, *(1,) * call.rank(1)), count))
    made = do("_embedding_gradient", call.rows(0), index, count=call.size * count, padding_idx=None)
    return do("reshape", made, shape=(call.size, count, *made.shape[1:]))


_PLACES_ONLY = frozenset(
    {
        *("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "permute", "transpose", "t", "movedim"),
        *("diagonal", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "getitem", "getitem.int", "unfold"),
    }
)
"""View ops that choose and order elements, whatever they are."""


@rule("view_embed")
def view_embed(call: Call) -> Any:
    """The transpose of view ops: each element goes to where these ops take its number from."""
    p = call.parameters
    if not all(name in _PLACES_ONLY for name, _, _ in p["chain"]):
        return by_rows(call)
    size = tuple(p["size"])
    count = math.prod(size)
    g = call.rows(0)
    places = do("reshape", counted(g, count), shape=size)
    for name, parameters, output in p["chain"]:
        made = do("reshape" if name == "view" else name, places, **parameters)
        places = made if output is None else made[output]
    flat = do("reshape", g, shape=(call.size, math.prod(places.shape)))
    index = do("reshape", places, shape=(flat.shape[1],))
    made = do("_index_gradient", flat, index, shape=(call.size, count), index=(slice(None), TensorSlot(1)))
    return do("reshape", made, shape=(call.size, *size))


# Windows ---------------------------------------------------------------------------------------------------------------------


@rule("_convolution_input")
def convolution_input(call: Call) -> Any:
    """Rows as more samples; with kernels of their own, as more groups."""
    if not call.size:
        return by_rows(call)
    if not call.batched[1]:
        shape = call.specs[0].shape
        g = do("reshape", call.rows(0), shape=(call.size * shape[0], *shape[1:]))
        return call.shaped(do("_convolution_input", g, call.values[1], **call.parameters))
    weight = call.specs[1].shape
    kernels = do("reshape", call.rows(1), shape=(call.size * weight[0], *weight[1:]))
    groups = call.size * call.parameters["groups"]
    return call.shaped(_apart(call, do("_convolution_input", _grouped(call, 0), kernels, **{**call.parameters, "groups": groups})))


@rule("_convolution_weight")
def convolution_weight(call: Call) -> Any:
    """Rows as more groups."""
    if not call.size:
        return by_rows(call)
    groups = call.size * call.parameters["groups"]
    return call.shaped(do("_convolution_weight", _grouped(call, 0), _grouped(call, 1), **{**call.parameters, "groups": groups}))


def _grouped(call: Call, position: int) -> Any:
    """Samples whose channels are those of all rows: [N, rows * C, ...]."""
    shape = call.specs[position].shape
    x = do("transpose", call.rows(position), dim0=0, dim1=1)
    return do("reshape", x, shape=(shape[0], call.size * shape[1], *shape[2:]))


def _apart(call: Call, made: Any) -> Any:
    """Back from there, the rows in front."""
    shape = made.shape
    made = do("reshape", made, shape=(shape[0], call.size, shape[1] // call.size, *shape[2:]))
    return do("transpose", made, dim0=0, dim1=1)


@rule("_avg_pool_gradient")
def pool_gradient(call: Call) -> Any:
    """Rows as more leading dimensions."""
    return do(call.name, call.rows(0), **call.parameters)


@rule("_pad_gradient")
def pad_gradient(call: Call) -> Any:
    """The padded dimensions are the last ones."""
    return do("_pad_gradient", call.rows(0), **{**call.parameters, "shape": (call.size, *call.parameters["shape"])})


# Along dimensions ------------------------------------------------------------------------------------------------------------


@rule("_fft_c2c", "_fft_r2c", "_fft_c2r")
def fourier(call: Call) -> Any:
    """Transforms along dimensions."""
    p = call.parameters
    return do(call.name, call.rows(0), **{**p, "dims": tuple([moved(d) for d in p["dims"]])})


@rule("_fft_resize")
def resize(call: Call) -> Any:
    """Cut or filled up."""
    return do(call.name, call.rows(0), sizes=(call.size, *call.parameters["sizes"]))


@rule("_fft_inner", "recurrence")
def along(call: Call) -> Any:
    """Along one dimension."""
    p = call.parameters
    inputs = [call.rows(i) for i in range(len(call.inputs))]
    return do(call.name, *inputs, **{**p, "dim": moved(p["dim"])})


@rule("_unfold_gradient")
def unfold_gradient(call: Call) -> Any:
    """Windows added up where they come from."""
    p = call.parameters
    if not p["shape"]:
        return by_rows(call)
    return do(call.name, call.rows(0), shape=(call.size, *p["shape"]), dimension=moved(p["dimension"]), step=p["step"])
