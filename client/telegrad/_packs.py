"""Hooks on saved tensors, over remote ones. What an op saves for backward is packed here, when the server has said what that is,
and is unpacked while a backward is recorded (see ``_hooks``). The server keeps none of it, and no code travels.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from telegrad._history import Node, Unknown, made_of
from telegrad._queue import Reply
from telegrad.contract import watching
from telegrad.contract.commands import Apply
from telegrad.contract.errors import AutogradError
from telegrad.contract.hooks import HookTable
from telegrad.contract.modes import no_grad
from telegrad.contract.ops import OPS
from telegrad.contract.scope import current_scope

if TYPE_CHECKING:
    from telegrad._foresight import Foresight
    from telegrad._recorder import Recorder

_NOBODY_WAITS: Final = (
    "saved_tensors_hooks asks the server what each op saved, and nobody can wait for that in an AsyncSession or in a traced "
    "function. Leave the context before you record there, or use telegrad.connect() or telegrad.local()"
)

_WHOSE: Final = (
    "within saved_tensors_hooks, an op on a tensor that another client may change (one found by its name, say) is refused: nobody "
    "here knows whether it records. Use a clone(), or leave the context before you record"
)

GRADIENTS_OF_GRADIENTS: Final = (
    "create_graph=True within saved_tensors_hooks: only the server knows what the ops of a gradient save, and the hooks are here. "
    "Leave the context before you compute gradients with a history, or use telegrad.local()"
)


class Packs:
    """What one op saved, as the hooks of a user have packed it.

    Attributes:
        name: what the session calls it.
        kept: what the pack hook gave, and the hook that unpacks it, for each saved tensor; None once freed.
        alive: keeps the session looking for such nodes, see ``Recorder.hooked``.
    """

    __slots__ = ("__weakref__", "alive", "kept", "name")

    def __init__(self, home: Recorder, name: str, kept: list[tuple[Any, Callable[[Any], Any]]]) -> None:
        self.name = name
        self.kept: list[tuple[Any, Callable[[Any], Any]]] | None = kept
        self.alive = HookTable(home.hooked)
        home.hooked.add(self.alive)
        home.packs[name] = self

    def unpacked(self, tensor_class: type[Any]) -> list[Any]:
        """The tensors again. Raises ArgumentTypeError where a hook gives something else."""
        found: list[Any] = []
        for value, unpack in self.kept or ():
            tensor = unpack(value)
            if not isinstance(tensor, tensor_class):
                raise watching.no_tensor(tensor)
            found.append(tensor)
        return found


def packs_of(node: Any) -> Packs | None:
    """What the op saved that made this node of the shadow graph, where hooks have packed it."""
    found: Packs | None = getattr(node, "packs", None)
    return found


def settle(home: Recorder, plan: Foresight, inputs: Sequence[Any]) -> None:
    """See to it that it is known whether an op records, if hooks pack what it saves.

    Raises AutogradError where nobody can be asked.
    """
    if watching.current_packing() is None:
        return
    if not home.waits:
        raise home.cannot_ask(_NOBODY_WAITS)
    for position in plan.positions:
        x = inputs[position]
        if isinstance(x.history(), Unknown):
            _ = x.requires_grad
            if isinstance(x.history(), Unknown):
                raise AutogradError(_WHOSE)


class Packing:
    """An op is recorded, and hooks pack what it saves."""

    def __init__(self, home: Recorder, packing: watching.Packing, node: Node, inputs: Sequence[Any]) -> None:
        home.ask_in_hook()  # of a hook of another kind
        self._home = home
        self._node = node
        self._packing = packing
        self._name = home.name()
        self._reply = Reply()
        self._inputs = inputs
        # An op in place gives its target another history.
        self._histories = [(x.history(), 0 if x._extra is None else x._extra.index) if home.is_ours(x) else None for x in inputs]

    def record(
        self, op: str, names: Sequence[Any], parameters: dict[str, Any], outputs: tuple[str, ...], touches: tuple[Any, ...] = ()
    ) -> None:
        """Record the op."""
        command = Apply(op, tuple(names), parameters, outputs or None, scope=current_scope(), pack=self._name)
        self._home.record(command, touches=touches, reply=self._reply, depth=4)

    def end(self, outputs: Sequence[Any]) -> None:
        """Call the pack hook with all that the op saved. Raises what the op raised, and what the hook raises."""
        home, pack = self._home, self._packing.pack
        described: list[dict[str, Any]] = home.session.wait_for(self._reply).take()["packed"]
        if not described:
            return
        shown = [self._shown(one, outputs) for one in described]
        kept: list[tuple[Any, Callable[[Any], Any]]] = []
        with no_grad():
            for tensor in shown:
                before = tensor._writes()
                kept.append((pack(tensor), self._packing.unpack))
                if tensor._writes() != before:
                    raise watching.packed_in_place()
        self._node.packs = Packs(home, self._name, kept)

    def _shown(self, described: dict[str, Any], outputs: Sequence[Any]) -> Any:
        """A handle of a saved tensor, with its history."""
        home = self._home
        made = home.tensor_class(home, described["id"], None, made_of(self._node))
        made.learn(described)
        position, output = described.get("input"), described.get("output")
        if position is not None:
            if described["same"]:
                return self._inputs[position]
            found = self._histories[position]
        elif output is not None:
            extra = outputs[output]._extra
            found = outputs[output].history(), 0 if extra is None else extra.index
        else:
            found = None
        if found is not None:
            made._node = found[0]
            if found[1]:
                made.extra().index = found[1]
        return made


def packing_of(home: Recorder, node: Any, inputs: Sequence[Any]) -> Packing | None:
    """The packing of an op that makes ``node``, if there are hooks; to be called before its history is put in place."""
    packing = watching.current_packing()
    return None if packing is None or not isinstance(node, Node) else Packing(home, packing, node, inputs)


# What nodes saved ------------------------------------------------------------------------------------------------------------


def _refuse_saved(node: Node) -> Any:
    raise AttributeError(
        f"what {node.name()} saved stays on its server; saved_tensors_hooks shows what ops save there, and nodes of "
        "telegrad.local() have PyTorch's _saved_ attributes"
    )


for _op in OPS.values():
    for _name in (*[slot.name for slot in _op.inputs], *_op.outputs, *_op.parameters):
        for _attribute in (f"_saved_{_name}", f"_raw_saved_{_name}"):
            setattr(Node, _attribute, property(_refuse_saved))
