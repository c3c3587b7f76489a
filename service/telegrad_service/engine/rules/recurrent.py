"""Kernels and derivatives of recurrent cells.

The activated gates are an output of their own, so that the gradient needs no product to find them again; the formulas take the
gradient of that output too, which is what makes second derivatives right.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.linalg import times_transposed
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, joint_derivative, kernel


def _affine(x: Array, weight: Array, bias: Array | None) -> Array:
    product: Array = times_transposed(wide(x), wide(weight), bias)
    return product


def _activations(x: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None) -> Array:
    """What goes into the gates: both products and both biases, added."""
    total = _affine(x, w_ih, b_ih if b_hh is None else b_hh if b_ih is None else b_ih + b_hh)
    total += _affine(hx, w_hh, None)
    return total


@functools.lru_cache(64)
def _gate_scales(hidden: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Factors and summands by which one tanh serves all four gates: sigmoid(z) = tanh(z / 2) / 2 + 1 / 2."""
    scale = np.full(4 * hidden, 0.5, dtype)
    shift = scale.copy()
    scale[2 * hidden : 3 * hidden], shift[2 * hidden : 3 * hidden] = 1, 0
    return scale, shift


@kernel("lstm_cell")
def _lstm_cell(self: Array, hx: Array, cx: Array, *weights: Any) -> tuple[Array, Array, Array]:
    gates = _activations(self, hx, *weights)
    n = hx.shape[1]
    scale, shift = _gate_scales(n, gates.dtype)
    gates *= scale
    np.tanh(gates, out=gates)
    gates *= scale
    gates += shift
    cell = gates[:, n : 2 * n] * cx
    cell += gates[:, :n] * gates[:, 2 * n : 3 * n]
    hidden = np.tanh(cell)
    hidden *= gates[:, 3 * n :]
    return hidden, cell, gates


def _columns(x: Any, start: int, length: int) -> Any:
    return x[:, start : start + length] if x.__class__ is np.ndarray else F.narrow(x, dim=1, start=start, length=length)


def _transposed(x: Any) -> Any:
    return x.T if x.__class__ is np.ndarray else F.transpose(x, dim0=0, dim1=1)


def _through_products(
    into_input: Any, into_hidden: Any, self: Any, hx: Any, w_ih: Any, w_hh: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Gradients of input, hidden state, both weights and both biases, from those of the two products; as ``needs`` says."""
    of_b_ih = F.sum(into_input, dim=(0,)) if needs[4] or needs[5] else None
    same = into_hidden is into_input
    return (
        F.matmul(into_input, w_ih) if needs[0] else None,
        F.matmul(into_hidden, w_hh) if needs[1] else None,
        F.matmul(_transposed(into_input), self) if needs[2] else None,
        F.matmul(_transposed(into_hidden), hx) if needs[3] else None,
        of_b_ih if needs[4] else None,
        (of_b_ih if same else F.sum(into_hidden, dim=(0,))) if needs[5] else None,
    )


def _lstm_tensors(of_hidden: Any, of_cell: Any, of_gates: Any, cx: Any, cell: Any, gates: Any, n: int) -> tuple[Any, Any]:
    """Gradients of what goes into the gates and of the old memory."""
    i, f, candidate, o = [_columns(gates, k * n, n) for k in range(4)]
    t = F.tanh(cell)
    of_memory = of_cell + of_hidden * o * (1 - t * t)
    direct = F.cat(of_memory * candidate, of_memory * cx, of_memory * i, of_hidden * t, dim=1) + of_gates
    # The slope of a sigmoid s is s - s ** 2, that of a tanh 1 - s ** 2.
    base = F.cat(i, f, candidate * 0 + 1, o, dim=1)
    return direct * (base - gates * gates), of_memory * f


def _lstm_arrays(
    of_hidden: Array, of_cell: Array, of_gates: Array, cx: Array, cell: Array, gates: Array, n: int
) -> tuple[Array, Array]:
    """``_lstm_tensors`` for arrays, into memory that is there already: a step takes half the time."""
    t = np.tanh(cell)
    into, slope = np.empty_like(gates), np.square(gates)
    np.subtract(gates, slope, out=slope)
    candidate = gates[:, 2 * n : 3 * n]
    slope[:, 2 * n : 3 * n] += 1 - candidate
    of_memory = of_hidden * gates[:, 3 * n :]
    np.multiply(of_hidden, t, out=into[:, 3 * n :])
    np.multiply(t, t, out=t)
    np.subtract(1, t, out=t)
    of_memory *= t
    of_memory += of_cell
    np.multiply(of_memory, candidate, out=into[:, :n])
    np.multiply(of_memory, cx, out=into[:, n : 2 * n])
    np.multiply(of_memory, gates[:, :n], out=into[:, 2 * n : 3 * n])
    into += of_gates
    into *= slope
    of_memory *= gates[:, n : 2 * n]
    return into, of_memory


@joint_derivative("lstm_cell", "self", "hx", "cx", "w_ih", "w_hh", "b_ih", "b_hh")
def _lstm_gradient(
    g: Any, self: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, cell: Any, gates: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    differentiate: Any = _lstm_arrays if g[0].__class__ is np.ndarray else _lstm_tensors
    into, of_cx = differentiate(*g, cx, cell, gates, hx.shape[1])
    of_self, of_hx, *rest = _through_products(into, into, self, hx, w_ih, w_hh, (*needs[:2], *needs[3:]))
    return of_self, of_hx, of_cx if needs[2] else None, *rest


@kernel("gru_cell")
def _gru_cell(
    self: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> tuple[Array, Array]:
    n = hx.shape[1]
    ours, theirs = _affine(self, w_ih, b_ih), _affine(hx, w_hh, b_hh)
    gates = np.empty((hx.shape[0], 4 * n), ours.dtype)
    np.add(ours[:, : 2 * n], theirs[:, : 2 * n], out=gates[:, : 2 * n])
    both = gates[:, : 2 * n]
    both *= 0.5
    np.tanh(both, out=both)
    both *= 0.5
    both += 0.5
    gates[:, 3 * n :] = theirs[:, 2 * n :]
    candidate = gates[:, 2 * n : 3 * n]
    np.multiply(gates[:, :n], theirs[:, 2 * n :], out=candidate)
    candidate += ours[:, 2 * n :]
    np.tanh(candidate, out=candidate)
    hidden = hx - candidate
    hidden *= gates[:, n : 2 * n]
    hidden += candidate
    return hidden, gates


@joint_derivative("gru_cell", "self", "hx", "w_ih", "w_hh", "b_ih", "b_hh")
def _gru_gradient(g: Any, self: Any, hx: Any, w_ih: Any, w_hh: Any, gates: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    of_hidden, of_gates = g
    n = hx.shape[1]
    reset, update, candidate, theirs = [_columns(gates, k * n, n) for k in range(4)]
    of_reset, of_update, of_candidate, of_theirs = [_columns(of_gates, k * n, n) for k in range(4)]
    into_candidate = (of_hidden * (1 - update) + of_candidate) * (1 - candidate * candidate)
    into_reset = (into_candidate * theirs + of_reset) * (reset * (1 - reset))
    into_update = (of_hidden * (hx - candidate) + of_update) * (update * (1 - update))
    into_input = F.cat(into_reset, into_update, into_candidate, dim=1)
    into_hidden = F.cat(into_reset, into_update, into_candidate * reset + of_theirs, dim=1)
    of_self, of_hx, *rest = _through_products(into_input, into_hidden, self, hx, w_ih, w_hh, needs)
    return of_self, None if of_hx is None else of_hx + of_hidden * update, *rest


@kernel("rnn_tanh_cell")
def _rnn_tanh_cell(self: Array, hx: Array, *weights: Any) -> Array:
    total = _activations(self, hx, *weights)
    return np.tanh(total, out=total)


@joint_derivative("rnn_tanh_cell", "self", "hx", "w_ih", "w_hh", "b_ih", "b_hh")
def _rnn_tanh_gradient(g: Any, self: Any, hx: Any, w_ih: Any, w_hh: Any, result: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    into = g * (1 - result * result)
    return _through_products(into, into, self, hx, w_ih, w_hh, needs)


@kernel("rnn_relu_cell")
def _rnn_relu_cell(self: Array, hx: Array, *weights: Any) -> Array:
    total = _activations(self, hx, *weights)
    return np.maximum(total, 0, out=total)


@joint_derivative("rnn_relu_cell", "self", "hx", "w_ih", "w_hh", "b_ih", "b_hh")
def _rnn_relu_gradient(g: Any, self: Any, hx: Any, w_ih: Any, w_hh: Any, result: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    into = F.where(result <= 0, 0.0, g)
    return _through_products(into, into, self, hx, w_ih, w_hh, needs)
