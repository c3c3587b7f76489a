"""The worked example, and training steps in the ways people write them."""

# A script that says `w.grad = None` has told pyright that w.grad stays None.
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt

# The worked example ------------------------------------------------------------------------------------------------------


@script
def worked_example(tg: Any) -> Any:
    x1 = tg.tensor(0.3939, requires_grad=True)
    x2 = tg.tensor(0.7965, requires_grad=True)
    y = x1**2 + 5 * x2
    before = tg.autograd.grad(y, (x1, x2), tg.ones_like(y), retain_graph=True)
    untouched = x1.grad
    y.backward(tg.ones_like(y))

    def again() -> Any:
        y.backward(tg.ones_like(y))
        return x1.grad

    return y, before, untouched, x1.grad, x2.grad, attempt(again), repr(y)


@script
def quickstart_gradient(tg: Any) -> Any:
    w = tg.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
    x = tg.tensor([2.0, -1.0])
    loss = ((w @ x) ** 2).mean()
    loss.backward()
    return loss, w.grad, loss.item(), w.grad.tolist()


# Training steps ----------------------------------------------------------------------------------------------------------


def _data(tg: Any) -> tuple[Any, Any]:
    x = tg.arange(12, dtype=tg.float64).reshape(6, 2) / 7
    y = x @ tg.tensor([[1.5], [-0.5]], dtype=tg.float64) + 0.25
    return x, y


@script
def linear_regression_by_hand(tg: Any) -> Any:
    x, y = _data(tg)
    w = tg.zeros(2, 1, dtype=tg.float64, requires_grad=True)
    b = tg.zeros(1, dtype=tg.float64, requires_grad=True)
    losses = []
    for _ in range(5):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with tg.no_grad():
            w -= 0.1 * w.grad
            b -= 0.1 * b.grad
        w.grad = None
        b.grad = None
        losses.append(loss.item())
    return losses, w, b, w.is_leaf, w.requires_grad


@script
def zeroing_gradients_in_place(tg: Any) -> Any:
    x, y = _data(tg)
    w = tg.zeros(2, 1, dtype=tg.float64, requires_grad=True)
    seen = []
    for _ in range(3):
        loss = ((x @ w - y) ** 2).sum()
        if w.grad is not None:
            w.grad.zero_()
        loss.backward()
        seen.append(w.grad.clone())
        with tg.no_grad():
            w.sub_(w.grad, alpha=0.01)
    return seen, w


@script
def momentum_and_weight_decay(tg: Any) -> Any:
    x, y = _data(tg)
    w = tg.ones(2, 1, dtype=tg.float64, requires_grad=True)
    velocity = tg.zeros_like(w)
    for _ in range(4):
        loss = ((x @ w - y) ** 2).mean() + 1e-2 * (w * w).sum()
        (g,) = tg.autograd.grad(loss, [w])
        velocity = 0.9 * velocity + g
        w = (w - 0.05 * velocity).detach().requires_grad_()
    return w, velocity, w.is_leaf


@script
def adam_by_hand(tg: Any) -> Any:
    w = tg.tensor([1.0, -2.0, 3.0], dtype=tg.float64, requires_grad=True)
    m, v = tg.zeros_like(w), tg.zeros_like(w)
    for step in range(1, 4):
        loss = (w**4).sum() + (w * tg.tensor([1.0, 2.0, 3.0], dtype=tg.float64)).sum()
        loss.backward()
        with tg.no_grad():
            m.mul_(0.9).add_(w.grad, alpha=0.1)
            v.mul_(0.999).add_(w.grad * w.grad, alpha=0.001)
            w -= 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        w.grad = None
    return w, m, v


@script
def two_layer_classifier(tg: Any) -> Any:
    x = tg.linspace(-1, 1, 24, dtype=tg.float64).reshape(8, 3)
    target = tg.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    w1 = (tg.arange(12, dtype=tg.float64).reshape(4, 3) / 12 - 0.5).requires_grad_()
    b1 = tg.zeros(4, dtype=tg.float64, requires_grad=True)
    w2 = (tg.arange(12, dtype=tg.float64).reshape(3, 4) / 10 - 0.6).requires_grad_()
    f = tg.nn.functional
    losses = []
    for _ in range(3):
        hidden = f.relu(f.linear(x, w1, b1))
        loss = f.cross_entropy(f.linear(hidden, w2), target)
        loss.backward()
        with tg.no_grad():
            for p in (w1, b1, w2):
                p -= 0.5 * p.grad
                p.grad = None
        losses.append(loss.detach())
    predicted = f.linear(f.relu(f.linear(x, w1, b1)), w2).argmax(1)
    return losses, w1, b1, w2, predicted, (predicted == target).sum().item()


@script
def loss_from_logits_with_softmax_probabilities(tg: Any) -> Any:
    f = tg.nn.functional
    logits = tg.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]], dtype=tg.float64, requires_grad=True)
    probabilities = f.softmax(logits, dim=1)
    loss = f.nll_loss(f.log_softmax(logits, dim=1), tg.tensor([0, 2])) + probabilities.max()
    loss.backward()
    return probabilities, loss, logits.grad


@script
def rates_that_are_tensors(tg: Any) -> Any:
    x, y = _data(tg)
    w = tg.zeros(2, 1, dtype=tg.float64, requires_grad=True)
    first, second = tg.zeros_like(w), tg.zeros_like(w)
    for step in range(4):
        rate = tg.tensor(0.1 / (step + 1))
        (gradient,) = tg.autograd.grad(((x @ w - y) ** 2).mean(), w)
        with tg.no_grad():
            first.mul_(0.9).add_(gradient, alpha=rate)
            second.mul_(0.99).addcmul_(gradient, gradient, value=rate)
            w.addcdiv_(first, second.sqrt() + 1e-3, value=-rate)
            w.sub_(w.sign(), alpha=rate / 100)
    return w, first, second


@script
def rates_that_are_tensors_are_no_part_of_the_graph(tg: Any) -> Any:
    w, v = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 5.0], requires_grad=True)
    rate = tg.tensor(0.25, dtype=tg.float64)
    for made in (w.add(v, alpha=rate), w.sub(v, alpha=rate), w.addcmul(v, w, value=rate), w.addcdiv(v, w, value=rate)):
        (made * made).sum().backward()
    return w.grad, v.grad, w.add(v, alpha=rate).dtype, tg.add(w, v, alpha=tg.tensor(2))


@script
def the_penalty_of_a_gradient_as_it_is_often_written(tg: Any) -> Any:
    w = tg.tensor([1.0, -2.0, 3.0], requires_grad=True)
    x = tg.tensor([[0.5, 1.0, 1.5], [1.0, 2.0, -1.0]], requires_grad=True)
    scores = tg.tanh(x @ w)
    slopes = tg.autograd.grad(
        outputs=scores,
        inputs=x,
        grad_outputs=tg.ones_like(scores),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    ((slopes.norm(2, dim=1) - 1) ** 2).mean().backward()
    by_place = tg.autograd.grad((w * w).sum(), x, None, None, False, True, True)
    return slopes, w.grad, by_place
