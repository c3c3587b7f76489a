"""A formula or a kernel, taken apart: called on stand-ins for arrays that note which numpy functions it calls on them.

Nothing is assumed of what is taken apart. A stand-in never turns into a plain array that could be computed with unseen, and never
says what its values are; code that wants either is not taken apart. What was noted is then compared, bit for bit, with what the
code itself gave; where plain arrays came in, which may be constants or may not, on other values too.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from telegrad.contract.dtypes import DType
from telegrad_service.compiler.ir import CALL, ELEMENTWISE, INTO, VIEW, replaced
from telegrad_service.engine.buffers import owner_of
from telegrad_service.engine.table import Array

LARGEST_CONSTANT: Final = 1 << 16
"""Bytes. What is larger is computed anew in each run rather than kept."""

_LARGEST_CHECK: Final = 1 << 18
"""Elements. Where arrays are larger, code that brings plain arrays of its own stays whole."""

_ELSEWHERE: Final = ((0.3, 0.9), (1.1, 1.9))
"""Where other values are taken from: each function is defined in one of these, and none is constant in both."""

_STATIC: Final = frozenset({np.result_type, np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.can_cast})
"""Functions whose answer depends on shapes and types only."""

_PURE: Final = frozenset(
    {
        *(np.where, np.clip, np.broadcast_to, np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze),
        *(np.concatenate, np.stack, np.take_along_axis, np.zeros_like, np.ones_like, np.full_like, np.sum, np.mean, np.prod),
        *(np.max, np.min, np.dot, np.tensordot, np.einsum, np.copy, np.real, np.imag, np.tril, np.triu, np.flip, np.roll),
        *(np.cumsum, np.cumprod, np.repeat, np.tile, np.pad, np.outer, np.argmax, np.argmin, np.any, np.all, np.ravel),
        *(np.diagonal, np.broadcast_arrays, np.var, np.std, np.split, np.atleast_1d, np.atleast_2d, np.sort, np.argsort),
    }
)
"""Functions that change nothing, raise nothing once shapes and types fit, and whose result's shape does not depend on values."""

_METHODS: Final = frozenset(
    {
        *("reshape", "transpose", "astype", "copy", "sum", "mean", "max", "min", "prod", "swapaxes", "squeeze", "ravel", "repeat"),
        *("any", "all", "cumsum", "conj", "conjugate", "clip", "diagonal", "flatten", "argmax", "argmin", "std", "var", "view"),
    }
)

_PLAIN: Final = (np.ndarray, int, float, complex, str, type(None), type, np.dtype, slice, type(...), DType)
"""What may be given to code that is taken apart."""

_REDUCTIONS: Final = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
"""Methods that are a ufunc's ``reduce``, which takes ``out``."""


class Untraceable(Exception):  # noqa: N818 - no error of anybody: the code stays whole
    """What was called does something that stand-ins cannot note."""


class Noted:
    """One noted call: as a ``Step``, with stand-ins in the place of values."""

    __slots__ = ("args", "fn", "keywords", "kind", "outs", "target")

    def __init__(
        self,
        kind: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        outs: list[tuple[tuple[int, ...], StandIn, bool]],
        target: StandIn | None,
    ) -> None:
        self.kind = kind
        self.fn = fn
        self.args = args
        self.keywords = keywords
        self.outs = outs
        self.target = target


class Tracing:
    """One attempt to take something apart.

    Attributes:
        noted: the calls so far.
        doubtful: plain arrays came in, or a stand-in was seen as one.
    """

    def __init__(self) -> None:
        self.noted: list[Noted] = []
        self.doubtful = False
        self._plain: dict[int, tuple[Array, StandIn]] = {}

    def stand_in(self, array: Array, *, writable: bool = False) -> StandIn:
        """One for an array that goes in."""
        made = object.__new__(StandIn)
        made._tracing, made._real, made._writable = self, array, writable
        return made

    def shown(self, stand_in: StandIn) -> Array:
        """A plain array that will be recognised; it cannot be written to."""
        self.doubtful = True
        view = stand_in._real.view()
        view.flags.writeable = False
        self._plain[id(view)] = (view, stand_in)
        return view

    def forget(self) -> None:
        """Let go of what was noted, which refers back here: large arrays must not wait for the collector."""
        self.noted = []
        self._plain = {}

    def known(self, x: Any) -> Any:
        """The stand-in that was shown as this array, or ``x`` itself."""
        if type(x) is np.ndarray:
            found = self._plain.get(id(x))
            if found is not None:
                return found[1]
        return x

    def taken(self, template: Any) -> Any:
        """What a call was given, with shown arrays recognised; other plain ones are noted as doubtful constants."""

        def take(leaf: Any) -> Any:
            leaf = self.known(leaf)
            if type(leaf) is not StandIn and isinstance(leaf, (np.ndarray, np.generic)):
                if leaf.nbytes > LARGEST_CONSTANT:
                    raise Untraceable
                self.doubtful = True
            return leaf

        return replaced(template, take)

    def note(
        self, kind: str, fn: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], target: StandIn | None = None
    ) -> Any:
        """Compute, note, and answer with stand-ins."""
        args, keywords = self.taken(args), self.taken(keywords)
        value = fn(*replaced(args, _real), **replaced(keywords, _real))
        if target is not None:
            self.noted.append(Noted(kind, fn, args, keywords, [], target))
            return target
        outs: list[tuple[tuple[int, ...], StandIn, bool]] = []
        inputs = [leaf for leaf in _leaves((args, keywords)) if type(leaf) is StandIn]
        result = self._stood_in(value, (), inputs, outs)
        if outs:
            owners = {id(owner_of(x._real)) for x in inputs}
            shares = any(id(owner_of(made._real)) in owners for _, made, scalar in outs if not scalar)
            self.noted.append(Noted(VIEW if shares else kind, fn, args, keywords, outs, None))
        return result

    def _stood_in(
        self, value: Any, path: tuple[int, ...], inputs: list[StandIn], outs: list[tuple[tuple[int, ...], StandIn, bool]]
    ) -> Any:
        """A result with stand-ins in it; those that are new are added to ``outs``. No closure: it would be a cycle."""
        if isinstance(value, (tuple, list)):
            several = cast("Sequence[Any]", value)
            return tuple([self._stood_in(v, (*path, i), inputs, outs) for i, v in enumerate(several)])
        if not isinstance(value, (np.ndarray, np.generic)):
            raise Untraceable
        for x in inputs:
            if x._real is value:
                return x
        array = np.asarray(value)
        made = self.stand_in(array, writable=True)
        if isinstance(value, np.ndarray):
            owner = owner_of(array)
            made._writable = all(x._writable for x in inputs if owner_of(x._real) is owner)
        outs.append((path, made, not isinstance(value, np.ndarray)))
        return made


def _real(leaf: Any) -> Any:
    return leaf._real if type(leaf) is StandIn else leaf


def _leaves(template: Any) -> list[Any]:
    found: list[Any] = []
    replaced(template, found.append)
    return found


class _Flags:
    """The flags of a stand-in's array, to look at: that they are set is nothing that can be noted."""

    __slots__ = ("_real",)

    def __init__(self, real: Any) -> None:
        object.__setattr__(self, "_real", real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Untraceable


class StandIn(NDArrayOperatorsMixin):
    """Stands for an array in the code that is taken apart; it says that it is one."""

    __slots__ = ("_real", "_tracing", "_writable")

    _tracing: Tracing
    _real: Array
    _writable: bool

    if not TYPE_CHECKING:  # to checkers it is no array

        @property
        def __class__(self) -> Any:
            return np.ndarray

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        tracing = self._tracing
        out = keywords.pop("out", None)
        if "where" in keywords or "initial" in keywords or (ufunc.nout > 1 and out is not None):
            raise Untraceable
        if out is not None:
            target = tracing.known(out[0])
            if type(target) is not StandIn or not target._writable or method != "__call__":
                raise Untraceable
            keywords["out"] = target
            tracing.note(ELEMENTWISE if ufunc.signature is None else INTO, ufunc, inputs, keywords, target)
            return target
        if method == "__call__":
            kind = CALL if ufunc.nout > 1 else ELEMENTWISE if ufunc.signature is None else INTO
            return tracing.note(kind, ufunc, inputs, keywords)
        if method == "reduce":
            return tracing.note(INTO, ufunc.reduce, inputs, keywords)
        raise Untraceable

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _STATIC:
            return func(*replaced(tuple(args), _real), **kwargs)
        if func not in _PURE or kwargs.get("out") is not None:
            raise Untraceable
        return self._tracing.note(CALL, func, tuple(args), dict(kwargs))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy or (dtype is not None and dtype != self._real.dtype):
            raise Untraceable
        return self._tracing.shown(self)

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            reduction = _REDUCTIONS.get(name)

            def method(*args: Any, **keywords: Any) -> Any:
                if "out" in keywords:
                    raise Untraceable
                if reduction is not None and not args and keywords.keys() <= {"axis", "keepdims"}:
                    return self._tracing.note(INTO, reduction.reduce, (self,), {"axis": None, **keywords})
                return self._tracing.note(CALL, getattr(np.ndarray, name), (self, *args), keywords)

            return method
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable

    @property
    def T(self) -> Any:  # noqa: N802 - numpy's name
        """The same, dimensions in reverse."""
        return self._tracing.note(CALL, np.ndarray.transpose, (self,), {})

    @property
    def real(self) -> Any:
        """The real part."""
        return self._tracing.note(CALL, np.real, (self,), {})

    shape: Any = property(operator.attrgetter("_real.shape"))
    strides: Any = property(operator.attrgetter("_real.strides"))
    dtype: Any = property(operator.attrgetter("_real.dtype"))
    ndim: Any = property(operator.attrgetter("_real.ndim"))
    size: Any = property(operator.attrgetter("_real.size"))
    itemsize: Any = property(operator.attrgetter("_real.itemsize"))
    nbytes: Any = property(operator.attrgetter("_real.nbytes"))

    @property
    def flags(self) -> Any:
        """Those of the array; whoever sets one is not taken apart."""
        return _Flags(self._real.flags)

    def __len__(self) -> int:
        return len(self._real)

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self))])

    def __getitem__(self, key: Any) -> Any:
        if any(getattr(leaf, "dtype", None) == np.bool_ or type(leaf) is bool for leaf in _leaves(key)):
            raise Untraceable  # how many are True, only values tell
        if any(type(self._tracing.known(leaf)) is StandIn for leaf in _leaves(key)):
            raise Untraceable  # an index out of bounds is an error of the run
        return self._tracing.note(CALL, operator.getitem, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self._writable or any(type(self._tracing.known(leaf)) is StandIn for leaf in _leaves(key)):
            raise Untraceable
        self._tracing.note(CALL, operator.setitem, (self, key, value), {}, self)

    def _refuse(self, *_: Any) -> Any:
        raise Untraceable

    __bool__ = __int__ = __float__ = __index__ = __complex__ = item = tolist = _refuse
    __hash__ = None  # type: ignore[assignment]


Taken = tuple[list[Noted], list[StandIn], Any]
"""The noted calls, the stand-ins of the arrays that went in, in order, and the result with stand-ins in it."""


def take_apart(
    fn: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any], expected: Any, written: Array | None = None
) -> Taken | None:
    """What ``fn(*args, **keywords)`` calls, or None if it has to stay whole.

    Args:
        fn: the code.
        args: what it was given, arrays in nested tuples among it.
        keywords: likewise.
        expected: what it gave; where ``written`` is given, the array as it became.
        written: a copy of the first argument as it was, which ``fn`` writes to.
    """
    leaves = _leaves((args, dict(keywords)))
    arrays = [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]
    if any(a.dtype.kind not in "fbiu" for a in arrays):
        return None
    if any(not isinstance(leaf, _PLAIN) for leaf in leaves):
        return None  # who knows what it holds
    fn = inspect.unwrap(fn)  # of what shares it out among threads, say; the result is compared in any case
    tracing = Tracing()
    try:
        return _taken(tracing, fn, args, keywords, arrays, expected, written)
    finally:
        tracing.forget()


def _taken(
    tracing: Tracing,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: Mapping[str, Any],
    arrays: list[Array],
    expected: Any,
    written: Array | None,
) -> Taken | None:
    attempt = _attempt(tracing, fn, args, keywords, written)
    if attempt is None:
        return None
    stand_ins, result = attempt
    result = replaced(result, tracing.known)
    if not _same(replaced(written if written is not None else result, _real), expected):
        return None
    for leaf in _leaves(result):
        if type(leaf) is not StandIn and isinstance(leaf, (np.ndarray, np.generic)):
            if leaf.nbytes > LARGEST_CONSTANT:
                return None
            tracing.doubtful = True
    if tracing.doubtful and not _holds_elsewhere(fn, args, keywords, arrays, tracing, stand_ins, result, written):
        return None
    return tracing.noted, stand_ins, result


def _attempt(
    tracing: Tracing, fn: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any], written: Array | None
) -> tuple[list[StandIn], Any] | None:
    stand_ins: list[StandIn] = []
    by_id: dict[int, StandIn] = {}

    def stand(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        array: Any = leaf
        found = by_id.get(id(array))
        if found is None:
            found = by_id[id(array)] = tracing.stand_in(array, writable=array is written)
            stand_ins.append(found)
        return found

    given, named = replaced(args, stand), replaced(dict(keywords), stand)
    try:
        return stand_ins, fn(*given, **named)
    except Exception:  # noqa: BLE001 - whatever the code makes of a stand-in, it stays whole then
        return None


def _same(a: Any, b: Any) -> bool:
    """Whether two results are the same to the bit, and laid out alike."""
    if isinstance(b, (tuple, list)):
        several: Any = b
        return isinstance(a, (tuple, list)) and len(a) == len(several) and all(_same(x, y) for x, y in zip(a, several, strict=True))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(b, (np.ndarray, np.generic)):
        if not isinstance(a, (np.ndarray, np.generic)):
            return False
        x, y = np.asarray(a), np.asarray(b)
        return x.shape == y.shape and x.dtype == y.dtype and x.strides == y.strides and same_bits(x, y)
    return a is b or (type(a) is type(b) and a == b)


def same_bits(x: Array, y: Array) -> bool:
    """Whether two arrays of one shape and type hold the same bits, whatever kind of NaN."""
    return bool(
        np.array_equal(x, y, equal_nan=x.dtype.kind in "fc") and np.array_equal(np.signbit(x), np.signbit(y))
        if x.dtype.kind == "f"
        else np.array_equal(x, y)
    )


def _holds_elsewhere(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: Mapping[str, Any],
    arrays: list[Array],
    tracing: Tracing,
    stand_ins: list[StandIn],
    result: Any,
    written: Array | None,
) -> bool:
    """Whether what was noted gives what the code gives for other values as well, none of them special."""
    if written is not None or any(a.size > _LARGEST_CHECK or a.dtype.kind != "f" for a in arrays):
        return False
    random = np.random.default_rng(0)
    for low, high in _ELSEWHERE:
        others: dict[int, Array] = {}
        for a in arrays:  # the same layout, so that the same is computed in the same order
            other = others[id(a)] = np.empty_like(a)
            if other.strides != a.strides:
                return False
            other[...] = random.uniform(low, high, a.shape)
        if not _gives_the_same(fn, args, keywords, others, tracing, stand_ins, result):
            return False
    return True


def _gives_the_same(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: Mapping[str, Any],
    others: Mapping[int, Array],
    tracing: Tracing,
    stand_ins: list[StandIn],
    result: Any,
) -> bool:
    def exchanged(leaf: Any) -> Any:
        return others.get(id(leaf), leaf)

    try:
        expected = fn(*replaced(args, exchanged), **replaced(dict(keywords), exchanged))
        found: dict[int, Any] = {id(s): others[id(s._real)] for s in stand_ins}

        def now(leaf: Any) -> Any:
            return found[id(leaf)] if type(leaf) is StandIn else leaf

        for noted in tracing.noted:
            value = noted.fn(*replaced(noted.args, now), **replaced(noted.keywords, now))
            for path, out, _ in noted.outs:
                part = value
                for at in path:
                    part = part[at]
                found[id(out)] = np.asarray(part)
        made = replaced(result, now)
    except Exception:  # noqa: BLE001 - other values may be outside of what the code can do
        return False
    if any(isinstance(x, (np.ndarray, np.generic)) and not np.all(np.isfinite(x)) for x in _leaves(expected)):
        return False  # everything would look the same
    return _same(made, expected)
