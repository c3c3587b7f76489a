"""Activations, normalisation and layers of neural networks: ``telegrad.nn.functional`` without the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType, DTypeLike, Number, as_dtype
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Spec, UnknownShape, check_bytes, op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import broadcast, dimension, elementwise, ints, real_number
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.linalg import require_expandable, same_type

FUNCTIONAL = "nn.functional"


def activation(name: str, *, flops: int, refuse: str = "bic") -> Rule:
    """Rule of an activation: one output like the input."""
    return elementwise(flops=flops, refuse=refuse, name=name)


def _elu(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    if isinstance(parameters["alpha"], complex):
        raise DTypeError("elu(): argument 'alpha' must not be a complex number")
    return activation("elu", flops=12)(inputs, parameters)


def softmax_rule(name: str) -> Rule:
    """Rule of normalisations along ``dim`` in type ``dtype``."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        (x,) = inputs
        dimension(parameters["dim"], len(x.shape))
        dtype: DType = parameters["dtype"] or x.dtype
        if not dtype.is_floating_point:
            raise UnsupportedDTypeError(
                f'"{name}" not implemented for {dtype.name}; give dtype=telegrad.float32, or convert the tensor first'
            )
        return Outcome((Spec(x.shape, dtype),), 15 * x.size, dtype, x.size * dtype.itemsize)

    return rule


def _dim_argument(name: str, dim: Any) -> int:
    """``dim`` of a softmax, which has no default that fits every shape."""
    if dim is None:
        raise ArgumentTypeError(f"{name}() missing 1 required argument: 'dim'; the last dimension is dim=-1")
    if type(dim) is not int:
        if isinstance(dim, bool) or not hasattr(dim, "__index__"):
            raise ArgumentTypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}")
        return int(dim.__index__())
    return dim


def _linear_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, weight, bias = inputs
    same_type("linear", x, weight, *([bias] if bias is not None else []))
    if len(weight.shape) not in (1, 2):
        raise ShapeError(
            f"linear(): weight must have 1 or 2 dimensions [out_features, in_features], got shape {list(weight.shape)}"
        )
    if not x.shape:
        raise ShapeError("both arguments to linear need to be at least 1D, but input is 0D")
    if x.shape[-1] != weight.shape[-1]:
        rows = math.prod(x.shape[:-1])
        other = "x".join(map(str, reversed(weight.shape)))
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {other}): input's last size, "
            f"{x.shape[-1]}, must equal "
            f"weight's in_features, {weight.shape[-1]}"
        )
    shape = x.shape[:-1] + weight.shape[:-1]
    if bias is not None:
        require_expandable(bias.shape, shape)
    return Outcome((Spec(shape, x.dtype),), 2 * math.prod(shape) * (x.shape[-1] + 1))


def _layer_norm_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, weight, bias = inputs
    shape = parameters["normalized_shape"]
    if not shape:
        raise ShapeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got []"
        )
    if x.shape[len(x.shape) - len(shape) :] != shape or len(x.shape) < len(shape):
        raise ShapeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got "
            "input of size "
            f"{list(x.shape)}"
        )
    if not x.dtype.is_floating_point:
        raise UnsupportedDTypeError(
            f'"layer_norm" not implemented for {x.dtype.name}; convert it first, for example with .to(telegrad.float32)'
        )
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        if value.shape != shape:
            raise ShapeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(value.shape)} and "
                f"normalized_shape = {list(shape)}"
            )
        if value.dtype is not x.dtype:
            raise DTypeError(f"layer_norm(): expected {name} of type {x.dtype.name}, as the input's, but got {value.dtype.name}")
    return Outcome((x,), 8 * x.size, None, x.nbytes)


def _embedding_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    indices, weight = inputs
    if indices.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{indices.dtype.name} instead; the order is embedding(indices, weight)"
        )
    if len(weight.shape) != 2:
        raise ShapeError(f"'weight' must be 2-D, got shape {list(weight.shape)}")
    padding = parameters.get("padding_idx")
    if padding is not None and not -weight.shape[0] <= padding < weight.shape[0]:
        raise ArgumentValueError(f"Padding_idx must be within num_embeddings, which is {weight.shape[0]}")
    shape = indices.shape + weight.shape[1:]
    return Outcome((Spec(shape, weight.dtype),), math.prod(shape))


def _attention_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    name = "scaled_dot_product_attention"
    q, k, v, mask = inputs
    same_type(name, q, k, v)
    if not q.dtype.is_floating_point:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {q.dtype.name}; give real floating-point tensors')
    if min(len(q.shape), len(k.shape), len(v.shape)) < 2:
        raise ShapeError(f"{name}: query, key and value must be at least 2 dimensional, got {[len(x.shape) for x in (q, k, v)]}")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"{name}: query [..., L, E], key [..., S, E] and value [..., S, V] must share E and S, got shapes {list(q.shape)}, "
            f"{list(k.shape)} and {list(v.shape)}"
        )
    batch = broadcast(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    scores = (*batch, q.shape[-2], k.shape[-2])
    if mask is not None:
        if parameters["is_causal"]:
            raise ShapeError(f"{name}: Explicit attn_mask should not be set when is_causal=True")
        require_expandable(mask.shape, scores)
    size = math.prod(scores)
    products = 2 * size * (q.shape[-1] + v.shape[-1])
    shape = (*batch, q.shape[-2], v.shape[-1])
    return Outcome((Spec(shape, q.dtype),), products + 15 * size, None, 2 * size * q.dtype.itemsize, 1, size * q.dtype.itemsize)


def _embedding_gradient_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    g = inputs[0]
    shape = (parameters["count"], g.shape[-1])
    return Outcome((Spec(shape, g.dtype),), g.size, None, g.nbytes)


def _dropout_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    if not 0 <= parameters["p"] <= 1:
        raise ArgumentValueError(f"dropout probability has to be between 0 and 1, but got {parameters['p']}")
    if not x.dtype.is_differentiable:
        raise DTypeError(
            f"dropout(): result type Float can't be cast to {x.dtype.name}; convert it first, for example with "
            ".to(telegrad.float32)"
        )
    return Outcome((x, Spec(x.shape, dtypes.bool_)), 3 * x.size, None, 4 * x.size)


def _one_hot_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    if x.dtype is not dtypes.int64:
        raise DTypeError(f"one_hot is only applicable to index tensor of type int64, got {x.dtype.name}")
    classes = parameters["num_classes"]
    if classes == -1:
        if not x.size:
            raise ShapeError("Can not infer total number of classes from empty tensor.")
        raise UnknownShape(dtypes.int64)
    if classes < 1:
        raise ShapeError("num_classes should be positive")
    shape = (*x.shape, classes)
    check_bytes(shape, dtypes.int64)
    return Outcome((Spec(shape, dtypes.int64),), math.prod(shape))


class NNOps(TensorBase):
    """Activations and layers."""

    __slots__ = ()

    # Layers --------------------------------------------------------------------------------------------------------------------

    @op(_linear_rule, namespace=FUNCTIONAL, node="AddmmBackward0")
    def linear(self, weight: Self, bias: Self | None = None) -> Self:
        """Affine map ``self @ weight^T + bias`` in one node.

        Shapes: [..., in], [out, in] (or [in]), [out] -> [..., out] (or [...]). Gradient: g @ weight; g^T @ self; g summed.
        Raises: ShapeError, DTypeError.
        """
        return self._apply("linear", self, weight, bias)

    @op(_embedding_rule, namespace=FUNCTIONAL, differentiable=("weight",))
    def embedding(self, weight: Self, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Self:
        """Rows of ``weight`` named by the integers of ``self``.

        Shapes: [...], [count, width] -> [..., width]. Gradient: each row's g summed over its uses, or with ``scale_grad_by_freq``
        their mean; none for row ``padding_idx``. Raises: IndexBoundsError for an index outside [0, count), DTypeError.
        """
        if padding_idx is None and not scale_grad_by_freq:
            return self._apply("embedding", self, weight)
        scaled = flag(scale_grad_by_freq, "scale_grad_by_freq")
        return self._apply("embedding", self, weight, padding_idx=padding_idx, scale_grad_by_freq=scaled)

    @op(
        _attention_rule,
        name="_scaled_dot_product_attention",
        namespace=FUNCTIONAL,
        differentiable=("self", "key", "value"),
        node="ScaledDotProductFlashAttentionForCpuBackward0",
    )
    def _attention(
        self, key: Self, value: Self, attn_mask: Self | None = None, *, is_causal: bool = False, scale: float | None = None
    ) -> Self:
        """What ``scaled_dot_product_attention`` is where nothing is dropped and no mask is learned, as one node.

        Shapes: [..., L, E], [..., S, E], [..., S, V], broadcasts to [..., L, S] -> [..., L, V]. ``scale`` is 1 / sqrt(E) by
        default. Gradient: with weights W, W^T g to the value; the softmax's of g value^T, times key and query, times scale.
        Raises: ShapeError, DTypeError. Source: Vaswani et al. (2017), arXiv:1706.03762.
        """
        factor = None if scale is None else real_number(scale, "scale")
        return self._apply("_scaled_dot_product_attention", self, key, value, attn_mask, is_causal=is_causal, scale=factor)

    @op(_embedding_gradient_rule, namespace="internal", differentiable=("self",))
    def _embedding_gradient(self, indices: Self, *, count: int, padding_idx: int | None = None) -> Self:
        """Sum of the rows of ``self`` into ``count`` rows named by ``indices``.

        Shapes: [..., width], [...] -> [count, width]. Gradient: the rows of g that ``indices`` name.
        """
        return self._apply("_embedding_gradient", self, indices, count=count, padding_idx=padding_idx)

    @op(_layer_norm_rule, namespace=FUNCTIONAL, node="NativeLayerNorm")
    def layer_norm(
        self,
        normalized_shape: int | Sequence[int],
        weight: Self | None = None,
        bias: Self | None = None,
        eps: float = 1e-5,
    ) -> Self:
        """Shift and scale to mean 0 and variance 1 over the last dimensions, then ``* weight + bias``.

        Shapes: [..., *normalized_shape], [*normalized_shape] twice -> same. Gradient: Ba, Kiros & Hinton (2016), arXiv:1607.06450.
        """
        shape = ints(normalized_shape, "normalized_shape")
        return self._apply("layer_norm", self, weight, bias, normalized_shape=shape, eps=real_number(eps, "eps"))

    @op(
        _dropout_rule,
        namespace=FUNCTIONAL,
        outputs=("result", "mask"),
        differentiable=("self",),
        random=True,
        node="NativeDropout",
    )
    def dropout(self, p: float = 0.5, training: bool = True) -> Self:
        """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)``; the tensor itself if not training.

        Shapes: [...] -> [...] and the mask of kept elements, which the method keeps to itself. Gradient: g * mask / (1 - p).
        Raises: ArgumentValueError if ``p`` is outside [0, 1].
        """
        if type(training) is not bool:
            raise ArgumentTypeError(f"dropout(): argument 'training' must be bool, not {type(training).__name__}")
        if isinstance(p, bool) or not isinstance(p, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"dropout(): argument 'p' must be float, not {type(p).__name__}")
        if not 0 <= p <= 1:
            raise ArgumentValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        if not training or p == 0:
            return self
        return self._apply("dropout", self, p=real_number(p, "p"))[0]

    @op(_one_hot_rule, namespace=FUNCTIONAL, differentiable=(), reason="its input and output are integers")
    def one_hot(self, num_classes: int = -1) -> Self:
        """One at each element's own class, zeros elsewhere; the classes are counted if ``num_classes`` is -1.

        Shapes: [...] -> [..., num_classes]. Raises: ShapeError for classes outside [0, num_classes).
        """
        return self._apply("one_hot", self, num_classes=num_classes)

    # Normalised exponentials ---------------------------------------------------------------------------------------------------

    @op(softmax_rule("softmax"))
    def softmax(self, dim: int, dtype: DTypeLike | None = None) -> Self:
        """Exponentials divided by their sum along ``dim``, computed without overflow.

        Shapes: [...] -> [...]. Gradient: (g - sum(g * result)) * result. Raises: DimensionError, DTypeError.
        """
        dim = _dim_argument("softmax", dim)
        if dtype is None:
            return self._apply("softmax", self, dim=dim)
        return self._apply("softmax", self, dim=dim, dtype=as_dtype(dtype))

    @op(softmax_rule("log_softmax"))
    def log_softmax(self, dim: int, dtype: DTypeLike | None = None) -> Self:
        """Logarithm of ``softmax``, computed without overflow or underflow.

        Shapes: [...] -> [...]. Gradient: g - exp(result) * sum(g). Raises: DimensionError, DTypeError.
        """
        dim = _dim_argument("log_softmax", dim)
        if dtype is None:
            return self._apply("log_softmax", self, dim=dim)
        return self._apply("log_softmax", self, dim=dim, dtype=as_dtype(dtype))

    # Activations ---------------------------------------------------------------------------------------------------------------

    @op(activation("relu", flops=1, refuse="bc"), inplace=True)
    def relu(self) -> Self:
        """The larger of the element and zero.

        Shapes: [...] -> [...]. Gradient: g where the result is positive, zero elsewhere, also at zero.
        """
        return self._apply("relu", self)

    @op(activation("leaky_relu", flops=2), namespace=FUNCTIONAL, inplace=True)
    def leaky_relu(self, negative_slope: float = 0.01) -> Self:
        """The element where positive, ``negative_slope`` times it elsewhere.

        Shapes: [...] -> [...]. Gradient: g where positive, negative_slope * g elsewhere.
        """
        return self._apply("leaky_relu", self, negative_slope=real_number(negative_slope, "negative_slope"))

    @op(_elu, namespace=FUNCTIONAL, inplace=True)
    def elu(self, alpha: Number = 1.0) -> Self:
        """The element where positive, ``alpha * (exp(self) - 1)`` elsewhere.

        Shapes: [...] -> [...]. Gradient: g where positive, alpha * exp(self) * g elsewhere.
        """
        return self._apply("elu", self, alpha=alpha)

    @op(activation("hardtanh", flops=2, refuse="bc"), namespace=FUNCTIONAL, inplace=True)
    def hardtanh(self, min_val: float = -1.0, max_val: float = 1.0) -> Self:
        """The element, limited to [min_val, max_val].

        Shapes: [...] -> [...]. Gradient: g strictly inside, zero elsewhere.
        """
        if min_val > max_val:
            raise ArgumentValueError("min_val cannot be greater than max_val")
        return self._apply("hardtanh", self, min_val=real_number(min_val, "min_val"), max_val=real_number(max_val, "max_val"))

    @op(activation("gelu", flops=30), namespace=FUNCTIONAL)
    def gelu(self, approximate: str = "none") -> Self:
        """The element times the normal distribution function of it; ``approximate="tanh"`` for the older formula with tanh.

        Shapes: [...] -> [...]. Gradient: g * (cdf + self * pdf). Source: Hendrycks & Gimpel (2016), arXiv:1606.08415.
        """
        if approximate not in ("none", "tanh"):
            raise ShapeError("approximate argument must be either none or tanh.")
        return self._apply("gelu", self, approximate=approximate)

    @op(activation("silu", flops=12, refuse="bi"), namespace=FUNCTIONAL, inplace=True)
    def silu(self) -> Self:
        """The element times its sigmoid (also called swish).

        Shapes: [...] -> [...]. Gradient: g * s * (1 + self * (1 - s)), s the sigmoid.
        """
        return self._apply("silu", self)

    @op(activation("softplus", flops=20), namespace=FUNCTIONAL)
    def softplus(self, beta: Number = 1, threshold: Number = 20) -> Self:
        """``log(1 + exp(beta * self)) / beta``; the element itself where ``beta * self`` exceeds ``threshold``.

        Shapes: [...] -> [...]. Gradient: g * sigmoid(beta * self), or g.
        """
        return self._apply("softplus", self, beta=beta, threshold=threshold)

    @op(activation("logsigmoid", flops=20), namespace=FUNCTIONAL, node="LogSigmoid")
    def logsigmoid(self) -> Self:
        """Logarithm of the sigmoid, computed without overflow.

        Shapes: [...] -> [...]. Gradient: g * sigmoid(-self).
        """
        return self._apply("logsigmoid", self)
