"""Rules of the short-time Fourier transform and its inverse: how a signal is cut into frames, and what goes with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from telegrad.contract import dtypes
from telegrad.contract.conv_rules import pad_rule
from telegrad.contract.dtypes import DType, float16
from telegrad.contract.errors import DimensionError, DTypeError, ShapeError
from telegrad.contract.fft_rules import transformed
from telegrad.contract.ops import Outcome, Shape, Spec
from telegrad.contract.shapes import result_type

Parameters = Mapping[str, Any]


class Frames(NamedTuple):
    """How a signal is cut into frames, defaults filled in.

    Attributes:
        points: elements of a frame, and points of its transform.
        hop: elements from one frame's start to the next one's.
        window: elements of the window, which stands in the middle of a frame.
        left: elements of a frame before the window.
        norm: of the transform of a frame.
    """

    points: int
    hop: int
    window: int
    left: int
    norm: str | None


def frames_of(p: Parameters) -> Frames:
    """The frames that ``n_fft``, ``hop_length``, ``win_length`` and ``normalized`` ask for."""
    points = p["n_fft"]
    window = points if p["win_length"] is None else p["win_length"]
    hop = points // 4 if p["hop_length"] is None else p["hop_length"]
    return Frames(points, hop, window, (points - window) // 2, "ortho" if p["normalized"] else None)


def margins(frames: Frames, p: Parameters) -> tuple[int, int, str]:
    """How many elements ``stft`` puts before and after the signal, and the padding mode that says which."""
    if p["center"]:
        return frames.points // 2, frames.points // 2, p["pad_mode"]
    if p["align_to_window"]:
        return frames.left, frames.points - frames.window - frames.left, "constant"
    return 0, 0, "constant"


def extended(shape: Shape) -> Shape:
    """The shape in which a signal is padded: of three dimensions, as padding by other than a constant asks for."""
    return (1,) * (3 - len(shape)) + tuple(shape)


def is_onesided(self_dtype: DType, window_dtype: DType | None, onesided: bool | None) -> bool:
    """Whether ``stft`` gives half a spectrum: of real signals, unless told otherwise."""
    is_complex = self_dtype.is_complex or (window_dtype is not None and window_dtype.is_complex)
    return not is_complex if onesided is None else onesided


def _check_window(name: str, window: Spec | None, frames: Frames) -> None:
    if window is not None and window.shape != (frames.window,):
        raise ShapeError(
            f"{name}(): expected a 1D window tensor of size equal to win_length={frames.window}, but got window with size "
            f"{list(window.shape)}"
        )


def stft(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``stft``."""
    x, window = inputs
    frames = frames_of(p)
    is_complex = x.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if p["return_complex"] is None and not is_complex:
        raise ShapeError("stft requires the return_complex parameter be given for real inputs: True for a complex result")
    if p["align_to_window"] is not None and p["center"]:
        raise ShapeError("stft align_to_window should only be set when center = false")
    if not x.dtype.is_differentiable:
        raise DTypeError(f"stft(): expected a tensor of floating point or complex values, got {x.dtype.name}")
    if len(x.shape) not in (1, 2):
        raise ShapeError(f"stft(): expected a 1D or 2D tensor, got one of shape {list(x.shape)}")
    before, after, mode = margins(frames, p)
    if p["center"] and frames.points > 0:
        wide = Spec(extended(x.shape), x.dtype)
        pad_rule((wide,), {"pad": (before, after), "mode": mode, "value": None})
    length = x.shape[-1] + (before + after if p["center"] else 0)
    if not 0 < frames.points <= length:
        raise ShapeError(f"stft(): expected 0 < n_fft <= {length}, but got n_fft={frames.points}")
    if frames.hop <= 0:
        raise ShapeError(f"stft(): expected hop_length > 0, but got hop_length={frames.hop}")
    if not 0 < frames.window <= frames.points:
        raise ShapeError(f"stft(): expected 0 < win_length <= n_fft, but got win_length={frames.window}")
    _check_window("stft", window, frames)
    if p["onesided"] and is_complex:
        raise ShapeError("Cannot have onesided output if window or input is complex")
    compute = x.dtype if window is None else result_type((x, window))
    if compute is float16:
        raise DTypeError(
            "stft(): float16 has no Fourier transform; convert the tensor first, for example with .to(telegrad.float32)"
        )
    count = 1 + (x.shape[-1] + before + after - frames.points) // frames.hop
    half = is_onesided(x.dtype, None if window is None else window.dtype, p["onesided"])
    cut = Spec((*x.shape[:-1], count, frames.points), compute)
    spectrum = transformed(cut, "rfft" if half else "fft", ((len(cut.shape) - 1,), (frames.points,)))
    ((*batch, rows, columns), dtype) = spectrum.outputs[0]
    result = Spec((*batch, columns, rows), dtype)
    if p["return_complex"] is False:
        result = Spec((*result.shape, 2), dtypes.to_real(dtype))
    return Outcome((result,), spectrum.flops + 2 * cut.size, compute, spectrum.scratch_bytes + 2 * cut.nbytes)


class Span(NamedTuple):
    """Where ``istft``'s result lies in the sum of its frames.

    Attributes:
        full: elements of the sum.
        start: the first one of the result.
        stop: the one after the last.
        length: elements of the result; more than from start to stop where zeros are added.
    """

    full: int
    start: int
    stop: int
    length: int


def span_of(shape: Shape, frames: Frames, p: Parameters) -> Span:
    """The result's place, for a spectrum of that shape. Raises ShapeError where nothing is left."""
    full = frames.points + frames.hop * (shape[-1] - 1)
    start = frames.points // 2 if p["center"] else 0
    end = full - start if p["length"] is None else start + p["length"]
    stop = min(end, full)
    if stop <= start:
        raise ShapeError(f"istft(): {shape[-1]} frames of {frames.points} points leave nothing from element {start} to {end}")
    return Span(full, start, stop, end - start)


def half_given(shape: Shape, p: Parameters) -> bool:
    """Whether ``istft`` takes its input for half a spectrum: unless told, by the number of frequencies."""
    return bool(shape[-2] != p["n_fft"]) if p["onesided"] is None else p["onesided"]


def istft(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``istft``."""
    x, window = inputs
    frames = frames_of(p)
    if not x.dtype.is_complex:
        raise DTypeError("istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if len(x.shape) < 2:
        raise DimensionError(f"istft(): expected a spectrum of 2 or 3 dimensions, got one of shape {list(x.shape)}")
    half = half_given(x.shape, p)
    if 0 in x.shape:
        raise ShapeError("istft(): input tensor cannot be empty.")
    if len(x.shape) > 3:
        raise ShapeError(f"istft(): expected a spectrum of 2 or 3 dimensions, got one of shape {list(x.shape)}")
    wanted = frames.points // 2 + 1 if half else frames.points
    if x.shape[-2] != wanted:
        raise ShapeError(
            f"istft(): expected the frequency dimension (the last but one) to match {'n_fft / 2 + 1' if half else 'n_fft'} when "
            f"onesided={half}, that is {wanted}, but got {x.shape[-2]}"
        )
    if not 0 < frames.hop <= frames.window:
        raise ShapeError(f"istft(): expected 0 < hop_length <= win_length, but got {frames.hop} and {frames.window}")
    if not 0 < frames.window <= frames.points:
        raise ShapeError(f"istft(): expected 0 < win_length <= n_fft, but got {frames.window} and {frames.points}")
    _check_window("istft", window, frames)
    if p["return_complex"] and half:
        raise ShapeError("Cannot have onesided output if window or input is complex")
    if not p["return_complex"] and window is not None and window.dtype.is_complex:
        raise ShapeError("Complex windows are incompatible with return_complex=False")
    span = span_of(x.shape, frames, p)
    dtype = x.dtype if p["return_complex"] else dtypes.to_real(x.dtype)
    cut = Spec((*x.shape[:-2], x.shape[-1], frames.points), dtype)
    if window is not None:
        dtype = result_type((cut, window))
    flops = transformed(cut, "fft", ((len(cut.shape) - 1,), (frames.points,))).flops
    return Outcome((Spec((*x.shape[:-2], span.length), dtype),), flops + 4 * cut.size, None, 3 * x.nbytes + 4 * cut.nbytes)
