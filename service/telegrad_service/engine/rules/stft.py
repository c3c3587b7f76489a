"""Kernel and derivative of the short-time Fourier transform and its inverse.

Both are chains of a few steps (pad, cut into frames, weigh, transform; and back), written with ``F``: the same text computes them
on arrays, and their gradients on arrays and Tensors.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import NumericalError
from telegrad.contract.stft_rules import Frames, Span, extended, frames_of, half_given, margins, span_of
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.table import Array, joint_derivative, kernel

Ints = tuple[int, ...]

LEAST_WEIGHT = 1e-11
"""What PyTorch divides by at least."""


def _in_frame(window: Any, frames: Frames) -> Any:
    """The window with zeros around it, as long as a frame."""
    right = frames.points - frames.window - frames.left
    return F.pad(window, pad=(frames.left, right)) if right or frames.left else window


def _default_window(frames: Frames, like: Any) -> Any:
    """Ones; None where they would weigh nothing."""
    if frames.window == frames.points:
        return None
    if isinstance(like, np.ndarray):
        return np.ones(frames.window, like.real.dtype)
    return F.real(like.new_full((frames.window,), 1.0))


def _weights(window: Any, frames: Frames, like: Any) -> Any:
    """What each frame is multiplied with, or None for nothing."""
    window = _default_window(frames, like) if window is None else window
    return None if window is None else _in_frame(window, frames)


def _weighed(cut: Any, weights: Any) -> Any:
    return cut if weights is None else cut * weights


def _out_of_frame(g: Any, frames: Frames) -> Any:
    """The gradient of a window from that of the weights of one frame or many."""
    leading = tuple(range(len(g.shape) - 1))
    together = F.sum(g, dim=leading) if leading else g
    return F.narrow(together, dim=0, start=frames.left, length=frames.window)


# Forward ---------------------------------------------------------------------------------------------------------------------


def _cut(x: Any, frames: Frames, p: dict[str, Any]) -> Any:
    """The signal's frames: [..., frames, points]."""
    before, after, mode = margins(frames, p)
    if before or after:
        shape = tuple(x.shape)
        x = F.pad(F.reshape(x, shape=extended(shape)), pad=(before, after), mode=mode)
        x = F.reshape(x, shape=(*shape[:-1], x.shape[-1]))
    return F.unfold(x, dimension=-1, size=frames.points, step=frames.hop)


def _cut_back(g: Any, shape: Ints, frames: Frames, p: dict[str, Any]) -> Any:
    """The gradient of the signal from that of its frames."""
    before, after, mode = margins(frames, p)
    length = shape[-1] + before + after
    g = F._unfold_gradient(g, shape=(*shape[:-1], length), dimension=len(shape) - 1, step=frames.hop)
    if not (before or after):
        return g
    if mode == "constant":
        return F.narrow(g, dim=-1, start=before, length=shape[-1])
    wide = F.reshape(g, shape=extended((*shape[:-1], length)))
    return F.reshape(F._pad_gradient(wide, shape=extended(shape), pad=(before, after), mode=mode), shape=shape)


def _along(x: Any) -> Ints:
    """The last dimension, as transforms take it."""
    return (len(x.shape) - 1,)


def _settings(**parameters: Any) -> tuple[Frames, dict[str, Any]]:
    return frames_of(parameters), parameters


@kernel("stft")
def _stft(self: Array, window: Array | None, **parameters: Any) -> Any:
    frames, p = _settings(**parameters)
    cut = _weighed(_cut(self, frames, p), _weights(window, frames, self))
    half = not is_complex(cut) if p["onesided"] is None else p["onesided"]
    where: dict[str, Any] = {"sizes": (frames.points,), "dims": _along(cut), "norm": frames.norm}
    spectra = F._fft_r2c(cut, **where) if half else F._fft_c2c(cut, **where, forward=True)
    result = F.transpose(spectra, dim0=-1, dim1=-2)
    return F.view_as_real(result) if p["return_complex"] is False else np.ascontiguousarray(result)


@joint_derivative("stft", "self", "window")
def _stft_backward(
    g: Any,
    self: Any,
    window: Any,
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    center: bool,
    pad_mode: str,
    normalized: bool,
    onesided: bool | None,
    return_complex: bool | None,
    align_to_window: bool | None,
    needs: tuple[bool, ...],
) -> tuple[Any, Any]:
    frames, p = _settings(
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        center=center,
        pad_mode=pad_mode,
        normalized=normalized,
        align_to_window=align_to_window,
    )
    g = F.transpose(F._as_complex(g) if return_complex is False else g, dim0=-1, dim1=-2)
    if window is None:
        half = not is_complex(self)
    else:
        half = not (is_complex(self) or is_complex(window))
    half = half if onesided is None else onesided
    where: dict[str, Any] = {"sizes": (frames.points,), "dims": _along(g), "norm": frames.norm or "forward"}
    if half:
        once = F._fft_inner(g, dim=len(g.shape) - 1, points=frames.points, factor=0.5)
        g = F._fft_c2r(once, **where)
    else:
        g = F._fft_c2c(g, **where, forward=False)
    of_signal: Any = None
    of_window: Any = None
    if needs[0]:
        weights = _weights(window, frames, self)
        weighed = g if weights is None else g * F.conjugate(weights)
        of_signal = _cut_back(weighed, tuple(self.shape), frames, p)
    if needs[1]:
        of_window = _out_of_frame(g * F.conjugate(_cut(self, frames, p)), frames)
    return of_signal, of_window


# Back ------------------------------------------------------------------------------------------------------------------------


def _frames_back(x: Any, frames: Frames, half: bool, return_complex: bool) -> Any:
    """Spectra to frames: [..., frames, points]."""
    x = F.transpose(x, dim0=-1, dim1=-2)
    where: dict[str, Any] = {"sizes": (frames.points,), "dims": _along(x), "norm": frames.norm}
    if return_complex:
        return F._fft_c2c(x, **where, forward=False)
    # Of a full spectrum, the real signal takes the first half.
    found = x if half else F.narrow(x, dim=-1, start=0, length=frames.points // 2 + 1)
    return F._fft_c2r(found, **where)


def _added(cut: Any, frames: Frames, full: int) -> Any:
    """Frames added up where they overlap."""
    shape = (*cut.shape[:-2], full)
    return F._unfold_gradient(cut, shape=shape, dimension=len(shape) - 1, step=frames.hop)


def _envelope(weights: Any, frames: Frames, span: Span, count: int, like: Any) -> Any:
    """The sum of the squared windows where the result is."""
    if weights is None:
        if isinstance(like, np.ndarray):
            weights = np.ones(frames.points, like.real.dtype)
        else:
            weights = F.real(like.new_full((frames.points,), 1.0))
    squares = F.expand(weights * weights, size=(count, frames.points))
    return F.narrow(_added(squares, frames, span.full), dim=0, start=span.start, length=span.stop - span.start)


@kernel("istft")
def _istft(self: Array, window: Array | None, **parameters: Any) -> Any:
    frames, p = _settings(**parameters)
    span = span_of(self.shape, frames, p)
    weights = _weights(window, frames, self)
    cut = _frames_back(self, frames, half_given(self.shape, p), p["return_complex"])
    signal = _added(_weighed(cut, weights), frames, span.full)[..., span.start : span.stop]
    envelope = _envelope(weights, frames, span, self.shape[-1], self)
    if np.abs(envelope).min() < LEAST_WEIGHT:
        raise NumericalError(
            f"istft(): window overlap add min: the squared windows add up to less than {LEAST_WEIGHT} somewhere; take a smaller "
            "hop_length, center=True, or a window without zeros at its ends"
        )
    result = np.zeros((*signal.shape[:-1], span.length), np.result_type(signal.dtype, envelope.dtype))
    result[..., : span.stop - span.start] = signal / envelope
    return result


@joint_derivative("istft", "self", "window")
def _istft_backward(
    g: Any,
    self: Any,
    window: Any,
    result: Any,
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    center: bool,
    normalized: bool,
    onesided: bool | None,
    length: int | None,
    return_complex: bool,
    needs: tuple[bool, ...],
) -> tuple[Any, Any]:
    frames, p = _settings(
        n_fft=n_fft, hop_length=hop_length, win_length=win_length, center=center, normalized=normalized, length=length
    )
    shape = tuple(self.shape)
    half = half_given(shape, {"n_fft": n_fft, "onesided": onesided})
    span = span_of(shape, frames, p)
    kept = span.stop - span.start
    weights = _weights(window, frames, self)
    envelope = F.conjugate(_envelope(weights, frames, span, shape[-1], self))

    def apart(x: Any) -> Any:
        """A signal's gradient, where the result is, to that of the frames that were added up."""
        full = F.pad(x, pad=(span.start, span.full - span.stop))
        return F.unfold(full, dimension=-1, size=frames.points, step=frames.hop)

    g = F.narrow(g, dim=-1, start=0, length=kept) / envelope
    of_frames = apart(g)
    of_spectra: Any = None
    of_window: Any = None
    if needs[0]:
        back = of_frames if weights is None else of_frames * F.conjugate(weights)
        of_spectra = _spectra_of(back, shape, frames, half, return_complex)
    if needs[1]:
        cut = _frames_back(self, frames, half, return_complex)
        kept_result = F.narrow(result, dim=-1, start=0, length=kept)
        of_squares = apart(g * F.conjugate(kept_result))
        of_window = _out_of_frame(of_frames * F.conjugate(cut) - 2 * of_squares * F.conjugate(weights), frames)
    return of_spectra, of_window


def _spectra_of(g: Any, shape: Ints, frames: Frames, half: bool, return_complex: bool) -> Any:
    """The gradient of spectra of ``shape`` from that of their frames."""
    where: dict[str, Any] = {"sizes": (frames.points,), "dims": _along(g), "norm": frames.norm or "forward"}
    if return_complex:
        spectra = F._fft_c2c(g, **where, forward=True)
    else:
        once = F._fft_r2c(g, **where)
        spectra = F._fft_inner(once, dim=len(g.shape) - 1, points=frames.points, factor=2.0)
        if not half:
            spectra = F._fft_resize(spectra, sizes=(*spectra.shape[:-1], frames.points))
    return F.transpose(spectra, dim0=-1, dim1=-2)
