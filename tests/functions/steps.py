"""Steps of many kinds, each as (make what it works on, the step). Traced and untraced they must do the same, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

import telegrad
import telegrad.nn.functional as F
from telegrad.autograd import Function, grad
from telegrad.func import jvp, vmap
from telegrad.utils.checkpoint import checkpoint

Step = Callable[..., Any]
Make = Callable[[], tuple[Any, ...]]

STEPS: Final[dict[str, tuple[Make, Step]]] = {}


def step(make: Make) -> Callable[[Step], Step]:
    """Add a step to the table."""

    def add(function: Step) -> Step:
        STEPS[function.__name__] = (make, function)
        return function

    return add


def vector(*values: float, grad: bool = False) -> Any:
    """A tensor of these numbers."""
    return telegrad.tensor(list(values), requires_grad=grad)


def leaf_and_data() -> tuple[Any, ...]:
    """A parameter and data that fit each other."""
    return vector(0.5, -1.0, 2.0, grad=True), vector(1.0, 2.0, 3.0)


def two_vectors() -> tuple[Any, ...]:
    """Two vectors without gradient."""
    return vector(0.5, -1.0, 2.0), vector(1.0, 2.0, 3.0)


@step(two_vectors)
def elementwise(x: Any, y: Any) -> Any:
    """Nothing but ops."""
    return (x * y + 2.0).exp().tanh() - y / 3


@step(two_vectors)
def several_results(x: Any, y: Any) -> Any:
    """Results in all kinds of containers, with constants among them."""
    return {"sum": x + y, "parts": [x, (y * 2, None, 7)], "name": "result", "same": x}


@step(two_vectors)
def views_of_arguments(x: Any, y: Any) -> Any:
    """Results that share the memory of arguments."""
    return x[1:], y.view(3, 1)


@step(two_vectors)
def written_argument(x: Any, y: Any) -> Any:
    """An argument is changed in place."""
    x.mul_(2).add_(y)
    return x


@step(two_vectors)
def written_through_a_view(x: Any, y: Any) -> Any:
    """An argument is changed in place through a view."""
    x[1:] = y[:2] * 10
    return x.sum()


@step(leaf_and_data)
def backward(w: Any, x: Any) -> Any:
    """Gradients are accumulated."""
    loss = (w * x).sin().sum()
    loss.backward()
    return loss.detach()


@step(leaf_and_data)
def gradient_returned(w: Any, x: Any) -> Any:
    """The accumulated gradient is a result."""
    (w * x).sum().backward()
    return w.grad


@step(leaf_and_data)
def descent(w: Any, x: Any) -> Any:
    """A training step."""
    loss = ((w * x - 1) ** 2).mean()
    loss.backward()
    with telegrad.no_grad():
        w -= 0.1 * w.grad
        w.grad = None
    return loss


@step(leaf_and_data)
def descent_that_keeps_the_gradient(w: Any, x: Any) -> Any:
    """A training step that looks whether there is a gradient."""
    if w.grad is not None:
        w.grad.zero_()
    loss = ((w * x - 1) ** 2).mean()
    loss.backward()
    with telegrad.no_grad():
        w -= 0.1 * w.grad
    return loss


@step(leaf_and_data)
def accumulation(w: Any, x: Any) -> Any:
    """Two backwards in one step."""
    for factor in (1.0, 2.0):
        (w * x * factor).sum().backward()
    return w.grad.clone()


@step(leaf_and_data)
def grads(w: Any, x: Any) -> Any:
    """Gradients as results."""
    return grad((w**2 * x).sum(), w)


@step(leaf_and_data)
def unused_grads(w: Any, x: Any) -> Any:
    """A gradient that is None."""
    other = x.clone().requires_grad_()
    return grad((w**2).sum(), (w, other), allow_unused=True)


@step(leaf_and_data)
def recorded_result(w: Any, x: Any) -> Any:
    """A result that is differentiated outside."""
    return (w * x).sin().sum()


@step(leaf_and_data)
def random_numbers(w: Any, x: Any) -> Any:
    """Draws; every run draws anew."""
    return w.detach() + telegrad.randn(3), F.dropout(x, 0.5), telegrad.rand_like(x)


@step(leaf_and_data)
def seeded(w: Any, x: Any) -> Any:
    """Restarts the generator."""
    telegrad.manual_seed(7)
    return (w.detach() * telegrad.rand(3) + x).sum()


@step(leaf_and_data)
def constants(w: Any, x: Any) -> Any:
    """Tensors made from data, and one that requires grad."""
    scale = telegrad.tensor([1.0, 10.0, 100.0])
    shift = telegrad.zeros(3, requires_grad=True)
    (w.detach() * scale * x + shift).sum().backward()
    return shift.grad, telegrad.tensor(np.arange(3.0))


@step(leaf_and_data)
def hooks_inside(w: Any, x: Any) -> Any:
    """A hook on a tensor of the function."""
    y = w * x
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    return w.grad.clone()


@step(leaf_and_data)
def vmapped(w: Any, x: Any) -> Any:
    """A transform inside the function."""
    return vmap(lambda v: v * x)(telegrad.stack([w.detach(), x]))


@step(leaf_and_data)
def tangents(w: Any, x: Any) -> Any:
    """Forward mode inside the function."""
    return jvp(lambda v: (v * x).sin(), (w.detach(),), (x,))


class Doubled(Function):
    """x -> 2 x with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """Keep x."""
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """A gradient that can be told from the right one."""
        (x,) = ctx.saved_tensors
        return g * x


@step(leaf_and_data)
def custom_function(w: Any, x: Any) -> Any:
    """A custom function, differentiated within."""
    (Doubled.apply(w) * x).sum().backward()
    return w.grad.clone()


@step(leaf_and_data)
def checkpointed(w: Any, x: Any) -> Any:
    """A checkpoint, differentiated within."""
    y = checkpoint(lambda a: (a * x).sin(), w, use_reentrant=False)
    y.sum().backward()
    return w.grad.clone()


@step(leaf_and_data)
def scoped(w: Any, x: Any) -> Any:
    """Ops in a scope."""
    with telegrad.scope("encoder"):
        return (w * x).tanh().sum()


@step(leaf_and_data)
def new_data(w: Any, x: Any) -> Any:
    """The memory of an argument is replaced."""
    w.data = x * 2
    return w.detach() + 1


@step(leaf_and_data)
def assigned_gradient(w: Any, x: Any) -> Any:
    """A gradient is assigned."""
    w.grad = x * 3
    return w.grad.sum()


@step(leaf_and_data)
def requires_grad_switched(w: Any, x: Any) -> Any:
    """What requires grad is switched."""
    w.requires_grad_(False)
    x.requires_grad_()
    return (w * x).sum()


@step(leaf_and_data)
def static_control_flow(w: Any, x: Any) -> Any:
    """Loops and branches over shapes, types and numbers."""
    total = telegrad.zeros(())
    for i in range(len(x)):
        if x.shape[0] > 2 and x.dtype == telegrad.float32:
            total = total + x[i] * (i + 1)
    for part in w.detach():
        total = total + part
    return total


@step(leaf_and_data)
def penalty(w: Any, x: Any) -> Any:
    """A gradient of a gradient."""
    loss = ((w * x) ** 3).sum()
    (g,) = grad(loss, w, create_graph=True)
    (g**2).sum().backward()
    with telegrad.no_grad():
        w -= 1e-4 * w.grad
        w.grad = None
    return loss.detach()


@step(leaf_and_data)
def created_graph(w: Any, x: Any) -> Any:
    """Gradients with a history, and what is asked of them."""
    (g,) = grad((w**3 * x).sum(), w, create_graph=True)
    h = g * 2 if g.requires_grad else g
    return h.sum(), g


@step(leaf_and_data)
def linear_gradient(w: Any, x: Any) -> Any:
    """A gradient that depends on nothing, although its graph was asked for."""
    (g,) = grad((w * x).sum(), w, create_graph=True)
    return g if g.requires_grad else g + 1


@step(leaf_and_data)
def asks_for_unused(w: Any, x: Any) -> Any:
    """Which gradients exist only the engine can tell."""
    (g,) = grad((w**3 * x).sum(), w, create_graph=True)
    other = x.clone().requires_grad_()
    a, b = grad(g.sum(), (w, other), allow_unused=True)
    return a, b is None


@step(leaf_and_data)
def view_changed(w: Any, x: Any) -> Any:
    """The history of a view after its base was changed."""
    y = x * 1
    part = y[1:]
    y[0] = w[1]
    return part.requires_grad, y.requires_grad, part.grad_fn.name() if part.requires_grad else ""
