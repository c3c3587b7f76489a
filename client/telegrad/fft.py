"""``telegrad.fft``: discrete Fourier transforms, as in ``torch.fft``.

Each takes a tensor, the number of points (``n``, or sizes ``s``), the dimensions ``dim`` and ``norm``; see
``telegrad.contract.tensor.fft`` for what they mean.
"""

# pyright: reportPrivateUsage=false
# A tensor has no public method of these names, as in PyTorch.

from __future__ import annotations

from telegrad._current import in_current
from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, OWN, takes_out
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

fft = free(Tensor._fft, out=CASTS)
ifft = free(Tensor._ifft, out=CASTS)
rfft = free(Tensor._rfft, out=CASTS)
irfft = free(Tensor._irfft, out=CASTS)
hfft = free(Tensor._hfft, out=CASTS)
ihfft = free(Tensor._ihfft, out=CASTS)

fft2 = free(Tensor._fft2, out=CASTS)
ifft2 = free(Tensor._ifft2, out=CASTS)
rfft2 = free(Tensor._rfft2, out=CASTS)
irfft2 = free(Tensor._irfft2, out=CASTS)
hfft2 = free(Tensor._hfft2, out=CASTS)
ihfft2 = free(Tensor._ihfft2, out=CASTS)

fftn = free(Tensor._fftn, out=CASTS)
ifftn = free(Tensor._ifftn, out=CASTS)
rfftn = free(Tensor._rfftn, out=CASTS)
irfftn = free(Tensor._irfftn, out=CASTS)
hfftn = free(Tensor._hfftn, out=CASTS)
ihfftn = free(Tensor._ihfftn, out=CASTS)

fftshift = free(Tensor._fftshift)
ifftshift = free(Tensor._ifftshift)
fftfreq = takes_out(OWN)(in_current(BaseSession._fftfreq))
rfftfreq = takes_out(OWN)(in_current(BaseSession._rfftfreq))
