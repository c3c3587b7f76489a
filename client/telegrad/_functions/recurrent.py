"""Recurrent cells as free functions."""

# pyright: reportPrivateUsage=false
# A tensor has no public method of these names, as in PyTorch.

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from telegrad.contract.errors import ArgumentTypeError, ShapeError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]

T = TypeVar("T", bound=Tensor)

rnn_relu_cell = free(Tensor._rnn_relu_cell)
rnn_tanh_cell = free(Tensor._rnn_tanh_cell)


def lstm_cell(input: T, hx: Sequence[T], w_ih: T, w_hh: T, b_ih: T | None = None, b_hh: T | None = None) -> tuple[T, T]:
    """One step of a long short-term memory from ``hx``, its hidden state and memory: the new ones. See ``Tensor._lstm_cell``."""
    x = require_tensor(input, "lstm_cell")
    if not isinstance(hx, (tuple, list)):
        raise ArgumentTypeError(f"lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not {type(hx).__name__}")
    if len(hx) != 2:
        raise ShapeError("lstm_cell expects two hidden states")
    hidden, cell, _ = x._lstm_cell(hx[0], hx[1], w_ih, w_hh, b_ih, b_hh)
    return hidden, cell


def gru_cell(input: T, hx: T, w_ih: T, w_hh: T, b_ih: T | None = None, b_hh: T | None = None) -> T:
    """One step of a gated recurrent unit: the new hidden state. See ``Tensor._gru_cell``."""
    return require_tensor(input, "gru_cell")._gru_cell(hx, w_ih, w_hh, b_ih, b_hh)[0]
