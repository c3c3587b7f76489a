"""Kernel and derivative of the connectionist loss: sums over all alignments, by forward and backward variables."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from telegrad.contract.errors import DerivativeMissingError, IndexBoundsError
from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, kernel


def _alignments(targets: Array, target_lengths: Sequence[int], blank: int) -> tuple[Array, Array]:
    """Each target with blanks around its labels, [N, 2 L + 1], and where a blank between two labels may be left out."""
    longest = max(target_lengths, default=0)
    states = np.full((len(target_lengths), 2 * longest + 1), blank, np.int64)
    start = 0
    for n, length in enumerate(target_lengths):
        own = targets[start : start + length] if targets.ndim == 1 else targets[n, :length]
        states[n, 1 : 2 * length : 2] = own
        start += length
    skips = np.zeros(states.shape, bool)
    skips[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    return states, skips


def _advance(before: Array, skips: Array) -> Array:
    """The log-probability of coming to each state from itself, from the one before, or by a skip."""
    stay_or_step = before.copy()
    stay_or_step[:, 1:] = np.logaddexp(before[:, 1:], before[:, :-1])
    jumped = np.where(skips[:, 2:], before[:, :-2], -np.inf)
    stay_or_step[:, 2:] = np.logaddexp(stay_or_step[:, 2:], jumped)
    return stay_or_step


def _forward_variables(emitted: Array, skips: Array) -> Array:
    """Log-probability of all beginnings of alignments that end in each state, [T, N, states]."""
    alpha = np.full(emitted.shape, -np.inf)
    if len(emitted):
        alpha[0, :, :2] = emitted[0, :, :2]
    for t in range(1, len(emitted)):
        alpha[t] = _advance(alpha[t - 1], skips) + emitted[t]
    return alpha


def _emitted(logs: Array, states: Array) -> Array:
    """The log-probability of each state's label at each step, in float64."""
    steps, batch, _ = logs.shape
    return np.take_along_axis(logs.astype(np.float64), np.broadcast_to(states, (steps, batch, states.shape[1])), 2)


def _check_labels(states: Array, classes: int) -> None:
    if states.size and (states.min() < 0 or states.max() >= classes):
        raise IndexBoundsError(f"ctc_loss: targets must be class indices in [0, {classes})")


@kernel("ctc_loss")
def _ctc_loss(
    self: Array, targets: Array, input_lengths: Sequence[int], target_lengths: Sequence[int], blank: int, zero_infinity: bool
) -> Array:
    states, skips = _alignments(targets, target_lengths, blank)
    _check_labels(states, self.shape[2])
    losses = _ctc_totals(_forward_variables(_emitted(self, states), skips), input_lengths, target_lengths)
    if zero_infinity:
        losses[np.isinf(losses)] = 0
    return losses


def _ctc_totals(alpha: Array, input_lengths: Sequence[int], target_lengths: Sequence[int]) -> Array:
    """The loss of each sample: minus the log-probability of ending in the last label or the blank after it."""
    losses = np.empty(len(input_lengths))
    for n, (steps, length) in enumerate(zip(input_lengths, target_lengths, strict=True)):
        if not steps:
            losses[n] = np.inf if length else 0.0
            continue
        last = alpha[steps - 1, n]
        losses[n] = -(np.logaddexp(last[2 * length], last[2 * length - 1]) if length else last[0])
    return losses


@kernel("_ctc_gradient")
def _ctc_gradient(
    self: Array,
    log_probs: Array,
    targets: Array,
    input_lengths: Sequence[int],
    target_lengths: Sequence[int],
    blank: int,
    zero_infinity: bool,
) -> Array:
    states, skips = _alignments(targets, target_lengths, blank)
    emitted = _emitted(log_probs, states)
    alpha = _forward_variables(emitted, skips)
    losses = _ctc_totals(alpha, input_lengths, target_lengths)
    steps, batch, _ = log_probs.shape
    # Backwards: the same recursion on states in reverse, begun at each sample's own last step and state.
    until, ends = np.asarray(input_lengths), 2 * np.asarray(target_lengths)
    beta = np.full(emitted.shape, -np.inf)
    begin = np.full(states.shape, -np.inf)
    rows = np.arange(batch)
    begin[rows, ends] = 0
    begin[rows, np.maximum(ends - 1, 0)] = 0
    onward = np.zeros_like(skips)
    onward[:, 2:] = skips[:, ::-1][:, :-2]
    after = np.full(states.shape, -np.inf)
    for t in range(steps - 1, -1, -1):
        moved = _advance(after[:, ::-1], onward)[:, ::-1] if t + 1 < steps else after
        beta[t] = np.where((until == t + 1)[:, None], begin, moved)
        after = beta[t] + emitted[t]
    shares = np.exp(alpha + beta + losses[:, None])
    found = np.exp(log_probs.astype(np.float64))
    for s in range(states.shape[1]):
        found[:, rows, states[:, s]] -= shares[:, :, s]
    found *= self.astype(np.float64)[:, None]
    found[np.arange(steps)[:, None] >= until] = 0
    impossible = np.isinf(losses)
    if impossible.any():  # no alignment fits: as PyTorch, no number, or with zero_infinity no gradient
        within = np.arange(steps)[:, None] < until[impossible]
        found[:, impossible] = np.where(within, 0 if zero_infinity else np.nan, 0)[..., None]
    return found


derivative(
    "ctc_loss",
    self=lambda g, self, targets, input_lengths, target_lengths, blank, zero_infinity: F._ctc_gradient(
        g,
        self,
        targets,
        input_lengths=input_lengths,
        target_lengths=target_lengths,
        blank=blank,
        zero_infinity=zero_infinity,
    ),
)


def _refuse_second(g: Any, log_probs: Any) -> Any:
    raise DerivativeMissingError(
        "the derivative for '_ctc_loss_backward' is not implemented: ctc_loss has a first derivative only, as in PyTorch"
    )


derivative(
    "_ctc_gradient",
    self=lambda g, self, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity: F.sum(
        g
        * F._ctc_gradient(
            self * 0 + 1,
            log_probs,
            targets,
            input_lengths=input_lengths,
            target_lengths=target_lengths,
            blank=blank,
            zero_infinity=zero_infinity,
        ),
        dim=(0, 2),
    ),
    log_probs=_refuse_second,
)
