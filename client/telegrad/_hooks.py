"""Hooks of remote tensors. They are called here, while a backward is recorded; what they do travels with it as callbacks.

The shadow of the graph (``_history``) knows what the backward will come by and in which order, so the hooks are called in that
order, each with a handle for the gradient: shape and type are known, the values will be there after the backward. What a hook
records goes into its callback and not into the queue. No code travels.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from telegrad._asked import Asked, may_meet
from telegrad._foreseen import Foreseen, owner_of
from telegrad._history import AccumulateGrad, Leaf, Node, Reach
from telegrad.contract.errors import AutogradError
from telegrad.contract.hooks import Hook, RemovableHandle, check_accumulates, check_hookable

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad._recorder import Recorder

_WHERE: Final = (
    "Register hooks before the tensor or its views are changed in place, or use telegrad.local(), which calls hooks as it goes."
)

_UNKNOWN: Final = (
    "the session has hooks or custom functions, and only the server knows part of the graph that this backward walks (a tensor "
    "that was found by its name, say), so nobody knows here which to call. Remove the hooks for this backward with "
    "handle.remove(). " + _WHERE
)


# Registering -----------------------------------------------------------------------------------------------------------------


def register(tensor: Handle, hook: Hook) -> RemovableHandle:
    """See ``Tensor.register_hook``."""
    history = _known_history(tensor)
    hooks = history.hooks_here()
    if hooks.owner is None or owner_of(history) is None:
        hooks.owner = weakref.ref(tensor)
    if isinstance(history, Node):
        return hooks.of_output(0 if tensor._extra is None else tensor._extra.index).add(hook)
    return hooks.of_output(0).add(hook)


def register_accumulated(tensor: Handle, hook: Hook) -> RemovableHandle:
    """See ``Tensor.register_post_accumulate_grad_hook``."""
    history = _known_history(tensor)
    check_accumulates(isinstance(history, Leaf))
    hooks = history.hooks_here()
    hooks.owner = tensor  # hooks are called with it, whoever else still has it
    return hooks.accumulated.add(hook)


def edge_of(tensor: Handle) -> tuple[Node | AccumulateGrad, int, Handle]:
    """The place in the graph where the tensor's gradient is computed, and the tensor, which the server knows by name."""
    history = _known_history(tensor)
    if isinstance(history, Leaf):
        return AccumulateGrad(history), 0, tensor
    return history, 0 if tensor._extra is None else tensor._extra.index, tensor


def _known_history(tensor: Handle) -> Node | Leaf:
    if tensor._home.attention:
        tensor._home.check((tensor,))
    history = tensor.history()
    check_hookable(history is not None)
    if isinstance(history, (Node, Leaf)):
        return history
    raise AutogradError(f"only the server knows how this tensor was made, so no hook can be called for it here. {_WHERE}")


# Foreseeing ------------------------------------------------------------------------------------------------------------------


def foresee(
    home: Recorder,
    roots: Sequence[Handle],
    reach: Reach,
    wanted: Sequence[Handle] | None,
    *,
    retain_graph: bool,
    create_graph: bool,
    accumulated: Callable[[Leaf], None] | None,
    begin: Callable[[Foreseen], None],
    sources: list[Any],
    bounded: bool = False,
) -> Foreseen | Asked | None:
    """Call the hooks of a backward that is about to be recorded; None where it comes by none. For ``begin``, ``sources`` and
    ``bounded`` see ``Foreseen``. Where only the server knows part of the graph, hooks are called while it
    walks: ``Asked``, not begun.

    Raises AutogradError where nobody here can know which hooks it comes by, or wait for the server to tell.
    """
    if not home.hooked:
        return None
    known = _known(reach)
    if not reach.certain:
        return _asked(home, roots, reach, known, sources, retain_graph=retain_graph, create_graph=create_graph)
    if not may_meet(known):
        return None
    walk = Foreseen(
        home,
        roots,
        wanted,
        retain_graph=retain_graph,
        create_graph=create_graph,
        accumulated=accumulated,
        begin=begin,
        sources=sources,
        bounded=bounded,
    )
    walk.run()
    return walk


def meets_some(home: Recorder, reach: Reach) -> bool:
    """Whether a walk may come by hooks or custom functions."""
    if not home.hooked:
        return False
    behind = [] if reach.certain else reach.behind()
    return behind is None or may_meet([*_known(reach), *behind])


def _known(reach: Reach) -> list[Node | Leaf]:
    """What a walk surely meets."""
    return [target for target in (*reach.nodes.values(), *reach.leaves.values()) if isinstance(target, (Node, Leaf))]


def _asked(
    home: Recorder,
    roots: Sequence[Handle],
    reach: Reach,
    known: Sequence[Node | Leaf],
    sources: list[Any],
    *,
    retain_graph: bool,
    create_graph: bool,
) -> Asked | None:
    """How the hooks are called of a backward of which only the server knows what it comes by; None where there can be none."""
    behind = reach.behind()
    if behind is None and any(len(table) for table in home.hooked):
        raise home.cannot_ask(_UNKNOWN)
    if behind is None and not may_meet(known) and not home.waits:
        return None  # there are custom nodes elsewhere; if there are some on the way, the server says so
    targets = list({id(target): target for target in (*known, *(behind or ()))}.values())
    if behind is not None and not may_meet(targets):
        return None
    if not home.waits:
        raise home.cannot_ask(_UNKNOWN)
    home.ask_in_hook()  # of a hook that walks itself
    return Asked(home, roots, targets, sources, retain_graph=retain_graph, create_graph=create_graph)
