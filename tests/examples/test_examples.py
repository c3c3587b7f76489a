"""The examples, run as their readers run them: what they print, that both places agree to the bit, and what a step costs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

import telegrad
from examples import demo, digits, linear_regression, worked_example

EXAMPLES = Path(digits.__file__).parent

WORKED_EXAMPLE = """\
y = tensor(4.1377, grad_fn=<AddBackward0>)
grad(y, (x1, x2)) = (tensor(0.7878), tensor(5.))
x1.grad = None
after y.backward(): x1.grad = tensor(0.7878) x2.grad = tensor(5.)
a second y.backward(): Trying to backward through the graph a second time (or directly access saved tensors after they have \
already been freed)
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service in a process of its own."""
    with demo.running_service(tmp_path_factory.mktemp("service") / "service.log") as address:
        yield address


@pytest.fixture(params=["local", "http"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """The arguments that send an example to each place in turn."""
    return [] if request.param == "local" else ["--url", request.getfixturevalue("url")]


class CountingTransport(httpx2.HTTPTransport):
    """HTTP as ever, and a list of what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        return super().handle_request(request)


def test_worked_example_prints_what_pytorch_prints(where, capsys):
    worked_example.main(where)

    assert capsys.readouterr().out == WORKED_EXAMPLE


def test_linear_regression_finds_anscombes_four_lines(where, capsys):
    linear_regression.main(where)

    rows = [[float(word) for word in line.split()] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    # As Anscombe printed them: y = 3.00 + 0.500 x, four times.
    np.testing.assert_allclose([row[1:3] for row in rows], [[3.0, 0.5]] * 4, atol=0.003)


def test_digits_are_learnt_over_http_and_drawn(url, tmp_path, capsys):
    picture = tmp_path / "digits.png"

    status = digits.main(["--url", url, "--plot", str(picture)])

    printed = capsys.readouterr().out
    assert status == 0
    reached = re.search(r"^test accuracy ([0-9.]+)%", printed, re.MULTILINE)
    assert reached
    assert float(reached[1]) >= 97
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_digits_losses_are_the_same_bits_recorded_compiled_locally_and_over_http(url, tmp_path):
    common = ["--epochs", "3", "--accuracy", "0", "--plot", str(tmp_path / "digits.png"), "--losses"]
    found: list[str] = []
    for where in (["--local"], ["--url", url]):
        for how in ([], ["--compiled"]):
            digits.main([*where, *how, *common, str(tmp_path / "losses.txt")])
            found.append((tmp_path / "losses.txt").read_text())

    losses = [float.fromhex(line) for line in found[0].splitlines()]
    assert len(losses) == 3 * 23
    assert losses[-1] < losses[0] / 4
    assert found == found[:1] * 4


def test_the_compiled_regression_prints_the_same(where, capsys):
    linear_regression.main(where)
    recorded = capsys.readouterr().out
    linear_regression.main([*where, "--compiled"])

    assert capsys.readouterr().out == recorded


def test_a_digits_step_is_one_request(url):
    transport = CountingTransport()
    values, classes = digits.shuffled_digits()
    counts = []
    with telegrad.connect(url, transport=transport):
        images, labels = telegrad.tensor(values), telegrad.tensor(classes)
        classifier = digits.Classifier()
        classifier.step(images[telegrad.arange(64)], labels[telegrad.arange(64)]).item()
        for first in range(64, 640, 64):
            before = len(transport.requests)
            batch = telegrad.tensor(np.arange(first, first + 64))
            classifier.step(images[batch], labels[batch]).item()
            counts.append(len(transport.requests) - before)

    assert counts == [1] * 9


def test_digits_that_learn_too_little_exit_with_one(tmp_path, capsys):
    assert digits.main(["--epochs", "1", "--accuracy", "0.999", "--plot", str(tmp_path / "digits.png")]) == 1
    assert "wanted at least 99.90%" in capsys.readouterr().out


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    script = f"import runpy, sys; sys.modules['tqdm'] = None; runpy.run_path({str(EXAMPLES / 'digits.py')!r}, run_name='__main__')"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.strip() == "tqdm is not installed, which this example needs: pip install 'telegrad[examples]'"


def run_demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--output", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def assert_stopped(printed: str) -> None:
    port = re.search(r"service on http://127\.0\.0\.1:(\d+)", printed)
    assert port
    assert not demo.answers_ready(int(port[1]))


def test_the_demo_shows_the_result_and_leaves_no_service_behind(tmp_path):
    done = run_demo(tmp_path, "--epochs", "2", "--accuracy", "0.8")

    assert done.returncode == 0, done.stdout + done.stderr
    assert WORKED_EXAMPLE in done.stdout
    assert "test accuracy" in done.stdout
    assert (tmp_path / "digits.png").is_file()
    requests = re.search(r"^(\d+) requests for 46 steps", done.stdout, re.MULTILINE)
    assert requests
    assert 46 <= int(requests[1]) <= 46 + 2 + 8, "a request a step, one an evaluation, and a few around them"
    assert_stopped(done.stdout)


def test_a_failing_demo_says_what_failed_and_leaves_no_service_behind(tmp_path):
    done = run_demo(tmp_path, "--epochs", "1", "--accuracy", "2")

    assert done.returncode == 1
    assert "demo failed: examples/digits.py ended with status 1" in done.stderr
    assert_stopped(done.stdout)


def test_the_readme_names_every_example():
    named = set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))

    assert named == {path.name for path in EXAMPLES.glob("*.py")}
