"""Windows that signals are multiplied with before a Fourier transform: the methods behind ``telegrad.signal.windows``.

Formulas: F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", Proceedings of the
IEEE 66 (1978), 51-83; Kaiser's window with its shape ``beta``; Nuttall's with his minimum four terms.
"""

# The windows of `signal.windows` have no public method: their names are found in ``telegrad.signal.windows``.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from telegrad.contract import dtypes
from telegrad.contract.creation_rules import chosen_type
from telegrad.contract.dtypes import DType, DTypeLike, as_dtype
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Spec, check_bytes, op
from telegrad.contract.shapes import integer
from telegrad.contract.tensor.base import TensorBase

Made = TypeVar("Made")

WINDOWS: Final = "signal.windows"
NO_INPUT: Final = "it has no tensor input"


def _window(name: str, terms: int = 1) -> Rule:
    """Rule of windows: ``M`` values in float32 or float64."""

    def rule(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
        dtype = chosen_type(p)
        if p["M"] < 0:
            raise ArgumentValueError(f"{name} requires non-negative window length, got M={p['M']}")
        if dtype not in (dtypes.float32, dtypes.float64):
            raise ArgumentValueError(f"{name} expects float32 or float64 dtypes, got: {dtype.name}")
        for positive in ("std", "tau"):
            if not p.get(positive, 1.0) > 0:
                word = {"std": "Standard deviation", "tau": "Tau"}[positive]
                raise ArgumentValueError(f"{word} must be positive, got: {p[positive]} instead.")
        if not p.get("beta", 0.0) >= 0:
            raise ArgumentValueError(f"beta must be non-negative, got: {p['beta']} instead.")
        if p["sym"] and p.get("center") is not None:
            raise ArgumentValueError("Center must be None for symmetric windows")
        if not p.get("a", (1.0,)):
            raise ArgumentValueError("Coefficients cannot be empty")
        made = Spec((p["M"],), dtype)
        check_bytes(made.shape, dtypes.float64)
        return Outcome((made,), 20 * terms * len(p.get("a", (1.0,))) * made.size, None, 24 * made.size)

    return rule


def _real(value: Any, name: str, argument: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{name}(): argument '{argument}' must be float, not {type(value).__name__}")
    return float(value)


def _flag(value: Any, name: str, argument: str) -> bool:
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"{name}(): argument '{argument}' must be bool, not {type(value).__name__}")
    return value


def _make(home: Any, name: str, M: Any, sym: Any, dtype: DTypeLike | None, requires_grad: bool, **shape: Any) -> Any:
    chosen = None if dtype is None else as_dtype(dtype)
    made = home._apply(name, M=integer(M, "M"), sym=_flag(sym, name, "sym"), dtype=chosen, **shape)
    if requires_grad:
        made.requires_grad = requires_grad
    return made


class WindowOps(TensorBase, Generic[Made]):
    """Windows as methods of a session.

    With ``sym`` (the default) a window is its own mirror image, for the design of filters; without, one period of it, for spectra.
    One point is 1, none is empty. dtype: float32 unless given, or float64. Raises: ArgumentValueError for a negative ``M`` and for
    other types.
    """

    @op(_window("bartlett"), name="bartlett", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _bartlett(self: Any, M: int, *, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """A triangle from 0 to 1 to 0.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "bartlett", M, sym, dtype, requires_grad)

    @op(_window("blackman", 3), name="blackman", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _blackman(self: Any, M: int, *, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """``general_cosine`` with the coefficients 0.42, 0.5, 0.08.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "blackman", M, sym, dtype, requires_grad)

    @op(_window("cosine"), name="cosine", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _cosine(self: Any, M: int, *, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """Half a period of a sine: ``sin(pi * (n + 0.5) / M)``.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "cosine", M, sym, dtype, requires_grad)

    @op(_window("exponential"), name="exponential", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _exponential(
        self: Any,
        M: int,
        *,
        center: float | None = None,
        tau: float = 1.0,
        sym: bool = True,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``exp(-abs(n - center) / tau)``, around the middle unless ``center`` is given.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M``, other than float types,
        ``tau`` that is not positive, and a ``center`` of a symmetric window.
        """
        middle = None if center is None else _real(center, "exponential", "center")
        scale = _real(tau, "exponential", "tau")
        return _make(self, "exponential", M, sym, dtype, requires_grad, center=middle, tau=scale)

    @op(_window("gaussian"), name="gaussian", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _gaussian(
        self: Any,
        M: int,
        *,
        std: float = 1.0,
        sym: bool = True,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``exp(-(n / std)**2 / 2)``, n counted from the middle.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M``, other than float types, and
        ``std`` that is not positive.
        """
        return _make(self, "gaussian", M, sym, dtype, requires_grad, std=_real(std, "gaussian", "std"))

    @op(_window("general_cosine"), name="general_cosine", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _general_cosine(
        self: Any, M: int, *, a: Sequence[float], sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """The sum of ``(-1)**i * a[i] * cos(2 * pi * i * n / (M - 1))``, or over ``M`` for one period.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M``, other than float types, and an
        empty ``a``; ArgumentTypeError for ``a`` that is no list or tuple of numbers.
        """
        if not isinstance(a, (list, tuple)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError("Coefficients must be a list/tuple")
        weights = tuple([_real(value, "general_cosine", "a") for value in a])
        return _make(self, "general_cosine", M, sym, dtype, requires_grad, a=weights)

    @op(_window("general_hamming", 2), name="general_hamming", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _general_hamming(
        self: Any, M: int, *, alpha: float = 0.54, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """``general_cosine`` with the coefficients ``alpha`` and ``1 - alpha``.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "general_hamming", M, sym, dtype, requires_grad, alpha=_real(alpha, "general_hamming", "alpha"))

    @op(_window("hamming", 2), name="hamming", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _hamming(self: Any, M: int, *, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """``general_cosine`` with the coefficients 0.54 and 0.46.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "hamming", M, sym, dtype, requires_grad)

    @op(_window("hann", 2), name="hann", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _hann(self: Any, M: int, *, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """``general_cosine`` with the coefficients 0.5 and 0.5.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "hann", M, sym, dtype, requires_grad)

    @op(_window("kaiser", 10), name="kaiser", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _kaiser(
        self: Any, M: int, *, beta: float = 12.0, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """``i0(beta * sqrt(1 - x**2)) / i0(beta)``, x from -1 to 1.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M``, other than float types, and a
        negative ``beta``.
        """
        return _make(self, "kaiser", M, sym, dtype, requires_grad, beta=_real(beta, "kaiser", "beta"))

    @op(_window("nuttall", 4), name="nuttall", namespace=WINDOWS, differentiable=(), reason=NO_INPUT)
    def _nuttall(self: Any, M: int, *, sym: bool = True, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """``general_cosine`` with the coefficients 0.3635819, 0.4891775, 0.1365995, 0.0106411.

        Shapes: -> [M]. dtype: float32 unless given. Raises: ArgumentValueError for a negative ``M`` and other than float types.
        """
        return _make(self, "nuttall", M, sym, dtype, requires_grad)

    # The older functions, which give one period unless asked for the other --------------------------------------------------------

    def bartlett_window(
        self: Any, window_length: int, periodic: bool = True, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """``signal.windows.bartlett``, one period unless ``periodic`` is False. Raises: ShapeError for a negative length."""
        return _old(self, "bartlett", window_length, periodic, dtype, requires_grad)

    def blackman_window(
        self: Any, window_length: int, periodic: bool = True, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """``signal.windows.blackman``, one period unless ``periodic`` is False. Raises: ShapeError for a negative length."""
        return _old(self, "blackman", window_length, periodic, dtype, requires_grad)

    def hamming_window(
        self: Any,
        window_length: int,
        periodic: bool = True,
        alpha: float = 0.54,
        beta: float = 0.46,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``alpha - beta * cos``, one period unless ``periodic`` is False. Raises: ShapeError for a negative length."""
        weights = (_real(alpha, "hamming_window", "alpha"), _real(beta, "hamming_window", "beta"))
        return _old(self, "general_cosine", window_length, periodic, dtype, requires_grad, name="hamming", a=weights)

    def hann_window(
        self: Any, window_length: int, periodic: bool = True, *, dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Made:
        """``signal.windows.hann``, one period unless ``periodic`` is False. Raises: ShapeError for a negative length."""
        return _old(self, "hann", window_length, periodic, dtype, requires_grad)

    def kaiser_window(
        self: Any,
        window_length: int,
        periodic: bool = True,
        beta: float = 12.0,
        *,
        dtype: DTypeLike | None = None,
        requires_grad: bool = False,
    ) -> Made:
        """``signal.windows.kaiser``, one period unless ``periodic`` is False. Raises: ShapeError for a negative length."""
        shape = abs(_real(beta, "kaiser_window", "beta"))  # i0 is even
        return _old(self, "kaiser", window_length, periodic, dtype, requires_grad, beta=shape)


def _old(
    home: Any,
    row: str,
    window_length: Any,
    periodic: Any,
    dtype: DTypeLike | None,
    requires_grad: bool,
    *,
    name: str = "",
    **shape: Any,
) -> Any:
    """A window by the older function's rules: float16 too, and errors that are RuntimeErrors."""
    full = f"{name or row}_window"
    length = integer(window_length, "window_length")
    wanted: DType = dtypes.DEFAULT_DTYPE if dtype is None else as_dtype(dtype)
    if length < 0:
        raise ShapeError(f"{full} requires non-negative window_length, got window_length={length}")
    if wanted.is_complex:
        raise UnsupportedDTypeError(f'"{full}" not implemented for {wanted.name}')
    if not wanted.is_floating_point:
        raise DTypeError(f"{full} expects floating point dtypes, got: {wanted.name}")
    computed = dtypes.float32 if wanted is dtypes.float16 else wanted
    made = _make(home, row, length, not _flag(periodic, full, "periodic"), computed, False, **shape)
    if wanted is not computed:
        made = made.to(wanted)
    if requires_grad:
        made.requires_grad = requires_grad
    return made
