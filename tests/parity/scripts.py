"""Small scripts as users write them, each a function of the library's module, returning what it saw.

The same text runs in all places and in PyTorch, apart from scripts whose name ends in ``_ours``: their draws are our own.
"""

# A script that says `w.grad = None` has told pyright that w.grad stays None.
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOperatorIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from tests.parity.transcripts import attempt

Script = Callable[[Any], Any]

SCRIPTS: Final[dict[str, Script]] = {}


def script(function: Script) -> Script:
    """Put a script into the table under its name."""
    SCRIPTS[function.__name__] = function
    return function


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


# Graphs ------------------------------------------------------------------------------------------------------------------


@script
def backward_twice_accumulates_with_retained_graph(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    once = x.grad.clone()
    y.backward()
    return once, x.grad


@script
def backward_twice_without_retained_graph(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward()

    def again() -> Any:
        y.backward()
        return x.grad

    return attempt(again), x.grad


@script
def double_backward(tg: Any) -> Any:
    x = tg.tensor([0.5, -1.5], dtype=tg.float64, requires_grad=True)
    y = (x.exp() * x.sin()).sum()
    (first,) = tg.autograd.grad(y, x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = tg.autograd.grad(second.sum(), x)
    return first, second, third


@script
def gradient_penalty_backward(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=tg.float64, requires_grad=True)
    w = tg.tensor([[0.1], [0.2]], dtype=tg.float64, requires_grad=True)
    out = (x @ w).tanh().sum()
    (g,) = tg.autograd.grad(out, x, create_graph=True)
    penalty = ((g.norm(dim=1) - 1) ** 2).mean()
    penalty.backward()
    return penalty, w.grad, x.grad


@script
def several_roots_and_unused_inputs(tg: Any) -> Any:
    x = tg.tensor(2.0, requires_grad=True)
    z = tg.tensor(3.0, requires_grad=True)
    y = x * x
    both = tg.autograd.grad([y, y * 2], [x, z], allow_unused=True)
    strict = attempt(lambda: tg.autograd.grad(x * x, [z]))
    zeros = tg.autograd.grad(x * x, [x, z], materialize_grads=True)
    return both, strict, zeros


@script
def backward_into_chosen_inputs(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = tg.tensor([3.0, 4.0], requires_grad=True)
    (x * z).sum().backward(inputs=[x])
    return x.grad, z.grad


@script
def retained_gradient_of_an_intermediate(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    h.retain_grad()
    (h * h).sum().backward()
    return h.grad, x.grad, h.retains_grad, x.retains_grad


@script
def node_used_twice(tg: Any) -> Any:
    x = tg.tensor(1.5, requires_grad=True)
    h = x * x
    y = h + h * h
    y.backward()
    return y, x.grad


@script
def graph_names(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x.exp() + 1).sum()
    node = y.grad_fn
    below = node.next_functions[0][0]
    return node.name(), below.name(), below.next_functions[1:], x.grad_fn, x.is_leaf, y.is_leaf


@script
def deep_chain(tg: Any) -> Any:
    x = tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    y = x
    for _ in range(300):
        y = y * 1.01 + 0.001
    y.backward()
    return y, x.grad


@script
def batched_cotangents(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], dtype=tg.float64, requires_grad=True)
    y = x**3
    return tg.autograd.grad(y, x, tg.eye(3, dtype=tg.float64), is_grads_batched=True)


@script
def modes(tg: Any) -> Any:
    x = tg.tensor([1.0], requires_grad=True)
    with tg.no_grad():
        silent = x * 2
        with tg.enable_grad():
            loud = x * 2

    @tg.no_grad()
    def predict(value: Any) -> Any:
        return value * 3

    with tg.set_grad_enabled(False):
        off = x * 2
    return silent, loud, predict(x), off, x.detach().requires_grad, tg.is_grad_enabled()


@script
def assigned_gradient(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.grad = tg.tensor([10.0, 20.0])
    (x * x).sum().backward()
    wrong = attempt(lambda: setattr(x, "grad", tg.tensor([1.0, 2.0, 3.0])))
    return x.grad, wrong


# Indexing and shapes -----------------------------------------------------------------------------------------------------


@script
def indexing(tg: Any) -> Any:
    x = (tg.arange(24, dtype=tg.float64).reshape(2, 3, 4) / 10).requires_grad_()
    picked = [x[0], x[:, 1], x[..., -1], x[:, None, ::2], x[1, [0, 2]], x[tg.tensor([1, 0]), tg.tensor([2, 2])]]
    tg.stack([(p * p).sum() for p in picked]).sum().backward()
    return [p.detach() for p in picked], x.grad


@script
def masks_give_shapes_that_depend_on_values(tg: Any) -> Any:
    x = tg.tensor([1.0, -2.0, 3.0, -4.0], requires_grad=True)
    positive = x[x > 0]
    (positive * positive).sum().backward()
    where = (x.detach() < 0).nonzero()
    return positive, positive.shape, len(positive), x.grad, where, x.detach().masked_fill(x.detach() < 0, 0.0)


@script
def assignment_by_index(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = tg.tensor(5.0, requires_grad=True)
    y = x * 1
    y[1] = v
    y[tg.tensor([True, False, False])] = 7.0
    (y * y).sum().backward()
    return y, x.grad, v.grad


@script
def views_share_memory(tg: Any) -> Any:
    base = tg.zeros(2, 3)
    row = base[1]
    row += 1
    flat = base.view(6)
    flat[0] = 9.0
    turned = base.t()
    turned[2, 0] = 4.0
    return base, row, flat, turned, base._version


@script
def writing_through_a_view_reaches_the_base(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=tg.float64, requires_grad=True)
    y = x * 1
    y[0].mul_(10)
    y.t()[1] += x[0]
    (y * y).sum().backward()
    return y, y.grad_fn is not None, x.grad


@script
def joins_and_splits(tg: Any) -> Any:
    a = tg.tensor([[1.0, 2.0]], requires_grad=True)
    b = tg.tensor([[3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    joined = tg.cat([a, b])
    first, second = joined.split([1, 2])
    (first.sum() * second.prod() + tg.stack([a[0], b[0]]).pow(2).sum()).backward()
    return joined, first, second, a.grad, b.grad


@script
def shapes_and_reductions(tg: Any) -> Any:
    x = (tg.arange(6, dtype=tg.float32).reshape(2, 3) - 2.5).requires_grad_()
    values, indices = x.max(dim=1)
    y = x.mean(0).sum() + x.var() + x.std(dim=1).sum() + x.logsumexp(1).sum() + values.sum()
    y.backward()
    return y, indices, x.grad, x.sum(dim=(0, 1), keepdim=True), x.argmax(), x.cumsum(1), x.any(), x.permute(1, 0).shape


@script
def einsum_and_batches(tg: Any) -> Any:
    a = (tg.arange(12, dtype=tg.float64).reshape(2, 2, 3) / 12).requires_grad_()
    b = tg.ones(2, 3, 2, dtype=tg.float64)
    y = tg.einsum("bij,bjk->bik", a, b) + a.bmm(b) + a @ b
    y.sum().backward()
    return y, a.grad, tg.outer(tg.arange(3), tg.arange(2))


@script
def dtypes_and_promotion(tg: Any) -> Any:
    i, f, d, b = tg.arange(3), tg.ones(3), tg.ones(3, dtype=tg.float64), tg.tensor([True, False, True])
    return (
        [i + f, f + d, i / 2, i + 0.5, b + b, b + 1, f * 1e300, i // 2, i**2, tg.tensor(1.0, dtype=tg.float64) * f],
        [i.sum(), b.sum(), f.to(tg.int32), attempt(i.mean), (f > 0.5).dtype == tg.bool],
    )


@script
def complex_gradients(tg: Any) -> Any:
    z = tg.tensor([1 + 2j, -0.5j], dtype=tg.complex128, requires_grad=True)
    y = (z * z.conj()).real.sum() + (z.exp()).abs().sum()
    y.backward()
    return y, z.grad


@script
def not_a_number_and_infinities(tg: Any) -> Any:
    x = tg.tensor([0.0, -1.0, math.inf, math.nan], requires_grad=True)
    y = x.log()
    y.backward(tg.ones_like(y))
    return y, x.grad, y.isnan(), x.clamp(min=0.0), x.detach().max()


# Randomness --------------------------------------------------------------------------------------------------------------


@script
def draws_repeat_after_a_seed_ours(tg: Any) -> Any:
    tg.manual_seed(7)
    first = tg.randn(3), tg.rand(2, 2, dtype=tg.float64), tg.randint(0, 10, (4,))
    tg.manual_seed(7)
    return first, (tg.randn(3), tg.rand(2, 2, dtype=tg.float64), tg.randint(0, 10, (4,))), tg.randn(2)


@script
def dropout_draws_from_the_session_ours(tg: Any) -> Any:
    tg.manual_seed(3)
    x = tg.ones(50, requires_grad=True)
    y = tg.nn.functional.dropout(x, p=0.3)
    y.sum().backward()
    return y, x.grad, tg.nn.functional.dropout(x, p=0.3, training=False)


# Errors ------------------------------------------------------------------------------------------------------------------


@script
def shape_errors_at_the_line(tg: Any) -> Any:
    a, b = tg.ones(2), tg.ones(3)
    return (
        attempt(lambda: a + b),
        attempt(lambda: tg.ones(2, 3) @ tg.ones(2, 3)),
        attempt(lambda: a.reshape(5)),
        attempt(lambda: tg.cat([tg.ones(2, 2), tg.ones(3, 3)])),
        attempt(lambda: a.sum(dim=4)),
        attempt(lambda: a[5]),
        attempt(lambda: a.expand(3, 3)),
    )


@script
def the_session_survives_an_error(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    failed = attempt(lambda: x + tg.ones(3))
    y.sum().backward()
    return failed, y, x.grad


@script
def type_and_argument_errors(tg: Any) -> Any:
    x = tg.ones(2, 2)
    return (
        attempt(lambda: tg.arange(3).requires_grad_()),
        attempt(lambda: x.sum(dims=1)),
        attempt(lambda: tg.exp([1.0, 2.0])),
        attempt(lambda: x.softmax(dim=9)),
        attempt(lambda: bool(x)),
        attempt(x.item),
        attempt(lambda: len(x.sum())),
    )


@script
def autograd_errors(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    plain = tg.ones(2)

    def read_after(action: Callable[[], Any]) -> Any:
        action()
        return x.grad

    return (
        attempt(lambda: read_after((x * 2).backward)),
        attempt(lambda: read_after(lambda: plain.sum().backward())),
        attempt(lambda: tg.autograd.grad(x.sum(), plain)),
        attempt(lambda: read_after(lambda: (x * 2).backward(tg.ones(3)))),
        attempt(x.numpy),
        attempt(lambda: x.add_(1)),
        attempt(lambda: (x * 2).requires_grad_(False)),
    )


@script
def modified_saved_value(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    y.add_(1)

    def back() -> Any:
        y.sum().backward()
        return x.grad

    return attempt(back)


@script
def values_that_only_the_computation_can_refuse(tg: Any) -> Any:
    x = tg.arange(4.0)
    return attempt(lambda: x[tg.tensor([0, 9])]), attempt(lambda: x.gather(0, tg.tensor([7]))), x


# A tensor as a citizen of Python ------------------------------------------------------------------------------------------


@script
def python_protocols(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    rows = [row.tolist() for row in x]
    return (
        [rows, len(x), float(x[0, 1]), int(x[1, 1]), bool(x[0, 0] > 0), 3.0 in x, x.ndim, x.numel(), x.size(0)],
        [repr(x), repr(x[0, 0]), f"{x[0, 0]:.2f}", repr(tg.arange(3)), repr(x > 2)],
        [2 - x, 2 / x, 2**x, -x, abs(-x), x // 2, x % 2, x == 2, ~(x > 2), (x > 1) & (x < 4)],
    )


@script
def results_that_are_used_as_control_flow(tg: Any) -> Any:
    x = tg.tensor(10.0, dtype=tg.float64, requires_grad=True)
    y, steps = x, 0
    while y > 1:
        y = y / 2
        steps += 1
    y.backward()
    return steps, y, x.grad
