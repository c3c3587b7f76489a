"""Attention as one node: the kernel, what it keeps, and its derivative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad_service.engine import normalisation
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, joint_derivative, keeping, kernel


def _factor(query: Any, scale: float | None) -> float:
    size = query.shape[-1]
    return scale if scale is not None else 1 / math.sqrt(size) if size else math.inf


def _turned(x: Any) -> Any:
    return F.transpose(x, dim0=-2, dim1=-1)


def _softmax(scores: Array) -> Array:
    """In the place of the scores, which nobody else has; not where a product of turned matrices left them in another order."""
    return normalisation.softmax(scores, out=scores if scores.flags.c_contiguous else None)


def _weights(query: Array, key: Array, mask: Array | None, is_causal: bool, scale: float | None) -> Array:
    """The softmax of the scores, [..., L, S]; zeros for a query that may look nowhere."""
    scores = np.matmul(query * np.asarray(_factor(query, scale), query.dtype), np.swapaxes(key, -2, -1))
    if is_causal:
        mask = np.tri(query.shape[-2], key.shape[-2], dtype=np.bool_)
    if mask is None:
        return _softmax(scores)
    if mask.dtype == np.bool_:
        scores = np.where(mask, scores, np.asarray(-np.inf, scores.dtype))
    else:
        scores += mask.astype(scores.dtype, copy=False)
    blind = (scores == -np.inf).all(axis=-1)
    if not blind.any():
        return _softmax(scores)
    scores[blind] = 0
    weights = _softmax(scores)
    weights[blind] = 0
    return weights


@kernel("_scaled_dot_product_attention")
def _attention(self: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float | None) -> Array:
    return _attention_keeping(self, key, value, attn_mask, is_causal, scale)[0]


@keeping("_scaled_dot_product_attention", "weights")
def _attention_keeping(
    self: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float | None
) -> tuple[Array, tuple[Array | None]]:
    weights = _weights(wide(self), wide(key), attn_mask, is_causal, scale)
    result = np.matmul(weights, wide(value))
    return result, (weights if result.dtype == self.dtype else None,)


def _weights_again(query: Any, key: Any, mask: Any, is_causal: bool, scale: float | None) -> Any:
    """``_weights`` of Tensors, by ops that carry history."""
    scores = F.matmul(query * _factor(query, scale), _turned(key))
    if is_causal:
        mask = F.tril(F.zeros(scores, scores.shape) == 0)
    if mask is None:
        return F.softmax(scores, dim=-1)
    if mask.dtype is dtypes.bool_:
        scores = F.where(mask, scores, -math.inf)
    else:
        scores = scores + F.astype(mask, scores)
    blind = F.all(scores == -math.inf, dim=(-1,), keepdim=True)
    return F.masked_fill(F.softmax(F.masked_fill(scores, blind, 0.0), dim=-1), blind, 0.0)


@joint_derivative("_scaled_dot_product_attention", "self", "key", "value")
def _attention_gradient(
    g: Any,
    self: Any,
    key: Any,
    value: Any,
    attn_mask: Any,
    weights: Any,
    is_causal: bool,
    scale: float | None,
    needs: tuple[bool, bool, bool],
) -> Any:
    if weights is None:
        find = _weights if self.__class__ is np.ndarray else _weights_again
        weights = find(self, key, attn_mask, is_causal, scale)
    of_query = of_key = None
    if needs[0] or needs[1]:
        factor = _factor(self, scale)
        of_weights = F.matmul(g, _turned(value))
        if of_weights.__class__ is np.ndarray:
            of_scores = normalisation.softmax_gradient(of_weights, weights)
            of_scores *= np.asarray(factor, of_scores.dtype)
        else:
            of_scores = weights * (of_weights - F.sum(of_weights * weights, dim=(-1,), keepdim=True)) * factor
        of_query = F.matmul(of_scores, key) if needs[0] else None
        of_key = F.matmul(_turned(of_scores), self) if needs[1] else None
    return of_query, of_key, F.matmul(_turned(weights), g) if needs[2] else None
