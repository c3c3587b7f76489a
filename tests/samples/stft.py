"""Samples of the stft family."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand

X = rand(2, 12)
Z = complexes(2, 12)
WINDOW = rand(4, low=0.5, high=1.5)
HALF = complexes(2, 3, 5)
FULL = complexes(2, 4, 5)


def _forward(signal: Any, **settings: Any) -> Sample:
    return Sample("stft", (signal, 4), {"return_complex": True} | settings, op="stft")


def _back(spectra: Any, **settings: Any) -> Sample:
    return Sample("istft", (spectra, 4), settings, op="istft")


SAMPLES: list[Sample] = [
    _forward(X),
    _forward(X[0], hop_length=2, window=WINDOW),
    _forward(X, hop_length=3, win_length=3, window=WINDOW[:3], center=False),
    _forward(X, hop_length=3, win_length=2, center=False, align_to_window=True),
    _forward(X, hop_length=2, center=False, align_to_window=False, normalized=True),
    _forward(X, win_length=2, onesided=False, return_complex=False, pad_mode="constant"),
    _forward(X, window=WINDOW, return_complex=False, pad_mode="replicate", hop_length=4),
    _forward(X, pad_mode="circular", normalized=True, onesided=True, hop_length=3),
    _forward(X, window=complexes(4), hop_length=3),
    _forward(X, window=ints(4), hop_length=3),
    _forward(Z, window=WINDOW, hop_length=3, return_complex=None),
    _forward(Z, hop_length=5, onesided=False, return_complex=False, normalized=True),
    Sample("Tensor.stft", (X, 5, 2, 3, rand(3, seed=4)), {"return_complex": True}, op="stft"),
    Sample("stft", (X, 5), {"window": rand(5, dtype="float32"), "return_complex": True}, op="stft", float32=False),
    _back(HALF),
    _back(HALF, hop_length=2, window=WINDOW),
    _back(HALF[0], hop_length=2, window=WINDOW, length=7),
    _back(HALF, hop_length=1, win_length=2, normalized=True),
    _back(HALF, hop_length=2, length=14),
    _back(HALF, hop_length=2, window=WINDOW, center=False),
    _back(FULL, hop_length=2, onesided=False, window=WINDOW),
    _back(FULL, hop_length=2, return_complex=True, normalized=True),
    _back(FULL, hop_length=2, return_complex=True, window=complexes(4), center=False, length=8),
    Sample("Tensor.istft", (HALF, 5, 2, 3, rand(3, low=0.5, seed=4)), op="istft"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("stft", (X, 4), match="requires the return_complex parameter"),
    ErrorSample("stft", (X, 0), {"return_complex": True}, match="n_fft=0"),
    ErrorSample("stft", (X, 13), {"return_complex": True, "center": False}, match="0 < n_fft <= 12"),
    ErrorSample("stft", (X, 30), {"return_complex": True}, match="Padding size should be less"),
    ErrorSample("stft", (X, 2), {"return_complex": True}, match="hop_length=0"),
    ErrorSample("stft", (X, 4, 1, 5), {"return_complex": True}, match="win_length=5"),
    ErrorSample("stft", (X, 4, 1, 3, WINDOW), {"return_complex": True}, match="equal to win_length=3"),
    ErrorSample("stft", (ints(12), 4), {"return_complex": True}, match="floating point or complex"),
    ErrorSample("stft", (X[None], 4), {"return_complex": True}, match="1D or 2D"),
    ErrorSample("stft", (Z, 4), {"onesided": True}, match="Cannot have onesided output"),
    ErrorSample("stft", (X, 4), {"return_complex": True, "align_to_window": True}, match="center = false"),
    ErrorSample("stft", (X, 4.0), {"return_complex": True}, error=TypeError, match="n_fft"),
    ErrorSample("stft", (X, 4), {"return_complex": 1}, error=TypeError, match="return_complex"),
    ErrorSample("istft", (X, 4), match="complex-valued"),
    ErrorSample("istft", (complexes(3), 4), error=IndexError, match="2 or 3 dimensions"),
    ErrorSample("istft", (HALF[None], 4), match="2 or 3 dimensions"),
    ErrorSample("istft", (HALF, 6), match="frequency dimension"),
    ErrorSample("istft", (HALF, 4), {"onesided": False}, match="frequency dimension"),
    ErrorSample("istft", (HALF, 4, 5), match="0 < hop_length <= win_length"),
    ErrorSample("istft", (HALF, 4, 1, 5), match="0 < win_length <= n_fft"),
    ErrorSample("istft", (HALF, 4), {"window": WINDOW[:3]}, match="equal to win_length=4"),
    ErrorSample("istft", (HALF, 4), {"return_complex": True}, match="Cannot have onesided output"),
    ErrorSample("istft", (HALF, 4), {"window": complexes(4)}, match="Complex windows"),
    ErrorSample("istft", (HALF, 4), {"window": np.zeros(4)}, match="window overlap add min"),
    ErrorSample("istft", (HALF, 4), {"length": 0}, match="leave nothing"),
    ErrorSample("istft", (HALF[..., :0], 4), match="cannot be empty"),
]
