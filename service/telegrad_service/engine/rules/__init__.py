"""How each op computes and differentiates, one module per family, named as in ``telegrad.contract.tensor``."""

from __future__ import annotations

import importlib
from typing import Final

FAMILIES: Final = (
    *("creation", "elementwise", "transcendental", "comparison", "conversion"),
    *("reduce", "running", "shape", "alias", "index", "masks"),
    *("counting", "scattering", "statistics"),
    *("linalg", "decompositions", "factorisations", "systems", "nn", "losses", "classes", "attention"),
    *("conv", "pooling", "recurrent", "resampling", "sampling", "alignment", "fft", "parts", "stft", "special"),
    *("numbers", "draws", "signal", "strided", "indefinite"),
)


def load() -> None:
    """Fill the engine's tables, import every family, and specialise the Tensor's methods by them."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
    importlib.import_module("telegrad_service.engine.formulas").F.fill()
    importlib.import_module("telegrad_service.engine.calls").install()
    importlib.import_module("telegrad_service.engine.fast").install()
