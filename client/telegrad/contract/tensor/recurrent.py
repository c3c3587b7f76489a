"""One step of recurrent networks, each one node: the methods behind ``telegrad.lstm_cell`` and its kin."""

# The cells have no public method, as in PyTorch.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract.errors import DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, op
from telegrad.contract.tensor.base import TensorBase


def _cell_rule(name: str, gates: int, *, memory: bool = False) -> Rule:
    """Rule of a cell with ``gates`` rows of weights per hidden unit, and a memory beside the hidden state if ``memory``.

    What comes out: the new states, then, where there is more than one gate, four activated values a unit for the gradient.
    """

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, *states = inputs[: 2 + memory]
        w_ih, w_hh, b_ih, b_hh = inputs[2 + memory :]
        if len(x.shape) != 2 or any(len(s.shape) != 2 for s in states):
            raise ShapeError(
                f"{name}(): input and hidden states must be 2-D [batch, features], got shapes {list(x.shape)} and "
                f"{', '.join(str(list(s.shape)) for s in states)}; add a dimension with unsqueeze(0)"
            )
        batch, width = x.shape
        hidden = states[0].shape[1]
        if any(s.shape != (batch, hidden) for s in states):
            raise ShapeError(
                f"{name}(): Input batch size {batch} doesn't match hidden batch size: the states have shapes "
                f"{', '.join(str(list(s.shape)) for s in states)}"
            )
        wanted: list[tuple[str, Any, Shape]] = [("w_ih", w_ih, (gates * hidden, width)), ("w_hh", w_hh, (gates * hidden, hidden))]
        wanted += [("b_ih", b_ih, (gates * hidden,)), ("b_hh", b_hh, (gates * hidden,))]
        for what, value, shape in wanted:
            if value is not None and value.shape != shape:
                raise ShapeError(
                    f"{name}(): {what} has shape {list(value.shape)}, expected {list(shape)} for {width} features and a hidden "
                    f"size of {hidden}: mat1 and mat2 shapes cannot be multiplied"
                )
        if not x.dtype.is_floating_point:
            raise UnsupportedDTypeError(
                f'"{name}" not implemented for {x.dtype.name}; convert it first, with .to(telegrad.float32)'
            )
        for value in inputs:
            if value is not None and value.dtype is not x.dtype:
                raise DTypeError(
                    f"{name}(): expected all tensors of type {x.dtype.name}, as the input's, but got {value.dtype.name}"
                )
        state = Spec((batch, hidden), x.dtype)
        outputs = (state,) * (1 + memory) + ((Spec((batch, 4 * hidden), x.dtype),) if gates > 1 else ())
        flops = 2 * batch * gates * hidden * (width + hidden + 8)
        return Outcome(outputs, flops, None, 2 * batch * gates * hidden * max(4, x.dtype.itemsize))

    return rule


class RecurrentOps(TensorBase):
    """Cells of recurrent networks; ``self`` is the input of one step."""

    __slots__ = ()

    @op(_cell_rule("lstm_cell", 4, memory=True), name="lstm_cell", outputs=("hidden", "cell", "gates"), node="ThnnFusedLstmCell")
    def _lstm_cell(
        self, hx: Self, cx: Self, w_ih: Self, w_hh: Self, b_ih: Self | None = None, b_hh: Self | None = None
    ) -> tuple[Self, Self, Self]:
        """One step of a long short-term memory: the new hidden state, the new memory, and the activated gates i, f, g, o.

        Shapes: [N, in], [N, H] twice, [4H, in], [4H, H], [4H] twice -> [N, H] twice, [N, 4H]. Gradient: through all three.
        Raises: ShapeError, DTypeError. Source: Hochreiter & Schmidhuber (1997); gates in PyTorch's order.
        """
        return self._apply("lstm_cell", self, hx, cx, w_ih, w_hh, b_ih, b_hh)

    @op(_cell_rule("gru_cell", 3), name="gru_cell", outputs=("hidden", "gates"), node="ThnnFusedGruCell")
    def _gru_cell(self, hx: Self, w_ih: Self, w_hh: Self, b_ih: Self | None = None, b_hh: Self | None = None) -> tuple[Self, Self]:
        """One step of a gated recurrent unit: the new hidden state, and r, z, n and the hidden part of n, for the gradient.

        Shapes: [N, in], [N, H], [3H, in], [3H, H], [3H] twice -> [N, H], [N, 4H]. Gradient: through both.
        Raises: ShapeError, DTypeError. Source: Cho et al. (2014), arXiv:1406.1078; the reset gate as PyTorch places it.
        """
        return self._apply("gru_cell", self, hx, w_ih, w_hh, b_ih, b_hh)

    @op(_cell_rule("rnn_tanh_cell", 1), name="rnn_tanh_cell", node="TanhBackward0")
    def _rnn_tanh_cell(self, hx: Self, w_ih: Self, w_hh: Self, b_ih: Self | None = None, b_hh: Self | None = None) -> Self:
        """One step of a plain recurrent network: ``tanh(self @ w_ih^T + b_ih + hx @ w_hh^T + b_hh)``.

        Shapes: [N, in], [N, H], [H, in], [H, H], [H] twice -> [N, H]. Gradient: g * (1 - result ** 2), through both products.
        Raises: ShapeError, DTypeError.
        """
        return self._apply("rnn_tanh_cell", self, hx, w_ih, w_hh, b_ih, b_hh)

    @op(_cell_rule("rnn_relu_cell", 1), name="rnn_relu_cell", node="ReluBackward0")
    def _rnn_relu_cell(self, hx: Self, w_ih: Self, w_hh: Self, b_ih: Self | None = None, b_hh: Self | None = None) -> Self:
        """One step of a plain recurrent network: ``relu(self @ w_ih^T + b_ih + hx @ w_hh^T + b_hh)``.

        Shapes: [N, in], [N, H], [H, in], [H, H], [H] twice -> [N, H]. Gradient: g where the result is positive, through both
        products. Raises: ShapeError, DTypeError.
        """
        return self._apply("rnn_relu_cell", self, hx, w_ih, w_hh, b_ih, b_hh)
