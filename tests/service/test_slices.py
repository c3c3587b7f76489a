"""Reads of a part of a tensor, against numpy's indexing; only the part travels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import telegrad
from tests.client.wire import Wire

SHAPE = (5, 4, 3)
ARRAY = np.random.default_rng(0).normal(size=SHAPE)


@pytest.fixture(scope="module")
def tensor(client):
    """The address of a tensor that holds ARRAY."""
    at = client.post("/v1/sessions", json={}).headers["location"]
    fields = {"id": "x", "data": ARRAY.tolist(), "dtype": "float64", "requires_grad": True}
    assert client.post(f"{at}/tensors", json=fields).status_code == 201
    yield f"{at}/tensors/x"
    client.delete(at)


def spelled(item) -> str:
    if item is Ellipsis:
        return "..."
    if isinstance(item, int):
        return str(item)
    bounds = ["" if b is None else str(b) for b in (item.start, item.stop)]
    return ":".join(bounds if item.step is None else [*bounds, str(item.step)])


def in_json(item):
    if item is Ellipsis:
        return "..."
    return {"slice": [item.start, item.stop, item.step]} if isinstance(item, slice) else item


bound = st.none() | st.integers(-7, 7)
slices = st.builds(slice, bound, bound, st.none() | st.integers(1, 3))


@st.composite
def indices(draw):
    """An index that fits SHAPE, with an ellipsis or without."""
    count = draw(st.integers(1, len(SHAPE)))
    behind = draw(st.integers(0, count))
    with_ellipsis = draw(st.booleans())
    sizes = (*SHAPE[:behind], *SHAPE[len(SHAPE) - (count - behind) :]) if with_ellipsis else SHAPE[:count]
    items = [draw(st.integers(-n, n - 1) | slices) for n in sizes]
    if with_ellipsis:
        items.insert(behind, Ellipsis)
    return tuple(items)


@settings(max_examples=150, deadline=None)
@given(index=indices())
def test_a_part_is_what_numpy_selects(client, tensor, index):
    expected = ARRAY[index]
    params = {"index": ",".join(map(spelled, index))}

    told = client.get(tensor, params=params).json()
    npy = client.get(tensor, params=params, headers={"accept": "application/x-npy"}).content
    raw = client.get(tensor, params=params, headers={"accept": "application/octet-stream"}).content

    assert told["shape"] == list(expected.shape)
    np.testing.assert_array_equal(np.array(told["data"]).reshape(expected.shape), expected)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy), allow_pickle=False), expected)
    assert raw == np.ascontiguousarray(expected).tobytes()


@settings(max_examples=50, deadline=None)
@given(index=indices())
def test_a_batch_reads_parts_as_well(client, tensor, index):
    read = {"command": "read", "tensor": "x", "encoding": "base64", "index": [*map(in_json, index), None]}

    answer = client.post(tensor.rpartition("/tensors")[0] + "/batch", json={"commands": [read]})

    (result,) = answer.json()["results"]
    assert result["shape"] == list(ARRAY[(*index, None)].shape)
    assert result["tensor"]["shape"] == list(SHAPE)


def test_a_gradient_is_read_in_parts(client, tensor):
    at = tensor.rpartition("/tensors")[0]
    client.post(f"{at}/ops", json={"op": "sum", "inputs": ["x"], "outputs": ["s"]})
    client.post(f"{at}/backward", json={"tensors": ["s"]})

    assert client.get(f"{tensor}/grad", params={"index": "0,:2,-1"}).json()["data"] == [1.0, 1.0]


@pytest.mark.parametrize("text", ["", "a", "0;1", "1.5", "0:1:2:3", "0,", "None", "[0]", "9" * 30, ",".join("0" * 600)])
def test_a_text_that_is_no_index_is_refused(client, tensor, text):
    answer = client.get(tensor, params={"index": text})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("query parameter 'index'")


@pytest.mark.parametrize(
    ("text", "said"), [("5", "out of bounds"), ("0,0,0,0", "too many indices"), ("::0", "step cannot be zero")]
)
def test_an_index_that_does_not_fit_is_refused_as_in_a_script(client, tensor, text, said):
    answer = client.get(tensor, params={"index": text})

    assert answer.status_code == 422
    assert said in answer.json()["detail"].lower()


@pytest.mark.parametrize("item", [True, {"tensor": 1}])
def test_masks_and_tensors_are_for_getitem(client, tensor, item):
    read = {"command": "read", "tensor": "x", "index": [item]}
    answer = client.post(tensor.rpartition("/tensors")[0] + "/batch", json={"commands": [read]})

    assert answer.status_code == 422
    assert "getitem" in answer.json()["detail"]


def test_a_description_is_of_the_whole(client, tensor):
    answer = client.get(tensor, params={"data": "false", "index": "0"})

    assert answer.status_code == 422


def test_a_part_of_what_is_too_large_for_json_can_be_read(client):
    at = client.post("/v1/sessions", json={}).headers["location"]
    client.post(f"{at}/ops", json={"op": "arange", "parameters": {"end": 2_000_000}, "outputs": ["x"]})

    assert client.get(f"{at}/tensors/x").json()["limit"] == "max_json_elements"
    assert client.get(f"{at}/tensors/x", params={"index": "-2:"}).json()["data"] == [1_999_998, 1_999_999]


def test_ten_rows_of_a_remote_tensor_are_what_travels():
    wire = Wire()
    with wire.open():
        x = telegrad.zeros(1000, 100)
        x.sum().item()
        rows = x[:10].numpy()

        assert rows.shape == (10, 100)
        assert wire.answered_bytes < 10 * 100 * 4 + 1000
