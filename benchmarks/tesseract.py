"""The peer Tesseract, asked over a kept connection with arrays in base64, its fastest form over HTTP.

It wants other releases of what our service needs, and so lives in an environment of its own, which ``make bench`` makes.
"""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np

from benchmarks import peers
from benchmarks.roundtrip import server

PYTHON: Final = Path(sys.prefix) / "tesseract" / "bin" / "python"
"""The interpreter of its environment."""

_HEADERS: Final = {"accept": "application/json+base64"}


def _written(array: Any) -> dict[str, Any]:
    data = {"buffer": base64.b64encode(array).decode("ascii"), "encoding": "base64"}
    return {"object_type": "array", "shape": list(array.shape), "dtype": array.dtype.name, "data": data}


def _read(value: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(value["data"]["buffer"]), value["dtype"]).reshape(value["shape"])


@contextlib.contextmanager
def opened() -> Generator[tuple[Callable[[Any], Any], Callable[[Any], Any]] | None]:
    """Two functions of an array: the gradient of its sum of squares, and itself, there and back. None where it is not installed."""
    if not PYTHON.exists():
        print("  Tesseract is not installed: `make bench` does so; no comparison with it")
        yield None
        return
    with server("-c", peers.TESSERACT_APP, "PORT", path="/health", python=str(PYTHON)) as url, httpx2.Client(timeout=60) as client:

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = client.post(f"{url}/{path}", json=body, headers=_HEADERS).raise_for_status().json()
            return found

        def gradient(array: Any) -> Any:
            body = {"inputs": {"x": _written(array)}, "vjp_inputs": ["x"], "vjp_outputs": ["y"], "cotangent_vector": {"y": 1.0}}
            return _read(post("vector_jacobian_product", body)["x"])

        def there_and_back(array: Any) -> Any:
            return _read(post("apply", {"inputs": {"x": _written(array)}})["same"])

        yield gradient, there_and_back
