"""What a function refers to without being given it: globals, closures, defaults, attributes, and what these hold.

A trace is made for one state of all that. Before each later run it is looked at again, by the same ways: numbers and strings must
be equal, containers alike, functions and other objects the same; a tensor may be another one than in the trace, and is then the one
that is used. So rebinding a global to another tensor is no reason to trace again, and changing a learning rate is one.

What is looked at is what the code names, in the function and in all functions that it leads to. Code of the standard library, of
numpy and of telegrad is taken to hold no state of the user's.
"""

from __future__ import annotations

import dis
import inspect
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Final, cast

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad.contract.errors import TraceError
from telegrad.contract.tracing import has_twins

_MISSING: Final = object()
_SKIPPED: Final = frozenset({"telegrad", "telegrad_service", "numpy", "scipy", "builtins", *sys.stdlib_module_names})
_CONSTANTS: Final = (bool, int, float, complex, str, bytes, type(None), type(...), DType, Enum, np.generic, np.dtype, slice, range)
_DYNAMIC: Final = frozenset({"getattr", "setattr", "vars", "dir", "__dict__"})
_MOST_ITEMS: Final = 4096
_MOST_VALUES: Final = 50_000
_MOST_ARRAY_BYTES: Final = 2**16


class _Fixed:
    """A value that must be the very same."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        return value is self.value

    def parts(self) -> Iterator[_Way]:
        return iter(())


class _Constant(_Fixed):
    """A number, string and the like: one that is equal will do."""

    __slots__ = ()

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        own = self.value
        if value is own:
            return True
        return value.__class__ is own.__class__ and bool(value == own) and (bool(own) or repr(value) == repr(own))


class _Array(_Fixed):
    """A small numpy array: one of the same values will do."""

    __slots__ = ("raw",)

    def __init__(self, value: Any) -> None:
        super().__init__((value.shape, value.dtype))
        self.raw = value.tobytes()

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        return isinstance(value, np.ndarray) and (value.shape, value.dtype) == self.value and value.tobytes() == self.raw


class _Tensor(_Fixed):
    """A tensor: any one will do that is found wherever this one was."""

    __slots__ = ("number",)

    def __init__(self, value: Any, number: int) -> None:
        super().__init__(type(value))
        self.number = number

    def match(self, value: Any, found: list[Any]) -> bool:
        before = found[self.number]
        if before is None:
            found[self.number] = value
            return value.__class__ is self.value
        return value is before


class _Items(_Fixed):
    """A list, tuple or deque: one of the same length with the same items will do."""

    __slots__ = ("items",)

    def __init__(self, kind: type[Any], items: list[Any]) -> None:
        super().__init__(kind)
        self.items = items

    def match(self, value: Any, found: list[Any]) -> bool:
        if value.__class__ is not self.value or len(value) != len(self.items):
            return False
        for item, x in zip(self.items, value, strict=True):  # noqa: SIM110 - before every run: a generator takes twice as long
            if not item.match(x, found):
                return False
        return True

    def parts(self) -> Iterator[_Way]:
        return iter([_Way(f"[{i}]", itemgetter(i), item) for i, item in enumerate(self.items)])


class _Table(_Fixed):
    """A dict: one with the same keys in the same order and the same items will do."""

    __slots__ = ("items", "keys")

    def __init__(self, kind: type[Any], keys: tuple[Any, ...], items: list[Any]) -> None:
        super().__init__(kind)
        self.keys = keys
        self.items = items

    def match(self, value: Any, found: list[Any]) -> bool:
        if value.__class__ is not self.value or tuple(value) != self.keys:
            return False
        for item, x in zip(self.items, value.values(), strict=True):  # noqa: SIM110 - before every run: a generator takes twice as long
            if not item.match(x, found):
                return False
        return True

    def parts(self) -> Iterator[_Way]:
        pairs = zip(self.keys, self.items, strict=True)
        return iter([_Way(f"[{k!r}]", itemgetter(k), item) for k, item in pairs])


class _Large(_Fixed):
    """A container of too many items to look at: the very same, of the same length."""

    __slots__ = ("length",)

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.length = len(value)

    def match(self, value: Any, found: list[Any]) -> bool:
        return super().match(value, found) and len(value) == self.length


class _Object(_Fixed):
    """A function or another object: the very same, and what the code names of it must match too."""

    __slots__ = ("ways",)

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.ways: list[_Way] = []

    def match(self, value: Any, found: list[Any]) -> bool:
        if value is not self.value:
            return False
        for way in self.ways:  # noqa: SIM110 - before every run: a generator takes twice as long
            if not way.what.match(way.look(value), found):
                return False
        return True

    def parts(self) -> Iterator[_Way]:
        return iter(self.ways)


class _Way:
    """How to get from a value to another one.

    Attributes:
        name: as people would write it.
        look: gives the other value.
        what: what is expected there.
    """

    __slots__ = ("look", "name", "what")

    def __init__(self, name: str, look: Callable[[Any], Any], what: Any) -> None:
        self.name = name
        self.look = look
        self.what = what


class Environment:
    """What a function refers to, as it was when this was made.

    Attributes:
        tensors: those that were found, each once.
    """

    def __init__(
        self,
        roots: Sequence[tuple[str, Any]],
        given: Sequence[Any] = (),
        hooks_of: Callable[[Any], Sequence[Any]] = lambda _tensor: (),
    ) -> None:
        """Look at what ``roots`` lead to: the function, and objects among its arguments, each with its name.

        Args:
            roots: see above.
            given: tensors among the arguments.
            hooks_of: the functions that a backward calls which reaches a tensor; what these refer to is looked at as well.

        Raises TraceError for what no trace could do again: iterators and Python's random generators.
        """
        names: set[str] = set()
        hooks: dict[int, Any] = {}
        while True:
            survey = _Survey(frozenset(names))
            hooked = [("hook", hook) for hook in hooks.values()]
            self._roots = [(name, value, survey.of(value, name)) for name, value in (*roots, *hooked)]
            called = {id(hook): hook for x in (*given, *survey.tensors) for hook in hooks_of(x)}
            if survey.named <= names and called.keys() <= hooks.keys():
                break
            names |= survey.named
            hooks |= called
        self.tensors: list[Any] = survey.tensors

    def look(self) -> list[Any] | None:
        """The tensors that now stand where those of ``tensors`` stood; None if anything else has changed."""
        found: list[Any] = [None] * len(self.tensors)
        for _, value, what in self._roots:
            if not what.match(value, found):
                return None
        return found

    def forget(self) -> None:
        """Keep no tensor alive: whoever looks gets those that are there then."""
        self.tensors = [None] * len(self.tensors)

    def difference(self) -> str:
        """The way to what has changed, tensors that are others now included; empty if nothing has."""
        found: list[Any] = list(self.tensors)
        for name, value, what in self._roots:
            way = _difference(name, value, what, found)
            if way:
                return way
        return ""


def _difference(name: str, value: Any, what: Any, found: list[Any]) -> str:
    if what.match(value, found):
        return ""
    for way in what.parts():
        try:
            there = way.look(value)
        except (IndexError, KeyError, AttributeError, TypeError):
            return name
        deeper = _difference(way.name if not name or way.name[0] not in "[." else name + way.name, there, way.what, found)
        if deeper:
            return deeper
    return name


class _Survey:
    """One walk through what a function refers to.

    Attributes:
        named: the names of attributes that the code met so far uses.
        tensors: those that were found.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._all = bool(names & _DYNAMIC)
        self.named: set[str] = set()
        self.tensors: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._objects: dict[int, Any] = {}
        self._open: set[int] = set()
        self._count = 0

    def of(self, value: Any, name: str) -> Any:
        """What is expected in the place of ``value``, which people would call ``name``."""
        self._count += 1
        if self._count > _MOST_VALUES:
            raise TraceError(f"the function refers to over {_MOST_VALUES:,} values, at {name}; give it what it needs")
        if isinstance(value, _CONSTANTS):
            return _Constant(value)
        if has_twins(value):
            number = self._numbers.get(id(value))
            if number is None:
                number = self._numbers[id(value)] = len(self.tensors)
                self.tensors.append(value)
            return _Tensor(value, number)
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        if isinstance(value, (list, tuple, deque, dict)):
            return self._container(value, name)
        if isinstance(value, (set, frozenset)):
            return _Constant(value.copy()) if all(isinstance(x, _CONSTANTS) for x in cast("set[Any]", value)) else _Large(value)
        _refuse(value, name)
        return self._object(value, name)

    def _array(self, value: Any, name: str) -> Any:
        if value.dtype.hasobject:
            return _Fixed(value)
        if value.nbytes > _MOST_ARRAY_BYTES:
            raise TraceError(
                f"the function refers to {name}, a numpy array of {value.nbytes:,} bytes, which would be fixed in the trace; give "
                "it as an argument, or make a tensor of it outside"
            )
        return _Array(value)

    def _container(self, value: Any, name: str) -> Any:
        if len(value) > _MOST_ITEMS:
            return _Large(value)
        if id(value) in self._open:
            return _Fixed(value)
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                table: dict[Any, Any] = value
                if not all(isinstance(key, _CONSTANTS) for key in table):
                    return _Large(table)
                return _Table(type(table), tuple(table), [self.of(v, f"{name}[{k!r}]") for k, v in table.items()])
            return _Items(type(value), [self.of(v, f"{name}[{i}]") for i, v in enumerate(value)])
        finally:
            self._open.discard(id(value))

    def _object(self, value: Any, name: str) -> Any:
        made = self._objects.get(id(value))
        if made is not None:
            return _Fixed(value)  # what it holds is looked at where it was met first
        made = self._objects[id(value)] = _Object(value)
        made.ways = list(self._ways(value, name))
        return made if made.ways else _Fixed(value)

    def _ways(self, value: Any, name: str) -> Iterator[_Way]:
        inner = getattr(value, "__wrapped__", None) if not isinstance(value, (type, types.ModuleType)) else None
        if isinstance(value, types.FunctionType):
            yield from self._function_ways(value)
        elif isinstance(value, types.MethodType):
            yield _Way(".__self__", attrgetter("__self__"), self.of(value.__self__, name.rpartition(".")[0] or name))
            yield _Way(name, attrgetter("__func__"), self.of(value.__func__, name))
        elif isinstance(value, partial):
            for part in ("func", "args", "keywords"):
                yield self._way(f".{part}", attrgetter(part), value, name)
        elif isinstance(value, property):
            if value.fget is not None:
                yield _Way(name, attrgetter("fget"), self.of(value.fget, name))
        elif isinstance(value, (staticmethod, classmethod)):
            yield _Way(name, attrgetter("__func__"), self.of(value.__func__, name))
        elif isinstance(value, types.ModuleType):
            if not _skipped(value.__name__):
                yield from self._named_ways(vars(value), name)
        elif isinstance(value, type):
            if not _skipped(value.__module__):
                yield from self._class_ways(value, name)
        else:
            if inner is not None:
                yield _Way(name, attrgetter("__wrapped__"), self.of(inner, name))
            yield from self._instance_ways(value, name)

    def _way(self, name: str, look: Callable[[Any], Any], value: Any, of: str) -> _Way:
        return _Way(name, look, self.of(look(value), of + name))

    def _function_ways(self, function: types.FunctionType) -> Iterator[_Way]:
        if _skipped(function.__module__ or ""):
            return
        globals_, attributes = _names_of(function.__code__)
        self.named |= attributes
        table = function.__globals__
        for name in globals_:
            if name in table:
                if table[name] is np and "random" in attributes:
                    _refuse(np.random, f"{name}.random")
                yield _Way(name, _entry_of(table, name), self.of(table[name], name))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                content = _MISSING
            yield _Way(name, partial(_content, cell), _Fixed(_MISSING) if content is _MISSING else self.of(content, name))
        if function.__defaults__:
            yield self._way(".__defaults__", attrgetter("__defaults__"), function, function.__name__)
        if function.__kwdefaults__:
            yield self._way(".__kwdefaults__", attrgetter("__kwdefaults__"), function, function.__name__)

    def _named_ways(self, table: Mapping[str, Any], name: str) -> Iterator[_Way]:
        for attribute, value in list(table.items()):
            if self._uses(attribute):
                yield _Way(f".{attribute}", _entry_of(table, attribute), self.of(value, f"{name}.{attribute}"))

    def _class_ways(self, cls: type[Any], name: str) -> Iterator[_Way]:
        for base in cls.__mro__:
            if not _skipped(base.__module__):
                for attribute, value in list(vars(base).items()):
                    if self._uses(attribute) and not isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                        what = self.of(value, f"{name}.{attribute}")
                        yield _Way(f".{attribute}", _entry_of(vars(base), attribute), what)

    def _instance_ways(self, value: Any, name: str) -> Iterator[_Way]:
        cls = type(value)
        if cls.__module__.partition(".")[0] in ("telegrad", "telegrad_service", "numpy"):
            return
        if hasattr(value, "__dict__"):
            yield from self._named_ways(vars(value), name)
            # An attribute that was not there before would be a change too.
            yield _Way("", _attribute_count, _Constant(len(vars(value))))
        for base in cls.__mro__:
            slots = vars(base).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if self._uses(slot) and hasattr(value, slot):
                    yield self._way(f".{slot}", attrgetter(slot), value, name)
        if not _skipped(cls.__module__):
            yield from self._class_ways(cls, name)
            called = inspect.getattr_static(cls, "__call__", None)
            if isinstance(called, types.FunctionType):
                yield _Way(name, _called, self.of(called, name))

    def _uses(self, attribute: str) -> bool:
        return attribute in self._names or (self._all and not attribute.startswith("__"))


def _entry_of(table: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    """What looks up a global or an attribute."""
    return lambda _owner: table.get(name, _MISSING)


def _attribute_count(value: Any) -> int:
    return len(vars(value))


def _called(value: Any) -> Any:
    return type(value).__call__


def _content(cell: Any, _function: Any = None) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _skipped(module: str) -> bool:
    return module.partition(".")[0] in _SKIPPED


_GLOBALS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR"})


def _names_of(code: types.CodeType) -> tuple[list[str], set[str]]:
    """The globals that a function's code names, and the attributes, those of functions defined in it included."""
    globals_: dict[str, None] = {}
    attributes: set[str] = set()
    todo = [code]
    while todo:
        one = todo.pop()
        todo.extend([c for c in one.co_consts if isinstance(c, types.CodeType)])
        for instruction in dis.get_instructions(one):
            if instruction.opname in _GLOBALS:
                globals_[instruction.argval] = None
                if instruction.argval in _DYNAMIC:
                    attributes.add(instruction.argval)
            elif instruction.opname in _ATTRIBUTES:
                attributes.add(instruction.argval)
    return list(globals_), attributes


def _refuse(value: Any, name: str) -> None:
    source = value.__self__ if isinstance(value, (types.BuiltinMethodType, types.MethodType)) else value
    if isinstance(source, (np.random.Generator, np.random.RandomState, random.Random)) or value is random or value is np.random:
        raise TraceError(
            f"the function draws random numbers with {name}, which would be the same at every call; draw with telegrad (randn, "
            "rand, bernoulli, ...), or give the numbers as an argument"
        )
    if hasattr(value, "__next__"):
        raise TraceError(f"the function uses {name}, an iterator, whose item would be the same each time; give it the item")
