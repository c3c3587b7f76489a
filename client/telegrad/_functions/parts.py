"""Free functions of complex parts, of copies with a part replaced, and of choices."""

# pyright: reportPrivateUsage=false
# Some are no methods of a tensor, as in PyTorch.

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import SAME
from telegrad.contract.tensor.parts import block_diag, cartesian_prod
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "adjoint",
    "as_strided",
    "as_strided_",
    "as_strided_copy",
    "as_strided_scatter",
    "block_diag",
    "cartesian_prod",
    "combinations",
    "conj_physical",
    "diagonal_scatter",
    "istft",
    "resolve_conj",
    "resolve_neg",
    "select_scatter",
    "slice_scatter",
    "stft",
    "unravel_index",
    "view_as_complex",
    "view_as_real",
]

adjoint = free(Tensor.adjoint)
as_strided = free(Tensor.as_strided)
as_strided_ = free(Tensor.as_strided_)
as_strided_copy = free(Tensor.as_strided_copy, out=SAME)
as_strided_scatter = free(Tensor.as_strided_scatter)
combinations = free(Tensor._combinations)
conj_physical = free(Tensor.conj_physical, out=SAME)
diagonal_scatter = free(Tensor.diagonal_scatter)
istft = free(Tensor.istft)
resolve_conj = free(Tensor.resolve_conj)
resolve_neg = free(Tensor.resolve_neg)
select_scatter = free(Tensor.select_scatter)
slice_scatter = free(Tensor.slice_scatter, out=SAME)
stft = free(Tensor.stft)
unravel_index = free(Tensor._unravel_index, "indices")
view_as_complex = free(Tensor._view_as_complex)
view_as_real = free(Tensor._view_as_real)
