"""Functions of functions with ``torch.func``'s names: ``vmap``, ``grad``, ``vjp``, ``jacrev``, ``hessian``, ..."""

from __future__ import annotations

from telegrad.func.batching import vmap

__all__ = ["vmap"]
