"""Handles: what a remote tensor is on the client. The sync and the async tensor differ only in how they wait."""

from __future__ import annotations

import itertools
import math
import secrets
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from telegrad._history import UNKNOWN, Described, End, Leaf, Node, Unknown, made_of
from telegrad.contract import checks, dtypes
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import AutogradError
from telegrad.contract.modes import is_grad_enabled, is_inference_mode_enabled
from telegrad.contract.ops import Shape, Spec
from telegrad.contract.tensor.operations import TensorOps

if TYPE_CHECKING:
    from telegrad._recorder import Recorder
    from telegrad.contract.hooks import RemovableHandle


class Extra:
    """What few handles have.

    Attributes:
        index: which output of the op that made it.
        dtype: the element type, where the shape is unknown.
        base: for a view, the handle whose memory it shares and whose history writes go through.
        base_generation: the base's ``generation`` that the view's history was known at; for a view that does not follow its base,
            how often the memory was written to then.
        follows: for a view, whether its history becomes that of its base when the base is changed in place; see the engine's
            ``Tensor.recorded``.
        generation: how often the history was replaced by in-place changes.
        leaf: the state of ``grad``.
        value: the values as last read.
        writes: the recorder's ``writes`` that ``value`` was read at.
        asks: another client may change it, or it is a view that does not follow its base, so that nothing is known of it.
        inference: whether it was made in inference mode.
    """

    __slots__ = (
        "asks",
        "base",
        "base_generation",
        "dtype",
        "follows",
        "generation",
        "index",
        "inference",
        "leaf",
        "value",
        "writes",
    )

    def __init__(self) -> None:
        self.index = 0
        self.dtype: DType | None = None
        self.base: Handle | None = None
        self.base_generation = 0
        self.follows = True
        self.generation = 0
        self.leaf: Leaf | None = None
        self.value: Any = None
        self.writes = 0
        self.asks = False
        self.inference = False


_DIGITS: Final = tuple([f"{number:02d}" for number in range(100)])


def new_names() -> Callable[[], str]:
    """What gives a name that no other tensor of a session has, whoever else uses it. Any thread may ask.

    There is one per op: a hundred at a time take a third of the time of each by itself.
    """
    prefix = f"c{secrets.token_hex(4)}."

    def hundred(number: int) -> list[str]:
        begin = f"{prefix}{number or ''}"
        return [begin + digits for digits in _DIGITS]

    return itertools.chain.from_iterable(map(hundred, itertools.count())).__next__


def inference_extra() -> Extra:
    """What a new tensor of inference mode has."""
    extra = Extra()
    extra.inference = True
    return extra


class Handle(TensorOps):
    """A name on the server, what is known of the tensor there, and the hook that records.

    Attributes:
        _home: the recorder.
        _name: the tensor's name.
        _spec: shape and element type; None while the shape is unknown.
        _node: the history as known; ask ``history()``.
        _extra: what few handles have.
    """

    __slots__ = ("__weakref__", "_extra", "_home", "_name", "_node", "_spec")

    def __init__(self, home: Recorder, name: str, spec: Spec | None, node: Any) -> None:
        self._home = home
        self._name = name
        self._spec = spec
        self._node = node
        self._extra: Extra | None = None

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        """Record one op, see ``TensorBase._apply``."""
        return self._home.apply(op, inputs, parameters)

    def __del__(self) -> None:
        # May run in any thread, in the middle of anything: appending to a deque is all that is safe.
        try:  # noqa: SIM105 - at a tenth of the price, for every tensor there is
            self._home.released.append(self._name)
        except AttributeError:  # it was interrupted before it had a name
            pass

    # What is known -----------------------------------------------------------------------------------------------------------

    def extra(self) -> Extra:
        """``_extra``, made if need be."""
        extra = self._extra
        if extra is None:
            extra = self._extra = Extra()
        return extra

    def known_dtype(self) -> DType | None:
        """The element type, or None."""
        if self._spec is not None:
            return self._spec.dtype
        return None if self._extra is None else self._extra.dtype

    def _joins_one(self, first: int, last: int) -> bool:
        return self._spec is not None and super()._joins_one(first, last)

    @property
    def _spec_if_known(self) -> Spec | None:
        return self._spec

    def known_shape(self) -> Shape | None:
        """The sizes, or None."""
        return None if self._spec is None else self._spec.shape

    def history(self) -> Any:
        """How the tensor was made, as far as known."""
        extra = self._extra
        if extra is not None:
            if extra.asks:
                return UNKNOWN
            base = extra.base
            if base is not None:
                if extra.follows and extra.base_generation != base.extra().generation:
                    extra.base_generation = base.extra().generation
                    self._node = made_of(base.history(), self._node)
                elif self._node is None or not extra.follows:
                    return self._next_to_base(extra, base)
        return self._node

    def _next_to_base(self, extra: Extra, base: Handle) -> Any:
        """The history of a view that has none of its own, or does not follow its base's."""
        if isinstance(self._node, End) and base.history() is None:
            self._node = None  # the base requires no grad any more
        stale = not extra.follows and extra.base_generation != self._writes()
        if stale or self._node is None:
            history, dtype = base.history(), self.known_dtype()
            if history is not None and (stale or isinstance(history, Unknown) or dtype is None):
                extra.asks = True  # once the memory was written to, such a view is refused
                return UNKNOWN
            if history is not None and dtype is not None and dtype.is_differentiable:
                self._node = End(self._home, self._spec)
        return self._node

    def _writes(self) -> int:
        """How often the memory was written to, as far as this client knows."""
        home = self._home
        return home.written.get(home.roots.get(self._name, self._name), 0)

    def is_inference(self) -> bool:
        """Whether the tensor was made in ``inference_mode``, or is a view of one that was."""
        return self._extra is not None and self._extra.inference

    def mark_inference(self) -> None:
        """Know a new tensor as an inference tensor, if this thread and task is in the mode."""
        if is_inference_mode_enabled():
            self.extra().inference = True

    def leaf(self) -> Leaf:
        """The state of ``grad``, made if need be: of a tensor whose history is known, that there is none."""
        node = self._node
        extra = self.extra()
        if extra.leaf is None:
            if isinstance(node, Leaf):
                extra.leaf = node
            else:
                # Of a node that only the server has, nobody here knows whether it retains gradients.
                unsure = isinstance(node, (Unknown, Described)) or extra.asks
                extra.leaf = Leaf(self._home, self._spec, UNKNOWN if unsure else None)
        return extra.leaf

    def link_view(self, source: Handle, *, keeps_history: bool, follows: bool = True) -> None:
        """Be a view of ``source``; without ``keeps_history`` (detach) of its memory only. For ``follows`` see ``Extra``."""
        home = self._home
        home.roots[self._name] = home.roots.get(source._name, source._name)
        if source.is_inference():
            self.extra().inference = True
        if keeps_history:
            extra = self.extra()
            extra.base = source if source._extra is None or source._extra.base is None else source._extra.base
            extra.follows = follows and (extra.base is source or source.extra().follows)
            extra.base_generation = extra.base.extra().generation if extra.follows else self._writes()

    def forget(self) -> None:
        """Know nothing of the history and the gradient any more: a command that would have changed them was not done."""
        self._node = UNKNOWN
        if self._extra is not None and self._extra.leaf is not None:
            self._extra.leaf.settle(UNKNOWN, self._home.grad_epoch)

    def learn(self, description: dict[str, Any]) -> None:
        """Take over what the server says."""
        shape: Shape = tuple(description["shape"])
        self._spec = Spec(shape, dtypes.as_dtype(description["dtype"]))
        if isinstance(self.history(), Unknown) and not self.extra().asks and description.get("stale") is None:
            extra = self.extra()
            if description["grad_fn"] is not None:
                before = self._node
                sources = before.sources if isinstance(before, Unknown) else None
                self._node = Described(description["grad_fn"], sources, self)
                if sources is not None and isinstance(before, Unknown):
                    before.learned = before.learned or weakref.WeakSet()
                    before.learned.add(self._node)
            elif description["requires_grad"]:
                if extra.leaf is None:
                    extra.leaf = Leaf(self._home, self._spec, UNKNOWN)
                self._node = extra.leaf
            else:
                self._node = None

    # Hooks -------------------------------------------------------------------------------------------------------------------

    def register_hook(self, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call ``hook(gradient)`` while a backward is recorded that comes by this tensor, with a handle for the gradient.

        As in a local session. The hook is called before the server has computed anything: what it does with the gradient travels
        with the backward. Where it asks for a value, the backward is sent up to there, which takes one request. Raises
        AutogradError for a tensor whose history only the server knows.
        """
        from telegrad._hooks import register  # it needs the recorder, and the recorder this module

        return register(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Any], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` while a backward is recorded that adds to the ``grad`` of this leaf; see ``register_hook``."""
        from telegrad._hooks import register_accumulated  # it needs the recorder, and the recorder this module

        return register_accumulated(self, hook)

    def _gradient_edge(self) -> tuple[Any, int, Any]:
        """See ``telegrad.autograd.graph.get_gradient_edge``."""
        from telegrad._hooks import edge_of  # it needs the recorder, and the recorder this module

        return edge_of(self)

    def _take_data(self, value: Any) -> None:
        from telegrad._autograd import set_data  # it needs this module

        set_data(self, value)

    def _check_turnable(self, name: str) -> None:
        history = self.history()
        is_leaf = history is None or isinstance(history, Leaf)  # what only the server knows has history for all we know
        checks.check_turnable(name, history is not None, is_leaf, self._is_view(), is_grad_enabled())

    def _cut_history(self) -> None:
        from telegrad._autograd import detach_in_place  # it needs this module

        detach_in_place(self)

    def _is_view(self) -> bool:
        return self._extra is not None and self._extra.base is not None

    def _is_part(self) -> bool:
        base = None if self._extra is None else self._extra.base
        return base is not None and (base.size_known() is None or base.size_known() != self.size_known())

    def _increment_version(self) -> None:
        raise AutogradError("a remote tensor's memory is the server's alone, so that nobody can change it behind telegrad's back")

    # Setting -----------------------------------------------------------------------------------------------------------------

    def stop_requiring(self) -> None:
        """Know the handle as a leaf that requires no grad. Graphs that lead here accumulate nothing any more: they keep the state
        that the handle had.
        """
        before = self.leaf()
        if type(before) is Leaf:  # a trace has states of its own
            after = self.extra().leaf = Leaf(self._home, self._spec, before.gradient)
            after.settle(before.gradient, before.epoch, recorded=before.recorded)
            if getattr(before, "hooks", None) is not None:
                after.hooks = before.hooks
        self._node = None

    def start_requiring(self) -> None:
        """Know the handle as a leaf that requires grad."""
        if not isinstance(self._node, Leaf):
            self._node = self.leaf()
        self._home.leaves[self._name] = weakref.ref(self)

    def retain(self) -> None:
        """Know that backward keeps the gradient here."""
        if isinstance(self._node, Node):
            leaf = self.leaf()
            retained = self._node.retained
            if retained is None:
                retained = self._node.retained = []
            if leaf not in retained:
                retained.append(leaf)

    def size_known(self) -> int | None:
        """Number of elements, or None."""
        return None if self._spec is None else math.prod(self._spec.shape)
