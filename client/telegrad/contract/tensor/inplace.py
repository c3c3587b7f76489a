"""In-place forms: ``add_`` is ``add`` with the result written into the tensor itself, for every op marked ``inplace``.

The signature repeats the op's (a test compares them); shape, type, leaf and view rules are one rule for all, in the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from telegrad.contract import notices
from telegrad.contract.dtypes import DType, DTypeLike, Number, as_dtype
from telegrad.contract.errors import DTypeError
from telegrad.contract.shapes import integer, real_number
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.factors import scaled

if TYPE_CHECKING:
    from telegrad.contract.session import BaseSession


class InPlaceOps(TensorBase):
    """Ops that change the tensor itself and return it."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    @property
    def session(self) -> BaseSession:
        """The session that the tensor lives in."""
        raise NotImplementedError

    # elementwise -------------------------------------------------------------------------------------------------------------

    def add_(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """``add`` in place."""
        if type(alpha) is int and alpha == 1:
            return self._apply("add_", self, other)
        product = scaled(other, alpha)
        return self._apply("add_", self, other, alpha=alpha) if product is None else self._apply("add_", self, product)

    def sub_(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """``sub`` in place."""
        if type(alpha) is int and alpha == 1:
            return self._apply("sub_", self, other)
        product = scaled(other, alpha)
        return self._apply("sub_", self, other, alpha=alpha) if product is None else self._apply("sub_", self, product)

    def mul_(self, other: Self | Number) -> Self:
        """``mul`` in place."""
        return self._apply("mul_", self, other)

    def div_(self, other: Self | Number, *, rounding_mode: str | None = None) -> Self:
        """``div`` in place."""
        if rounding_mode is None:
            return self._apply("div_", self, other)
        return self._apply("div_", self, other, rounding_mode=rounding_mode)

    def floor_divide_(self, other: Self | Number) -> Self:
        """``floor_divide`` in place."""
        return self._apply("floor_divide_", self, other)

    def remainder_(self, other: Self | Number) -> Self:
        """``remainder`` in place."""
        return self._apply("remainder_", self, other)

    def fmod_(self, other: Self | Number) -> Self:
        """``fmod`` in place."""
        return self._apply("fmod_", self, other)

    def pow_(self, exponent: Self | Number) -> Self:
        """``pow`` in place."""
        return self._apply("pow_", self, exponent)

    def addcmul_(self, tensor1: Self, tensor2: Self, *, value: Number = 1) -> Self:
        """``addcmul`` in place."""
        product = scaled(tensor1, value)
        if product is not None:
            return self._apply("addcmul_", self, product, tensor2)
        return self._apply("addcmul_", self, tensor1, tensor2, value=value)

    def addcdiv_(self, tensor1: Self, tensor2: Self, *, value: Number = 1) -> Self:
        """``addcdiv`` in place."""
        product = scaled(tensor1, value)
        if product is not None:
            return self._apply("addcdiv_", self, product, tensor2)
        return self._apply("addcdiv_", self, tensor1, tensor2, value=value)

    def lerp_(self, end: Self, weight: Self | Number) -> Self:
        """``lerp`` in place."""
        return self._apply("lerp_", self, end, weight)

    def round_(self, *, decimals: int = 0) -> Self:
        """``round`` in place."""
        return self._apply("round_", self, decimals=decimals)

    def neg_(self) -> Self:
        """``neg`` in place."""
        return self._apply("neg_", self)

    def abs_(self) -> Self:
        """``abs`` in place. Raises DTypeError for complex numbers, whose lengths are real."""
        if self.dtype.is_complex:
            raise DTypeError("In-place abs is not supported for complex tensors.")
        return self._apply("abs_", self)

    def sign_(self) -> Self:
        """``sign`` in place."""
        return self._apply("sign_", self)

    def sgn_(self) -> Self:
        """``sgn`` in place."""
        return self._apply("sgn_", self)

    def floor_(self) -> Self:
        """``floor`` in place."""
        return self._apply("floor_", self)

    def ceil_(self) -> Self:
        """``ceil`` in place."""
        return self._apply("ceil_", self)

    def trunc_(self) -> Self:
        """``trunc`` in place."""
        return self._apply("trunc_", self)

    def frac_(self) -> Self:
        """``frac`` in place."""
        return self._apply("frac_", self)

    def square_(self) -> Self:
        """``square`` in place."""
        return self._apply("square_", self)

    def copysign_(self, other: Self | Number) -> Self:
        """``copysign`` in place."""
        return self._apply("copysign_", self, other)

    def heaviside_(self, values: Self) -> Self:
        """``heaviside`` in place."""
        return self._apply("heaviside_", self, values)

    def nextafter_(self, other: Self) -> Self:
        """``nextafter`` in place."""
        return self._apply("nextafter_", self, other)

    def gcd_(self, other: Self) -> Self:
        """``gcd`` in place."""
        return self._apply("gcd_", self, other)

    def lcm_(self, other: Self) -> Self:
        """``lcm`` in place."""
        return self._apply("lcm_", self, other)

    # comparison --------------------------------------------------------------------------------------------------------------

    def eq_(self, other: Self | Number) -> Self:
        """``eq`` in place."""
        return self._apply("eq_", self, other)

    def ne_(self, other: Self | Number) -> Self:
        """``ne`` in place."""
        return self._apply("ne_", self, other)

    def lt_(self, other: Self | Number) -> Self:
        """``lt`` in place."""
        return self._apply("lt_", self, other)

    def le_(self, other: Self | Number) -> Self:
        """``le`` in place."""
        return self._apply("le_", self, other)

    def gt_(self, other: Self | Number) -> Self:
        """``gt`` in place."""
        return self._apply("gt_", self, other)

    def ge_(self, other: Self | Number) -> Self:
        """``ge`` in place."""
        return self._apply("ge_", self, other)

    def logical_and_(self, other: Self) -> Self:
        """``logical_and`` in place."""
        return self._apply("logical_and_", self, other)

    def logical_or_(self, other: Self) -> Self:
        """``logical_or`` in place."""
        return self._apply("logical_or_", self, other)

    def logical_xor_(self, other: Self) -> Self:
        """``logical_xor`` in place."""
        return self._apply("logical_xor_", self, other)

    def logical_not_(self) -> Self:
        """``logical_not`` in place."""
        return self._apply("logical_not_", self)

    def bitwise_and_(self, other: Self | Number) -> Self:
        """``bitwise_and`` in place."""
        return self._apply("bitwise_and_", self, other)

    def bitwise_or_(self, other: Self | Number) -> Self:
        """``bitwise_or`` in place."""
        return self._apply("bitwise_or_", self, other)

    def bitwise_xor_(self, other: Self | Number) -> Self:
        """``bitwise_xor`` in place."""
        return self._apply("bitwise_xor_", self, other)

    def bitwise_left_shift_(self, other: Self | Number) -> Self:
        """``bitwise_left_shift`` in place."""
        return self._apply("bitwise_left_shift_", self, other)

    def bitwise_right_shift_(self, other: Self | Number) -> Self:
        """``bitwise_right_shift`` in place."""
        return self._apply("bitwise_right_shift_", self, other)

    def bitwise_not_(self) -> Self:
        """``bitwise_not`` in place."""
        return self._apply("bitwise_not_", self)

    def clamp_(self, min: Self | Number | None = None, max: Self | Number | None = None) -> Self:
        """``clamp`` in place."""
        return self._apply("clamp_", self, min, max)

    def clamp_min_(self, min: Self | Number) -> Self:
        """``clamp_min`` in place."""
        return self._apply("clamp_min_", self, min)

    def clamp_max_(self, max: Self | Number) -> Self:
        """``clamp_max`` in place."""
        return self._apply("clamp_max_", self, max)

    # transcendental ----------------------------------------------------------------------------------------------------------

    def sqrt_(self) -> Self:
        """``sqrt`` in place."""
        return self._apply("sqrt_", self)

    def rsqrt_(self) -> Self:
        """``rsqrt`` in place."""
        return self._apply("rsqrt_", self)

    def reciprocal_(self) -> Self:
        """``reciprocal`` in place."""
        return self._apply("reciprocal_", self)

    def exp_(self) -> Self:
        """``exp`` in place."""
        return self._apply("exp_", self)

    def exp2_(self) -> Self:
        """``exp2`` in place."""
        return self._apply("exp2_", self)

    def expm1_(self) -> Self:
        """``expm1`` in place."""
        return self._apply("expm1_", self)

    def log_(self) -> Self:
        """``log`` in place."""
        return self._apply("log_", self)

    def log2_(self) -> Self:
        """``log2`` in place."""
        return self._apply("log2_", self)

    def log10_(self) -> Self:
        """``log10`` in place."""
        return self._apply("log10_", self)

    def log1p_(self) -> Self:
        """``log1p`` in place."""
        return self._apply("log1p_", self)

    def sin_(self) -> Self:
        """``sin`` in place."""
        return self._apply("sin_", self)

    def cos_(self) -> Self:
        """``cos`` in place."""
        return self._apply("cos_", self)

    def tan_(self) -> Self:
        """``tan`` in place."""
        return self._apply("tan_", self)

    def asin_(self) -> Self:
        """``asin`` in place."""
        return self._apply("asin_", self)

    def acos_(self) -> Self:
        """``acos`` in place."""
        return self._apply("acos_", self)

    def atan_(self) -> Self:
        """``atan`` in place."""
        return self._apply("atan_", self)

    def sinh_(self) -> Self:
        """``sinh`` in place."""
        return self._apply("sinh_", self)

    def cosh_(self) -> Self:
        """``cosh`` in place."""
        return self._apply("cosh_", self)

    def tanh_(self) -> Self:
        """``tanh`` in place."""
        return self._apply("tanh_", self)

    def asinh_(self) -> Self:
        """``asinh`` in place."""
        return self._apply("asinh_", self)

    def acosh_(self) -> Self:
        """``acosh`` in place."""
        return self._apply("acosh_", self)

    def atanh_(self) -> Self:
        """``atanh`` in place."""
        return self._apply("atanh_", self)

    def sigmoid_(self) -> Self:
        """``sigmoid`` in place."""
        return self._apply("sigmoid_", self)

    def erf_(self) -> Self:
        """``erf`` in place."""
        return self._apply("erf_", self)

    def erfc_(self) -> Self:
        """``erfc`` in place."""
        return self._apply("erfc_", self)

    def deg2rad_(self) -> Self:
        """``deg2rad`` in place."""
        return self._apply("deg2rad_", self)

    def rad2deg_(self) -> Self:
        """``rad2deg`` in place."""
        return self._apply("rad2deg_", self)

    def atan2_(self, other: Self) -> Self:
        """``atan2`` in place."""
        return self._apply("atan2_", self, other)

    def nan_to_num_(self, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Self:
        """``nan_to_num`` in place."""
        return self._apply("nan_to_num_", self, nan=nan, posinf=posinf, neginf=neginf)

    def hypot_(self, other: Self) -> Self:
        """``hypot`` in place."""
        return self._apply("hypot_", self, other)

    def xlogy_(self, other: Self | Number) -> Self:
        """``xlogy`` in place."""
        return self._apply("xlogy_", self, other)

    def sinc_(self) -> Self:
        """``sinc`` in place."""
        return self._apply("sinc_", self)

    def logit_(self, eps: float | None = None) -> Self:
        """``logit`` in place."""
        return self._apply("logit_", self, eps=None if eps is None else real_number(eps, "eps"))

    # conversion --------------------------------------------------------------------------------------------------------------

    def fill_(self, value: Self | Number) -> Self:
        """``fill`` in place."""
        return self._apply("fill_", self, value)

    def zero_(self) -> Self:
        """``zero`` in place."""
        return self._apply("fill_", self, 0)

    def copy_(self, src: Self) -> Self:
        """``copy`` in place; a Python number too, as a tensor of it."""
        given: Any = src
        if isinstance(given, (bool, int, float, complex)):
            return self._apply("copy_", self, self.session.tensor(given))
        if isinstance(src, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            notices.discards_imaginary(src, self.dtype)
        return self._apply("copy_", self, src)

    # linalg ------------------------------------------------------------------------------------------------------------------

    def addmm_(self, mat1: Self, mat2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``addmm`` in place."""
        return self._apply("addmm_", self, mat1, mat2, beta=beta, alpha=alpha)

    def addmv_(self, mat: Self, vec: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``addmv`` in place."""
        return self._apply("addmv_", self, mat, vec, beta=beta, alpha=alpha)

    def baddbmm_(self, batch1: Self, batch2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``baddbmm`` in place."""
        return self._apply("baddbmm_", self, batch1, batch2, beta=beta, alpha=alpha)

    # nn ----------------------------------------------------------------------------------------------------------------------

    def relu_(self) -> Self:
        """``relu`` in place."""
        return self._apply("relu_", self)

    def leaky_relu_(self, negative_slope: float = 0.01) -> Self:
        """``leaky_relu`` in place."""
        return self._apply("leaky_relu_", self, negative_slope=real_number(negative_slope, "negative_slope"))

    def elu_(self, alpha: Number = 1.0) -> Self:
        """``elu`` in place."""
        return self._apply("elu_", self, alpha=alpha)

    def hardtanh_(self, min_val: float = -1.0, max_val: float = 1.0) -> Self:
        """``hardtanh`` in place."""
        return self._apply("hardtanh_", self, min_val=real_number(min_val, "min_val"), max_val=real_number(max_val, "max_val"))

    def silu_(self) -> Self:
        """``silu`` in place."""
        return self._apply("silu_", self)

    # reduce -------------------------------------------------------------------------------------------------------------

    def cumprod_(self, dim: int, *, dtype: DTypeLike | None = None) -> Self:
        """``cumprod`` in place."""
        return self._apply("cumprod_", self, dim=integer(dim, "dim"), dtype=_own_type(self, dtype))

    def cumsum_(self, dim: int, *, dtype: DTypeLike | None = None) -> Self:
        """``cumsum`` in place."""
        return self._apply("cumsum_", self, dim=integer(dim, "dim"), dtype=_own_type(self, dtype))

    # shape --------------------------------------------------------------------------------------------------------------

    def tril_(self, diagonal: int = 0) -> Self:
        """``tril`` in place."""
        return self._apply("tril_", self, diagonal=integer(diagonal, "diagonal"))

    def triu_(self, diagonal: int = 0) -> Self:
        """``triu`` in place."""
        return self._apply("triu_", self, diagonal=integer(diagonal, "diagonal"))

    # index -------------------------------------------------------------------------------------------------------------------

    def scatter_add_(self, dim: int, index: Self, src: Self) -> Self:
        """``scatter_add`` in place."""
        return self._apply("scatter_add_", self, index, src, dim=integer(dim, "dim"))

    def index_add_(self, dim: int, index: Self, source: Self, *, alpha: Number = 1) -> Self:
        """``index_add`` in place."""
        return self._apply("index_add_", self, index, source, dim=integer(dim, "dim"), alpha=alpha)

    def index_fill_(self, dim: int, index: Self, value: Self | Number) -> Self:
        """``index_fill`` in place."""
        return self._apply("index_fill_", self, index, value, dim=integer(dim, "dim"))

    def index_copy_(self, dim: int, index: Self, source: Self) -> Self:
        """``index_copy`` in place."""
        return self._apply("index_copy_", self, index, source, dim=integer(dim, "dim"))

    def masked_fill_(self, mask: Self, value: Self | Number) -> Self:
        """``masked_fill`` in place."""
        return self._apply("masked_fill_", self, mask, value)

    def masked_scatter_(self, mask: Self, source: Self) -> Self:
        """``masked_scatter`` in place."""
        return self._apply("masked_scatter_", self, mask, source)


def _own_type(x: Any, dtype: DTypeLike | None) -> DType | None:
    """The type that a running sum or product in place is asked for: the tensor's own, or nothing. Raises DTypeError."""
    if dtype is None:
        return None
    wanted = as_dtype(dtype)
    if wanted is not x.dtype:
        raise DTypeError(f"Bad in-place call: input tensor dtype {x.dtype.name} and output tensor dtype {wanted.name} should match")
    return wanted
