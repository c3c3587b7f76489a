"""What commands work in: a scope of names, what came with the request, and the modes that they ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from telegrad.contract import modes
from telegrad.contract.scope import at_scope
from telegrad_service.compiler.recorder import Recorder
from telegrad_service.engine.tensor import Tensor

Names = MutableMapping[str, Tensor]

GRAD_SUFFIX: Final = ".grad"

_NO_SCOPE: Final = contextlib.nullcontext()


def within(scope: str | None) -> AbstractContextManager[None]:
    """The scope of a command."""
    return _NO_SCOPE if scope is None else at_scope(scope)


def inference(wanted: bool) -> AbstractContextManager[Any]:
    """Inference mode for a command that asks for it."""
    return modes.inference_mode() if wanted else _NO_SCOPE


@dataclass(slots=True)
class Context:
    """What one command works with: the names in scope, the arrays that came with the request, those that go out again, whether the
    request will write into none of them any more, so that these need be no copies, and the recording of a run.
    """

    names: Names
    buffers: Mapping[str, np.ndarray[Any, Any]]
    out: dict[str, np.ndarray[Any, Any]]
    settled: bool = False
    recorder: Recorder | None = None
