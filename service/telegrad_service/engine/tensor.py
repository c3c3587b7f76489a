"""The engine's Tensor: an array, how it was made, and what became of it since. How ops compute and record: ``calls``."""

from __future__ import annotations

from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from telegrad.contract import checks, dtypes, watching
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import (
    ArgumentError,
    ArgumentTypeError,
    AutogradError,
    LeafError,
    SessionMismatchError,
)
from telegrad.contract.hooks import Hook, Hooks, RemovableHandle, check_accumulates, check_hookable
from telegrad.contract.modes import inferring, is_grad_enabled
from telegrad.contract.ops import Spec
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.extent import steps_of
from telegrad.contract.tensor.tensor import GraphNode
from telegrad.contract.tensor.tensor import Tensor as AbstractTensor
from telegrad.contract.transforms.wrapper import running
from telegrad.contract.watching import Packing
from telegrad_service.engine import views
from telegrad_service.engine.buffers import owner_of
from telegrad_service.engine.graph import INFERENCE, AccumulateGrad, Node, Version, mark_inference, note_write, renewed
from telegrad_service.engine.hooks import hooks_for, register
from telegrad_service.engine.parts import unfit
from telegrad_service.engine.table import Array

Step: TypeAlias = "tuple[str, dict[str, Any], int | None]"
"""One view op: its name, its parameters, and which output where it has several."""

Chain: TypeAlias = "tuple[Step, ...]"
"""View ops in order."""

Path: TypeAlias = "tuple[Path | None, Step]"
"""View ops, last one first, each with the path before it; views of views share the common part, however many are alive."""

FLOATING: Final = frozenset("fc")
"""numpy's kinds of types that have gradients."""


class Engine:
    """What the tensors of one session share: the random generator and the session they answer to.

    Attributes:
        generator: of random numbers.
        session: that the tensors answer to.
        watched: whether anomaly mode and hooks on saved tensors of this process are about them.
        packing: where they are not, what is done with what nodes save; None: nothing.
        refreshed: how often looking at a view gave it a new history.
        walk: see below.
    """

    __slots__ = ("__weakref__", "generator", "packing", "refreshed", "session", "walk", "watched")

    def __init__(self, session: Any = None) -> None:
        self.generator = np.random.Generator(np.random.PCG64())
        self.session = session
        self.walk: Any = None
        """What makes the walk of ``backward`` and ``grad`` where no hooks are about, for a recording that has one of its own."""
        self.refreshed = 0
        self.packing: Packing | None = None
        # Anomaly mode is a mode of the user's process: a service that runs there too has clients with modes of their own.
        self.watched = isinstance(session, BaseSession)

    def seed(self, seed: int) -> None:
        """Restart the generator; the same seed gives the same draws in every place."""
        self.generator = np.random.Generator(np.random.PCG64(seed % 2**64))

    def wrap(self, array: Array, node: Node | None = None, output_index: int = 0) -> Tensor:
        """A Tensor around ``array`` itself, made by ``node`` (None: a leaf without gradient)."""
        made = Tensor(self, array, node, output_index)
        if inferring:
            mark_inference(made)
        return made

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        """Ops that make tensors from nothing; see ``Tensor._apply``."""
        raise NotImplementedError


class Tensor(AbstractTensor):
    """See ``telegrad.contract.tensor.tensor.Tensor``.

    Attributes:
        home: the engine it belongs to.
        array: the values.
        node: what made it, as of ``generation``; ask ``current_node()``.
        output_index: which output of the node.
        tracks: what ``requires_grad`` says of a leaf; always True beside a node.
        version: the storage's write counter, shared with views; made when first needed.
        base: for a view, the tensor whose storage it shares and whose history writes go through.
        path: for a view, the view ops that lead from the base to it; ``chain()`` gives them in order.
        recorded: for a view, whether it follows its base's history: made while history was recorded, alone, and not by a custom
            function. One that does not is refused once its memory was written to, as in PyTorch.
        generation: how often history was replaced by writes: the base's own count, or the count a view's node was made
            at. For a view that does not follow its base, the write counter that it was made at.
        hooks: of a leaf, what users registered on it and on its accumulation.
    """

    path: Path
    recorded: bool
    hooks: Hooks
    # Only few have these three: a tensor is made at every op, and each slot that is filled costs 20 ns.

    __slots__ = (
        "__weakref__",
        "_grad",
        "array",
        "base",
        "generation",
        "home",
        "hooks",
        "node",
        "output_index",
        "path",
        "recorded",
        "tracks",
        "version",
    )

    def __init__(self, home: Engine, array: Array, node: Node | None = None, output_index: int = 0) -> None:
        self.home = home
        self.array = array
        self.node = node
        self.output_index = output_index
        self.tracks = node is not None
        self._grad: Tensor | None = None
        self.version: Version | None = None
        self.base: Tensor | None = None
        self.generation = 0

    # What the contract asks
    # --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.array.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return dtypes.from_numpy(self.array.dtype)

    @property
    def session(self) -> BaseSession:
        """The session that the tensor lives in."""
        return cast(BaseSession, self.home.session)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor; as in PyTorch, any view of a tensor that requires grad does too."""
        base = self.base
        if base is None:
            return self.tracks
        return self.tracks or (base.tracks and self.array.dtype.kind in FLOATING)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if type(value) is not bool:
            raise ArgumentTypeError(f"requires_grad must be a bool, not {type(value).__name__}")
        if self.current_node() is not None:
            raise LeafError(checks.GRAD_OF_NON_LEAF)
        if value:
            checks.check_can_require_grad(self.dtype)
            checks.check_inference(self.is_inference(), checks.INFERENCE_REQUIRES_GRAD)
        self.tracks = value

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        return self.current_node() is None

    @property
    def grad_fn(self) -> GraphNode | None:
        """The node that made this tensor."""
        return self.current_node()

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated so far, or None. Warns where there will never be one: of a non-leaf that retains none."""
        if self._grad is None and (self.node is not None or self.base is not None) and not self._may_get_gradients():
            watching.warn_of_no_grad()
        return self._grad

    @grad.setter
    def grad(self, value: AbstractTensor | None) -> None:
        if value is None:
            self._grad = None
            return
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(checks.no_gradient(value))
        if value is self:
            raise AutogradError("can't assign Variable as its own grad")
        self._same_home(value)
        checks.check_assigned_grad(spec_of(self), spec_of(value))
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def _may_get_gradients(self) -> bool:
        try:
            return self.is_leaf or self.retains_grad
        except AutogradError:  # a view that cannot follow its base: not known, and no reason to refuse a look at ``grad``
            return True

    @property
    def kept_gradient(self) -> Tensor | None:
        """``grad`` for those who only look, without a warning."""
        return self._grad

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on this non-leaf."""
        node = self.current_node()
        return node is not None and node.retains(self.output_index, self)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``grad`` when backward passes it."""
        if not self.requires_grad:
            raise AutogradError("can't retain_grad on Tensor that has requires_grad=False")
        node = self.current_node()
        if node is None:
            return
        node.retain(self.output_index, self)

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(gradient)`` when this tensor's gradient is there; see the contract's ``Tensor``."""
        check_hookable(self.requires_grad)
        return register(self.current_node() or self, self.output_index, hook)

    def register_post_accumulate_grad_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(self)`` when ``grad`` is up to date; see the contract's ``Tensor``."""
        check_hookable(self.requires_grad)
        check_accumulates(self.is_leaf)
        return hooks_for(self).accumulated.add(hook)

    def _gradient_edge(self) -> tuple[Any, int, Any]:
        node = self.current_node()
        return (AccumulateGrad(self), 0, None) if node is None else (node, self.output_index, None)

    def _increment_version(self) -> None:
        if not self.is_inference():  # which have no counter, and are never saved
            self.was_written()

    def _memory(self) -> tuple[tuple[int, ...], int | None, int]:
        array, base, item = self.array, self.base, self.array.itemsize
        address = array.ctypes.data
        steps = steps_of(array.shape) if array.flags.c_contiguous else tuple([step // item for step in array.strides])
        if base is None:
            alone = self.version is None or owner_of(array).nbytes <= array.nbytes
            return steps, 0 if alone else None, address
        first = np.lib.array_utils.byte_bounds(base.array)[0] if base.array.size else address
        return steps, (address - first) // item if array.size else 0, address

    def contiguous(self) -> Tensor:
        """See ``TensorOps.contiguous``."""
        return self if self.array.flags.c_contiguous and not running() else cast(Tensor, self._apply("contiguous", self))

    def _take_data(self, value: Any) -> None:
        self._same_home(value)
        checks.check_data(self.requires_grad, value.dtype)
        if self.base is not None:
            self.current_node()  # what it is now; what is written from now on, the base does not have
            self.base = None
        self.array = value.array

    def _check_turnable(self, name: str) -> None:
        checks.check_turnable(name, self.requires_grad, self.is_leaf, self.base is not None, is_grad_enabled())

    def _was_turned(self) -> None:
        if not running():
            self.was_written()

    def _cut_history(self) -> None:
        if self.base is not None:
            raise AutogradError(checks.CUT_VIEW)
        if self.node is not None:
            self.node.release(self.output_index, self)
        self.node, self.output_index, self.tracks = None, 0, False

    def _is_view(self) -> bool:
        return self.base is not None

    @property
    def _base(self) -> Tensor | None:
        return self.base

    def is_inference(self) -> bool:
        """See the contract's ``Tensor``."""
        return self.version is INFERENCE

    def was_written(self) -> None:
        """Count a change in place. Raises for an inference tensor outside of the mode."""
        version = self.shared_version()
        if version is INFERENCE:
            checks.check_inference(True, checks.INFERENCE_IN_PLACE)
        else:
            version[0] += 1
            note_write()

    @property
    def _version(self) -> int:
        if self.version is INFERENCE:
            raise AutogradError(checks.INFERENCE_VERSION)
        return 0 if self.version is None else self.version[0]

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """The values as a numpy array that shares this tensor's memory, as in PyTorch."""
        if not force and self.requires_grad and is_grad_enabled():
            raise AutogradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.array

    def _value(self) -> npt.NDArray[Any]:
        return self.array

    # The hook
    # ----------------------------------------------------------------------------------------------------------------

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        """Compute one op and record how, see ``TensorBase._apply``; ``calls.install`` puts the way there."""
        raise NotImplementedError

    # For the graph
    # -----------------------------------------------------------------------------------------------------------

    def current_node(self) -> Node | None:
        """The node that made this tensor; for a view whose base was written since, a new one that leads to the base's history."""
        base = self.base
        if base is None:
            return self.node
        if not self.recorded:
            if self.generation != self.version[0] and (self.node is not None or base.tracks):  # type: ignore[index]  # views have one
                raise views.stale(self.node, self.output_index, self.chain(), "its base or another view of its base has been")
            return self.node
        if base.generation == self.generation:
            return self.node
        from telegrad_service.engine.calls import apply  # it needs this module

        fresh: Tensor = base
        try:
            for op, parameters, output in self.chain():
                made = apply(self.home, op, (fresh,), parameters, track=True)
                fresh = made if output is None else made[output]
        except (ArgumentError, IndexError):
            fresh = base
        if fresh.array.shape != self.array.shape:
            raise AutogradError(
                f"this view has no place in its base any more, whose data was replaced by data of shape {list(base.array.shape)} "
                "and then changed in place. Make the view again"
            )
        self.home.refreshed += 1
        self.take_history(fresh)
        if self.node is not None:
            renewed[self.node] = 0 if base.node is None else renewed.get(base.node, base.node.number)
        self.generation = base.generation
        return self.node

    def tie(self, base: Tensor, path: Path, *, recorded: bool) -> None:
        """Become a view of ``base``, whose memory this tensor has."""
        version = self.version = base.shared_version()
        self.base, self.path, self.recorded = base, path, recorded or version is INFERENCE
        self.generation = base.generation if self.recorded else version[0]

    def unfollow(self) -> None:
        """Stay a view in memory only: the history is this tensor's own."""
        if self.version is not INFERENCE:
            self.recorded = False
            self.generation = self.shared_version()[0]

    def chain(self) -> Chain:
        """For a view, the view ops that lead from the base to it, in order."""
        steps: list[Step] = []
        path: Path | None = self.path
        while path is not None:
            path, step = path
            steps.append(step)
        return tuple(reversed(steps))

    def take_history(self, made: Tensor) -> None:
        """Become, for the graph, what ``made`` is; a retained gradient is from now on the new history's."""
        before, node = self.node, made.node
        if before is not None and before.retained is not None and node is not None and before.release(self.output_index, self):
            node.retain(made.output_index, self)
        self.node, self.output_index, self.tracks = node, made.output_index, node is not None or made.tracks

    def shared_version(self) -> Version:
        """The storage's write counter."""
        version = self.version
        if version is None:
            version = self.version = [0]
        return version

    def accumulate_grad(self, gradient: Any, *, may_keep: bool = False, in_place: bool = True) -> int:
        """Add to ``grad``: in place for an array, as a new Tensor for a recorded gradient.

        Returns the bytes of a ``grad`` where there was none.

        Args:
            gradient: an array, or a Tensor with history of its own.
            may_keep: the array is nobody else's and may become ``grad`` itself.
            in_place: add an array to the very Tensor that ``grad`` is, as PyTorch does for leaves; otherwise make a new
                one.
        """
        if not self.tracks:
            return 0  # a leaf that requires none any more, or a view without history: PyTorch accumulates nothing there
        before = self._grad
        if before is not None:
            there, arrives = before.array, gradient.array if isinstance(gradient, Tensor) else gradient
            if there.shape != arrives.shape or (there.dtype.kind != "c" and arrives.dtype.kind == "c"):
                raise unfit(f"{arrives.dtype} {list(arrives.shape)}", f"{there.dtype} {list(there.shape)}")
        if isinstance(gradient, Tensor):
            # A copy, so that grad never is the vector that the walk began with, or another leaf's grad.
            if before is None:
                empty = Tensor(self.home, np.empty_like(gradient.array))
                self._grad = cast(Tensor, empty._apply("copy", empty, gradient))
            else:
                self._grad = before + gradient
        elif before is None:
            # A copy in the order of the elements, whatever the product that made it left: view() needs it so.
            self._grad = Tensor(self.home, gradient if may_keep and gradient.flags.c_contiguous else np.array(gradient, order="C"))
        elif in_place and before.array.flags.writeable:
            np.add(before.array, gradient, out=before.array)
            before.was_written()
        else:
            self._grad = Tensor(self.home, np.asarray(before.array + gradient))
        return self.array.nbytes if before is None else 0

    def _same_home(self, other: Tensor) -> None:
        if other.home is not self.home:
            raise SessionMismatchError(checks.OTHER_SESSION)


def spec_of(tensor: Tensor) -> Spec:
    """Shape and element type."""
    return Spec(tensor.array.shape, dtypes.from_numpy(tensor.array.dtype))
