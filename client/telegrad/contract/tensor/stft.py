"""The short-time Fourier transform and its inverse."""

from __future__ import annotations

from typing import Any, Self

from telegrad.contract import notices
from telegrad.contract import stft_rules as rules
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.ops import op
from telegrad.contract.shapes import integer
from telegrad.contract.tensor.base import TensorBase


def _flag(value: Any, name: str, *, optional: bool = False) -> Any:
    if type(value) is not bool and not (optional and value is None):
        raise ArgumentTypeError(f"argument '{name}' must be bool, not {type(value).__name__}")
    return value


def _count(value: Any, name: str) -> int | None:
    return None if value is None else integer(value, name)


class STFTOps(TensorBase):
    """Spectra of a signal's frames, and the signal of such spectra."""

    __slots__ = ()

    @op(rules.stft)
    def stft(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Self | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        normalized: bool = False,
        onesided: bool | None = None,
        return_complex: bool | None = None,
        align_to_window: bool | None = None,
    ) -> Self:
        """Spectra of frames of ``n_fft`` elements, ``hop_length`` apart (``n_fft // 4`` unless given), each times ``window``.

        A window of ``win_length`` elements (``n_fft`` unless given; ones unless given) stands in the middle of a frame. ``center``
        pads the signal by ``n_fft // 2`` on both sides, after ``pad_mode``, so that frame t is centred at element t * hop_length;
        otherwise ``align_to_window`` lets the first window, not the first frame, begin at element 0. ``normalized`` divides by the
        root of ``n_fft``; ``onesided`` gives half a spectrum, as it does by default for real signals and windows;
        ``return_complex``, which real signals must give, says whether the result is complex or has real and imaginary part in a
        last dimension.

        Shapes: [..., k] -> [..., frequencies, frames], or [..., frequencies, frames, 2]; at most one dimension in front.
        Gradient: the adjoint of each step, both to the signal and to the window. Raises: ShapeError, DTypeError.
        """
        if window is None:
            notices.no_window("stft")
        return self._apply(
            "stft",
            self,
            window,
            n_fft=integer(n_fft, "n_fft"),
            hop_length=_count(hop_length, "hop_length"),
            win_length=_count(win_length, "win_length"),
            center=_flag(center, "center"),
            pad_mode=pad_mode,
            normalized=_flag(normalized, "normalized"),
            onesided=_flag(onesided, "onesided", optional=True),
            return_complex=_flag(return_complex, "return_complex", optional=True),
            align_to_window=_flag(align_to_window, "align_to_window", optional=True),
        )

    @op(rules.istft)
    def istft(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Self | None = None,
        center: bool = True,
        normalized: bool = False,
        onesided: bool | None = None,
        length: int | None = None,
        return_complex: bool = False,
    ) -> Self:
        """The signal whose frames have these spectra: ``stft`` undone, for the same arguments.

        Frames are transformed back, multiplied with the window, added up where they overlap, and divided by the sum of the squared
        windows. ``length`` cuts the result, or fills it up with zeros; ``return_complex`` is for full spectra of complex signals.

        Shapes: [..., frequencies, frames] -> [..., k]; at most one dimension in front. Gradient: the adjoint of each step, both to
        the spectra and to the window. Raises: ShapeError, DTypeError; NumericalError where the windows leave an element without
        weight.
        Source: Griffin and Lim (1984), Signal estimation from modified short-time Fourier transform.
        """
        if window is None:
            notices.no_window("istft")
        return self._apply(
            "istft",
            self,
            window,
            n_fft=integer(n_fft, "n_fft"),
            hop_length=_count(hop_length, "hop_length"),
            win_length=_count(win_length, "win_length"),
            center=_flag(center, "center"),
            normalized=_flag(normalized, "normalized"),
            onesided=_flag(onesided, "onesided", optional=True),
            length=_count(length, "length"),
            return_complex=_flag(return_complex, "return_complex"),
        )
