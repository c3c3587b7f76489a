"""One way to speak to telegrad and to PyTorch, so that the same evaluation runs on both."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import numpy as np

import telegrad
from telegrad.contract.dtypes import DType
from tests.samples import Array

HAS_TORCH: Final = importlib.util.find_spec("torch") is not None
"""Whether PyTorch can be imported here; if not, its stored answers stand in for it."""


class Side(Protocol):
    """A library that has tensors and gradients."""

    name: str

    def tensor(self, array: Array, *, requires_grad: bool = False) -> Any:
        """A new tensor with a copy of these values, in their type."""
        ...

    def seed(self) -> None:
        """Restart the random generator, so that a call that draws is a function of its inputs."""
        ...

    def dtype(self, name: str) -> Any:
        """The element type of that name."""
        ...

    def resolve(self, path: str) -> Callable[..., Any]:
        """The public callable at that path; a property becomes a function of the tensor."""
        ...

    def is_tensor(self, value: Any) -> bool:
        """Whether the value is one of this side's tensors."""
        ...

    def array(self, tensor: Any) -> Array:
        """A copy of the tensor's values."""
        ...

    def grad(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        """Gradients of the outputs, weighted with vectors, to the inputs; None where there is none."""
        ...

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it the way this side's functions are called."""
        ...

    def differentiable(self, order: int) -> AbstractContextManager[Any]:
        """While it is entered, what is called can be differentiated so often."""
        ...


def resolve(root: Any, path: str) -> Callable[..., Any]:
    """The callable at a dotted path under ``root``; a property becomes a function of its owner."""
    found = root
    for part in path.split("."):
        found = getattr(found, part)
    if callable(found):
        return found
    return lambda owner: getattr(owner, path.rpartition(".")[2])


@contextlib.contextmanager
def fresh_engine() -> Iterator[Telegrad]:
    """telegrad in a new local session, current meanwhile."""
    with telegrad.local() as opened:
        opened.manual_seed(0)
        yield Telegrad(opened)


class Telegrad:
    """telegrad, in one session."""

    name = "telegrad"

    def __init__(self, session: telegrad.Session) -> None:
        self.session = session

    def tensor(self, array: Array, *, requires_grad: bool = False) -> Any:
        """A new tensor of the session."""
        return self.session.tensor(array, requires_grad=requires_grad)

    def seed(self) -> None:
        """The session's generator."""
        self.session.manual_seed(11)

    def dtype(self, name: str) -> Any:
        """``telegrad.float32``."""
        return getattr(telegrad, name)

    def resolve(self, path: str) -> Callable[..., Any]:
        """What stands at that path under ``telegrad``."""
        return resolve(telegrad, path)

    def is_tensor(self, value: Any) -> bool:
        """Whether it is a tensor of any session."""
        return isinstance(value, telegrad.Tensor)

    def array(self, tensor: Any) -> Array:
        """The values, read in whatever way the place has."""
        return np.array(tensor.detach().numpy())

    def grad(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        """``telegrad.autograd.grad`` with unused inputs allowed."""
        return self.session.grad(outputs, inputs, vectors, create_graph=create_graph, allow_unused=True)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Plainly: free functions find the session as the current one."""
        return function(*args, **kwargs)

    def differentiable(self, order: int) -> AbstractContextManager[Any]:
        """Nothing to do."""
        return nullcontext()


class Torch:
    """PyTorch, on the processor."""

    name = "torch"

    def __init__(self) -> None:
        self.torch = importlib.import_module("torch")
        self.torch.set_num_threads(1)  # pool threads cost more than such small tensors

    def tensor(self, array: Array, *, requires_grad: bool = False) -> Any:
        """A new tensor with a copy of the values."""
        return self.torch.from_numpy(np.array(array)).requires_grad_(requires_grad)

    def seed(self) -> None:
        """PyTorch's own generator."""
        self.torch.manual_seed(11)

    def dtype(self, name: str) -> Any:
        """``torch.float32``."""
        return getattr(self.torch, name)

    def resolve(self, path: str) -> Callable[..., Any]:
        """What stands at that path under ``torch``."""
        return resolve(self.torch, path)

    def is_tensor(self, value: Any) -> bool:
        """Whether it is a tensor of PyTorch's."""
        return isinstance(value, self.torch.Tensor)

    def array(self, tensor: Any) -> Array:
        """The values, with lazy conjugates, negations and zeros carried out."""
        return np.array(tensor.numpy(force=True))

    def grad(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        """``torch.autograd.grad`` with unused inputs allowed."""
        return self.torch.autograd.grad(list(outputs), list(inputs), list(vectors), create_graph=create_graph, allow_unused=True)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """With PyTorch's warnings silenced: they are its own affair."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    def differentiable(self, order: int) -> AbstractContextManager[Any]:
        """Attention op by op where it is twice: its one node has no second derivative."""
        attention = self.torch.nn.attention
        return nullcontext() if order < 2 else attention.sdpa_kernel(attention.SDPBackend.MATH)


@functools.cache
def torch_side() -> Torch:
    """PyTorch, imported once."""
    return Torch()


def flatten(side: Side, value: Any) -> list[Any]:
    """The tensors in what a call returned, in order; Python values beside them as arrays, None left out."""
    if value is None:
        return []
    if side.is_tensor(value):
        return [value]
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in flatten(side, item)]
    if isinstance(value, DType) or str(value).startswith("torch."):
        return [np.array(str(value).rpartition(".")[2])]
    return [np.asarray(value)]
