"""What the client knows of graphs and gradients: always what a local session says, and mostly without asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import telegrad
from telegrad.contract.errors import LeafError
from tests.client.wire import Wire

NOTHING: Any = None
"""Assigned without the checkers narrowing the attribute to None."""


def state(x: Any) -> tuple[Any, ...]:
    """Everything that a tensor says about its history; of a view that cannot say how it was made, that it refuses to."""

    def node() -> Any:
        made = x.grad_fn
        return None if made is None else made.name()

    def grad() -> Any:
        there = x.grad
        return None if there is None else (there.tolist(), there.requires_grad, there.is_leaf)

    return tuple(map(told, (lambda: x.requires_grad, lambda: x.is_leaf, node, lambda: x.retains_grad, grad)))


def told(ask: Callable[[], Any]) -> Any:
    """An answer, or the refusal in its place."""
    try:
        return ask()
    except LeafError as refusal:
        return type(refusal).__name__, str(refusal)


def test_the_history_of_plain_ops_is_known_without_asking(wire: Wire, session: telegrad.RemoteSession) -> None:
    before = wire.trips
    x = telegrad.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x + telegrad.ones(2)).sum()
    values, indices = x.max(0)

    assert (y.requires_grad, y.is_leaf, x.is_leaf, x.grad, indices.requires_grad) == (True, False, True, None, False)
    assert (repr(y.grad_fn)[:14], values.requires_grad) == ("<SumBackward0 ", True)
    assert y.grad_fn is not None
    (add, index), *_ = y.grad_fn.next_functions
    assert (add.name(), index) == ("AddBackward0", 0)
    (mul, _), (nothing, _) = add.next_functions
    assert (mul.name(), nothing) == ("MulBackward0", None)
    assert {f.name() for f, _ in mul.next_functions} == {"AccumulateGrad"}
    assert mul.next_functions[0][0] == mul.next_functions[1][0]
    assert wire.trips == before


def test_gradients_exist_without_asking_exactly_where_backward_came(wire: Wire, session: telegrad.RemoteSession) -> None:
    a, b, c = (telegrad.ones(2, requires_grad=True) for _ in range(3))
    before = wire.trips

    (a * b).sum().backward()

    assert c.grad is None
    assert a.grad is not None
    assert a.grad is a.grad
    assert (a.grad.shape, a.grad.requires_grad, a.grad.is_leaf) == ((2,), False, True)
    assert wire.trips == before
    assert a.grad.tolist() == [1, 1]


def test_a_gradient_set_to_none_begins_anew(session: telegrad.RemoteSession) -> None:
    made: list[Any] = [telegrad.ones(2, requires_grad=True)]
    (a,) = made
    a.sum().backward()
    first = a.grad

    a.grad = NOTHING
    a.sum().backward()

    assert a.grad is not first
    first += 5
    assert (a.grad.tolist(), first.tolist()) == ([1, 1], [6, 6])


def test_an_assigned_gradient_is_accumulated_into(session: telegrad.RemoteSession) -> None:
    a = telegrad.ones(2, requires_grad=True)
    given = telegrad.tensor([10.0, 20.0])

    a.grad = given
    a.sum().backward()

    assert a.grad is given
    assert given.tolist() == [11, 21]


def test_many_unknown_gradients_are_asked_for_together(wire: Wire, session: telegrad.RemoteSession) -> None:
    parameters = [telegrad.ones(2, requires_grad=True) for _ in range(5)]
    total: Any = sum((p * p).sum() for p in parameters)
    gradients = telegrad.autograd.grad(total, parameters, create_graph=True)
    before = wire.trips

    penalty: Any = sum((g * g).sum() for g in gradients)
    penalty.backward()
    values = [p.grad for p in parameters]

    assert wire.trips == before + 1
    assert [None if v is None else v.tolist() for v in values] == [[8, 8]] * 5


def test_a_deep_chain_is_walked_and_dropped(session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(1, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + x

    y.backward(telegrad.ones(1))

    assert x.grad is not None
    del y
    assert x.grad.item() == 20_001


# A random script, in two places -------------------------------------------------------------------------------------------------


def _views(x: Any) -> Any:
    return x[0] if x.ndim else x.reshape(1)


def _write(x: Any, y: Any) -> Any:
    return x.mul_(2) if x is y else x.add_(y.sum())


def _backward(x: Any, **options: Any) -> None:
    x.backward(telegrad.ones_like(x), **options)


def _clear(x: Any) -> None:
    x.grad = None


def _assign(x: Any) -> None:
    x.grad = telegrad.ones_like(x) * 3


def _toggle(x: Any) -> Any:
    return x.requires_grad_(not x.requires_grad)


def _in_no_grad(action: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(x: Any, y: Any) -> Any:
        with telegrad.no_grad():
            return action(x, y)

    return run


ACTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "mul": lambda x, y: x * y.sum(),
    "add": lambda x, y: x + y.sum(),
    "sum": lambda x, y: x.sum(),
    "compare": lambda x, y: x > 0,
    "view": lambda x, y: _views(x),
    "split": lambda x, y: x.reshape(-1).unbind(0)[0],
    "max": lambda x, y: x.reshape(-1).max(0)[0],
    "detach": lambda x, y: x.detach(),
    "write": _write,
    "zero": lambda x, y: x.zero_(),
    "set item": lambda x, y: x.__setitem__(..., y.sum()),
    "no grad": _in_no_grad(lambda x, y: x * y.sum()),
    "view in no grad": _in_no_grad(lambda x, y: _views(x)),
    "write in no grad": _in_no_grad(_write),
    "backward": lambda x, y: _backward(x, retain_graph=True),
    "backward once": lambda x, y: _backward(x),
    "backward with graph": lambda x, y: _backward(x, create_graph=True),
    "backward into": lambda x, y: _backward(x, inputs=[y], retain_graph=True),
    "grad": lambda x, y: telegrad.autograd.grad(x.sum(), y, allow_unused=True, retain_graph=True)[0],
    "grad with graph": lambda x, y: telegrad.autograd.grad(x.sum(), y, allow_unused=True, create_graph=True)[0],
    "clear": lambda x, y: _clear(x),
    "assign": lambda x, y: _assign(x),
    "gradient": lambda x, y: x.grad,
    "toggle": lambda x, y: _toggle(x),
    "retain": lambda x, y: x.retain_grad(),
    "look": lambda x, y: state(x),
}


def first_refusal(session: telegrad.Session, error: telegrad.TelegradError) -> tuple[str, str]:
    """What was refused first: what was recorded before, if the server refuses that, or what was refused when it was recorded."""
    try:
        session.flush()
    except telegrad.TelegradError as before:
        error = before
    return type(error).__name__, str(error)


def play(session: telegrad.Session, steps: list[tuple[str, int, int]]) -> list[Any]:
    """Do the steps on a growing list of tensors; what each raised, and what every tensor says in the end."""
    with session:
        tensors: list[Any] = [
            telegrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
            telegrad.tensor(0.5, requires_grad=True),
            telegrad.tensor([1.5, -1.0]),
        ]
        seen: list[Any] = []
        for name, i, j in steps:
            x, y = tensors[i % len(tensors)], tensors[j % len(tensors)]
            try:
                made = ACTIONS[name](x, y)
                session.flush()
            except telegrad.TelegradError as error:
                seen.append((name, *first_refusal(session, error)))
                continue
            if isinstance(made, telegrad.Tensor):
                tensors.append(made)
            elif made is not None:
                seen.append(made)
        # Twice: the second time from what the first has told.
        return [seen, [t.detach().tolist() for t in tensors], [state(t) for t in tensors], [state(t) for t in tensors]]


@example([("sum", 0, 0), ("retain", 3, 0), ("grad with graph", 3, 0)])  # grad() gives retained gradients too
@example([("set item", 2, 0), ("retain", 2, 0), ("backward", 2, 0)])  # a history that only the server knows, retained
@given(st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(0, 12), st.integers(0, 12)), max_size=14))
def test_random_scripts_say_the_same_as_locally(steps: list[tuple[str, int, int]]) -> None:
    assert play(Wire().open(), steps) == play(telegrad.local(), steps)


@pytest.mark.parametrize("order", ["read between", "read at the end"])
def test_a_script_without_waiting_says_the_same_as_one_that_waits(order: str) -> None:
    def run(session: telegrad.Session) -> list[Any]:
        with session:
            made: list[Any] = [telegrad.tensor([1.0, -2.0], requires_grad=True)]
            (w,) = made
            seen: list[Any] = []
            kept = []
            for _ in range(3):
                h = (w * 3).tanh()
                h.retain_grad()
                view = h[0]
                loss = (h * h).sum() + view
                loss.backward(retain_graph=True)
                with telegrad.no_grad():
                    w -= 0.1 * w.grad
                kept += [h, view, loss]
                if order == "read between":
                    seen.append([state(t) for t in (w, h, view, loss)])
                w.grad = NOTHING
            return [*seen, [state(t) for t in (w, *kept)]]

    assert run(Wire().open()) == run(telegrad.local())
