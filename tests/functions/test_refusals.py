"""What cannot be traced is refused with the line that does it; nothing is traced wrongly, and nothing has changed."""

from __future__ import annotations

import inspect
import linecache
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import telegrad
from telegrad.autograd import Function
from telegrad.errors import AutogradError, SessionMismatchError, TelegradError, TraceError

REFUSED: Final[dict[str, tuple[Callable[..., Any], str]]] = {}
"""By name: a function of a parameter and of data, and a part of the line that is to be named."""


def refused(part: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a function to the table."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        REFUSED[function.__name__] = (function, part)
        return function

    return add


@refused("if x.sum() > 0:  # here")
def branches_on_a_value(w: Any, x: Any) -> Any:
    if x.sum() > 0:  # here
        return x
    return w


@refused("float(x.sum())  # here")
def converts_to_float(w: Any, x: Any) -> Any:
    return w * float(x.sum())  # here


@refused("int(x.sum())  # here")
def converts_to_int(w: Any, x: Any) -> Any:
    return w * int(x.sum())  # here


@refused("x.sum().item()  # here")
def reads_an_item(w: Any, x: Any) -> Any:
    return w * x.sum().item()  # here


@refused("x.tolist()")
def reads_a_list(w: Any, x: Any) -> Any:
    return w * x.tolist()[0]  # here


@refused("x.numpy()")
def reads_an_array(w: Any, x: Any) -> Any:
    return w * float(x.numpy()[0])  # here


@refused("np.asarray(x)")
def converts_to_an_array(w: Any, x: Any) -> Any:
    return w * float(np.asarray(x)[0])  # here


@refused("print(x)")
def prints_a_value(w: Any, x: Any) -> Any:
    print(x)  # noqa: T201 # here
    return w


@refused('f"{x.sum():.2f}"  # here')
def formats_a_value(w: Any, x: Any) -> Any:
    name = f"{x.sum():.2f}"  # here
    return w, name


@refused("while x.sum() < 100:  # here")
def loops_until_a_value(w: Any, x: Any) -> Any:
    while x.sum() < 100:  # here
        x = x * 2
    return w * x


@refused("1.0 in x:  # here")
def looks_for_a_value(w: Any, x: Any) -> Any:
    if 1.0 in x:  # here
        return w
    return x


@refused("telegrad.allclose(w, x):  # here")
def compares_values(w: Any, x: Any) -> Any:
    if telegrad.allclose(w, x):  # here
        return w
    return x


@refused("range(x[x > 0].shape[0]):  # here")
def needs_a_shape_that_depends_on_values(w: Any, x: Any) -> Any:
    for _ in range(x[x > 0].shape[0]):  # here
        w = w + 1
    return w


@refused("for part in x[x > 0]:  # here")
def walks_over_a_selection(w: Any, x: Any) -> Any:
    for part in x[x > 0]:  # here
        w = w + part
    return w


@refused("except TelegradError:  # not here, but what it swallowed")
def swallows_the_refusal(w: Any, x: Any) -> Any:
    try:
        return w * x.sum().item()
    except TelegradError:  # not here, but what it swallowed
        return w


@refused("x.session.flush()  # here")
def flushes(w: Any, x: Any) -> Any:
    x.session.flush()  # here
    return w


@refused("telegrad.summary(w * x)  # here")
def summarises(w: Any, x: Any) -> Any:
    telegrad.summary(w * x)  # here
    return w


@refused("w.register_hook(lambda g: g * 2)  # here")
def hooks_an_argument(w: Any, x: Any) -> Any:
    w.register_hook(lambda g: g * 2)  # here
    return (w * x).sum()


@refused("telegrad.tensor(np.zeros(200_000))")
def makes_a_large_constant(w: Any, x: Any) -> Any:
    return w * x, telegrad.tensor(np.zeros(200_000))  # here


@refused("y.register_hook(")
def reads_in_a_hook(w: Any, x: Any) -> Any:
    y = w * x
    y.register_hook(lambda g: g * g.sum().item())  # here
    y.sum().backward()
    return y.detach()


@pytest.mark.parametrize("name", REFUSED)
def test_what_depends_on_values_is_refused_with_its_line(session, name):
    function, part = REFUSED[name]
    w, x = telegrad.tensor([1.0, -2.0, 3.0], requires_grad=True), telegrad.tensor([4.0, 5.0, 6.0])
    traced = telegrad.function(function)

    with pytest.raises(AutogradError) as caught:
        traced(w, x)

    assert isinstance(caught.value, TraceError) or name == "reads_in_a_hook"
    assert traced.programs == ()
    if name not in ("reads_in_a_hook", "swallows_the_refusal"):
        lines, first = inspect.getsourcelines(function)
        line = next(number for number, text in enumerate(lines, first) if text.rstrip().endswith("# here"))
        assert f"{__file__}:{line}," in str(caught.value)
        assert part in linecache.getline(__file__, line)
    assert w.tolist() == [1.0, -2.0, 3.0]
    assert w.grad is None
    assert x.tolist() == [4.0, 5.0, 6.0]
    assert (w * x).sum().item() == 12.0, "the classes are what they were"


def test_whether_a_history_from_outside_leads_to_a_leaf_is_not_guessed(session):
    w = telegrad.tensor([1.0, 2.0], requires_grad=True)

    def accumulated(h: Any) -> Any:
        (h * h).sum().backward()
        return w.grad

    def unused(h: Any) -> Any:
        return telegrad.autograd.grad((h * h).sum(), w, allow_unused=True)

    for step in (accumulated, unused):
        with pytest.raises(TraceError, match="that may lead there or not"):
            telegrad.function(step)(w * 2)
    assert w.grad is None
    traced = telegrad.function(lambda h: telegrad.autograd.grad((h * h).sum(), w)[0])
    assert [traced(w * 2).tolist() for _ in range(3)] == [[8.0, 16.0]] * 3


class Model:
    """Something with attributes."""

    def __init__(self) -> None:
        self.count = 0
        self.last: Any = None
        self.log: list[Any] = []


MODEL = Model()
COUNT = 0
BATCHES = iter([1.0, 2.0, 3.0])
GENERATOR = np.random.default_rng(0)


def counts_calls(x: Any) -> Any:
    MODEL.count += 1
    return x


def keeps_a_tensor(x: Any) -> Any:
    MODEL.last = x * 2
    return x


def logs(x: Any) -> Any:
    MODEL.log.append(x.sum())
    return x


def counts_globally(x: Any) -> Any:
    global COUNT  # noqa: PLW0603 - what is refused
    COUNT += 1
    return x


def takes_the_next(x: Any) -> Any:
    return x * next(BATCHES)


def draws_with_numpy(x: Any) -> Any:
    return x * GENERATOR.normal()


def draws_with_numpys_module(x: Any) -> Any:
    return x * np.random.rand()  # noqa: NPY002 - what is refused


def draws_with_python(x: Any) -> Any:
    return x * random.random()


def draws_with_what_it_imports(x: Any) -> Any:
    from random import uniform

    return x * uniform(0.0, 1.0)


def draws_with_numpy_that_it_imports(x: Any) -> Any:
    import numpy as np

    return x * np.random.rand()  # noqa: NPY002 - what is refused


def returns_an_object(x: Any) -> Any:
    return x, MODEL


def switches_the_mode(x: Any) -> Any:
    telegrad.set_grad_enabled(False)
    return x


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (counts_calls, "MODEL.count"),
        (keeps_a_tensor, "MODEL.last"),
        (logs, "MODEL.log"),
        (counts_globally, "COUNT"),
        (takes_the_next, "BATCHES, an iterator"),
        (draws_with_numpy, "GENERATOR"),
        (draws_with_numpys_module, "np.random"),
        (draws_with_python, "random"),
        (draws_with_what_it_imports, "random"),
        (draws_with_numpy_that_it_imports, "numpy.random"),
        (returns_an_object, "Model"),
        (switches_the_mode, "grad mode"),
    ],
)
def test_what_a_program_would_not_do_again_is_refused_by_name(session, function, named):
    global MODEL, COUNT
    MODEL, COUNT = Model(), 0
    traced = telegrad.function(function)

    with pytest.raises(TraceError, match=named):
        traced(telegrad.tensor([1.0]))

    assert traced.programs == ()
    assert telegrad.is_grad_enabled()


def test_a_tensor_from_nowhere_is_refused(session):
    hidden = {telegrad.tensor([2.0])}  # in no order that another run would have as well

    @telegrad.function
    def step(x: Any) -> Any:
        return sum(hidden, x)

    with pytest.raises(TraceError, match="was not given"):
        step(telegrad.tensor([1.0]))


def test_tensors_of_two_sessions_are_refused(session):
    with telegrad.local() as other:
        foreign = other.tensor([1.0])

    @telegrad.function
    def step(x: Any) -> Any:
        return x * foreign

    with pytest.raises(SessionMismatchError):
        step(session.tensor([1.0]))


def test_a_tensor_of_the_trace_that_was_kept_says_so(session):
    kept: list[Any] = []

    @telegrad.function
    def step(x: Any) -> Any:
        kept.append(x)
        return x

    with pytest.raises(TraceError, match="kept"):
        step(telegrad.tensor([1.0]))
    with pytest.raises(TraceError, match="has ended"):
        kept[0] + 1


def test_what_the_function_raises_is_raised_and_nothing_is_kept(session):
    @telegrad.function
    def step(x: Any) -> Any:
        return x.view(7)

    with pytest.raises(RuntimeError, match="shape"):
        step(telegrad.zeros(2, 3))
    assert step.programs == ()


def test_an_error_of_a_run_names_the_line_in_the_function(session):
    @telegrad.function
    def step(x: Any) -> Any:
        y = x * 2
        return telegrad.linalg.inv(y)  # singular

    step(telegrad.eye(2))
    with pytest.raises(telegrad.errors.NumericalError) as caught:
        step(telegrad.zeros(2, 2)).tolist()

    assert "return telegrad.linalg.inv(y)  # singular" in "".join(caught.value.__notes__)


def test_only_functions_are_decorated():
    with pytest.raises(TypeError, match="decorates a function, not int"):
        telegrad.function(3)


class Opaque(Function):
    """A custom function, to be differentiated outside of the trace."""

    @staticmethod
    def forward(_ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(_ctx: Any, g: Any) -> Any:
        return g * 2


def test_a_custom_function_of_a_trace_cannot_be_differentiated_outside(session):
    w = telegrad.tensor([1.0], requires_grad=True)

    @telegrad.function
    def step(x: Any) -> Any:
        return Opaque.apply(x).sum()

    y = step(w)
    with pytest.raises(AutogradError, match="Opaque"):  # noqa: PT012 - remotely the read says so
        y.backward()
        w.grad.tolist()
