"""Large ops are shared out among threads: the same bits come out, errors come back, and a forked child starts anew."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import telegrad
from telegrad_service.engine import threads
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES

load()

LARGE = threads.WORTH_BYTES // 4 + 3  # float32 elements that are shared out, not evenly

OPS = ("exp", "exp2", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "sinh", "tanh", "sigmoid", "erf", "silu", "logsigmoid")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = threads.limit(3)
    with np.errstate(all="ignore"):
        yield
    threads.limit(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPS)
def test_an_op_gives_the_same_bits_on_several_threads(name, dtype):
    x = np.random.default_rng(0).normal(size=LARGE).astype(dtype)
    shared = ENTRIES[name].kernel(x)

    threads.limit(1)

    assert shared.tobytes() == ENTRIES[name].kernel(x).tobytes()


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_a_gradient_has_the_same_bits_on_several_threads(approximate):
    values = np.random.default_rng(0).normal(size=(3, LARGE)).astype(np.float32)
    found = []
    for count in (3, 1):
        threads.limit(count)
        x = telegrad.tensor(values, requires_grad=True)
        telegrad.nn.functional.gelu(x, approximate=approximate).sum().backward()
        found.append(x.grad.numpy().tobytes())

    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_have_the_same_bits_on_several_threads(name):
    x = np.random.default_rng(0).normal(size=(5000, 97)).astype(np.float32)
    shared = ENTRIES[name].kernel(x, dim=1, dtype=None)

    threads.limit(1)

    assert shared.tobytes() == ENTRIES[name].kernel(x, dim=1, dtype=None).tobytes()


def test_every_part_is_done_once_and_by_more_than_one_thread():
    done: list[int] = []
    who: set[int] = set()
    both = threading.Barrier(3, timeout=10)

    def work(part: int) -> None:
        if part < 3:
            both.wait()  # three threads must be here at once
        done.append(part)
        who.add(threading.get_ident())

    threads.share(work, range(20))

    assert sorted(done) == list(range(20))
    assert len(who) == 3


def test_what_a_part_raises_on_another_thread_is_raised_here():
    begun = threading.Barrier(2, timeout=10)

    def work(part: int) -> None:
        begun.wait()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("from a helper")

    with pytest.raises(ValueError, match="from a helper"):
        threads.share(work, range(2))


def test_helpers_that_are_late_are_not_waited_for_and_serve_again():
    for _ in range(500):  # parts so short that the caller is done before a helper has begun, mostly
        done: list[int] = []
        threads.share(done.append, range(4))
        assert sorted(done) == [0, 1, 2, 3]


def test_an_op_within_a_shared_one_runs_alone():
    inner: list[int] = []
    threads.share(lambda part: threads.share(inner.append, [part, part]), range(4))

    assert sorted(inner) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_faults_on_helpers_stay_silent():
    x = np.full(LARGE, -1.0, np.float32)

    assert np.isnan(telegrad.tensor(x).log().numpy()).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_computes_with_helpers_of_its_own():
    code = f"""
import os, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
import numpy as np
import telegrad
from telegrad_service.engine import threads
threads.limit(2)
x = telegrad.tensor(np.ones({LARGE}, np.float32))
x.exp()
child = os.fork()
if not child:
    os._exit(0 if float(x.exp()[-1]) > 2.7 else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "0"


@pytest.mark.parametrize(("variable", "count"), [("1", 1), ("3", 3), ("4,2", 4), ("1000", threads.MOST)])
def test_the_environment_says_how_many_threads_there_are(variable, count):
    code = "from telegrad_service.engine import threads; print(threads.limit(1))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": variable},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert int(done.stdout) == count


def test_small_ops_start_no_thread():
    code = """
import threading
import telegrad
x = telegrad.ones(1000, requires_grad=True)
x.exp().sum().backward()
print(threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "1"
