"""Custom functions in this process: as in PyTorch, and nothing outlives its use."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import telegrad
from tests.parity.scripts import functions
from tests.parity.scripts.hooks import LOCAL_SCRIPTS
from tests.parity.transcripts import disagreements, transcript
from tests.references.sides import HAS_TORCH, torch_side

_NAMES = [name for name in vars(functions) if name in LOCAL_SCRIPTS]


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("name", _NAMES)
def test_script_sees_what_it_sees_in_the_reference(name: str) -> None:
    with telegrad.local():
        found = transcript(LOCAL_SCRIPTS[name](telegrad))

    assert disagreements(found, transcript(LOCAL_SCRIPTS[name](torch_side().torch))) == []


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


def test_async_and_foreign_tensors_are_refused() -> None:
    class Escaped(telegrad.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(_ctx: Any, *_gradients: Any) -> Any:
            return foreign

    with telegrad.local():
        foreign = telegrad.ones(2)
    with telegrad.local():
        x = telegrad.ones(2, requires_grad=True)
        with pytest.raises(telegrad.errors.SessionMismatchError):
            Escaped.apply(x).sum().backward()
