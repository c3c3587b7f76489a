"""Kernels and derivatives of activations, normalisation and layers."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentValueError, IndexBoundsError, ShapeError
from telegrad_service.engine import normalisation, threads
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.rules.comparison import where
from telegrad_service.engine.rules.linalg import matmul, product, real_matrices, times_transposed
from telegrad_service.engine.table import Array, derivative, extent, joint_derivative, keeping, kernel


def wide(x: Array) -> Array:
    """float16 as float32, for kernels whose intermediate values need it; others as they are."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def sum_along(x: Any, dim: int, ndim: int) -> Any:
    """Sum over one dimension, kept; a 0-d tensor is its own sum."""
    return F.sum(x, dim=(dim,), keepdim=True) if ndim else x


# Layers ------------------------------------------------------------------------------------------------------------------------


@kernel("linear")
def _linear(self: Array, weight: Array, bias: Array | None) -> Any:
    if real_matrices(self, weight) and (bias is None or bias.ndim == 1):
        return times_transposed(self, weight, bias)
    made = matmul(self, weight.T)
    if bias is None:
        return made
    if type(made) is np.ndarray and bias.ndim <= made.ndim:
        made += bias  # made just now: nobody else holds it
        return made
    return made + bias


def _linear_self(g: Any, weight: Any) -> Any:
    if real_matrices(g, weight):
        return product(g, weight)
    conjugate = F.conjugate(weight)
    return F.matmul(g, conjugate) if weight.ndim == 2 else F.unsqueeze(g, dim=-1) * conjugate


def _linear_weight(g: Any, self: Any, weight_shape: tuple[int, ...]) -> Any:
    """One product over all leading dimensions."""
    if real_matrices(g, self):
        return product(g.T, self)
    rows = math.prod(self.shape[:-1])
    flat = F.reshape(F.conjugate(self), shape=(rows, self.shape[-1])) if self.ndim != 2 else F.conjugate(self)
    if len(weight_shape) == 1:
        return F.matmul(F.reshape(g, shape=(rows,)), flat)
    if self.ndim != 2:
        g = F.reshape(g, shape=(rows, weight_shape[0]))
    return F.matmul(F.transpose(g, dim0=0, dim1=1), flat)


derivative("linear", self=_linear_self, weight=_linear_weight, bias=lambda g: g)


@kernel("embedding")
def _embedding(self: Array, weight: Array, padding_idx: int | None, scale_grad_by_freq: bool) -> Any:
    if self.size and (self.min() < 0 or self.max() >= weight.shape[0]):
        raise IndexBoundsError(f"index out of range in self: embedding has {weight.shape[0]} rows, numbered from 0")
    return np.take(weight, self, axis=0, mode="clip")  # nothing is left to clip; the other modes take twice as long


def by_frequency(g: Any, indices: Any, count: int) -> Any:
    """The gradient of each use of a row, divided by how many uses that row has."""
    uses = F.bincount(F.reshape(indices, shape=(math.prod(indices.shape),)), None, minlength=count)
    return g / F.astype(F.embedding(indices, F.unsqueeze(uses, dim=1)), g)


def _embedding_weight(g: Any, self: Any, weight_shape: Any, padding_idx: int | None, scale_grad_by_freq: bool) -> Any:
    g = by_frequency(g, self, weight_shape[0]) if scale_grad_by_freq else g
    return F._embedding_gradient(g, self, count=weight_shape[0], padding_idx=padding_idx)


derivative("embedding", weight=_embedding_weight)


@kernel("_embedding_gradient")
def _embedding_gradient(self: Array, indices: Array, count: int, padding_idx: int | None) -> Any:
    width = self.shape[-1]
    table = np.zeros((count, width), self.dtype)
    add_rows(table, indices.reshape(-1), self.reshape(indices.size, width), empty=True)
    if padding_idx is not None:
        table[padding_idx] = 0
    return table


def _embedding_gradient_self(g: Any, indices: Any, count: int, padding_idx: int | None) -> Any:
    rows = F.embedding(indices, g)
    if padding_idx is None:
        return rows
    return rows * F.astype(F.unsqueeze(indices != padding_idx % count, dim=-1), rows)


derivative("_embedding_gradient", self=_embedding_gradient_self)


def _layer_statistics(x: Any, count: int, eps: float) -> tuple[Any, Any]:
    """The normalised input and one over the standard deviation; on arrays or Tensors."""
    dims = tuple(range(x.ndim - count, x.ndim))
    size = math.prod(x.shape[x.ndim - count :])
    centred = x - F.sum(x, dim=dims, keepdim=True) / size
    variance = F.sum(centred * centred, dim=dims, keepdim=True) / size
    inverse = (variance + eps) ** -0.5
    return centred * inverse, inverse


@kernel("layer_norm")
def _layer_norm(self: Array, weight: Array | None, bias: Array | None, normalized_shape: tuple[int, ...], eps: float) -> Any:
    return normalisation.forward(wide(self), weight, bias, math.prod(normalized_shape), eps)[0]


@keeping("layer_norm", "statistics")
def _layer_norm_keeping(
    self: Array, weight: Array | None, bias: Array | None, normalized_shape: tuple[int, ...], eps: float
) -> tuple[Array, tuple[tuple[Array, Array]]]:
    result, statistics = normalisation.forward(wide(self), weight, bias, math.prod(normalized_shape), eps)
    return result, (statistics,)


@joint_derivative("layer_norm", "self", "weight", "bias")
def _layer_norm_gradient(
    g: Any, self: Any, weight: Any, statistics: Any, normalized_shape: tuple[int, ...], eps: float, needs: tuple[bool, bool, bool]
) -> Any:
    if g.__class__ is np.ndarray and self.__class__ is np.ndarray and g.dtype != np.float16:
        return normalisation.backward(g, self, weight, normalized_shape, eps, needs, statistics)
    bias_gradient = g if needs[2] else None
    if not needs[0] and not needs[1]:
        return None, None, bias_gradient
    normalized, inverse = _layer_statistics(self, len(normalized_shape), eps)
    weight_gradient = g * normalized if needs[1] else None
    if not needs[0]:
        return None, weight_gradient, bias_gradient
    dims = tuple(range(self.ndim - len(normalized_shape), self.ndim))
    size = math.prod(normalized_shape)
    h = g if weight is None else g * weight
    mean = F.sum(h, dim=dims, keepdim=True) / size
    slope = F.sum(h * normalized, dim=dims, keepdim=True) / size
    return inverse * (h - mean - normalized * slope), weight_gradient, bias_gradient


@kernel("dropout")
def _dropout(self: Array, p: float, training: bool, generator: np.random.Generator) -> tuple[Any, Any]:
    if not training:
        return self.copy(), np.ones(self.shape, bool)
    # float32 draws take half the time; 24 random bits place p to 6e-8.
    mask = generator.random(self.shape, np.float32) >= p if p < 1 else np.zeros(self.shape, bool)
    return np.asarray(np.multiply(self, mask)) * _kept_scale(p, self.dtype), np.asarray(mask)


def _kept_scale(p: float, dtype: Any) -> Any:
    """``1 / (1 - p)`` in the tensor's own type; 0 where nothing is kept."""
    return 0.0 if p >= 1 else 1 / (1 - p)


derivative(
    "dropout",
    self=lambda g, mask, p, training: g[0] * mask * (_kept_scale(p, None) if training else 1.0),
)


@extent("one_hot")
def _classes(self: Array, num_classes: int) -> tuple[int, np.dtype[Any]]:
    return self.size * (int(self.max()) + 1 if num_classes == -1 and self.size else num_classes), np.dtype(np.int64)


@kernel("one_hot")
def _one_hot(self: Array, num_classes: int) -> Any:
    if self.size and self.min() < 0:
        raise ShapeError("Class values must be non-negative.")
    largest = int(self.max()) if self.size else -1
    count = largest + 1 if num_classes == -1 else num_classes
    if largest >= count:
        raise ShapeError("Class values must be smaller than num_classes.")
    result = np.zeros((self.size, count), np.int64)
    result[np.arange(self.size), self.reshape(-1)] = 1
    return result.reshape(*self.shape, count)


# Normalised exponentials -------------------------------------------------------------------------------------------------------


def _shifted(x: Array, dim: int) -> Array:
    """``x`` less its maximum along ``dim``, so that exp cannot overflow; in a new array."""
    if not x.size:
        return x.copy()
    top = x.max(axis=dim, keepdims=True) if x.ndim else x
    return np.asarray(x - top)


def _by_rows(x: Any, dim: int) -> bool:
    """Whether ``dim`` is the last one of an array with elements, whose rows lie in order."""
    return x.__class__ is np.ndarray and bool(x.size) and x.ndim > 0 and dim in (-1, x.ndim - 1)


def softmax(self: Array, dim: int) -> Array:
    """Exponentials over their sum along ``dim``."""
    if _by_rows(self, dim):
        return normalisation.softmax(wide(self))
    e = _shifted(wide(self), dim)
    np.exp(e, out=e)
    e /= e.sum(axis=dim, keepdims=True) if e.ndim else e.copy()
    return e


def log_softmax(self: Array, dim: int) -> Array:
    """Shifted values less the logarithm of the sum of their exponentials."""
    if _by_rows(self, dim):
        return normalisation.log_softmax(wide(self))
    shifted = _shifted(wide(self), dim)
    total = np.exp(shifted)
    shifted -= np.log(total.sum(axis=dim, keepdims=True) if total.ndim else total)
    return shifted


@kernel("softmax")
def _softmax(self: Array, dim: int, dtype: DType | None) -> Array:
    return softmax(self, dim)


@kernel("log_softmax")
def _log_softmax(self: Array, dim: int, dtype: DType | None) -> Array:
    return log_softmax(self, dim)


def _softmax_gradient(g: Any, result: Any, dim: int) -> Any:
    if _by_rows(g, dim) and _like(g, result):
        return normalisation.softmax_gradient(g, result)
    h = g * result
    return h - result * sum_along(h, dim, result.ndim)


def _log_softmax_gradient(g: Any, result: Any, dim: int) -> Any:
    if _by_rows(g, dim) and _like(g, result):
        return normalisation.log_softmax_gradient(g, result)
    return g - F.exp(result) * sum_along(g, dim, result.ndim)


def _like(g: Any, result: Any) -> bool:
    """Whether a gradient is an array of one vector, not of several in front of each other, and not of half precision."""
    return result.__class__ is np.ndarray and bool(g.shape == result.shape) and g.dtype == result.dtype and g.dtype != np.float16


derivative("softmax", self=_softmax_gradient)
derivative("log_softmax", self=_log_softmax_gradient)


# Activations -------------------------------------------------------------------------------------------------------------------

ROOT_HALF: Final = math.sqrt(0.5)
DENSITY: Final = 1 / math.sqrt(2 * math.pi)
"""The normal density at zero."""
TANH_SCALE: Final = math.sqrt(2 / math.pi)
TANH_CUBE: Final = 0.044715
"""Hendrycks & Gimpel's constant."""


def _relu(self: Array) -> Any:
    # The bound comes first: of two zeros numpy takes the second operand, and the element is to keep its sign, as in PyTorch.
    return np.maximum(0, self)


kernel("relu", _relu, ufunc=_relu, ufunc_kinds="f", in_place=lambda target: np.maximum(0, target, out=target))


# `not <=` lets the gradient pass where the value is NaN, as in PyTorch.
derivative("relu", self=lambda g, result: F.where(result <= 0, 0.0, g))


@kernel("leaky_relu")
def _leaky_relu(self: Array, negative_slope: float) -> Any:
    return where(self > 0, self, self * negative_slope)


derivative("leaky_relu", self=lambda g, self, negative_slope: F.where(self > 0, g, g * negative_slope))


@kernel("elu")
def _elu(self: Array, alpha: Any) -> Any:
    return where(self > 0, self, F.expm1(np.minimum(self, 0)) * alpha)


derivative(
    "elu",
    # The inner choice keeps the branch not taken finite, for the second derivative.
    # Not a number passes as positive numbers do, as in PyTorch.
    self=lambda g, self, alpha: F.where(self <= 0, g * (F.exp(F.where(self < 0, self, 0)) * alpha), g),
)


@kernel("hardtanh")
def _hardtanh(self: Array, min_val: float, max_val: float) -> Any:
    if self.dtype.kind in "iu":
        if np.isnan(min_val) or np.isnan(max_val):
            raise ArgumentValueError("hardtanh(): the bounds of an integer tensor must be numbers")
        info = np.iinfo(self.dtype)
        min_val, max_val = (int(min(max(bound, info.min), info.max)) for bound in (min_val, max_val))
    return np.minimum(max_val, np.maximum(min_val, self))


derivative(
    "hardtanh",
    self=lambda g, self, min_val, max_val: F.where((self <= min_val) | (self >= max_val), 0.0, g),
)


def _tanh_argument(x: Any) -> Any:
    return (TANH_SCALE * TANH_CUBE * (x * x) + TANH_SCALE) * x


@threads.by_elements
def _gate(x: Array, approximate: str) -> Array:
    """The share of ``x`` that GELU lets through: the normal distribution's, or its approximation."""
    t = np.asarray(_tanh_argument(x) if approximate == "tanh" else x * ROOT_HALF)
    t = np.tanh(t, out=t) if approximate == "tanh" else np.asarray(F.erf(t))
    t += 1
    t *= 0.5
    return t


@kernel("gelu")
def _gelu(self: Array, approximate: str) -> Array:
    x = wide(self)
    gate = _gate(x, approximate)
    return np.multiply(gate, x, out=gate)


@keeping("gelu", "gate")
def _gelu_keeping(self: Array, approximate: str) -> tuple[Array, tuple[Array | None]]:
    """To find the gate again takes up to five times as long as the rest of the gradient."""
    if self.dtype == np.float16:
        return _gelu(self, approximate), (None,)
    gate = _gate(self, approximate)
    return gate * self, (gate,)


def _gelu_gradient(g: Any, self: Any, gate: Any, approximate: str) -> Any:
    if gate is not None:
        return _gelu_slope(g, self, gate, approximate)
    if approximate == "none":
        return g * (0.5 * (1 + F.erf(self * ROOT_HALF)) + self * (DENSITY * F.exp(-0.5 * (self * self))))
    # u = c * (x + k * x ** 3), so that x times its slope, c * (x + 3 * k * x ** 3), is 3 * u - 2 * c * x.
    u = _tanh_argument(self)
    t = F.tanh(u)
    return g * (((1 - t * t) * (3 * u - 2 * TANH_SCALE * self) + (1 + t)) * 0.5)


@threads.by_elements
def _gelu_slope(g: Array, x: Array, gate: Array, approximate: str) -> Array:
    """The gradient by the gate: ``gate + x * density(x)``, and ``gate * (1 + (1 - gate) * 2 * x * u'(x))`` with u as above."""
    slope = np.asarray(x * x)
    if approximate == "none":
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= DENSITY
        slope *= x
        slope += gate
    else:
        slope *= 6 * TANH_SCALE * TANH_CUBE
        slope += 2 * TANH_SCALE
        slope *= x
        slope *= 1 - gate
        slope += 1
        slope *= gate
    return np.multiply(slope, g, out=slope) if slope.shape == g.shape else slope * g


derivative("gelu", self=_gelu_gradient)


@threads.by_elements
def _silu(self: Array) -> Any:
    return self * F.sigmoid(self)


kernel("silu", _silu, ufunc=_silu)


@threads.by_elements
def _silu_gradient(g: Any, self: Any) -> Any:
    s = F.sigmoid(self)
    return g * F.conjugate(s * (1 + self * (1 - s)))


derivative("silu", self=_silu_gradient)


@kernel("softplus")
@threads.by_elements
def _softplus(self: Array, beta: Any, threshold: Any) -> Any:
    x = wide(self)
    scaled = x * beta
    return where(scaled > threshold, x, np.log1p(np.exp(scaled)) / beta)


derivative(
    "softplus",
    self=lambda g, self, beta, threshold: F.where(self * beta > threshold, g, g * F.sigmoid(self * beta)),
)


@kernel("logsigmoid")
@threads.by_elements
def _logsigmoid(self: Array) -> Any:
    x = wide(self)
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


derivative("logsigmoid", self=lambda g, self: g * F.sigmoid(-self))
