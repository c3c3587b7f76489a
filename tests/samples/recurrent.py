"""Samples of recurrent cells."""

from __future__ import annotations

from typing import Any

from tests.samples import ErrorSample, Sample, rand


def _weights(gates: int, *, biased: bool = True) -> tuple[Any, ...]:
    """Weights, and biases, of a cell from 3 features to 2 hidden units."""
    weights = (rand(gates * 2, 3, seed=3), rand(gates * 2, 2, seed=4))
    return (*weights, rand(gates * 2, seed=5), rand(gates * 2, seed=6)) if biased else weights


_X, _H, _C = rand(2, 3), rand(2, 2, seed=1), rand(2, 2, seed=2)

SAMPLES: list[Sample] = [
    Sample("lstm_cell", (_X, (_H, _C), *_weights(4)), op="lstm_cell"),
    Sample("lstm_cell", (_X, (_H, _C), *_weights(4, biased=False)), op="lstm_cell"),
    Sample("lstm_cell", (rand(0, 3), (rand(0, 2), rand(0, 2)), *_weights(4)), op="lstm_cell"),
    Sample("gru_cell", (_X, _H, *_weights(3)), op="gru_cell"),
    Sample("gru_cell", (_X, _H, *_weights(3, biased=False)), op="gru_cell"),
    Sample("rnn_tanh_cell", (_X, _H, *_weights(1)), op="rnn_tanh_cell"),
    Sample("rnn_tanh_cell", (_X, _H, *_weights(1, biased=False)), op="rnn_tanh_cell"),
    Sample("rnn_relu_cell", (_X, _H, *_weights(1)), op="rnn_relu_cell"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("lstm_cell", (_X, (_H,), *_weights(4)), match="expects two hidden states"),
    ErrorSample("lstm_cell", (_X, (rand(3, 2), rand(3, 2)), *_weights(4)), match="doesn't match hidden batch size"),
    ErrorSample("lstm_cell", (rand(2, 4), (_H, _C), *_weights(4)), match="w_ih has shape [8, 3]"),
    ErrorSample("gru_cell", (_X, _H, *_weights(4)), match="w_ih has shape [8, 3], expected [6, 3]"),
    ErrorSample("gru_cell", (_X.astype("float32"), _H, *_weights(3)), match="expected all tensors of type float32"),
    ErrorSample("rnn_tanh_cell", (_X, _H, rand(3, 3), rand(2, 2)), match="expected [2, 3]"),
    ErrorSample("rnn_relu_cell", (_X, _H, rand(2, 3), rand(3, 2)), match="expected [2, 2]"),
]
