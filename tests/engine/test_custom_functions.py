"""Custom functions and checkpoints in this process: nothing outlives its use. What they compute is in ``tests/parity``."""

from __future__ import annotations

import gc
import tracemalloc
import warnings
import weakref
from typing import Any, cast

import pytest

import telegrad
from tests.parity.scripts.checkpoints import drawing_again


class Exp(telegrad.autograd.Function):
    """Saves its input and its output."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (g,) = grad_outputs
        _, y = ctx.saved_tensors
        return g * y


def test_saved_values_are_freed_without_the_collector() -> None:
    with telegrad.local():
        x = telegrad.ones(8, requires_grad=True)
        gc.disable()
        try:
            dropped = Exp.apply(x * 2)
            values = weakref.ref(dropped.detach().numpy())
            node = weakref.ref(dropped.grad_fn)
            del dropped
            assert node() is None
            assert values() is None

            y = Exp.apply(x * 2)
            node = weakref.ref(y.grad_fn)
            total = y.sum()
            del y
            total.backward()
            assert node() is not None
            del total
            assert node() is None
        finally:
            gc.enable()


def test_pictures_count_what_is_saved() -> None:
    with telegrad.local() as session:
        x = telegrad.ones(8, dtype=telegrad.float64, requires_grad=True)
        y = Exp.apply(x)
        (node,) = session.graph(y)["nodes"]
        assert (node["name"], node["op"], node["saved_bytes"], node["freed"]) == ("ExpBackward", "custom", 128, False)
        y.sum().backward()
        (node,) = session.graph(y)["nodes"]
        assert (node["saved_bytes"], node["freed"]) == (0, True)


def test_gradients_of_another_session_are_refused() -> None:
    class Escaped(telegrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.factor = 2
            return x * 2

        @staticmethod
        def backward(ctx: Any, *_gradients: Any) -> Any:
            assert ctx.factor == 2
            return foreign

    with telegrad.local():
        foreign = telegrad.ones(2)
    with telegrad.local():
        x = telegrad.ones(2, requires_grad=True)
        with pytest.raises(telegrad.errors.SessionMismatchError):
            Escaped.apply(x).sum().backward()


# Checkpoints -----------------------------------------------------------------------------------------------------------------


def _peak(checkpointed: bool) -> tuple[int, list[float]]:
    """The most bytes that eight blocks of eight ops on 1 MB allocate in forward and backward, and the gradient's ends."""
    checkpoint = telegrad.utils.checkpoint.checkpoint

    def block(x: Any) -> Any:
        for _ in range(8):
            x = x.sin()
        return x

    with telegrad.local():
        x = telegrad.ones(1 << 17, dtype=telegrad.float64, requires_grad=True)
        gc.disable()
        tracemalloc.start()
        try:
            y = x
            for _ in range(8):
                y = checkpoint(block, y, use_reentrant=False) if checkpointed else block(y)
            y.sum().backward()
            peak = tracemalloc.get_traced_memory()[1]
            assert x.grad is not None
            return peak, [x.grad[0].item(), x.grad[-1].item()]
        finally:
            tracemalloc.stop()
            gc.enable()


def test_a_checkpoint_keeps_its_arguments_only() -> None:
    plain, gradients = _peak(checkpointed=False)
    checkpointed, same = _peak(checkpointed=True)

    assert plain > 60 << 20
    assert checkpointed < 24 << 20  # eight arguments, and what one block saves while it runs again
    assert same == gradients


def test_a_checkpoint_draws_the_same_numbers_again() -> None:
    with telegrad.local():
        kept, other = drawing_again(telegrad)

    (first, again), y, between, after, gradient = kept
    assert first.tolist() == again.tolist()
    assert gradient.tolist() == first.double().tolist() == y.tolist()
    (first, again), _, same, later, _ = other
    assert first.tolist() != again.tolist()
    assert same.tolist() == between.tolist()
    assert later.tolist() != after.tolist()  # the block drew once more


def test_a_checkpoint_refuses_what_it_cannot_do() -> None:
    checkpoint = telegrad.utils.checkpoint.checkpoint
    with telegrad.local():
        x = telegrad.ones(2, requires_grad=True)
        with pytest.raises(TypeError, match="two context managers"):
            checkpoint(lambda x: x * 2, x, use_reentrant=False, context_fn=lambda: cast(Any, None))
        with pytest.raises(ValueError, match="debug=True is not supported"):
            checkpoint(lambda x: x * 2, x, use_reentrant=False, debug=True)
        with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
            checkpoint(lambda x: x * 2, x)


class Spoilt(telegrad.autograd.Function):
    """Its gradient is no number."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return grad_outputs[0] * float("nan")


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_anomaly_mode_names_the_line_of_a_custom_function() -> None:
    with telegrad.local(), telegrad.autograd.detect_anomaly():
        spoilt = Spoilt.apply(telegrad.ones(2, requires_grad=True)).sum()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(RuntimeError, match="Function 'SpoiltBackward' returned nan values in its 0th output"):
                spoilt.backward()

    (warning,) = told
    assert "Error detected in SpoiltBackward. Traceback of forward call" in str(warning.message)
    assert "spoilt = Spoilt.apply(" in str(warning.message)
