"""Whose an array is: whether anybody but the caller could see it change."""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np

from telegrad_service.engine.table import Array


def may_steal(array: Any) -> bool:
    """Whether the caller's variable is the only reference to ``array``, whose memory is its own: nobody sees it change then.

    Also where it is all of an array that nobody else refers to, seen in another shape, as ``reshape`` gives it.
    """
    if type(array) is not np.ndarray or not array.flags.c_contiguous or sys.getrefcount(array) > _alone:
        return False
    base: Any = array.base
    if base is None:
        return array.flags.owndata
    return type(base) is np.ndarray and base.flags.owndata and base.size == array.size and sys.getrefcount(base) <= _viewed


def _count_alone() -> int:
    """What ``getrefcount`` says in ``may_steal`` of an array that only the caller's variable refers to; Pythons differ."""

    def count(array: Array) -> int:
        return sys.getrefcount(array)

    array = np.empty(1)
    return count(array)


def _count_viewed() -> int:
    """What ``getrefcount`` says there of the base that only the caller's array refers to."""

    def count(array: Array) -> int:
        base: Any = array.base
        return sys.getrefcount(base)

    array = np.empty(1).reshape(1, 1)
    return count(array)


_alone: Final = _count_alone()
_viewed: Final = _count_viewed()
