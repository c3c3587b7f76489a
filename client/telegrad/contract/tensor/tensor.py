"""``Tensor``: every op, and the reads that make it a Python and numpy citizen. The engine and the client each subclass it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from telegrad.contract import checks
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    AutogradError,
    DTypeError,
    ShapeError,
)
from telegrad.contract.ops import Shape
from telegrad.contract.tensor.formatting import html_tensor, repr_tensor
from telegrad.contract.tensor.operations import TensorOps

if TYPE_CHECKING:
    from telegrad.contract.hooks import RemovableHandle
    from telegrad.contract.session import BaseSession


class GraphNode(Protocol):
    """What ``grad_fn`` is: a node of the autograd graph."""

    def name(self) -> str:
        """PyTorch's name of the node, for example ``AddBackward0``."""
        ...

    @property
    def next_functions(self) -> Sequence[tuple[Any, int]]:
        """Where gradients go from here: (node, output index) per input; (None, 0) for an input that needs none."""
        ...


class Tensor(TensorOps):
    """A multi-dimensional array that can record how it was made. Made by a session or by an op, never by calling the class."""

    __slots__ = ()

    def __init__(self, *data: Any, **named: Any) -> None:  # noqa: ARG002 - whatever is given, it is the wrong call
        raise ArgumentTypeError(
            "telegrad.Tensor is the class of tensors: make one with telegrad.tensor(data) or telegrad.empty(2, 3)"
        )

    # What a subclass provides ------------------------------------------------------------------------------------------------

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

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor. Settable on leaves."""
        raise NotImplementedError

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        raise NotImplementedError

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor; only leaves accumulate ``grad`` by default."""
        raise NotImplementedError

    @property
    def grad_fn(self) -> GraphNode | None:
        """The node that made this tensor; None for leaves and for tensors without history."""
        raise NotImplementedError

    @property
    def output_nr(self) -> int:
        """Which output of ``grad_fn`` this is; 0 for leaves and tensors without history."""
        return int(self._gradient_edge()[1]) if self.requires_grad else 0

    @property
    def grad(self) -> Self | None:
        """The gradient accumulated so far, or None. Assign None, or a tensor of the same shape and dtype; ``del`` forgets it."""
        raise NotImplementedError

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        raise NotImplementedError

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on this non-leaf."""
        raise NotImplementedError

    def _is_part(self) -> bool:
        """Whether it may show some elements only of another tensor, of a remote one; False where its memory is known."""
        return False

    def _is_view(self) -> bool:
        """Whether the tensor is a part of another one, or the whole of it, in the same memory."""
        raise NotImplementedError

    def is_inference(self) -> bool:
        """Whether the tensor was made in ``inference_mode``, or is a view of one that was."""
        raise NotImplementedError

    @property
    def _version(self) -> int:
        """How often the storage was changed in place."""
        raise NotImplementedError

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``grad`` when backward passes it. Nothing on leaves.

        Raises AutogradError if the tensor does not require grad.
        """
        raise NotImplementedError

    def register_hook(self, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call ``hook(gradient)`` in every backward or grad that comes by, before anything else is done with the gradient.

        Args:
            hook: gets the gradient with respect to this tensor, of its shape and dtype, or None where an op of several
                outputs has none for this one. It may return another gradient of the same shape and dtype in its place, or
                None to leave it. Hooks run in the order of their registration.

        Returns:
            A handle whose ``remove()`` takes the hook out again.

        Raises AutogradError if the tensor does not require grad. What a hook raises ends the backward.
        """
        raise NotImplementedError

    def register_post_accumulate_grad_hook(self, hook: Callable[[Any], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` after a backward has added to the ``grad`` of this leaf.

        Returns a handle whose ``remove()`` takes the hook out again. Raises AutogradError for a tensor that does not require
        grad, and for one that is no leaf.
        """
        raise NotImplementedError

    def _gradient_edge(self) -> tuple[Any, int, Any]:
        """The fields of the ``GradientEdge`` of a tensor that requires grad."""
        raise NotImplementedError

    def _increment_version(self) -> None:
        """See ``telegrad.autograd.graph.increment_version``."""
        raise NotImplementedError

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """The values as a numpy array.

        Raises AutogradError if the tensor requires grad, outside ``no_grad``: use ``detach().numpy()`` or ``numpy(force=True)``, so
        that nobody mistakes it for recorded.
        """
        raise NotImplementedError

    def _value(self) -> npt.NDArray[Any]:
        """The values, read-only, whether or not the tensor requires grad."""
        raise NotImplementedError

    # Autograd ----------------------------------------------------------------------------------------------------------------

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Accumulate the gradients of this tensor into the ``grad`` of the leaves that it depends on.

        Args:
            gradient: the vector of the vector-Jacobian product, shaped like this tensor; may be left out for a scalar.
            retain_graph: keep what the graph saved, so that backward can run again; by default as ``create_graph``.
            create_graph: record a graph of the gradients, for higher derivatives.
            inputs: accumulate into these tensors only.

        Raises:
            AutogradError: if the tensor does not require grad, or is no scalar and ``gradient`` is missing.
            GraphFreedError: if the graph was freed by an earlier backward.
            VersionError: if a saved value was changed in place since.
        """
        self.session.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph, inputs=inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of a leaf in place, and return the tensor. Nothing where a non-leaf is to require grad: it does."""
        if requires_grad is not True or self.is_leaf:
            self.requires_grad = requires_grad
        return self

    # Python's and numpy's protocols ------------------------------------------------------------------------------------------

    def is_nonzero(self) -> bool:
        """Whether the one element is not zero; raises ShapeError for none or several."""
        return bool(self)

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number.

        Raises ShapeError for any other number of elements.
        """
        if self.numel() != 1:
            raise ShapeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self._value().item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers (a plain number for a 0-d tensor)."""
        return self._value().tolist()

    def apply_(self, callable: Callable[[Any], Any]) -> Self:
        """Put ``callable(element)``, a number, in the place of every element, one after the other, and return the tensor.

        Raises AutogradError for a tensor that requires grad; what the callable raises leaves the tensor as it was.
        """
        self._check_mapped("apply_", self)
        return self._mapped([callable(value) for value in self._value().ravel().tolist()])

    def map_(self, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Self:
        """Put ``callable(element, other)``, a number, in the place of every element, and return the tensor; see ``apply_``.

        tensor: gives the others; broadcast to this shape, of the same type.
        """
        self._check_mapped("map_", self, tensor)
        if tensor.dtype is not self.dtype:
            raise checks.other_type_mapped(self.dtype, tensor.dtype)
        others = tensor.expand(self.shape)._value().ravel().tolist()
        return self._mapped([callable(*pair) for pair in zip(self._value().ravel().tolist(), others, strict=True)])

    def _check_mapped(self, name: str, *tensors: Any) -> None:
        for x in tensors:
            if not isinstance(x, Tensor):
                raise checks.not_a_tensor_mapped(x, name)
            if x.requires_grad:
                raise checks.gradient_mapped(name)

    def _mapped(self, values: list[Any]) -> Self:
        made: Any = self.session.tensor(values, self.dtype)
        return self.copy_(made.reshape(self.shape))

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Self]:
        if not self.shape:
            raise ArgumentTypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self) -> Self:
        """All elements in reverse order along the first dimension, as PyTorch does; a 0-d tensor itself."""
        return self._apply("flip", self, dims=(0,) if self.shape else ())

    def __bool__(self) -> bool:
        count = self.numel()
        if count != 1:
            what = "no values" if count == 0 else "more than one value"
            raise ShapeError(f"Boolean value of Tensor with {what} is ambiguous; use any() or all()")
        return bool(self._value().item())

    def __float__(self) -> float:
        return float(self._real_item("double"))

    def __int__(self) -> int:
        return int(self._real_item("int64_t"))

    def _real_item(self, wanted: str) -> Any:
        if self.numel() != 1:
            raise ArgumentValueError("only one element tensors can be converted to Python scalars")
        value = self.item()
        if isinstance(value, complex):
            if value.imag:
                raise DTypeError(f"value cannot be converted to type {wanted} without overflow: it is not real")
            return value.real
        return value

    def __complex__(self) -> complex:
        if self.numel() != 1:
            raise ArgumentValueError("only one element tensors can be converted to Python scalars")
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.category > 1 or self.numel() != 1:
            raise ArgumentTypeError("only integer tensors of a single element can be converted to an index")
        return int(self._value().item())

    def __contains__(self, element: object) -> bool:
        if isinstance(element, (Tensor, bool, int, float, complex, np.generic)):
            return bool((self == element).any())
        raise ShapeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element).__name__}")

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Self:
        """A leaf that shares this one's memory. Raises AutogradError for a tensor with history."""
        return self._copied(self._leaf_for_copying())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A leaf with memory of its own in the same session, with its own ``grad``. Raises AutogradError where there is history."""
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = self._copied(self._leaf_for_copying().clone())
            if self.grad is not None:
                found.grad = self.grad.__deepcopy__(memo)
        return found

    def _leaf_for_copying(self) -> Self:
        if not self.is_leaf:
            raise AutogradError(
                "Only Tensors created explicitly by the user (graph leaves) support the copy protocol; use tensor.clone() to keep "
                "the history, or tensor.detach().clone() to leave it"
            )
        return self.detach()

    def _copied(self, made: Self) -> Self:
        if self.requires_grad:
            made.requires_grad = True
        return made

    def __reduce_ex__(self, protocol: object) -> Any:
        raise ArgumentTypeError(
            "a tensor lives in its session and cannot be pickled; pickle tensor.detach().numpy() and make a tensor of it again"
        )

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ArgumentTypeError("a conversion to another dtype needs a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    # numpy must leave `array + tensor` to our reflected operators instead of looping over elements.
    __array_ufunc__ = None

    def __format__(self, spec: str) -> str:
        # A 0-d tensor is written as its number, as in PyTorch; others have no format of their own.
        return object.__format__(self, spec) if self.shape else format(self.item(), spec)

    def __repr__(self) -> str:
        return repr_tensor(self)

    def _repr_html_(self) -> str:
        return html_tensor(self)
