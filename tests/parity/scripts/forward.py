"""Forward mode in all its forms: dual levels, functions of functions, and ``autograd.functional``."""

from __future__ import annotations

from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt

POINT = [0.5, 1.25, -0.75]
DIRECTION = [1.0, -2.0, 0.5]
MATRIX = [[1.0, 2.0, 0.5], [0.25, -1.0, 3.0], [2.0, 0.0, 1.5]]


def point(tg: Any) -> Any:
    """Where functions are differentiated."""
    return tg.tensor(POINT, dtype=tg.float64)


def direction(tg: Any) -> Any:
    """Along what."""
    return tg.tensor(DIRECTION, dtype=tg.float64)


def matrix(tg: Any) -> Any:
    """Something to multiply with."""
    return tg.tensor(MATRIX, dtype=tg.float64)


def curve(tg: Any, x: Any) -> Any:
    """Ops of many kinds."""
    y = (matrix(tg) @ x.sin()).tanh() * x.exp()
    return y.softmax(0) * y.cumprod(0) / (1 + y * y)


# Dual levels -----------------------------------------------------------------------------------------------------------------


@script
def tangents_of_a_dual_level(tg: Any) -> Any:
    forward = tg.autograd.forward_ad
    with forward.dual_level():
        x = forward.make_dual(point(tg), direction(tg))
        y = curve(tg, x)
        value, tangent = forward.unpack_dual(y)
        none = [forward.unpack_dual(z).tangent for z in (x.detach(), tg.zeros_like(x), x > 0, x.to(tg.int64))]
        zero = forward.unpack_dual(x.floor()).tangent
        with tg.no_grad():
            unrecorded = forward.unpack_dual(x * 2).tangent
    after = forward.unpack_dual(y).tangent, y + 1
    return value, tangent, none, zero, unrecorded, after


@script
def tangents_through_views_and_writes(tg: Any) -> Any:
    forward = tg.autograd.forward_ad
    with forward.dual_level():
        x = forward.make_dual(point(tg), direction(tg))
        made = tg.zeros(3, dtype=tg.float64)
        made[0] = x[1] * x[2]
        made[1:].copy_(x[:2])
        made.mul_(x)
        y = x.clone()
        y.reshape(3, 1)[1:].mul_(y[0])
        y[0] = 3.0
        y.add_(1).exp_()
        return forward.unpack_dual(made), forward.unpack_dual(y), forward.unpack_dual(y[1:].t())


@script
def tangents_of_gradients(tg: Any) -> Any:
    forward = tg.autograd.forward_ad
    leaf = point(tg).requires_grad_()
    with forward.dual_level():
        x = forward.make_dual(leaf, direction(tg))
        value = curve(tg, x).sum()
        (gradient,) = tg.autograd.grad(value, leaf, retain_graph=True)
        product = forward.unpack_dual(gradient)
        value.backward()
    return product.primal, product.tangent, leaf.grad


@script
def tangents_that_require_grad(tg: Any) -> Any:
    forward = tg.autograd.forward_ad
    x, t = point(tg).requires_grad_(), direction(tg).requires_grad_()
    with forward.dual_level():
        dual = forward.make_dual(x, t)
        value, tangent = forward.unpack_dual((matrix(tg) @ dual.sin()).tanh() * dual)
        by_both = tg.autograd.grad(tangent.sum(), (x, t))
    return value.detach(), tangent.detach(), by_both


@script
def backward_beside_tangents(tg: Any) -> Any:
    forward = tg.autograd.forward_ad
    leaf = point(tg).requires_grad_()
    with forward.dual_level():
        own = tg.tensor([1.0, 2.0, 3.0], dtype=tg.float64, requires_grad=True)
        y = forward.make_dual(leaf, direction(tg)) ** 2 * own
        y.backward(tg.ones(3, dtype=tg.float64), retain_graph=True)
        written = tg.tensor([0.0, 0.0], dtype=tg.float64)
        written[0] = y[1].detach() * forward.make_dual(direction(tg), direction(tg))[0]
        parts = forward.unpack_dual(written)
    tg.autograd.backward([y], [point(tg)], retain_graph=True)
    return leaf.grad, own.grad, tg.autograd.grad(y, leaf, direction(tg)), parts


@script
def what_dual_levels_refuse(tg: Any) -> Any:
    forward = tg.autograd.forward_ad
    x, t = point(tg), direction(tg)
    said = [attempt(lambda: forward.make_dual(x, t)), attempt(forward.exit_dual_level)]
    with forward.dual_level():
        d = forward.make_dual(x, t)
        said += [
            attempt(action)
            for action in (
                forward.enter_dual_level,
                lambda: forward.make_dual(d, t),
                lambda: forward.make_dual(x, d),
                lambda: forward.make_dual(x, t[:2]),
                lambda: forward.make_dual(tg.arange(3), t),
                lambda: forward.make_dual(x, tg.arange(3)),
                lambda: forward.make_dual(x, t, level=1),
                lambda: forward.unpack_dual(d, level=1),
                lambda: forward.unpack_dual(3.0),
                lambda: forward.exit_dual_level(level=3),
            )
        ]
    return said, forward.unpack_dual(x)


# Functions of functions ------------------------------------------------------------------------------------------------------


@script
def products_and_jacobians_forwards(tg: Any) -> Any:
    func = tg.func
    x, t = point(tg), direction(tg)
    both = func.jvp(lambda a: curve(tg, a), (x,), (t,))
    aux = func.jvp(lambda a: (a.sin(), a * 2), (x,), (t,), has_aux=True)
    nested = func.jvp(lambda p: {"a": [p["u"] * p["v"]], "b": p["u"].sum()}, ({"u": x, "v": t},), ({"u": t, "v": x},))
    jacobian = func.jacfwd(lambda a: curve(tg, a))(x)
    several = func.jacfwd(lambda a, b: (a * b, b.sum()), argnums=(0, 1))(x, t)
    rectangular = func.jacfwd(lambda a: tg.outer(a, a[:2]), has_aux=False)(x)
    return both, aux, [nested[0]["a"], nested[1]["b"]], jacobian, several, rectangular


@script
def transforms_inside_of_transforms(tg: Any) -> Any:
    func = tg.func
    x, t = point(tg), direction(tg)

    def scalar(a: Any) -> Any:
        return (((matrix(tg) @ a.sin()).tanh() * a.exp()).softmax(0) * a).sum()

    over_gradients = (
        func.jacfwd(func.jacrev(scalar))(x),
        func.jacrev(func.jacfwd(scalar))(x),
        func.hessian(scalar)(x),
        *func.jvp(func.grad(scalar), (x,), (t,)),
        func.grad(lambda a: func.jvp(scalar, (a,), (t,))[1])(x),
    )
    return (
        over_gradients,
        func.jacfwd(func.jacfwd(scalar))(x),
        func.jvp(lambda a: func.jvp(scalar, (a,), (t,))[1], (x,), (t,)),
        func.vmap(lambda v: func.jvp(scalar, (x,), (v,))[1])(matrix(tg)),
        func.vmap(lambda a: func.jvp(scalar, (a,), (t,))[1])(matrix(tg)),
        func.jvp(func.vmap(scalar), (matrix(tg),), (matrix(tg),)),
        func.vmap(func.jacfwd(lambda a: curve(tg, a)))(matrix(tg)),
    )


@script
def linear_maps_at_a_point(tg: Any) -> Any:
    x, t = point(tg), direction(tg)
    value, push = tg.func.linearize(lambda a: curve(tg, a), x)
    wrong = [attempt(lambda: push(t, t)), attempt(lambda: push(t[:2])), attempt(lambda: push(t.to(tg.float32)))]
    return value, push(t), push(x), wrong


@script
def writes_inside_of_transforms(tg: Any) -> Any:
    def f(x: Any) -> Any:
        y = tg.zeros(3, dtype=tg.float64)
        y[0] = x[1] * x[0]
        y[1:] = x[:2]
        y.mul_(x)
        return y.exp()

    return tg.func.jvp(f, (point(tg),), (direction(tg),)), tg.func.jacfwd(f)(point(tg))


@script
def tangents_of_reshaped_copies_and_views(tg: Any) -> Any:
    x = tg.arange(6.0, dtype=tg.float64).reshape(2, 3)
    turned = (tg.arange(6.0, dtype=tg.float64).reshape(3, 2) + 1).t()
    bases = (lambda y: y, lambda y: y.t(), lambda y: y[:, :2], lambda y: y.unsqueeze(0).expand(2, 2, 3))
    shapes = (lambda y: y.reshape(-1), lambda y: y.flatten(), lambda y: y.contiguous(), lambda y: y.contiguous().reshape(-1)[1:3])
    found: list[Any] = []
    for take in bases:
        for reshape in shapes:

            def written(z: Any, take: Any = take, reshape: Any = reshape) -> Any:
                y = z * 1
                base = take(y)
                v = reshape(base)
                v.mul_(z.sum())
                y.mul_(3)
                v.add_(z.sum())
                return y, base * 1, v

            def first_without(z: Any, take: Any = take, reshape: Any = reshape) -> Any:
                y = tg.zeros(2, 3, dtype=tg.float64)
                base = take(y)
                v = reshape(base)
                y.add_(z)
                v.zero_()
                return y, base * 1, v

            def size(z: Any, written: Any = written) -> Any:
                return sum((t**2).sum() for t in tg.func.jvp(written, (z,), (turned,))[1])

            found.append([tg.func.jvp(f, (x,), (turned,)) for f in (written, first_without)])
            found.append(tg.func.jacfwd(written)(x))
            found.append(tg.func.grad(size)(x))
    return found


@script
def tangents_that_lie_otherwise_than_their_primals(tg: Any) -> Any:
    x = tg.arange(6.0, dtype=tg.float64).reshape(3, 2)
    turned = (tg.arange(6.0, dtype=tg.float64).reshape(2, 3) + 1).t()

    def flat(z: Any) -> Any:
        y = z * 1
        v = y.view(-1)
        v.mul_(z.sum())
        return y, v

    def complex_numbers(z: Any) -> Any:
        y = z * 1
        v = tg.view_as_complex(y)
        v.mul_(2j)
        return y, tg.view_as_real(v)

    return [tg.func.jvp(f, (x,), (turned,)) for f in (flat, complex_numbers)]


@script
def history_through_forward_mode(tg: Any) -> Any:
    w = direction(tg).requires_grad_()
    x = point(tg)
    jacobian = tg.func.jacfwd(lambda a: (a * w).exp().cumprod(0))(x)
    (by_weight,) = tg.autograd.grad(jacobian.sum(), w)
    plain = tg.func.jvp(lambda a: a.sin(), (x,), (direction(tg),))
    return by_weight, plain


@script
def what_forward_transforms_refuse(tg: Any) -> Any:
    func = tg.func
    x, t = point(tg), direction(tg)
    actions = (
        lambda: func.jvp(tg.sin, x, t),
        lambda: func.jvp(lambda: x, (), ()),
        lambda: func.jvp(tg.sin, (x,), (t, t)),
        lambda: func.jvp(tg.sin, (x,), (t[:2],)),
        lambda: func.jvp(tg.sin, (tg.arange(3),), (t,)),
        lambda: func.jvp(tg.sin, (x,), (tg.arange(3),)),
        lambda: func.jvp(lambda a, b: a + b, (x, 2.0), (t, 1.0)),
        lambda: func.jvp(lambda a: 3.0, (x,), (t,)),
        lambda: func.jvp(lambda a: tg.ones(2), (x,), (t,), strict=True),
        lambda: func.jvp(lambda a: a, (x,), (t,), has_aux=True),
        lambda: func.jacfwd(lambda a: a * 1.0)(tg.arange(3)),
        lambda: func.jacfwd(lambda a: a, argnums=1)(x),
        lambda: func.jacfwd(lambda a, b: a * b, argnums=(0, 0))(x, x),
        lambda: func.jacfwd(lambda a, b: a * b, argnums="a")(x, x),
        lambda: func.jacfwd(lambda a: a * 1j)(x),
        lambda: func.jacfwd(lambda a: a * tg.rand(3))(x),
    )
    return [attempt(action) for action in actions]


# autograd.functional ---------------------------------------------------------------------------------------------------------


@script
def jacobians_and_hessians_of_functional(tg: Any) -> Any:
    functional = tg.autograd.functional
    x, t = point(tg), direction(tg)

    def scalar(a: Any) -> Any:
        return (curve(tg, a) ** 2).sum()

    return (
        functional.jacobian(lambda a: curve(tg, a), x),
        functional.jacobian(lambda a: curve(tg, a), x, vectorize=True),
        functional.jacobian(lambda a: curve(tg, a), x, vectorize=True, strategy="forward-mode"),
        functional.jacobian(lambda a, b: (a * b, a.sum()), (x, t)),
        functional.jacobian(lambda a, b: (a * 2, tg.ones(2, dtype=tg.float64)), (x, t), vectorize=True),
        functional.hessian(scalar, x),
        functional.hessian(scalar, x, vectorize=True),
        functional.hessian(lambda a, b: (a * a * b).sum(), (x, t)),
        [h.detach() for h in functional.hessian(scalar, (x,), vectorize=True, outer_jacobian_strategy="forward-mode")[0]],
    )


@script
def products_of_functional(tg: Any) -> Any:
    functional = tg.autograd.functional
    x, t = point(tg), direction(tg)

    def scalar(a: Any) -> Any:
        return (curve(tg, a) ** 2).sum()

    leaf = point(tg).requires_grad_()
    value, product = functional.vjp(lambda a: a**3, leaf, t, create_graph=True)
    return (
        functional.vjp(lambda a: curve(tg, a), x, t),
        functional.vjp(scalar, x),
        functional.jvp(lambda a: curve(tg, a), x, t),
        functional.jvp(lambda a, b: (a * b, a), (x, t), (t, x)),
        functional.vhp(scalar, x, t),
        functional.hvp(scalar, x, t),
        functional.hvp(lambda a, b: (a**3).sum() + b.sum(), (x, t), (t, x)),
        value.detach(),
        tg.autograd.grad(product.sum(), leaf),
    )


@script
def what_functional_refuses(tg: Any) -> Any:
    functional = tg.autograd.functional
    x, t = point(tg), direction(tg)

    def scalar(a: Any) -> Any:
        return (a**3).sum()

    def constant(_: Any) -> Any:
        return tg.ones(3, dtype=tg.float64)

    actions = (
        lambda: functional.jacobian(tg.sin, x, strategy="sideways"),
        lambda: functional.jacobian(tg.sin, x, strategy="forward-mode"),
        lambda: functional.jacobian(tg.sin, x, strategy="forward-mode", vectorize=True, create_graph=True),
        lambda: functional.jacobian(tg.sin, x, strategy="forward-mode", vectorize=True, strict=True),
        lambda: functional.jacobian(tg.sin, x, vectorize=True, strict=True),
        lambda: functional.jacobian(tg.sin, [x]),
        lambda: functional.jacobian(tg.sin, (x, 3.0)),
        lambda: functional.jacobian(lambda _: 3.0, x),
        lambda: functional.jacobian(constant, x, strict=True),
        lambda: functional.jacobian(lambda a, _: a * 2, (x, t), strict=True),
        lambda: functional.jacobian(lambda a: a[:0], x),
        lambda: functional.hessian(tg.sin, x),
        lambda: functional.hessian(lambda a: a.sum(), x, strict=True),
        lambda: functional.hessian(lambda a: a.detach().sum(), x, strict=True),
        lambda: functional.vjp(tg.sin, x),
        lambda: functional.vjp(tg.sin, x, t[:2]),
        lambda: functional.vjp(tg.sin, x, (t, t)),
        lambda: functional.vjp(tg.sin, x, 3.0),
        lambda: functional.jvp(scalar, x),
        lambda: functional.jvp(lambda a, _: a * 2, (x, t), (t, t), strict=True),
        lambda: functional.hvp(tg.sin, x, t),
        lambda: functional.vhp(lambda a: a.sum(), x, t, strict=True),
        lambda: functional.hvp(lambda a: (scalar(a), scalar(a)), x, t),
    )
    return [attempt(action) for action in actions]
