"""Operators and one-tensor methods of the engine's Tensor, written out for the calls that small programs are made of.

The tower's method stays the definition: it runs whenever a call is anything else than tensors of one real floating type, with
Python numbers. What is left out here are its steps that such a call does not need: a look-up by name, tuples of inputs, a loop over
them; and the node is made in place, field by field, for each set of inputs that can need gradients. Each op's text is compiled
when the op is first called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from telegrad.contract.modes import inferring, is_grad_enabled
from telegrad_service.engine import quiet
from telegrad_service.engine.graph import INFERENCE, mark_inference
from telegrad_service.engine.recording import SCOPE, guard_lines, saved_text
from telegrad_service.engine.table import CODE, ENTRIES, Array, Entry, Plan
from telegrad_service.engine.tensor import Tensor

OPERATORS: Final = {
    "__matmul__": "matmul",
    "__add__": "add",
    "__sub__": "sub",
    "__mul__": "mul",
    "__truediv__": "div",
}
"""Operators whose op is one ufunc of both sides."""

_DOUBLE: Final = np.dtype(np.float64)
_SINGLE: Final = np.dtype(np.float32)
_NUMBERS: Final = (int, float)

_SMALL_BYTES: Final = 2**16
"""No op shares less out among threads."""

_SCOPE: Final[dict[str, Any]] = SCOPE | {
    "Tensor": Tensor,
    "DOUBLE": _DOUBLE,
    "SINGLE": _SINGLE,
    "run": quiet.run,
    "is_grad_enabled": is_grad_enabled,
    "inferring": inferring,
    "mark_inference": mark_inference,
}

IN_PLACE: Final = {
    "add_": "add",
    "sub_": "sub",
    "mul_": "mul",
    "__iadd__": "add",
    "__isub__": "sub",
    "__imul__": "mul",
}
"""Methods that write one ufunc of both sides into the first: what optimisers are made of."""

_installed: Final[dict[str, list[tuple[str, Callable[..., Any], int]]]] = {}
"""By op: its methods that were replaced, each with the tower's own and its number of tensors."""


def install() -> None:
    """Give the engine's Tensor its specialised methods, once. The engine's tables must be complete."""
    if _installed:
        return
    for method, name in OPERATORS.items():
        _installed.setdefault(name, []).append((method, getattr(Tensor, method), 2))
    for method, name in IN_PLACE.items():
        setattr(Tensor, method, _in_place(ENTRIES[name], getattr(Tensor, method)))
    for entry in ENTRIES.values():
        op = entry.op
        if entry.ufunc is not None and len(op.inputs) == 1 and not op.parameters and len(op.outputs) == 1:
            method = op.function.__name__  # `neg` is `__neg__`; `special.i0e` is no method by that name
            _installed.setdefault(op.name, []).append((method, getattr(Tensor, method), 1))
    for name in _installed:
        rewrite(name)


def rewrite(name: str, put: Callable[[type[Tensor], str, Any], None] = setattr) -> None:
    """Have the methods of op ``name`` written when they are next called: for the first time, or because its formulas changed.

    ``put`` is what sets them.
    """
    for method, general, count in _installed.get(name, ()):
        put(Tensor, method, _written_when_called(ENTRIES[name], method, general, count))


def _written_when_called(entry: Entry, method: str, general: Callable[..., Any], count: int) -> Callable[..., Any]:
    @functools.wraps(general)
    def first(*inputs: Any) -> Any:
        made = _operator(entry, general) if count == 2 else _method(entry, general)
        made.__name__, made.__doc__ = general.__name__, general.__doc__
        if getattr(Tensor, method) is first:
            setattr(Tensor, method, made)
        return made(*inputs)

    return first


# The text of one op -------------------------------------------------------------------------------------------------------------


def _compiled(lines: list[str], scope: dict[str, Any]) -> Callable[..., Any]:
    # The text is made of this package's own templates, slot numbers and declared parameter names only.
    exec("\n".join(lines), scope)  # noqa: S102
    made: Callable[..., Any] = scope["method"]
    return made


def _result(space: str) -> list[str]:
    """Lines that make ``result`` of ``array``: what ``Tensor.__init__`` does."""
    return [
        f"{space}if array.__class__ is not array_type: array = asarray(array)",
        f"{space}result = new(Tensor)",
        f"{space}result.home = x0.home",
        f"{space}result.array = array",
        f"{space}result._grad = result.version = result.base = None",
        f"{space}result.output_index = result.generation = 0",
    ]


def _node(plan: Plan, name: str, space: str, *, numbers: bool) -> list[str]:
    """Lines that give ``result`` its node; inputs are ``x0`` and ``x1``, their arrays ``a0`` and ``a1``.

    With ``numbers``, the second is a Python number.
    """
    code = {**CODE, "input": "a{0}", "input_shape": "shape(a{0})", "input_dtype": "a{0}.dtype"}
    code |= {"output": "array", "output_shape": "array.shape", "output_dtype": "array.dtype", "parameter": "parameters[{0!r}]"}

    def tensor_at(position: int) -> bool:
        return not (numbers and position)

    lines, guards = guard_lines(plan, tensor_at)
    if plan.saved_outputs:
        lines.append("v = result.version = [0]")
        guards += "v, 0, "
    lines += [f"n{at} = x{at}.node if x{at}.base is None else x{at}.current_node()" for at in plan.positions]
    indexes = [f"x{at}.output_index" for at in plan.positions]
    fields = {
        "plan": name,
        "parameters": "parameters",
        "saved": saved_text(plan, code, tensor_at),
        "edges": "(" + "".join(f"n{at} or x{at}, " for at in plan.positions) + ")",
        "indexes": f"({', '.join(indexes)},) if {' or '.join(indexes)} else {(0,) * len(indexes)}",
        "shape": "array.shape",
        "dtype": "dtype",
        "others": "None",
        "guards": f"({guards})",
        "number": "sequence()",
        "retained": "None",
    }
    lines += [
        "node = result.node = new(Node)",
        "result.tracks = True",
        *(f"node.{field} = {text}" for field, text in fields.items()),
    ]
    inputs = "".join(f"x{at}, " for at in range(plan.count))
    lines += [f"if active: notice(node, x0.home, ({inputs}))", "return result"]
    return [space + line for line in lines]


def _flows(position: int) -> str:
    """Whether a gradient flows to an input: what ``requires_grad`` says, asked of views only."""
    x = f"x{position}"
    return f"{x}.tracks or ({x}.base is not None and {x}.requires_grad)"


def _leaf_end(space: str) -> list[str]:
    return [
        f"{space}result.node = None",
        f"{space}result.tracks = False",
        f"{space}if inferring: mark_inference(result)",
        f"{space}return result",
    ]


def _operator(entry: Entry, general: Callable[..., Any]) -> Callable[..., Any]:
    """The operator for a tensor and a tensor of the same type, or a Python number."""
    plans = {f"plan{mask}": entry.plan(mask, 2) for mask in (1, 2, 3)}
    scope = _SCOPE | plans | {"general": general, "entry": entry, "ufunc": entry.ufunc, "parameters": entry.op.defaults}
    lines = [
        "def method(x0, x1):",
        " a0 = x0.array",
        " dtype = a0.dtype",
        " if dtype is not DOUBLE and dtype is not SINGLE: return general(x0, x1)",
        " if x1.__class__ is Tensor:",
        "  a1 = x1.array",
        "  if a1.dtype is not dtype or x1.home is not x0.home: return general(x0, x1)",
        "  try: array = run(ufunc, a0, a1)",
        "  except (ValueError, OverflowError, RuntimeError): return general(x0, x1)",  # which says what is wrong
        *_result("  "),
        f"  if {_flows(0)}:",
        "   if is_grad_enabled():",
        f"    if {_flows(1)}:",
        *_node(entry.plan(3, 2), "plan3", "     ", numbers=False),
        *_node(entry.plan(1, 2), "plan1", "    ", numbers=False),
        f"  elif {_flows(1)}:",
        "   if is_grad_enabled():",
        *_node(entry.plan(2, 2), "plan2", "    ", numbers=False),
        *_leaf_end("  "),
    ]
    if entry.numbers[1]:
        lines += [
            " if x1.__class__ is float or x1.__class__ is int:",
            "  try: array = run(ufunc, a0, x1)",
            "  except (ValueError, OverflowError, RuntimeError): return general(x0, x1)",
            "  a1 = x1",
            *_result("  "),
            f"  if {_flows(0)}:",
            "   if is_grad_enabled():",
            *_node(entry.plan(1, 2), "plan1", "    ", numbers=True),
            *_leaf_end("  "),
        ]
    return _compiled([*lines, " return general(x0, x1)"], scope)


def _method(entry: Entry, general: Callable[..., Any]) -> Callable[..., Any]:
    """The method of one tensor."""
    scope = _SCOPE | {"general": general, "entry": entry, "ufunc": entry.ufunc, "parameters": entry.op.defaults}
    # What shares large arrays out among threads leaves small ones to what it is made of.
    plain = scope["plain"] = getattr(entry.ufunc, "__wrapped__", None)
    computed = "run(ufunc, a0)" if plain is None else f"run(plain if a0.nbytes < {_SMALL_BYTES} else ufunc, a0)"
    recorded: list[str] = []
    if entry.op.differentiable:
        scope["plan1"] = entry.plan(1, 1)
        recorded = [f" if {_flows(0)}:", "  if is_grad_enabled():", *_node(entry.plan(1, 1), "plan1", "   ", numbers=False)]
    lines = [
        "def method(x0):",
        " a0 = x0.array",
        " dtype = a0.dtype",
        " if dtype is not DOUBLE and dtype is not SINGLE: return general(x0)",
        f" try: array = {computed}",
        " except (ValueError, OverflowError, RuntimeError): return general(x0)",
        *_result(" "),
        *recorded,
        *_leaf_end(" "),
    ]
    return _compiled(lines, scope)


# In place -----------------------------------------------------------------------------------------------------------------------

_BLOCK: Final = 2**18
"""Numbers whose products are made at once, so that these are still in the cache when they are used: 210 instead of 360 µs for a
matrix of 1024 x 1024, and no temporary of its size.
"""


def _by_blocks(ufunc: Any, a: Array, b: Array, alpha: float) -> None:
    """``ufunc(a, b * alpha, out=a)`` of long vectors."""
    scaled = np.empty(_BLOCK, a.dtype)
    for start in range(0, a.size, _BLOCK):
        part = a[start : start + _BLOCK]
        product = scaled[: part.size]
        np.multiply(b[start : start + _BLOCK], alpha, out=product)
        ufunc(part, product, out=part)


def _in_place(entry: Entry, general: Callable[..., Any]) -> Callable[..., Any]:
    """For two tensors of one shape and real floating type, where nothing is recorded."""
    ufunc: Any = entry.ufunc
    scaled = "alpha" in entry.op.parameters and not general.__name__.startswith("__")
    enter, leave = quiet.enter, quiet.leave

    def write(self: Tensor, other: Any, alpha: float = 1) -> Tensor | None:
        a = self.array
        dtype = a.dtype
        if (
            (dtype is not _DOUBLE and dtype is not _SINGLE)
            or self.base is not None
            or other.__class__ is not Tensor
            or other.array.dtype is not dtype
            or other.array.shape != a.shape
            or other.home is not self.home
            or not a.flags.writeable
            or (self.version is not None and other.version is self.version)  # may overlap; or inference tensors
            or self.version is INFERENCE
            or ((self.tracks or other.tracks or other.base is not None) and is_grad_enabled())
            or alpha.__class__ not in _NUMBERS
        ):
            return None
        b = other.array
        token = enter()
        try:
            if alpha == 1:
                ufunc(a, b, out=a)
            elif a.size > _BLOCK and a.flags.c_contiguous and b.flags.c_contiguous and not np.may_share_memory(a, b):
                _by_blocks(ufunc, a.reshape(-1), b.reshape(-1), alpha)
            else:
                ufunc(a, b * alpha, out=a)
        finally:
            leave(token)
        self.was_written()
        return self

    def with_alpha(self: Tensor, other: Any, *, alpha: Any = 1) -> Any:
        written = write(self, other, alpha)
        return general(self, other, alpha=alpha) if written is None else written

    def plain(self: Tensor, other: Any) -> Any:
        written = write(self, other)
        return general(self, other) if written is None else written

    method = with_alpha if scaled else plain
    method.__name__, method.__doc__ = general.__name__, general.__doc__
    return method
