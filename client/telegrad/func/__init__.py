"""Functions of functions with ``torch.func``'s names: ``vmap``, ``grad``, ``vjp``, ``jacrev``, ``hessian``, ..."""

from __future__ import annotations

from telegrad.func.batching import vmap
from telegrad.func.forward import hessian, jacfwd, jvp, linearize
from telegrad.func.reverse import grad, grad_and_value, jacrev, value_and_grad, vjp

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "value_and_grad", "vjp", "vmap"]
