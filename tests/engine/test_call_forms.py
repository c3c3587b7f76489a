"""Ways to write a call that PyTorch takes: other names of arguments, numbers in front, arguments that say what is the default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from tests.parity.transcripts import attempt, disagreements
from tests.references.sides import HAS_TORCH, torch_side


def six(tg: Any) -> Any:
    return tg.arange(6.0)


def whole(tg: Any) -> Any:
    return tg.tensor([3, 1, 2])


def cube(tg: Any) -> Any:
    return tg.arange(8.0).reshape(2, 2, 2)


FORMS: list[Callable[[Any], Any]] = [
    # the parts of a split, by what they are
    lambda tg: six(tg).tensor_split(sections=4),
    lambda tg: tg.tensor_split(six(tg), indices=(1, 4), dim=0),
    lambda tg: six(tg).tensor_split(tensor_indices_or_sections=tg.tensor([2, 3])),
    lambda tg: tg.hsplit(six(tg), sections=3),
    lambda tg: six(tg).hsplit(indices=(1, 2)),
    lambda tg: tg.vsplit(cube(tg), indices=(1,)),
    lambda tg: cube(tg).dsplit(sections=2),
    lambda tg: six(tg).tensor_split(2, sections=3),
    lambda tg: six(tg).tensor_split(sections=2, indices=(1,)),
    lambda tg: six(tg).tensor_split(),
    # numbers in front of tensors, and of numbers
    *(lambda tg, f=f: getattr(tg, f)(7, whole(tg)) for f in ("add", "sub", "mul", "div", "floor_divide")),
    *(lambda tg, f=f: getattr(tg, f)(7, 2) for f in ("add", "subtract", "multiply", "true_divide", "floor_divide")),
    *(lambda tg, f=f: getattr(tg, f)(input=2.5, other=whole(tg)) for f in ("add", "sub", "mul", "div", "floor_divide")),
    *(lambda tg, f=f: getattr(tg, f)(3, other=whole(tg)) for f in ("bitwise_and", "bitwise_or", "bitwise_xor")),
    *(lambda tg, f=f: getattr(tg, f)(1, other=whole(tg)) for f in ("bitwise_left_shift", "bitwise_right_shift")),
    lambda tg: tg.sub(2, 3.5, alpha=2),
    lambda tg: tg.add(True, True),
    lambda tg: tg.add(1j, 2),
    lambda tg: tg.bitwise_and(1, 2),
    lambda tg: tg.bitwise_and(1),
    lambda tg: tg.mul("a", whole(tg)),
    # types and copies
    lambda tg: six(tg).to(),
    lambda tg: six(tg).to(None),
    lambda tg: six(tg).to(dtype=tg.int64),
    lambda tg: six(tg).to("cpu", tg.int64),
    lambda tg: six(tg).to(device="cpu", dtype=tg.int64),
    lambda tg: six(tg).to(tg.int64, True, True),
    lambda tg: six(tg).to(whole(tg), copy=True),
    lambda tg: six(tg).to(tg.int32, tg.int64),
    lambda tg: six(tg).to(tg.int32, dtype=tg.int64),
    lambda tg: six(tg).to(speed=1),
    lambda tg: six(tg).view(dtype=tg.int32),
    lambda tg: six(tg).view(6, dtype=tg.int32),
    lambda tg: six(tg).view(size=(6,), dtype=tg.int32),
    lambda tg: tg.result_type(tensor=whole(tg), other=1.5),
    # what is left out, or said though it is the default
    lambda tg: whole(tg).sort(stable=None),
    lambda tg: tg.repeat_interleave(repeats=tg.tensor([1, 0, 2])),
    lambda tg: tg.repeat_interleave(input=whole(tg), repeats=2),
    lambda tg: tg.isin(whole(tg), test_element=1),
    lambda tg: tg.isin(element=1, test_elements=whole(tg)),
    # a weight without dimensions stands for a number
    lambda tg: tg.lerp(six(tg), six(tg) + 1, tg.tensor(0.25, dtype=tg.float64)),
    lambda tg: tg.lerp(six(tg), six(tg) + 1, tg.tensor(True)),
    lambda tg: tg.lerp(six(tg)[1], six(tg)[2], tg.tensor(0.25, dtype=tg.float64)),
    lambda tg: tg.lerp(six(tg), six(tg) + 1, tg.tensor(0.25j)),
    lambda tg: tg.lerp(six(tg), six(tg) + 1, 0.25j),
    lambda tg: tg.lerp(six(tg), six(tg) + 1, six(tg).double()),
    # running sums in place have the tensor's own type
    lambda tg: six(tg).cumsum_(0, dtype=tg.float32),
    lambda tg: six(tg).cumsum_(0, dtype=tg.int64),
    lambda tg: six(tg).cumprod_(0, dtype=tg.float64),
    # positions
    *(lambda tg, f=f: six(tg).index_fill(0, tg.tensor(f), 9.0) for f in ([-1, 0], [-7], [6], [[0]])),
    lambda tg: six(tg).index_fill(0, whole(tg).int(), 9.0),
    *(lambda tg, f=f: six(tg).index_copy(0, tg.tensor(f), tg.ones(2)) for f in ([0], [5, 0], [-1, 0], [[0, 1]])),
    lambda tg: six(tg).index_copy(0, whole(tg).int(), tg.ones(3)),
    lambda tg: six(tg).index_copy(0, whole(tg), tg.tensor(1.0)),
    lambda tg: cube(tg).index_copy(0, tg.tensor([1]), tg.ones(2)),
    lambda tg: cube(tg).index_copy(0, tg.tensor([1]), tg.ones(1, 2, 3)),
    lambda tg: six(tg).index_add(0, tg.tensor([[0, 1]]), tg.ones(2)),
    # whole numbers, and bounds that cross
    lambda tg: tg.nn.functional.soft_margin_loss(six(tg)[:3], whole(tg).byte()),
    lambda tg: tg.nn.functional.soft_margin_loss(six(tg)[:3], whole(tg) > 1),
    lambda tg: tg.nn.functional.soft_margin_loss(whole(tg), whole(tg)),
    lambda tg: tg.nn.functional.margin_ranking_loss(whole(tg), whole(tg) + 1, whole(tg)),
    lambda tg: tg.nn.functional.prelu(whole(tg), tg.tensor([1])),
    lambda tg: tg.nn.functional.celu(six(tg) - 3, -1.0),
    lambda tg: tg.nn.functional.feature_alpha_dropout(whole(tg), training=False),
    lambda tg: tg.nn.functional.max_unpool2d(six(tg), whole(tg), 2),
    lambda tg: tg.logit(six(tg) / 5, 0.75),
    lambda tg: tg.ldexp(six(tg).double(), six(tg) / 10),
    *(lambda tg, f=f: getattr(tg, f)(tg.ones(2, 2, dtype=tg.int64)) for f in ("cholesky_inverse", "geqrf")),
    *(
        lambda tg, f=f: getattr(tg.linalg, f)(tg.ones(2, 2, dtype=tg.int64))
        for f in ("eigh", "eigvalsh", "lu", "lu_factor", "lu_factor_ex", "eig", "qr", "svdvals", "inv", "det", "cholesky")
    ),
    lambda tg: tg.linalg.solve_triangular(whole(tg)[None], whole(tg)[None], upper=True),
    lambda tg: tg.linalg.matrix_norm(tg.ones(2, 2, dtype=tg.int64), "nuc", dtype=tg.float64),
    lambda tg: tg.linalg.tensorinv(tg.tensor(2.0), 1),
    lambda tg: six(tg).svd(),
    lambda tg: six(tg).nanmean(dtype=tg.int64),
    lambda tg: tg.trapezoid(six(tg), dx=True),
    *(lambda tg, f=f: getattr(tg, f)(y=six(tg), x=six(tg) * 2) for f in ("trapezoid", "trapz", "cumulative_trapezoid")),
    lambda tg: tg.trapezoid(tg.zeros(0, dtype=tg.int64)),
    # windows and what surrounds them
    *(
        lambda tg, p=p, d=d: tg.nn.functional.max_pool2d(cube(tg).repeat(1, 3, 3), 2, 1, p, d)
        for p, d in ((1, 1), (1, 3), (2, 3), (2, 1))
    ),
    *(lambda tg, p=p: tg.nn.functional.max_pool3d(cube(tg)[None].repeat(1, 3, 3, 3), 2, 1, p, 2) for p in (1, 2)),
    # arguments that nothing comes back to
    lambda tg: tg.nn.functional.batch_norm(cube(tg), tg.zeros(2, requires_grad=True), tg.ones(2)),
    lambda tg: tg.nn.functional.instance_norm(cube(tg), tg.zeros(2), tg.ones(2, requires_grad=True)),
    lambda tg: tg.nn.functional.multi_margin_loss(cube(tg)[0], tg.tensor([0, 1]), weight=tg.ones(2, requires_grad=True)),
    lambda tg: tg.nn.functional.soft_margin_loss(tg.ones(2), tg.ones(2, requires_grad=True)),
    lambda tg: tg.linalg.pinv(cube(tg), rtol=tg.tensor(0.5, requires_grad=True)),
]


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("index", range(len(FORMS)))
def test_calls_may_be_written_as_in_the_reference(index: int) -> None:
    call, torch = FORMS[index], torch_side().torch
    wanted = attempt(lambda: call(torch))
    with telegrad.local():
        found = attempt(lambda: call(telegrad))

    assert disagreements(found, wanted) == []


def test_zeros_keep_their_sign_where_bounds_leave_them() -> None:
    with telegrad.local():
        x = telegrad.tensor([-0.0, 0.0] * 9)
        bounded = [
            telegrad.relu(x),
            x.clamp(min=0.0, max=1.0),
            telegrad.nn.functional.relu6(x),
            telegrad.nn.functional.softshrink(x),
        ]

        assert all(telegrad.signbit(y).tolist() == [True, False] * 9 for y in bounded)


def test_a_condition_of_bytes_is_taken_with_a_warning() -> None:
    with telegrad.local():
        condition = telegrad.tensor([1, 0, 2], dtype=telegrad.uint8)
        with pytest.warns(UserWarning, match="Use a boolean condition instead"):
            chosen = telegrad.where(condition, 1.0, telegrad.zeros(3))

        assert chosen.tolist() == [1.0, 0.0, 1.0]


def blocks(tg: Any) -> Any:
    return tg.arange(24.0).reshape(2, 3, 4)


MEMORY: list[Callable[[Any], Any]] = [
    lambda tg: tuple(blocks(tg).stride()),
    lambda tg: (blocks(tg).stride(-1), blocks(tg).permute(2, 0, 1).stride(0)),
    lambda tg: blocks(tg).stride(3),
    lambda tg: tuple(blocks(tg).expand(5, 2, 3, 4).stride()),
    lambda tg: [tuple(tg.zeros(*size).stride()) for size in ((2, 0), (2, 0, 3), (0, 3), ())],
    lambda tg: [
        x.is_contiguous() for x in (blocks(tg), blocks(tg).mT, blocks(tg)[1], blocks(tg)[:1].transpose(0, 1), tg.zeros(0, 2).T)
    ],
    lambda tg: [x.storage_offset() for x in (blocks(tg), blocks(tg)[1], blocks(tg)[1][:, 2:], blocks(tg)[1].clone())],
    lambda tg: tg.view_as_real(tg.zeros(3, dtype=tg.complex64)[1:]).storage_offset(),
    lambda tg: [x[0].data_ptr() == x.data_ptr() == x[0, 1].data_ptr() - 16 for x in (blocks(tg),)],
]


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("index", range(len(MEMORY)))
def test_tensors_say_how_they_lie_in_memory(index: int) -> None:
    call, torch = MEMORY[index], torch_side().torch
    wanted = attempt(lambda: call(torch))
    with telegrad.local():
        found = attempt(lambda: call(telegrad))

    assert disagreements(found, wanted) == []


def test_duals_lie_in_memory_as_what_they_hold_and_rows_nowhere() -> None:
    with telegrad.local():
        x = blocks(telegrad)
        seen: list[Any] = []

        def look(y: Any) -> Any:
            seen.append(y.stride())
            return y

        telegrad.func.jvp(look, (x,), (x,))

        assert seen == [(12, 4, 1)]
        with pytest.raises(telegrad.errors.AutogradError, match="outside of transforms"):
            telegrad.vmap(lambda y: y * y.stride(0))(x)
