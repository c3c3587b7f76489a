"""A session by value: a safetensors body with all memory, and the graph as JSON beside it. Nothing is pickled.

``load(dump(session))`` goes on exactly as ``session`` would: equal bits, equal errors. What makes that more than a list of values:

- *Memory* is stored once, by the array that owns it. All else is a view: shape, type, offset and strides into it. What shared
  memory shares it again, and products of transposed matrices round as before.
- *Identity* counts. Tensors, arrays, nodes and write counters are numbered, and whoever referred to the same one does so again.
- *Order* counts. A walk adds gradients in the order in which nodes were made, so nodes come in that order.

The body holds the tensor ``graph``, a JSON text as bytes (readers of safetensors refuse long headers, and a graph may be long), one
tensor for each large piece of memory, named by its number, and ``small`` with all small ones, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import ctypes
import json
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

import numpy as np

from telegrad.contract import safetensors
from telegrad.contract.command_fields import decode_command
from telegrad.contract.dtypes import DType, as_dtype
from telegrad.contract.errors import InternalError, RequestError
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.limits import Limits
from telegrad.contract.ops import Spec
from telegrad_service.engine.buffers import owner_of
from telegrad_service.engine.custom import CustomPlan, Deferred, custom_plan
from telegrad_service.engine.graph import INFERENCE, CustomNode, Node, Version, note_write
from telegrad_service.engine.packing import Packed
from telegrad_service.engine.table import ENTRIES, Array
from telegrad_service.engine.tensor import Engine, Path, Tensor
from telegrad_service.session.packs import Packs
from telegrad_service.session.programs import Program
from telegrad_service.session.session import Session
from telegrad_service.session.usage import Held

FORMAT: Final = "telegrad-session"
FORMAT_VERSION: Final = 1
"""Raised whenever an older reader would misread what is written; older versions stay readable, or are refused by name."""

SMALL_BYTES: Final = 4096
"""Memory of at most so many bytes goes into ``small``: a graph may have a million of them."""

_ALIGNMENT: Final = 64

KNOWN_SLOTS: Final[dict[type, str]] = {
    Node: "dtype edges guards hooks indexes number others parameters plan retained saved scope shape __weakref__",
    CustomNode: "",
    Tensor: "_grad array base generation home hooks node output_index path recorded tracks version __weakref__",
    Engine: "generator packing refreshed session walk watched __weakref__",
    Packed: "kept shape unpack __weakref__",
    Packs: "action count name __weakref__",
    Deferred: "name specs materialize saves action label",
}
"""Every attribute that these classes had when this module was written; a test fails when one is added that nobody stores here."""


def dump(session: Session, more: Any = None) -> list[bytes | memoryview]:
    """The session as a safetensors body in pieces.

    Args:
        session: between two commands. The pieces are its own memory: use them before it does the next one.
        more: a JSON value that ``load`` gives back.

    Raises InternalError for what only exists in a user's process: hooks, saved tensors packed by one there.
    """
    return _Writer(session).pieces(more)


def load(pieces: Iterable[bytes | memoryview], limits: Limits | None = None) -> tuple[Session, Any]:
    """The session that ``dump`` gave, and what came with it.

    Raises RequestError for what is no such body, or one of another format version.
    """
    whole = list(pieces)
    reader = safetensors.Reader(max_bytes=sum(len(p) for p in whole))
    for piece in whole:
        reader.feed(piece)
    arrays = reader.finish()
    described = reader.message
    if type(described) is not dict or described.get("format") != FORMAT or "graph" not in arrays:
        raise RequestError("that is no snapshot of a session")
    if described.get("version") != FORMAT_VERSION:
        raise RequestError(f"the snapshot has format version {described.get('version')}; this telegrad reads {FORMAT_VERSION}")
    return _Reader(arrays, json.loads(arrays.pop("graph").tobytes()), limits or Limits()).session()


class _Writer:
    """Numbers everything reachable from the session's names, then writes it down."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tensors: dict[int, tuple[int, Tensor]] = {}
        self._nodes: dict[int, Node] = {}
        self._arrays: dict[int, tuple[int, Array]] = {}
        self._owners: dict[int, tuple[int, Array]] = {}
        self._versions: dict[int, tuple[int, Version]] = {}
        self._paths: dict[int, tuple[int, Path]] = {}
        self._specials: dict[type, Callable[[Any], dict[str, Any]]] = {
            complex: lambda v: {"complex": struct.pack("<dd", v.real, v.imag).hex()},
            list: lambda v: {"list": [self._value(x) for x in v]},
            dict: lambda v: {"dict": [[self._value(k), self._value(x)] for k, x in v.items()]},
            slice: lambda v: {"slice": [self._value(v.start), self._value(v.stop), self._value(v.step)]},
            type(...): lambda _: {"ellipsis": True},
            DType: lambda v: {"dtype": v.name},
            TensorSlot: lambda v: {"slot": v.position},
            np.ndarray: lambda v: {"array": self._array(v)},
            Tensor: lambda v: {"tensor": self._tensors[id(v)][0]},
            Engine: lambda _: {"home": True},
            Deferred: self._deferred,
            Packed: _packed,
        }

    def pieces(self, more: Any) -> list[bytes | memoryview]:
        self._discover()
        session = self._session
        numbered = sorted(self._nodes.values(), key=lambda node: node.number)
        self._number_of = {node.number: position for position, node in enumerate(numbered)}
        state: dict[str, Any] = {
            "id": session.id,
            "created": session.created,
            "auto": session._auto,
            "held": list(session.quota._held),
            "generator": session.engine.generator.bit_generator.state,
            "programs": [p.describe() for p in session.programs.values()],
            "names": [[name, self._tensors[id(t)][0]] for name, t in session.names.items()],
            "nodes": [self._node(node) for node in numbered],
            "tensors": [self._tensor(t) for _, t in self._tensors.values()],
            "more": more,
        }
        # Written last: the lines above number what they refer to, and a path may name arrays.
        state["paths"] = self._written_paths()
        state["arrays"] = [self._view(a) for _, a in self._arrays.values()]
        state["versions"] = [v[0] for _, v in self._versions.values()]
        owners = [a for _, a in self._owners.values()]
        state["memory"], stored = _store(owners)
        text = json.dumps(state, separators=(",", ":"), allow_nan=False).encode()
        stored["graph"] = np.frombuffer(text, np.uint8)
        return list(safetensors.pack(stored, {"format": FORMAT, "version": FORMAT_VERSION}))

    def _discover(self) -> None:
        todo: list[Tensor | Node] = list(self._session.names.values())
        while todo:
            item = todo.pop()
            if isinstance(item, Tensor):
                if id(item) in self._tensors:
                    continue
                self._tensors[id(item)] = (len(self._tensors), item)
                todo.extend(x for x in (item.node, item.base, item.kept_gradient) if x is not None)
            elif item.number not in self._nodes:
                self._nodes[item.number] = item
                todo.extend(item.edges)

    def _node(self, node: Node) -> dict[str, Any]:
        if getattr(node, "hooks", None) is not None:
            raise InternalError("a node with hooks of a user's process cannot be stored")
        plan = node.plan
        custom = isinstance(plan, CustomPlan)
        written: dict[str, Any] = {
            "op": plan.entry.op.node if custom else plan.entry.op.name,
            "positions": list(plan.positions),
            "count": plan.count,
            "saved": None if node.saved is None else [self._value(v) for v in node.saved],
            "edges": [self._target(target) for target in node.edges],
            "shape": list(node.shape),
            "dtype": node.dtype.str,
        }
        if custom:
            written["custom"] = [plan.saves, plan.fills]
        if node.parameters is not plan.entry.op.defaults:
            written["parameters"] = self._value(node.parameters)
        if any(node.indexes):
            written["indexes"] = list(node.indexes)
        if node.others is not None:
            written["others"] = [[list(shape), dtype.str] for shape, dtype in node.others]
        if node.guards:
            guards = node.guards
            written["guards"] = [[self._version(guards[i]), guards[i + 1]] for i in range(0, len(guards), 2)]
        if node.retained is not None:
            alive = {index: [r() for r in references] for index, references in node.retained.items()}
            written["retained"] = [
                [index, [self._tensors[id(t)][0] for t in tensors if t is not None and id(t) in self._tensors]]
                for index, tensors in alive.items()
            ]
        scope = getattr(node, "scope", None)
        if scope is not None:
            written["scope"] = scope
        return written

    def _target(self, target: Node | Tensor) -> list[Any]:
        if isinstance(target, Node):
            return ["node", self._number_of[target.number]]
        return ["leaf", self._tensors[id(target)][0]]

    def _tensor(self, tensor: Tensor) -> dict[str, Any]:
        if getattr(tensor, "hooks", None) is not None:
            raise InternalError("a tensor with hooks of a user's process cannot be stored")
        written: dict[str, Any] = {"array": self._array(tensor.array), "tracks": tensor.tracks}
        if tensor.node is not None:
            written["node"] = self._number_of[tensor.node.number]
        if tensor.output_index:
            written["output"] = tensor.output_index
        if tensor.generation:
            written["generation"] = tensor.generation
        if tensor.kept_gradient is not None:
            written["grad"] = self._tensors[id(tensor.kept_gradient)][0]
        if tensor.is_inference():
            written["inference"] = True
        elif tensor.version is not None:
            written["version"] = self._version(tensor.version)
        if tensor.base is not None:
            written["base"] = self._tensors[id(tensor.base)][0]
            written["path"] = self._path(tensor.path)
            written["recorded"] = tensor.recorded
        return written

    def _value(self, value: Any) -> Any:
        """A saved value or a parameter: numbers and texts as they are, a tuple as a list, all else as an object of one member."""
        kind = type(value)
        if value is None or kind is bool or kind is str or kind is int:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": struct.pack("<d", value).hex()}
        if kind is tuple:
            return [self._value(v) for v in value]
        write = self._specials.get(kind)
        if write is not None:
            return write(value)
        if isinstance(value, np.dtype):
            return {"numpy": value.str}
        if isinstance(value, np.generic):
            return {"scalar": [value.dtype.str, value.tobytes().hex()]}
        raise InternalError(f"a graph holds a {kind.__name__}, which cannot be stored")

    def _deferred(self, value: Deferred) -> dict[str, Any]:
        specs = [[list(spec.shape), spec.dtype.name] for spec in value.specs]
        return {"deferred": [value.name, specs, value.materialize, value.saves, value.label]}

    def _version(self, version: Version) -> int:
        return self._versions.setdefault(id(version), (len(self._versions), version))[0]

    def _array(self, array: Array) -> int:
        return self._arrays.setdefault(id(array), (len(self._arrays), array))[0]

    def _path(self, path: Path) -> int:
        """Paths share what they have in common, so they are numbered too; those before it come first."""
        chain: list[Path] = []
        at: Path | None = path
        while at is not None and id(at) not in self._paths:
            chain.append(at)
            at = at[0]
        for one in reversed(chain):
            self._paths[id(one)] = (len(self._paths), one)
        return self._paths[id(path)][0]

    def _written_paths(self) -> list[Any]:
        return [
            [None if before is None else self._paths[id(before)][0], name, self._value(parameters), output]
            for _, (before, (name, parameters, output)) in self._paths.values()
        ]

    def _view(self, array: Array) -> list[Any]:
        owner = owner_of(array)
        number = self._owners.setdefault(id(owner), (len(self._owners), owner))[0]
        offset = array.ctypes.data - _extent(owner)[0] if array.size else 0
        return [number, array.dtype.str, list(array.shape), list(array.strides), offset, bool(array.flags.writeable)]


def _packed(value: Packed) -> dict[str, Any]:
    packs = getattr(value.unpack, "__self__", None)
    if not isinstance(packs, Packs):
        raise InternalError("a saved tensor that a hook of a user's process has packed cannot be stored")
    return {"packed": [packs.name, packs.count, value.kept, list(value.shape)]}


def _extent(array: Array) -> tuple[int, int]:
    """Address and number of the bytes between the first and the last one that an array uses."""
    if not array.size:
        return array.ctypes.data, 0
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high - low


def _bytes_of(owner: Array) -> memoryview:
    """The memory of an array, whatever the order of its elements. The array must outlive the view."""
    address, nbytes = _extent(owner)
    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B") if nbytes else memoryview(b"")


def _store(owners: Sequence[Array]) -> tuple[list[Any], dict[str, Array]]:
    """Where each piece of memory is, ``[bytes, offset in small]`` or ``[bytes]``, and the tensors to write."""
    places: list[Any] = []
    stored: dict[str, Array] = {}
    small = bytearray()
    for number, owner in enumerate(owners):
        raw = _bytes_of(owner)
        if len(raw) <= SMALL_BYTES:
            small += bytes(-len(small) % _ALIGNMENT)
            places.append([len(raw), len(small)])
            small += raw
        else:
            places.append([len(raw)])
            # By its own type for whoever opens the file; bool as bytes, since memory that was never written may hold any.
            kind = owner.dtype if owner.dtype.kind != "b" and len(raw) % owner.dtype.itemsize == 0 else np.dtype(np.uint8)
            stored[str(number)] = np.frombuffer(raw, kind)
    stored["small"] = np.frombuffer(bytes(small), np.uint8)
    return places, stored


class _Reader:
    """Makes everything anew: memory, arrays, nodes without edges, tensors, and then what refers to what."""

    def __init__(self, memory: dict[str, Array], state: dict[str, Any], limits: Limits) -> None:
        self._state = state
        self._session = Session(state["id"], limits, created=state["created"])
        self._versions: list[Version] = [[count] for count in state["versions"]]
        small = memory["small"]
        self._memory: list[Array] = [
            small[place[1] : place[1] + place[0]].copy() if len(place) == 2 else memory[str(number)].view(np.uint8)
            for number, place in enumerate(state["memory"])
        ]
        self._arrays: list[Array] = [self._array(*row) for row in state["arrays"]]
        self._tensors: list[Tensor] = [Tensor(self._session.engine, self._arrays[row["array"]]) for row in state["tensors"]]
        self._readers: dict[str, Callable[[Any], Any]] = {
            "float": lambda v: struct.unpack("<d", bytes.fromhex(v))[0],
            "complex": lambda v: complex(*struct.unpack("<dd", bytes.fromhex(v))),
            "list": lambda v: [self._value(x) for x in v],
            "dict": lambda v: {self._value(k): self._value(x) for k, x in v},
            "slice": lambda v: slice(*[self._value(x) for x in v]),
            "ellipsis": lambda _: ...,
            "dtype": as_dtype,
            "slot": TensorSlot,
            "numpy": np.dtype,
            "scalar": lambda v: np.frombuffer(bytes.fromhex(v[1]), np.dtype(v[0]))[0],
            "array": lambda v: self._arrays[v],
            "tensor": lambda v: self._tensors[v],
            "home": lambda _: self._session.engine,
            "deferred": _deferred,
            "packed": lambda v: self._packed(*v),
        }
        self._paths: list[Path] = []
        for before, name, parameters, output in state["paths"]:
            self._paths.append((None if before is None else self._paths[before], (name, self._value(parameters), output)))
        # In their order, so that their new numbers, higher than those of all nodes that are there, are in the same one.
        self._nodes: list[Node] = [self._node(row) for row in state["nodes"]]
        note_write()  # what they saved may have been written to

    def session(self) -> tuple[Session, Any]:
        state, session = self._state, self._session
        for tensor, row in zip(self._tensors, state["tensors"], strict=True):
            self._fill(tensor, row)
        for node, row in zip(self._nodes, state["nodes"], strict=True):
            node.edges = tuple([(self._nodes if kind == "node" else self._tensors)[i] for kind, i in row["edges"]])
            if "retained" in row:
                node.retained = {}
                for index, tensors in row["retained"]:
                    node.retained[index] = []
                    for number in tensors:
                        node.retain(index, self._tensors[number])
        session._auto = state["auto"]
        session.quota._held = Held(*state["held"])
        session.engine.generator.bit_generator.state = state["generator"]
        for program in state["programs"]:
            made = Program.make([decode_command(c) for c in program["commands"]], program["inputs"])
            session.programs[made.id] = made
        session.names.update((name, self._tensors[number]) for name, number in state["names"])
        return session, state["more"]

    def _array(self, number: int, dtype: str, shape: list[int], strides: list[int], offset: int, writeable: bool) -> Array:
        array: Array = np.ndarray(tuple(shape), np.dtype(dtype), self._memory[number], offset, tuple(strides))
        array.flags.writeable = writeable
        return array

    def _value(self, written: Any) -> Any:
        if type(written) is list:
            values: list[Any] = written  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
            return tuple([self._value(v) for v in values])
        if type(written) is dict:
            ((kind, value),) = cast("dict[str, Any]", written).items()
            return self._readers[kind](value)
        return written

    def _packed(self, name: str, count: int, number: int, shape: list[int]) -> Packed:
        packs = self._session.packs.get(name)
        if packs is None:
            packs = self._session.packs[name] = Packs(name, count)
        return Packed(number, packs.unpack, tuple(shape))

    def _node(self, row: dict[str, Any]) -> Node:
        positions, count = tuple(row["positions"]), row["count"]
        if "custom" in row:
            plan: Any = custom_plan(row["op"], positions, count, *row["custom"])
        else:
            plan = ENTRIES[row["op"]].plan(sum(1 << p for p in positions), count)
        guards: list[Any] = []
        for version, then in row.get("guards", ()):
            guards += (self._versions[version], then)
        others = row.get("others")
        node = (CustomNode if "custom" in row else Node)(
            plan,
            self._value(row["parameters"]) if "parameters" in row else plan.entry.op.defaults,
            (),
            (),
            tuple(row["indexes"]) if "indexes" in row else plan.zeros,
            tuple(row["shape"]),
            np.dtype(row["dtype"]),
            tuple(guards),
            None if others is None else tuple([(tuple(shape), np.dtype(dtype)) for shape, dtype in others]),
        )
        node.saved = None if row["saved"] is None else tuple([self._value(v) for v in row["saved"]])
        if "scope" in row:
            node.scope = row["scope"]
        return node

    def _fill(self, tensor: Tensor, row: dict[str, Any]) -> None:
        tensor.tracks = row["tracks"]
        tensor.output_index = row.get("output", 0)
        tensor.generation = row.get("generation", 0)
        if "node" in row:
            tensor.node = self._nodes[row["node"]]
        if row.get("inference"):
            tensor.version = INFERENCE
        elif "version" in row:
            tensor.version = self._versions[row["version"]]
        if "grad" in row:
            tensor._grad = self._tensors[row["grad"]]
        if "base" in row:
            tensor.base = self._tensors[row["base"]]
            tensor.path = self._paths[row["path"]]
            tensor.recorded = row["recorded"]


def _deferred(written: Any) -> Deferred:
    name, specs, materialize, saves, *label = written  # earlier snapshots had none
    return Deferred(name, [Spec(tuple(shape), as_dtype(dtype)) for shape, dtype in specs], materialize, saves, *label)


__all__ = ["FORMAT", "FORMAT_VERSION", "KNOWN_SLOTS", "dump", "load"]
