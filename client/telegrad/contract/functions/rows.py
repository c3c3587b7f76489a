"""Which public functions are compositions, found by looking: every one that is no op's own function and whose signature can be
written on the wire. What cannot be found so has an adapter here, or a reason to be left out.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from telegrad.contract.compositions import ALIASES, COMPOSITIONS, add
from telegrad.contract.dtypes import Number
from telegrad.contract.kinds import KINDS
from telegrad.contract.ops import OPS, Shape, read_signature
from telegrad.contract.shapes import broadcast, nonnegative
from telegrad.contract.tensor import composite as composite_methods
from telegrad.contract.tensor import linalg as products
from telegrad.contract.tensor import parts, shape
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.creation import CreationOps
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=Tensor)

READS: Final = "it reads what GET .../tensors/{id} answers"
PYTHON: Final = "it is Python's own: a protocol, a hook, an object of this process"
EVERYWHERE: Final = "it says the same of every tensor"
MEMORY: Final = "it is about memory of this process"
CREATES: Final = "its data goes to POST .../tensors"
SETS: Final = "it is a `set` command: PATCH .../tensors/{id}"
WALKS: Final = "it is a command of its own"
CALLS_BACK: Final = "it takes a function"

LEFT_OUT: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            *("dim", "ndim", "ndimension", "shape", "size", "dtype", "numel", "nelement", "nbytes", "itemsize", "element_size"),
            *(
                "is_complex",
                "is_floating_point",
                "is_signed",
                "is_conj",
                "is_neg",
                "is_inference",
                "is_leaf",
                "requires_grad",
                "retains_grad",
            ),
            *("grad", "grad_fn", "session", "tolist", "numpy"),
        ),
        READS,
    ),
    **dict.fromkeys(("stride", "storage_offset", "is_contiguous", "data_ptr"), MEMORY),
    **dict.fromkeys(("device", "get_device", "layout", "is_cpu", "is_cuda", "is_sparse", "is_quantized"), EVERYWHERE),
    **dict.fromkeys(("register_hook", "register_post_accumulate_grad_hook"), PYTHON),
    **dict.fromkeys(("detach_", "requires_grad_", "retain_grad"), SETS),
    **dict.fromkeys(("new_tensor", "tensor", "as_tensor", "asarray", "from_numpy"), CREATES),
    **dict.fromkeys(("backward", "manual_seed", "get_rng_state", "set_rng_state"), WALKS),
    **dict.fromkeys(("apply_", "map_", "nn.functional.triplet_margin_with_distance_loss"), CALLS_BACK),
}
"""Public names without a row, and why."""

_OUTPUTS: Final = {
    "MinMax[Self]": ("min", "max"),
    "ValuesIndices[Self]": ("values", "indices"),
    "MantissaAndExponent[Self]": ("mantissa", "exponent"),
    "Histogram": ("hist", "bin_edges"),
}
"""Names of several results, by the annotation."""


# Adapters: signatures for the wire ------------------------------------------------------------------------------------------------


def atleast_1d(tensors: Sequence[T]) -> tuple[T, ...]:
    """Each tensor with one dimension or more; see ``telegrad.atleast_1d``."""
    return composite_methods.atleast_1d(tuple(tensors))  # type: ignore[no-any-return]


def atleast_2d(tensors: Sequence[T]) -> tuple[T, ...]:
    """Each tensor with two dimensions or more; see ``telegrad.atleast_2d``."""
    return composite_methods.atleast_2d(tuple(tensors))  # type: ignore[no-any-return]


def atleast_3d(tensors: Sequence[T]) -> tuple[T, ...]:
    """Each tensor with three dimensions or more; see ``telegrad.atleast_3d``."""
    return composite_methods.atleast_3d(tuple(tensors))  # type: ignore[no-any-return]


def bernoulli_(input: T, p: T | Number | None = None) -> T:
    """Filled with 1 with probability ``p``, 0.5 by default, else 0. See ``Tensor.bernoulli_``."""
    probability: Any = 0.5 if p is None else p
    return input.bernoulli_(probability)


def broadcast_shapes(*, shapes: Sequence[Sequence[int]]) -> Shape:
    """The shape that all of ``shapes`` broadcast to, as integers."""
    return broadcast(*[nonnegative(tuple(s)) for s in shapes]) if shapes else ()


def gradient(
    input: T,
    coordinates: Sequence[T],
    *,
    spacing: float | Sequence[float] | None = None,
    dim: int | Sequence[int] | None = None,
    edge_order: int = 1,
) -> tuple[T, ...]:
    """Derivatives of samples; ``coordinates``, a tensor for each dimension, stand in for ``spacing``. See ``Tensor.gradient``."""
    return input.gradient(spacing=list(coordinates) if coordinates else spacing, dim=dim, edge_order=edge_order)


def histogram(
    input: T,
    bin_edges: T | None = None,
    weight: T | None = None,
    *,
    bins: int = 100,
    range: Sequence[float] | None = None,
    density: bool = False,
) -> Any:
    """Counts and edges of bins: ``bins`` of equal width, or those between ``bin_edges``. See ``Tensor.histogram``."""
    return input.histogram(bins if bin_edges is None else bin_edges, range=range, weight=weight, density=density)


def meshgrid(tensors: Sequence[T], *, indexing: str | None = None) -> tuple[T, ...]:
    """The coordinates of a grid, a tensor for each vector. See ``telegrad.meshgrid``."""
    return shape.meshgrid(*tensors, indexing=indexing)


def repeat_interleave(input: T, repeats: T | Number | None = None, *, dim: int | None = None, output_size: int | None = None) -> T:
    """Each slice several times, one copy after another. See ``Tensor.repeat_interleave``."""
    return input.repeat_interleave(repeats, dim, output_size=output_size)  # type: ignore[arg-type]


def tensor_split(input: T, *, indices_or_sections: int | list[int], dim: int = 0) -> tuple[T, ...]:
    """Consecutive parts along ``dim``: one number is how many, a list where to cut. See ``Tensor.tensor_split``."""
    return input.tensor_split(indices_or_sections, dim)


def _of_split(name: str) -> Callable[..., Any]:
    def call(input: T, *, indices_or_sections: int | list[int]) -> tuple[T, ...]:
        return getattr(input, name)(indices_or_sections)  # type: ignore[no-any-return]

    call.__doc__ = f"Consecutive parts: one number is how many, a list where to cut. See ``Tensor.{name}``."
    return call


def _of_reflected(name: str) -> Callable[..., Any]:
    def call(input: T, other: T | Number) -> T:
        return getattr(input, name)(other)  # type: ignore[no-any-return]

    call.__doc__ = f"What ``{name}`` gives: the operator with ``other`` on its left."
    return call


REFLECTED: Final = tuple(
    f"__r{name}__"
    for name in ("add", "and", "div", "floordiv", "lshift", "matmul", "mod", "mul", "or", "pow", "rshift", "sub", "truediv", "xor")
)


def _spread_and_mean(name: str) -> Callable[..., Any]:
    functions = importlib.import_module("telegrad.contract.functions.composite")

    def call(
        input: T,
        *,
        dim: int | Sequence[int] | None = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        correction: Number | None = None,
    ) -> tuple[T, T]:
        return getattr(functions, name)(input, dim, unbiased, keepdim, correction=correction)  # type: ignore[no-any-return]

    call.__doc__ = f"See ``telegrad.{name}``."
    return call


# Finding them ---------------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The function behind a property or a decorator."""
    function: Any = value.fget if isinstance(value, property) else value
    return inspect.unwrap(function)


def public_functions() -> Iterator[tuple[str, str, Any, bool]]:
    """Every public function: its name, its path under ``telegrad``, itself, and whether it makes tensors from nothing."""
    for namespace in ("nn", "linalg"):
        module = importlib.import_module(f"telegrad.contract.functions.{namespace}")
        path = {"nn": "nn.functional"}.get(namespace, namespace)
        for name in module.__all__:
            if not inspect.isclass(getattr(module, name)) and not name.endswith("_"):  # the op has those
                yield name, f"{path}.{name}", getattr(module, name), False
    for name in sorted(set(dir(Tensor)) - set(dir(object))):
        found = inspect.getattr_static(Tensor, name)
        if not name.startswith("_") and not _is_internal(found):
            yield name, name, found, False
    for name in dir(CreationOps):
        if not name.startswith("_") and not hasattr(TensorBase, name):
            yield name, name, getattr(CreationOps, name), True
    for module in (
        *(composite_methods, shape, parts, products),
        *(importlib.import_module(f"telegrad.contract.functions.{m}") for m in ("composite", "matrix")),
    ):
        for name, value in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
                continue
            if not _is_internal(value) and _returns_tensors(value):
                yield name, name, value, False


def _returns_tensors(function: Any) -> bool:
    """Whether a function of a module is one of the public ones and not a helper."""
    return str(inspect.signature(function).return_annotation) in ("T", "tuple[T, ...]", "tuple[T, T]")


def _is_internal(found: Any) -> bool:
    """Whether it is an op that only the engine makes."""
    owner = _row_of(found) if callable(found) else None
    return owner is not None and OPS[owner].namespace == "internal"


def _row_of(function: Any) -> str | None:
    return _OWNERS.get(plain(function))


def _expressible(function: Any) -> bool:
    """Whether every argument can be written on the wire."""
    _, parameters = read_signature(function, method=True)
    return all(p.annotation in KINDS for p in parameters.values())


_OWNERS: Final = {plain(op.function): op.name for op in OPS.values()}


def _has_in_place_form(name: str) -> bool:
    op = OPS.get(name[:-1]) if name.endswith("_") else None
    return op is not None and op.inplace


def _fill() -> None:
    for name in REFLECTED:
        add(name, name, _of_reflected(name))
    for name in ("dsplit", "hsplit", "vsplit"):
        add(name, name, _of_split(name))
    for name in ("std_mean", "var_mean"):
        add(name, name, _spread_and_mean(name), outputs=tuple(name.split("_")))
    for adapter in (atleast_1d, atleast_2d, atleast_3d, bernoulli_, gradient, meshgrid, repeat_interleave, tensor_split):
        add(adapter.__name__, adapter.__name__, adapter)
    add("broadcast_shapes", "broadcast_shapes", broadcast_shapes)
    add("histogram", "histogram", histogram, outputs=("hist", "bin_edges"))
    ALIASES["__getitem__"] = "index"
    ALIASES["special.polygamma"] = "polygamma"
    for op in OPS.values():
        if op.namespace not in ("", "internal"):
            ALIASES[f"{op.namespace}.{op.name}"] = op.name
    candidates = list(public_functions())
    taken = {*OPS, *(path for _, path, _, _ in candidates)}
    for name, path, found, makes in candidates:
        function: Any = found.fget if isinstance(found, property) else found
        if path in LEFT_OUT or path in COMPOSITIONS or path in ALIASES or not callable(function):
            continue
        owner = _row_of(function)
        if owner is not None:
            if path != owner and path not in OPS:
                ALIASES[path] = owner
            continue
        if path in OPS or _has_in_place_form(name) or not _expressible(function):
            continue
        annotation = str(inspect.signature(function).return_annotation)
        # As ops are: by the last part alone, unless something else has that name.
        short = path if name in taken else name
        add(short, path, function, makes=makes, outputs=_OUTPUTS.get(annotation, ("result",)))
        if short != path:
            ALIASES[path] = short


_fill()
