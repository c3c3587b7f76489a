"""``telegrad.special``: functions of mathematical physics and statistics, as in ``torch.special``.

Most are computed by scipy: ``pip install 'telegrad[scipy]'`` where they run. See ``telegrad.contract.tensor.special`` for what they
are.
"""

# pyright: reportPrivateUsage=false
# What PyTorch has here only is no public method of a tensor.

from __future__ import annotations

from typing import TypeVar

from telegrad._functions import (
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    i0,
    igamma,
    igammac,
    lgamma,
    log1p,
    log_softmax,
    logit,
    logsumexp,
    mvlgamma,
    polygamma,
    sigmoid,
    sinc,
    softmax,
    xlogy,
)
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "airy_ai",
    "bessel_j0",
    "bessel_j1",
    "bessel_y0",
    "bessel_y1",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "modified_bessel_i0",
    "modified_bessel_i1",
    "modified_bessel_k0",
    "modified_bessel_k1",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
    "sinc",
    "softmax",
    "spherical_bessel_j0",
    "xlog1py",
    "xlogy",
    "zeta",
]

T = TypeVar("T", bound=Tensor)

airy_ai = free(Tensor._airy_ai, out=CASTS)
bessel_j0 = free(Tensor._bessel_j0, out=CASTS)
bessel_j1 = free(Tensor._bessel_j1, out=CASTS)
bessel_y0 = free(Tensor._bessel_y0, out=CASTS)
bessel_y1 = free(Tensor._bessel_y1, out=CASTS)
entr = free(Tensor._entr, out=CASTS)
erfcx = free(Tensor._erfcx, out=CASTS)
i0e = free(Tensor._i0e, out=CASTS)
i1 = free(Tensor._i1, out=CASTS)
i1e = free(Tensor._i1e, out=CASTS)
log_ndtr = free(Tensor._log_ndtr, out=CASTS)
modified_bessel_i0 = free(Tensor._modified_bessel_i0, out=CASTS)
modified_bessel_i1 = free(Tensor._modified_bessel_i1, out=CASTS)
modified_bessel_k0 = free(Tensor._modified_bessel_k0, out=CASTS)
modified_bessel_k1 = free(Tensor._modified_bessel_k1, out=CASTS)
ndtr = free(Tensor._ndtr, out=CASTS)
ndtri = free(Tensor._ndtri, out=CASTS)
scaled_modified_bessel_k0 = free(Tensor._scaled_modified_bessel_k0, out=CASTS)
scaled_modified_bessel_k1 = free(Tensor._scaled_modified_bessel_k1, out=CASTS)
spherical_bessel_j0 = free(Tensor._spherical_bessel_j0, out=CASTS)

# Other names
expit = sigmoid
gammainc = igamma
gammaincc = igammac
gammaln = lgamma
multigammaln = mvlgamma
psi = digamma
round = free(Tensor.round, out=SAME)  # noqa: A001 - PyTorch's name


def _of_two(name: str, input: T | Number, other: T | Number) -> T:
    """An op either of whose inputs may be a number, one must be a tensor."""
    for x in (input, other):
        if isinstance(x, TensorBase):
            return x._apply(name, input, other)  # type: ignore[no-any-return]
    raise ArgumentTypeError(f"{name}() needs a Tensor, got {type(input).__name__} and {type(other).__name__}")


@takes_out(CASTS)
def xlog1py(input: T | Number, other: T | Number) -> T:
    """``input * log1p(other)``, 0 where ``input`` is 0 unless ``other`` is not a number.

    Shapes: [...], [...] -> broadcast; either may be a number. Raises: ArgumentTypeError where both are.
    """
    return _of_two("xlog1py", input, other)


@takes_out(CASTS)
def zeta(input: T | Number, other: T | Number) -> T:
    """Hurwitz' zeta function: the sum of ``(k + other)**-input`` over k = 0, 1, ...

    Shapes: [...], [...] -> broadcast; either may be a number. Raises: ArgumentTypeError where both are; in backward,
    DerivativeMissingError for an ``input`` that requires grad.
    """
    return _of_two("zeta", input, other)
