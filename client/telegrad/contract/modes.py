"""Whether ops record history: one flag per thread and per task, shared by every session in the process."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Generator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, ParamSpec, TypeVar, cast

from telegrad.contract.errors import ArgumentTypeError, AutogradError

P = ParamSpec("P")
R = TypeVar("R")

_grad_enabled: ContextVar[bool] = ContextVar("telegrad_grad_enabled", default=True)

is_grad_enabled: Callable[[], bool] = _grad_enabled.get
"""Whether ops record history now, in this thread and task."""

_inference: ContextVar[bool] = ContextVar("telegrad_inference", default=False)

inferring: Final[list[None]] = []
"""Has an item for every ``inference_mode`` that is entered, in whatever thread: while it is empty, nobody need ask for the mode."""

is_inference_mode_enabled: Callable[[], bool] = _inference.get
"""Whether ``inference_mode`` is on, in this thread and task."""

set_mode: Callable[[bool], Token[bool]] = _grad_enabled.set
"""Set the mode; give the token back to ``reset_mode``. For walks and sessions; users have the context managers."""

reset_mode: Callable[[Token[bool]], None] = _grad_enabled.reset
"""Restore what ``set_mode`` replaced."""


class ModeManager:
    """A context manager that is a decorator too: of functions, of coroutines, and of generators while their own code runs."""

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError

    def _again(self) -> ModeManager:
        """A manager like this one, for one call of a decorated function."""
        raise NotImplementedError

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``function``. Of a class only the making of instances is decorated, with a warning, as in PyTorch."""
        again = self._again
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate functions or "
                "methods. To preserve the current behavior of class decoration, you can directly decorate the `__init__` method "
                "and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                with again():
                    return await function(*args, **kwargs)

            return cast(Callable[P, R], coroutine)
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: P.args, **kwargs: P.kwargs) -> Any:
                # The mode holds while the generator's own code runs and not while its consumer's does.
                inner = function(*args, **kwargs)
                send: Any = None
                raised: BaseException | None = None
                try:
                    while True:
                        with again():
                            item = inner.send(send) if raised is None else inner.throw(raised)
                        send, raised = None, None
                        try:
                            send = yield item
                        except GeneratorExit:
                            with again():
                                inner.close()
                            raise
                        except BaseException as error:  # noqa: BLE001 - handed to the generator, which decides
                            raised = error
                except StopIteration as stop:
                    return stop.value

            return cast(Callable[P, R], generator)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with again():
                return function(*args, **kwargs)

        return wrapper


class _GradMode(ModeManager):
    """Sets the mode and restores what was before, on exceptions too."""

    def __init__(self, mode: bool) -> None:
        self._mode = mode
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        # Inside inference mode nothing is recorded, whatever else is asked.
        self._tokens.append(_grad_enabled.set(self._mode and not (inferring and _inference.get())))

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        _grad_enabled.reset(self._tokens.pop())

    def _again(self) -> ModeManager:
        return _GradMode(self._mode)


class _WithoutArguments(_GradMode):
    """A mode that may decorate without parentheses, as in PyTorch: ``@telegrad.no_grad``."""

    _value: ClassVar[bool]

    if not TYPE_CHECKING:  # a __new__ that may return a function would hide the decorator's type from checkers

        def __new__(cls, function: Callable[P, R] | None = None, /) -> Any:
            return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(self._value)


class no_grad(_WithoutArguments):  # noqa: N801 - PyTorch's name
    """Ops inside record no history. Context manager and decorator: ``with telegrad.no_grad():`` or ``@telegrad.no_grad()``."""

    _value = False


class enable_grad(_WithoutArguments):  # noqa: N801 - PyTorch's name
    """Ops inside record history, also within ``no_grad``. Context manager and decorator."""

    _value = True


class inference_mode(_GradMode):  # noqa: N801 - PyTorch's name
    """``no_grad`` for code that will never differentiate what it computes. Context manager and decorator.

    What is made inside, but for views of other tensors, is an *inference tensor* for good (``x.is_inference()``): it counts no
    versions, cannot be saved for backward, and outside of the mode cannot be changed in place or made to require grad; ``clone()``
    gives an ordinary one. ``inference_mode(False)`` ends the mode inside.
    """

    if not TYPE_CHECKING:  # see _WithoutArguments

        def __new__(cls, mode: Any = True) -> Any:  # noqa: D102
            return cls()(mode) if callable(mode) else super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        if type(mode) is not bool:
            raise ArgumentTypeError(f"inference_mode(): mode must be bool, not {type(mode).__name__}")
        super().__init__(not mode)
        self._marks: list[Token[bool]] = []

    def __enter__(self) -> None:
        self._marks.append(_inference.set(not self._mode))
        inferring.append(None)
        super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, value, trace)
        inferring.pop()
        _inference.reset(self._marks.pop())

    def _again(self) -> ModeManager:
        return inference_mode(not self._mode)


@contextlib.contextmanager
def without_inference() -> Generator[None]:
    """Within, what is made is ordinary, recorded or not as before: for those who differentiate whatever the mode is."""
    if not is_inference_mode_enabled():
        yield
        return
    with inference_mode(False), no_grad():
        yield


class set_grad_enabled(_GradMode):  # noqa: N801 - PyTorch's name
    """Set the mode at once, as a plain call; as a context manager, restore it at the end."""

    def __init__(self, mode: bool) -> None:
        if type(mode) is not bool:
            raise ArgumentTypeError(f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}")
        super().__init__(mode)
        self._outer = _grad_enabled.set(mode)

    def __enter__(self) -> None:
        self._tokens.append(self._outer)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``function``."""
        # As a decorator it must act inside the function only, so the immediate setting is taken back.
        _grad_enabled.reset(self._outer)
        return super().__call__(function)


def refuse_gradient(function: str, argument: str, x: Any) -> None:
    """Refuse a tensor that requires grad where nothing would come back to it, while gradients are recorded, as PyTorch does."""
    if x is not None and getattr(x, "requires_grad", False) and is_grad_enabled():
        raise AutogradError(
            f"The function '{function}' is not differentiable with respect to argument '{argument}'. This input cannot have "
            "requires_grad True."
        )
