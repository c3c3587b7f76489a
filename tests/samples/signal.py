"""Samples of the signal family: windows."""

from __future__ import annotations

from tests.samples import D, ErrorSample, Sample

WINDOWS = ("bartlett", "blackman", "cosine", "exponential", "gaussian", "general_hamming", "hamming", "hann", "kaiser", "nuttall")
OLDER = ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window")
NAME = "signal.windows"

SAMPLES: list[Sample] = [
    *[Sample(f"{NAME}.{name}", (m,), op=name) for name in WINDOWS for m in (0, 1, 2, 7, 8)],
    *[Sample(f"{NAME}.{name}", (m,), {"sym": False, "dtype": D("float64")}, op=name) for name in WINDOWS for m in (1, 2, 9)],
    Sample(f"{NAME}.exponential", (6,), {"center": 1.5, "tau": 2, "sym": False}, op="exponential"),
    Sample(f"{NAME}.gaussian", (6,), {"std": 0.4, "dtype": D("float64")}, op="gaussian"),
    Sample(f"{NAME}.general_hamming", (6,), {"alpha": 0.7}, op="general_hamming"),
    Sample(f"{NAME}.kaiser", (6,), {"beta": 0.0}, op="kaiser"),
    Sample(f"{NAME}.kaiser", (6,), {"beta": 5, "dtype": D("float64")}, op="kaiser"),
    Sample(f"{NAME}.general_cosine", (7,), {"a": [0.3]}, op="general_cosine"),
    Sample(f"{NAME}.general_cosine", (7,), {"a": (0.3, 1, -0.2, 0.1), "sym": False, "dtype": D("float64")}, op="general_cosine"),
    Sample(f"{NAME}.general_cosine", (1,), {"a": [0.3, 0.2]}, op="general_cosine"),
    *[Sample(name, (m,)) for name in OLDER for m in (0, 1, 2, 7)],
    *[Sample(name, (6, False), {"dtype": D("float64")}) for name in OLDER],
    *[Sample(name, (5,), {"periodic": True, "dtype": D("float16")}) for name in OLDER],
    Sample("hamming_window", (6, True, 0.3, 0.6)),
    Sample("kaiser_window", (6, True, -4.0)),
]

ERRORS: list[ErrorSample] = [
    *[ErrorSample(f"{NAME}.{name}", (-1,), error=ValueError, match="non-negative window length") for name in WINDOWS],
    *[ErrorSample(f"{NAME}.{name}", (4.0,), error=TypeError, match="int") for name in WINDOWS],
    *[
        ErrorSample(f"{NAME}.{name}", (4,), {"dtype": D("float16")}, error=ValueError, match="float32 or float64")
        for name in WINDOWS
    ],
    ErrorSample(f"{NAME}.exponential", (4,), {"tau": 0.0}, error=ValueError, match="Tau must be positive"),
    ErrorSample(f"{NAME}.exponential", (4,), {"center": 1.0}, error=ValueError, match="Center must be None"),
    ErrorSample(f"{NAME}.gaussian", (4,), {"std": -1.0}, error=ValueError, match="must be positive"),
    ErrorSample(f"{NAME}.kaiser", (4,), {"beta": -1.0}, error=ValueError, match="beta must be non-negative"),
    ErrorSample(f"{NAME}.general_cosine", (4,), {"a": []}, error=ValueError, match="cannot be empty"),
    ErrorSample(f"{NAME}.general_cosine", (4,), {"a": 3}, error=TypeError, match="list/tuple"),
    *[ErrorSample(name, (-1,), error=RuntimeError, match="non-negative window_length") for name in OLDER],
    *[ErrorSample(name, (4,), {"dtype": D("int64")}, error=RuntimeError, match="floating point") for name in OLDER],
    *[ErrorSample(name, (4,), {"dtype": D("complex64")}, error=NotImplementedError, match="not implemented") for name in OLDER],
    *[ErrorSample(name, (4.0,), error=TypeError, match="must be int") for name in OLDER],
]
