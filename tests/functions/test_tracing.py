"""When a function is traced anew and when not, what it may refer to, and where it runs as it is."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.autograd import grad
from telegrad.autograd.graph import register_multi_grad_hook
from telegrad.errors import TraceError
from telegrad.func import vmap
from telegrad.utils.checkpoint import checkpoint
from tests.places import open_session


def traces(function: Any) -> int:
    """How many programs a traced function has."""
    return len(function.programs)


def test_shapes_types_and_gradients_of_arguments_are_part_of_the_trace(session):
    @telegrad.function
    def step(x: Any) -> Any:
        return x * 2

    step(telegrad.ones(2))
    step(telegrad.zeros(2))
    assert traces(step) == 1
    assert step(telegrad.ones(3)).tolist() == [2.0, 2.0, 2.0]
    assert traces(step) == 2
    assert step(telegrad.ones(2, dtype=telegrad.float64)).dtype == telegrad.float64
    assert traces(step) == 3
    assert step(telegrad.ones(2, requires_grad=True)).requires_grad
    assert traces(step) == 4
    assert step(telegrad.ones(2, requires_grad=True) * 1).grad_fn.next_functions[0][0].name() == "MulBackward0"
    assert traces(step) == 5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 2),
        (1, 1.0),
        (0.0, -0.0),
        (True, 1),
        ("a", "b"),
        (None, 0),
        ((1, 2), (1, 3)),
        ([1], (1,)),
        ({"a": 1}, {"b": 1}),
        (slice(2), slice(1)),
    ],
)
def test_static_arguments_are_part_of_the_trace(session, first, second):
    def step(x: Any, option: Any) -> Any:
        return x + 1, repr(option)

    traced = telegrad.function(step)
    x = telegrad.ones(2)
    seen = [traced(x, option)[1] for option in (first, second, first, second)]

    assert seen == [repr(first), repr(second)] * 2
    assert traces(traced) == 2


def test_nan_is_one_static_argument(session):
    @telegrad.function
    def step(x: Any, y: float) -> Any:
        return x + y

    step(telegrad.ones(2), float("nan"))
    step(telegrad.ones(2), float("nan"))

    assert traces(step) == 1


def test_the_same_tensor_twice_is_another_trace(session):
    @telegrad.function
    def step(x: Any, y: Any) -> Any:
        x.add_(1)
        return y * 10

    x, y = telegrad.ones(2), telegrad.ones(2)
    assert step(x, y).tolist() == [10.0, 10.0]
    assert step(x, x).tolist() == [30.0, 30.0]
    assert step(x, y).tolist() == [10.0, 10.0]
    assert traces(step) == 2


def test_a_name_that_stands_for_another_tensor_needs_no_new_trace(session):
    w = telegrad.tensor([1.0, 2.0])

    @telegrad.function
    def step(x: Any) -> Any:
        return w * x

    x = telegrad.ones(2)
    assert step(x).tolist() == [1.0, 2.0]
    w = telegrad.tensor([5.0, 7.0])
    assert step(x).tolist() == [5.0, 7.0]
    assert traces(step) == 1
    w = telegrad.tensor([1.0])
    assert step(x).tolist() == [1.0, 1.0]
    w = telegrad.tensor([1.0, 1.0], requires_grad=True)
    assert step(x).requires_grad
    assert traces(step) == 3


def test_a_name_that_comes_to_stand_for_an_argument_is_another_trace(session):
    w = telegrad.tensor([1.0, 2.0])

    @telegrad.function
    def step(x: Any) -> Any:
        w.mul_(2)
        return x + 0

    x = telegrad.ones(2)
    assert step(x).tolist() == [1.0, 1.0]
    w = x
    assert step(x).tolist() == [2.0, 2.0]


LEARNING_RATE = 0.5
OPTIONS: dict[str, Any] = {"sign": 1}


def test_numbers_that_the_function_refers_to_are_part_of_the_trace(session):
    global LEARNING_RATE  # noqa: PLW0603 - what is looked at

    def helper(x: Any) -> Any:
        return x * OPTIONS["sign"] * scale[0]

    @telegrad.function
    def step(x: Any) -> Any:
        return helper(x) * LEARNING_RATE

    x, scale = telegrad.ones(1), [1.0]
    LEARNING_RATE = 0.5
    assert step(x).item() == 0.5
    LEARNING_RATE = 0.25
    assert step(x).item() == 0.25
    OPTIONS["sign"] = -1
    assert step(x).item() == -0.25
    scale[0] = 4.0
    assert step(x).item() == -1.0
    LEARNING_RATE, OPTIONS["sign"], scale = 0.5, 1, [1.0]
    assert step(x).item() == 0.5
    assert traces(step) == 4


class Layer:
    """A layer with a parameter and settings."""

    slope = 0.5

    def __init__(self) -> None:
        self.weight = telegrad.ones(2, requires_grad=True)
        self.scale = 2.0

    def forward(self, x: Any) -> Any:
        """Scaled, with a slope."""
        return self._inner(x) * self.slope

    def _inner(self, x: Any) -> Any:
        return x * self.weight * self.scale

    @telegrad.function
    def step(self, x: Any) -> Any:
        """A step of descent."""
        loss = self.forward(x).sum()
        loss.backward()
        with telegrad.no_grad():
            self.weight -= 0.1 * self.weight.grad
            self.weight.grad = None
        return loss


def test_methods_are_traced_with_what_their_object_holds(session):
    Layer.step.clear()
    one, two = Layer(), Layer()
    x = telegrad.ones(2)

    assert one.step(x).item() == 2.0
    assert one.step(x).item() == pytest.approx(1.8)
    assert traces(one.step) == 1
    assert two.step(x).item() == 2.0, "another object has parameters of its own"
    one.scale = 1.0
    assert one.step(x).item() == pytest.approx(0.8)
    Layer.slope = 1.0
    try:
        assert one.step(x).item() == pytest.approx(1.5)
    finally:
        Layer.slope = 0.5
    one.weight = telegrad.zeros(2, requires_grad=True)
    before = traces(one.step)
    assert one.step(x).item() == 0.0
    assert traces(one.step) == before


def test_lists_of_tensors_may_grow_and_change(session):
    params = [telegrad.ones(2), telegrad.ones(2) * 2]

    @telegrad.function
    def step(x: Any) -> Any:
        return sum((x * p for p in params), telegrad.zeros(2))

    x = telegrad.ones(2)
    assert step(x).tolist() == [3.0, 3.0]
    params[0] = telegrad.ones(2) * 10
    assert step(x).tolist() == [12.0, 12.0]
    assert traces(step) == 1
    params.append(telegrad.ones(2))
    assert step(x).tolist() == [13.0, 13.0]
    assert traces(step) == 2


def test_small_arrays_that_the_function_refers_to_are_part_of_the_trace(session):
    table = np.array([1.0, 2.0])

    @telegrad.function
    def step(x: Any) -> Any:
        return x * telegrad.tensor(table)

    x = telegrad.ones(2, dtype=telegrad.float64)
    assert step(x).tolist() == [1.0, 2.0]
    table[0] = 7.0
    assert step(x).tolist() == [7.0, 2.0]


def test_the_grad_mode_is_part_of_the_trace(session):
    w = telegrad.ones(2, requires_grad=True)

    @telegrad.function
    def step() -> Any:
        return w * 2

    assert step().requires_grad
    with telegrad.no_grad():
        assert not step().requires_grad
    with telegrad.inference_mode():
        assert not step().requires_grad
    assert step().requires_grad


def test_the_scope_around_a_call_is_that_of_its_ops(session):
    w = telegrad.ones(2, requires_grad=True)

    @telegrad.function
    def step() -> Any:
        return (w * 2).sum()

    step()
    with telegrad.scope("outer"):
        y = step()

    assert "outer" in y.session.graph(y, "mermaid")


def test_hooks_of_captured_leaves_are_called_and_part_of_the_trace(session):
    w = telegrad.ones(2, requires_grad=True)

    @telegrad.function
    def step(x: Any) -> Any:
        (w * x).sum().backward()

    x = telegrad.ones(2)
    step(x)
    assert w.grad.tolist() == [1.0, 1.0]
    handle = w.register_hook(lambda g: g * 10)
    step(x)
    assert w.grad.tolist() == [11.0, 11.0]
    handle.remove()
    step(x)
    assert w.grad.tolist() == [12.0, 12.0]


def test_inference_tensors_stay_what_they_are(session):
    with telegrad.inference_mode():
        made_there = telegrad.ones(2)

    def views(x: Any) -> Any:
        return x[0], x * 2, x.view(2, 1)

    def there() -> Any:
        with telegrad.inference_mode():
            return made_there * 2, telegrad.zeros(2)

    traced, traced_there = telegrad.function(views), telegrad.function(there)
    for x in (telegrad.ones(2), made_there, telegrad.ones(2), made_there):
        assert [y.is_inference() for y in traced(x)] == [y.is_inference() for y in views(x)]
        assert [y.is_inference() for y in traced_there()] == [True, True]


def test_a_view_and_what_it_is_a_view_of_may_both_be_given(session):
    v = telegrad.ones(2, 2, requires_grad=True)

    def step(part: Any, whole: Any) -> Any:
        part.mul_(3)
        return whole.sum()

    def slopes(function: Any) -> list[Any]:
        found = []
        for _ in range(3):
            one, other = v * 1, v * 2
            for given in ((one[0], one), (other[1], one), (one[0], other)):
                y = function(*given)
                found.append((y.item(), y.grad_fn.name(), given[1].grad_fn.name(), grad(y, v, retain_graph=True)[0].tolist()))
        return found

    traced = telegrad.function(step)
    assert slopes(traced) == slopes(step)


def test_what_is_written_to_a_view_that_was_given_is_known_of_its_base(session):
    def step(part: Any, whole: Any, w: Any) -> Any:
        part.mul_(w)
        known = whole.requires_grad
        (whole * 1).sum().backward()
        gradient = w.grad
        w.grad = None
        return gradient, known, whole.grad_fn.name()

    traced = telegrad.function(step)
    w = telegrad.tensor([2.0, 3.0], requires_grad=True)
    for function in (step, traced, traced):
        whole = telegrad.ones(2, 2)
        gradient, known, name = function(whole[0], whole, w)
        assert (gradient.tolist(), known, name) == ([1.0, 1.0], True, "CopySlices")


def test_two_views_of_one_tensor_may_be_given(session):
    def step(first: Any, second: Any) -> Any:
        second.mul_(3)
        return first + 1

    traced = telegrad.function(step)
    for function in (step, traced):
        whole = telegrad.ones(2, 2)
        values = [function(whole[0], whole[k]).tolist() for k in (0, 1, 0)]
        assert values == [[4.0, 4.0], [4.0, 4.0], [10.0, 10.0]]
        assert whole.tolist() == [[9.0, 9.0], [3.0, 3.0]]


def test_what_a_program_does_not_name_is_no_input_of_it(session):
    @telegrad.function
    def step(rows: Any, like: Any) -> Any:
        rows.add_(1)
        return rows.sum() * like.shape[0]

    whole, like = telegrad.zeros(4, 2), telegrad.zeros(3)
    assert [step(whole[k], like).item() for k in range(4)] == [6.0] * 4
    assert whole.tolist() == [[1.0, 1.0]] * 4
    assert traces(step) == 1
    assert len(step.programs[0].inputs) == 1


def test_what_hooks_refer_to_is_part_of_the_trace(session):
    bound, momentum = 0.5, telegrad.zeros(2)

    def update(p: Any) -> None:
        with telegrad.no_grad():
            momentum.mul_(0.5).add_(p.grad)
            p.sub_(momentum)
            p.grad = None

    def trained(function: Any) -> Any:
        nonlocal bound, momentum
        bound, momentum = 0.5, telegrad.zeros(2)
        w = telegrad.tensor([1.0, 2.0], requires_grad=True)
        w.register_hook(lambda g: g.clamp(-bound, bound))
        w.register_post_accumulate_grad_hook(update)

        def step() -> Any:
            loss = (w * w).sum()
            loss.backward()
            return loss

        step = function(step)
        losses = [step() for _ in range(3)]
        bound = 0.25
        return [loss.item() for loss in [*losses, step(), step()]], w.tolist(), momentum.tolist()

    assert trained(telegrad.function) == trained(lambda step: step)


@pytest.mark.parametrize("mode", ["all", "any"])
def test_a_hook_on_several_leaves_is_called_in_a_trace(session, mode):
    w, v = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.ones(2, requires_grad=True)
    seen = telegrad.zeros(2)
    factor = 1.0

    def look(gradients: Any) -> None:
        with telegrad.no_grad():
            seen.add_(gradients[0] + gradients[1] if mode == "all" else gradients, alpha=factor)

    register_multi_grad_hook((w, v), look, mode=mode)

    def step() -> Any:
        (w * w * v).sum().backward()

    traced = telegrad.function(step)
    for function, times in ((step, 10.0), (traced, 1.0), (traced, 1.0), (traced, 1.0), (traced, 100.0)):
        factor = times
        function()
        if function is step:
            expected = [x * 11.3 for x in seen.tolist()]
    assert seen.tolist() == pytest.approx(expected)


def test_a_traced_function_within_another_is_part_of_it(session):
    @telegrad.function
    def inner(x: Any) -> Any:
        return x * 2

    @telegrad.function
    def outer(x: Any) -> Any:
        return inner(x) + 1

    assert outer(telegrad.ones(2)).tolist() == [3.0, 3.0]
    assert (traces(outer), traces(inner)) == (1, 0)


def test_within_transforms_and_checkpoints_the_function_is_called_as_it_is(session):
    @telegrad.function
    def step(x: Any) -> Any:
        return (x * 2).sin()

    x = telegrad.ones(3, 2)
    assert vmap(step)(x).tolist() == (x * 2).sin().tolist()
    assert traces(step) == 0
    w = telegrad.ones(2, requires_grad=True)
    checkpoint(step, w, use_reentrant=False).sum().backward()
    assert w.grad.tolist() == grad((w * 2).sin().sum(), w)[0].tolist()


def test_a_hook_may_call_a_traced_function(session):
    @telegrad.function
    def tripled(g: Any) -> Any:
        return g * 3

    w = telegrad.ones(2, requires_grad=True)
    w.register_hook(tripled)
    (w * 2).sum().backward()

    assert w.grad.tolist() == [6.0, 6.0]


def test_programs_are_listed_and_cleared(session):
    @telegrad.function
    def step(x: Any) -> Any:
        return x * 2

    assert repr(step).endswith("step, not traced yet>")
    step(telegrad.ones(2))
    assert "1 program(s) of 1 commands" in repr(step)
    assert step.programs[0].id.startswith("sha256:")
    step.clear()
    assert step.programs == ()
    assert step(telegrad.ones(2)).tolist() == [2.0, 2.0]


def test_the_programs_kept_are_bounded_and_tracing_again_and_again_is_warned_of(session, monkeypatch):
    monkeypatch.setattr("telegrad._defaults.TRACED_PROGRAMS", 3)

    @telegrad.function
    def step(x: Any, n: int) -> Any:
        return x * n

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(10):
            assert step(telegrad.ones(1), n).item() == n
    assert traces(step) == 3
    assert "was traced" in str(caught[0].message)


def test_sessions_have_programs_of_their_own(place):
    @telegrad.function
    def step(x: Any) -> Any:
        return x * 2

    with open_session(place):
        assert step(telegrad.ones(2)).tolist() == [2.0, 2.0]
        with open_session(place):
            assert step(telegrad.ones(2)).tolist() == [2.0, 2.0]
            assert traces(step) == 2
        assert step(telegrad.ones(2)).tolist() == [2.0, 2.0]
    assert len({program.id for program in step.programs}) == 1, "the same content, the same id"


def test_the_classes_are_what_they_were_after_a_trace(session):
    tensor = type(telegrad.ones(1))
    before = dict(vars(tensor)), dict(vars(type(session)))

    @telegrad.function
    def step(x: Any) -> Any:
        return x * 2

    step(telegrad.ones(2))
    assert (dict(vars(tensor)), dict(vars(type(session)))) == before


def test_a_trace_keeps_neither_arguments_nor_sessions_alive():
    held: list[Any] = []
    w: Any = None

    @telegrad.function
    def step(x: Any) -> Any:
        return x * w

    def use() -> None:
        nonlocal w
        with telegrad.local() as session:
            x, w = telegrad.ones(2), telegrad.ones(2)
            held.extend([weakref.ref(x), weakref.ref(w), weakref.ref(session)])
            assert step(x).tolist() == [1.0, 1.0]
        w = None

    use()
    gc.collect()
    assert [reference() for reference in held] == [None, None, None]
    assert step.programs == ()


def test_what_another_thread_does_during_a_trace_is_no_part_of_it(session):
    started, done = threading.Event(), threading.Event()
    found: list[Any] = []
    w = telegrad.ones(2)

    def elsewhere() -> None:
        started.wait(10)
        other = w * 3
        found.append(other.tolist())
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()

    @telegrad.function
    def step(x: Any) -> Any:
        started.set()
        done.wait(10)
        return x + w

    assert step(telegrad.ones(2)).tolist() == [2.0, 2.0]
    thread.join(10)
    assert found == [[3.0, 3.0]]
    assert len(step.programs[0].commands) == 1


def test_a_call_within_no_session_runs_where_its_tensors_live(place):
    session = open_session(place)
    w = session.tensor([1.0, 2.0])

    @telegrad.function
    def step() -> Any:
        return w * 2

    assert step().tolist() == [2.0, 4.0]
    assert step().session is session
    session.close()


def test_hooks_outside_are_called_or_refused(session, place):
    w = telegrad.ones(2, requires_grad=True)

    @telegrad.function
    def step(h: Any) -> Any:
        (h * 2).sum().backward()

    step(w * 1)
    assert w.grad.tolist() == [2.0, 2.0]
    w.grad = None
    h = w * 1
    h.register_hook(lambda g: g * 10)
    if place == "local":
        step(h)
        assert w.grad.tolist() == [20.0, 20.0]
    else:
        with pytest.raises(TraceError, match="hook"):
            step(h)
        assert w.grad is None


def test_a_rate_in_an_array_needs_no_other_trace(session):
    w, g, square = telegrad.ones(2), telegrad.tensor([1.0, 2.0]), telegrad.tensor([4.0, 9.0])

    def step(rate):
        return w.add(g, alpha=-rate), w.sub(g, alpha=rate), w.addcmul(g, g, value=rate), w.clone().addcdiv_(g, square, value=-rate)

    traced = telegrad.function(step)
    for value in (0.5, 0.25, 0.125):
        rate = np.float32(value)
        assert [x.tolist() for x in traced(np.asarray(rate))] == [x.tolist() for x in step(telegrad.tensor(rate))]
    assert len(traced.programs) == 1
