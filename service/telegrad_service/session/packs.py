"""What ops save for backward, where a client keeps it in place of the session: ``pack`` of ``apply``, and ``unpack`` callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from telegrad.contract.errors import ArgumentValueError, AutogradError, ConflictError
from telegrad.contract.schedule import current_walk
from telegrad.contract.watching import Packing, looking_at_nodes
from telegrad_service.engine.hooks import WAIT, HookedWalk, MustWait
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.values import describe

if TYPE_CHECKING:
    from telegrad_service.engine.graph import Node
    from telegrad_service.session.context import Context
    from telegrad_service.session.session import Session


class Packs:
    """What the nodes of one ``apply`` saved. Each walk that comes by them must bring it again, all at once.

    Attributes:
        name: by which callbacks, and walks that wait, mean it.
        count: how many tensors.
        action: what the walk that runs brought; it gives the tensors, or ``WAIT``.
    """

    __slots__ = ("__weakref__", "action", "count", "name")

    def __init__(self, name: str, count: int = 0) -> None:
        self.name = name
        self.count = count
        self.action: Callable[[tuple[Any, ...]], Any] | None = None

    def unpack(self, number: int) -> Tensor:
        """One of the tensors. Raises AutogradError where the walk brought nothing, ``MustWait`` where it waits."""
        walk = current_walk()
        brought = walk.brought if isinstance(walk, HookedWalk) else {}
        if self not in brought:
            found: Any = WAIT
            if self.action is not None:
                found = self.action(())
            elif isinstance(walk, HookedWalk) and walk.ask is not None:
                walk.ask(self.name, ())
            else:
                raise AutogradError(
                    "what an op saved is kept by the client that recorded it within saved_tensors_hooks; this backward did not "
                    "bring it. Differentiate it from there, as long as the tensors are known there; or use telegrad.local()"
                )
            if found is WAIT:
                raise MustWait(lambda results: brought.__setitem__(self, self._checked(results)))
            brought[self] = self._checked(found)
        return brought[self][number]

    def _checked(self, results: Any) -> Sequence[Tensor]:
        if not isinstance(results, tuple) or len(results) != self.count or any(r is None for r in results):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            raise ArgumentValueError(f"an unpack callback has {self.count} result(s), one for each tensor that was packed")
        found: Sequence[Tensor] = results
        return found


class Packer:
    """The packing of one ``apply``.

    Attributes:
        tensors: what its nodes saved, in order, as Tensors with their history.
        places: of each input, the node and the output of it that it was before the op, which may change it; None for no tensor.
    """

    def __init__(self, packs: Packs, inputs: Sequence[Any]) -> None:
        self._packs = packs
        self.tensors: list[Tensor] = []
        self.places = [_place(x) if isinstance(x, Tensor) else None for x in inputs]

    def pack(self, tensor: Tensor) -> int:
        """Keep nothing but the number."""
        self.tensors.append(tensor)
        self._packs.count += 1
        return self._packs.count - 1


@contextlib.contextmanager
def packing(session: Session, name: str, inputs: Sequence[Any]) -> Generator[Packer]:
    """Within, what nodes save is the client's, under that name. Raises ConflictError where something has it."""
    if name in session.packs:
        raise ConflictError("what another op saved has that name; choose another one")
    packs = Packs(name)
    packer = Packer(packs, inputs)
    engine = session.engine
    with looking_at_nodes():
        engine.packing = Packing(packer.pack, packs.unpack)
        try:
            yield packer
        finally:
            engine.packing = None
    if packs.count:
        session.packs[name] = packs


def told(
    session: Session, packer: Packer, inputs: Sequence[Any], outputs: Sequence[Tensor], context: Context
) -> list[dict[str, Any]]:
    """Descriptions of what was packed, each of which gets a name. ``input`` is the position of the input that has the same history,
    ``output`` likewise, and ``same`` says that it is that very tensor.
    """
    found: list[dict[str, Any]] = []
    made = [_place(y) for y in outputs]
    for tensor in packer.tensors:
        name = session.new_name(context)
        session.require_free((name,), context)
        context.names[name] = tensor
        one = describe(name, tensor)
        place = _place(tensor)
        for kind, group, places in (("input", inputs, packer.places), ("output", outputs, made)):
            for position, (other, its) in enumerate(zip(group, places, strict=True)):
                if "same" not in one and (other is tensor or (place[0] is not None and its == place)):
                    one |= {kind: position, "same": other is tensor}
        found.append(one)
    return found


def _place(tensor: Tensor) -> tuple[Node | None, int]:
    """Which output of which node a tensor is."""
    return tensor.current_node(), tensor.output_index
