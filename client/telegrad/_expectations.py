"""What a trace expects in the places that its function refers to, and whether it is still there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import is_, itemgetter
from typing import Any

import numpy as np


class Fixed:
    """A value that must be the very same."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        return value is self.value

    def parts(self) -> Iterator[Way]:
        return iter(())


class Constant(Fixed):
    """A number, string and the like: one that is equal will do."""

    __slots__ = ()

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        own = self.value
        if value is own:
            return True
        return value.__class__ is own.__class__ and bool(value == own) and (bool(own) or repr(value) == repr(own))


class Array(Fixed):
    """A small numpy array: one of the same values will do."""

    __slots__ = ("raw",)

    def __init__(self, value: Any) -> None:
        super().__init__((value.shape, value.dtype))
        self.raw = value.tobytes()

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        return isinstance(value, np.ndarray) and (value.shape, value.dtype) == self.value and value.tobytes() == self.raw


class Tensor(Fixed):
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


class Buffer(Fixed):
    """A bytearray and the like: one with the same bytes will do."""

    __slots__ = ("raw",)

    def __init__(self, value: Any) -> None:
        super().__init__(type(value))
        self.raw = memoryview(value).tobytes()

    def match(self, value: Any, found: list[Any]) -> bool:  # noqa: ARG002 - as the others
        return value.__class__ is self.value and memoryview(value).tobytes() == self.raw


class Items(Fixed):
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

    def parts(self) -> Iterator[Way]:
        return iter([Way(f"[{i}]", itemgetter(i), item) for i, item in enumerate(self.items)])


class Table(Fixed):
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

    def parts(self) -> Iterator[Way]:
        pairs = zip(self.keys, self.items, strict=True)
        return iter([Way(f"[{k!r}]", itemgetter(k), item) for k, item in pairs])


class Pairs(Fixed):
    """A dict whose keys are no constants, such as tensors: one with keys and items alike, in the same order, will do."""

    __slots__ = ("keys", "values")

    def __init__(self, kind: type[Any], keys: list[Any], values: list[Any]) -> None:
        super().__init__(kind)
        self.keys = keys
        self.values = values

    def match(self, value: Any, found: list[Any]) -> bool:
        if value.__class__ is not self.value or len(value) != len(self.keys):
            return False
        pairs = zip(self.keys, self.values, value.items(), strict=True)
        return all(key.match(k, found) and item.match(x, found) for key, item, (k, x) in pairs)


class Large(Fixed):
    """A container of too many items to look into: the very same, with the very same items."""

    __slots__ = ("items",)

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.items = _items_of(value)

    def match(self, value: Any, found: list[Any]) -> bool:
        return super().match(value, found) and _same(_items_of(value), self.items)


def _same(items: list[Any], others: list[Any]) -> bool:
    return len(items) == len(others) and all(map(is_, items, others))


def _items_of(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, Mapping) else list(container)


class Object(Fixed):
    """A function or another object: the very same, and what the code names of it must match too."""

    __slots__ = ("ways",)

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.ways: list[Way] = []

    def match(self, value: Any, found: list[Any]) -> bool:
        if value is not self.value:
            return False
        for way in self.ways:  # noqa: SIM110 - before every run: a generator takes twice as long
            if not way.what.match(way.look(value), found):
                return False
        return True

    def parts(self) -> Iterator[Way]:
        return iter(self.ways)


class Way:
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


def difference(name: str, value: Any, what: Any, found: list[Any]) -> str:
    if what.match(value, found):
        return ""
    for way in what.parts():
        try:
            there = way.look(value)
        except (IndexError, KeyError, AttributeError, TypeError):
            return name
        deeper = difference(name + way.name if way.name[:1] in ("", "[", ".") else way.name, there, way.what, found)
        if deeper:
            return deeper
    return name
