"""A tensor prints as in PyTorch: expected texts first, then PyTorch itself where it is installed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import telegrad
from telegrad.contract.tensor.print_options import print_options

NAN, INF = float("nan"), float("inf")

PRINTED = [
    (4.1377, "float32", "tensor(4.1377)"),
    (0.7878, "float64", "tensor(0.7878, dtype=telegrad.float64)"),
    (5.0, "float32", "tensor(5.)"),
    (-0.0, "float32", "tensor(-0.)"),
    (NAN, "float32", "tensor(nan)"),
    (-INF, "float32", "tensor(-inf)"),
    (7, "int64", "tensor(7)"),
    (7, "int32", "tensor(7, dtype=telegrad.int32)"),
    (True, "bool", "tensor(True)"),
    (1 - 2j, "complex64", "tensor(1.-2.j)"),
    (1.5 + 2.25j, "complex128", "tensor(1.5000+2.2500j, dtype=telegrad.complex128)"),
    (1e-5, "float32", "tensor(1.0000e-05)"),
    (1e8, "float32", "tensor(100000000.)"),
    (123456789.0, "float32", "tensor(1.2346e+08)"),
    ([1.0, 2.0, 3.0], "float32", "tensor([1., 2., 3.])"),
    ([1.0, 2.5], "float32", "tensor([1.0000, 2.5000])"),
    ([1.0, 10.0, 100.0], "float32", "tensor([  1.,  10., 100.])"),
    ([1.0, 1000.0], "float32", "tensor([   1., 1000.])"),
    ([1.0, 1001.0], "float32", "tensor([1.0000e+00, 1.0010e+03])"),
    ([0.5, NAN, INF], "float32", "tensor([0.5000,    nan,    inf])"),
    ([1.0, NAN, -INF], "float32", "tensor([1., nan, -inf])"),
    ([1, -20, 300], "int64", "tensor([  1, -20, 300])"),
    ([True, False], "bool", "tensor([ True, False])"),
    ([1 + 1j, -0.5 - 20j], "complex64", "tensor([ 1.0000+1.j, -0.5000-20.j])"),
    ([[1, 2], [3, 4]], "int64", "tensor([[1, 2],\n        [3, 4]])"),
    ([[[1.0]], [[2.0]]], "float32", "tensor([[[1.]],\n\n        [[2.]]])"),
    ([1, 255], "uint8", "tensor([  1, 255], dtype=telegrad.uint8)"),
    ([], "float32", "tensor([])"),
    ([], "int64", "tensor([], dtype=telegrad.int64)"),
    ([[], []], "float32", "tensor([], size=(2, 0))"),
    ([[]], "bool", "tensor([], size=(1, 0), dtype=telegrad.bool)"),
]


@pytest.mark.parametrize(("data", "dtype", "expected"), PRINTED, ids=[text for *_, text in PRINTED])
def test_values_print_as_in_pytorch(data, dtype, expected):
    assert repr(telegrad.tensor(data, dtype=dtype)) == expected


def test_a_leaf_that_requires_grad_says_so():
    assert repr(telegrad.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"


def test_a_computed_tensor_names_its_node_and_not_the_flag():
    x = telegrad.tensor([1.0], requires_grad=True)

    assert repr(x * 2) == "tensor([2.], grad_fn=<MulBackward0>)"


def test_long_rows_wrap_under_the_first_element():
    lines = repr(telegrad.tensor(np.arange(30))).splitlines()

    assert lines[0] == "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,"
    assert lines[1] == "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"


def test_a_suffix_that_does_not_fit_goes_to_its_own_line():
    x = telegrad.tensor(np.ones(17), dtype="float64", requires_grad=True)

    assert repr(x).endswith("1.],\n       dtype=telegrad.float64, requires_grad=True)")


def test_more_than_a_thousand_elements_show_their_edges_only():
    assert repr(telegrad.tensor(np.arange(1001))) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert "..." not in repr(telegrad.tensor(np.arange(1000)))


def test_summarised_matrices_drop_rows_and_columns():
    lines = repr(telegrad.tensor(np.zeros((50, 50), np.float32))).splitlines()

    assert lines[0] == "tensor([[0., 0., 0.,  ..., 0., 0., 0.],"
    assert lines[3] == "        ...,"
    assert lines[-1] == "        [0., 0., 0.,  ..., 0., 0., 0.]])"
    assert len(lines) == 7


def test_the_hidden_middle_does_not_decide_the_format():
    values = np.ones(2000, np.float32)
    values[1000] = 1e-20

    assert repr(telegrad.tensor(values)) == "tensor([1., 1., 1.,  ..., 1., 1., 1.])"


def test_str_and_format_follow_repr():
    x = telegrad.tensor([1.0, 2.0])

    assert str(x) == repr(x) == f"{x}"
    assert f"{telegrad.tensor(4.1377):.2f}" == "4.14"


FINITE_AND_OTHERS = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.floats(-100, 100, width=32),
    st.integers(-2000, 2000).map(float),
)


def same_but_for_the_package_name(ours: str, theirs: str) -> bool:
    """``telegrad.`` is three letters longer than ``torch.``, so a dtype may move to the next line."""

    def flat(text: str) -> str:
        return re.sub(r",\n {7}(?=[a-z])", ", ", text).replace("torch.", "telegrad.")

    return flat(ours) == flat(theirs)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9), elements=FINITE_AND_OTHERS),
    st.sampled_from(["float32", "float64", "float16", "int64", "int16", "uint8", "bool", "complex64", "complex128"]),
)
def test_random_tensors_print_as_pytorch_prints_them(array, dtype):
    torch = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        if dtype.startswith("complex"):
            array = array + 1j * array[..., ::-1] if array.ndim else array * (1 + 1j)
        elif dtype[0] in "iu":
            array = np.nan_to_num(array, posinf=0, neginf=0).clip(-99, 99)
        converted = np.asarray(array).astype(dtype)

    expected = repr(torch.tensor(converted))

    assert same_but_for_the_package_name(repr(telegrad.tensor(converted)), expected)


@pytest.mark.parametrize("shape", [(1001,), (7, 7, 21), (4, 300), (300, 4), (2, 2, 2, 200), (1200, 1), (6, 6, 6, 6)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_summaries_print_as_pytorch_prints_them(shape, scale):
    torch = pytest.importorskip("torch")
    values = (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)

    assert repr(telegrad.tensor(values)) == repr(torch.tensor(values))


def test_the_html_card_is_well_formed_and_says_shape_type_and_history():
    x = telegrad.tensor([[1.0, 2.0]], requires_grad=True)
    card = (x * 2)._repr_html_()

    text = "".join(ET.fromstring(card).itertext())

    for fact in ("1 × 2", "float32", "requires_grad", "MulBackward0", "[[2., 4.]]"):
        assert fact in text


def test_the_html_card_escapes_what_it_shows(monkeypatch):
    class Node:
        def name(self) -> str:
            return "<script>alert(1)</script>"

    x = telegrad.tensor([1.0])
    monkeypatch.setattr(type(x), "grad_fn", property(lambda self: Node()))

    assert "<script>" not in x._repr_html_()
    assert "&lt;script&gt;" in x._repr_html_()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"precision": -1}, ValueError),
        ({"edgeitems": 0}, ValueError),
        ({"linewidth": 0}, ValueError),
        ({"precision": 2.5}, TypeError),
        ({"threshold": "many"}, TypeError),
        ({"threshold": float("nan")}, ValueError),
        ({"sci_mode": 1}, TypeError),
        ({"profile": "wide"}, ValueError),
        ({"precision": 2, "profile": "wide"}, ValueError),
    ],
)
def test_options_that_make_no_sense_are_refused_and_change_nothing(options: dict[str, Any], error: type[Exception]) -> None:
    before = print_options()

    with pytest.raises(error):
        telegrad.set_printoptions(**options)

    assert print_options() == before
