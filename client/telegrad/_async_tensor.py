"""Tensors on a server, for ``async`` code. Ops are plain calls; what may have to ask the server is awaited under the same name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import numpy.typing as npt

from telegrad import _autograd
from telegrad._handle import Handle
from telegrad._history import UNKNOWN, Leaf, Node, Unknown
from telegrad._reading import ask, take
from telegrad.contract import checks
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, AutogradError, SessionError, ShapeError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import Shape
from telegrad.contract.tensor.tensor import GraphNode

if TYPE_CHECKING:
    from telegrad._async import AsyncSession


class AsyncTensor(Handle):
    """A tensor on a server. Ops are plain calls that record; reads are awaited. Otherwise as ``Tensor``."""

    __slots__ = ()

    @property
    def session(self) -> AsyncSession:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The session that the tensor lives in."""
        return cast("AsyncSession", self._home.session)

    # Known without asking, or an error that says how to ask -------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions. Raises SessionError where they depend on values that were not asked for yet."""
        if self._spec is None:
            self.resolve_shape()
        return cast(Any, self._spec).shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        """Element type. Raises SessionError where it depends on a shape that was not asked for yet."""
        found = self.known_dtype()
        if found is None:
            self.resolve_shape()
        return cast(DType, found)

    def resolve_shape(self) -> None:
        """Refuse: a plain call cannot ask the server."""
        raise SessionError("this tensor's shape depends on values that only the server has; `await tensor.describe()` asks for it")

    def resolve_history(self) -> dict[str, Any]:
        """Refuse: a plain call cannot ask the server."""
        raise SessionError("how this tensor was made is known to the server only; `await tensor.describe()` asks for it")

    def __reduce_ex__(self, protocol: object) -> Any:
        raise ArgumentTypeError(
            "a tensor lives in its session and cannot be pickled or copied; pickle `await tensor.detach().numpy()` and make a "
            "tensor of it again, or clone() it"
        )

    def _value(self) -> npt.NDArray[Any]:
        """Refuse: what needs values at once, as ``allclose`` does, cannot be a plain call here."""
        raise SessionError("a plain call cannot ask the server for values; await them first, for example with `await x.numpy()`")

    # Awaited -----------------------------------------------------------------------------------------------------------------

    async def describe(self) -> dict[str, Any]:
        """What the server says of the tensor, without its values: shape, dtype, requires_grad, is_leaf, grad_fn, version, ..."""
        description: dict[str, Any] = (await self.session.ask(self._name, "description"))["tensor"]
        self.learn(description)
        return description

    async def _requires_grad(self) -> bool:
        known = self.history()
        return bool((await self.describe())["requires_grad"]) if isinstance(known, Unknown) else known is not None

    @property
    def requires_grad(self) -> Awaitable[bool]:
        """``await x.requires_grad``: whether gradients are computed for this tensor. Assigned as it is: ``x.requires_grad =
        True``.
        """
        return self._requires_grad()

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        _autograd.set_requires_grad(self, value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of a leaf in place, and return the tensor."""
        _autograd.set_requires_grad(self, requires_grad, may_have_history=True)
        return self

    async def _is_leaf(self) -> bool:
        known = self.history()
        if isinstance(known, Unknown):
            return bool(_autograd.with_history(await self.describe())["is_leaf"])
        return known is None or isinstance(known, Leaf)

    @property
    def is_leaf(self) -> Awaitable[bool]:
        """``await x.is_leaf``: whether no recorded op made this tensor."""
        return self._is_leaf()

    async def _grad_fn(self) -> GraphNode | None:
        known = self.history()
        if isinstance(known, Unknown) or (isinstance(known, Node) and not known.exact):
            return _autograd.described_node(self, await self.describe())
        return None if isinstance(known, Leaf) else known

    @property
    def grad_fn(self) -> Awaitable[GraphNode | None]:
        """``await x.grad_fn``: the node that made this tensor."""
        return self._grad_fn()

    async def _output_nr(self) -> int:
        return int(self._gradient_edge()[1]) if await self._requires_grad() else 0

    @property
    def output_nr(self) -> Awaitable[int]:
        """``await x.output_nr``: which output of its node this is."""
        return self._output_nr()

    async def _grad(self) -> AsyncTensor | None:
        found = _autograd.known_grad(self)
        if found is UNKNOWN:
            questions = _autograd.ask_grads(self._home, self)
            for _, reply in questions:
                await self.session.wait_for(reply)
            _autograd.learn_grads(self._home, questions)
            found = _autograd.known_grad(self, resolved=True)
        _autograd.warn_if_never_there(self, found)
        return cast("AsyncTensor | None", found)

    @property
    def grad(self) -> Awaitable[AsyncTensor | None]:
        """``await x.grad``: the gradient accumulated so far, or None. Assigned as it is: ``x.grad = None``."""
        return self._grad()

    @grad.setter
    def grad(self, value: AsyncTensor | None) -> None:
        _autograd.set_grad(self, value)

    async def _retains_grad(self) -> bool:
        return self.history() is not None and bool(_autograd.with_history(await self.describe())["retains_grad"])

    @property
    def retains_grad(self) -> Awaitable[bool]:
        """``await x.retains_grad``: whether ``retain_grad()`` was called on this non-leaf."""
        return self._retains_grad()

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``grad`` when backward passes it."""
        _autograd.retain_grad(self)

    def backward(
        self,
        gradient: AsyncTensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: AsyncTensor | Sequence[AsyncTensor] | None = None,
    ) -> None:
        """Accumulate the gradients of this tensor into the ``grad`` of the leaves that it depends on; see ``Tensor.backward``."""
        self.session.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph, inputs=inputs)

    async def _read(self) -> npt.NDArray[Any]:
        asked, writes = ask(self), self._home.writes
        if asked is not None:
            await self.session.wait_for(asked.reply)
            take(asked, writes)
        return cast("npt.NDArray[Any]", self.extra().value)

    async def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """The values as a read-only numpy array: a copy of what the server has. ``force``: also of a tensor that requires grad."""
        if not force and is_grad_enabled() and await self._requires_grad():
            raise AutogradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return await self._read()

    async def is_nonzero(self) -> bool:
        """Whether the one element is not zero. Raises ShapeError for none or several."""
        value = await self._read()
        if value.size != 1:
            what = "no values" if value.size == 0 else "more than one value"
            raise ShapeError(f"Boolean value of Tensor with {what} is ambiguous; use any() or all()")
        return bool(value.item())

    async def item(self) -> Any:
        """The value of a one-element tensor as a Python number. Raises ShapeError for any other number of elements."""
        value = await self._read()
        if value.size != 1:
            raise ShapeError(f"a Tensor with {value.size} elements cannot be converted to Scalar")
        return value.item()

    async def tolist(self) -> Any:
        """The values as nested lists of Python numbers (a plain number for a 0-d tensor)."""
        return (await self._read()).tolist()

    async def apply_(self, callable: Callable[[Any], Any]) -> Self:
        """See ``Tensor.apply_``."""
        await self._check_mapped("apply_", self)
        return self._mapped([callable(value) for value in (await self._read()).ravel().tolist()])

    async def map_(self, tensor: AsyncTensor, callable: Callable[[Any, Any], Any]) -> Self:
        """See ``Tensor.map_``."""
        await self._check_mapped("map_", self, tensor)
        if tensor.dtype is not self.dtype:
            raise checks.other_type_mapped(self.dtype, tensor.dtype)
        others = (await tensor.expand(self.shape)._read()).ravel().tolist()
        return self._mapped([callable(*pair) for pair in zip((await self._read()).ravel().tolist(), others, strict=True)])

    async def _check_mapped(self, name: str, *tensors: Any) -> None:
        for x in tensors:
            if not isinstance(x, AsyncTensor):
                raise checks.not_a_tensor_mapped(x, name)
            if await x._requires_grad():
                raise checks.gradient_mapped(name)

    def _mapped(self, values: list[Any]) -> Self:
        made: Any = self.session.tensor(values, self.dtype)
        return self.copy_(made.reshape(self.shape))

    # Python's protocols ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Any:
        if not self.shape:
            raise ArgumentTypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        raise SessionError("a plain call cannot ask the server for the value; write `if await tensor.item():`")

    def __hash__(self) -> int:
        return id(self)

    # numpy must leave `array + tensor` to our reflected operators instead of looping over elements.
    __array_ufunc__ = None

    def __repr__(self) -> str:
        shape = "unknown" if self._spec is None else list(self._spec.shape)
        dtype = self.known_dtype()
        return f"<AsyncTensor {self._name}, shape {shape}, dtype {'unknown' if dtype is None else dtype.name}>"
