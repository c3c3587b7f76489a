"""Random histories of a script against a plain model in numpy: locally, and over a bad network to a server that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import telegrad
from telegrad.errors import ShapeError
from tests.chaos import FAULTS, Chaos
from tests.service.serving import Server

Values = npt.NDArray[np.float64]
NUMBERS = st.integers(-8, 8)
PICK = st.integers(0, 10**6)


class Modelled:
    """A leaf, and what numpy says of it."""

    def __init__(self, tensor: Any, value: Values) -> None:
        self.tensor, self.value = tensor, value
        self.grad: Values | None = None


class Histories(RuleBasedStateMachine):
    """What a script does to leaves of small whole numbers, for which every order of sums is exact."""

    session: Any

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[Modelled] = []

    def open(self) -> Any:
        """A session."""
        return telegrad.local()

    @initialize()
    def begin(self) -> None:
        self.session = self.open()
        self.session.__enter__()

        @telegrad.function
        def grow(by: Any, x: Any) -> Any:
            (x * x * by).sum().backward()
            return (x * by).detach()

        self.grow = grow

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.check()
            self.session.__exit__(None, None, None)

    def leaf(self, pick: int) -> Modelled:
        return self.leaves[pick % len(self.leaves)]

    def check(self) -> None:
        """Every value and gradient."""
        for leaf in self.leaves:
            assert leaf.tensor.detach().tolist() == leaf.value.tolist()
            gradient = leaf.tensor.grad
            assert (None if gradient is None else gradient.tolist()) == (None if leaf.grad is None else leaf.grad.tolist())

    has_leaves = precondition(lambda self: bool(self.leaves))

    @rule(data=st.lists(NUMBERS, min_size=1, max_size=4))
    def create(self, data: list[int]) -> None:
        value = np.array(data, np.float64)
        self.leaves.append(Modelled(self.session.tensor(value, requires_grad=True), value))

    @has_leaves
    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        self.leaves.pop(pick % len(self.leaves))

    @has_leaves
    @rule(pick=PICK, by=NUMBERS)
    def change(self, pick: int, by: int) -> None:
        leaf = self.leaf(pick)
        with telegrad.no_grad():
            leaf.tensor.add_(by)
        leaf.value = leaf.value + by

    @has_leaves
    @rule(pick=PICK, by=NUMBERS)
    def backward(self, pick: int, by: int) -> None:
        leaf = self.leaf(pick)
        (leaf.tensor * leaf.tensor * by).sum().backward()
        self.accumulate(leaf, 2 * leaf.value * by)

    @staticmethod
    def accumulate(leaf: Modelled, gradient: Values) -> None:
        leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient

    @has_leaves
    @rule(pick=PICK, by=st.lists(NUMBERS, min_size=1, max_size=3))
    def call(self, pick: int, by: list[int]) -> None:
        leaf = self.leaf(pick)
        for number in by:
            found = self.grow(self.session.tensor(float(number)), leaf.tensor)
            self.accumulate(leaf, 2 * leaf.value * number)
        assert found.tolist() == (leaf.value * by[-1]).tolist()

    @has_leaves
    @rule(pick=PICK, by=st.lists(NUMBERS, min_size=1, max_size=4))
    def map(self, pick: int, by: list[int]) -> None:
        leaf = self.leaf(pick)
        found = self.grow.map(np.array(by, np.float64), x=leaf.tensor)
        for number in by:
            self.accumulate(leaf, 2 * leaf.value * number)
        assert found.tolist() == [(leaf.value * number).tolist() for number in by]

    @has_leaves
    @rule(pick=PICK)
    def forget_gradient(self, pick: int) -> None:
        leaf = self.leaf(pick)
        leaf.tensor.grad = None
        leaf.grad = None

    @has_leaves
    @rule(pick=PICK)
    def mistake(self, pick: int) -> None:
        """A command that the server refuses: what comes before and after it stands."""
        leaf = self.leaf(pick)
        with telegrad.no_grad():
            leaf.tensor.add_(1)
        leaf.value = leaf.value + 1
        wrong = self.session.ones(2, 3).t()
        with pytest.raises(ShapeError):
            wrong.view(6).tolist()

    @has_leaves
    @rule(pick=PICK)
    def read(self, pick: int) -> None:
        leaf = self.leaf(pick)
        assert leaf.tensor.detach().numpy().tolist() == leaf.value.tolist()

    @rule()
    def look(self) -> None:
        self.check()


class BadNetwork(Histories):
    """The same, with faults of the network, killed processes, and servers that are killed and started again."""

    server: ClassVar[Server]
    chaos: ClassVar[Chaos]

    def __init__(self) -> None:
        super().__init__()
        self.restarts = 0
        self.chaos.next.clear()

    def open(self) -> Any:
        return telegrad.connect(self.chaos.url)

    @rule(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3))
    def fail(self, faults: list[str]) -> None:
        self.chaos.next.extend(faults)

    @rule()
    def kill_processes(self) -> None:
        for pid in self.server.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @precondition(lambda self: self.restarts < 1)
    @rule(number=st.sampled_from((signal.SIGKILL, signal.SIGTERM)))
    def restart_the_server(self, number: signal.Signals) -> None:
        self.restarts += 1
        self.server.restart(number)


def run(machine: type[Histories], examples: int) -> None:
    # To shrink a failure would take hours of restarts.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=25, phases=phases))


pytestmark = pytest.mark.filterwarnings("ignore:.*was traced")  # for each of many shapes, as it should


def over_a_bad_network(folder: Path, examples: int) -> None:
    BadNetwork.server = Server(folder)
    BadNetwork.chaos = Chaos(BadNetwork.server.port)
    try:
        run(BadNetwork, examples)
    finally:
        BadNetwork.chaos.close()
        BadNetwork.server.stop()


def test_a_local_script_is_as_the_model_says():
    run(Histories, 50)


def test_a_script_is_as_the_model_says_whatever_goes_wrong_on_the_way(tmp_path):
    over_a_bad_network(tmp_path, 5)


@pytest.mark.soak
def test_hundreds_of_scripts_are_as_the_model_says(tmp_path):
    run(Histories, 500)
    over_a_bad_network(tmp_path, 200)
