"""Einstein summation: reading equations, and the order of contractions. Knows shapes only; the rule and the kernel share it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from telegrad.contract.ops import Shape

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FIRST_HIDDEN = 0x100
"""Dimensions that an ellipsis stands for get the characters from here on, counted from the last dimension."""


class Parsed(NamedTuple):
    """An equation read for given shapes: one character a dimension, ellipses spelled out.

    Attributes:
        inputs: the labels of each operand; a repeated label takes the diagonal.
        output: the labels of the result.
        shape: the result's shape.
    """

    inputs: tuple[str, ...]
    output: str
    shape: Shape


class Step(NamedTuple):
    """One contraction of two operands into one, which is put last.

    Attributes:
        left, right: positions in the list of operands that are left.
        labels: what the result keeps.
    """

    left: int
    right: int
    labels: str


class Path(NamedTuple):
    """The order of contractions and its cost: arithmetic operations, and elements of all intermediate results."""

    steps: tuple[Step, ...]
    flops: int
    elements: int


def spell(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Equation and operands from PyTorch's second spelling: operand, sublist, operand, sublist, ..., optional output sublist."""
    sublists = list(operands[1::2])
    tensors = list(operands[0::2])
    output = None
    if len(tensors) > len(sublists):
        output = tensors.pop()
    text = ",".join(_sublist(s) for s in sublists)
    return (text if output is None else f"{text}->{_sublist(output)}"), tensors


def _sublist(entries: Any) -> str:
    if not isinstance(entries, (list, tuple)):
        raise ArgumentTypeError(f"einsum(): expected a list of subscripts after each operand, got {type(entries).__name__}")
    out: list[str] = []
    for entry in cast("list[Any]", entries):
        if entry is Ellipsis:
            out.append("...")
        elif type(entry) is int and 0 <= entry < len(LETTERS):
            out.append(LETTERS[entry])
        else:
            raise ArgumentValueError(f"einsum(): subscripts in a list must be '...' or integers in [0, {len(LETTERS)})")
    return "".join(out)


@functools.lru_cache(maxsize=1024)
def parse(equation: str, shapes: tuple[Shape, ...]) -> Parsed:
    """The equation for these shapes. Raises ShapeError with PyTorch's words for what it does not allow."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not shapes:
        raise ArgumentValueError("einsum(): must provide at least one operand")
    if len(terms) != len(shapes):
        few = "more" if len(terms) < len(shapes) else "fewer"
        raise ShapeError(
            f"einsum(): {few} operands were provided than specified in the equation: {len(shapes)} operands, {len(terms)} terms"
        )
    inputs: list[str] = []
    hidden = 0
    sizes: dict[str, int] = {}
    for position, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        labels, count = _operand_labels(term, position, len(shape))
        hidden = max(hidden, count)
        if len(set(labels)) != len(labels):
            _check_diagonals(labels, shape, position)
        for label, size in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            if size not in (1, known) and known != 1:
                name = label if label in LETTERS else "..."
                raise ShapeError(
                    f"einsum(): subscript {name} has size {size} for operand {position} which does not broadcast with "
                    "previously seen size "
                    f"{known}"
                )
            sizes[label] = max(known, size) if 0 not in (known, size) else 0
        inputs.append(labels)
    output = _explicit_output(right, hidden, sizes) if arrow else _implicit_output(inputs, hidden)
    return Parsed(tuple(inputs), output, tuple(sizes[label] for label in output))


def _hidden(count: int) -> str:
    """The labels of an ellipsis of ``count`` dimensions, aligned at the last."""
    return "".join(chr(FIRST_HIDDEN + i) for i in reversed(range(count)))


def _check_letters(text: str, what: str) -> None:
    for character in text:
        if character not in LETTERS:
            raise ShapeError(f"einsum(): invalid subscript given in the {what}: subscripts must be in [a-zA-Z] or one '...'")


def _operand_labels(term: str, position: int, ndim: int) -> tuple[str, int]:
    before, dots, after = term.partition("...")
    _check_letters(before + after, f"equation for operand {position}")
    named = len(before) + len(after)
    if named > ndim or (named < ndim and not dots):
        what = "and no ellipsis was given" if not dots else ""
        raise ShapeError(
            f"einsum(): the number of subscripts in the equation ({named}) "
            f"{'does not match' if not dots else 'is more than'} the number "
            f"of dimensions ({ndim}) for operand {position} {what}".rstrip()
        )
    return before + _hidden(ndim - named) + after, ndim - named


def _check_diagonals(labels: str, shape: Shape, position: int) -> None:
    seen: dict[str, int] = {}
    for label, size in zip(labels, shape, strict=True):
        if seen.setdefault(label, size) != size:
            raise ShapeError(
                f"einsum(): subscript {label} is repeated for operand {position} but the sizes don't match, {size} != {seen[label]}"
            )


def _explicit_output(text: str, hidden: int, sizes: dict[str, int]) -> str:
    before, dots, after = text.partition("...")
    _check_letters(before + after, "output")
    for i, label in enumerate(before + after):
        if label in (before + after)[:i]:
            raise ShapeError(f"einsum(): output subscript {label} appears more than once in the output")
        if label not in sizes:
            raise ShapeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
    return before + (_hidden(hidden) if dots else "") + after


def _implicit_output(inputs: Sequence[str], hidden: int) -> str:
    """The ellipsis, then the labels that appear exactly once, in alphabetical order, capitals first."""
    together = "".join(inputs)
    return _hidden(hidden) + "".join(label for label in LETTERS if together.count(label) == 1)


@functools.lru_cache(maxsize=1024)
def plan(inputs: tuple[str, ...], output: str, sizes: tuple[tuple[str, int], ...]) -> Path:
    """The order of contractions: always the pair whose result grows memory least, as numpy's greedy path does.

    Args:
        inputs: labels of the operands, none repeated within one.
        output: labels of the result.
        sizes: size of each label.
    """
    size = dict(sizes)

    def count(labels: str) -> int:
        return math.prod(size[label] for label in labels)

    left = list(inputs)
    steps: list[Step] = []
    flops = sum(count(labels) for labels in left)
    elements = 0
    while len(left) > 1:
        best: tuple[tuple[int, int], int, int, str] | None = None
        for i in range(len(left)):
            for j in range(i + 1, len(left)):
                needed = set(output).union(*(left[k] for k in range(len(left)) if k not in (i, j)))
                union = left[i] + "".join(label for label in left[j] if label not in left[i])
                kept = "".join(label for label in union if label in needed)
                cost = (count(kept) - count(left[i]) - count(left[j]), count(union))
                if best is None or cost < best[0]:
                    best = (cost, i, j, kept)
        if best is None:
            break
        (_, work), i, j, kept = best
        steps.append(Step(i, j, kept))
        flops += 2 * work
        elements += count(kept)
        del left[j], left[i]
        left.append(kept)
    return Path(tuple(steps), flops, elements)
