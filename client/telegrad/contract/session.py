"""``BaseSession``: what every session can do, in this process or on a server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from telegrad.contract.dtypes import DTypeLike, as_dtype
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.literal import array_of
from telegrad.contract.tensor.creation import CreationOps

if TYPE_CHECKING:
    import numpy.typing as npt

    from telegrad.contract.custom import Backward
    from telegrad.contract.summary import Summary
    from telegrad.contract.tensor.tensor import Tensor
    from telegrad.contract.tracing import Programs

_current: ContextVar[BaseSession | None] = ContextVar("telegrad_session", default=None)
"""The session that free functions make tensors in: per thread and per task."""

_entered: ContextVar[tuple[Any, ...]] = ContextVar("telegrad_sessions", default=())
"""The sessions of the ``with`` blocks that a thread or task is in, the innermost last."""


class BaseSession(CreationOps["Tensor"]):
    """A home of tensors and their graphs. Use as a context manager to make it current and to close it at the end."""

    _blocks: list[None]
    """One for each ``with`` block, in whichever thread; a list because its methods are atomic."""

    def __reduce_ex__(self, protocol: object) -> Any:
        raise ArgumentTypeError(
            "a session cannot be pickled or copied: it is where its tensors live. Another process opens its own, or comes to one "
            "on a server by telegrad.connect(url, session=id); values travel as tensor.detach().numpy()"
        )

    # What a subclass provides ------------------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> Self:
        """Restart the session's random generator. ``seed`` lies in [-2**63, 2**64)."""
        raise NotImplementedError

    def get_rng_state(self) -> Tensor:
        """The state of the session's random generator: bytes (37, uint8) for ``set_rng_state``."""
        raise NotImplementedError

    def set_rng_state(self, new_state: Tensor) -> None:
        """Draw again what was drawn after ``get_rng_state`` gave this. Raises ArgumentValueError for anything else."""
        raise NotImplementedError

    def dataset(self, data: Any, dtype: DTypeLike | None = None) -> Tensor:
        """A tensor with ``data`` (as ``tensor`` takes it) that stays as it is: it cannot be written to.

        A session on a server is asked whether it has the same data already, by its hash, and gets it only if not; there it is kept
        until the session ends, for whoever comes with the same data.
        """
        array = array_of(data, None if dtype is None else as_dtype(dtype))
        array.setflags(write=False)
        return self._dataset(array)

    def _dataset(self, array: npt.NDArray[Any]) -> Tensor:
        """See ``dataset``."""
        raise NotImplementedError

    def backward(
        self,
        tensors: Tensor | Sequence[Tensor],
        grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Accumulate gradients; see ``telegrad.autograd.backward``."""
        raise NotImplementedError

    def grad(
        self,
        outputs: Tensor | Sequence[Tensor],
        inputs: Tensor | Sequence[Tensor],
        grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        allow_unused: bool | None = None,
        is_grads_batched: bool = False,
        materialize_grads: bool = False,
    ) -> tuple[Any, ...]:
        """Gradients as new tensors; see ``telegrad.autograd.grad``."""
        raise NotImplementedError

    def _reaches_others(self, roots: Sequence[Any], leaves: Sequence[Any]) -> bool:
        """Whether the graph of ``roots`` leads to any leaf but ``leaves``, or may do so."""
        raise NotImplementedError

    def _attach(
        self,
        backward: Backward,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        flows: Sequence[bool],
        dirty: Sequence[bool],
        saved: Sequence[Any],
    ) -> list[Any]:
        """Make ``outputs`` the results of one node whose gradients ``backward`` computes.

        Args:
            backward: what the node does.
            inputs: all tensors that went in; at least one of them requires grad.
            outputs: what came out, computed without history; None in the place of what is no tensor.
            flows: per output, whether gradients come from it.
            dirty: per output, whether it is an input that was written to.
            saved: the tensors that ``backward`` keeps; the node is freed by a walk if there are any.

        Returns the outputs with their history: the same tensors, but a view where an input is returned as it is.
        """
        raise NotImplementedError

    def _keep_output(self, tensor: Any) -> Callable[[], Any]:
        """What gives ``tensor`` again, values and history, and does not keep its node alive, of which it is an output."""
        raise NotImplementedError

    def _written(self, tensor: Any) -> int:
        """How often the tensor's memory was written to, as far as known here without asking a server."""
        raise NotImplementedError

    def _begin_block(self, preserve: bool) -> Any:
        """Note that a block begins, and with ``preserve`` which random numbers it draws."""
        raise NotImplementedError

    def _leave_block(self, block: Any) -> None:
        """Note that the block is over, whether it raised or not."""

    def _end_block(self, block: Any) -> Callable[[Callable[[], Any]], Any]:
        """After a block that did not raise: what calls a function as the block was called, with the same random numbers."""
        raise NotImplementedError

    def _grad_at(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], create_graph: bool) -> Sequence[Any]:
        """Gradients with respect to ``inputs``, which ``_enclose`` gave, as if none of these depended on another."""
        raise NotImplementedError

    def _enclose(self, block: Any, outputs: Sequence[Any]) -> tuple[Sequence[Any], list[Any], str]:
        """The block as one node would have it: tensors for the places outside of it that gradients of ``outputs`` go to, the
        outputs without history (None for those that it did not make), and the name of the node that made the first.
        """
        raise NotImplementedError

    @functools.cached_property
    def _programs(self) -> Programs:
        """What the session does for traced functions."""
        raise NotImplementedError

    def graph(self, root: Tensor, format: str = "json", *, max_nodes: int | None = None, collapse: bool = True) -> Any:
        """The autograd graph that leads to ``root``: a dict for ``json``, text for ``dot``, ``mermaid`` and ``svg``.

        Args:
            root: the tensor whose history to show.
            format: one of the four.
            max_nodes: boxes shown at most: nodes, leaves and groups; 500 by default, and no more on a server that permits no more.
            collapse: in a graph with more nodes and leaves, let a group stand for a repeated sequence of ops, or for a scope; what
                is still too much is left out, farthest from the root first. A picture says what it does not show.

        Raises ArgumentTypeError and ArgumentValueError for what is no tensor of this session, no format, no number of boxes.
        """
        raise NotImplementedError

    def summary(self, root: Tensor) -> Summary:
        """What the graph that leads to ``root`` holds; see ``telegrad.summary``."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what is recorded and wait until it is applied; nothing to do in this process."""

    def close(self) -> None:
        """Free everything the session holds. Its tensors cannot be used afterwards."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        raise NotImplementedError

    # Being current -----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if not hasattr(self, "_blocks"):
            self._blocks = []
        self._blocks.append(None)
        make_current(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        reset_current(self)
        self._blocks.pop()
        if not self._blocks:
            self.close()


def make_current(session: Any) -> None:
    """Make a session current in this thread or task until ``reset_current``; async ones too, which free functions use as well."""
    _entered.set((*_entered.get(), session))
    _current.set(session)


def reset_current(session: Any) -> None:
    """Leave the innermost block of a session. In another thread or task than it was entered in, that one's stay as they are."""
    inside = list(_entered.get())
    for position in reversed(range(len(inside))):
        if inside[position] is session:
            del inside[position]
            _entered.set(tuple(inside))
            _current.set(inside[-1] if inside else None)
            return


def current_session() -> BaseSession | None:
    """The session of the innermost ``with``, or None."""
    return _current.get()


def one_or_many(value: Any, name: str) -> list[Any]:
    """A list from one tensor or a sequence of tensors; raises ArgumentTypeError naming the argument."""
    from telegrad.contract.errors import ArgumentTypeError
    from telegrad.contract.tensor.base import TensorBase

    if isinstance(value, TensorBase):
        return [value]
    if hasattr(value, "__iter__"):
        return list(value)
    raise ArgumentTypeError(f"{name} must be a Tensor or a sequence of Tensors, not {type(value).__name__}")
