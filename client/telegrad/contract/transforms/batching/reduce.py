"""Ops that know dimensions: reductions, scans, softmax, sorting, transforms along dimensions. Dimensions move by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from telegrad.contract.shapes import dimensions
from telegrad.contract.transforms.batched import Call, rule
from telegrad.contract.transforms.wrapper import do


def at_least_1d(call: Call) -> Any:
    """All rows of the first input; of 0-d rows, each as a vector of one."""
    x = call.rows(0)
    return x if call.rank() else do("reshape", x, shape=(call.size, 1))


def moved(dim: int) -> int:
    """One dimension of a row, as one of all rows: those counted from the end stay."""
    return dim + 1 if dim >= 0 else dim


def results(call: Call, made: Any) -> Any:
    """One result or several, each with its rows in the shape that one row has."""
    if isinstance(made, (tuple, list)):
        several: Sequence[Any] = made
        return tuple([call.shaped(m, i) for i, m in enumerate(several)])
    return call.shaped(made)


@rule("sum", "nansum", "mean", "var", "std", "norm", "logsumexp", "amax", "amin", "all", "any", "count_nonzero")
def over_dimensions(call: Call) -> Any:
    """Over some dimensions, or over all but the batch."""
    _ = call.outcome
    dim = call.parameters["dim"]
    rank = call.rank()
    wanted = (dim,) if isinstance(dim, int) else dim
    if wanted == () and call.name in ("all", "any"):  # of no dimension, where others mean all of them
        return do(call.name, call.rows(0), **call.parameters)
    dims = tuple([d + 1 for d in dimensions(wanted, rank)]) if rank else (1,)
    return results(call, do(call.name, at_least_1d(call), **{**call.parameters, "dim": dims}))


@rule("max", "min")
def extreme(call: Call) -> Any:
    """The largest or smallest of each row."""
    _ = call.outcome
    dims = tuple(range(1, max(call.rank(), 1) + 1))
    return results(call, do("amax" if call.name == "max" else "amin", at_least_1d(call), dim=dims))


@rule("prod", "argmax", "argmin", "aminmax")
def over_one_or_all(call: Call) -> Any:
    """Over one dimension, or over the flattened row."""
    out = call.outcome.outputs[0]
    dim = call.parameters["dim"]
    if dim is not None:
        return along(call)
    x = call.rows(0)
    flat = do("reshape", x, shape=(call.size, call.specs[0].size))
    parameters = {**call.parameters, "dim": 1}
    if "keepdim" in parameters:
        parameters["keepdim"] = False
    _ = out
    return results(call, do(call.name, flat, **parameters))


def along(call: Call) -> Any:
    """Along the dimension that the parameter ``dim`` names, whatever the op does there."""
    _ = call.outcome
    made = do(call.name, at_least_1d(call), **{**call.parameters, "dim": moved(call.parameters["dim"])})
    return results(call, made)


ALONG_ONE = (
    *("max.dim", "min.dim", "cumsum", "cumprod", "cummax", "cummin", "softmax", "log_softmax", "sort", "argsort", "topk"),
    *("median.dim", "nanmedian.dim", "mode", "kthvalue", "logcumsumexp"),
    *("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"),
)
rule(*ALONG_ONE)(along)


@rule(
    *("fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2", "fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn"),
    *("fftshift", "ifftshift"),
)
def fourier(call: Call) -> Any:
    """Transforms along several dimensions; without any given, along the last ones, or all."""
    _ = call.outcome
    p = dict(call.parameters)
    rank = call.rank()
    dim = p["dim"]
    if dim is None:
        sizes: Any = p.get("s")
        last = rank if sizes is None else 1 if isinstance(sizes, int) else len(sizes)
        p["dim"] = tuple(range(-last, 0))
    else:
        p["dim"] = moved(dim) if isinstance(dim, int) else tuple([moved(d) for d in dim])
    return results(call, do(call.name, at_least_1d(call), **p))
