"""A table of bad inputs: each is refused with its status and type, changes nothing, and leaves the service at work."""

from __future__ import annotations

import io
import json
import struct
from typing import Any, NamedTuple

import numpy as np
import pytest

from telegrad.contract import safetensors
from tests.service.test_errors import assert_problem

JSON, BYTES, NPY, SAFETENSORS = "application/json", "application/octet-stream", "application/x-npy", "application/vnd.safetensors"
FLOATS = np.arange(4, dtype=np.float32)


class Row(NamedTuple):
    """One bad request: its name, method, path under the session, query, media type, body, and what is answered."""

    name: str
    method: str
    path: str
    query: str
    media_type: str
    body: bytes
    status: int
    code: str


ROWS: list[Row] = []


def bad(
    name: str, path: str, body: Any, status: int, code: str, *, media_type: str = JSON, query: str = "", method: str = "POST"
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    ROWS.append(Row(name, method, path, query, media_type, raw, status, code))


def create(name: str, body: Any, status: int, code: str) -> None:
    bad(f"create: {name}", "tensors", body, status, code)


def command(name: str, body: Any, status: int, code: str) -> None:
    bad(f"batch: {name}", "batch", {"commands": [body]}, status, code)


def header_of(text: str | bytes, data: bytes = b"") -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw + data


def npy_header(text: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    raw = text.encode("latin-1")
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", len(raw)) + raw + data


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


# JSON as such
for text, name in [
    (b"", "nothing"),
    (b" ", "a blank"),
    (b"{", "an open object"),
    (b"[1,]", "a trailing comma"),
    (b"{'id': 1}", "single quotes"),
    (b'{"id": "x" "data": 1}', "a missing comma"),
    (b'{"id": "x", "data": 1} {}', "two values"),
    (b'{"data": NaN}', "NaN"),
    (b'{"data": -Infinity}', "-Infinity"),
    (b'{"data": 1, "data": 2}', "a member twice"),
    (b'{"data": {"float": "NaN", "float": "NaN"}}', "an inner member twice"),
    (b'\xef\xbb\xbf{"data": 1}', "a byte order mark"),
    (b"\xff\xfe{\x00}\x00", "UTF-16"),
    (b'{"id": "\xc3"}', "half a character"),
    (b'{"id": "a\x00b"}', "a control character"),
    (b'{"data": 01}', "a leading zero"),
    (b'{"data": 1.}', "a bare point"),
    (b'{"data": ' + b"1" * 5000 + b"}", "an integer of 5000 digits"),
    (b"[" * 100_000, "100,000 brackets"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "65 levels"),
    (b'{"data": ' + b"[" * 64 + b"]" * 64 + b"}", "65 levels of lists"),
]:
    bad(f"JSON: {name}", "tensors", text, 400, "request")
bad("JSON: six million values", "tensors", b'{"data": [' + b"0," * 6_000_000 + b"0]}", 422, "limit")
bad("JSON: a number for a body", "tensors", b"5", 422, "argument-type")
bad("JSON: null for a body", "tensors", b"null", 422, "argument-type")

# Creation
create("no data", {"id": "a"}, 422, "argument-value")
create("two kinds of data", {"id": "a", "data": 1, "base64": "", "dtype": "float32", "shape": [0]}, 422, "argument-value")
create("a name with a blank", {"id": "a b", "data": 1}, 422, "argument-value")
create("an empty name", {"id": "", "data": 1}, 422, "argument-value")
create("a long name", {"id": "a" * 65, "data": 1}, 422, "argument-value")
create("a name with a newline", {"id": "a\n", "data": 1}, 422, "argument-value")
create("a name ending in .grad", {"id": "a.grad", "data": 1}, 422, "argument-value")
create("a number for a name", {"id": 7, "data": 1}, 422, "argument-type")
create("a name that is taken", {"id": "x", "data": 1}, 409, "conflict")
create("ragged lists", {"id": "a", "data": [[1], [1, 2]]}, 422, "argument-value")
create("text in the data", {"id": "a", "data": ["one"]}, 422, "argument-type")
create("null in the data", {"id": "a", "data": [None]}, 422, "argument-type")
create("an object in the data", {"id": "a", "data": [{"a": 1}]}, 422, "argument-type")
create("half a complex number", {"id": "a", "data": {"complex": [1]}}, 422, "argument-type")
create("an unknown dtype", {"id": "a", "data": 1, "dtype": "float128"}, 422, "argument-type")
create("a number too large for its type", {"id": "a", "data": [300], "dtype": "uint8"}, 422, "dtype")
create("another shape", {"id": "a", "data": [1, 2], "shape": [3]}, 422, "shape")
create("a negative size", {"id": "a", "base64": "", "dtype": "float32", "shape": [-1]}, 422, "argument-value")
create("a size that is no integer", {"id": "a", "base64": "", "dtype": "float32", "shape": [1.5]}, 422, "argument-type")
create("true for a size", {"id": "a", "base64": "", "dtype": "float32", "shape": [True]}, 422, "argument-type")
create("base64 without a shape", {"id": "a", "base64": "AAAA", "dtype": "float32"}, 422, "argument-value")
create("bad base64", {"id": "a", "base64": "****", "dtype": "uint8", "shape": [3]}, 400, "request")
create("base64 that is not ASCII", {"id": "a", "base64": "äöü", "dtype": "uint8", "shape": [3]}, 400, "request")
create("base64 of another length", {"id": "a", "base64": "AAAA", "dtype": "float32", "shape": [3]}, 400, "request")
create("a bool that is neither", {"id": "a", "base64": "Ag==", "dtype": "bool", "shape": [1]}, 400, "request")
create("huge sizes", {"id": "a", "base64": "", "dtype": "float32", "shape": [2**62, 0]}, 422, "shape")
create("65 dimensions", {"id": "a", "base64": "AA==", "dtype": "uint8", "shape": [1] * 65}, 422, "shape")
create("1 for true", {"id": "a", "data": 1, "requires_grad": 1}, 422, "argument-type")
create("an integer that requires grad", {"id": "a", "data": 1, "requires_grad": True}, 422, "dtype")
create("a buffer in JSON", {"id": "a", "buffer": "b"}, 422, "argument-value")

# Raw bytes
for query, body, status, code, name in [
    ("", b"abcd", 422, "argument-type", "no dtype and shape"),
    ("dtype=float32", b"abcd", 422, "argument-type", "no shape"),
    ("shape=1", b"abcd", 422, "argument-type", "no dtype"),
    ("dtype=float32&shape=2", b"abcd", 400, "request", "too few"),
    ("dtype=float32&shape=1", b"abcdef", 400, "request", "too many"),
    ("dtype=float32&shape=0", b"a", 400, "request", "some for an empty tensor"),
    ("dtype=object&shape=1", b"abcd", 422, "argument-value", "an unknown dtype"),
    ("dtype=float32&shape=-1", b"abcd", 422, "argument-value", "a negative size"),
    ("dtype=float32&shape=1,,2", b"abcd", 422, "argument-value", "a missing size"),
    ("dtype=float32&shape=1e3", b"abcd", 422, "argument-value", "a size in other notation"),
    ("dtype=float32&shape=%D9%A1", b"abcd", 422, "argument-value", "a size in other digits"),
    ("dtype=float32&shape=99999999999999999", b"abcd", 422, "limit", "a huge size"),
    ("dtype=float32&shape=999999999999999999,999999999999999999,0", b"", 422, "shape", "huge sizes of an empty tensor"),
    ("dtype=bool&shape=1", b"\x07", 400, "request", "a bool that is neither"),
    ("dtype=float32&shape=1&requires_grad=1", b"abcd", 422, "argument-value", "1 for true"),
    ("dtype=float32&shape=1&id=a.grad", b"abcd", 422, "argument-value", "a name ending in .grad"),
    ("dtype=float32&shape=1&id=x", b"abcd", 409, "conflict", "a name that is taken"),
    ("dtype=int64&shape=1&requires_grad=true", b"abcdefgh", 422, "dtype", "integers that require grad"),
]:
    bad(f"bytes: {name}", "tensors", body, status, code, media_type=BYTES, query=query)
bad("JSON with parameters of raw bytes", "tensors", {"data": 1}, 422, "argument-type", query="dtype=float32")
bad("JSON with the name in the query", "tensors", {"data": 1}, 422, "argument-type", query="id=a")

# .npy
PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
for body, status, code, name in [
    (b"", 400, "request", "nothing"),
    (b"\x93NUMPX\x01\x00", 400, "request", "another magic"),
    (b"\x93NUMPY\x09\x00\x00\x00", 400, "request", "version 9"),
    (b"\x93NUMPY\x01\x00\xff", 400, "request", "half a length"),
    (npy_header(PLAIN, version=(2, 0))[:-9], 400, "request", "half a header"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", 400, "request", "a header of 4 GiB"),
    (npy_header(PLAIN, b"abc"), 400, "request", "too few elements"),
    (npy_header(PLAIN, b"a" * 17), 400, "request", "too many elements"),
    (saved(np.array([{}, []], dtype=object)), 400, "request", "pickled objects"),
    (saved(np.array([("a", 1)], dtype=[("n", "S1"), ("i", "<i4")])), 400, "request", "records"),
    (saved(np.array(["text"])), 400, "request", "text"),
    (saved(np.array(["2020-01-01"], dtype="M8[D]")), 400, "request", "dates"),
    (saved(np.arange(2, dtype=np.longdouble)), 400, "request", "long doubles"),
    (npy_header("__import__('os').getpid()"), 400, "request", "code for a header"),
    (npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2**40,), }"), 400, "request", "arithmetic in the header"),
    (npy_header("{'descr': '<f4', 'fortran_order': False, }"), 400, "request", "no shape"),
    (npy_header("{'descr': '<f4', 'fortran_order': 0, 'shape': (4,), }"), 400, "request", "0 for False"),
    (npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }"), 400, "request", "a negative size"),
    (npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'x': 1}"), 400, "request", "another key"),
    (npy_header("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,)}"), 400, "request", "a key twice"),
    (npy_header("{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }", b"\x02"), 400, "request", "a bool that is neither"),
    (
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999,), }"),
        400,
        "request",
        "a size over 64 bits",
    ),
    (npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }"), 413, "payload-too-large", "400 GB"),
    (npy_header("{'descr': '<f4', 'fortran_order': True, 'shape': (0, 4611686018427387904), }"), 422, "shape", "huge sizes, empty"),
]:
    bad(f".npy: {name}", "tensors", body, status, code, media_type=NPY)
bad(".npy: with a shape in the query", "tensors", saved(FLOATS), 422, "argument-type", media_type=NPY, query="shape=4")

# safetensors
ENTRY = '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
for body, status, code, name in [
    (b"", 400, "request", "nothing"),
    (b"\x01\x02\x03", 400, "request", "half a length"),
    (struct.pack("<Q", 2**63), 400, "request", "a header of 8 EiB"),
    (struct.pack("<Q", 0), 400, "request", "a header of nothing"),
    (header_of(ENTRY)[:-3], 400, "request", "half a header"),
    (header_of("[]"), 400, "request", "a list for a header"),
    (header_of("{" * 200), 400, "request", "a deep header"),
    (header_of(b'{"\xff": 1}'), 400, "request", "a header that is not UTF-8"),
    (header_of(ENTRY, b"a" * 15), 400, "request", "too few bytes"),
    (header_of(ENTRY, b"a" * 17), 400, "request", "too many bytes"),
    (header_of(ENTRY.replace("F32", "F128")), 400, "request", "an unknown dtype"),
    (header_of(ENTRY.replace("[4]", "[-4]")), 400, "request", "a negative size"),
    (header_of(ENTRY.replace("[4]", "[5]")), 400, "request", "offsets that do not fit the shape"),
    (header_of(ENTRY.replace("[0,16]", "[8,24]"), b"a" * 24), 400, "request", "a gap"),
    (header_of(ENTRY.replace("[0,16]", "[16,0]")), 400, "request", "offsets in the wrong order"),
    (header_of(ENTRY.replace('"shape":[4],', "")), 400, "request", "no shape"),
    (header_of(ENTRY[:-1] + "," + ENTRY[1:], b"a" * 32), 400, "request", "a name twice"),
    (header_of('{"__metadata__":{"a":1}}'), 400, "request", "metadata that is no text"),
    (header_of('{"__metadata__":{"complex128":"b"}}'), 400, "request", "a complex array that is not there"),
    (header_of('{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}', b"\x05"), 400, "request", "a bool that is neither"),
    (header_of('{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}}'), 413, "payload-too-large", "400 GB"),
    (header_of('{"a b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'), 422, "argument-value", "a name with a blank"),
    (header_of('{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'), 409, "conflict", "a name that is taken"),
    (header_of('{"a":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}'), 422, "shape", "huge sizes, empty"),
]:
    bad(f"safetensors: {name}", "tensors", body, status, code, media_type=SAFETENSORS)
bad(
    "safetensors: with a name in the query",
    "tensors",
    header_of(ENTRY, b"a" * 16),
    422,
    "argument-type",
    media_type=SAFETENSORS,
    query="id=a",
)

# Batches in safetensors
READ = {"command": "read", "tensor": "x"}
bad("batch: no message", "batch", b"".join(safetensors.pack({"a": FLOATS})), 400, "request", media_type=SAFETENSORS)
bad(
    "batch: a message that is no JSON",
    "batch",
    header_of('{"__metadata__":{"telegrad":"{"}}'),
    400,
    "request",
    media_type=SAFETENSORS,
)
bad(
    "batch: half a character", "batch", header_of('{"__metadata__":{"telegrad":"\\ud800"}}'), 400, "request", media_type=SAFETENSORS
)
bad(
    "batch: a message of another kind",
    "batch",
    b"".join(safetensors.pack({}, [READ])),
    422,
    "argument-type",
    media_type=SAFETENSORS,
)
TWICE = {"commands": [{"command": "create", "id": n, "buffer": "a"} for n in ("p", "q")]}
bad(
    "batch: a buffer used twice",
    "batch",
    b"".join(safetensors.pack({"a": FLOATS}, TWICE)),
    422,
    "argument-value",
    media_type=SAFETENSORS,
)
bad("batch: no commands", "batch", {}, 422, "argument-type")
bad("batch: commands that are no list", "batch", {"commands": {}}, 422, "argument-type")
bad("batch: more than commands", "batch", {"commands": [], "extra": 1}, 422, "argument-type")
bad("batch: a buffer read in JSON", "batch", {"commands": [{**READ, "encoding": "buffer"}]}, 406, "not-acceptable")

# Commands
command("no kind", {}, 422, "argument-value")
command("a list", [], 422, "argument-type")
command("an unknown kind", {"command": "destroy"}, 422, "argument-value")
command("a kind that is no text", {"command": {}}, 422, "argument-value")
command("a missing field", {"command": "read"}, 422, "argument-type")
command("an unknown field", {**READ, "what_else": 1}, 422, "argument-type")
command("an unknown encoding", {**READ, "encoding": "pickle"}, 422, "argument-value")
command("an unknown tensor", {"command": "read", "tensor": "nobody"}, 404, "not-found")
command("half a character in a name", {"command": "read", "tensor": "\ud800"}, 422, "argument-value")
command("a list of wrong things", {"command": "release", "tensors": [1]}, 422, "argument-type")
command("an unknown program", {"command": "run", "program": "sha256:0"}, 404, "not-found")
command("no times", {"command": "run", "program": "p", "times": 0}, 422, "argument-value")
command("a seed that is no integer", {"command": "seed", "seed": 1.5}, 422, "argument-type")
command("a seed over 64 bits", {"command": "seed", "seed": 2**64}, 422, "argument-value")
command("a seed and a state at once", {"command": "seed", "seed": 1, "save": "state"}, 422, "argument-value")
command("a seed of nothing", {"command": "seed"}, 422, "argument-value")
command("a state that is none", {"command": "seed", "state": "x"}, 422, "argument-value")
command("a walk that does not wait", {"command": "resume", "walk": "w"}, 404, "not-found")

# Ops
calls: list[tuple[dict[str, Any], int, str, str]] = [
    ({"op": "nonsense"}, 422, "unknown-op", "an unknown op"),
    ({"op": "__import__"}, 422, "unknown-op", "a Python name"),
    ({"op": "view_scatter", "inputs": ["x", "x"]}, 422, "unknown-op", "an op of the engine's own"),
    ({"op": "view_scatter_", "inputs": ["x", "x"]}, 422, "unknown-op", "an op of the engine's own, in place"),
    ({"op": "matmul_", "inputs": ["x", "x"]}, 422, "unknown-op", "an in-place form that does not exist"),
    ({"op": "add__", "inputs": ["x", "x"]}, 422, "unknown-op", "two underscores"),
    ({"op": "\ud800"}, 422, "unknown-op", "half a character"),
    ({"op": ["add"]}, 422, "argument-type", "a list for a name"),
    ({"op": "add"}, 422, "argument-type", "no inputs"),
    ({"op": "add", "inputs": ["x"]}, 422, "argument-type", "too few inputs"),
    ({"op": "add", "inputs": ["x", "x", "x"]}, 422, "argument-type", "too many inputs"),
    ({"op": "add", "inputs": [1, 2]}, 422, "argument-type", "numbers alone"),
    ({"op": "add", "inputs": ["x", None]}, 422, "argument-type", "null for a tensor"),
    ({"op": "add", "inputs": ["x", [1]]}, 422, "argument-type", "a list for an input"),
    ({"op": "add", "inputs": ["x", "nobody"]}, 404, "not-found", "an unknown tensor"),
    ({"op": "add", "inputs": ["x", "x.grad"]}, 404, "not-found", "a gradient that is not there"),
    ({"op": "add", "inputs": ["x", 2**64]}, 422, "argument-value", "an integer over 64 bits"),
    ({"op": "add", "inputs": ["x", "x"], "parameters": {"beta": 1}}, 422, "argument-type", "an unknown parameter"),
    ({"op": "add", "inputs": ["x", "x"], "parameters": {"alpha": "1"}}, 422, "argument-type", "text for a number"),
    ({"op": "add", "inputs": ["x", "x"], "parameters": []}, 422, "argument-type", "a list of parameters"),
    ({"op": "add", "inputs": ["x", "x"], "outputs": ["a", "b"]}, 422, "argument-value", "too many names"),
    ({"op": "add", "inputs": ["x", "x"], "outputs": ["x"]}, 409, "conflict", "a name that is taken"),
    ({"op": "add", "inputs": ["x", "x"], "outputs": ["a.grad"]}, 422, "argument-value", "a name ending in .grad"),
    ({"op": "unbind", "inputs": ["x"], "outputs": ["a", "a"]}, 409, "conflict", "a name twice"),
    ({"op": "add_", "inputs": ["x", 1]}, 409, "leaf", "a leaf changed in place"),
    ({"op": "matmul", "inputs": ["x", "i"]}, 422, "", "types that do not meet"),
    ({"op": "add", "inputs": ["x", "pair"]}, 422, "shape", "shapes that do not broadcast"),
    ({"op": "sum", "inputs": ["x"], "parameters": {"dim": 5}}, 422, "dimension", "a dimension that is not there"),
    ({"op": "reshape", "inputs": ["x"], "parameters": {"shape": [7]}}, 422, "shape", "another number of elements"),
    ({"op": "zeros", "parameters": {"size": [2**62, 2**62]}}, 422, "shape", "sizes that no memory has"),
    ({"op": "zeros", "parameters": {"size": [10**6, 10**6]}}, 422, "limit", "4 TB"),
    ({"op": "outer", "inputs": ["wide", "wide"]}, 422, "limit", "an outer product of 40 GB"),
    ({"op": "index_select", "inputs": ["x", "i"], "parameters": {"dim": 0}}, 422, "index-bounds", "an index out of bounds"),
]
for call, status, code, name in calls:
    bad(f"op: {name}", "ops", call, status, code)

# Gradients
bad("backward: into nothing", "backward", {"tensors": ["s"], "inputs": []}, 409, "autograd")
bad("backward: no scalar", "backward", {"tensors": ["y"]}, 409, "autograd")
bad("backward: no graph", "backward", {"tensors": ["i"]}, 409, "autograd")
bad("backward: another shape of gradient", "backward", {"tensors": ["y"], "grad_tensors": ["pair"]}, 422, "shape")
bad("grad: an unused input", "grad", {"outputs": ["s"], "inputs": ["free"]}, 409, "unused-input")
bad("grad: an input without grad", "grad", {"outputs": ["s"], "inputs": ["i"]}, 409, "autograd")
bad("grad: too many names", "grad", {"outputs": ["s"], "inputs": ["x"], "results": ["a", "b"]}, 422, "argument-value")
bad("grad: a name that is taken", "grad", {"outputs": ["s"], "inputs": ["x"], "results": ["x"]}, 409, "conflict")

# Tensors that exist
bad("set: requires_grad of a non-leaf", "tensors/y", {"requires_grad": False}, 409, "leaf", method="PATCH")
bad("set: a gradient of another shape", "tensors/x", {"grad": "pair"}, 422, "shape", method="PATCH")
bad("set: retain_grad off", "tensors/y", {"retain_grad": False}, 422, "argument-value", method="PATCH")
bad("set: another tensor", "tensors/x", {"tensor": "y"}, 422, "argument-type", method="PATCH")
bad("set: a name that is taken", "tensors/x", {"name": "y"}, 409, "conflict", method="PATCH")
for method, path, query, status, code, name in [
    ("GET", "tensors/nobody", "", 404, "not-found", "an unknown tensor"),
    ("GET", "tensors/%20", "", 404, "not-found", "a blank"),
    ("GET", "tensors/x%00", "", 404, "not-found", "a null character"),
    ("GET", "tensors/x/grad", "", 404, "not-found", "no gradient"),
    ("GET", "tensors/x.grad", "", 404, "not-found", "no gradient by its name"),
    ("GET", "tensors/x", "data=no", 422, "argument-value", "no for false"),
    ("GET", "tensors/x", "encoding=buffer", 422, "argument-value", "a buffer alone"),
    ("GET", "tensors", "limit=0", 422, "argument-value", "a page of nothing"),
    ("GET", "tensors", "limit=1001", 422, "argument-value", "a page too large"),
    ("GET", "tensors", "limit=-1", 422, "argument-value", "a page of less than nothing"),
    ("GET", "tensors", "after=%20", 422, "argument-value", "a cursor that is none"),
    ("GET", "graph", "", 422, "argument-type", "a graph of nothing"),
    ("GET", "graph", "root=nobody", 404, "not-found", "a graph of an unknown tensor"),
    ("GET", "graph", "root=y&format=png", 422, "argument-value", "a graph in another format"),
    ("GET", "graph", "root=y&max_nodes=501", 422, "limit", "a graph too large"),
    ("GET", "graph", "root=y&collapse=1", 422, "argument-value", "a graph collapsed by a number"),
    ("GET", "graph/summary", "", 422, "argument-type", "a summary of nothing"),
    ("GET", "graph/summary", "root=nobody", 404, "not-found", "a summary of an unknown tensor"),
    ("GET", "graph/summary", "root=y&format=html", 422, "argument-value", "a summary in another format"),
    ("GET", "graph/summary", "root=y.grad", 404, "not-found", "a summary of no gradient"),
    ("DELETE", "tensors/nobody", "", 404, "not-found", "an unknown tensor released"),
    ("DELETE", "tensors/x.grad", "", 404, "not-found", "a gradient released"),
]:
    bad(f"{method}: {name}", path, b"", status, code, query=query, method=method)

SETUP = [
    {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
    {"command": "create", "id": "free", "data": 1.0, "requires_grad": True},
    {"command": "create", "id": "i", "data": [0, 1, 9]},
    {"command": "create", "id": "pair", "data": [1.0, 2.0]},
    {"command": "apply", "op": "zeros", "parameters": {"size": [100_000]}, "outputs": ["wide"]},
    {"command": "apply", "op": "mul", "inputs": ["x", 2], "outputs": ["y"]},
    {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
]


@pytest.fixture(scope="module")
def prepared(client: Any) -> str:
    """One session for the whole table: nothing in it may change it."""
    at = client.post("/v1/sessions").headers["location"]
    assert client.post(f"{at}/batch", json={"commands": SETUP}).status_code == 200
    return at


def state(client: Any, at: str) -> Any:
    listed = client.get(f"{at}/tensors").json()["tensors"]
    return listed, [client.get(f"{at}/tensors/{n}").json() for n in ("x", "y", "s", "i")]


def test_the_table_is_long_enough_and_names_are_unique():
    assert len(ROWS) >= 150
    assert len({r.name for r in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[r.name for r in ROWS])
def test_a_bad_input_is_refused_and_changes_nothing(client, prepared, row):
    before = state(client, prepared)

    answer = client.request(
        row.method,
        f"{prepared}/{row.path}?{row.query}" if row.query else f"{prepared}/{row.path}",
        content=row.body or None,
        headers={"content-type": row.media_type} if row.method in ("POST", "PATCH") else {},
    )

    assert_problem(answer, status=row.status, code=row.code or None)
    assert state(client, prepared) == before
