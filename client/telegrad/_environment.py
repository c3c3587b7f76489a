"""What a function refers to without being given it: globals, closures, defaults, attributes, and what these hold.

A trace is made for one state of all that. Before each later run it is looked at again, by the same ways: numbers and strings must
be equal, containers alike, functions and other objects the same; a tensor may be another one than in the trace, and is then the one
that is used. So rebinding a global to another tensor is no reason to trace again, and changing a learning rate is one.

What is looked at is what the code names, in the function and in all functions that it leads to. Code of the standard library, of
numpy and of telegrad is taken to hold no state of the user's.
"""

from __future__ import annotations

import importlib
import inspect
import os
import random
import sys
import types
import weakref
from array import array as _array_type
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from enum import Enum
from functools import partial, partialmethod
from operator import attrgetter, methodcaller
from typing import Any, Final, cast

import numpy as np

from telegrad._code_names import DYNAMIC, names_of
from telegrad._expectations import (
    Array,
    Buffer,
    Constant,
    Fixed,
    Items,
    Large,
    Object,
    Pairs,
    Table,
    Tensor,
    Way,
    difference,
)
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import TraceError
from telegrad.contract.tracing import has_twins

_MISSING: Final = object()
_SKIPPED: Final = frozenset({"telegrad", "telegrad_service", "numpy", "scipy", "_pytest", "builtins", *sys.stdlib_module_names})
"""pytest's own is named by every ``assert`` that it rewrites."""
_CONSTANTS: Final = (bool, int, float, complex, str, bytes, type(None), type(...), DType, Enum, np.generic, np.dtype, slice, range)
_BUFFERS: Final = (bytearray, memoryview, _array_type)
_OPERATORS: Final = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor"
_IMPLICIT: Final = frozenset(
    {
        *(f"__{prefix}{name}__" for name in _OPERATORS.split() for prefix in ("", "r", "i")),
        *("__abs__", "__neg__", "__pos__", "__invert__", "__round__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
        *("__bool__", "__len__", "__int__", "__float__", "__complex__", "__index__", "__array__", "__contains__", "__missing__"),
        *("__ceil__", "__floor__", "__trunc__", "__copy__", "__deepcopy__", "__class_getitem__", "__instancecheck__"),
        *("__await__", "__aenter__", "__aexit__", "__aiter__", "__anext__", "__setattr__", "__delattr__"),
        *("__getitem__", "__setitem__", "__delitem__", "__iter__", "__next__", "__reversed__", "__enter__", "__exit__"),
        *("__getattr__", "__getattribute__", "__get__", "__set__"),
    }
)
"""Methods that are called without being named, beside those that a class of telegrad or of Python's library calls (``forward``)."""
_MAKING: Final = frozenset({"__init__", "__new__", "__post_init__", "__call__"})
"""Methods that are called where an object of the class is made, and where it is called itself."""
_MOST_ITEMS: Final = 4096
_MOST_VALUES: Final = 50_000
_MOST_ARRAY_BYTES: Final = 2**16


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
        names: set[Any] = set()
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
            way = difference(name, value, what, found)
            if way:
                return way
        return ""


class _Survey:
    """One walk through what a function refers to.

    Attributes:
        named: the names of attributes that the code met so far uses, and the code of methods that may use any of their object's.
        tensors: those that were found.
    """

    def __init__(self, names: frozenset[Any]) -> None:
        self._names = names
        self._all = bool(names & DYNAMIC)
        self._methods: set[int] = set()
        self.named: set[Any] = set()
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
            return Constant(value)
        if has_twins(value):
            number = self._numbers.get(id(value))
            if number is None:
                number = self._numbers[id(value)] = len(self.tensors)
                self.tensors.append(value)
            return Tensor(value, number)
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        if isinstance(value, _BUFFERS):
            return Buffer(value)
        if _is_container(value):
            mine = type(value)
            return self._container(value, name) if _is_plain(mine) else self._object(value, name)
        _refuse(value, name)
        return self._object(value, name)

    def _array(self, value: Any, name: str) -> Any:
        if value.dtype.hasobject:
            return Fixed(value)
        if value.nbytes > _MOST_ARRAY_BYTES:
            raise TraceError(
                f"the function refers to {name}, a numpy array of {value.nbytes:,} bytes, which would be fixed in the trace; give "
                "it as an argument, or make a tensor of it outside"
            )
        return Array(value)

    def _container(self, value: Any, name: str) -> Any:
        if isinstance(value, AbstractSet):
            if isinstance(value, (set, frozenset)) and all(isinstance(x, _CONSTANTS) for x in cast("set[Any]", value)):
                return Constant(value.copy())
            return Large(value)
        if len(value) > _MOST_ITEMS:
            return Large(value)
        if id(value) in self._open:
            return Fixed(value)
        self._open.add(id(value))
        try:
            if isinstance(value, Mapping):
                table: Mapping[Any, Any] = value
                if not all(isinstance(key, _CONSTANTS) for key in table):
                    keys = [self.of(key, f"a key of {name}") for key in table]
                    return Pairs(type(table), keys, [self.of(v, f"{name}[...]") for v in table.values()])
                return Table(type(table), tuple(table), [self.of(v, f"{name}[{k!r}]") for k, v in table.items()])
            return Items(type(value), [self.of(v, f"{name}[{i}]") for i, v in enumerate(value)])
        finally:
            self._open.discard(id(value))

    def _object(self, value: Any, name: str) -> Any:
        made = self._objects.get(id(value))
        if made is not None:
            return Fixed(value)  # what it holds is looked at where it was met first
        made = self._objects[id(value)] = Object(value)
        made.ways = list(self._ways(value, name))
        return made if made.ways else Fixed(value)

    def _ways(self, value: Any, name: str) -> Iterator[Way]:
        for kind, suffix, look in _LEADING_ON:
            if isinstance(value, kind):
                yield self._way(suffix, look, value, name)
        if isinstance(value, types.FunctionType):
            yield from self._function_ways(value, name)
        elif isinstance(value, types.MethodType):
            yield Way(".__self__", attrgetter("__self__"), self.of(value.__self__, name.rpartition(".")[0] or name))
            yield Way(name, attrgetter("__func__"), self.of(value.__func__, name))
        elif isinstance(value, types.BuiltinMethodType):
            if not isinstance(value.__self__, types.ModuleType):
                yield self._way(".__self__", attrgetter("__self__"), value, name)
        elif isinstance(value, (attrgetter, methodcaller)):
            self.named |= {part for x in value.__reduce__()[1] if isinstance(x, str) for part in x.split(".")}
        elif isinstance(value, types.ModuleType):
            yield from self._module_ways(value, name)
        elif isinstance(value, type):
            if not _skipped(value.__module__):
                yield from self._class_ways(value, name, _MAKING)
                yield from self._class_ways(type(value), name, _MAKING)
        elif not isinstance(value, _LED_ON):
            inner = getattr(value, "__wrapped__", None)
            if inner is not None:
                yield Way(name, attrgetter("__wrapped__"), self.of(inner, name))
            if _is_container(value):
                yield Way(name, _itself, self._container(value, name))
            if isinstance(value, defaultdict):
                yield self._way(".default_factory", attrgetter("default_factory"), value, name)
            yield from self._instance_ways(value, name)

    def _module_ways(self, module: types.ModuleType, name: str) -> Iterator[Way]:
        if not _skipped(module.__name__):
            yield from self._named_ways(vars(module), name)
        elif module.__name__.partition(".")[0] in sys.stdlib_module_names:  # os.environ, say
            held = {key: x for key, x in vars(module).items() if self._uses(key) and (_is_container(x) or x is os.getenv)}
            yield from self._named_ways(held, name, vars(module))

    def _way(self, name: str, look: Callable[[Any], Any], value: Any, of: str) -> Way:
        return Way(name, look, self.of(look(value), of + name))

    def _function_ways(self, function: types.FunctionType, name: str) -> Iterator[Way]:
        if _skipped(function.__module__ or ""):
            if function is os.getenv:
                yield Way(".environ", _environ, self.of(os.environ, "os.environ"))
            return
        if "__wrapped__" in vars(function):  # whoever wraps, and however: of code that is skipped only this leads on
            yield self._way("", attrgetter("__wrapped__"), function, name)
        if function.__globals__.get("__name__", "").partition(".")[0] == "telegrad":
            return
        globals_, attributes, imports, own = names_of(function.__code__)
        self.named |= attributes
        if own:  # a function that is no method may be given anything
            self.named.add(function.__code__ if id(function) in self._methods else "__dict__")
        table = function.__globals__
        modules = [x for name, level in imports for x in _imported(name, level, table)]
        named = [(word, table) for word in globals_ if word in table] + [
            (x, sys.modules) for x in dict.fromkeys(modules) if x in sys.modules
        ]
        for word, where in named:
            if where[word] is np and "random" in attributes:
                _refuse(np.random, f"{word}.random")
            yield Way(word, _entry_of(where, word), self.of(where[word], word))
        for word, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                content = _MISSING
            yield Way(word, partial(_content, cell), Fixed(_MISSING) if content is _MISSING else self.of(content, word))
        yield from self._named_ways(vars(function), name)
        if function.__defaults__:
            yield self._way(".__defaults__", attrgetter("__defaults__"), function, function.__name__)
        if function.__kwdefaults__:
            yield self._way(".__kwdefaults__", attrgetter("__kwdefaults__"), function, function.__name__)

    def _named_ways(
        self, table: Mapping[str, Any], name: str, where: Mapping[str, Any] | None = None, *, whole: bool = False
    ) -> Iterator[Way]:
        for attribute, value in list(table.items()):
            if whole or self._uses(attribute):
                look = _entry_of(table if where is None else where, attribute)
                yield Way(f".{attribute}", look, self.of(value, f"{name}.{attribute}"))

    def _class_ways(self, cls: type[Any], name: str, called: frozenset[str] = frozenset()) -> Iterator[Way]:
        implicit = _IMPLICIT.union(*(vars(base) for base in cls.__mro__[:-1] if _skipped(base.__module__)))
        for base in cls.__mro__:
            if not _skipped(base.__module__):
                for attribute, value in list(vars(base).items()):
                    named = self._uses(attribute) or attribute in called or (attribute in implicit and _is_written(value))
                    if named and not isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                        self._methods |= {id(method) for method in _methods_in(value)}
                        what = self.of(value, f"{name}.{attribute}")
                        yield Way(f".{attribute}", _entry_of(vars(base), attribute), what)

    def _instance_ways(self, value: Any, name: str) -> Iterator[Way]:
        cls = type(value)
        if cls.__module__.partition(".")[0] in ("telegrad", "telegrad_service", "numpy"):
            return
        whole = any(
            method.__code__ in self._names for base in cls.__mro__ for x in vars(base).values() for method in _methods_in(x)
        )
        if hasattr(value, "__dict__"):
            yield from self._named_ways(vars(value), name, whole=whole)
            # An attribute that was not there before would be a change too.
            yield Way("", _attribute_count, Constant(len(vars(value))))
        for base in cls.__mro__:
            slots = vars(base).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if (whole or self._uses(slot)) and hasattr(value, slot):
                    yield self._way(f".{slot}", attrgetter(slot), value, name)
        if not _skipped(cls.__module__):
            yield from self._class_ways(cls, name)
            called = inspect.getattr_static(cls, "__call__", None)
            if isinstance(called, types.FunctionType):
                yield Way(name, _called, self.of(called, name))

    def _uses(self, attribute: str) -> bool:
        return attribute in self._names or (self._all and not attribute.startswith("__"))


def _entry_of(table: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    """What looks up a global or an attribute."""
    return lambda _owner: table.get(name, _MISSING)


def _is_container(value: Any) -> bool:
    """Whether it is looked at item by item: what Python brings along of lists and the like, which hold users' state."""
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return True
    return isinstance(value, (Mapping, Sequence, AbstractSet)) and _skipped(type(value).__module__)


def _is_plain(container: type[Any]) -> bool:
    """Whether a container of this type is no more than its items."""
    return (_skipped(container.__module__) and container is not defaultdict) or issubclass(container, tuple)


def _is_written(method: Any) -> bool:
    """Whether somebody wrote a method: those of data classes do nothing but compare."""
    method = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
    return isinstance(method, types.FunctionType) and method.__code__.co_filename != "<string>"


def _itself(value: Any) -> Any:
    return value


def _called_back(reference: Any) -> Any:
    return reference()


def _in_context(variable: ContextVar[Any]) -> Any:
    return variable.get(_MISSING)


def _environ(_getenv: Any) -> Any:
    return os.environ


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


_LEADING_ON: Final[tuple[tuple[type[Any], str, Callable[[Any], Any]], ...]] = (
    *((kind, f".{part}", attrgetter(part)) for kind in (partial, partialmethod) for part in ("func", "args", "keywords")),
    (property, "", attrgetter("fget")),
    (staticmethod, "", attrgetter("__func__")),
    (classmethod, "", attrgetter("__func__")),
    (weakref.ref, "()", _called_back),
    (ContextVar, ".get()", _in_context),
)
"""What stands for another value: its type, what people write after it, and what gives the other one."""

_LED_ON: Final = tuple({kind for kind, _, _ in _LEADING_ON})


def _methods_in(value: Any) -> list[types.FunctionType]:
    """The functions that get an object first where ``value`` stands in its class."""
    parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
    return [x for x in parts if isinstance(x, types.FunctionType)]


def _imported(name: str, level: int, globals_: Mapping[str, Any]) -> list[str]:
    """The name of a module that a function imports, and of ``a`` for ``import a.b``; none where there is no such module."""
    package = globals_.get("__package__") or ""
    try:
        module = importlib.import_module("." * level + name, package) if package or not level else None
    except ImportError:  # as the function will find out, if it gets there
        return []
    return [] if module is None else [module.__name__, *([] if level else [name.partition(".")[0]])]


def _refuse(value: Any, name: str) -> None:
    source = value.__self__ if isinstance(value, (types.BuiltinMethodType, types.MethodType)) else value
    if isinstance(source, (np.random.Generator, np.random.RandomState, random.Random)) or value is random or value is np.random:
        raise TraceError(
            f"the function draws random numbers with {name}, which would be the same at every call; draw with telegrad (randn, "
            "rand, bernoulli, ...), or give the numbers as an argument"
        )
    if hasattr(type(value), "__next__"):
        raise TraceError(f"the function uses {name}, an iterator, whose item would be the same each time; give it the item")
