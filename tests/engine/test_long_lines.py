"""Interpolation and averages along lines of many points: as sparse as they are, in memory and in values."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import telegrad
import telegrad.nn.functional as F
from telegrad_service.engine import taps

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("points", "settings"),
    [
        (100_000, {"scale_factor": 2, "mode": "linear"}),
        (200_000, {"size": 60_000, "mode": "linear", "align_corners": True}),
        (200_000, {"size": 10, "mode": "area"}),
        (200_000, {"size": 5_000, "mode": "area"}),
    ],
)
def test_a_long_signal_takes_memory_like_its_own(points: int, settings: dict[str, Any]):
    x = telegrad.tensor(RNG.normal(size=(1, 1, points)), requires_grad=True)
    longest = max(points, 2 * points * (settings["mode"] == "linear"))
    tracemalloc.start()
    try:
        F.interpolate(x, **settings).sum().backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 8 * longest


@pytest.mark.parametrize("mode", ["linear", "area"])
@pytest.mark.parametrize(("points", "target"), [(300, 1000), (1000, 300), (1000, 7), (500, 500)])
def test_gathering_gives_what_the_matrix_in_full_gives(mode: str, points: int, target: int, monkeypatch: pytest.MonkeyPatch):
    x = RNG.normal(size=(2, 3, points))
    found: list[Any] = []
    for dense in (False, True):
        monkeypatch.setattr(taps.Taps, "is_dense", lambda _, dense=dense: dense)
        given = telegrad.tensor(x, requires_grad=True)
        made = F.interpolate(given, size=target, mode=mode)
        (made * made).sum().backward()
        found.append((made.detach().numpy(), given.grad.numpy()))
    for sparse, full in zip(*found, strict=True):
        np.testing.assert_allclose(sparse, full, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [False, True])
def test_bytes_are_gathered_to_the_same_bytes(mode: str, antialias: bool, monkeypatch: pytest.MonkeyPatch):
    x = telegrad.tensor(RNG.integers(0, 256, (1, 2, 150, 90)).astype(np.uint8))
    found: list[bytes] = []
    for dense in (False, True):
        monkeypatch.setattr(taps.Taps, "is_dense", lambda _, dense=dense: dense)
        found.append(F.interpolate(x, size=(67, 211), mode=mode, antialias=antialias).numpy().tobytes())
    assert found[0] == found[1]
