"""The connectionist loss of ``telegrad.nn.functional``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.errors import DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Spec, op
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.nn import FUNCTIONAL


def _ctc_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    logs, targets = inputs
    input_lengths, target_lengths = parameters["input_lengths"], parameters["target_lengths"]
    if len(logs.shape) != 3:
        raise ShapeError(f"ctc_loss: log_probs must be 3-D [time, batch, classes], got shape {list(logs.shape)}")
    steps, batch, classes = logs.shape
    if not logs.dtype.is_floating_point or logs.dtype is dtypes.float16:
        raise UnsupportedDTypeError(f'"ctc_loss" not implemented for {logs.dtype.name}; convert it with .to(telegrad.float32)')
    if targets.dtype not in (dtypes.int64, dtypes.int32, dtypes.uint8):
        raise DTypeError(f"targets must be integral: int64 or int32, got {targets.dtype.name}")
    if not 0 <= parameters["blank"] < classes:
        raise ShapeError("blank must be in label range")
    if len(input_lengths) != batch:
        raise ShapeError(f"input_lengths must be of size batch_size: {batch}, got {len(input_lengths)}")
    if len(target_lengths) != batch:
        raise ShapeError(f"target_lengths must be of size batch_size: {batch}, got {len(target_lengths)}")
    if any(n < 0 for n in target_lengths):
        raise ShapeError("ctc_loss: Expected target_lengths to have values at least 0")
    if any(not 0 <= n <= steps for n in input_lengths):
        raise ShapeError(f"Expected input_lengths to have value at most {steps} (the time steps of log_probs) and at least 0")
    longest = max(target_lengths, default=0)
    if len(targets.shape) == 1:
        if targets.shape[0] != sum(target_lengths):
            raise ShapeError(f"Expected targets of size {sum(target_lengths)}, the sum of target_lengths, got {targets.shape[0]}")
    elif len(targets.shape) != 2 or targets.shape[0] != batch or targets.shape[1] < longest:
        raise ShapeError(
            f"Expected targets of shape [{batch}, at least {longest}] or of one dimension, but got {list(targets.shape)}"
        )
    states = steps * batch * (2 * longest + 1)
    return Outcome((Spec((batch,), logs.dtype),), 30 * states, None, 6 * states * logs.dtype.itemsize)


def _gradient_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x = inputs[1]
    return Outcome((x,), 60 * x.size, None, 10 * x.nbytes)


class AlignmentOps(TensorBase):
    """Losses over all alignments of two sequences."""

    __slots__ = ()

    @op(_ctc_rule, name="ctc_loss", namespace=FUNCTIONAL, differentiable=("self",))
    def _ctc_loss(
        self,
        targets: Self,
        input_lengths: Sequence[int],
        target_lengths: Sequence[int],
        blank: int = 0,
        zero_infinity: bool = False,
    ) -> Self:
        """Negative log-probability of each target sequence under all its alignments with the time steps, one number a sample.

        Shapes: [T, N, C] log-probabilities, [N, S] or [sum of target lengths] -> [N]. Gradient: exp(self) less the probability of
        each class at each step, given the target: that of ``log_softmax``'s input, as in PyTorch. Raises: ShapeError, DTypeError.
        Source: Graves et al. (2006), doi:10.1145/1143844.1143891.
        """
        settings = {"input_lengths": input_lengths, "target_lengths": target_lengths}
        return self._apply("ctc_loss", self, targets, blank=blank, zero_infinity=zero_infinity, **settings)

    @op(_gradient_rule, namespace="internal", differentiable=("self", "log_probs"))
    def _ctc_gradient(
        self,
        log_probs: Self,
        targets: Self,
        *,
        input_lengths: Sequence[int],
        target_lengths: Sequence[int],
        blank: int,
        zero_infinity: bool,
    ) -> Self:
        """Gradient of ``ctc_loss``, ``self`` being that of the losses.

        Shapes: [N], [T, N, C] -> [T, N, C]. Gradient: by ``self`` only; PyTorch has none by the log-probabilities either.
        """
        settings = {"input_lengths": input_lengths, "target_lengths": target_lengths}
        return self._apply("_ctc_gradient", self, log_probs, targets, blank=blank, zero_infinity=zero_infinity, **settings)
