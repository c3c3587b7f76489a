"""Rules of the index family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentTypeError, DTypeError, IndexBoundsError, ShapeError, UnsupportedDTypeError
from telegrad.contract.indexing import advanced_shape, basic_shape, resolve
from telegrad.contract.literal import check_fits
from telegrad.contract.ops import Outcome, Shape, Spec, UnknownShape
from telegrad.contract.shapes import broadcast, dimension

Inputs = Sequence[Any]
Parameters = Mapping[str, Any]


def _like(x: Spec, shape: Shape, cost: int = 1) -> Outcome:
    return Outcome((Spec(shape, x.dtype),), cost * math.prod(shape))


def repeat_positions(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``repeat_interleave.Tensor``: as many positions as the repeats sum to, which only ``output_size`` tells before."""
    (repeats,) = inputs
    if len(repeats.shape) != 1:
        raise ShapeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise UnsupportedDTypeError(
            f'"repeat_interleave" not implemented for {repeats.dtype.name}; convert the repeats first, with .to(telegrad.int64)'
        )
    count = p["output_size"]
    if count is None:
        raise UnknownShape(repeats.dtype)
    if count < 0:
        raise ShapeError(f"repeat_interleave(): output_size must not be negative, got {count}")
    return Outcome((Spec((count,), repeats.dtype),), count)


def select_first(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``getitem.int``."""
    (x,) = inputs
    index = p["index"]
    if not x.shape:
        raise IndexBoundsError("invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to a number")
    if not -x.shape[0] <= index < x.shape[0]:
        raise IndexBoundsError(f"index {index} is out of bounds for dimension 0 with size {x.shape[0]}")
    return Outcome((Spec(x.shape[1:], x.dtype),), 0)


def getitem(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``getitem``."""
    (x,) = inputs
    return Outcome((Spec(basic_shape(x.shape, p["index"]), x.dtype),), 0)


def getitem_by_tensors(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``getitem.tensor``. What the integers are, the engine sees."""
    x, *tensors = inputs
    resolved = resolve(x.shape, p["index"], tensors)
    if resolved.advanced:
        raise ArgumentTypeError("getitem.tensor takes 0-d integer tensors; for booleans and other tensors use the op 'index'")
    return Outcome((Spec(resolved.view_shape, x.dtype),), 0)


def index(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index``; a mask makes the shape unknown."""
    x, *tensors = inputs
    shape = advanced_shape(resolve(x.shape, p["index"], tensors), tensors)
    if shape is None:
        raise UnknownShape(x.dtype)
    return _like(x, shape, 2)


def into_zeros(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of the transposes of ``getitem`` and ``index``."""
    g = inputs[0]
    return _like(g, tuple(p["shape"]), 2)


def index_put(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index_put``."""
    x, values, *tensors = inputs
    selected = advanced_shape(resolve(x.shape, p["index"], tensors), tensors)
    if type(values) is Spec:
        if values.dtype is not x.dtype:
            raise DTypeError(
                f"Index put requires the source and destination dtypes match, got {x.dtype.name} for the destination and "
                f"{values.dtype.name} for the source."
            )
        if selected is not None:
            check_writable(values.shape, selected)
    elif x.dtype.category == 1 or isinstance(values, complex):  # what a float cannot hold is infinite there, as in PyTorch
        check_fits(values, x.dtype)
    return _like(x, x.shape)


def check_writable(shape: Shape, selected: Shape) -> None:
    """Refuse values that do not broadcast to what an index selects; leading ones are nothing."""
    trimmed = shape
    while len(trimmed) > len(selected) and trimmed[0] == 1:
        trimmed = trimmed[1:]
    lead = len(selected) - len(trimmed)
    if lead < 0 or any(n not in (1, m) for n, m in zip(trimmed, selected[lead:], strict=True)):
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(shape)} cannot be broadcast to indexing result of shape {list(selected)}"
        )


def _index_type(name: str, spec: Spec, any_of_nothing: bool = False) -> None:
    if any_of_nothing and not spec.size:
        return  # as in PyTorch, where some ops do not look at an index of nothing
    if spec.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(f"{name}(): Expected dtype int32/int64 for index, got {spec.dtype.name}")


def _within(name: str, index_shape: Shape, shape: Shape, dim: int, what: str, every: bool = False) -> None:
    """Index sizes must not exceed the tensor's, apart from ``dim``."""
    for d, (n, m) in enumerate(zip(index_shape, shape, strict=True)):
        if n > m and (every or d != dim):
            apart = "" if every else f" apart from dimension {dim}"
            raise ShapeError(
                f"{name}(): Size does not match at dimension {d} expected index {list(index_shape)} to be no larger than {what} "
                f"{list(shape)}{apart}"
            )


def _at_least_1d(shape: Shape) -> Shape:
    return shape or (1,)


def gather(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``gather``."""
    x, idx = inputs
    dim = dimension(p["dim"], len(x.shape))
    _index_type("gather", idx, any_of_nothing=True)
    if math.prod(idx.shape):
        own, others = _at_least_1d(x.shape), _at_least_1d(idx.shape)
        if len(own) != len(others):
            raise ShapeError(
                f"Index tensor must have the same number of dimensions as input tensor: got {len(idx.shape)} and {len(x.shape)}"
            )
        _within("gather", others, own, dim, "self")
    return _like(x, idx.shape, 4)


def scatter(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``scatter`` and ``scatter_add``."""
    x, idx, src = inputs
    dim = dimension(p["dim"], len(x.shape))
    _index_type("scatter", idx, any_of_nothing=True)
    if type(src) is Spec:
        if src.dtype is not x.dtype:
            raise DTypeError(f"scatter(): Expected self.dtype to be equal to src.dtype, got {x.dtype.name} and {src.dtype.name}")
    else:
        check_fits(src, x.dtype)
    if math.prod(idx.shape):
        own, others = _at_least_1d(x.shape), _at_least_1d(idx.shape)
        if len(own) != len(others):
            raise ShapeError("Index tensor must have the same number of dimensions as self tensor")
        _within("scatter", others, own, dim, "self")
        if type(src) is Spec:
            if len(_at_least_1d(src.shape)) != len(others):
                raise ShapeError("Index tensor must have the same number of dimensions as src tensor")
            _within("scatter", others, _at_least_1d(src.shape), dim, "src", every=True)
    return Outcome((x,), x.size + 4 * idx.size)


def _vector(name: str, idx: Spec) -> int:
    if len(idx.shape) > 1:
        raise IndexBoundsError(f"{name}(): Index is supposed to be a vector, got shape {list(idx.shape)}")
    _index_type(name, idx)
    return math.prod(idx.shape)


def index_select(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index_select``."""
    x, idx = inputs
    dim = dimension(p["dim"], len(x.shape))
    count = _vector("index_select", idx)
    if not x.shape:
        if count != 1:
            raise ShapeError(f"index_select(): Index to scalar can have only 1 value, got {count} value(s)")
        return _like(x, ())
    return _like(x, (*x.shape[:dim], count, *x.shape[dim + 1 :]))


def index_add(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index_add``."""
    x, idx, source = inputs
    dim = dimension(p["dim"], len(x.shape))
    count = _vector("index_add", idx)
    if source.dtype is not x.dtype:
        raise DTypeError(
            f"self and source expected to have the same dtype, but got (self) {x.dtype.name} and (source) {source.dtype.name}"
        )
    wanted = (*x.shape[:dim], count, *x.shape[dim + 1 :]) if x.shape else source.shape
    if source.shape != wanted:
        if len(source.shape) == len(wanted) and source.shape[dim] != count:
            raise ShapeError(
                f"Number of indices ({count}) should be equal to source.size(dim): ({source.shape[dim]}), for dim: {dim}"
            )
        raise ShapeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(x.shape)} "
            f"source.shape = {list(source.shape)}"
        )
    return Outcome((x,), x.size + 2 * source.size)


def index_copy(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index_copy``."""
    x, idx, source = inputs
    dim = dimension(p["dim"], len(x.shape))
    if len(idx.shape) > 1:
        raise IndexBoundsError(f"index_copy_(): Index should have dimension 1 or 0 (got {len(idx.shape)})")
    count = math.prod(idx.shape)
    if not source.shape and count != 1:
        raise IndexBoundsError(f"index_copy_(): When source is scalar, index should have one element (got {count})")
    if len(source.shape) != len(x.shape) and source.shape and x.shape:
        raise IndexBoundsError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source dimensionality "
            f"({len(source.shape)}), destination dimensionality ({len(x.shape)})"
        )
    if source.shape and source.shape[dim] != count:
        raise IndexBoundsError(
            f"index_copy_(): Number of indices ({count}) should be equal to source.size(dim) ({source.shape[dim]})"
        )
    if idx.dtype is not dtypes.int64:
        raise DTypeError(f"index_copy_(): Expected a long tensor for index, but got {idx.dtype.name}")
    if source.dtype is not x.dtype:
        raise DTypeError(
            "index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{x.dtype.name} and (source) {source.dtype.name}"
        )
    ours = (*x.shape[:dim], *x.shape[dim + 1 :])
    theirs = (*source.shape[:dim], *source.shape[dim + 1 :])
    if ours != theirs:
        raise ShapeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{list(ours)} at dimension {dim} and source slice shape: {list(theirs)} at dimension 0."
        )
    return Outcome((x,), x.size + 2 * source.size)


def index_fill(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index_fill``."""
    x, idx, value = inputs
    dimension(p["dim"], len(x.shape))
    if idx.dtype is not dtypes.int64:
        raise IndexBoundsError(f"index_fill_(): Expected dtype int64 for index, got {idx.dtype.name}")
    if len(idx.shape) > 1:
        raise ShapeError(f"index_fill_(): Index has to be a vector/scalar, got shape {list(idx.shape)}")
    _zero_dim_value("index_fill", value, x)
    if type(value) is Spec and value.dtype.is_complex and not x.dtype.is_complex:
        raise DTypeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
    return Outcome((x,), x.size)


def _zero_dim_value(name: str, value: Any, x: Spec) -> None:
    if type(value) is Spec:
        if value.shape:
            raise ShapeError(
                f"{name} only supports a 0-dimensional value tensor, but got tensor with {len(value.shape)} dimension(s)"
            )
        # Whether it fits into another type, its value decides: PyTorch reads it as a Python number.
    else:
        check_fits(value, x.dtype)


def take_along_dim(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``take_along_dim``."""
    x, idx = inputs
    if idx.dtype is not dtypes.int64:
        raise DTypeError(f"torch.take_along_dim(): dtype of indices should be Long but got {idx.dtype.name}")
    if p["dim"] is None:
        return _like(x, (idx.size,), 4)
    if len(x.shape) != len(idx.shape):
        raise ShapeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{len(x.shape)} dimensions for input, and {len(idx.shape)} dimensions for indices"
        )
    dim = dimension(p["dim"], len(x.shape))
    if not x.shape:
        return _like(x, ())
    rest = broadcast((*x.shape[:dim], 1, *x.shape[dim + 1 :]), (*idx.shape[:dim], 1, *idx.shape[dim + 1 :]))
    return _like(x, (*rest[:dim], idx.shape[dim], *rest[dim + 1 :]), 4)


def take(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``take``."""
    x, idx = inputs
    if idx.dtype is not dtypes.int64:
        raise DTypeError(f"take(): Expected a long tensor for index, but got {idx.dtype.name}")
    if not x.size and idx.size:
        raise IndexBoundsError("take(): tried to take from an empty tensor")
    return _like(x, idx.shape, 2)


def _mask_type(name: str, mask: Spec) -> None:
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(
            f"{name}: expected BoolTensor for mask: only supports boolean masks, but got mask with dtype {mask.dtype.name}"
        )


def masked_fill(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``masked_fill``."""
    x, mask, value = inputs
    _mask_type("masked_fill", mask)
    _zero_dim_value("masked_fill", value, x)
    return _like(x, broadcast(x.shape, mask.shape))


def masked_select(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``masked_select``."""
    x, mask = inputs
    _mask_type("masked_select", mask)
    broadcast(x.shape, mask.shape)
    raise UnknownShape(x.dtype)


def masked_scatter(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``masked_scatter``."""
    x, mask, source = inputs
    _mask_type("masked_scatter", mask)
    if source.dtype is not x.dtype:
        raise DTypeError(
            f"masked_scatter: expected self and source to have same dtypes but got {x.dtype.name} and {source.dtype.name}"
        )
    return _like(x, broadcast(x.shape, mask.shape), 2)


def nonzero(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``nonzero``."""
    raise UnknownShape(dtypes.int64)


def _order_type(name: str, x: Spec) -> None:
    if x.dtype.is_complex:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}: complex numbers have no order')


def ordered(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``sort``."""
    (x,) = inputs
    dimension(p["dim"], len(x.shape))
    _order_type("sort", x)
    return Outcome((x, Spec(x.shape, dtypes.int64)), x.size * max(1, x.size.bit_length()), None, 8 * x.size)


def argsort(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``argsort``."""
    (x,) = inputs
    dimension(p["dim"], len(x.shape))
    _order_type("argsort", x)
    return Outcome((Spec(x.shape, dtypes.int64),), x.size * max(1, x.size.bit_length()))


def topk(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``topk``."""
    (x,) = inputs
    dim = dimension(p["dim"], len(x.shape))
    _order_type("topk", x)
    if x.dtype.category == 0:
        raise DTypeError("topk does not support bool dtypes; convert it first, for example with .to(telegrad.uint8)")
    k, size = p["k"], x.shape[dim] if x.shape else 1
    if not 0 <= k <= size:
        raise ShapeError(f"selected index k out of range: k is {k}, the dimension has size {size}")
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :]) if x.shape else ()
    return Outcome((Spec(shape, x.dtype), Spec(shape, dtypes.int64)), 4 * x.size, None, 8 * x.size)
