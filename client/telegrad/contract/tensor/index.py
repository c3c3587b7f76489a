"""``x[...]`` and its assignment, and the ops that look up, scatter, fill and sort by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from telegrad.contract import dtypes, notices
from telegrad.contract import index_rules as rules
from telegrad.contract.dtypes import DType, Number
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DimensionError, ShapeError
from telegrad.contract.indexing import Index, canonical, is_position
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.ops import Spec, op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import dimension, integer
from telegrad.contract.tensor.base import TensorBase

if TYPE_CHECKING:
    from telegrad.contract.ops import Shape
    from telegrad.contract.session import BaseSession

INTEGERS_ONLY = "its result is made of positions"


_WHOLE = (..., slice(None))
"""Items of an index that leave everything as it is: a write goes to the tensor itself, and not through a view."""


class Sorted(NamedTuple):
    """What ``sort`` and ``topk`` return."""

    values: Any
    indices: Any


class IndexOps(TensorBase):
    """Indexing. An index outside its dimension raises IndexBoundsError, or ShapeError where PyTorch raises RuntimeError."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    @property
    def session(self) -> BaseSession:
        """The session that the tensor lives in."""
        raise NotImplementedError

    # Brackets ------------------------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Self:
        """``x[1]``, ``x[1:, None]``, ``x[..., mask]``, ``x[[0, 2], rows]``: a view for integers and slices, else a copy.

        A 0-d integer tensor counts as the integer in it, also on a server, which looks at its value.
        """
        if type(index) is int and self.shape:
            return self._select_first(index)
        items, tensors = canonical(index, lambda data: self.session.tensor(data))  # noqa: PLW0108 - asked for only where data has to become a tensor
        return self._picked(items, tensors)

    def _picked(self, items: tuple[Any, ...], tensors: tuple[Any, ...]) -> Self:
        if True in map(_is_bool, items) or not all(map(_is_position, tensors)):
            return self._index(tensors, index=items)
        return self._getitem_by_tensors(tensors, index=items) if tensors else self._getitem(index=items)

    @property
    def _spec_if_known(self) -> Spec | None:
        """Shape and type; None where only a server could tell."""
        return Spec(self.shape, self.dtype)

    def __setitem__(self, index: Any, value: Self | Number) -> None:
        """Write into the tensor itself; the value broadcasts to what the index selects."""
        number = isinstance(value, (bool, int, float, complex, np.generic))
        if not number and not isinstance(value, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"can't assign a {type(value).__name__} to a tensor; make a tensor of it first")
        items, tensors = canonical(index, lambda data: self.session.tensor(data))  # noqa: PLW0108 - asked for only where data has to become a tensor
        if True in map(_is_bool, items) or not all(map(_is_position, tensors)):
            given: Any = value
            if not number and len(items) == 1 and given.dtype is not self.dtype and not given.shape and _is_mask(tensors):
                value = given.to(self.dtype)  # one value for a whole mask is masked_fill, which converts
            self._apply("index_put_", self, value, *tensors, index=items, accumulate=False)
            return
        view = self if all(item in _WHOLE for item in items) else self._picked(items, tensors)
        if number:
            self._apply("fill_", view, value)
            return
        source: Any = value
        shape: Shape = source.shape
        extra = len(shape) - len(view.shape)
        if extra > 0 and all(n == 1 for n in shape[:extra]):
            value = self._apply("reshape", value, shape=shape[extra:])
        notices.discards_imaginary(value, self.dtype)
        self._apply("copy_", view, value)

    @op(rules.select_first, name="getitem.int", view=True, node="Select")
    def _select_first(self, index: int) -> Self:
        """The slice number ``index`` of the first dimension: ``x[3]``.

        Shapes: [n, ...] -> [...]. Gradient: g in that slice of zeros. Raises: IndexBoundsError.
        """
        return self._apply("getitem.int", self, index=index)

    @op(rules.getitem, name="getitem", view=True, node="Slice")
    def _getitem(self, *, index: Index) -> Self:
        """The view that integers, slices, None and Ellipsis select.

        Shapes: [...] -> as in numpy. Gradient: g in that part of zeros. Raises: IndexBoundsError, ArgumentValueError.
        """
        return self._apply("getitem", self, index=index)

    @op(rules.getitem_by_tensors, name="getitem.tensor", view=True, differentiable=("self",), node="Slice")
    def _getitem_by_tensors(self, indices: Sequence[Self], *, index: Index) -> Self:
        """The view that an index selects whose tensors are 0-d integers, which count as the integers in them.

        Shapes: [...] -> as in numpy. Gradient: g in that part of zeros. Raises: IndexBoundsError, ArgumentValueError.
        """
        return self._apply("getitem.tensor", self, *indices, index=index)

    @op(rules.index, name="index", differentiable=("self",))
    def _index(self, indices: Sequence[Self], *, index: Index) -> Self:
        """What an index with booleans or tensors selects, as a copy.

        Shapes: [...] -> the index tensors' common shape in place of the dimensions they index, in front where those are apart.
        Gradient: g added where it was taken from. Raises: IndexBoundsError.
        """
        return self._apply("index", self, *indices, index=index)

    @op(rules.into_zeros, namespace="internal")
    def _getitem_gradient(self, *, shape: Sequence[int], index: Index) -> Self:
        """Zeros of ``shape`` with ``self`` where ``index`` selects: the transpose of ``getitem``.

        Shapes: what the index selects -> [*shape]. Gradient: what the index selects of g.
        """
        return self._apply("_getitem_gradient", self, shape=shape, index=index)

    @op(rules.into_zeros, namespace="internal", differentiable=("self",))
    def _index_gradient(self, indices: Sequence[Self], *, shape: Sequence[int], index: Index) -> Self:
        """Zeros of ``shape`` with ``self`` added where ``index`` selects: the transpose of ``index``.

        Shapes: what the index selects -> [*shape]. Gradient: what the index selects of g.
        """
        return self._apply("_index_gradient", self, *indices, shape=shape, index=index)

    @op(rules.index_put, name="index_put", differentiable=("self", "values"), inplace=True)
    def _index_put(self, values: Self | Number, indices: Sequence[Self], *, index: Index, accumulate: bool = False) -> Self:
        """``self`` with ``values`` written, or with ``accumulate`` added, where ``index`` selects.

        Shapes: [...], broadcasts to what the index selects -> [...]. Gradient: g, zero where written; what the index selects of g.
        Raises: IndexBoundsError, ShapeError, DTypeError.
        """
        return self._apply("index_put", self, values, *indices, index=index, accumulate=accumulate)

    def index_put(self, indices: Sequence[Self | None], values: Self, accumulate: bool = False) -> Self:
        """A copy with ``values`` written, or with ``accumulate`` added, where the tensors ``indices`` (None: all) select."""
        items, tensors = _slots(indices)
        return self._apply("index_put", self, values, *tensors, index=items, accumulate=accumulate)

    def index_put_(self, indices: Sequence[Self | None], values: Self, accumulate: bool = False) -> Self:
        """``index_put`` in place."""
        items, tensors = _slots(indices)
        return self._apply("index_put_", self, values, *tensors, index=items, accumulate=accumulate)

    # Along one dimension -------------------------------------------------------------------------------------------------------

    @op(rules.gather, differentiable=("self",))
    def gather(self, dim: int, index: Self, *, sparse_grad: bool = False) -> Self:
        """``out[i][j] = self[index[i][j]][j]`` for ``dim=0``, and likewise for others.

        ``sparse_grad`` permits a sparse gradient; as every tensor here is dense, the gradient has the same values either way.
        Shapes: [...], [...] -> index's. Gradient: g added where it was taken from. Raises: ShapeError, DTypeError.
        """
        if flag(sparse_grad, "sparse_grad"):
            return self._apply("gather", self, index, dim=integer(dim, "dim"), sparse_grad=True)
        return self._apply("gather", self, index, dim=integer(dim, "dim"))

    @op(rules.scatter, name="scatter", differentiable=("self", "src"), inplace=True)
    def _scatter(self, index: Self, src: Self | Number, *, dim: int) -> Self:
        """``out[index[i][j]][j] = src[i][j]`` for ``dim=0``, and likewise for others; the last write counts where indices repeat.

        Shapes: [...], [...], at least index's -> [...]. Gradient: g, zero where written; g gathered. Raises: ShapeError,
        DTypeError.
        """
        return self._apply("scatter", self, index, src, dim=dim)

    def scatter(
        self,
        dim: int,
        index: Self,
        src: Self | Number | None = None,
        *,
        value: Number | None = None,
        reduce: str | None = None,
    ) -> Self:
        """A copy with ``src`` (or the number ``value``) written along ``dim`` where ``index`` says.

        ``reduce="add"`` or ``"multiply"`` combines it with what is there instead; ``scatter_reduce`` has more such ways.
        """
        return _scattered("scatter", self, dim, index, _source(src, value), reduce)

    def scatter_(
        self,
        dim: int,
        index: Self,
        src: Self | Number | None = None,
        *,
        value: Number | None = None,
        reduce: str | None = None,
    ) -> Self:
        """``scatter`` in place."""
        return _scattered("scatter_", self, dim, index, _source(src, value), reduce)

    @op(rules.scatter, differentiable=("self", "src"), inplace=True)
    def scatter_add(self, dim: int, index: Self, src: Self) -> Self:
        """``out[index[i][j]][j] += src[i][j]`` for ``dim=0``, and likewise for others, repeats included.

        Shapes: [...], [...], at least index's -> [...]. Gradient: g; g gathered. Raises: ShapeError, DTypeError.
        """
        return self._apply("scatter_add", self, index, src, dim=integer(dim, "dim"))

    @op(rules.index_select, differentiable=("self",))
    def index_select(self, dim: int, index: Self) -> Self:
        """The slices along ``dim`` that the 1-d ``index`` names.

        Shapes: [..., n, ...], [k] -> [..., k, ...]. Gradient: g added where it was taken from. Raises: IndexBoundsError.
        """
        return self._apply("index_select", self, index, dim=integer(dim, "dim"))

    @op(rules.repeat_positions, name="repeat_interleave.Tensor", differentiable=(), reason=INTEGERS_ONLY)
    def _repeat_positions(self, *, output_size: int | None = None) -> Self:
        """Each position as often as the tensor says there: [2, 0, 1] gives [0, 0, 2]. ``output_size`` is their sum, if known.

        Shapes: [n] -> [sum]. Raises: ShapeError for negative repeats or an ``output_size`` that is not their sum.
        """
        return self._apply("repeat_interleave.Tensor", self, output_size=output_size)

    def repeat_interleave(
        self, repeats: Self | int | None = None, dim: int | None = None, *, output_size: int | None = None
    ) -> Self:
        """Each slice along ``dim`` (of the flattened tensor without ``dim``) several times, one copy after another.

        ``repeats`` is how often, for all slices or, as a tensor, for each. Without it, the tensor itself holds repeats, and the
        result each position as often. ``output_size`` is the number of slices of the result, where known before.

        Shapes: [..., n, ...], [n] -> [..., sum, ...]. Gradient: g summed over the copies.
        Raises: ShapeError for negative repeats, and for a tensor of as many as there are not slices; DTypeError.
        """
        if output_size is not None:
            output_size = integer(output_size, "output_size")
        if repeats is None:
            return self._repeat_positions(output_size=output_size)
        x = self if dim is not None else self._apply("flatten", self)
        at = 0 if dim is None else integer(dim, "dim")
        if not isinstance(repeats, TensorBase):
            return _copies(x, integer(repeats, "repeats"), at, output_size)
        each: Any = repeats
        if not x.shape:
            raise DimensionError(f"Dimension specified as {at} but tensor has no dimensions")
        size = x.shape[dimension(at, len(x.shape))]
        if len(each.shape) > 1:
            raise ShapeError("repeats must be 0-dim or 1-dim tensor")
        if not each.shape or each.shape == (1,):
            each = self._apply("expand", each, size=(size,))
        if each.shape[0] != size:
            raise ShapeError(
                "repeats must have the same size as input along dim, but got "
                f"repeats.size(0) = {each.shape[0]} and input.size({at}) = {size}"
            )
        return self._apply("index_select", x, each._repeat_positions(output_size=output_size), dim=at)

    @op(rules.index_add, differentiable=("self", "source"), inplace=True)
    def index_add(self, dim: int, index: Self, source: Self, *, alpha: Number = 1) -> Self:
        """``alpha * source`` added to the slices along ``dim`` that ``index`` names, repeats included.

        Shapes: [..., n, ...], [k], [..., k, ...] -> [..., n, ...]. Gradient: g; alpha times g's named slices.
        """
        return self._apply("index_add", self, index, source, dim=integer(dim, "dim"), alpha=alpha)

    @op(rules.index_fill, differentiable=("self", "value"), inplace=True)
    def index_fill(self, dim: int, index: Self, value: Self | Number) -> Self:
        """A copy with ``value``, a number or 0-d tensor, in the slices along ``dim`` that ``index`` names.

        Shapes: [..., n, ...], [k], [] -> [..., n, ...]. Gradient: g, zero where written; the sum of what was written.
        """
        return self._apply("index_fill", self, index, value, dim=integer(dim, "dim"))

    @op(rules.index_copy, differentiable=("self", "source"), inplace=True)
    def index_copy(self, dim: int, index: Self, source: Self) -> Self:
        """A copy with the slices of ``source`` in the places along ``dim`` that ``index`` names.

        Shapes: [..., n, ...], [k], [..., k, ...] -> [..., n, ...]. Gradient: g, zero where written; g's named slices.
        """
        return self._apply("index_copy", self, index, source, dim=integer(dim, "dim"))

    @op(rules.take_along_dim, differentiable=("self",), node="Gather")
    def take_along_dim(self, indices: Self, dim: int | None = None) -> Self:
        """``gather`` with the other dimensions broadcast; over the flattened tensor without ``dim``. Fits ``argsort``.

        Shapes: [...], [...] -> broadcast. Gradient: g added where it was taken from. Raises: ShapeError, DTypeError.
        """
        return self._apply("take_along_dim", self, indices, dim=None if dim is None else integer(dim, "dim"))

    @op(rules.take, differentiable=("self",))
    def take(self, index: Self) -> Self:
        """The elements that ``index`` names in the flattened tensor.

        Shapes: [...], [...] -> index's. Gradient: g added where it was taken from. Raises: IndexBoundsError.
        """
        return self._apply("take", self, index)

    # Masks ---------------------------------------------------------------------------------------------------------------------

    @op(rules.masked_fill, differentiable=("self", "value"), inplace=True)
    def masked_fill(self, mask: Self, value: Self | Number) -> Self:
        """``value``, a number or 0-d tensor, where ``mask`` holds, else the element.

        Shapes: [...], [...], [] -> broadcast. Gradient: g where the mask does not hold; the sum of g where it does.
        """
        return self._apply("masked_fill", self, mask, value)

    @op(rules.masked_select, differentiable=("self",))
    def masked_select(self, mask: Self) -> Self:
        """The elements where ``mask`` holds, as a 1-d copy.

        Shapes: [...], [...] -> [count]. Gradient: g where it was taken from.
        """
        return self._apply("masked_select", self, mask)

    @op(rules.masked_scatter, differentiable=("self", "source"), inplace=True)
    def masked_scatter(self, mask: Self, source: Self) -> Self:
        """The elements with those of ``source``, one after another, where ``mask`` holds.

        Shapes: [...], [...], at least as many elements as hold -> broadcast. Gradient: g where it does not hold; g's masked
        elements.
        """
        return self._apply("masked_scatter", self, mask, source)

    @op(rules.nonzero, name="nonzero", differentiable=(), reason=INTEGERS_ONLY)
    def _nonzero(self) -> Self:
        """The positions of the elements that are not zero, one row each.

        Shapes: [...] -> [count, dimensions].
        """
        return self._apply("nonzero", self)

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Positions of elements that are not zero: rows of a matrix, or with ``as_tuple`` a vector per dimension, as an index."""
        if not as_tuple:
            return self._apply("nonzero", self)
        x = self if self.shape else self._apply("reshape", self, shape=(1,))
        return self._apply("unbind", self._apply("nonzero", x), dim=1)

    def argwhere(self) -> Self:
        """``nonzero`` by numpy's name."""
        return self._apply("nonzero", self)

    # Order ---------------------------------------------------------------------------------------------------------------------

    @op(rules.ordered, outputs=("values", "indices"))
    def sort(self, dim: int = -1, descending: bool = False, stable: bool | None = False) -> Any:
        """Values in order along ``dim``, and where each was. Equal values keep their order; not a number counts as largest.

        Shapes: [...] -> [...] twice. Gradient: g where each value was.
        """
        return Sorted(*self._apply("sort", self, dim=integer(dim, "dim"), descending=descending, stable=stable))

    @op(rules.argsort, differentiable=(), reason=INTEGERS_ONLY)
    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = False) -> Self:
        """Where along ``dim`` the sorted values are.

        Shapes: [...] -> [...] of int64.
        """
        return self._apply("argsort", self, dim=integer(dim, "dim"), descending=descending, stable=stable)

    @op(rules.topk, outputs=("values", "indices"))
    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
        """The ``k`` largest (or smallest) values along ``dim``, in order, and where each was.

        Shapes: [..., n, ...] -> [..., k, ...] twice. Gradient: g where each value was. Raises: ShapeError if ``k`` exceeds n.
        """
        return Sorted(*self._apply("topk", self, k=integer(k, "k"), dim=integer(dim, "dim"), largest=largest, sorted=sorted))


def _copies(x: Any, repeats: int, dim: int, output_size: int | None) -> Any:
    """``repeat_interleave`` of all slices alike: a view that repeats each, copied."""
    if repeats < 0:
        raise ShapeError("Repeats must be non-negative")
    if not x.shape:
        raise DimensionError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")
    at = dimension(dim, len(x.shape))
    total = x.shape[at] * repeats
    if output_size is not None and output_size != total:
        raise ShapeError(f"repeat_interleave: Invalid output_size, expected {total} but got {output_size}")
    shape = (*x.shape[: at + 1], repeats, *x.shape[at + 1 :])
    return x.unsqueeze(at + 1).expand(shape).clone().flatten(at, at + 1)


def _is_mask(tensors: Sequence[Any]) -> bool:
    return len(tensors) == 1 and tensors[0].dtype is dtypes.bool_


def _is_position(tensor: Any) -> bool:
    """Whether a tensor in an index counts as an integer there."""
    spec = tensor._spec_if_known
    return spec is not None and not spec.shape and is_position(spec)


def _is_bool(item: Any) -> bool:
    return type(item) is bool


def _source(src: Any, value: Any) -> Any:
    """What ``scatter`` writes: one of its two spellings."""
    if (src is None) == (value is None):
        raise ArgumentTypeError("scatter() takes either a tensor 'src' or a number 'value'")
    return value if src is None else src


def _scattered(name: str, x: Any, dim: Any, index: Any, source: Any, reduce: str | None) -> Any:
    """``scatter``, or with ``reduce`` the ``scatter_reduce`` that it is."""
    if reduce is None:
        return x._apply(name, x, index, source, dim=integer(dim, "dim"))
    ways = {"add": "sum", "multiply": "prod"}
    if reduce not in ways:
        raise ShapeError("reduce argument must be either add or multiply.")
    if not isinstance(source, TensorBase):
        source = x._apply("new_full", x, size=index.shape, fill_value=source)
    reduced = name.replace("scatter", "scatter_reduce")
    return x._apply(reduced, x, index, source, dim=integer(dim, "dim"), reduce=ways[reduce], include_self=True)


def _slots(indices: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Items and tensors of ``index_put``: a tensor or None, which takes a whole dimension, for each dimension."""
    if isinstance(indices, TensorBase) or not isinstance(indices, (tuple, list)):
        raise ArgumentTypeError(
            f"index_put(): argument 'indices' (position 1) must be tuple of Tensors, not {type(indices).__name__}"
        )
    if not indices:
        raise ArgumentValueError("index_put(): argument 'indices' must hold at least one tensor")
    items: list[Any] = []
    tensors: list[Any] = []
    for entry in indices:
        if entry is None:
            items.append(slice(None))
            continue
        if not isinstance(entry, TensorBase):
            raise ArgumentTypeError(f"index_put(): argument 'indices' must be tuple of Tensors, found {type(entry).__name__}")
        tensors.append(entry)
        items.append(TensorSlot(len(tensors)))
    return tuple(items), tuple(tensors)
