"""What the wire is measured against, each in a process of its own: the floors, and other ways to get a gradient from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

INTO_BUFFER_APP: Final = """
import sys, numpy, uvicorn
kept = {}

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["method"] == "POST":
        size = int(dict(scope["headers"])[b"content-length"])
        array = numpy.empty(size, numpy.uint8)
        view, at, more = array.data, 0, True
        while more:
            message = await receive()
            piece, more = message["body"], message["more_body"]
            view[at : at + len(piece)] = piece
            at += len(piece)
        kept["array"] = array
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    view = kept["array"].data if kept else memoryview(b"")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(view))]})
    for start in range(0, len(view), 2**20):
        await send({"type": "http.response.body", "body": bytes(view[start : start + 2**20]), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, loop="uvloop", http="httptools")
"""
"""The floor of large bodies: read into memory allocated once, sent in pieces."""

FASTAPI_APP: Final = """
import sys, uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.get("/")
async def ready() -> dict[str, bool]:
    return {"ok": True}

@app.post("/gradient")
async def gradient(body: dict[str, list[float]]) -> dict[str, list[float]]:
    return {"gradient": [2 * v for v in body["x"]]}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, loop="uvloop", http="httptools")
"""
"""Bare FastAPI: a gradient of eight numbers by list comprehension."""

UMBRIDGE_APP: Final = """
import sys, umbridge
from aiohttp import web

run_app = web.run_app
web.run_app = lambda app, **options: run_app(app, host="127.0.0.1", print=None, **options)

class Squares(umbridge.Model):
    def __init__(self):
        super().__init__("squares")
    def get_input_sizes(self, config):
        return [8]
    def get_output_sizes(self, config):
        return [1]
    def __call__(self, parameters, config):
        return [[sum(v * v for v in parameters[0])]]
    def gradient(self, out_wrt, in_wrt, parameters, sens, config):
        return [2 * v * sens[0] for v in parameters[0]]
    def supports_evaluate(self):
        return True
    def supports_gradient(self):
        return True

umbridge.serve_models([Squares()], int(sys.argv[1]))
"""

TESSERACT_APP: Final = '''
import os, sys, tempfile
from pathlib import Path

API = """
from pydantic import BaseModel
from tesseract_core.runtime import Array, Differentiable, Float64

class InputSchema(BaseModel):
    x: Differentiable[Array[(None,), Float64]]

class OutputSchema(BaseModel):
    y: Differentiable[Float64]
    same: Array[(None,), Float64]

def apply(inputs):
    return OutputSchema(y=(inputs.x * inputs.x).sum(), same=inputs.x)

def vector_jacobian_product(inputs, vjp_inputs, vjp_outputs, cotangent_vector):
    return {"x": 2 * inputs.x * cotangent_vector["y"]}
"""

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tesseract_api.py"
    path.write_text(API)
    os.environ["TESSERACT_API_PATH"] = str(path)
    os.environ["TESSERACT_OUTPUT_PATH"] = folder  # a folder for each run, which else stay where the benchmark was started
    from tesseract_core.runtime import serve
    import logging
    logging.getLogger("uvicorn.access").disabled = True
    serve.serve("127.0.0.1", int(sys.argv[1]), 1)
'''
"""Tesseract: the sum of squares with its gradient, and the numbers back; for an interpreter that has tesseract-core[runtime]."""

RPC: Final = """
import os, sys, time
import torch
import torch.distributed.rpc as rpc
import torch.multiprocessing as mp

def gradient(x):
    x = x.detach().requires_grad_()
    (x * x).sum().backward()
    return x.grad

def identity(x):
    return x

def run(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    rpc.init_rpc(f"w{rank}", rank=rank, world_size=2)
    if rank == 0:
        print("ready", flush=True)
        for line in sys.stdin:
            what, size, calls = line.split()
            function = {"gradient": gradient, "identity": identity}[what]
            x = torch.ones(int(size), dtype=torch.float64)
            begun = time.perf_counter()
            for _ in range(int(calls)):
                rpc.rpc_sync("w1", function, args=(x,))
            print((time.perf_counter() - begun) / int(calls), flush=True)
    rpc.shutdown()

if __name__ == "__main__":
    other = mp.get_context("fork").Process(target=run, args=(1, sys.argv[1]))
    other.start()
    run(0, sys.argv[1])
    other.join()
"""
"""PyTorch RPC: two processes on this machine, asked over standard input for so many calls."""

LOAD: Final = """
import asyncio, json, sys, time
import uvloop

host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
requests = [bytes.fromhex(line) for line in sys.stdin.read().split()]
done = 0
end = 0.0

class Caller(asyncio.Protocol):
    def __init__(self, request, finished):
        self.request, self.finished, self.seen = request, finished, b""
    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)
    def data_received(self, data):
        global done
        self.seen += data
        head = self.seen.find(b"\\r\\n\\r\\n")
        if head < 0:
            return
        at = self.seen.find(b"content-length: ")
        if len(self.seen) < head + 4 + int(self.seen[at + 16 : self.seen.find(b"\\r", at)]):
            return
        if not self.seen.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self.seen.decode())
        self.seen = b""
        done += 1
        if time.perf_counter() < end:
            self.transport.write(self.request)
        else:
            self.transport.close()
            self.finished.set_result(None)

async def main():
    global end
    loop = asyncio.get_running_loop()
    waiting = [loop.create_future() for _ in requests]
    begun = time.perf_counter()
    end = begun + seconds
    for request, finished in zip(requests, waiting):
        await loop.create_connection(lambda r=request, f=finished: Caller(r, f), host, port)
    await asyncio.gather(*waiting)
    print(done / (time.perf_counter() - begun))

uvloop.run(main())
"""
"""Sends each request again and again over a connection of its own, for so many seconds; prints answers per second."""


def post(path: str, body: bytes, port: int) -> bytes:
    """A whole JSON request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def calls_per_second(url: str, requests: Sequence[bytes], seconds: float) -> float:
    """Answers per second to requests of so many connections at once; the caller is a process of its own."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = "\n".join(r.hex() for r in requests)
    found = subprocess.run(
        [sys.executable, "-c", LOAD, host, port, str(seconds)], input=lines, capture_output=True, text=True, timeout=60, check=False
    )
    if found.returncode:
        raise RuntimeError(found.stderr)
    return float(found.stdout)
