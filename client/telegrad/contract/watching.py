"""What looks at every node as it is recorded: anomaly mode and hooks on saved tensors. Off unless somebody asks, and free then.

Also who wrote the line that led here: warnings and tracebacks are about users' lines, not telegrad's.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar, Token
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, Self

from telegrad.contract.errors import ArgumentTypeError, AutogradError
from telegrad.contract.scope import active

_OURS: Final = ("telegrad", "telegrad_service", "")
"""Packages whose frames are not the user's; functions that telegrad writes out at run time have no package."""


def _users_frames() -> Iterator[FrameType]:
    """The frames of the stack outside telegrad, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _OURS:
            yield frame
        frame = frame.f_back


def users_stack() -> str:
    """The lines that led here, telegrad's own left out, as tracebacks show them."""
    frames = [(frame, frame.f_lineno) for frame in _users_frames()]
    return "".join(traceback.StackSummary.extract(iter(reversed(frames))).format())


_silent: ContextVar[bool] = ContextVar("telegrad_silent", default=False)


@contextlib.contextmanager
def without_warnings() -> Generator[None]:
    """Where no line of a user's is being run, nothing is there to warn of."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def warn_user(message: str) -> None:
    """Warn (UserWarning) at the innermost line outside telegrad."""
    if _silent.get():
        return
    level = 1
    frame: FrameType | None = sys._getframe(0)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS:
        frame = frame.f_back
        level += 1
    warnings.warn(message, UserWarning, stacklevel=level)


def warn_of_cycle() -> None:
    """Of a backward with ``create_graph``: the gradient's history leads to the leaf whose ``grad`` it is."""
    warn_user(
        "Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient which can "
        "cause a memory leak. We recommend using autograd.grad when creating the graph to avoid this. If you have to use this "
        "function, make sure to reset the .grad fields of your parameters to None after use to break the cycle and avoid the leak."
    )


def warn_of_no_grad() -> None:
    """Of reading ``grad`` where backward will never leave one."""
    warn_user(
        "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated "
        "during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() "
        "on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead."
    )


# Whether anybody looks -------------------------------------------------------------------------------------------------------

watchers = 0
"""How many ask for new nodes to be looked at, anywhere in the process; not to be changed from outside."""


def _watch(change: int) -> None:
    global watchers  # noqa: PLW0603 - a module's attribute is what recording can look at for next to nothing
    watchers += change
    if change > 0:
        active.append(None)
    else:
        active.pop()


@contextlib.contextmanager
def looking_at_nodes() -> Generator[None]:
    """Within, new nodes are looked at."""
    _watch(1)
    try:
        yield
    finally:
        _watch(-1)


# Anomaly mode ----------------------------------------------------------------------------------------------------------------


class _Anomaly:
    """The mode of the whole process, as in PyTorch."""

    enabled = False
    check_nan = True


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _Anomaly.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode, once on, looks for NaN in gradients."""
    return _Anomaly.check_nan


def _set_anomaly(mode: bool, check_nan: bool) -> None:
    if mode != _Anomaly.enabled:
        _watch(1 if mode else -1)
    _Anomaly.enabled, _Anomaly.check_nan = mode, check_nan


class set_detect_anomaly:  # noqa: N801 - PyTorch's name
    """Switch anomaly mode at once; as a context manager, restore at the end what was before.

    In anomaly mode every recorded op remembers the lines that led to it; a backward that fails warns with those of the op whose
    gradient it was computing, and a gradient with NaN in it fails.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (_Anomaly.enabled, _Anomaly.check_nan)
        _set_anomaly(bool(mode), bool(check_nan))

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        _set_anomaly(*self._before)


class detect_anomaly:  # noqa: N801 - PyTorch's name
    """Anomaly mode within, see ``set_detect_anomaly``. ``check_nan=False`` lets gradients be NaN. Warns that it costs time."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = bool(check_nan)
        self._before: list[tuple[bool, bool]] = []
        warn_user(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging."
        )

    def __enter__(self) -> None:
        self._before.append((_Anomaly.enabled, _Anomaly.check_nan))
        _set_anomaly(True, self._check_nan)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        _set_anomaly(*self._before.pop())


def warn_of_anomaly(name: str, stack: str | None) -> None:
    """Say which recorded call the backward was at when it failed."""
    if stack is None:
        warn_user(
            f"Error detected in {name}. No forward pass information available. Enable detect anomaly during forward pass for more "
            "information."
        )
    else:
        warn_user(f"Error detected in {name}. Traceback of forward call that caused the error:\n{stack}")


# Saved tensors ---------------------------------------------------------------------------------------------------------------


class Packing(NamedTuple):
    """The two functions of ``saved_tensors_hooks``."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


_packing: ContextVar[Packing | None] = ContextVar("telegrad_packing", default=None)
_disabled: ContextVar[str | None] = ContextVar("telegrad_packing_disabled", default=None)

current_packing: Callable[[], Packing | None] = _packing.get
"""The hooks on saved tensors of this thread and task, if any."""


def no_tensor(found: Any) -> ArgumentTypeError:
    """The error of an unpack hook that gives something else than a tensor."""
    return ArgumentTypeError(
        f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(found).__name__}"
    )


def packed_in_place() -> AutogradError:
    """The error of a pack hook that writes."""
    return AutogradError(
        "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot be modified by "
        "in-place operations as this can lead to unexpected side-effects; return a changed clone() instead."
    )


class saved_tensors_hooks:  # noqa: N801 - PyTorch's name
    """Within, what ops save for backward goes through ``pack_hook``, and through ``unpack_hook`` when backward needs it.

    Only the innermost pair counts. What is in the block of a checkpoint is not packed. On remote tensors, each op that records asks
    the server what it saved, which is one request, and the server keeps none of it: a hook gets handles, and may keep values
    here. Refused over remote tensors: ``create_graph=True`` within, and recording in an AsyncSession or a traced function.

    Args:
        pack_hook: gets each saved tensor, in ``no_grad``; what it returns is kept in place of it. It must not change its input.
        unpack_hook: gets that, and returns a tensor like the one that was saved.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook
        self._tokens: list[Token[Packing | None]] = []

    def __enter__(self) -> Self:
        message = _disabled.get()
        if message is not None:
            raise AutogradError(message)
        self._tokens.append(_packing.set(Packing(self.pack_hook, self.unpack_hook)))
        _watch(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        _watch(-1)
        _packing.reset(self._tokens.pop())


@contextlib.contextmanager
def without_packing() -> Generator[None]:
    """Within, what ops save is nobody's business, until somebody says so there."""
    token = _packing.set(None)
    try:
        yield
    finally:
        _packing.reset(token)


class disable_saved_tensors_hooks:  # noqa: N801 - PyTorch's name
    """Within, ``saved_tensors_hooks`` raises AutogradError with this message, and so does entering it where some are active."""

    def __init__(self, error_message: str) -> None:
        self._message = error_message
        self._tokens: list[Token[str | None]] = []

    def __enter__(self) -> None:
        if _packing.get() is not None:
            raise AutogradError(self._message)
        self._tokens.append(_disabled.set(self._message))

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        _disabled.reset(self._tokens.pop())
