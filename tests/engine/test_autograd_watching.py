"""Anomaly mode: PyTorch's values, errors and warnings, and nothing left behind."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, Final

import pytest

import telegrad
from telegrad.contract import watching
from tests.parity.scripts.hooks import leaf
from tests.parity.transcripts import Failure, attempt, disagreements
from tests.places import PLACES, REMOTE, open_session
from tests.references.sides import HAS_TORCH, torch_side

Script = Callable[[Any], Any]

SCRIPTS: Final[dict[str, Script]] = {}


def script(function: Script) -> Script:
    SCRIPTS[function.__name__] = function
    return function


def kinds_of(messages: Any) -> list[str]:
    """The warnings' first lines, as far as they are about the user's graph."""
    lines = [str(m.message).strip().splitlines()[0] for m in messages]
    return [re.sub(r" \(Triggered.*", "", line) for line in lines]


@script
def nan_in_a_gradient(tg: Any) -> Any:
    with tg.autograd.detect_anomaly():
        y = leaf(tg, -1.0).sqrt()
        y.backward()


@script
def nan_that_is_let_through(tg: Any) -> Any:
    x = leaf(tg, -1.0)
    with tg.autograd.detect_anomaly(check_nan=False):
        x.sqrt().backward()
    return x.grad


@script
def nan_of_a_node_recorded_before(tg: Any) -> Any:
    y = leaf(tg, -1.0).sqrt()
    with tg.autograd.set_detect_anomaly(True):
        modes = tg.is_anomaly_enabled(), tg.is_anomaly_check_nan_enabled()
        return modes, attempt(y.backward)


@script
def nan_in_a_second_gradient(tg: Any) -> Any:
    with tg.autograd.set_detect_anomaly(True):
        x = leaf(tg, 0.0)
        (g,) = tg.autograd.grad(x.pow(1.5), x, create_graph=True)
        (h,) = tg.autograd.grad(g, x, create_graph=True)
        tg.autograd.grad(h * 0, x)


@script
def a_hook_that_raises(tg: Any) -> Any:
    with tg.autograd.set_detect_anomaly(True):
        y = leaf(tg, 1.0).exp()
        y.register_hook(lambda _g: 1 / 0)
        y.backward()


@script
def a_graph_that_was_freed(tg: Any) -> Any:
    with tg.autograd.set_detect_anomaly(True):
        y = leaf(tg, 1.0).exp()
        y.backward()
        y.backward()


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_sees_what_it_sees_in_the_reference(name: str) -> None:
    with warnings.catch_warnings(record=True) as wanted_warnings:
        warnings.simplefilter("always")
        wanted = attempt(lambda: SCRIPTS[name](torch_side().torch))
    with warnings.catch_warnings(record=True) as found_warnings, telegrad.local():
        warnings.simplefilter("always")
        found = attempt(lambda: SCRIPTS[name](telegrad))

    assert disagreements(found, wanted) == []
    assert watching.watchers == 0
    if name != "nan_in_a_second_gradient":  # PyTorch's say "Previous calculation" after two empty lines
        assert kinds_of(found_warnings) == kinds_of(wanted_warnings)
    if isinstance(wanted, Failure) and "Function" in wanted.message:
        assert found.message == wanted.message


def test_anomaly_mode_names_the_line_of_the_forward_call() -> None:
    with telegrad.local(), telegrad.autograd.set_detect_anomaly(True):
        x = leaf(telegrad, -1.0)
        y = x.sqrt()  # this very line
        with (
            pytest.warns(UserWarning, match=r"(?s)Traceback of forward call.*y = x\.sqrt\(\)  # this very line") as seen,
            pytest.raises(telegrad.errors.NumericalError, match="Function 'SqrtBackward0' returned nan values in its 0th output"),
        ):
            y.backward()

    assert seen[0].filename == __file__
    assert "engine/tensor.py" not in str(seen[0].message)


def test_gradients_of_gradients_name_both_lines() -> None:
    with telegrad.local(), telegrad.autograd.set_detect_anomaly(True):
        x = leaf(telegrad, 0.0)
        y = x.pow(1.5)  # the first line
        (g,) = telegrad.autograd.grad(y, x, create_graph=True)  # the second line
        (h,) = telegrad.autograd.grad(g, x, create_graph=True)  # the third line
        root = h * 0
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises(telegrad.errors.NumericalError):
                telegrad.autograd.grad(root, x)

    texts = [str(warning.message) for warning in seen]
    assert len(texts) == 3
    assert re.search(r"(?s)Previous calculation was induced by PowBackward0.*the second line\n$", texts[1])
    assert re.search(r"(?s)Previous calculation was induced by PowBackward0.*the first line\n$", texts[2])


@pytest.mark.parametrize("place", PLACES)
def test_what_pytorch_warns_of_around_backward(place: str) -> None:
    with open_session(place):
        x = leaf(telegrad, 2.0)
        y = x * x
        with pytest.warns(UserWarning, match="reference cycle") as seen:
            y.backward(create_graph=True)
        assert seen[0].filename == __file__
        with pytest.warns(UserWarning, match="not a leaf Tensor") as seen:
            assert y.grad is None
        assert seen[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            telegrad.autograd.grad(x * x, x, create_graph=True)
            assert x.grad is not None
            z = x * 2
            z.retain_grad()
            assert z.grad is None
            assert x.detach().grad is None
            z.backward()
            assert z.grad is not None


@pytest.mark.parametrize("place", REMOTE)
def test_a_server_tells_which_node_it_was_and_the_client_which_line(place: str) -> None:
    with open_session(place) as session, telegrad.autograd.set_detect_anomaly(True):
        x = leaf(telegrad, 1.0)
        inner = x - 1
        y = inner.sqrt()  # this very line
        root = (y * 0 + inner).sum()
        root.backward()
        with (
            pytest.warns(
                UserWarning, match=r"(?s)Error detected in SqrtBackward0.*y = inner\.sqrt\(\)  # this very line\n$"
            ) as seen,
            pytest.raises(telegrad.errors.NumericalError, match="Function 'SqrtBackward0' returned nan values in its 0th output"),
        ):
            session.flush()
        assert seen[0].filename == __file__
        with telegrad.autograd.set_detect_anomaly(True, check_nan=False):
            z = x.exp()
            z.backward()
            z.backward()
            with (
                pytest.warns(UserWarning, match=r"(?s)Error detected in ExpBackward0.*z = x\.exp\(\)\n$"),
                pytest.raises(telegrad.errors.GraphFreedError),
            ):
                session.flush()
