"""``telegrad.fft``: discrete Fourier transforms, as in ``torch.fft``.

Each takes a tensor, the number of points (``n``, or sizes ``s``), the dimensions ``dim`` and ``norm``; see
``telegrad.contract.tensor.fft`` for what they mean.
"""

# pyright: reportPrivateUsage=false
# A tensor has no public method of these names, as in PyTorch.

from __future__ import annotations

from telegrad._current import in_current
from telegrad.contract.functions.free import free
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "hfft2",
    "hfftn",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "ihfft2",
    "ihfftn",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

fft = free(Tensor._fft)
ifft = free(Tensor._ifft)
rfft = free(Tensor._rfft)
irfft = free(Tensor._irfft)
hfft = free(Tensor._hfft)
ihfft = free(Tensor._ihfft)

fft2 = free(Tensor._fft2)
ifft2 = free(Tensor._ifft2)
rfft2 = free(Tensor._rfft2)
irfft2 = free(Tensor._irfft2)
hfft2 = free(Tensor._hfft2)
ihfft2 = free(Tensor._ihfft2)

fftn = free(Tensor._fftn)
ifftn = free(Tensor._ifftn)
rfftn = free(Tensor._rfftn)
irfftn = free(Tensor._irfftn)
hfftn = free(Tensor._hfftn)
ihfftn = free(Tensor._ihfftn)

fftshift = free(Tensor._fftshift)
ifftshift = free(Tensor._ifftshift)
fftfreq = in_current(BaseSession._fftfreq)
rfftfreq = in_current(BaseSession._rfftfreq)
