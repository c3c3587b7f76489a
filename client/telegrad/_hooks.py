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
from telegrad._foreseen import Foreseen, hooks_of, owner_of
from telegrad._history import AccumulateGrad, Described, Leaf, Node, Unknown
from telegrad._places import users_place
from telegrad._reach import Reach
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
    history = _target(tensor)
    hooks = history.hooks_here()
    if hooks.owner is None or owner_of(history) is None:
        hooks.owner = weakref.ref(tensor)
    pin_view(tensor)
    if isinstance(history, Node):
        return hooks.of_output(0 if tensor._extra is None else tensor._extra.index).add(hook)
    return hooks.of_output(0).add(hook)


def register_accumulated(tensor: Any, hook: Hook) -> RemovableHandle:
    """See ``Tensor.register_post_accumulate_grad_hook``."""
    history = _target(tensor)
    check_accumulates(isinstance(history, Leaf) and (not tensor.extra().asks or bool(tensor.is_leaf)))
    hooks = history.hooks_here()
    hooks.owner = tensor  # hooks are called with it, whoever else still has it
    return hooks.accumulated.add(hook)


def edge_of(tensor: Handle) -> tuple[Node | Described | AccumulateGrad, int, Handle]:
    """The place in the graph where the tensor's gradient is computed, and the tensor, which the server knows by name."""
    history = _target(tensor)
    if isinstance(history, Leaf):
        return AccumulateGrad(history), 0, tensor
    return history, 0 if tensor._extra is None else tensor._extra.index, tensor


def _target(tensor: Any) -> Node | Leaf | Described:
    """Where hooks on the tensor are; the server is asked if need be. Of a tensor that another client may change, it is the state of
    the handle: the hooks are where its name leads to then.
    """
    home = tensor._home
    if home.attention:
        home.check((tensor,))
    history = tensor.history()
    if isinstance(history, Unknown):
        if not home.waits:
            raise home.cannot_ask(f"only the server knows how this tensor was made, so no hook can be called for it here. {_WHERE}")
        requires_grad = bool(tensor.requires_grad)
        history = tensor.history()
        if isinstance(history, Unknown):
            check_hookable(requires_grad)
            state: Leaf = tensor.leaf()
            return state
    check_hookable(history is not None)
    found: Node | Leaf | Described = history
    if isinstance(found, Node):
        found.tensor = weakref.ref(tensor)
    return found


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


def _known(reach: Reach) -> list[Node | Leaf | Described]:
    """What a walk surely meets."""
    return [*reach.nodes.values(), *reach.leaves.values()]


def _all_targets(home: Recorder) -> list[Node | Leaf | Described]:
    """All places that have hooks."""
    references = [table.target for table in list(home.hooked) if len(table) and table.target is not None]
    return [target for reference in references if (target := reference()) is not None]


def pin(tensor: Handle) -> None:
    """The tensor is about to get another history: see to it that the server finds the place of the hooks that it has."""
    history = tensor._node
    if not isinstance(history, (Node, Described)):
        return
    hooks = hooks_of(history)
    if hooks is None or hooks.pin is not None or owner_of(history) is not tensor or tensor.history() is not history:
        return
    home = tensor._home
    hooks.pin = home.tensor_class(home, home.name(), None, None)  # of which nobody here knows more, so that there is no cycle
    home.put(("sum", (tensor._name,), {}, (hooks.pin._name,), True, None, *users_place(3)))


def _asked(
    home: Recorder,
    roots: Sequence[Handle],
    reach: Reach,
    known: Sequence[Node | Leaf | Described],
    sources: list[Any],
    *,
    retain_graph: bool,
    create_graph: bool,
) -> Asked | None:
    """How the hooks are called of a backward of which only the server knows what it comes by; None where there can be none."""
    behind = reach.behind()
    everywhere = [] if behind is not None else _all_targets(home)
    if everywhere and not home.waits:
        raise home.cannot_ask(_UNKNOWN)
    if behind is None and not may_meet(known) and not home.waits:
        return None  # there are custom nodes elsewhere; if there are some on the way, the server says so
    targets = list({id(target): target for target in (*known, *(behind or everywhere))}.values())
    if behind is not None and not may_meet(targets):
        return None
    if not home.waits:
        raise home.cannot_ask(_UNKNOWN)
    home.ask_in_hook()  # of a hook that walks itself
    return Asked(home, roots, targets, sources, retain_graph=retain_graph, create_graph=create_graph)


def pin_view(tensor: Handle) -> None:
    """The same for a view that gets a hook: its history may change with that of its base."""
    if tensor._home.waits and tensor._extra is not None and tensor._extra.base is not None:
        pin(tensor)


def pin_before_write(target: Handle) -> None:
    """The same for a tensor that is about to be written, and what it is a view of."""
    pin(target)
    if target._extra is not None and target._extra.base is not None:
        pin(target._extra.base)


def apart_from_hooks(target: Any) -> Any:
    """For a view that is about to be written, another one that has a history of its own, if there are hooks on the one it has: the
    gradient of the write goes past those, as in PyTorch, where it goes to the base at once.
    """
    base = target._extra.base
    node, chain = target._node, list[Node]()
    while isinstance(node, Node) and node is not base.history() and node.op.view and len(node.edges) == 1:
        chain.append(node)
        node = node.edges[0][1]
    if not chain or not hooks_of(chain[0]) or node is not base.history() or target.history() is not chain[0]:
        return target
    fresh = base
    for made_by in reversed(chain):
        fresh = fresh._apply(made_by.op.name, fresh, **made_by.parameters)
    return fresh
