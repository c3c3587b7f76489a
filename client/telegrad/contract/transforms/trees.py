"""Nested tuples, lists and dicts of tensors, taken apart and put together again: the arguments and results of transforms."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, cast


class _Leaf:
    """The structure of a tree that is one thing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"


LEAF: Final = _Leaf()


class Structure:
    """What a tree is without its leaves.

    Attributes:
        kind: tuple, list, dict, or a subclass (a NamedTuple, an OrderedDict).
        keys: of a dict, in its order; None otherwise.
        parts: a Structure, or ``LEAF``, for every item.
    """

    __slots__ = ("_hash", "keys", "kind", "parts")

    def __init__(self, kind: type[Any], keys: tuple[Any, ...] | None, parts: tuple[Any, ...]) -> None:
        self.kind = kind
        self.keys = keys
        self.parts = parts
        self._hash = hash((kind, keys, parts))

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if not isinstance(other, Structure) or self.kind is not other.kind or len(self.parts) != len(other.parts):
            return False
        return self.keys == other.keys and self.parts == other.parts

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self.keys is not None:
            inside = ", ".join(f"{k!r}: {p!r}" for k, p in zip(self.keys, self.parts, strict=True))
            return f"{{{inside}}}"
        inside = ", ".join(map(repr, self.parts))
        return f"[{inside}]" if self.kind is list else f"({inside}{',' * (len(self.parts) == 1)})"


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree from left to right, a dict's in the order of its keys, and its structure. None is a leaf."""
    leaves: list[Any] = []
    return leaves, _take_apart(tree, leaves)


def _take_apart(tree: Any, leaves: list[Any]) -> Any:
    if isinstance(tree, dict):
        table: dict[Any, Any] = tree
        return Structure(type(table), tuple(table), tuple([_take_apart(v, leaves) for v in table.values()]))
    if isinstance(tree, (tuple, list)):
        items = cast("Sequence[Any]", tree)
        return Structure(type(items), None, tuple([_take_apart(v, leaves) for v in items]))
    leaves.append(tree)
    return LEAF


@functools.lru_cache(maxsize=64)
def of_call(count: int) -> Structure:
    """The structure of ``(args, kwargs)`` where ``count`` things that are no containers are given by position."""
    return Structure(tuple, None, (Structure(tuple, None, (LEAF,) * count), Structure(dict, (), ())))


def build(structure: Any, leaves: Sequence[Any]) -> Any:
    """The tree of that structure with these leaves."""
    rest = iter(leaves)
    return _put_together(structure, rest)


def _put_together(structure: Any, rest: Any) -> Any:
    if structure is LEAF:
        return next(rest)
    items = [_put_together(part, rest) for part in structure.parts]
    kind = structure.kind
    if structure.keys is not None:
        pairs = zip(structure.keys, items, strict=True)
        return dict(pairs) if kind is dict else _like_dict(kind, pairs)
    if kind is tuple or kind is list:
        return kind(items)
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def _like_dict(kind: Any, pairs: Any) -> Any:
    made = kind()
    made.update(pairs)
    return made


def leaves_of(tree: Any) -> list[Any]:
    """The leaves alone."""
    return flatten(tree)[0]


def mapped(function: Any, tree: Any) -> Any:
    """The tree with ``function(leaf)`` in the place of each leaf."""
    leaves, structure = flatten(tree)
    return build(structure, [function(x) for x in leaves])


def spread(prefix: Any, structure: Any) -> list[Any] | None:
    """A value of ``prefix`` for each leaf of ``structure``: a leaf of the prefix stands for all that is below it.

    None where the two do not match: a container against a leaf, or containers of other kinds, lengths or keys.
    """
    if not isinstance(prefix, (tuple, list, dict)):
        return [prefix] * count(structure)
    if structure is LEAF:
        return None
    given = cast("Any", prefix)
    if isinstance(given, dict):
        table: dict[Any, Any] = given
        if structure.keys is None or set(table) != set(structure.keys):
            return None
        items = [table[k] for k in structure.keys]
    else:
        if structure.keys is not None or isinstance(given, tuple) != issubclass(structure.kind, tuple):
            return None
        items = list(given)
    if len(items) != len(structure.parts):
        return None
    found: list[Any] = []
    for item, part in zip(items, structure.parts, strict=True):
        below = spread(item, part)
        if below is None:
            return None
        found.extend(below)
    return found


def count(structure: Any) -> int:
    """How many leaves a tree of that structure has."""
    return 1 if structure is LEAF else sum(count(p) for p in structure.parts)
