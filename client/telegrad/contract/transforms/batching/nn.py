"""Layers and losses of ``nn.functional``."""

from __future__ import annotations

import math
from typing import Any

from telegrad.contract.dtypes import int64
from telegrad.contract.transforms.batched import Call, aligned, by_rows, rule
from telegrad.contract.transforms.batching.reduce import results
from telegrad.contract.transforms.wrapper import do


@rule("linear")
def linear(call: Call) -> Any:
    """``x @ weight.T + bias``."""
    _ = call.outcome
    if call.batched[0] and not any(call.batched[1:]):
        return do("linear", *call.values)
    x, weight, bias = call.inputs
    made = do("matmul", x, do("t", weight))
    return call.level.values_of(made if bias is None else do("add", made, bias))


@rule("layer_norm")
def layer_norm(call: Call) -> Any:
    """Over the last dimensions."""
    _ = call.outcome
    if not any(call.batched[1:]):
        return do("layer_norm", call.rows(0), *call.values[1:], **call.parameters)
    x, weight, bias = call.inputs
    made = do("layer_norm", x, None, None, **call.parameters)
    if weight is not None:
        made = do("mul", made, weight)
    return call.level.values_of(made if bias is None else do("add", made, bias))


@rule("_scaled_dot_product_attention")
def attention(call: Call) -> Any:
    """Rows as more heads: dimensions in front broadcast."""
    _ = call.outcome
    rank = max(call.rank(i) for i, x in enumerate(call.inputs) if x is not None)
    values = [aligned(x, rank) if batched else x for x, batched in zip(call.values, call.batched, strict=True)]
    if not any(call.batched[:3]):
        values[0] = aligned(call.rows(0), rank)  # a mask makes no new rows
    return call.shaped(do("_scaled_dot_product_attention", *values, **call.parameters))


# Windows ---------------------------------------------------------------------------------------------------------------------


def _folded(call: Call, most: int) -> Any:
    """All rows of the first input, those of rank ``most`` with their own batch behind each other."""
    x = call.rows(0)
    if call.rank() < most:
        return x
    shape = call.specs[0].shape
    return do("reshape", x, shape=(call.size * shape[0], *shape[1:]))


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(call: Call) -> Any:
    """Rows as more samples; with kernels of their own, as more groups."""
    _ = call.outcome
    spatial = int(call.name[-2])
    bias = call.inputs[2]
    if not any(call.batched[1:]):
        return call.shaped(do(call.name, _folded(call, spatial + 2), call.values[1], call.values[2], **call.parameters))
    size = call.size
    if not size:
        return by_rows(call)
    own = call.specs[0].shape
    rows = call.rows(0)
    if call.rank() == spatial + 1:
        rows = do("unsqueeze", rows, dim=1)
        own = (1, *own)
    rows = do("reshape", do("transpose", rows, dim0=0, dim1=1), shape=(own[0], size * own[1], *own[2:]))
    shape = call.specs[1].shape
    kernels = do("reshape", call.rows(1), shape=(size * shape[0], *shape[1:]))
    offsets = None if bias is None else do("reshape", call.rows(2), shape=(size * call.specs[2].shape[0],))
    made = do(call.name, rows, kernels, offsets, **{**call.parameters, "groups": size * call.parameters["groups"]})
    made = do("reshape", made, shape=(own[0], size, made.shape[1] // size, *made.shape[2:]))
    return call.shaped(do("transpose", made, dim0=0, dim1=1))


@rule(
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
)
def pool(call: Call) -> Any:
    """Rows as more samples."""
    _ = call.outcome
    return results(call, do(call.name, _folded(call, int(call.name[-2]) + 2), **call.parameters))


@rule("interpolate", "_resample", "unfold.blocks", "fold", "channel_shuffle", "grid_sample")
def sampled(call: Call) -> Any:
    """Rows as more samples."""
    _ = call.outcome
    inputs: list[Any] = []
    for i, spec in enumerate(call.specs):
        shape = spec.shape
        if len(shape) < {"unfold.blocks": 4, "fold": 3}.get(call.name, 0):
            inputs.append(call.rows(i))
        else:
            inputs.append(do("reshape", call.rows(i), shape=(call.size * shape[0], *shape[1:])))
    return call.shaped(do(call.name, *inputs, **call.parameters))


@rule("pixel_shuffle", "pixel_unshuffle")
def pixels(call: Call) -> Any:
    """The last dimensions rearranged."""
    _ = call.outcome
    return do(call.name, call.rows(0), **call.parameters)


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell(call: Call) -> Any:
    """One step of a recurrent network whose weights are the same for all rows: rows as more samples."""
    _ = call.outcome
    states = 3 if call.name == "lstm_cell" else 2
    if any(call.batched[states:]):
        return by_rows(call)
    values: list[Any] = list(call.values)
    for i in range(states):
        shape = call.specs[i].shape
        values[i] = do("reshape", call.rows(i), shape=(call.size * shape[0], *shape[1:])) if len(shape) > 1 else call.rows(i)
    return results(call, do(call.name, *values, **call.parameters))


@rule("pad")
def pad(call: Call) -> Any:
    """The last dimensions padded."""
    _ = call.outcome
    p = call.parameters
    if p["mode"] == "constant":
        return do("pad", call.rows(0), **p)
    sides = 2 if isinstance(p["pad"], int) else len(p["pad"])
    return call.shaped(do("pad", _folded(call, sides // 2 + 2), **p))


# Losses ----------------------------------------------------------------------------------------------------------------------


def _reduced(call: Call, each: Any, rank: int) -> Any:
    """The losses of each row summed or averaged, if so wanted."""
    reduction = call.parameters["reduction"]
    if reduction == "none":
        return each
    made = each if rank else do("reshape", each, shape=(call.size, 1))
    return do(reduction, made, dim=tuple(range(1, max(rank, 1) + 1)))


@rule("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
def pointwise(call: Call) -> Any:
    """Losses of differences."""
    out = call.outcome.outputs[0]
    weights = call.values[2:]
    if any(w is not None for w in weights) or out.dtype is not call.specs[0].dtype or out.dtype is not call.specs[1].dtype:
        return by_rows(call)
    rank = max(call.rank(0), call.rank(1))
    x, target = (aligned(call.values[i], rank) if call.batched[i] else call.values[i] for i in (0, 1))
    each = do(call.name, x, target, *weights, **{**call.parameters, "reduction": "none"})
    return _reduced(call, each, rank)


@rule("binary_cross_entropy", "binary_cross_entropy_with_logits")
def binary(call: Call) -> Any:
    """Losses of two classes."""
    _ = call.outcome
    rank = call.rank()
    weights = [aligned(v, rank) if b else v for v, b in zip(call.values[2:], call.batched[2:], strict=True)]
    if any(spec is not None and len(spec.shape) > rank for spec in call.specs[2:]):
        return by_rows(call)
    each = do(call.name, call.rows(0), call.rows(1), *weights, **{**call.parameters, "reduction": "none"})
    return _reduced(call, each, rank)


@rule("nll_loss", "cross_entropy")
def classes(call: Call) -> Any:
    """Losses of many classes: rows as more samples. The mean divides by the weights of each row's own targets."""
    _ = call.outcome
    if call.batched[2]:
        return by_rows(call)
    (shape, dtype), (target_shape, _) = call.specs[:2]
    probabilities = shape == target_shape
    single = len(shape) == 1
    own = () if single else (shape[0], *shape[2:])
    count = call.size if single else call.size * shape[0]
    x = do("reshape", call.rows(0), shape=(count, *(shape if single else shape[1:])))
    target = do("reshape", call.rows(1), shape=(count, *((shape if single else shape[1:]) if probabilities else own[1:])))
    each = do(call.name, x, target, call.values[2], **{**call.parameters, "reduction": "none"})
    each = do("reshape", each, shape=(call.size, *own))
    reduction = call.parameters["reduction"]
    if reduction != "mean" or probabilities:
        return _reduced(call, each, len(own))
    target = do("reshape", target, shape=(call.size, math.prod(own)))
    valid = do("ne", target, call.parameters["ignore_index"])
    if call.values[2] is None:
        weights = do("to", valid, dtype=dtype)
    else:
        known = do("where", valid, target, 0)
        each_weight = do("index_select", call.values[2], do("reshape", do("to", known, dtype=int64), shape=(-1,)), dim=0)
        weights = do("where", valid, do("reshape", each_weight, shape=valid.shape), 0)
    total = do("sum", do("reshape", each, shape=(call.size, math.prod(own))), dim=(1,))
    return do("div", total, do("sum", weights, dim=(1,)))
