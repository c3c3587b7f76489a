"""A backward over a graph that only the server knows, with hooks or custom functions in it: the server says what it comes by.

The backward waits on the server at every hook and custom function, and goes on with what that gives: one request for each. What
there may be on its way, the shadow of the graph tells (``Reach.behind``); what is, and in which order, the answers tell.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from telegrad._foreseen import hooks_of, owner_of
from telegrad._history import AccumulateGrad, CustomNode, Described, Leaf, Node, Unknown, made_of
from telegrad._packs import packs_of
from telegrad._queue import Reply
from telegrad.contract import checks, modes
from telegrad.contract.callbacks import Callback, Place
from telegrad.contract.commands import Resume
from telegrad.contract.errors import AutogradError, SessionMismatchError
from telegrad.contract.hooks import Hook, check_nothing, check_replacement, check_replacements
from telegrad.contract.schedule import enter_walk, leave_walk

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad._recorder import Recorder


class Asked:
    """A backward whose hooks are called as the server comes by them.

    Attributes:
        callbacks: one for each hook that there may be on the way.
        name: under which the backward waits.
        sources: histories of what its gradients may be made of, where they have histories.
        arrays: nothing travels in callbacks; for the likeness with ``Foreseen``.
        touches: likewise.
        error: what a hook raised; it ended the backward.
    """

    def __init__(
        self,
        home: Recorder,
        roots: Sequence[Handle],
        targets: Sequence[Node | Leaf | Described],
        sources: list[Any],
        *,
        retain_graph: bool,
        create_graph: bool,
    ) -> None:
        """Prepare.

        Args:
            home: the recorder of all tensors.
            roots: where the backward starts.
            targets: nodes and leaves that it may come by.
            sources: see above.
            retain_graph: whether custom nodes can be walked again.
            create_graph: whether gradients get a history.

        Raises AutogradError for a hook at a place that has no name on the server any more.
        """
        self.name = home.name()
        self.arrays: dict[str, Any] = {}
        self.touches: tuple[()] = ()
        self.error: Exception | None = None
        self.sources = sources
        self._home = home
        self._retain_graph = retain_graph
        self._create_graph = create_graph
        self._ways = _ways(roots)
        self._hooks: list[tuple[Node | Leaf | Described, Hook]] = []
        self._reached: set[int] = set()
        self.callbacks: list[Callback] = [callback for target in targets for callback in self._callbacks(target)]

    def _callbacks(self, target: Node | Leaf | Described) -> Iterator[Callback]:
        hooks = hooks_of(target)
        if not hooks:
            return
        place = self._place(target)
        tables = [("tensor", index, table) for index, table in hooks.tensor.items()]
        several = [("before", None, hooks.before), ("accumulated", None, hooks.accumulated), ("after", None, hooks.after)]
        for kind, index, table in (*tables, *several):
            for function in table.functions():
                self._hooks.append((target, function))
                yield Callback(place, kind, index if isinstance(target, Node) else None)

    def _place(self, target: Node | Leaf | Described) -> Place:
        way = self._ways.get(id(target))
        if way is not None:
            return way
        owner, hooks = owner_of(target), hooks_of(target)
        if owner is None and isinstance(target, Leaf):  # hooks may be on its accumulation alone
            handles = [reference() for reference in self._home.leaves.values()]
            owner = next((handle for handle in handles if handle is not None and handle._node is target), None)
        if hooks is not None and hooks.pin is not None:
            return (hooks.pin._name, 0)
        named = owner is not None and owner._extra is not None and owner._extra.asks and owner._extra.leaf is target
        if owner is None or owner._name in self._home.failed or (owner.history() is not target and not named):
            raise AutogradError(
                "only the server knows part of the graph that this backward walks, and a hook in it is on a tensor that nobody "
                "here has any more, or that was changed since: keep the tensor, or remove the hook with handle.remove(). "
                "telegrad.local() calls hooks as it goes"
            )
        return owner._name

    def comes_by(self, node: Any) -> bool:
        """Whether the backward comes by the node, or the accumulation of a leaf, of those that have hooks."""
        target = node.leaf if isinstance(node, AccumulateGrad) else node
        return any(self._hooks[i][0] is target for i in self._reached)

    def run(self, reply: Reply) -> dict[str, Any]:
        """Call hooks until the backward has ended, which ``reply`` is the first answer of; its last answer.

        Raises what the server raises. What a hook raises is kept in ``error``.
        """
        home = self._home
        outer = enter_walk(self)
        try:
            while True:
                answer: dict[str, Any] = home.session.wait_for(reply).take()
                home.writes += 1
                home.grad_epoch += 1
                if answer.get("waits") is None:
                    return answer
                results, stops = self._answered(answer)
                reply = Reply()
                names = None if results is None else tuple([None if r is None else r._name for r in results])
                home.record(Resume(self.name, names, stops), reply=reply, depth=4)
        finally:
            leave_walk(outer)

    def _answered(self, answer: dict[str, Any]) -> tuple[Sequence[Any] | None, bool]:
        """What the hook or function gives that the server waits for, and whether that ends the backward."""
        self._reached = set(answer["reached"])
        grads, arrived = [tuple([self._handle(g) for g in answer.get(group, ())]) for group in ("grads", "arrived")]
        mode = modes.set_mode(self._create_graph)
        try:
            if "callback" in answer:
                return self._hooked(answer["callback"], grads, arrived), False
            return self._custom(answer["label"], grads), False
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises ends the backward
            self.error = error
            return None, True
        except BaseException:
            self._home.record(Resume(self.name, stops=True), depth=4)
            raise
        finally:
            modes.reset_mode(mode)

    def _handle(self, described: dict[str, Any] | None) -> Any:
        if described is None:
            return None
        made = self._home.tensor_class(self._home, described["id"], None, made_of(*self.sources))
        made.learn(described)
        return made

    def _hooked(self, number: int, grads: tuple[Any, ...], arrived: tuple[Any, ...]) -> Sequence[Any] | None:
        target, hook = self._hooks[number]
        kind, tensor_class = self.callbacks[number].kind, self._home.tensor_class
        if kind == "accumulated":
            owner = owner_of(target)
            check_nothing(hook(owner))
            return None
        if kind == "tensor":
            result = hook(grads[0])
            check_replacement(hook, grads[0], result, tensor_class)
            return None if result is None else self._ours((result,))
        result = hook(grads, arrived) if kind == "after" else hook(grads)
        if result is None:
            return None
        check_replacements(hook, grads, result, tensor_class)
        return self._ours(result)

    def _custom(self, label: str, grads: tuple[Any, ...]) -> Sequence[Any]:
        packs = self._home.packs.get(label)
        if packs is not None and packs.kept is not None:
            found = self._ours(packs.unpacked(self._home.tensor_class))
            if not self._retain_graph:
                packs.kept = None
            return found
        node = self._home.customs.get(label)
        backward = None if node is None else node.backward
        if node is None or backward is None:
            raise AutogradError(
                "this backward comes by a custom function, a checkpoint or packed tensors, that another client recorded, or whose "
                "results nobody here has any more. Differentiate it from where it was recorded; or use telegrad.local()"
            )
        results = self._ours(backward.run(grads))
        if backward.saves and not self._retain_graph:
            node.backward = None
        return results

    def _ours(self, results: Sequence[Any]) -> Sequence[Any]:
        for result in results:
            if result is not None and not self._home.is_ours(result):
                raise SessionMismatchError(checks.OTHER_SESSION)
            self._home.check((result,))
        self.sources.extend([r.history() for r in results if r is not None])
        return results


def _ways(roots: Sequence[Handle]) -> dict[int, Place]:
    """How to get to the nodes and leaves that are known here: from a root, by positions of inputs."""
    found: dict[int, Place] = {}
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(root.history(), (root._name,)) for root in roots]
    while todo:
        target, way = todo.pop()
        if id(target) in found or isinstance(target, Unknown):
            continue
        found[id(target)] = way
        if isinstance(target, Node):
            todo.extend([(follower, (*way, position)) for position, follower, _ in target.edges])
    return found


def may_meet(targets: Sequence[Any]) -> bool:
    """Whether any of these has hooks, packed tensors among them, or runs a function."""
    return any(isinstance(target, CustomNode) or hooks_of(target) or packs_of(target) for target in targets)


def wants_each(vectors: Sequence[Any], outputs: Sequence[Any]) -> int | None:
    """How many vectors there are along the first dimension of each of ``vectors``; None where they do not fit the outputs."""
    counts: set[int] = set()
    for vector, output in zip(vectors, outputs, strict=False):
        spec, wanted = getattr(vector, "_spec", None), output._spec
        if spec is None or wanted is None or not spec.shape or spec.shape[1:] != wanted.shape:
            return None
        counts.add(spec.shape[0])
    return counts.pop() if len(counts) == 1 and len(vectors) == len(outputs) and 0 not in counts else None
