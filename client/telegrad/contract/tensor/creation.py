"""Ops that make tensors from nothing, as methods of a session, and those that make them like another, as methods of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from telegrad.contract import creation_rules as rules
from telegrad.contract import notices
from telegrad.contract.dtypes import DEFAULT_DTYPE, DType, DTypeLike, Number, as_dtype
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from telegrad.contract.literal import array_of, is_numpy_scalar
from telegrad.contract.ops import Shape, SizeByName, op
from telegrad.contract.shape_parts_rules import triangle_indices
from telegrad.contract.shapes import ints, real_number, size_argument
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.fft import FrequencyOps
from telegrad.contract.tensor.signal import WindowOps

Made = TypeVar("Made")
"""The tensors of a session: read by plain calls, or awaited."""

NOT_A_FUNCTION = "it has no tensor input"
OF_SHAPE_ONLY = "it reads the input's shape and type, not its values"

# Arguments -------------------------------------------------------------------------------------------------------------------


def _dtype(dtype: DTypeLike | None) -> DType | None:
    return None if dtype is None else as_dtype(dtype)


def _number(given: Any, op_name: str, argument: str) -> Number:
    value: Any = given.item() if is_numpy_scalar(given) or getattr(given, "shape", None) == () else given
    if not isinstance(value, (bool, int, float, complex)):
        if isinstance(value, TensorBase):
            raise ShapeError(f"{op_name} only supports 0-dimensional tensors, but got {argument} of shape {list(given.shape)}")
        raise ArgumentTypeError(f"{op_name}(): argument '{argument}' must be Number, not {type(value).__name__}")
    return value


def _int(value: Any, op_name: str, argument: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(f"{op_name}(): argument '{argument}' must be int, not {type(value).__name__}")
    return value.__index__()


def _sequence(size: Any, op_name: str) -> Shape:
    if not isinstance(size, (tuple, list)):
        raise ArgumentTypeError(f"{op_name}(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    return ints(size, "size")


def _leaf(made: Any, requires_grad: bool) -> Any:
    """The new tensor, requiring grad if asked."""
    if requires_grad is not False:
        made.requires_grad = requires_grad
    return made


def _triangle(home: Any, name: str, row: Any, col: Any, offset: Any, dtype: DTypeLike | None, requires_grad: bool) -> Any:
    sizes = {"row": _int(row, name, "row"), "col": _int(col, name, "col"), "offset": _int(offset, name, "offset")}
    return _leaf(home._apply(name, **sizes, dtype=_dtype(dtype)), requires_grad)


class CreationOps(FrequencyOps[Made], WindowOps[Made]):
    """Ops without tensor inputs. A session inherits them; free functions call the current session's.

    ``requires_grad=True`` makes the new tensor a leaf that gradients are accumulated in; floating and complex types can.
    """

    # Literal data ------------------------------------------------------------------------------------------------------------

    _allocate: ClassVar[Any] = None
    """An ``Allocate`` that gives the memory for copies of arrays; by default numpy does."""

    def _create(self, array: npt.NDArray[Any], requires_grad: bool) -> Made:
        """A tensor around ``array``, which nobody else holds. Every session provides it."""
        raise NotImplementedError

    def tensor(self: Any, data: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """A new leaf with a copy of ``data``: a number, nested sequences of numbers, a numpy array, or another tensor.

        dtype: unless given, bool, int64, float32 or complex64 for Python numbers; arrays and tensors keep theirs.
        Raises: ArgumentValueError for ragged nesting; ArgumentTypeError and DTypeError for what is no number.
        """
        if type(requires_grad) is not bool:
            raise ArgumentTypeError(f"tensor(): argument 'requires_grad' must be bool, not {type(requires_grad).__name__}")
        if isinstance(data, TensorBase):
            notices.copied_tensor()
        array = array_of(data, _dtype(dtype), self._allocate)
        if requires_grad and array.dtype.kind not in "fc":
            raise DTypeError("Only Tensors of floating point and complex dtype can require gradients")
        return self._create(array, requires_grad)

    def as_tensor(self: Any, data: Any, dtype: DTypeLike | None = None) -> Made:
        """``data`` itself if it is a tensor of that dtype, converted with history if of another, else ``tensor(data)``."""
        if isinstance(data, TensorBase):
            given: Any = data
            return given if dtype is None else given.to(dtype)
        return self.tensor(data, dtype)

    def asarray(
        self: Any, obj: Any, *, dtype: DTypeLike | None = None, copy: bool | None = None, requires_grad: bool | None = None
    ) -> Made:
        """``obj`` if it is a tensor, with its history, unless ``dtype`` or ``copy`` ask for another one; else ``tensor(obj)``.

        requires_grad: unless given, that of ``obj``. Arrays are copied, as in ``from_numpy``.
        Raises ArgumentValueError with ``copy=False`` for what must be copied.
        """
        for name, value in (("copy", copy), ("requires_grad", requires_grad)):
            if value is not None and type(value) is not bool:
                raise ArgumentTypeError(f"asarray(): argument '{name}' must be bool, not {type(value).__name__}")
        if not isinstance(obj, TensorBase):
            if copy is False:
                raise ArgumentValueError("can't alias arbitrary sequence into a tensor: what is no tensor is copied")
            return self.tensor(obj, dtype, requires_grad is True)
        given: Any = obj
        wanted = _dtype(dtype) or given.dtype
        if wanted is not given.dtype and copy is False:
            raise ArgumentValueError(f"can't alias tensor with dtype '{given.dtype.name}' into dtype '{wanted.name}'.")
        made = given.to(wanted) if wanted is not given.dtype else given.clone() if copy else given
        if requires_grad is False and not made.is_leaf:
            return made.detach()
        if requires_grad is not None and requires_grad is not made.requires_grad:
            made.requires_grad = requires_grad
        return made

    def scalar_tensor(self: Any, s: Number, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """A tensor without dimensions that holds a number. dtype: float32 unless given."""
        made = self._apply("full", size=(), fill_value=_number(s, "scalar_tensor", "s"), dtype=_dtype(dtype) or DEFAULT_DTYPE)
        return _leaf(made, requires_grad)

    def from_numpy(self: Any, ndarray: npt.NDArray[Any]) -> Made:
        """A tensor with the array's values and type. They are copied: a session may live in another process.

        Raises ArgumentTypeError for anything but an array.
        """
        given: Any = ndarray
        if not isinstance(given, np.ndarray):
            raise ArgumentTypeError(f"expected np.ndarray (got {type(given).__name__})")
        return self.tensor(ndarray)

    # Constants ---------------------------------------------------------------------------------------------------------------

    @op(rules.filled, differentiable=(), reason=NOT_A_FUNCTION)
    def zeros(
        self: Any, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Zeros.

        Shapes: -> [*size]. dtype: float32 unless given. Raises: ShapeError for negative sizes.
        """
        return _leaf(self._apply("zeros", size=size_argument(size_, size), dtype=_dtype(dtype)), requires_grad)

    @op(rules.filled, differentiable=(), reason=NOT_A_FUNCTION)
    def ones(
        self: Any, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Ones.

        Shapes: -> [*size]. dtype: float32 unless given. Raises: ShapeError for negative sizes.
        """
        return _leaf(self._apply("ones", size=size_argument(size_, size), dtype=_dtype(dtype)), requires_grad)

    def empty(
        self: Any, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Zeros: memory is never handed out uninitialised, because it could hold another session's values."""
        return _leaf(self._apply("zeros", size=size_argument(size_, size), dtype=_dtype(dtype)), requires_grad)

    @op(rules.full, differentiable=(), reason=NOT_A_FUNCTION)
    def full(
        self: Any,
        size: Sequence[int],
        fill_value: Number,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``fill_value`` everywhere.

        Shapes: -> [*size]. dtype: the number's unless given: bool, int64, float32 or complex64.
        """
        made = self._apply(
            "full", size=_sequence(size, "full"), fill_value=_number(fill_value, "full", "fill_value"), dtype=_dtype(dtype)
        )
        return _leaf(made, requires_grad)

    @op(rules.eye, differentiable=(), reason=NOT_A_FUNCTION)
    def eye(self: Any, n: int, m: int | None = None, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """Ones on the diagonal, zeros elsewhere.

        Shapes: -> [n, m]; m is n unless given. dtype: float32 unless given.
        """
        made = self._apply("eye", n=_int(n, "eye", "n"), m=None if m is None else _int(m, "eye", "m"), dtype=_dtype(dtype))
        return _leaf(made, requires_grad)

    @op(triangle_indices("tril_indices"), differentiable=(), reason=NOT_A_FUNCTION)
    def tril_indices(
        self: Any, row: int, col: int, offset: int = 0, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Rows and columns of the elements of a matrix on or below the diagonal number ``offset``, row by row.

        Shapes: -> [2, k]. dtype: int64 unless given; or int32. Raises: ShapeError for negative sizes.
        """
        return _triangle(self, "tril_indices", row, col, offset, dtype, requires_grad)

    @op(triangle_indices("triu_indices"), differentiable=(), reason=NOT_A_FUNCTION)
    def triu_indices(
        self: Any, row: int, col: int, offset: int = 0, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Rows and columns of the elements of a matrix on or above the diagonal number ``offset``, row by row.

        Shapes: -> [2, k]. dtype: int64 unless given; or int32. Raises: ShapeError for negative sizes.
        """
        return _triangle(self, "triu_indices", row, col, offset, dtype, requires_grad)

    # Ranges ------------------------------------------------------------------------------------------------------------------

    @op(rules.arange, differentiable=(), reason=NOT_A_FUNCTION)
    def arange(
        self: Any,
        start: Number = 0,
        end: Number | None = None,
        step: Number = 1,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``start``, ``start + step``, ... up to but without ``end``; ``arange(end)`` starts at 0.

        Shapes: -> [ceil((end - start) / step)]. dtype: int64 for integers, else float32, unless given.
        Raises: ShapeError for a step of 0 or of the wrong sign.
        """
        made = self._apply(
            "arange",
            start=0 if end is None else _number(start, "arange", "start"),
            end=_number(start if end is None else end, "arange", "end"),
            step=_number(step, "arange", "step"),
            dtype=_dtype(dtype),
        )
        return _leaf(made, requires_grad)

    @op(rules.spaced, differentiable=(), reason=NOT_A_FUNCTION)
    def linspace(
        self: Any, start: Number, end: Number, steps: int, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """``steps`` evenly spaced numbers from ``start`` to ``end``, both included.

        Shapes: -> [steps]. dtype: float32 unless given.
        """
        made = self._apply(
            "linspace",
            start=_number(start, "linspace", "start"),
            end=_number(end, "linspace", "end"),
            steps=_int(steps, "linspace", "steps"),
            dtype=_dtype(dtype),
        )
        return _leaf(made, requires_grad)

    @op(rules.spaced, differentiable=(), reason=NOT_A_FUNCTION)
    def logspace(
        self: Any,
        start: Number,
        end: Number,
        steps: int,
        base: float = 10.0,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``base`` to the powers ``linspace(start, end, steps)``.

        Shapes: -> [steps]. dtype: float32 unless given.
        """
        made = self._apply(
            "logspace",
            start=_number(start, "logspace", "start"),
            end=_number(end, "logspace", "end"),
            steps=_int(steps, "logspace", "steps"),
            base=real_number(base, "base"),
            dtype=_dtype(dtype),
        )
        return _leaf(made, requires_grad)

    # Random numbers ----------------------------------------------------------------------------------------------------------

    @op(rules.uniform, differentiable=(), reason=NOT_A_FUNCTION, random=True)
    def rand(
        self: Any, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Drawn evenly from [0, 1).

        Shapes: -> [*size]. dtype: float32 unless given.
        """
        return _leaf(self._apply("rand", size=size_argument(size_, size), dtype=_dtype(dtype)), requires_grad)

    @op(rules.normal, differentiable=(), reason=NOT_A_FUNCTION, random=True)
    def randn(
        self: Any, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """Drawn from the normal distribution with mean 0 and variance 1.

        Shapes: -> [*size]. dtype: float32 unless given; complex numbers have variance 1/2 in each part.
        """
        return _leaf(self._apply("randn", size=size_argument(size_, size), dtype=_dtype(dtype)), requires_grad)

    @op(rules.normal, differentiable=(), reason=NOT_A_FUNCTION, random=True)
    def normal(
        self: Any,
        mean: float,
        std: float,
        size: Sequence[int],
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """Drawn from the normal distribution with that mean and standard deviation.

        Shapes: -> [*size]. dtype: float32 unless given.
        """
        made = self._apply(
            "normal",
            mean=real_number(mean, "mean"),
            std=real_number(std, "std"),
            size=_sequence(size, "normal"),
            dtype=_dtype(dtype),
        )
        return _leaf(made, requires_grad)

    @op(rules.randint, differentiable=(), reason=NOT_A_FUNCTION, random=True, name="randint")
    def _draw_integers(self: Any, low: int, high: int, size: Sequence[int], *, dtype: DTypeLike | None = None) -> Made:
        """Integers drawn evenly from ``low`` up to but without ``high``.

        Shapes: -> [*size]. dtype: int64 unless given. Raises: ShapeError unless low < high and both fit the type.
        """
        return self._apply("randint", low=low, high=high, size=size, dtype=dtype)

    @overload
    def randint(
        self: Any, high: int, size: Sequence[int], /, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made: ...
    @overload
    def randint(
        self: Any, low: int, high: int, size: Sequence[int], *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made: ...
    def randint(
        self: Any,
        low: int = 0,
        high: Any = None,
        size: Any = None,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """Integers drawn evenly: ``randint(high, size)`` from 0, ``randint(low, high, size)`` from ``low``, without ``high``."""
        if size is None and type(high) in (tuple, list):
            low, high, size = 0, low, high
        elif high is None:
            low, high = 0, low
        made = self._draw_integers(
            _int(low, "randint", "low"), _int(high, "randint", "high"), _sequence(size, "randint"), dtype=_dtype(dtype)
        )
        return _leaf(made, requires_grad)

    @op(rules.randperm, differentiable=(), reason=NOT_A_FUNCTION, random=True)
    def randperm(self: Any, n: int, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """The integers 0 to n-1 in random order.

        Shapes: -> [n]. dtype: int64 unless given.
        """
        return _leaf(self._apply("randperm", n=_int(n, "randperm", "n"), dtype=_dtype(dtype)), requires_grad)


class LikeOps(TensorBase):
    """New tensors in the session of this one, with its shape or its type."""

    __slots__ = ()

    @property
    def session(self) -> Any:
        """The session that the tensor lives in."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    @op(rules.like, differentiable=(), reason=OF_SHAPE_ONLY)
    def zeros_like(self, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """Zeros in the shape of ``self``.

        Shapes: [...] -> [...]. dtype: that of ``self`` unless given.
        """
        return _leaf(self._apply("zeros_like", self, dtype=_dtype(dtype)), requires_grad)

    @op(rules.like, differentiable=(), reason=OF_SHAPE_ONLY)
    def ones_like(self, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """Ones in the shape of ``self``.

        Shapes: [...] -> [...]. dtype: that of ``self`` unless given.
        """
        return _leaf(self._apply("ones_like", self, dtype=_dtype(dtype)), requires_grad)

    def empty_like(self, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """Zeros in the shape of ``self``; see ``empty``."""
        return _leaf(self._apply("zeros_like", self, dtype=_dtype(dtype)), requires_grad)

    @op(rules.full_like, differentiable=(), reason=OF_SHAPE_ONLY)
    def full_like(self, fill_value: Number, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """``fill_value`` in the shape of ``self``.

        Shapes: [...] -> [...]. dtype: that of ``self`` unless given.
        """
        made = self._apply("full_like", self, fill_value=_number(fill_value, "full_like", "fill_value"), dtype=_dtype(dtype))
        return _leaf(made, requires_grad)

    @op(rules.uniform_like, differentiable=(), reason=OF_SHAPE_ONLY, random=True)
    def rand_like(self, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """``rand`` in the shape of ``self``.

        Shapes: [...] -> [...]. dtype: that of ``self`` unless given.
        """
        return _leaf(self._apply("rand_like", self, dtype=_dtype(dtype)), requires_grad)

    @op(rules.normal_like, differentiable=(), reason=OF_SHAPE_ONLY, random=True)
    def randn_like(self, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """``randn`` in the shape of ``self``.

        Shapes: [...] -> [...]. dtype: that of ``self`` unless given.
        """
        return _leaf(self._apply("randn_like", self, dtype=_dtype(dtype)), requires_grad)

    @op(rules.randint_like, differentiable=(), reason=OF_SHAPE_ONLY, random=True, name="randint_like")
    def _draw_integers_like(self, low: int, high: int, *, dtype: DTypeLike | None = None) -> Self:
        """Integers drawn evenly from ``low`` up to but without ``high``, in the shape of ``self``.

        Shapes: [...] -> [...]. dtype: that of ``self`` unless given.
        """
        return self._apply("randint_like", self, low=low, high=high, dtype=dtype)

    def randint_like(
        self, low: int, high: int | None = None, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Self:
        """Integers like ``randint``: ``randint_like(high)`` from 0, ``randint_like(low, high)`` from ``low``, without ``high``."""
        if high is None:
            low, high = 0, low
        made = self._draw_integers_like(_int(low, "randint_like", "low"), _int(high, "randint_like", "high"), dtype=_dtype(dtype))
        return _leaf(made, requires_grad)

    @op(rules.coins, random=True)
    def bernoulli(self, p: float | None = None) -> Self:
        """1 with probability ``self`` (or ``p``, where given), else 0.

        Shapes: [...] -> [...]. Gradient: 0. Raises: NumericalError for a probability outside [0, 1].
        """
        return self._apply("bernoulli", self, p=None if p is None else real_number(p, "p"))

    @op(rules.new, differentiable=(), reason=OF_SHAPE_ONLY)
    def new_full(
        self, size: Sequence[int], fill_value: Number, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Self:
        """``fill_value`` everywhere.

        Shapes: -> [*size]. dtype: that of ``self`` unless given.
        """
        made = self._apply(
            "new_full",
            self,
            size=_sequence(size, "new_full"),
            fill_value=_number(fill_value, "new_full", "fill_value"),
            dtype=_dtype(dtype),
        )
        return _leaf(made, requires_grad)

    def new_zeros(
        self, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Self:
        """Zeros of shape ``size``, in the type of ``self`` unless ``dtype`` is given."""
        return self.new_full(size_argument(size_, size), 0, dtype=dtype, requires_grad=requires_grad)

    def new_ones(
        self, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Self:
        """Ones of shape ``size``, in the type of ``self`` unless ``dtype`` is given."""
        return self.new_full(size_argument(size_, size), 1, dtype=dtype, requires_grad=requires_grad)

    def new_empty(
        self, *size_: int | Sequence[int], size: SizeByName = None, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Self:
        """Zeros; see ``empty``."""
        return self.new_full(size_argument(size_, size), 0, dtype=dtype, requires_grad=requires_grad)

    def new_tensor(self, data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Self:
        """A new leaf with a copy of ``data``, in the type of ``self`` unless ``dtype`` is given; see ``tensor``."""
        return self.session.tensor(data, self.dtype if dtype is None else dtype, requires_grad)
