"""Indexing, shapes, types, views, random draws, and a tensor as a citizen of Python."""

from __future__ import annotations

import math
from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import Failure, attempt

# Indexing and shapes -----------------------------------------------------------------------------------------------------


@script
def indexing(tg: Any) -> Any:
    x = (tg.arange(24, dtype=tg.float64).reshape(2, 3, 4) / 10).requires_grad_()
    picked = [x[0], x[:, 1], x[..., -1], x[:, None, ::2], x[1, [0, 2]], x[tg.tensor([1, 0]), tg.tensor([2, 2])]]
    tg.stack([(p * p).sum() for p in picked]).sum().backward()
    return [p.detach() for p in picked], x.grad


@script
def masks_give_shapes_that_depend_on_values(tg: Any) -> Any:
    x = tg.tensor([1.0, -2.0, 3.0, -4.0], requires_grad=True)
    positive = x[x > 0]
    (positive * positive).sum().backward()
    where = (x.detach() < 0).nonzero()
    return positive, positive.shape, len(positive), x.grad, where, x.detach().masked_fill(x.detach() < 0, 0.0)


@script
def assignment_by_index(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = tg.tensor(5.0, requires_grad=True)
    y = x * 1
    y[1] = v
    y[tg.tensor([True, False, False])] = 7.0
    (y * y).sum().backward()
    return y, x.grad, v.grad


@script
def an_integer_in_a_tensor_selects_as_the_integer_does(tg: Any) -> Any:
    x = tg.arange(6.0).view(2, 3).requires_grad_()
    y = x * 1
    best = y.sum(0).argmax()
    column = y[:, best]
    column.mul_(3)
    y[tg.tensor(0)] += 1
    row = y[tg.tensor(-1), 1:]
    (y * y).sum().backward()
    far = attempt(lambda: y[tg.tensor(2)].sum().item())
    return y, column.detach(), row.detach(), row.grad_fn.name(), x.grad, y._version, far


@script
def results_into_tensors_that_are_there(tg: Any) -> Any:
    x = tg.tensor([[3.0, 1.0], [2.0, 4.0]], dtype=tg.float64)
    whole, empty, wide = tg.zeros(2, 2, dtype=tg.float64), tg.empty(0, dtype=tg.float64), tg.zeros(2, dtype=tg.complex128)
    same = tg.exp(x, out=whole) is whole
    tg.matmul(x, x, out=empty)
    tg.sum(x, 0, out=wide)
    values, places = tg.sort(x, out=(tg.empty(0, dtype=tg.float64), tg.empty(0, dtype=tg.int64)))
    tg.neg(x[0], out=whole[1])
    leaf = tg.ones(2, requires_grad=True)
    refused = attempt(lambda: tg.mul(leaf, 2, out=tg.empty(0)))
    return same, whole, whole._version, empty, wide, values, places, refused


@script
def comparisons_in_place_let_zeros_through(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    y.lt_(2.5)
    (y * x).sum().backward()
    z, plain = x * 1, tg.zeros(3)
    plain.eq_(z)
    base = x * 1
    base[1:].ge_(tg.tensor([2.0, 4.0]))
    leaf = attempt(lambda: tg.ones(2, requires_grad=True).gt_(0))
    grads = tg.autograd.grad((plain + base).sum(), [x], allow_unused=True)
    return y, y.grad_fn.name(), x.grad, plain, plain.grad_fn.name(), base, grads, leaf


@script
def numbers_may_come_first(tg: Any) -> Any:
    x, whole = tg.tensor([1.0, -2.0, 4.0], requires_grad=True), tg.tensor([6, 3])
    made = [tg.add(2, x), tg.sub(2.5, x, alpha=2), tg.mul(3, x), tg.div(1, x), tg.add(1, x, alpha=3), tg.true_divide(2, x)]
    tg.stack(made).sum().backward()
    rest = [tg.div(7, whole, rounding_mode="floor"), tg.floor_divide(7, whole), tg.bitwise_and(2, whole), tg.bitwise_xor(1, whole)]
    shifted = [tg.bitwise_left_shift(1, whole), tg.bitwise_right_shift(64, whole), tg.bitwise_or(8, whole), tg.mul(True, whole)]
    return [m.detach() for m in made], x.grad, rest, shifted, attempt(lambda: tg.mul(2, "x")), tg.mul(2, whole, out=tg.zeros(2))


@script
def other_spellings(tg: Any) -> Any:
    x = tg.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=tg.float64, requires_grad=True)
    norms = [f(input=x).item() for f in (tg.linalg.norm, tg.linalg.vector_norm, tg.linalg.matrix_norm, tg.linalg.cond)]
    return x.numpy(force=True).tolist(), x.to("cpu") is x, norms, attempt(x.numpy)


@script
def steps_through_memory(tg: Any) -> Any:
    a = tg.arange(6.0, requires_grad=True)
    y = a * 1
    part = y[2:]
    steps = part.as_strided((3,), (2,), 0)
    steps.mul_(tg.tensor([2.0, 3.0, 4.0]))
    part.mul_(10)
    ((y * tg.arange(6.0)).sum() + (steps * steps).sum()).backward()
    far = attempt(lambda: y.as_strided((4,), (2,), 0).sum().item())
    return y, steps, part.detach(), a.grad, far


@script
def views_share_memory(tg: Any) -> Any:
    base = tg.zeros(2, 3)
    row = base[1]
    row += 1
    flat = base.view(6)
    flat[0] = 9.0
    turned = base.t()
    turned[2, 0] = 4.0
    return base, row, flat, turned, base._version


@script
def writing_through_a_view_reaches_the_base(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=tg.float64, requires_grad=True)
    y = x * 1
    y[0].mul_(10)
    y.t()[1] += x[0]
    (y * y).sum().backward()
    return y, y.grad_fn is not None, x.grad


@script
def joins_and_splits(tg: Any) -> Any:
    a = tg.tensor([[1.0, 2.0]], requires_grad=True)
    b = tg.tensor([[3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    joined = tg.cat([a, b])
    first, second = joined.split([1, 2])
    (first.sum() * second.prod() + tg.stack([a[0], b[0]]).pow(2).sum()).backward()
    return joined, first, second, a.grad, b.grad


@script
def shapes_and_reductions(tg: Any) -> Any:
    x = (tg.arange(6, dtype=tg.float32).reshape(2, 3) - 2.5).requires_grad_()
    values, indices = x.max(dim=1)
    y = x.mean(0).sum() + x.var() + x.std(dim=1).sum() + x.logsumexp(1).sum() + values.sum()
    y.backward()
    return y, indices, x.grad, x.sum(dim=(0, 1), keepdim=True), x.argmax(), x.cumsum(1), x.any(), x.permute(1, 0).shape


@script
def einsum_and_batches(tg: Any) -> Any:
    a = (tg.arange(12, dtype=tg.float64).reshape(2, 2, 3) / 12).requires_grad_()
    b = tg.ones(2, 3, 2, dtype=tg.float64)
    y = tg.einsum("bij,bjk->bik", a, b) + a.bmm(b) + a @ b
    y.sum().backward()
    return y, a.grad, tg.outer(tg.arange(3), tg.arange(2))


@script
def dtypes_and_promotion(tg: Any) -> Any:
    i, f, d, b = tg.arange(3), tg.ones(3), tg.ones(3, dtype=tg.float64), tg.tensor([True, False, True])
    return (
        [i + f, f + d, i / 2, i + 0.5, b + b, b + 1, f * 1e300, i // 2, i**2, tg.tensor(1.0, dtype=tg.float64) * f],
        [i.sum(), b.sum(), f.to(tg.int32), attempt(i.mean), (f > 0.5).dtype == tg.bool],
    )


@script
def complex_gradients(tg: Any) -> Any:
    z = tg.tensor([1 + 2j, -0.5j], dtype=tg.complex128, requires_grad=True)
    y = (z * z.conj()).real.sum() + (z.exp()).abs().sum()
    y.backward()
    return y, z.grad


@script
def not_a_number_and_infinities(tg: Any) -> Any:
    x = tg.tensor([0.0, -1.0, math.inf, math.nan], requires_grad=True)
    y = x.log()
    y.backward(tg.ones_like(y))
    return y, x.grad, y.isnan(), x.clamp(min=0.0), x.detach().max()


# Randomness --------------------------------------------------------------------------------------------------------------


@script
def draws_repeat_after_a_seed_ours(tg: Any) -> Any:
    tg.manual_seed(7)
    first = tg.randn(3), tg.rand(2, 2, dtype=tg.float64), tg.randint(0, 10, (4,))
    tg.manual_seed(7)
    return first, (tg.randn(3), tg.rand(2, 2, dtype=tg.float64), tg.randint(0, 10, (4,))), tg.randn(2)


@script
def dropout_draws_from_the_session_ours(tg: Any) -> Any:
    tg.manual_seed(3)
    x = tg.ones(50, requires_grad=True)
    y = tg.nn.functional.dropout(x, p=0.3)
    y.sum().backward()
    return y, x.grad, tg.nn.functional.dropout(x, p=0.3, training=False)


# A tensor as a citizen of Python ------------------------------------------------------------------------------------------


@script
def python_protocols(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    rows = [row.tolist() for row in x]
    return (
        [rows, len(x), float(x[0, 1]), int(x[1, 1]), bool(x[0, 0] > 0), 3.0 in x, x.ndim, x.numel(), x.size(0)],
        [repr(x), repr(x[0, 0]), f"{x[0, 0]:.2f}", repr(tg.arange(3)), repr(x > 2)],
        [2 - x, 2 / x, 2**x, -x, abs(-x), x // 2, x % 2, x == 2, ~(x > 2), (x > 1) & (x < 4)],
    )


@script
def results_that_are_used_as_control_flow(tg: Any) -> Any:
    x = tg.tensor(10.0, dtype=tg.float64, requires_grad=True)
    y, steps = x, 0
    while y > 1:
        y = y / 2
        steps += 1
    y.backward()
    return steps, y, x.grad


@script
def views_made_without_recording(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with tg.no_grad():
        view, part = x.view(-1), x[1:]
    before = view.requires_grad, view.is_leaf, view.grad_fn, part.requires_grad
    (view * 2).sum().backward()
    refused = attempt(lambda: view.add_(1)), attempt(lambda: (view.backward(tg.ones(3)), view.tolist()))
    with tg.no_grad():
        x.mul_(2)
    after = view.tolist(), isinstance(attempt(lambda: view.grad_fn), Failure), attempt(lambda: part * 2)
    return before, view.grad, x.grad, refused, after


@script
def writes_under_views_of_several(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 1
    first, _ = y.unbind()
    left, _ = y.split(1, dim=1)
    row = y[0]
    direct = attempt(lambda: first.mul_(2))
    y.mul_(2)
    return direct, attempt(lambda: first * 2), attempt(left.sum), row * 2, first.tolist()


@script
def a_leaf_that_requires_grad_no_more(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).sum()
    x.requires_grad_(False)
    y.backward()
    none = x.grad
    x.requires_grad_()
    (x * 3).sum().backward()
    z = x * 1
    return none, x.grad, z.requires_grad_() is z, attempt(lambda: setattr(z, "requires_grad", True))


@script
def writes_into_what_is_read(tg: Any) -> Any:
    x = tg.arange(6.0).view(2, 3)
    whole = x.add_(x)
    part = attempt(lambda: tg.arange(4.0).view(2, 2).copy_(x.flatten()[1:5].view(2, 2)).tolist())
    shifted = attempt(lambda: x.view(-1)[1:].add_(x.view(-1)[:-1]).tolist())
    return whole, part, shifted


@script
def steps_have_no_derivative(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.5], requires_grad=True)
    y = x // 2

    def backward(root: Any) -> Any:
        root.sum().backward()
        return x.grad

    return y, attempt(lambda: backward(x * y)), attempt(lambda: backward(tg.unique(x)))


@script
def printing_as_options_say(tg: Any) -> Any:
    floats, mixed, whole = tg.tensor([1.23456, -2.0]), tg.tensor([1e-6, 12345.0]), tg.arange(30)
    parts, table = tg.tensor([1.23456 + 2j]), tg.arange(400.0).reshape(20, 20)
    calls: list[dict[str, Any]] = [
        *({"precision": 2}, {"sci_mode": True}, {"sci_mode": False}, {"threshold": 5}, {"threshold": 20, "edgeitems": 1}),
        *(
            {"linewidth": 30},
            {"profile": "short"},
            {"profile": "full"},
            {"profile": "short", "precision": 6},
            {"profile": "default"},
        ),
    ]
    seen = []
    try:
        for options in calls:
            tg.set_printoptions(**options)
            seen.append([repr(x) for x in (floats, mixed, whole, parts, table)])
            tg.set_printoptions(profile="default")
        tg.set_printoptions(precision=1)
        tg.set_printoptions(threshold=3)
        seen.append([repr(x) for x in (floats, whole)])
    finally:
        tg.set_printoptions(profile="default")
    return seen, repr(floats)


@script
def functions_of_python_for_every_element(tg: Any) -> Any:
    x, whole, flags = tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1, 2]), tg.tensor([True, False])
    column = x[:, 1]
    same = x.apply_(lambda v: v * 10) is x
    column.apply_(lambda v: v + 1)
    mapped = tg.ones(2, 2).map_(tg.tensor([1.0, 2.0]), lambda a, b: a - b)
    made = [whole.apply_(lambda _: 1.7), flags.apply_(lambda v: not v), tg.tensor(3.0).apply_(lambda v: v + 1), mapped]
    made += [tg.tensor([1j]).apply_(lambda v: v * 2), tg.empty(0).apply_(lambda v: v), x.t().apply_(lambda v: v - 1)]
    leaf, kept = tg.tensor([1.0], requires_grad=True), tg.tensor([1.0, 2.0])
    calls = [
        lambda: leaf.apply_(lambda v: v),
        lambda: (leaf * 2).map_(kept, max),
        lambda: kept.map_(leaf, max),
        lambda: kept.map_(whole, max),
        lambda: kept.map_(5, max),
        lambda: kept.map_(tg.ones(3), max),
        lambda: kept.apply_(lambda v: 1 / (v - 1)),
        lambda: kept.apply_(lambda _: "a"),
        lambda: kept.apply_(5),
    ]
    refused = [attempt(call) for call in calls]
    return same, made, x, kept, refused
