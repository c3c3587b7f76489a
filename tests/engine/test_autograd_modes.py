"""``no_grad``, ``enable_grad`` and ``set_grad_enabled``: as blocks, decorators and calls, across threads, tasks and generators."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

import telegrad
from telegrad import autograd


def records() -> bool:
    """Whether an op records now, asked of an op and of the flag."""
    x = telegrad.ones(1, requires_grad=True)
    recorded = (x * 2).requires_grad
    assert recorded is telegrad.is_grad_enabled()
    return recorded


def test_the_names_are_those_of_torch_autograd_too():
    for name in ("no_grad", "enable_grad", "set_grad_enabled", "is_grad_enabled"):
        assert getattr(autograd, name) is getattr(telegrad, name)


def test_no_grad_makes_leaves():
    x = telegrad.ones(2, requires_grad=True)
    with telegrad.no_grad():
        y = x * 2

    assert y.is_leaf
    assert y.grad_fn is None
    assert x.requires_grad


def test_blocks_nest_and_restore():
    with telegrad.no_grad():
        assert not records()
        with telegrad.enable_grad():
            assert records()
            with telegrad.set_grad_enabled(False):
                assert not records()
            assert records()
        assert not records()
    assert records()


def test_a_block_restores_after_an_exception():
    with contextlib.suppress(ValueError), telegrad.no_grad():
        raise ValueError

    assert records()


def test_one_manager_can_be_entered_again_also_inside_itself():
    manager = telegrad.no_grad()
    with manager, manager:
        assert not records()
    with manager:
        assert not records()
    assert records()


def test_set_grad_enabled_acts_at_once():
    telegrad.set_grad_enabled(False)
    try:
        assert not records()
    finally:
        telegrad.set_grad_enabled(True)
    assert records()


def test_set_grad_enabled_as_a_block_restores_what_was_before_the_call():
    with telegrad.no_grad():
        with telegrad.set_grad_enabled(True):
            assert records()
        assert not records()


@pytest.mark.parametrize("decorate", [telegrad.no_grad(), telegrad.set_grad_enabled], ids=["no_grad", "set"])
def test_a_decorated_function_runs_in_the_mode(decorate):
    decorator = decorate(False) if decorate is telegrad.set_grad_enabled else decorate

    @decorator
    def function(a: int, *, b: int) -> tuple[bool, int]:
        """Docs."""
        return records(), a + b

    assert records()
    assert function(1, b=2) == (False, 3)
    assert records()
    assert (function.__name__, function.__doc__) == ("function", "Docs.")


def test_a_decorator_needs_no_parentheses():
    @telegrad.no_grad
    def silent() -> bool:
        return records()

    @telegrad.enable_grad
    def loud() -> bool:
        return records()

    with telegrad.no_grad():
        assert loud() is True  # type: ignore[comparison-overlap]
    assert silent() is False  # type: ignore[comparison-overlap]


def test_a_decorated_function_restores_after_an_exception():
    @telegrad.no_grad()
    def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        fails()

    assert records()


def test_a_decorated_function_can_recurse():
    @telegrad.no_grad()
    def count(n: int) -> int:
        assert not records()
        return 0 if n == 0 else 1 + count(n - 1)

    assert count(3) == 3
    assert records()


def test_a_decorated_generator_has_the_mode_inside_and_its_consumer_has_not():
    closed = []

    @telegrad.no_grad()
    def generator():
        try:
            sent = yield records()
            try:
                yield (records(), sent)
            except KeyError:
                yield ("caught", records())
        finally:
            closed.append(records())

    g = generator()
    assert next(g) is False
    assert records()
    assert g.send("hello") == (False, "hello")
    assert records()
    assert g.throw(KeyError()) == ("caught", False)
    g.close()
    assert closed == [False]
    assert records()


def test_a_decorated_generator_returns_its_value():
    @telegrad.no_grad()
    def generator():
        yield 1
        return "done"

    def outer():
        return (yield from generator())

    g = outer()
    next(g)
    with pytest.raises(StopIteration) as stop:
        next(g)
    assert stop.value.value == "done"


def test_a_decorated_coroutine_has_the_mode_between_awaits_and_other_tasks_have_not():
    async def main():
        started, go = asyncio.Event(), asyncio.Event()

        @telegrad.no_grad()
        async def silent():
            before = records()
            started.set()
            await go.wait()
            return before, records()

        async def other():
            await started.wait()
            seen = records()
            go.set()
            return seen

        return await asyncio.gather(silent(), other())

    assert asyncio.run(main()) == [(False, False), True]
    assert records()


def test_threads_have_modes_of_their_own():
    seen = []
    with telegrad.no_grad():
        thread = threading.Thread(target=lambda: seen.append(records()))
        thread.start()
        thread.join()

    assert seen == [True]


def test_a_function_that_sets_the_mode_inside_a_block_is_undone_by_it():
    with telegrad.no_grad():
        telegrad.set_grad_enabled(True)
        assert records()
    assert records()


def test_backward_works_under_no_grad_and_makes_plain_gradients():
    x = telegrad.tensor(3.0, requires_grad=True)
    y = x**2
    with telegrad.no_grad():
        y.backward()

    assert x.grad.item() == 6
    assert not x.grad.requires_grad


def test_inference_mode_records_nothing_and_says_so():
    x = telegrad.tensor([2.0], requires_grad=True)

    with telegrad.inference_mode():
        assert telegrad.is_inference_mode_enabled()
        assert not telegrad.is_grad_enabled()
        y = x * 2
        with telegrad.inference_mode(False):
            assert not telegrad.is_inference_mode_enabled()
            assert (x * 2).requires_grad
    assert not telegrad.is_inference_mode_enabled()
    assert not y.requires_grad
    assert (x * 2).requires_grad


@pytest.mark.parametrize("decorate", [telegrad.inference_mode, telegrad.inference_mode(), telegrad.inference_mode(mode=True)])
def test_inference_mode_decorates_with_and_without_parentheses(decorate):
    @decorate
    def work(x):
        return x * 2, telegrad.is_inference_mode_enabled()

    @decorate
    def pieces(x):
        for _ in range(2):
            yield (x * 2).requires_grad

    @decorate
    async def later(x):
        return (x * 2).requires_grad

    x = telegrad.tensor([2.0], requires_grad=True)
    y, inside = work(x)
    assert (y.requires_grad, inside, telegrad.is_inference_mode_enabled()) == (False, True, False)
    found = []
    for piece in pieces(x):
        found.append(piece)
        assert (x * 2).requires_grad  # the consumer's own mode
    assert found == [False, False]
    assert asyncio.run(later(x)) is False


def test_inference_mode_ends_with_an_exception_and_refuses_other_modes():
    with contextlib.suppress(ValueError), telegrad.inference_mode():
        raise ValueError
    assert telegrad.is_grad_enabled()
    assert not telegrad.is_inference_mode_enabled()
    with pytest.raises(TypeError, match="mode must be bool, not int"):
        telegrad.inference_mode(1)
