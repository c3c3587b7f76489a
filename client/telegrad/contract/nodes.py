"""What a graph's nodes are called and which edges they show, as in PyTorch, in the engine and on the client.

PyTorch's overloads show in the names: ``sum()`` leaves SumBackward0, ``sum(dim)`` SumBackward1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from telegrad.contract.ops import Op

STALE_NODE: Final = "Invalid"
"""Stands for the node of a view that cannot say how it was made, since its base was changed, as where PyTorch prints a tensor."""

_BY_RANK: Final = ("DotBackward0", "MvBackward0", "MmBackward0", "BmmBackward0")

_NUMBERS_HAVE_EDGES: Final = frozenset({"add", "sub", "mul", "div", "where"})
"""Ops for which PyTorch makes a tensor of a Python number, so that it has an edge (which leads nowhere)."""


class _Call(NamedTuple):
    """What a name may depend on; see ``node_name``."""

    parameters: Mapping[str, Any]
    positions: tuple[int, ...]
    rank: int


def _by_dim(name: str) -> Callable[[_Call], str]:
    return lambda call: f"{name}Backward{0 if call.parameters.get('dim') is None else 1}"


def _pow(call: _Call) -> str:
    if call.positions == (0,):
        return "PowBackward0"
    return "PowBackward2" if call.positions == (1,) else "PowBackward1"


def _clamp(call: _Call) -> str:
    return "ClampBackward1" if call.positions == (0,) else "ClampBackward0"


def _matmul(call: _Call) -> str:
    return _BY_RANK[min(call.rank, 3)]


def _by_tensor(name: str, position: int) -> Callable[[_Call], str]:
    """Names of ops whose input at ``position`` may be a number; that a tensor stands there is known where it needs a gradient."""
    return lambda call: f"{name}Backward{1 if position in call.positions else 0}"


def _squeeze(call: _Call) -> str:
    dim = call.parameters.get("dim")
    return f"SqueezeBackward{0 if dim is None else 1 if isinstance(dim, int) or len(dim) == 1 else 2}"


def _div(call: _Call) -> str:
    return "DivBackward0" if call.parameters.get("rounding_mode") is None else "DivBackward2"


def _round(call: _Call) -> str:
    return f"RoundBackward{1 if call.parameters.get('decimals') else 0}"


def _getitem(call: _Call) -> str:
    """PyTorch takes an index item by item: the last item that changes anything names the node."""
    for item in reversed(call.parameters.get("index", ())):
        if item is None:
            return "UnsqueezeBackward0"
        if isinstance(item, slice):
            if (item.start or 0, item.stop, item.step or 1) != (0, None, 1):
                return "SliceBackward0"
        elif item is not Ellipsis:
            return "SelectBackward0"
    return "AliasBackward0"


def _linear(call: _Call) -> str:
    """What PyTorch makes of it depends on the rank, and on the bias, which is known to be there where it needs a gradient."""
    if 2 in call.positions:
        return "AddmmBackward0" if call.rank == 2 else "ViewBackward0"
    return {1: "SqueezeBackward4", 2: "MmBackward0"}.get(call.rank, "UnsafeViewBackward0")


def _by_rank(names: Mapping[int, str]) -> Callable[[_Call], str]:
    """Names that tell the dimensions of the result; with another number of them, that of the largest listed."""
    return lambda call: names.get(call.rank, names[max(names)])


def _convolution(count: int) -> Callable[[_Call], str]:
    """Without a batch PyTorch adds one and takes it away again."""
    return _by_rank({count + 1: "SqueezeBackward1", count + 2: "ConvolutionBackward0"})


def _pad(call: _Call) -> str:
    mode, pad = call.parameters.get("mode", "constant"), call.parameters.get("pad", ())
    if mode == "circular":
        return "CopySlices"
    stem = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}.get(mode)
    return "ConstantPadNdBackward0" if stem is None else f"{stem}{len(pad) // 2}DBackward0"


_UPSAMPLED: Final = {
    "nearest": "UpsampleNearest{}D",
    "nearest-exact": "UpsampleNearestExact{}D",
    "linear": "UpsampleLinear1D",
    "bilinear": "UpsampleBilinear2D",
    "bicubic": "UpsampleBicubic2D",
    "trilinear": "UpsampleTrilinear3D",
}


def _interpolate(call: _Call) -> str:
    name = _UPSAMPLED.get(call.parameters.get("mode", "nearest"))
    return "UpsampleBackward0" if name is None else f"{name.format(call.rank - 2)}Backward0"


def _l1_loss(call: _Call) -> str:
    return {"mean": "MeanBackward0", "sum": "SumBackward0"}.get(call.parameters.get("reduction", "mean"), "AbsBackward0")


def _always(name: str) -> Callable[[_Call], str]:
    """Of an op that PyTorch composes, the last part."""
    return lambda _: name


_NAMES: Final[dict[str, Callable[[_Call], str]]] = {
    "adaptive_avg_pool1d": _always("SqueezeBackward1"),
    "adaptive_max_pool1d": _always("SqueezeBackward1"),
    "avg_pool1d": _always("SqueezeBackward1"),
    "_compared_in_place": lambda call: str(call.parameters["node"]),
    "clamp": _clamp,
    "clamp_max": _by_tensor("ClampMax", 1),
    "clamp_min": _by_tensor("ClampMin", 1),
    "combinations": _always("StackBackward0"),
    "corrcoef": _by_rank({0: "DivBackward0", 2: "ClampBackward1"}),
    "cov": _always("SqueezeBackward0"),
    **{f"conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _convolution(n) for n in (1, 2, 3)},
    "div": _div,
    "dropout": _always("MulBackward0"),
    "fmod": _by_tensor("Fmod", 1),
    "getitem": _getitem,
    "getitem.tensor": _getitem,
    "grid_sample": _by_rank({4: "GridSampler2DBackward0", 5: "GridSampler3DBackward0"}),
    "imag": _always("SelectBackward0"),
    "index_fill": _by_tensor("IndexFill", 2),
    "interpolate": _interpolate,
    "l1_loss": _l1_loss,
    "lerp": _by_tensor("Lerp", 2),
    "linear": _linear,
    "masked_fill": _by_tensor("MaskedFill", 2),
    "matmul": _matmul,
    "max_pool1d": _always("SqueezeBackward1"),
    "max_unpool1d": _always("SqueezeBackward1"),
    "mean": _by_dim("Mean"),
    "nanquantile": _always("SqueezeBackward4"),
    "ndtr": _always("MulBackward1"),
    "pad": _pad,
    "pow": _pow,
    "prod": _by_dim("Prod"),
    "quantile": _always("SqueezeBackward4"),
    "rsub": lambda call: f"RsubBackward{0 if 1 in call.positions else 1}",
    "real": _always("SelectBackward0"),
    "remainder": _by_tensor("Remainder", 1),
    "round": _round,
    "squeeze": _squeeze,
    "sum": _by_dim("Sum"),
    "sum_to_size": _always("SumBackward1"),
}


def node_name(op: Op, parameters: Mapping[str, Any], positions: Sequence[int], rank: int) -> str:
    """What PyTorch calls the node of a call.

    Args:
        op: the op.
        parameters: those that were given; defaults may be left out.
        positions: the inputs that need a gradient.
        rank: number of dimensions of the first output.
    """
    special = _NAMES.get(op.name)
    return op.node if special is None else special(_Call(parameters, tuple(positions), rank))


def edge_positions(op: Op, positions: Sequence[int], count: int) -> list[int | None]:
    """What ``next_functions`` lists: an input's position where it needs a gradient, None for one that could but does not.

    Args:
        op: the op.
        positions: the inputs that need a gradient.
        count: how many inputs the call had.
    """
    last = len(op.inputs) - 1
    found: list[int | None] = []
    for position in range(max(count, last + 1)):
        slot = op.inputs[min(position, last)]
        if position in positions:
            found.append(position)
        elif slot.name in op.differentiable and (not slot.number or op.name in _NUMBERS_HAVE_EDGES):
            found.append(None)
    return found


def delivery_order(op: Op, positions: Sequence[int]) -> Sequence[int]:
    """In which order gradients leave a node, as indexes of its edges: as these stand, but ``linear`` serves its bias first, as the
    ``addmm`` does that PyTorch makes of it.

    Args:
        op: the op.
        positions: the inputs that need a gradient, in the order of the edges.
    """
    count = len(positions)
    if op.name == "linear" and count and positions[-1] == len(op.inputs) - 1:
        return [count - 1, *range(count - 1)]
    return range(count)


def passes_gradient(op: Op, parameters: Mapping[str, Any]) -> bool:
    """Whether anything comes out of the op's formulas: for the norm that counts non-zeros PyTorch gives not even zeros."""
    return op.name != "norm" or parameters.get("p") != 0
