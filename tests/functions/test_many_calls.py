"""Many calls of a traced function in one request do what a loop of calls does, to the bit, in every place."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import httpx2
import numpy as np
import pytest

import telegrad
import telegrad.nn.functional as F
from telegrad import _defaults
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DeadlineError, RunCancelledError, ShapeError
from telegrad.contract.limits import Limits
from telegrad.contract.transforms.trees import flatten
from telegrad_service.api.app import create_app
from telegrad_service.settings import Settings
from tests.functions.steps import STEPS
from tests.functions.test_parity import seen
from tests.places import InProcess, open_session, server_url, start

X = np.random.default_rng(0).normal(size=(12, 4, 3)).astype(np.float32)
T = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)


def values(x: Any) -> Any:
    return x.detach().numpy() if isinstance(x, telegrad.Tensor) else x


def assert_stacked(found: Any, each: list[Any]) -> None:
    """What many calls returned at once is what single ones returned, stacked."""
    leaves, structure = flatten(found)
    singles = [flatten(one) for one in each]
    assert all(other == structure for _, other in singles)
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, telegrad.Tensor):
            assert not leaf.requires_grad
            np.testing.assert_array_equal(leaf.numpy(), np.stack([s[0][position] for s in singles]), strict=True)
        else:
            assert leaf == singles[0][0][position]


class Model:
    """A linear model and a step of its training."""

    def __init__(self) -> None:
        self.w = telegrad.zeros(3, requires_grad=True)
        self.step = telegrad.function(self.train)

    def train(self, x: Any, t: Any, rate: float = 0.1) -> Any:
        loss = F.mse_loss(x @ self.w, t)
        loss.backward()
        with telegrad.no_grad():
            self.w.sub_(self.w.grad, alpha=rate)
        self.w.grad = None
        return {"loss": loss, "w": self.w, "rate": rate}

    def by_hand(self, xs: Any, ts: Any, rate: float = 0.1) -> list[Any]:
        """The same calls one by one, untraced."""
        results = []
        for x, t in zip(xs, ts, strict=True):
            done = self.train(telegrad.tensor(x), telegrad.tensor(t), rate)
            results.append({"loss": values(done["loss"]), "w": values(done["w"]).copy(), "rate": rate})
        return results


@pytest.mark.parametrize("name", STEPS)
def test_repeating_is_a_loop(session, name):
    make, step = STEPS[name]
    telegrad.manual_seed(0)
    given = make()
    results = []
    for _ in range(4):
        leaves, structure = flatten(step(*given))
        results.append((([np.array(values(x)) if isinstance(x, telegrad.Tensor) else x for x in leaves]), structure))
    after = seen(given)

    telegrad.manual_seed(0)
    again = make()
    found = telegrad.function(step).repeat(4, *again)

    leaves, structure = flatten(found)
    assert all(other == structure for _, other in results)
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, telegrad.Tensor):
            np.testing.assert_array_equal(leaf.numpy(), np.stack([r[position] for r, _ in results]), strict=True)
        else:
            assert leaf == results[0][0][position]
    assert seen(again) == after


@pytest.mark.parametrize(
    "batches",
    [
        lambda: (X, T),
        lambda: (telegrad.tensor(X), telegrad.tensor(T)),
        lambda: (telegrad.tensor(X), T),
        lambda: (list(X), iter(T)),
        lambda: ((telegrad.tensor(x) for x in X), list(T)),
    ],
    ids=["arrays", "tensors", "both", "iterables", "iterables of tensors"],
)
def test_going_through_batches_is_a_loop(session, batches):
    model, by_hand = Model(), Model()

    found = model.step.map(*batches(), rate=0.05)

    assert_stacked(found, by_hand.by_hand(X, T, 0.05))
    assert seen(model.w) == seen(by_hand.w)


def test_batches_may_be_built_of_several_tensors(session):
    model, by_hand = Model(), Model()
    step = telegrad.function(lambda batch: model.train(batch["x"], batch["t"]))

    found = step.map([{"x": x, "t": t} for x, t in zip(X, T, strict=True)])

    assert_stacked(found, by_hand.by_hand(X, T))


def test_large_batches_go_in_several_requests(session, monkeypatch):
    monkeypatch.setattr(_defaults, "UPLOAD_BYTES", 3 * (X[0].nbytes + T[0].nbytes) + 1)
    model, by_hand = Model(), Model()
    told: list[int] = []

    found = model.step.map(X[:11], iter(T[:11]), progress=lambda p: told.append(p.run))

    assert_stacked(found, by_hand.by_hand(X[:11], T[:11]))
    assert sorted(set(told)) == [0, 3, 6, 9, 11]


def test_the_next_batches_are_sent_while_the_last_ones_are_computed(monkeypatch):
    monkeypatch.setattr(_defaults, "UPLOAD_BYTES", 4 * X[0].nbytes)
    with open_session("http") as session:
        log: list[tuple[str, str]] = []
        send = session._transport.send

        def logged(request: Any) -> Any:
            kind = "run" if request.hear is not None else "data" if "safetensors" in request.media_type else "other"
            log.append((kind, "begin"))
            try:
                return send(request)
            finally:
                log.append((kind, "end"))

        session._transport.send = logged
        big = session.rand(300, 300)

        def slow(x: Any) -> Any:
            y = big
            for _ in range(5):
                y = y @ big / 100
            return x.sum() + 0 * y.sum()

        found = telegrad.function(slow).map(iter(X))
        values = found.numpy()

    np.testing.assert_array_equal(values, np.stack([np.float32(telegrad.local().tensor(x).sum().item()) for x in X]))
    ends = [place for place, what in enumerate(log) if what == ("run", "end")]
    assert [log[:end].count(("data", "begin")) for end in ends] == [2, 3, 3]


@pytest.mark.parametrize("place", ["local", "http"])
def test_what_fails_while_the_next_batches_are_loaded_is_raised_after_those_before(place, monkeypatch):
    monkeypatch.setattr(_defaults, "UPLOAD_BYTES", 2 * X[0].nbytes)

    def batches() -> Any:
        yield from X[:5]
        raise ZeroDivisionError

    with open_session(place) as session:
        n = session.tensor(0)

        def count(x: Any) -> Any:
            n.add_(1)
            return x.sum()

        with pytest.raises(ZeroDivisionError):
            telegrad.function(count).map(batches())
        assert n.item() == 4


def test_rows_of_indices_pick_batches_of_a_data_set(session):
    data = telegrad.tensor(X.reshape(48, 3))
    order = np.random.default_rng(2).permutation(48).reshape(6, 8)

    found = telegrad.function(lambda rows: data[rows].sum(0)).map(order)

    np.testing.assert_array_equal(found.numpy(), np.stack([data.numpy()[rows].sum(0, dtype=np.float32) for rows in order]))


def test_a_step_that_clears_gradients_first_is_traced_for_both_its_calls(session):
    def step(w: Any) -> Any:
        if w.grad is not None:
            w.grad.zero_()
        (w * w).sum().backward()
        with telegrad.no_grad():
            w.sub_(w.grad, alpha=0.25)
        return w.grad

    w, by_hand = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, 2.0], requires_grad=True)
    traced = telegrad.function(step)

    found = traced.repeat(5, w)

    assert_stacked(found, [values(step(by_hand)).copy() for _ in range(5)])
    assert seen(w) == seen(by_hand)
    assert len(traced.programs) == 2


def test_a_step_that_returns_no_tensor_the_first_time_cannot_be_stacked(session):
    w = telegrad.tensor([1.0], requires_grad=True)

    def step() -> Any:
        before = w.grad
        (w * 2).sum().backward()
        return None if before is None else before.clone()

    with pytest.raises(ShapeError, match="cannot be stacked"):
        telegrad.function(step).repeat(3)
    assert w.grad.tolist() == [6.0]


def test_a_method_repeats_with_its_object(session):
    class Counter:
        def __init__(self) -> None:
            self.n = telegrad.tensor(0)

        @telegrad.function
        def up(self, by: Any) -> Any:
            self.n.add_(by)
            return self.n

    counter = Counter()

    assert counter.up.repeat(3, telegrad.tensor(2)).tolist() == [2, 4, 6]
    assert counter.up.map(np.array([1, 10])).tolist() == [7, 17]


def test_rows_have_no_history_under_no_grad(session):
    flat = telegrad.ones(6, requires_grad=True)

    @telegrad.function
    def step(x: Any) -> Any:
        flat.mul_(2)
        return x * 1

    with telegrad.no_grad():
        rows = flat.view(3, 2)
        found = step.map(rows)  # a view that is not recorded and whose base was written has no place in a history

    assert found.tolist() == [[2.0, 2.0], [4.0, 4.0], [8.0, 8.0]]


def test_each_call_has_an_array_as_it_was(session):
    @telegrad.function
    def step(x: Any, rate: Any) -> Any:
        return x.mul_(2).add_(rate).sum()

    x, rate = np.ones(3), np.array(0.5)

    assert [step(x, rate).item() for _ in range(3)] == [7.5, 7.5, 7.5]
    assert step.repeat(3, x, rate).tolist() == [7.5, 7.5, 7.5]
    assert step.map(np.ones((3, 3)), rate=rate).tolist() == [7.5, 7.5, 7.5]


def test_random_draws_go_on_from_call_to_call(session):
    draw = telegrad.function(lambda: telegrad.rand(2))
    telegrad.manual_seed(3)
    one_by_one = [telegrad.rand(2).numpy() for _ in range(3)]
    telegrad.manual_seed(3)

    assert_stacked(draw.repeat(3), one_by_one)


# Progress, and ending early


def test_progress_has_the_latest_numbers_in_the_functions_own_structure(session):
    told: list[Any] = []
    model = Model()

    model.step.map(X, T, progress=lambda p: told.append((p.run, p.times, p.latest)))

    assert told[0] == (0, 12, None)
    assert told[-1][:2] == (12, 12)
    assert all(latest is None or set(latest) == {"loss", "w", "rate"} for _, _, latest in told)


def counting(session: Any) -> tuple[Any, Any]:
    n = session.tensor(0)

    def count() -> Any:
        n.add_(1)
        return n

    return n, telegrad.function(count)


@pytest.fixture(params=["local", "http"])
def streaming(request):
    """A session in each place that tells of progress while it runs: the in-process transport of the tests gathers answers."""
    with open_session(request.param) as opened:
        yield opened


def test_a_cancelled_run_returns_what_was_done(streaming):
    n, count = counting(streaming)
    latest: list[Any] = []

    def watch(progress: Any) -> None:
        if progress.run:
            latest.append(progress.latest)
            progress.cancel()

    found = count.repeat(1_000_000, progress=watch)

    done = found.shape[0]
    assert 0 < done < 1_000_000
    assert latest[0] <= done
    assert n.item() == done
    np.testing.assert_array_equal(found.numpy(), np.arange(1, done + 1))
    assert count.repeat(2).tolist() == [done + 1, done + 2]


def test_gradients_are_there_after_a_cancelled_run(streaming):
    w = streaming.tensor([1.0, 2.0], requires_grad=True)
    w.grad = streaming.tensor([0.0, 0.0])

    def step() -> Any:
        (w * 3).sum().backward()

    assert telegrad.function(step).repeat(1_000_000, progress=lambda p: p.cancel() if p.run else None) is None

    done = w.grad.tolist()[0] / 3
    assert 0 < done < 1_000_000
    assert w.grad.tolist() == [3 * done, 3 * done]


def test_a_run_that_is_cancelled_before_it_begins_says_so():
    with telegrad.local() as session:
        n, count = counting(session)

        with pytest.raises(RunCancelledError):
            count.repeat(1_000_000, progress=lambda p: p.cancel())

        assert n.item() == 0


def test_time_that_is_over_raises_and_what_was_done_stands(streaming):
    n, count = counting(streaming)

    with pytest.raises(DeadlineError, match=r"0\.2 s \(seconds\) are over") as caught:
        count.repeat(1_000_000, timeout_seconds=0.2)

    assert n.item() == caught.value.extra["run"] > 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_ends_the_runs(streaming, kind):
    n, count = counting(streaming)

    def watch(progress: Any) -> None:
        if progress.run:
            raise kind

    with pytest.raises(kind):
        count.repeat(1_000_000, progress=watch)

    done = n.item()  # waits until the server has noticed
    assert 0 < done < 1_000_000
    assert n.item() == done
    assert count.repeat(1).tolist() == [done + 1]


def test_another_thread_cancels(streaming):
    n, count = counting(streaming)
    seen_progress: list[Any] = []
    begun = threading.Event()

    def watch(progress: Any) -> None:
        if progress.run:
            seen_progress.append(progress)
            begun.set()

    def cancel() -> None:
        assert begun.wait(10)
        seen_progress[0].cancel()

    other = threading.Thread(target=cancel)
    other.start()
    found = count.repeat(1_000_000, progress=watch)
    other.join()

    assert found.shape[0] == n.item() < 1_000_000


def test_without_a_terminal_a_bar_writes_nothing(session, capfd):
    _, count = counting(session)

    count.repeat(3, progress=True)

    assert capfd.readouterr().err == ""


def test_a_call_that_fails_names_its_line_and_leaves_those_before_it(session):
    n = telegrad.tensor(0)
    data = telegrad.tensor([1.0, 2.0, 3.0])

    def pick(i: Any) -> Any:
        n.add_(1)
        return data.index_select(0, i)

    with pytest.raises(telegrad.TelegradError) as caught:
        telegrad.function(pick).map(np.array([[0], [2], [5], [1]]))

    notes = "\n".join(caught.value.__notes__)
    assert isinstance(caught.value, IndexError)
    assert caught.value.extra["run"] == 2
    assert "2 calls of" in notes
    assert notes.count("data.index_select(0, i)") == 1
    assert n.item() == 3  # the commands before the one that failed stand, as in a loop


def test_what_calls_that_failed_would_have_written_is_not_used_by_what_was_recorded_after_them():
    """Of the tensors that were written to, not of those that are numbered alike."""
    with open_session("http") as session:
        data, total, other = session.tensor([1.0, 2.0, 3.0]), session.tensor(0.0), session.tensor(5.0)

        @telegrad.function
        def pick(i: Any, more: Any) -> Any:
            taken = data.index_select(0, i).sum() * more
            total.add_(taken)
            return taken

        out = pick(session.tensor([5]), other)
        after, untouched = total + 1, other + 1
        with pytest.raises(telegrad.TelegradError, match="out of bounds"):
            session.flush()

        assert untouched.item() == 6.0
        for lost in (out, after):
            with pytest.raises(telegrad.TelegradError, match="out of bounds"):
                lost.item()
        assert total.item() == 0.0


def test_a_program_that_the_server_forgot_is_sent_again():
    with open_session("http") as session, httpx2.Client(base_url=server_url()) as http:
        n, count = counting(session)
        count.repeat(2)
        at = f"/v1/sessions/{session.id}/programs"
        for program in http.get(at).json()["programs"]:
            assert http.delete(f"{at}/{program['id']}").status_code == 204

        assert count.repeat(2).tolist() == [3, 4]
        assert n.item() == 4


def test_a_server_that_permits_few_runs_at_once_is_asked_several_times():
    few = start(create_app(Settings(limits=Limits(max_run_times=3))))
    with telegrad.connect("http://telegrad.test", transport=InProcess(*few)) as session:
        n = session.tensor(0)

        def count(by: Any) -> Any:
            with telegrad.no_grad():
                n.add_(by)
            return n.clone()

        counting_on = telegrad.function(count)

        assert counting_on.repeat(8, session.tensor(1)).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert counting_on.map(session.tensor([10, 10, 10, 10])).tolist() == [18, 28, 38, 48]


def test_inside_of_another_trace_it_is_part_of_it(session):
    n = telegrad.tensor(0)
    up = telegrad.function(lambda: n.add_(1))

    assert telegrad.function(lambda: up.repeat(3).sum()).repeat(2).tolist() == [6, 15]


# What cannot be


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda f: f.repeat(0), ArgumentValueError, "at least 1"),
        (lambda f: f.repeat(-3), ArgumentValueError, "at least 1"),
        (lambda f: f.repeat(2.0), ArgumentTypeError, "an int"),
        (lambda f: f.repeat(True), ArgumentTypeError, "an int"),
        (lambda f: f.repeat(2, progress="bar"), ArgumentTypeError, "progress"),
        (lambda f: f.repeat(2, timeout_seconds=0), ArgumentValueError, "timeout_seconds"),
        (lambda f: f.repeat(2, timeout_seconds="1"), ArgumentTypeError, "timeout_seconds"),
        (lambda f: f.repeat(2, timeout_seconds=float("nan")), ArgumentValueError, "timeout_seconds"),
        (lambda f: f.map(), ArgumentTypeError, "repeat"),
        (lambda f: f.map(5), ArgumentTypeError, "iterable"),
        (lambda f: f.map(np.float32(5)), ArgumentTypeError, "iterable"),
        (lambda f: f.map(np.array(5)), ShapeError, "no rows"),
        (lambda f: f.map(telegrad.tensor(5)), ShapeError, "no rows"),
        (lambda f: f.map(np.zeros((0, 2))), ShapeError, "nothing to run"),
        (lambda f: f.map([]), ShapeError, "nothing to run"),
        (lambda f: f.map(iter([])), ShapeError, "nothing to run"),
        (lambda f: f.map(X, T[:5]), ShapeError, "5 and 12"),
        (lambda f: f.map(X, iter(T[:5])), ShapeError, "ends before"),
        (lambda f: f.map([0.1, 0.2]), ArgumentTypeError, "float"),
        (lambda f: f.map([X[0], X[0, 0]]), ShapeError, "different shapes"),
        (lambda f: f.map([(X[0],), [X[0]]]), ArgumentValueError, "built alike"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_run(session, call, kind, words):
    n = telegrad.tensor(0)

    def count(*_batches: Any) -> Any:
        return n.add_(1)

    with pytest.raises(kind, match=words):
        call(telegrad.function(count))

    assert n.item() == 0


# Awaited


def test_an_async_session_awaits_the_same():
    async def scenario() -> None:
        async with telegrad.connect_async(server_url()) as session:
            n = session.tensor(0)
            w = session.tensor([1.0, 2.0])
            up = telegrad.function(lambda: n.add_(1))

            assert await (await up.repeat(3)).tolist() == [1, 2, 3]
            scaled = await telegrad.function(lambda x: (w * x).sum()).map(np.arange(3, dtype=np.float32))
            assert await scaled.tolist() == [0.0, 3.0, 6.0]
            found = await up.repeat(1_000_000, progress=lambda p: p.cancel() if p.run else None)
            assert await n.item() == found.shape[0] + 3
            with pytest.raises(DeadlineError):
                await up.repeat(1_000_000, timeout_seconds=0.1)
            task = asyncio.ensure_future(up.repeat(1_000_000))
            await asyncio.sleep(0.3)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert await n.item() < 1_000_000

    asyncio.run(scenario())
