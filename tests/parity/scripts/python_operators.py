"""What Python asks of a tensor beside an operator, and of a call that does not fit."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt

OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>", "@", "<", "<=", ">", ">=", "==", "!=")
FOREIGN = ("'a'", "None", "[1]", "(1,)", "{}", "object()")


class Measured:
    """An object of somebody else's that knows how to stand right of a tensor."""

    def __radd__(self, other: Any) -> Any:
        return "radd", other

    def __rsub__(self, other: Any) -> Any:
        return "rsub", other

    def __rmul__(self, other: Any) -> Any:
        return "rmul", other

    def __rtruediv__(self, other: Any) -> Any:
        return "rtruediv", other

    def __rpow__(self, other: Any) -> Any:
        return "rpow", other

    def __rmod__(self, other: Any) -> Any:
        return "rmod", other

    def __rmatmul__(self, other: Any) -> Any:
        return "rmatmul", other

    def __rand__(self, other: Any) -> Any:
        return "rand", other

    def __gt__(self, other: Any) -> Any:
        return "gt", other


@script
def another_class_answers_where_a_tensor_cannot(tg: Any) -> Any:
    x, n, other = tg.tensor([1.0, 2.0]), tg.tensor([1, 2]), Measured()
    seen = [x + other, x - other, x * other, x / other, x**other, x % other, x @ other, n & other, x < other]
    grown: Any = tg.tensor([3.0])
    grown += other
    return [*seen, grown]


@script
def sequences_keep_their_own_operators(tg: Any) -> Any:
    three = tg.tensor(3)
    items: list[Any] = [1]
    items += tg.tensor([4, 5])
    return [0] * three, three * "ab", "ab" * three, (1, 2) * three, items


@script
def operators_refuse_what_is_no_number(tg: Any) -> Any:
    x = tg.tensor([1, 2])
    names = {"x": x}
    made = [(f"x {sign} {value}", f"{value} {sign} x") for sign in OPERATORS for value in FOREIGN if sign not in ("==", "!=")]
    # '%' of a string formats the tensor, and a sequence times one tensor asks for a number.
    lines = [line for pair in made for line in pair if not line.startswith("'a' %")]
    return [attempt(partial(eval, line, dict(names))) for line in lines]


@script
def operators_in_place_refuse_what_is_no_number(tg: Any) -> Any:
    seen = []
    for sign in ("+", "-", "*", "/", "**", "%", "//"):
        x = tg.tensor([1.0, 2.0])

        def run(sign: str = sign, x: Any = x) -> None:
            exec(f"x {sign}= 'a'", {"x": x})

        seen.append((attempt(run), x))
    return seen


@script
def tensors_stand_for_numbers(tg: Any) -> Any:
    x = tg.tensor([[0.25, -0.5], [1.0, 2.0]])
    half, one = tg.tensor(0.5), tg.tensor(1)
    lines = (
        *("tg.addmm(x, x, x, beta=half)", "tg.nn.functional.elu(x, alpha=half)", "tg.nn.functional.softplus(x, beta=half)"),
        *("x.std(correction=one)", "x.index_add(0, tg.tensor([0]), x[:1], alpha=half)", "x.nan_to_num(half)"),
        *(
            "x.add(x, alpha=one)",
            "x.add(x, alpha=half)",
            "tg.arange(4).add(tg.arange(4), alpha=one)",
            "tg.arange(4).sub(1, alpha=one)",
        ),
        *("x.add(x, alpha=tg.ones(1))", "x.add(x, alpha=tg.ones((), requires_grad=True))", "x.addcmul(x, x, value=tg.ones(2))"),
        *("tg.arange(4).add(tg.arange(4), alpha=half)", "x.add(x, alpha=tg.tensor(True))"),
    )
    return [attempt(partial(eval, line, {"x": x, "half": half, "one": one, "tg": tg})) for line in lines]
