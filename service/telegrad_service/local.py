"""Sessions in this process: engine tensors directly, no wire. The client finds them by the entry point ``telegrad.backends``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from telegrad.contract import checks, tracing
from telegrad.contract.custom import Backward
from telegrad.contract.errors import ArgumentTypeError, SessionClosedError, SessionMismatchError
from telegrad.contract.generator import seed_of
from telegrad.contract.session import BaseSession, one_or_many
from telegrad.contract.summary import Summary
from telegrad.contract.tensor.tensor import Tensor as AbstractTensor
from telegrad.contract.transforms.wrapper import NOT_REDIRECTED, adopted, redirected_grad, refuse_backward, running, settled
from telegrad_service import process, settings
from telegrad_service.engine import autograd, custom
from telegrad_service.engine.picture import MAX_PICTURE_NODES, describe_graph, draw
from telegrad_service.engine.random_state import generator_of, state_of
from telegrad_service.engine.rules import load
from telegrad_service.engine.summary import summarise
from telegrad_service.engine.tensor import Engine, Tensor

if TYPE_CHECKING:
    from telegrad_service.local_programs import LocalPrograms

load()


class LocalSession(BaseSession):
    """A session whose tensors are numpy arrays of this process. Ops run at once; errors are raised where they happen."""

    def __init__(self) -> None:
        """Open a session with a freshly seeded generator."""
        self._engine = Engine(self)
        self._closed = False

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        if self._closed:
            raise SessionClosedError("the session was closed; open another with telegrad.local()")
        return self._engine._apply(op, *inputs, **parameters)

    def _create(self, array: Any, requires_grad: bool) -> Tensor:
        if self._closed:
            raise SessionClosedError("the session was closed; open another with telegrad.local()")
        made = self._engine.wrap(array)
        if requires_grad:
            made.requires_grad = True
        return adopted(made) if running() else made

    def _dataset(self, array: Any) -> Tensor:
        return self._create(array, False)

    def manual_seed(self, seed: int) -> Self:
        """Restart the session's random generator."""
        self._engine.seed(seed_of(seed))
        return self

    def get_rng_state(self) -> Tensor:
        """See ``BaseSession.get_rng_state``."""
        return self._create(state_of(self._engine.generator), False)

    def set_rng_state(self, new_state: AbstractTensor) -> None:
        """See ``BaseSession.set_rng_state``."""
        if not isinstance(new_state, Tensor):
            raise checks.not_a_tensor(new_state, "new_state")
        self._engine.generator = generator_of(new_state.array)

    def backward(
        self,
        tensors: AbstractTensor | Sequence[AbstractTensor],
        grad_tensors: AbstractTensor | Sequence[AbstractTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: AbstractTensor | Sequence[AbstractTensor] | None = None,
    ) -> None:
        """Accumulate gradients; see ``telegrad.autograd.backward``."""
        if running():
            refuse_backward()
        autograd.backward(
            settled(one_or_many(tensors, "tensors"), all_of_them=True),
            None if grad_tensors is None else settled(one_or_many(grad_tensors, "grad_tensors"), all_of_them=True),
            retain_graph=retain_graph,
            create_graph=create_graph,
            inputs=None if inputs is None else settled(one_or_many(inputs, "inputs"), all_of_them=True),
            warn=True,
        )

    def grad(
        self,
        outputs: AbstractTensor | Sequence[AbstractTensor],
        inputs: AbstractTensor | Sequence[AbstractTensor],
        grad_outputs: AbstractTensor | Sequence[AbstractTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        allow_unused: bool | None = None,
        is_grads_batched: bool = False,
        materialize_grads: bool = False,
    ) -> tuple[Any, ...]:
        """Gradients as new tensors; see ``telegrad.autograd.grad``."""
        roots = settled(one_or_many(outputs, "outputs"))
        wanted = settled(one_or_many(inputs, "inputs"))
        vectors = None if grad_outputs is None else settled(one_or_many(grad_outputs, "grad_outputs"))
        settings: Any = {
            "retain_graph": retain_graph,
            "create_graph": create_graph,
            "allow_unused": allow_unused,
            "is_grads_batched": is_grads_batched,
            "materialize_grads": materialize_grads,
        }
        if running():
            made = redirected_grad(roots, wanted, vectors, **settings)
            if made is not NOT_REDIRECTED:
                return made  # type: ignore[no-any-return]
        return autograd.grad(roots, wanted, vectors, **settings)

    def _reaches_others(self, roots: Sequence[Any], leaves: Sequence[Any]) -> bool:
        return autograd.reaches_others(roots, leaves)

    def _attach(
        self,
        backward: Backward,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        flows: Sequence[bool],
        dirty: Sequence[bool],
        saved: Sequence[Any],
    ) -> list[Any]:
        return custom.attach(self._engine, backward, inputs, outputs, flows, dirty, saved)

    def _keep_output(self, tensor: Any) -> Callable[[], Any]:
        return custom.keep_output(tensor)

    def _written(self, tensor: Any) -> int:
        return int(tensor._version)

    def _begin_block(self, preserve: bool) -> Any:
        return custom.begin_block(self._engine, preserve)

    def _end_block(self, block: Any) -> Callable[[Callable[[], Any]], Any]:
        return functools.partial(custom.again, self._engine, block)

    def _grad_at(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], create_graph: bool) -> Sequence[Any]:
        return autograd.grad(outputs, inputs, vectors, create_graph=create_graph, allow_unused=True, bounded=True)

    def _enclose(self, block: Any, outputs: Sequence[Any]) -> tuple[Sequence[Any], list[Any], str]:
        return custom.enclose(self._engine, block, outputs)

    @functools.cached_property
    def _programs(self) -> LocalPrograms:
        from telegrad_service.local_programs import LocalPrograms  # only where functions are traced

        return LocalPrograms(self._engine)

    def graph(self, root: AbstractTensor, format: str = "json", *, max_nodes: int | None = None, collapse: bool = True) -> Any:
        """The autograd graph that leads to ``root``; see ``BaseSession.graph``."""
        most = MAX_PICTURE_NODES if max_nodes is None else max_nodes
        return draw(describe_graph(self._root(root), max_nodes=most, collapse=collapse), format)

    def summary(self, root: AbstractTensor) -> Summary:
        """What the graph that leads to ``root`` holds; see ``telegrad.summary``."""
        return summarise(self._root(root))

    def _root(self, root: AbstractTensor) -> Tensor:
        if not isinstance(root, Tensor):
            raise ArgumentTypeError(f"root must be a Tensor, not {type(root).__name__}")
        if root.home is not self._engine:
            raise SessionMismatchError("root lives in another session; ask that session for its graph")
        return root

    def close(self) -> None:
        """Refuse new tensors; those that exist stay readable, their memory is freed with them."""
        self._closed = True
        programs = self.__dict__.get("_programs")
        if programs is not None:
            programs.close()

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed


tracing.register(LocalSession, Tensor)


def open_session() -> LocalSession:
    """A new session in this process: what ``telegrad.local()`` returns. The first one tunes the process, see ``process``."""
    process.tune(settings.of_environment("tune_process"))
    return LocalSession()
