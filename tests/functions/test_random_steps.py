"""Random steps, traced and untraced: the same bits, in a local session and over the wire."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import telegrad
from telegrad.errors import AutogradError
from tests.functions.test_parity import history
from tests.places import open_session

ACTIONS: Final[dict[str, Callable[[list[Any], Any, Any, int, int], None]]] = {}
"""By name: what does something with the tensors so far, a parameter and data; the numbers choose among the tensors."""


def action(function: Callable[[list[Any], Any, Any, int, int], None]) -> Callable[[list[Any], Any, Any, int, int], None]:
    """Add an action to the table."""
    ACTIONS[function.__name__] = function
    return function


def chosen(made: list[Any], number: int) -> Any:
    """One of the tensors so far."""
    return made[number % len(made)]


@action
def multiply(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i) * chosen(made, j))


@action
def bend(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i).tanh() + j)


@action
def use_the_parameter(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i) * w)


@action
def flip(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i).flip(0))


@action
def write(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    target = chosen(made, i).clone()
    target[: 1 + j % 3] = chosen(made, j)[: 1 + j % 3]
    made.append(target)


@action
def write_data(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    x.mul_(0.5).add_(j)


@action
def write_other(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    with telegrad.no_grad():
        made[0].mul_(0.5).add_(chosen(made, i).detach() * 1)


@action
def look(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i).view(3, 1).squeeze(1))


@action
def draw(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i) + telegrad.rand(3))


@action
def walk(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    (chosen(made, i).sum() + (w * j).sum()).backward(retain_graph=True)


@action
def descend(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    if w.grad is not None:
        with telegrad.no_grad():
            w.data = w - 0.125 * w.grad
        if j % 2:
            w.grad = None


@action
def differentiate(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    y = (chosen(made, i) * w).sum()
    (g,) = telegrad.autograd.grad(y, w, retain_graph=True, create_graph=bool(j % 2))  # later actions may come by again
    made.append(g)


@action
def detach(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(chosen(made, i).detach())


@action
def hook(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    y = chosen(made, i) * w
    y.register_hook(lambda g: g * (1 + j))
    y.sum().backward(retain_graph=True)


@action
def select(made: list[Any], w: Any, x: Any, i: int, j: int) -> None:
    made.append(telegrad.where(chosen(made, i) > 0, chosen(made, j), w))


PLANS: Final = st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=10)


def apart() -> tuple[Any, ...]:
    """A parameter and data, and other data."""
    return (
        telegrad.tensor([0.5, -1.0, 2.0], requires_grad=True),
        telegrad.tensor([1.0, 2.0, 3.0]),
        telegrad.tensor([3.0, 0.5, -1.0]),
    )


def together(how: str) -> tuple[Any, ...]:
    """The same, where the data are parts of one tensor."""
    w, *_ = apart()
    flat = telegrad.tensor([1.0, 2.0, 3.0, 3.0, 0.5, -1.0])
    rows = flat.view(2, 3)
    pairs = {"rows": (rows[0], rows[1]), "overlapping": (flat[:3], flat[1:4]), "columns": (flat[::2], flat[1::2])}
    return w, *pairs.get(how, (flat[:3], flat[:3].detach()))


MAKES: Final = {"apart": apart} | {how: partial(together, how) for how in ("rows", "overlapping", "columns", "twins")}


@pytest.mark.parametrize("place", ["local", "asgi"])
@settings(max_examples=40)
@given(plan=PLANS, hows=st.lists(st.sampled_from(sorted(MAKES)), min_size=1, max_size=2))
def test_a_random_step_does_what_it_does_untraced(place, plan, hows):
    def step(w: Any, x: Any, other: Any) -> Any:
        made = [other, x * 1]
        for name, i, j in plan:
            ACTIONS[name](made, w, x, i, j)
        return made[-3:], w.grad

    with open_session(place):
        try:
            function = telegrad.function(step)
            eager, traced = [[history(MAKES[how], f, calls=4) for how in hows] for f in (step, function)]
        except AutogradError as error:
            # Over the wire, and while tracing, hooks are refused on graphs that only the engine knows.
            assume("the session has hooks" not in str(error))
            raise
        assert traced == eager
