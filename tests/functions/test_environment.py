"""What a function refers to in one way or another: once it has changed, a traced function does what the function does."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import dataclasses
import functools
import operator
import os
import types
import weakref
from array import array
from collections.abc import Callable
from typing import Any, Final

import pytest

import telegrad
from telegrad.errors import TraceError

Case = tuple[Callable[[Any], Any], Callable[[], Any]]
"""A function of one tensor, and what changes its surroundings."""

RATE = 1.0


class Held:
    """Something whose methods nobody names."""

    def __init__(self) -> None:
        self.rate = 1.0

    def __call__(self, x: Any) -> Any:
        return x * self.rate

    def __getitem__(self, key: str) -> Any:
        return self.rate

    def __len__(self) -> int:
        return int(self.rate)

    def __bool__(self) -> bool:
        return self.rate > 1

    def __iter__(self) -> Any:
        return iter([self.rate])

    def __contains__(self, x: Any) -> bool:
        return bool(self.rate == x)

    def __enter__(self) -> float:
        return self.rate

    def __exit__(self, *_: object) -> None:
        pass

    def __rmul__(self, x: Any) -> Any:
        return x * self.rate

    def __float__(self) -> float:
        return self.rate

    def __lt__(self, x: Any) -> bool:
        return bool(self.rate < x)

    def __getattr__(self, name: str) -> Any:
        return self.rate


class Makes:
    """Something that is made within the function."""

    def __init__(self) -> None:
        self.made = RATE


class Squared(telegrad.autograd.Function):
    """What it does depends on a global and on an attribute, in methods that ``apply`` calls."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * RATE

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * x * RATE


class Described:
    """A descriptor."""

    def __init__(self, held: dict[str, float]) -> None:
        self.held = held

    def __get__(self, instance: Any, owner: Any) -> float:
        return self.held["rate"]


class Table(dict[str, float]):
    """A dict with more to it."""

    rate = 1.0

    def __missing__(self, key: str) -> float:
        return self.rate


@dataclasses.dataclass
class Fields:
    """Fields that no code names."""

    rate: float = 1.0


def entered(held: Held) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        with held as rate:
            return x * rate

    return function


def unpacked(held: Held) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        (rate,) = held
        return x * rate

    return function


IMPLICIT: Final[dict[str, Callable[[Held], Callable[[Any], Any]]]] = {
    "call": lambda held: lambda x: held(x) + 0,
    "item": lambda held: lambda x: x * held["rate"],
    "len": lambda held: lambda x: x * len(held),
    "bool": lambda held: lambda x: x * 2 if held else x,
    "iter": lambda held: lambda x: x * sum(held),
    "unpacked": unpacked,
    "contains": lambda held: lambda x: x * 2 if 1.0 in held else x,
    "with": entered,
    "reflected": lambda held: lambda x: x * (2.0 * held),
    "float": lambda held: lambda x: x * float(held),
    "less": lambda held: lambda x: x * 2 if held < 2 else x,
    "attribute": lambda held: lambda x: x * held.anything,
}


@pytest.mark.parametrize("name", IMPLICIT)
def test_methods_that_are_called_without_their_names_are_looked_at(session, name):
    held = Held()
    function = IMPLICIT[name](held)
    traced = telegrad.function(function)
    x = telegrad.ones(2)
    assert all(traced(x).tolist() == function(x).tolist() for _ in range(2))

    held.rate = 3.0

    assert traced(x).tolist() == function(x).tolist()


def set_rate(value: float) -> None:
    globals()["RATE"] = value


def imports_here() -> Case:
    def scaled(x: Any) -> Any:
        import tests.functions.test_environment as here  # noqa: PLW0406 - a module with state, at hand

        return x * here.RATE

    return scaled, lambda: set_rate(2.0)


def imports_from_here() -> Case:
    def scaled(x: Any) -> Any:
        def inner() -> float:
            from .test_environment import RATE

            return RATE

        return x * inner()

    return scaled, lambda: set_rate(2.0)


class Caller:
    def __call__(self, x: Any) -> Any:
        return x * RATE


class Scales(type):
    def __mul__(cls, x: Any) -> Any:
        return x * RATE


class Scaling(metaclass=Scales):
    """A class that multiplies."""


class Partial:
    def scale(self, factor: float, x: Any) -> Any:
        return x * factor * RATE

    scaled = functools.partialmethod(scale, 2.0)


def makes_and_calls() -> Case:
    return lambda x: Caller()(x) + 0, lambda: set_rate(2.0)


def matches_by_name() -> Case:
    fields = Fields()

    def scaled(x: Any) -> Any:
        match fields:
            case Fields(rate=number):
                return x * number

    return scaled, lambda: raise_rate(fields)


def matches_by_position() -> Case:
    fields = Fields()

    def scaled(x: Any) -> Any:
        match fields:
            case Fields(number):
                return x * number

    return scaled, lambda: raise_rate(fields)


def function_with_attribute() -> Case:
    def scaled(x: Any) -> Any:
        return x * scaled.rate

    scaled.rate = 1.0
    return (lambda x: scaled(x) + 0), lambda: setattr(scaled, "rate", 2.0)


def described() -> Case:
    held = {"rate": 1.0}
    cls: Any = type("Owner", (), {"__module__": __name__, "rate": Described(held)})
    owner = cls()
    return (lambda x: x * owner.rate), lambda: held.update(rate=2.0)


def slope_of_squared(x: Any) -> Any:
    x = x.detach().requires_grad_(True)
    return telegrad.autograd.grad(Squared.apply(x).sum(), x)[0]


def states_by_tensor() -> Case:
    first, second = telegrad.ones(2), telegrad.ones(2) * 2
    states = {first: {"sum": telegrad.zeros(2)}, second: {"sum": telegrad.zeros(2)}}

    def function(x: Any) -> Any:
        for p in (first, second):
            states[p]["sum"].add_(x)
        return states[first]["sum"] + states[second]["sum"]

    return function, lambda: states[second].update(sum=telegrad.ones(2) * 7)


def of(held: Any, use: Callable[[Any, Any], Any], change: Callable[[Any], Any], by: Callable[[Any], Any] | None = None) -> Case:
    """The function uses what it is given by way of ``by``."""
    reached = held if by is None else by(held)
    return lambda x: use(reached, x), lambda: change(held)


def a_of(table: Any, x: Any) -> Any:
    return x * table["a"]


def last_of(items: Any, x: Any) -> Any:
    return x * items[-1]


def set_a(table: Any) -> None:
    table["a"] = 2.0


def raise_last(items: Any) -> None:
    items[-1] += 1


def raise_rate(held: Any) -> None:
    held.rate += 1


CASES: Final[dict[str, Callable[[], Case]]] = {
    "an attribute of a function": function_with_attribute,
    "a descriptor": described,
    "a custom function": lambda: (lambda x: Squared.apply(x) * 1, lambda: set_rate(2.0)),
    "the gradient of a custom function": lambda: (slope_of_squared, lambda: set_rate(2.0)),
    "what is made of a class": lambda: (lambda x: x * Makes().made, lambda: set_rate(2.0)),
    "fields of a data class": lambda: of(Fields(), lambda d, x: x * dataclasses.asdict(d)["rate"], raise_rate),
    "globals by their names": lambda: (lambda x: x * globals()["RATE"], lambda: set_rate(2.0)),
    "a dict by tensors": states_by_tensor,
    "a dict with attributes": lambda: of(Table(), lambda d, x: x * d["none"], raise_rate),
    "items of a dict with attributes": lambda: of(Table(a=1.0), a_of, set_a),
    "a chain of dicts": lambda: of({"a": 1.0}, a_of, set_a, collections.ChainMap),
    "a proxy of a dict": lambda: of({"a": 1.0}, a_of, set_a, types.MappingProxyType),
    "a list of users": lambda: of(collections.UserList([1.0]), last_of, raise_last),
    "a bytearray": lambda: of(bytearray(b"\x01"), last_of, raise_last),
    "an array": lambda: of(array("d", [1.0]), last_of, raise_last),
    "a long list": lambda: of([1.0] * 5000, last_of, raise_last),
    "a long dict": lambda: of({"a": 1.0, **{str(i): 1.0 for i in range(5000)}}, a_of, set_a),
    "the method of a dict": lambda: of({"a": 1.0}, lambda get, x: x * get("a"), set_a, lambda d: d.get),
    "a module that it imports": imports_here,
    "what it imports from a module": imports_from_here,
    "what an object that it makes does when called": makes_and_calls,
    "what the class of a class does": lambda: (lambda x: Scaling * x, lambda: set_rate(2.0)),
    "what a pattern names": matches_by_name,
    "what a pattern leaves to the class": matches_by_position,
    "what a dict makes up": lambda: of(
        collections.defaultdict(lambda: RATE), lambda d, x: x * d.default_factory(), lambda _: set_rate(2.0)
    ),
    "a part of a method": lambda: of(Partial(), lambda p, x: p.scaled(x), lambda _: set_rate(2.0)),
    "an attribute named by a string": lambda: of(
        ("rate", Fields()), lambda p, x: x * operator.attrgetter(p[0])(p[1]), lambda p: raise_rate(p[1])
    ),
    "the environment by getenv": lambda: (
        lambda x: x * float(os.getenv("TELEGRAD_TEST_RATE", "1")),
        lambda: os.environ.update(TELEGRAD_TEST_RATE="2"),
    ),
    "a weak reference": lambda: of(Fields(), lambda r, x: x * r().rate, raise_rate, weakref.ref),
    "a context variable": lambda: of(contextvars.ContextVar("rate", default=1.0), lambda v, x: x * v.get(), lambda v: v.set(2.0)),
    "what gets an attribute": lambda: of(
        (Fields(), operator.attrgetter("rate")), lambda pair, x: x * pair[1](pair[0]), lambda pair: raise_rate(pair[0])
    ),
    "the environment": lambda: (
        lambda x: x * float(os.environ.get("TELEGRAD_TEST_RATE", "1")),
        lambda: os.environ.update(TELEGRAD_TEST_RATE="2"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_was_changed_is_looked_at_again(session, name, monkeypatch):
    monkeypatch.setenv("TELEGRAD_TEST_RATE", "1")
    set_rate(1.0)

    def outcomes(wrap: Callable[[Any], Any]) -> list[Any]:
        monkeypatch.setenv("TELEGRAD_TEST_RATE", "1")
        set_rate(1.0)
        function, change = CASES[name]()
        called, x = wrap(function), telegrad.ones(2)
        found = [called(x).tolist() for _ in range(2)]
        change()
        return [*found, called(x).tolist(), called(x).tolist()]

    expected = outcomes(lambda function: function)
    assert expected[-1] != expected[0]
    assert outcomes(telegrad.function) == expected


@contextlib.contextmanager
def context():
    yield


@pytest.mark.parametrize(
    "transform",
    [
        telegrad.func.jacfwd,
        telegrad.func.jacrev,
        telegrad.func.hessian,
        telegrad.func.vmap,
        lambda f: telegrad.func.jacfwd(telegrad.func.jacrev(f)),
        context(),
        telegrad.no_grad(),
        telegrad.inference_mode(),
    ],
)
def test_what_a_transformed_function_refers_to_is_found(session, transform):
    weights = {"w": telegrad.tensor([1.0, 2.0])}
    function = transform(lambda x: (weights["w"] * x * x).sum())
    traced = telegrad.function(function)
    x = telegrad.tensor([3.0, 4.0])

    expected = [function(x).tolist()]
    found = [traced(x).tolist()]
    weights["w"] = telegrad.tensor([5.0, 7.0])
    expected.append(function(x).tolist())
    found.append(traced(x).tolist())

    assert found == expected
    assert len(traced.programs) == 1


class Squares:
    """Keeps what it computed."""

    @functools.cached_property
    def scale(self) -> float:
        return 2.0


def test_an_attribute_that_is_made_by_the_call_is_refused_by_name(session):
    squares = Squares()
    traced = telegrad.function(lambda x: x * squares.scale)

    with pytest.raises(TraceError, match="it changes squares"):
        traced(telegrad.ones(2))

    assert traced(telegrad.ones(2)).tolist() == [2.0, 2.0]  # there by now


class Layer:
    """Finds its parameters by looking through itself, as small frameworks of one's own do."""

    def __init__(self, scale: float) -> None:
        self.weight = telegrad.tensor([1.0, 2.0], requires_grad=True)
        self.scale = scale

    def parameters(self) -> list[Any]:
        return [x for x in vars(self).values() if isinstance(x, telegrad.Tensor)]

    def norm(self) -> Any:
        return sum(getattr(self, f"{name}ight").square().sum() for name in ("we",)) * self.scale


class Stack(Layer):
    def __init__(self) -> None:
        super().__init__(1.0)
        self.inner = Layer(0.5)

    def parameters(self) -> list[Any]:
        found: list[Any] = []
        for name in self.__dict__:
            x = self.__dict__[name]
            found += [x] if isinstance(x, telegrad.Tensor) else x.parameters() if isinstance(x, Layer) else []
        return found


class Trainer:
    def __init__(self) -> None:
        self.model = Stack()
        self.steps = 0
        self.step = telegrad.function(self.compute)

    def compute(self) -> Any:
        loss = self.model.norm() + self.model.inner.norm()
        gradients = telegrad.autograd.grad(loss, self.model.parameters())
        with telegrad.no_grad():
            for x, gradient in zip(self.model.parameters(), gradients, strict=True):
                x -= 0.1 * gradient
        return loss.detach()

    def fit(self, steps: int, step: Any) -> list[float]:
        losses = []
        for _ in range(steps):
            losses.append(step().item())
            self.steps += 1
        return losses


def test_an_object_that_looks_through_itself_makes_no_counter_elsewhere_part_of_the_trace(session):
    traced, plain = Trainer(), Trainer()

    assert traced.fit(3, traced.step) == plain.fit(3, plain.compute)
    assert len(traced.step.programs) == 1

    for trainer in (traced, plain):
        trainer.model.inner.scale = 2.0
        trainer.model.extra = telegrad.ones(1)
        del trainer.model.extra
        trainer.model.inner.weight = telegrad.tensor([3.0, 4.0], requires_grad=True)
    assert traced.fit(2, traced.step) == plain.fit(2, plain.compute)


def looks_at(x: Any, held: Any) -> Any:
    return x * sum(vars(held).values())


@pytest.mark.parametrize(
    "look",
    [
        lambda self, x, held: x * getattr(held, "ra" + "te"),
        lambda self, x, held: x * getattr(self.held, "ra" + "te"),
        lambda self, x, held: x * held.__dict__["rate"],
        lambda self, x, held: looks_at(x, held),
        lambda self, x, held: sum(x * getattr(h, "ra" + "te") for h in [held]),
    ],
)
def test_what_a_method_looks_at_of_another_object_is_looked_at_again(session, look):
    held = Fields()
    looking = type("Looking", (), {"look": look, "held": held})()

    traced = telegrad.function(lambda x: looking.look(x, held))
    found = [traced(telegrad.ones(1)).tolist()]
    held.rate = 3.0

    assert [*found, traced(telegrad.ones(1)).tolist()] == [[1.0], [3.0]]
