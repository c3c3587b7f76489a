"""Samples of the fft family."""

from __future__ import annotations

from typing import Any

from tests.samples import D, ErrorSample, Sample, bools, complexes, ints, rand

X = rand(2, 5)
Z = complexes(2, 5)
CUBE = rand(2, 3, 4)
BOX = complexes(2, 3, 4)


def _each(op: str, *cases: tuple[tuple[Any, ...], dict[str, Any]], **settings: Any) -> list[Sample]:
    """One sample per pair of positional arguments and keywords."""
    return [Sample(f"fft.{op}", args, kwargs, op=op, **settings) for args, kwargs in cases]


def _several(name: str, full: Any, half: Any) -> list[Sample]:
    """Samples of a transform of two and of any number of dimensions; ``half`` is what the other kind of tensor is."""
    return [
        *_each(f"{name}2", ((full,), {}), ((full, (3, 4)), {"norm": "ortho"}), ((full,), {"dim": (0, 1), "norm": "forward"})),
        *_each(f"{name}2", ((half, (-1, 2)), {}), ((ints(2, 3),), {}), ((full,), {"s": 3, "dim": 0})),
        *_each(f"{name}n", ((full,), {}), ((full, (2, 5)), {"norm": "forward"}), ((full,), {"dim": (2, 0), "norm": "ortho"})),
        *_each(f"{name}n", ((half,), {"s": (3, -1), "dim": (-1, 0)}), ((full, (4,)), {}), ((ints(3, dtype="uint8"),), {})),
    ]


SAMPLES: list[Sample] = [
    # To and from complex spectra
    *_each("fft", ((Z,), {}), ((X,), {}), ((Z, 7), {}), ((X, 3), {"norm": "ortho"}), ((Z,), {"dim": 0, "norm": "forward"})),
    *_each("fft", ((X, None, -2, "backward"), {}), ((ints(4),), {}), ((bools(3),), {}), ((Z,), {"n": 1}), ((rand(1),), {})),
    *_each("ifft", ((Z,), {}), ((X,), {}), ((Z, 7), {"norm": "ortho"}), ((X, 3, 0), {"norm": "forward"}), ((ints(4),), {})),
    *_several("fft", BOX, CUBE),
    *_several("ifft", BOX, CUBE),
    *_each("fftn", ((rand(),), {}), ((Z,), {"dim": ()}), ((complexes(2, 3, 2, 2),), {})),
    # Real signals
    *_each("rfft", ((X,), {}), ((X, 6), {}), ((X, 4), {"norm": "ortho"}), ((X, 3, 0, "forward"), {}), ((rand(1),), {})),
    *_each("rfft", ((ints(4, dtype="int16"),), {}), ((bools(5),), {})),
    *_each("irfft", ((Z,), {}), ((Z, 7), {}), ((Z, 12), {"norm": "ortho"}), ((Z, 4, 0, "forward"), {}), ((X,), {}), ((Z, 1), {})),
    *_each("irfft", ((complexes(2), 2), {}), ((ints(3),), {})),
    *_several("rfft", CUBE, CUBE * 2),
    *_several("irfft", BOX, CUBE),
    # Real spectra
    *_each(
        "hfft", ((Z,), {}), ((Z, 7), {}), ((Z, 12), {"norm": "ortho"}), ((Z, 4, 0, "forward"), {}), ((X,), {}), ((ints(3),), {})
    ),
    *_each("ihfft", ((X,), {}), ((X, 6), {}), ((X, 4), {"norm": "ortho"}), ((X, 3, 0, "forward"), {}), ((ints(4),), {})),
    *_several("hfft", BOX, CUBE),
    *_several("ihfft", CUBE, CUBE * 2),
    # Order, frequencies
    *_each("fftshift", ((X,), {}), ((X, 1), {}), ((CUBE, (0, -1)), {}), ((Z, (1, 1)), {}), ((bools(3),), {}), ((rand(0, 3),), {})),
    *_each("ifftshift", ((X,), {}), ((X, 1), {}), ((CUBE,), {"dim": (0, 1)}), ((Z,), {}), ((ints(4),), {})),
    *_each("fftfreq", ((5,), {}), ((4, 0.5), {}), ((1,), {}), ((0,), {}), ((6,), {"d": 2, "dtype": D("float64")}), ((3, 0.0), {})),
    *_each("fftfreq", ((5, 0.25), {"dtype": D("float16")})),
    *_each("rfftfreq", ((5,), {}), ((4, 0.5), {}), ((1,), {}), ((8,), {"d": 0.1, "dtype": D("float64")})),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("fft.fft", (X, 0), match="Invalid number of data points (0)"),
    ErrorSample("fft.irfft", (complexes(2, 1),), match="Invalid number of data points (0)"),
    ErrorSample("fft.fft", (X, None, 2), error=IndexError, match="Dimension out of range"),
    ErrorSample("fft.ifft", (rand(),), error=IndexError, match="has no dimensions"),
    ErrorSample("fft.fft", (X,), {"norm": "both"}, match="Invalid normalization mode"),
    ErrorSample("fft.fft", (X,), {"norm": 1}, error=TypeError, match="norm"),
    ErrorSample("fft.fft", (X, 2.0), error=TypeError, match="'n'"),
    ErrorSample("fft.fft", ([1.0, 2.0],), error=TypeError, match="must be Tensor"),
    ErrorSample("fft.fft", (rand(3, dtype="float16"),), match="Unsupported dtype Half"),
    ErrorSample("fft.rfft", (Z,), match="expects a real"),
    ErrorSample("fft.ihfft", (Z,), match="expects a real"),
    ErrorSample("fft.hfft", (Z, -1), match="Invalid number of data points (-1)"),
    ErrorSample("fft.fft2", (rand(3),), error=IndexError, match="Dimension out of range"),
    ErrorSample("fft.ifft2", (X, (2,)), match="same length"),
    ErrorSample("fft.fftn", (X,), {"dim": (0, 0)}, match="must be unique"),
    ErrorSample("fft.ifftn", (X, (1, 2, 3)), match="Got shape with 3 values"),
    ErrorSample("fft.rfft2", (X, (3, 0)), match="Invalid number of data points (0)"),
    ErrorSample("fft.rfftn", (rand(),), match="at least one axis"),
    ErrorSample("fft.irfft2", (X,), {"dim": ()}, match="at least one axis"),
    ErrorSample("fft.irfftn", (X,), {"dim": (0, 1, 2)}, error=IndexError, match="Dimension out of range"),
    ErrorSample("fft.hfft2", (X, 3), match="same length"),
    ErrorSample("fft.hfftn", (X,), {"dim": (-1, 1)}, match="must be unique"),
    ErrorSample("fft.ihfft2", (X,), {"norm": ""}, match="Invalid normalization mode"),
    ErrorSample("fft.ihfftn", (X, (1, 2, 3)), match="Got shape with 3 values"),
    ErrorSample("fft.fftshift", (rand(),), {"dim": 0}, error=IndexError, match="has no dimensions"),
    ErrorSample("fft.ifftshift", (X, ()), match="`shifts` required"),
    ErrorSample("fft.fftfreq", (-1,), match="negative dimension"),
    ErrorSample("fft.fftfreq", (4,), {"dtype": D("int64")}, match="floating point or complex dtype"),
    ErrorSample("fft.fftfreq", (4,), {"dtype": D("complex64")}, error=NotImplementedError, match="not implemented"),
    ErrorSample("fft.rfftfreq", (4.0,), error=TypeError, match="'n'"),
]
