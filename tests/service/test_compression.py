"""zstd where it is asked for: bodies of every kind, in pieces, within the limits; and never where it is not."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import numpy as np
import pytest
from starlette.testclient import TestClient

import telegrad
from telegrad.contract import compression, safetensors
from telegrad.contract.errors import ArgumentValueError, RequestError
from telegrad.contract.limits import Limits
from telegrad_service.api.app import create_app
from telegrad_service.settings import Settings
from tests.client.wire import Wire, open_async
from tests.service.test_large_bodies import serving

pytestmark = pytest.mark.skipif(not compression.is_available(), reason="zstd is not installed")

ARRAY = np.arange(200_000.0)
BYTES = "application/octet-stream"


def packed(data: bytes) -> bytes:
    return b"".join(compression.compress([data]))


def unpacked(data: bytes) -> bytes:
    decompressor = compression.Decompressor()
    decompressor.feed(data)
    found = b"".join(iter(lambda: decompressor.read(1000), b""))
    decompressor.finish()
    return found


def put(client, at, body, **headers):
    return client.post(
        f"{at}/tensors?id=x&dtype=float64&shape={ARRAY.size}",
        content=body,
        headers={"content-type": BYTES, "content-encoding": "zstd", **headers},
    )


def test_a_body_of_any_kind_may_be_compressed(client, at):
    headers = {"content-encoding": "zstd"}
    assert put(client, at, packed(ARRAY.tobytes())).status_code == 201
    commands = packed(json.dumps({"commands": [{"command": "read", "tensor": "x", "index": [-1]}]}).encode())
    read = client.post(f"{at}/batch", content=commands, headers={"content-type": "application/json", **headers})
    assert read.json()["results"][0]["data"] == ARRAY[-1]
    both = packed(b"".join(safetensors.pack({"y": ARRAY}, {"commands": [{"command": "create", "id": "y", "buffer": "y"}]})))
    made = client.post(f"{at}/batch", content=both, headers={"content-type": "application/vnd.safetensors", **headers})
    assert made.json()["applied"] == 1


def test_frames_may_follow_each_other_and_come_in_any_pieces(client, at):
    raw = ARRAY.tobytes()
    body = packed(raw[:1000]) + packed(b"") + packed(raw[1000:])

    def pieces():
        for start in range(0, len(body), 777):
            yield body[start : start + 777]

    assert put(client, at, pieces()).status_code == 201
    assert client.get(f"{at}/tensors/x", headers={"accept": BYTES}).content == raw


@pytest.mark.parametrize("broken", ["without its end", "without its content", "something else", "a magic number alone"])
def test_a_body_that_is_no_zstd_or_ends_early_is_refused(client, at, broken):
    whole = packed(ARRAY.tobytes())
    body = {
        "without its end": whole[:-1],
        "without its content": whole[:5],
        "something else": b"nothing of the kind",
        "a magic number alone": whole[:4],
    }[broken]

    answer = put(client, at, body)

    assert answer.status_code == 400
    assert "zstd" in answer.json()["detail"]
    assert client.get(f"{at}/tensors/x").status_code == 404


def test_other_codings_are_refused(client, at):
    answer = put(client, at, b"", **{"content-encoding": "gzip"})

    assert answer.status_code == 415
    assert "zstd" in answer.json()["detail"]


def test_limits_count_what_comes_out_and_little_of_it_is_ever_there():
    """A gigabyte of zeros in thirty kilobytes."""
    bomb = packed(bytes(2**30))
    assert len(bomb) < 100_000
    with TestClient(create_app(Settings(limits=Limits(max_body_bytes=8 * 2**20)))) as client:
        at = client.post("/v1/sessions").headers["location"]
        tracemalloc.start()
        answer = client.post(f"{at}/batch", content=bomb, headers={"content-type": "application/json", "content-encoding": "zstd"})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert answer.status_code == 413
    assert answer.json()["limit"] == "max_body_bytes"
    assert peak < 40 * 2**20


def test_without_zstd_the_server_says_so(client, at, monkeypatch):
    monkeypatch.setattr(compression, "is_available", lambda: False)

    answer = put(client, at, b"x")

    assert answer.status_code == 415
    assert "telegrad[zstd]" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("zstd", True),
        ("zstd;q=0.9, gzip;q=0.5, identity;q=0.1", True),
        ("gzip, deflate, br, zstd", False),
        ("zstd;q=0", False),
        ("*", False),
        ("identity, zstd;q=0.5", False),
        ("", False),
    ],
)
def test_an_answer_is_compressed_for_who_asks_for_it(client, at, accepted, compressed):
    put(client, at, packed(ARRAY.tobytes()))

    with client.stream("GET", f"{at}/tensors/x", headers={"accept": BYTES, "accept-encoding": accepted}) as answer:
        body = b"".join(answer.iter_raw())

    assert answer.headers.get("content-encoding") == ("zstd" if compressed else None)
    assert (unpacked(body) if compressed else body) == ARRAY.tobytes()
    if compressed:
        assert "content-length" not in answer.headers
        assert answer.headers["vary"] == "accept-encoding"
        assert len(body) < ARRAY.nbytes / 2


def test_short_answers_stay_as_they_are(client, at):
    with client.stream("GET", "/healthz", headers={"accept-encoding": "zstd"}) as answer:
        assert json.loads(b"".join(answer.iter_raw())) == {"status": "ok"}


def test_a_window_beyond_eight_megabytes_is_refused():
    zstd = compression._library()
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 25})
    decompressor = compression.Decompressor()
    decompressor.feed(compressor.compress(bytes(2**25)) + compressor.flush())

    with pytest.raises(RequestError, match="8 MB"):
        decompressor.read(2**20)


def test_a_session_that_compresses_gives_the_same_numbers():
    wire = Wire()
    with wire.open(compression="zstd"):
        x = telegrad.tensor(ARRAY)
        doubled = (x * 2).numpy()

        np.testing.assert_array_equal(doubled, ARRAY * 2)
        assert wire.answered_bytes < ARRAY.nbytes / 2
        sent = [r for r in wire.requests if r.headers.get("content-encoding") == "zstd"]
        assert sent
        assert sum(len(r.content) for r in sent) < ARRAY.nbytes / 2


def test_an_async_session_that_compresses_gives_the_same_numbers():
    async def scenario() -> None:
        async with open_async(compression="zstd") as (session, _):
            x = session.tensor(ARRAY)
            np.testing.assert_array_equal(await (x * 2).numpy(), ARRAY * 2)

    asyncio.run(scenario())


def test_over_a_socket_as_well():
    with serving() as (url, _), telegrad.connect(url, compression="zstd"):
        x = telegrad.tensor(ARRAY)
        np.testing.assert_array_equal((x * 2).numpy(), ARRAY * 2)
        assert (x[:3] + 1).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("given", ["gzip", "", True])
def test_no_other_compression_is_known(given):
    with pytest.raises(ArgumentValueError, match="zstd"):
        telegrad.connect("http://127.0.0.1:1", compression=given)
