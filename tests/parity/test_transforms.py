"""``telegrad.vmap`` and ``telegrad.func`` in every place: the values that PyTorch gives, and its complaints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import telegrad
from telegrad import func
from tests.references.sides import HAS_TORCH
from tests.samples import Array

Case = Callable[[Any, Any, Callable[[Any], Any]], Any]
"""A computation with a library, its ``func`` module, and what makes a tensor of an array."""

CASES: Final[dict[str, Case]] = {}

X, Y = (np.random.default_rng(n).normal(size=(6, 3)) for n in (1, 2))
W = np.random.default_rng(3).normal(size=(3, 4))
V = np.random.default_rng(4).normal(size=4)
LABELS = np.array([0, 3, 1, 2, 0, 1])
PICKS = np.array([0, 1, 2, 0, 1, 2])


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def rosenbrock(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


# vmap ------------------------------------------------------------------------------------------------------------------------


@case
def rows(_: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x, y: x * y.sum() + 1)(t(X), t(Y))


@case
def columns_in_and_out(_: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x, y: (x @ y, x * 2), in_dims=(1, None), out_dims=(0, -1))(t(W.T @ W), t(V))


@case
def nested_arguments(_: Any, f: Any, t: Any) -> Any:
    def function(d: Any, x: Any) -> Any:
        return {"sum": d["a"][0] * x + d["a"][1], "parts": [x, x.sum()]}

    return f.vmap(function, in_dims=({"a": (0, None)}, 1), out_dims={"sum": 1, "parts": 0})({"a": (t(V), t(X[0]))}, t(W))


@case
def keywords_are_the_same_for_all(_: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x, *, y: x * y)(t(V), y=t(W))


@case
def all_pairs(_: Any, f: Any, t: Any) -> Any:
    return f.vmap(f.vmap(lambda a, b: (a - b).sum(), in_dims=(None, 0)), in_dims=(0, None))(t(X), t(Y))


@case
def in_chunks(m: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x: (m.sin(x), x.sum()), chunk_size=4, out_dims=(1, 0))(t(X))


@case
def constants(m: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x: (m.ones(2), x), out_dims=(0, 0))(t(X))


@case
def result_without_rows(m: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x: (m.ones(2), x), out_dims=(None, 0))(t(X))


@case
def promotion_of_rows_without_dimensions(m: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x, y: x * y)(t(V), t(W.T.astype("float32")))


@case
def picked(_: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x, i: x[i] * 2)(t(X), t(PICKS))


@case
def written(_: Any, f: Any, t: Any) -> Any:
    def function(x: Any, i: Any) -> Any:
        z = x.clone()
        z[i] = 5.0
        z[1:] *= 2
        z[0] = x.sum()
        return z.add_(1)

    return f.vmap(function)(t(X), t(PICKS))


@case
def kernels_of_their_own(m: Any, f: Any, t: Any) -> Any:
    random = np.random.default_rng(5)
    x, w, b = t(random.normal(size=(3, 2, 2, 5, 5))), t(random.normal(size=(3, 4, 1, 3, 3))), t(random.normal(size=(3, 4)))
    return f.vmap(lambda x, w, b: m.nn.functional.conv2d(x, w, b, padding=1, groups=2))(x, w, b)


@case
def attention(m: Any, f: Any, t: Any) -> Any:
    q, k, v = (t(np.random.default_rng(n).normal(size=(3, 2, 5, 4))) for n in (6, 7, 8))
    return f.vmap(m.nn.functional.scaled_dot_product_attention)(q, k, v)


@case
def solved(m: Any, f: Any, t: Any) -> Any:
    a = np.random.default_rng(9).normal(size=(3, 2, 2))
    return f.vmap(m.linalg.solve, in_dims=(0, None))(t(a), t(np.array([1.0, 2.0])))


@case
def no_rows(_: Any, f: Any, t: Any) -> Any:
    return f.vmap(lambda x: (x * 2).sum())(t(np.zeros((0, 3))))


# Gradients -------------------------------------------------------------------------------------------------------------------


@case
def gradient(m: Any, f: Any, t: Any) -> Any:
    return f.grad(lambda x: m.sin(x).sum())(t(V))


@case
def gradients_nested_as_arguments(_: Any, f: Any, t: Any) -> Any:
    return f.grad(lambda d, x: (d["a"] * d["b"][0] * x).sum(), argnums=(0, 1))({"a": t(V), "b": [t(V + 1)]}, t(V))


@case
def gradient_value_and_more(_: Any, f: Any, t: Any) -> Any:
    return f.grad_and_value(lambda x: ((x**2).sum(), {"double": x * 2}), has_aux=True)(t(V))


@case
def unused_argument(_: Any, f: Any, t: Any) -> Any:
    return f.grad(lambda a, _b: a.sum(), argnums=(0, -1))(t(V), t(X))


@case
def second_derivative(_: Any, f: Any, t: Any) -> Any:
    return f.grad(f.grad(lambda x: x**5))(t(np.array(1.3)))


@case
def gradients_of_each_sample(m: Any, f: Any, t: Any) -> Any:
    def loss(p: Any, x: Any, label: Any) -> Any:
        return m.nn.functional.cross_entropy(m.nn.functional.linear(m.tanh(x), p["w"], p["b"]), label)

    return f.vmap(f.grad(loss), in_dims=(None, 0, 0))({"w": t(W.T), "b": t(V)}, t(X), t(LABELS))


@case
def gradients_of_each_sample_of_a_convolution(m: Any, f: Any, t: Any) -> Any:
    random = np.random.default_rng(10)
    w, x = t(random.normal(size=(2, 3, 3))), t(random.normal(size=(4, 3, 7)))
    return f.vmap(f.grad(lambda w, x: (m.nn.functional.conv1d(x[None], w) ** 2).sum()), in_dims=(None, 0))(w, x)


@case
def gradient_of_what_was_written(_: Any, f: Any, t: Any) -> Any:
    def function(x: Any) -> Any:
        y = x.clone()
        y[0] = x.sum()
        y[1:] *= x[0]
        return (y.add_(1) * y).sum()

    return f.vmap(f.grad(function))(t(X))


@case
def gradient_through_vmap(_: Any, f: Any, t: Any) -> Any:
    return f.grad(lambda w: f.vmap(lambda x: (x @ w).sum() ** 2)(t(X)).sum())(t(W))


@case
def vector_products(m: Any, f: Any, t: Any) -> Any:
    out, back = f.vjp(lambda x, w: (m.sin(x) @ w, {"s": x.sum()}), t(X[0]), t(W))
    return out, back((t(V), {"s": t(np.array(2.0))})), back((t(V + 1), {"s": t(np.array(0.0))}))


@case
def many_vector_products(m: Any, f: Any, t: Any) -> Any:
    _, back = f.vjp(lambda x: m.sin(x) @ t(W), t(X[0]))
    return f.vmap(back)(t(np.eye(4)))


@case
def jacobians(m: Any, f: Any, t: Any) -> Any:
    return f.jacrev(lambda x, w: {"y": m.tanh(x @ w), "s": w.sum()}, argnums=(0, 1))(t(X[0]), t(W))


@case
def jacobian_in_chunks(m: Any, f: Any, t: Any) -> Any:
    return f.jacrev(lambda x: (m.sin(x) * x.sum(), x.prod()), chunk_size=3)(t(V))


@case
def jacobian_of_each_row(m: Any, f: Any, t: Any) -> Any:
    return f.vmap(f.jacrev(lambda x, w: m.tanh(x @ w), argnums=1), in_dims=(0, None))(t(X), t(W))


@case
def jacobian_of_a_jacobian(m: Any, f: Any, t: Any) -> Any:
    return f.jacrev(f.jacrev(lambda x: m.sin(x) * x.sum()))(t(V))


@case
def hessian(_: Any, f: Any, t: Any) -> Any:
    return f.hessian(rosenbrock)(t(V))


@case
def hessian_blocks(_: Any, f: Any, t: Any) -> Any:
    return f.hessian(lambda a, b: (a**3 * b).sum(), argnums=(0, 1))(t(V), t(V + 1))


@case
def hessian_of_each_row(m: Any, f: Any, t: Any) -> Any:
    return f.vmap(f.hessian(lambda x: (m.sin(x) * x.prod()).sum()))(t(X))


def flat(tree: Any) -> list[Array]:
    """The values of a nested result, dicts in the order of their keys."""
    if isinstance(tree, dict):
        return [a for key in sorted(tree) for a in flat(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [a for item in tree for a in flat(item)]
    return [np.array(tree.detach().numpy())]


@functools.cache
def wanted(name: str) -> list[Array]:
    """PyTorch's answer."""
    import torch

    return flat(CASES[name](torch, torch.func, torch.tensor))


@pytest.mark.parametrize("name", CASES)
def test_transform_gives_what_pytorch_gives(session: telegrad.Session, name: str) -> None:
    found = flat(CASES[name](telegrad, func, session.tensor))

    assert found
    if HAS_TORCH:
        assert [(a.dtype, a.shape) for a in found] == [(a.dtype, a.shape) for a in wanted(name)]
        for a, b in zip(found, wanted(name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


# Complaints ------------------------------------------------------------------------------------------------------------------

ERRORS: Final[dict[str, tuple[type[Exception], str, Case]]] = {
    "item": (RuntimeError, r"vmap: .*\.item\(\)", lambda _, f, t: f.vmap(lambda x: x.sum().item())(t(X))),
    "float": (RuntimeError, r"vmap: .*\.item\(\)", lambda _, f, t: f.vmap(lambda x: float(x.sum()))(t(X))),
    "if": (RuntimeError, "data-dependent control flow", lambda _, f, t: f.vmap(lambda x: x if x.sum() > 0 else -x)(t(X))),
    "mask": (RuntimeError, "boolean mask", lambda _, f, t: f.vmap(lambda x: x[x > 0])(t(X))),
    "masked_select": (RuntimeError, "vmap over `mask`", lambda _, f, t: f.vmap(lambda x: x.masked_select(x > 0))(t(X))),
    "nonzero": (RuntimeError, "dynamic shape", lambda _, f, t: f.vmap(lambda x: x.nonzero())(t(X))),
    "captured": (RuntimeError, "shape", lambda m, f, t: f.vmap(lambda x: m.zeros(3, dtype=m.float64).add_(x))(t(X))),
    "backward": (RuntimeError, "backward\\(\\) called inside", lambda _, f, t: f.vmap(lambda x: x.sum().backward())(t(X))),
    "requires_grad_": (RuntimeError, "requires_grad_", lambda _, f, t: f.vmap(lambda x: x.requires_grad_())(t(X))),
    "random": (RuntimeError, "randomness error mode", lambda m, f, t: f.vmap(lambda x: m.rand(3) + x)(t(X))),
    "dropout": (RuntimeError, "randomness error mode", lambda m, f, t: f.vmap(m.nn.functional.dropout)(t(X))),
    "randomness": (RuntimeError, "Only allowed values", lambda _, f, t: f.vmap(lambda x: x, randomness="no")(t(X))),
    "length": (ValueError, "not compatible with the structure of `inputs`", lambda _, f, t: f.vmap(max, in_dims=(0,))(t(X), t(X))),
    "in_dims": (ValueError, "expected `in_dims` to be int", lambda _, f, t: f.vmap(max, in_dims="0")(t(X))),
    "in_dim": (ValueError, "must be either an integer", lambda _, f, t: f.vmap(max, in_dims=(0.5,))(t(X))),
    "number": (ValueError, "non-Tensor arguments", lambda _, f, t: f.vmap(max, in_dims=(0, 0))(t(X), 3)),
    "nothing": (ValueError, "at least one Tensor", lambda _, f, t: f.vmap(max, (None,))(t(X))),
    "bounds": (ValueError, "dimensionality 2", lambda _, f, t: f.vmap(max, in_dims=2)(t(X))),
    "scalar": (ValueError, "dimensionality 0", lambda _, f, t: f.vmap(max)(t(np.array(1.0)))),
    "sizes": (ValueError, r"same size in the mapped dimension, got sizes \[6, 4\]", lambda _, f, t: f.vmap(max)(t(X), t(V))),
    "no inputs": (ValueError, "got no inputs", lambda _, f, t: f.vmap(lambda: 1)()),
    "out": (ValueError, "can not return a BatchedTensor", lambda _, f, t: f.vmap(lambda x: x, out_dims=None)(t(X))),
    "out length": (ValueError, "structure of `outputs`", lambda _, f, t: f.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(t(X))),
    "out type": (ValueError, "`out_dims` must be", lambda _, f, t: f.vmap(lambda x: x, out_dims=0.5)(t(X))),
    "out bounds": (IndexError, "Dimension out of range", lambda _, f, t: f.vmap(lambda x: x, out_dims=2)(t(X))),
    "out value": (ValueError, "must only return Tensors", lambda _, f, t: f.vmap(lambda x: 3)(t(X))),
    "chunk": (ValueError, "chunk_size should be", lambda _, f, t: f.vmap(lambda x: x, chunk_size=0)(t(X))),
    "shapes": (RuntimeError, "must match the size", lambda _, f, t: f.vmap(lambda x, w: x + w, in_dims=(0, None))(t(X), t(V))),
    "no scalar": (RuntimeError, "scalar Tensor", lambda _, f, t: f.grad(lambda x: x)(t(V))),
    "no tensor": (RuntimeError, "to return a Tensor", lambda _, f, t: f.grad(lambda x: 3)(t(V))),
    "no aux": (RuntimeError, "should be a tuple", lambda _, f, t: f.grad(lambda x: x.sum(), has_aux=True)(t(V))),
    "aux": (RuntimeError, "unsupported type", lambda _, f, t: f.grad(lambda x: (x.sum(), 3), has_aux=True)(t(V))),
    "integers": (RuntimeError, "can require gradients", lambda _, f, t: f.grad(lambda x: x.sum())(t(PICKS))),
    "argument": (ValueError, "must be Tensor", lambda _, f, t: f.grad(lambda x: x)(3.0)),
    "argnums": (RuntimeError, "only 1 positional", lambda _, f, t: f.grad(lambda x: x, argnums=1)(t(V))),
    "argnums type": (RuntimeError, "argnums must be int", lambda _, f, t: f.grad(lambda x: x, argnums=[0])(t(V))),
    "argnums twice": (RuntimeError, "unique", lambda _, f, t: f.grad(lambda x: x, argnums=(0, 0))(t(V))),
    "argnums none": (RuntimeError, "non-empty", lambda _, f, t: f.grad(lambda x: x, argnums=())(t(V))),
    "leaf": (RuntimeError, "a leaf Variable", lambda _, f, t: f.grad(lambda x: x.mul_(2).sum())(t(V))),
    "cotangents": (RuntimeError, "structure of cotangents", lambda _, f, t: f.vjp(lambda x: (x, x), t(V))[1](t(V))),
    "cotangent": (RuntimeError, "Mismatch in shape", lambda _, f, t: f.vjp(lambda x: x * 2, t(V))[1](t(X))),
    "output": (RuntimeError, "non-empty output", lambda _, f, t: f.vjp(lambda x: None, t(V))),
    "jacobian of complex": (RuntimeError, "to be real", lambda _, f, t: f.jacrev(lambda x: x)(t(V + 1j))),
    "jacobian chunk": (ValueError, "greater than 0", lambda _, f, t: f.jacrev(lambda x: x, chunk_size=0)(t(V))),
}


@pytest.mark.parametrize("name", ERRORS)
def test_complaint_is_of_pytorchs_class(session: telegrad.Session, name: str) -> None:
    kind, words, call = ERRORS[name]
    with pytest.raises(telegrad.TelegradError, match=words) as raised:
        call(telegrad, func, session.tensor)

    assert isinstance(raised.value, kind)
    if HAS_TORCH:
        import torch

        with pytest.raises(kind, match=words):
            call(torch, torch.func, torch.tensor)


# What PyTorch's rows cannot show ---------------------------------------------------------------------------------------------


def test_escaped_tensor_is_refused(session: telegrad.Session) -> None:
    kept: list[Any] = []

    def keep(x: Any) -> Any:
        kept.append(x)
        return x

    telegrad.vmap(keep)(session.tensor(X))

    with pytest.raises(telegrad.TelegradError, match="escaped"):
        kept[0].sin()


def test_random_rows_differ_or_are_the_same_as_told(session: telegrad.Session) -> None:
    x = session.tensor(X)
    different = telegrad.vmap(lambda x: telegrad.rand(4) + 0 * x.sum(), randomness="different")(x).numpy()
    same = telegrad.vmap(telegrad.rand_like, randomness="same", chunk_size=4)(x).numpy()

    assert len({tuple(row) for row in different.tolist()}) == len(X)
    assert len({tuple(row) for row in same.tolist()}) == 1


def test_captured_tensor_keeps_its_history(session: telegrad.Session) -> None:
    w = session.tensor(W, requires_grad=True)
    g = telegrad.func.grad(lambda x: ((x @ w) ** 2).sum())(session.tensor(X[0]))
    g.sum().backward()
    assert w.grad is not None

    expected = 2 * (np.outer(X[0], np.ones(3) @ W) + np.outer(np.ones(3), X[0] @ W))
    np.testing.assert_allclose(w.grad.numpy(), expected)


def test_results_have_no_history_where_nothing_else_requires_grad(session: telegrad.Session) -> None:
    x = session.tensor(V)
    gradient, value = telegrad.func.grad_and_value(lambda x: (x**3).sum())(x)

    assert not gradient.requires_grad
    assert not value.requires_grad
    assert not x.requires_grad


def test_gradient_of_each_row_with_respect_to_what_rows_share(session: telegrad.Session) -> None:
    w = session.tensor(V, requires_grad=True)

    def function(x: Any) -> Any:
        (g,) = telegrad.autograd.grad((x.sum() * w**2).sum(), w, create_graph=True)
        return g

    found = telegrad.vmap(function)(session.tensor(X))

    np.testing.assert_allclose(found.detach().numpy(), 2 * X.sum(1)[:, None] * V)
