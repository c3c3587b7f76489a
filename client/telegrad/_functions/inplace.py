"""Free functions that change their first tensor in place: ``telegrad.exp_(x)`` is ``x.exp_()``, for those that PyTorch has."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "abs_",
    "acos_",
    "acosh_",
    "addmv_",
    "arccos_",
    "arccosh_",
    "arcsin_",
    "arcsinh_",
    "arctan_",
    "arctanh_",
    "asin_",
    "asinh_",
    "atan_",
    "atanh_",
    "ceil_",
    "clamp_",
    "clamp_max_",
    "clamp_min_",
    "clip_",
    "conj_physical_",
    "cos_",
    "cosh_",
    "deg2rad_",
    "detach_",
    "erf_",
    "erfc_",
    "exp2_",
    "exp_",
    "expm1_",
    "fill_",
    "fix_",
    "floor_",
    "frac_",
    "gcd_",
    "i0_",
    "index_put_",
    "lcm_",
    "ldexp_",
    "log1p_",
    "log2_",
    "log10_",
    "log_",
    "logit_",
    "nan_to_num_",
    "neg_",
    "negative_",
    "rad2deg_",
    "reciprocal_",
    "round_",
    "rsqrt_",
    "sigmoid_",
    "sin_",
    "sinc_",
    "sinh_",
    "sqrt_",
    "square_",
    "tan_",
    "tanh_",
    "trunc_",
    "xlogy_",
    "zero_",
]

abs_ = free(Tensor.abs_)
acos_ = free(Tensor.acos_)
acosh_ = free(Tensor.acosh_)
addmv_ = free(Tensor.addmv_)
arccos_ = free(Tensor.arccos_)
arccosh_ = free(Tensor.arccosh_)
arcsin_ = free(Tensor.arcsin_)
arcsinh_ = free(Tensor.arcsinh_)
arctan_ = free(Tensor.arctan_)
arctanh_ = free(Tensor.arctanh_)
asin_ = free(Tensor.asin_)
asinh_ = free(Tensor.asinh_)
atan_ = free(Tensor.atan_)
atanh_ = free(Tensor.atanh_)
ceil_ = free(Tensor.ceil_)
clamp_ = free(Tensor.clamp_)
clamp_max_ = free(Tensor.clamp_max_)
clamp_min_ = free(Tensor.clamp_min_)
clip_ = free(Tensor.clip_)
conj_physical_ = free(Tensor.conj_physical_)
cos_ = free(Tensor.cos_)
cosh_ = free(Tensor.cosh_)
deg2rad_ = free(Tensor.deg2rad_)
detach_ = free(Tensor.detach_)
erf_ = free(Tensor.erf_)
erfc_ = free(Tensor.erfc_)
exp2_ = free(Tensor.exp2_)
exp_ = free(Tensor.exp_)
expm1_ = free(Tensor.expm1_)
fill_ = free(Tensor.fill_)
fix_ = free(Tensor.fix_)
floor_ = free(Tensor.floor_)
frac_ = free(Tensor.frac_)
gcd_ = free(Tensor.gcd_)
i0_ = free(Tensor.i0_)
index_put_ = free(Tensor.index_put_)
lcm_ = free(Tensor.lcm_)
ldexp_ = free(Tensor.ldexp_)
log10_ = free(Tensor.log10_)
log1p_ = free(Tensor.log1p_)
log2_ = free(Tensor.log2_)
log_ = free(Tensor.log_)
logit_ = free(Tensor.logit_)
nan_to_num_ = free(Tensor.nan_to_num_)
neg_ = free(Tensor.neg_)
negative_ = free(Tensor.negative_)
rad2deg_ = free(Tensor.rad2deg_)
reciprocal_ = free(Tensor.reciprocal_)
round_ = free(Tensor.round_)
rsqrt_ = free(Tensor.rsqrt_)
sigmoid_ = free(Tensor.sigmoid_)
sin_ = free(Tensor.sin_)
sinc_ = free(Tensor.sinc_)
sinh_ = free(Tensor.sinh_)
sqrt_ = free(Tensor.sqrt_)
square_ = free(Tensor.square_)
tan_ = free(Tensor.tan_)
tanh_ = free(Tensor.tanh_)
trunc_ = free(Tensor.trunc_)
xlogy_ = free(Tensor.xlogy_)
zero_ = free(Tensor.zero_)
