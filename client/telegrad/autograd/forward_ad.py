"""Forward-mode differentiation with ``torch.autograd.forward_ad``'s names: tensors that carry a tangent through every op.

with forward_ad.dual_level():
    x = forward_ad.make_dual(primal, tangent)
    value, jvp = forward_ad.unpack_dual(f(x))
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import NamedTuple, ParamSpec, TypeVar

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, AutogradError
from telegrad.contract.modes import ModeManager
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms import dual
from telegrad.contract.transforms.dual import is_fwd_grad_enabled
from telegrad.contract.transforms.wrapper import entered

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "is_fwd_grad_enabled",
    "make_dual",
    "set_fwd_grad_enabled",
    "unpack_dual",
]


class UnpackedDualTensor(NamedTuple):
    """What ``unpack_dual`` gives.

    Attributes:
        primal: the tensor.
        tangent: how it changes along the direction that was given to ``make_dual``; None for a tensor that does not depend on it.
    """

    primal: Tensor
    tangent: Tensor | None


class _Entered(NamedTuple):
    level: dual.ForwardLevel
    stack: contextlib.ExitStack


_entered: ContextVar[_Entered | None] = ContextVar("telegrad_dual_level", default=None)


def enter_dual_level() -> int:
    """Begin a level, and give its number, which is 0: levels of this kind do not nest, in PyTorch neither.

    Raises AutogradError where one runs already; ``telegrad.func.jvp`` nests.
    """
    if _entered.get() is not None:
        raise AutogradError("Nested forward mode AD is not supported at the moment")
    level = dual.ForwardLevel(functional=False)
    stack = contextlib.ExitStack()
    stack.enter_context(entered(level))
    _entered.set(_Entered(level, stack))
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level. Its tensors lose their tangents and are from then on what their primals are.

    Args:
        level: the number that ``enter_dual_level`` gave; the running one unless given.

    Raises AutogradError where none runs, and for another number.
    """
    running = _entered.get()
    if running is None:
        raise AutogradError("Trying to exit a forward AD level but no level exists: enter one with enter_dual_level()")
    if level is not None and level != 0:
        raise AutogradError("Trying to exit a forward AD level that was not the last one that was created. This is not supported.")
    _entered.set(None)
    running.stack.close()


def _running(level: int | None, function: str) -> dual.ForwardLevel | None:
    """The running level, if any; refuses a number that names none."""
    if level is not None and level not in (0, -1):
        raise AutogradError(f"Invalid level given to {function}: {level}; the only level there can be is 0")
    found = _entered.get()
    return None if found is None or level == -1 else found.level


def _require_tensor(x: object, what: str) -> None:
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"{what} must be Tensor, not {type(x).__name__}")


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with the values and history of ``tensor``, and with a tangent.

    What follows from it carries tangents: its Jacobian times ``tangent``. Both share memory with the arguments.

    Args:
        tensor: the point, of a floating or complex type.
        tangent: the direction, of the same shape; may require grad itself.
        level: the number that ``enter_dual_level`` gave; the running one unless given.

    Raises:
        AutogradError: no level runs, or the tensor has a tangent already.
        ArgumentValueError: a type without derivatives.
        ShapeError: another shape.
    """
    running = _running(level, "make_dual")
    if running is None:
        raise AutogradError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for x, what in ((tensor, "primal"), (tangent, "tangent")):
        _require_tensor(x, f"make_dual(): the {what}")
        if not x.dtype.is_differentiable:
            raise ArgumentValueError(f"Expected {what} to be floating point or complex, but got: {x.dtype}")
    return dual.make_dual(running, tensor, tangent)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor without its tangent, and the tangent; None for a tensor that has none, and where no level runs.

    Raises AutogradError for a number that names no level.
    """
    running = _running(level, "unpack_dual")
    _require_tensor(tensor, "unpack_dual(): argument 'dual' (position 1)")
    if isinstance(tensor, dual.Dual):
        own = tensor.level
        if own is running and is_fwd_grad_enabled():
            return UnpackedDualTensor(tensor.primal, tensor.tangent)
        if own is running or (own.over and not own.functional):
            return UnpackedDualTensor(tensor.primal, None)
    return UnpackedDualTensor(tensor, None)


class dual_level(ModeManager):  # noqa: N801 - PyTorch's name
    """A level as a context manager or decorator: ``with forward_ad.dual_level():`` or ``@forward_ad.dual_level()``."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        exit_dual_level()

    def _again(self) -> dual_level:
        return dual_level()


class set_fwd_grad_enabled(ModeManager):  # noqa: N801 - PyTorch's name, there with an underscore
    """Set at once whether ops carry tangents; as a context manager, restore what was before at the end.

    Switched off, ops on duals give results without tangents.
    """

    def __init__(self, mode: bool) -> None:
        self._mode = bool(mode)
        self._token: Token[bool] | None = dual.set_forward_mode(self._mode)

    def __enter__(self) -> None:
        if self._token is None:
            self._token = dual.set_forward_mode(self._mode)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._token is not None:
            dual.reset_forward_mode(self._token)
            self._token = None

    def _again(self) -> set_fwd_grad_enabled:
        return set_fwd_grad_enabled(self._mode)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``function``: the mode holds inside of it only."""
        if self._token is not None:
            dual.reset_forward_mode(self._token)
            self._token = None
        return super().__call__(function)


_set_fwd_grad_enabled = set_fwd_grad_enabled
_is_fwd_grad_enabled = is_fwd_grad_enabled
