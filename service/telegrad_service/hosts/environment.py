"""What decides the bits of a computation besides its inputs: a replay gives the same values only where it is the same."""

from __future__ import annotations

import functools
import os
import platform
from typing import Any

import numpy as np

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE")


@functools.cache
def environment() -> dict[str, str]:
    """numpy, its BLAS, that library's threads and kernel, the processor's features, and the version of Python."""
    configuration: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    blas: dict[str, Any] = configuration.get("Build Dependencies", {}).get("blas", {})
    features: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "machine": platform.machine(),
        "features": " ".join(sorted(name for name, there in features.items() if there)),
        "threads": " ".join(f"{name}={os.environ[name]}" for name in _THREADS if name in os.environ),
    }


def differences(before: dict[str, str]) -> list[str]:
    """What is different here, in words."""
    here = environment()
    return [f"{name} was {before.get(name)}, is {value}" for name, value in here.items() if before.get(name) != value]
