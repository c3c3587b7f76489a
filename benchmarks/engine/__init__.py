"""The engine against numpy by hand, PyTorch, HIPS autograd, mygrad and jitted JAX."""

from benchmarks.engine.table import main

__all__ = ["main"]
