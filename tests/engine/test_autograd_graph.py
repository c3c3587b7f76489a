"""The graph itself: its nodes and edges, its size in memory, and that nothing in it recurses or lingers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

import telegrad
from telegrad import autograd
from telegrad.contract.errors import LeafError
from telegrad.contract.tensor.tensor import Tensor


def leaf(*values: float) -> Tensor:
    return telegrad.tensor(list(values), dtype="float32", requires_grad=True)


def edges(tensor):
    return [(None if node is None else node.name(), index) for node, index in tensor.grad_fn.next_functions]


INDEXED = [
    ("[:, 0]", "SelectBackward0"),
    ("[0, 1]", "SelectBackward0"),
    ("[None]", "UnsqueezeBackward0"),
    ("[...]", "AliasBackward0"),
    ("[1:, :1]", "SliceBackward0"),
    ("[1:, 0]", "SelectBackward0"),
    ("[0, 1:]", "SliceBackward0"),
]
"""PyTorch makes a node of every item, we make one of all."""

STRUCTURES = [
    ("x + 1", "AddBackward0", [("AccumulateGrad", 0), (None, 0)]),
    ("x * 2", "MulBackward0", [("AccumulateGrad", 0), (None, 0)]),
    ("x - x", "SubBackward0", [("AccumulateGrad", 0), ("AccumulateGrad", 0)]),
    ("x / 2", "DivBackward0", [("AccumulateGrad", 0), (None, 0)]),
    ("x * c", "MulBackward0", [("AccumulateGrad", 0), (None, 0)]),
    ("c * x", "MulBackward0", [(None, 0), ("AccumulateGrad", 0)]),
    ("x ** 2", "PowBackward0", [("AccumulateGrad", 0)]),
    ("2 ** x", "PowBackward2", [("AccumulateGrad", 0)]),
    ("x ** x", "PowBackward1", [("AccumulateGrad", 0), ("AccumulateGrad", 0)]),
    ("-x", "NegBackward0", [("AccumulateGrad", 0)]),
    ("x.exp()", "ExpBackward0", [("AccumulateGrad", 0)]),
    ("(x * 2).exp()", "ExpBackward0", [("MulBackward0", 0)]),
    ("x.sum()", "SumBackward0", [("AccumulateGrad", 0)]),
    ("x.sum(0)", "SumBackward1", [("AccumulateGrad", 0)]),
    ("x.mean(0)", "MeanBackward1", [("AccumulateGrad", 0)]),
    ("x.max()", "MaxBackward1", [("AccumulateGrad", 0)]),
    ("x.max(0)[0]", "MaxBackward0", [("AccumulateGrad", 0)]),
    ("x.clamp(0, 1)", "ClampBackward1", [("AccumulateGrad", 0)]),
    ("x @ x", "DotBackward0", [("AccumulateGrad", 0), ("AccumulateGrad", 0)]),
    ("x.reshape(2, 1)", "ViewBackward0", [("AccumulateGrad", 0)]),
    ("x.unsqueeze(0).squeeze(0)", "SqueezeBackward1", [("UnsqueezeBackward0", 0)]),
    ("x.unbind()[1] * 2", "MulBackward0", [("UnbindBackward0", 1), (None, 0)]),
    ("telegrad.cat([x, c])", "CatBackward0", [("AccumulateGrad", 0), (None, 0)]),
    ("telegrad.where(c > 0, x, 0.0)", "WhereBackward0", [("AccumulateGrad", 0), (None, 0)]),
    ("telegrad.nn.functional.layer_norm(x, (2,))", "NativeLayerNormBackward0", [("AccumulateGrad", 0)] + 2 * [(None, 0)]),
    ("x.round(decimals=1)", "RoundBackward1", [("AccumulateGrad", 0)]),
    ("x.div(2, rounding_mode='floor')", "DivBackward2", [("AccumulateGrad", 0), (None, 0)]),
    ("x.fmod(x)", "FmodBackward1", [("AccumulateGrad", 0), ("AccumulateGrad", 0)]),
    ("x.remainder(2)", "RemainderBackward0", [("AccumulateGrad", 0)]),
    ("x.clamp_min(x)", "ClampMinBackward1", [("AccumulateGrad", 0), ("AccumulateGrad", 0)]),
    ("x.expand(1, 1, 2).squeeze((0, 1))", "SqueezeBackward2", [("ExpandBackward0", 0)]),
    ("x.deg2rad()", "Deg2RadBackward0", [("AccumulateGrad", 0)]),
    ("telegrad.nn.functional.logsigmoid(x)", "LogSigmoidBackward0", [("AccumulateGrad", 0)]),
    ("telegrad.nn.functional.avg_pool2d(x.expand(1, 2, 2), 2)", "AvgPool2DBackward0", [("ExpandBackward0", 0)]),
    ("x.clone().add_(x)", "AddBackward0", [("CloneBackward0", 0), ("AccumulateGrad", 0)]),
]


@pytest.mark.parametrize(("index", "name"), INDEXED)
def test_an_index_is_named_after_its_last_item_that_changes_anything(index, name):
    made = eval(f"x.expand(2, 2){index}", {"x": leaf(1, 2)})

    assert made.grad_fn.name() == name


@pytest.mark.parametrize(("index", "name"), INDEXED)
def test_pytorch_agrees_on_the_names_of_indexes(index, name):
    torch = pytest.importorskip("torch")

    made = eval(f"x.expand(2, 2){index}", {"x": torch.ones(2, requires_grad=True)})

    assert made.grad_fn.name() == name


@pytest.mark.parametrize(("text", "name", "expected"), STRUCTURES, ids=[text for text, *_ in STRUCTURES])
def test_nodes_and_edges_are_those_of_pytorch(text, name, expected):
    x, c = leaf(1, 2), telegrad.ones(2)

    made = eval(text, {"x": x, "c": c, "telegrad": telegrad})

    assert made.grad_fn.name() == name
    assert edges(made) == expected


@pytest.mark.parametrize(("text", "name", "expected"), STRUCTURES, ids=[text for text, *_ in STRUCTURES])
def test_pytorch_agrees_on_nodes_and_edges(text, name, expected):
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0], requires_grad=True)

    made = eval(text, {"x": x, "c": torch.ones(2), "telegrad": torch})

    assert type(made.grad_fn).__name__ == name
    assert [(n and type(n).__name__, i) for n, i in made.grad_fn.next_functions] == expected


def test_the_end_of_a_path_knows_its_leaf():
    x = leaf(1, 2)
    ((end, _),) = x.exp().grad_fn.next_functions

    assert end.variable is x
    assert end.next_functions == ()
    assert end == x.sin().grad_fn.next_functions[0][0]
    assert len({end, x.sin().grad_fn.next_functions[0][0]}) == 1


def test_names_stay_when_the_graph_is_freed():
    y = leaf(1, 2).exp().sum()
    y.backward()

    assert y.grad_fn.name() == "SumBackward0"
    assert edges(y) == [("ExpBackward0", 0)]


def test_leaves_are_what_no_recorded_op_made():
    x = leaf(1, 2)
    with telegrad.no_grad():
        silent = x * 2

    assert x.is_leaf
    assert telegrad.ones(2).is_leaf
    assert (telegrad.ones(2) * 2).is_leaf
    assert silent.is_leaf
    assert x.detach().is_leaf
    assert not (x * 2).is_leaf


def test_detach_shares_memory_and_versions_but_no_history():
    x = leaf(1, 2)
    d = x.detach()

    d.add_(1)

    assert x.tolist() == [2, 3]
    assert not d.requires_grad
    assert (x._version, d._version) == (1, 1)


def test_requires_grad_can_be_set_on_leaves_only():
    x = telegrad.ones(2)
    assert x.requires_grad_() is x
    y = x * 2

    assert y.requires_grad_().requires_grad
    with pytest.raises(LeafError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad_(False)


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_only_floating_and_complex_tensors_can_require_grad(dtype):
    with pytest.raises(RuntimeError, match="floating point and complex dtype can require gradients"):
        telegrad.zeros(2, dtype=dtype).requires_grad_()


def test_requires_grad_must_be_a_bool():
    with pytest.raises(TypeError, match="requires_grad must be a bool"):
        telegrad.ones(2).requires_grad = 1  # type: ignore[assignment]


def test_numpy_of_a_recorded_tensor_is_refused_while_recording():
    x = leaf(1, 2)

    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
        x.numpy()
    with telegrad.no_grad():
        assert x.numpy().tolist() == [1, 2]


# Size and lifetime ------------------------------------------------------------------------------------------------------


def test_a_chain_of_100000_ops_goes_forward_backward_and_away_without_recursion():
    x = telegrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1

    y.backward()
    del y

    assert x.grad.item() == 1


def test_a_chain_of_100000_ops_that_save_values_goes_away_without_recursion():
    x = telegrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    del y

    assert x.grad is None


def test_a_long_chain_of_views_costs_memory_only_once_each():
    x = leaf(1, 2)
    kept = [x]
    for _ in range(20_000):
        kept.append(kept[-1].view(2))

    kept[-1].sum().backward()

    assert x.grad.tolist() == [1, 1]


def test_a_long_chain_with_create_graph_and_again_back():
    x = telegrad.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(3_000):
        y = y * 1.0 + x * 0.0

    (g,) = autograd.grad(y * y, x, create_graph=True)
    (h,) = autograd.grad(g, x)

    assert (g.item(), h.item()) == (2, 2)


def test_diamonds_of_depth_60_are_walked_once_each():
    x = telegrad.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y

    y.backward()

    assert x.grad.item() == 2.0**60


def test_a_node_used_twice_collects_both_gradients():
    x = leaf(1, 2)
    y = x * 2
    z = y * y + y

    z.sum().backward()

    assert x.grad.tolist() == [2 * (2 * 2 + 1), 2 * (2 * 4 + 1)]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_graph_dies_with_its_last_tensor_by_reference_counts_alone():
    x = leaf(1, 2)
    y = (x * 2).exp()
    y.retain_grad()
    z = y.view(2, 1).sum()
    z.backward(retain_graph=True)
    autograd.grad(z, x)
    watched = [weakref.ref(o) for o in (y, z, y.grad_fn, z.grad_fn, y.grad)]

    del y, z

    assert [r() for r in watched] == [None] * len(watched)


@pytest.mark.usefixtures("no_collector")
def test_views_writes_and_second_derivatives_leave_no_cycles():
    x = leaf(1, 2)
    y = x * 1
    v = y.view(2, 1)
    v.mul_(3)
    (g,) = autograd.grad((y * y).sum(), x, create_graph=True)
    h = autograd.grad(g.sum(), x)[0]
    watched = [weakref.ref(o) for o in (y, v, y.grad_fn, v.grad_fn, g, h)]

    del y, v, g, h

    assert [r() for r in watched] == [None] * len(watched)


def test_backward_frees_saved_values_at_once():
    x = leaf(1, 2)
    y = x.exp()
    watched = weakref.ref(y._value())
    z = y.sum()
    del y
    assert watched() is not None

    z.backward()

    assert watched() is None
