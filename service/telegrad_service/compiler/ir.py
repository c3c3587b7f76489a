"""What a recorded run consists of: values, the memory they lie in, and steps that make one from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from telegrad_service.engine.buffers import owner_of
from telegrad_service.engine.table import Array

BOUND: Final = "bound"  # of a tensor that the program was given, or of the gradient that this had
TEMPORARY: Final = "temporary"
CONSTANT: Final = "constant"

CALL: Final = "call"  # any function; it allocates what it gives
VIEW: Final = "view"  # a function whose result lies in the memory of an argument
ELEMENTWISE: Final = "elementwise"  # a ufunc with one result
INTO: Final = "into"  # another function that takes ``out``: a reduction, a product of matrices
CHAIN: Final = "chain"  # many elementwise steps, a block of elements at a time; ``fn`` is a ``Chain``
EFFECT: Final = "effect"  # done for what it changes in the session; ``fn`` is an ``Effect``


class Storage:
    """A piece of memory that values lie in.

    Attributes:
        kind: ``BOUND``, ``TEMPORARY`` or ``CONSTANT``.
        nbytes: its size.
        escapes: it outlives the run, as part of a tensor.
        overlaps: parts of it may be parts of another of the run, too, so that nothing may be written there.
    """

    __slots__ = ("escapes", "kind", "nbytes", "overlaps")

    def __init__(self, kind: str, nbytes: int) -> None:
        self.kind = kind
        self.nbytes = nbytes
        self.escapes = False
        self.overlaps = False


class Value:
    """An array of the run, known by its shape, type and layout; or another object, where ``dtype`` is None.

    Attributes:
        number: names it in the code that is generated.
        shape, dtype, strides: of the array.
        storage: where it lies.
        offset: bytes from the beginning of the storage to its first element.
        constant: the array itself, where it is the same in every run.
    """

    __slots__ = ("constant", "dtype", "number", "offset", "shape", "storage", "strides")

    def __init__(self, number: int, array: Array | None, storage: Storage, constant: Array | None = None) -> None:
        self.number = number
        self.shape: tuple[int, ...] = () if array is None else array.shape
        self.dtype: np.dtype[Any] | None = None if array is None else array.dtype
        self.strides: tuple[int, ...] = () if array is None else array.strides
        self.storage = storage
        self.constant = constant
        self.offset = 0 if array is None or array.base is None else address_of(array) - address_of(owner_of(array))

    def move(self, moved: Mapping[Storage, tuple[Storage, int]]) -> None:
        """Lie where its storage went: in another one, so many bytes further on."""
        to = moved.get(self.storage)
        if to is not None:
            self.storage, self.offset = to[0], self.offset + to[1]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return 0 if self.dtype is None else self.size * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether its elements lie in order, without gaps."""
        if self.dtype is None:
            return False
        expected = self.dtype.itemsize
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != expected and self.size:
                return False
            expected *= n
        return True

    @property
    def uniform(self) -> bool:
        """Whether it is one number, be it stretched to a shape."""
        return self.dtype is not None and all(n == 1 or stride == 0 for n, stride in zip(self.shape, self.strides, strict=True))


class Result:
    """Where a value is found in what a step's function gives.

    Attributes:
        path: positions in nested tuples; empty for the whole.
        value: what it is.
        scalar: numpy gives a scalar in its place, which has to become an array.
    """

    __slots__ = ("path", "scalar", "value")

    def __init__(self, path: tuple[int, ...], value: Value, scalar: bool) -> None:
        self.path = path
        self.value = value
        self.scalar = scalar


class Step:
    """One operation.

    Attributes:
        kind: see above.
        fn: what is called.
        args, keywords: with what; Values stand, also in nested tuples, lists, dicts and slices, for arrays.
        results: what it gives.
        writes: values whose memory it changes.
        fallible: it may raise for some values, so that what it would have left undone must not be done before.
        random: it draws from the session's generator.
        command: the position in the program of the command that it belongs to.
    """

    __slots__ = ("_reads", "args", "command", "fallible", "fn", "keywords", "kind", "random", "results", "writes")

    def __init__(
        self,
        kind: str,
        fn: Any,
        args: tuple[Any, ...],
        keywords: Mapping[str, Any],
        results: list[Result],
        *,
        command: int,
        writes: tuple[Value, ...] = (),
        fallible: bool = False,
        random: bool = False,
    ) -> None:
        self.kind = kind
        self.fn: Any = fn
        self.args = args
        self.keywords = keywords
        self.results = results
        self.writes = writes
        self.fallible = fallible
        self.random = random
        self.command = command
        self._reads: list[Value] | None = None

    @property
    def reads(self) -> list[Value]:
        """The values that it needs."""
        if self._reads is None:
            self._reads = [*values_in(self.args), *values_in(self.keywords)]
        return self._reads

    def exchange(self, instead: Mapping[Value, Value]) -> None:
        """Let some values stand in the place of others."""
        if any(value in instead for value in self.reads):
            self.args = replaced_values(self.args, instead)
            self.keywords = replaced_values(dict(self.keywords), instead)
            self.writes = tuple([instead.get(v, v) for v in self.writes])
            self._reads = None

    @property
    def lasting(self) -> bool:
        """Whether it must be done though nobody may use what it gives."""
        return self.kind == EFFECT or self.fallible or self.random


def address_of(array: Array) -> int:
    """Where an array's first element lies."""
    return int(array.__array_interface__["data"][0])


def values_in(template: Any) -> Iterator[Value]:
    """Every Value in nested tuples, lists, dicts and slices."""
    if isinstance(template, Value):
        yield template
    elif isinstance(template, (tuple, list)):
        for item in template:  # pyright: ignore[reportUnknownVariableType]
            yield from values_in(item)
    elif isinstance(template, dict):
        for item in template.values():  # pyright: ignore[reportUnknownVariableType]
            yield from values_in(item)
    elif isinstance(template, slice):
        yield from values_in((template.start, template.stop, template.step))


def replaced(template: Any, swap: Callable[[Any], Any]) -> Any:
    """The same nest with every leaf exchanged for ``swap(leaf)``."""
    if type(template) is tuple:
        return tuple([replaced(item, swap) for item in template])  # pyright: ignore[reportUnknownVariableType]
    if type(template) is list:
        return [replaced(item, swap) for item in template]  # pyright: ignore[reportUnknownVariableType]
    if type(template) is dict:
        return {key: replaced(item, swap) for key, item in template.items()}  # pyright: ignore[reportUnknownVariableType]
    if type(template) is slice:
        return slice(swap(template.start), swap(template.stop), swap(template.step))
    return swap(template)


def replaced_values(template: Any, swap: Mapping[Value, Value]) -> Any:
    """The same nest with some values exchanged."""
    return replaced(template, lambda leaf: swap.get(leaf, leaf) if isinstance(leaf, Value) else leaf)
