"""Hooks in this process: the same calls in the same order with the same gradients as in PyTorch, and nothing paid without them."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import pytest

import telegrad
from telegrad_service.engine.hooks import any_hooks
from telegrad_service.engine.walk import Walk
from tests.parity.scripts.hooks import LOCAL_SCRIPTS, leaf, noting
from tests.parity.transcripts import disagreements, transcript
from tests.references.sides import HAS_TORCH, torch_side


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("name", LOCAL_SCRIPTS)
def test_script_sees_what_it_sees_in_the_reference(name: str) -> None:
    with telegrad.local():
        found = transcript(LOCAL_SCRIPTS[name](telegrad))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = transcript(LOCAL_SCRIPTS[name](torch_side().torch))

    assert disagreements(found, wanted) == []


def test_hooks_of_others_leave_the_bits_of_many_vectors_alone() -> None:
    def rows() -> list[bytes]:
        x = telegrad.tensor([0.3, -1.2, 2.1], dtype=telegrad.float64, requires_grad=True)
        (g,) = telegrad.autograd.grad((x.softmax(0) * x).sum(), x, create_graph=True)
        (h,) = telegrad.autograd.grad(g, x, telegrad.eye(3, dtype=telegrad.float64), is_grads_batched=True)
        return [row.numpy().tobytes() for row in h]

    with telegrad.local():
        wanted = rows()
        other = telegrad.ones(1, requires_grad=True)
        other.register_hook(lambda g: g)
        assert any_hooks()
        assert rows() == wanted


def test_many_vectors_meet_hooks_one_by_one() -> None:
    with telegrad.local():
        seen: list[Any] = []
        x = leaf(telegrad, 1.0, 2.0)
        y = x * 3
        y.register_hook(lambda g: seen.append(g.tolist()))
        telegrad.autograd.grad(y * 2, x, telegrad.eye(2, dtype=x.dtype), is_grads_batched=True)
    assert seen == [[2.0, 0.0], [0.0, 2.0]]


def test_hooks_of_a_view_stay_behind_when_it_is_written_through() -> None:
    log: list[Any] = []
    with telegrad.local():
        b = leaf(telegrad, 1.0, 2.0) * 1
        v = b[0]
        v.register_hook(noting(log, "v"))
        b.register_hook(noting(log, "b"))
        v.mul_(2)
        v.register_hook(noting(log, "v since"))
        b.register_hook(noting(log, "b since"))
        (b * 7).sum().backward(retain_graph=True)
        (v * 7).sum().backward()
        seen = [(name, g.tolist()) for name, g in log]

    # As PyTorch has it: the write goes from the base's new history to its old one at once.
    assert seen[:2] == [("b since", [7.0, 7.0]), ("b", [14.0, 7.0])]
    assert seen[2:] == [("v since", 7.0), ("b since", [7.0, 0.0]), ("b", [14.0, 0.0])]


def test_walks_without_hooks_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    assert not any_hooks()
    plain: list[Walk] = []
    run = Walk.run

    def noted(self: Walk, *, accumulate: bool) -> None:
        plain.append(self)
        run(self, accumulate=accumulate)

    monkeypatch.setattr(Walk, "run", noted)
    with telegrad.local():
        x = leaf(telegrad, 1.0)
        y = x * 2
        (x * 2).backward()
        handle = x.register_hook(lambda _g: None)
        (x * 2).backward()
        handle.remove()
        (x * 2).backward()
        y.register_hook(lambda _g: None)
        (x * 2).backward()
        del y
        (x * 2).backward()

    assert [type(walk) for walk in plain] == [Walk] * 3


def test_a_handle_outlives_what_it_was_given_for() -> None:
    with telegrad.local():
        handle = leaf(telegrad, 1.0).register_hook(print)
        handle.remove()
        other = leaf(telegrad, 1.0).register_hook(print)

    assert other.id != handle.id


def test_a_gradient_of_another_session_is_refused() -> None:
    other = telegrad.local()
    with other:
        foreign = telegrad.ones(1, dtype=telegrad.float64)
        with telegrad.local():
            x = leaf(telegrad, 1.0)
            x.register_hook(lambda _g: foreign)
            with pytest.raises(telegrad.errors.SessionMismatchError):
                (x * 2).backward()
