"""What the wire costs: small calls against PyTorch RPC, UM-Bridge and Tesseract, calls per second against bare FastAPI, large
arrays against an ASGI application that reads into a buffer, small calls while large ones run, and a gigabyte up and down.

Of the peers, each is measured in turns with ours; one that is not installed is left out, and said to be.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np

import telegrad
from benchmarks import peers, tesseract
from benchmarks.harness import Ratio, ratio_of, show
from benchmarks.isolation import memory_bytes
from benchmarks.roundtrip import BARE_APP, server
from telegrad import autograd

# Without a journal, which none of the peers has; what one costs is measured in ``durability``.
SERVE: Final = ("-m", "telegrad_service", "serve", "--port", "PORT", "--durability", "none")
INLINE: Final = (*SERVE, "--isolation", "inline")
LARGE: Final = ("--max-body-bytes", str(2**31), "--max-tensor-bytes", str(2**31), "--max-answer-bytes", str(2**31))

Side = Callable[[int], float]
"""So many calls; seconds of one."""


def turns(name: str, ours: Side, floor: Side, *, against: str, calls: int, rounds: int = 15) -> Ratio:
    """Both sides in turns; see ``benchmarks.harness.compare``, whose sides it need not call one by one."""
    ours(calls)
    floor(calls)
    return ratio_of(name, [(ours(calls), floor(calls)) for _ in range(rounds)], against)


def repeated(function: Callable[[], object]) -> Side:
    """A side of plain calls."""

    def side(calls: int) -> float:
        begun = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - begun) / calls

    return side


@contextlib.contextmanager
def rpc() -> Generator[Callable[[str, int], Side]]:
    """PyTorch RPC between two processes: a side for what is to be done and how many elements."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        script = Path(folder) / "rpc_peer.py"
        script.write_text(peers.RPC, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, script, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def side_of(what: str, size: int) -> Side:
            def side(calls: int) -> float:
                print(what, size, calls, file=process.stdin, flush=True)
                return float(process.stdout.readline())  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]

            return side

        try:
            yield side_of
        finally:
            process.communicate(timeout=30)


def squares_gradient(x: Any) -> Any:
    """The gradient of the sum of squares."""
    (found,) = autograd.grad((x * x).sum(), (x,))
    return found


gradient_of = telegrad.function(squares_gradient)
"""The same as a program on the server."""


def small_calls(isolation: str, command: tuple[str, ...]) -> list[Ratio]:
    """One gradient of eight numbers, sent for and read; and the round trip itself."""
    rows: list[Ratio] = []
    with (
        server(*command, path="/healthz") as ours,
        server("-c", BARE_APP, "PORT", path="/") as bare,
        contextlib.ExitStack() as open_,
    ):
        open_.enter_context(telegrad.connect(ours))
        x = telegrad.tensor(np.arange(8.0), requires_grad=True)
        assert gradient_of(x).tolist() == [2 * v for v in range(8)]

        program = repeated(lambda: gradient_of(x).numpy())
        recorded = repeated(lambda: squares_gradient(x).numpy())
        if importlib.util.find_spec("torch"):
            with rpc() as side_of:
                against = "PyTorch RPC, two processes"
                rows.append(
                    turns(f"gradient of 8 numbers, {isolation}", program, side_of("gradient", 8), against=against, calls=40)
                )
        else:
            print("  PyTorch is not installed: no comparison with its RPC")
        if importlib.util.find_spec("umbridge"):
            umbridge: Any = importlib.import_module("umbridge")  # a peer is there where it is measured, not where types are checked

            with server("-c", peers.UMBRIDGE_APP, "PORT", path="/Info") as url:
                model = umbridge.HTTPModel(url, "squares")
                point = [[float(v) for v in range(8)]]
                other = repeated(lambda: model.gradient(0, 0, point, [1.0]))
                rows.append(turns(f"gradient of 8 numbers, {isolation}", program, other, against="UM-Bridge", calls=40))
        else:
            print("  UM-Bridge is not installed: no comparison with it")
        with tesseract.opened() as found:
            if found is not None:
                gradient, array = found[0], np.arange(8.0)
                assert np.array_equal(gradient(array), 2 * array)
                side = repeated(lambda: gradient(array))
                rows.append(turns(f"gradient of 8 numbers, {isolation}", program, side, against="Tesseract", calls=20))
        rows.append(turns(f"the same recorded, {isolation}", recorded, program, against="the stored program", calls=40))
        client = open_.enter_context(httpx2.Client())
        session = client.post(f"{ours}/v1/sessions", json={}).json()["id"]
        empty = {"commands": list[Any]()}
        rows.append(
            turns(
                f"empty batch, {isolation}",
                repeated(lambda: client.post(f"{ours}/v1/sessions/{session}/batch", json=empty)),
                repeated(lambda: client.post(f"{bare}/", json=empty)),
                against="bare ASGI application, both by httpx2",
                calls=40,
            )
        )
    return rows


def throughput(isolation: str, command: tuple[str, ...]) -> None:
    """Gradient calls per second over raw HTTP."""
    with server(*command, path="/healthz") as ours, server("-c", peers.FASTAPI_APP, "PORT", path="/") as bare:
        ports = [int(url.rpartition(":")[2]) for url in (ours, bare)]
        body = json.dumps({"x": list(range(8))}).encode()
        commands = [
            {"command": "apply", "op": "mul", "inputs": ["p", "p"], "outputs": ["squares"]},
            {"command": "apply", "op": "sum", "inputs": ["squares"], "outputs": ["y"]},
            {"command": "grad", "outputs": ["y"], "inputs": ["p"], "results": ["g"]},
            {"command": "read", "tensor": "g"},
        ]
        with httpx2.Client(base_url=ours) as client:
            requests: list[bytes] = []
            for _ in range(32):
                at = client.post("/v1/sessions", json={}).headers["location"]
                client.post(f"{at}/tensors", json={"id": "x", "data": list(range(8)), "dtype": "float64", "requires_grad": True})
                program = (
                    client.post(f"{at}/programs", json={"inputs": ["p"], "commands": commands}).raise_for_status().json()["id"]
                )
                requests.append(peers.post(f"{at}/programs/{program}/run", b'{"inputs":{"p":"x"}}', ports[0]))
        for connections in (8, 32):
            pairs = [
                (
                    peers.calls_per_second(ours, requests[:connections], 1.0),
                    peers.calls_per_second(bare, [peers.post("/gradient", body, ports[1])] * connections, 1.0),
                )
                for _ in range(3)
            ]
            mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
            share = statistics.median(a / b for a, b in pairs)
            print(
                f"  {isolation}, {connections:2d} connections: {mine:6.0f} gradients/s, {share:.0%} of bare FastAPI ({other:.0f}/s)"
            )


def there_and_back(url: str, array: Any) -> None:
    """Up and down over a bare socket, from the array and into one allocated for it."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % array.nbytes)
        connection.sendall(array.data.cast("B"))
        answer = b""
        while not answer.endswith(b"{}"):
            answer += connection.recv(4096)
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        back = np.empty_like(array)
        view, head = back.data.cast("B"), b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(256)
        first = head.partition(b"\r\n\r\n")[2]
        view[: len(first)] = first
        filled = len(first)
        while filled < array.nbytes:
            filled += connection.recv_into(view[filled:])


def large(isolation: str, command: tuple[str, ...]) -> list[Ratio]:
    """Arrays of 1e6 and 1e7 float64 there and back."""
    rows: list[Ratio] = []
    with (
        server(*command, path="/healthz") as ours,
        server("-c", peers.INTO_BUFFER_APP, "PORT", path="/") as floor,
        telegrad.connect(ours),
    ):
        for exponent, rounds in ((6, 15), (7, 7)):
            array = np.random.default_rng(0).normal(size=10**exponent)
            rows.append(
                turns(
                    f"1e{exponent} float64 there and back, {isolation}",
                    repeated(lambda a=array: telegrad.tensor(a).numpy()),  # type: ignore[misc]
                    repeated(lambda a=array: there_and_back(floor, a)),  # type: ignore[misc]
                    against="ASGI reading into a buffer, bare socket",
                    calls=2,
                    rounds=rounds,
                )
            )
        with tesseract.opened() as found:
            if found is not None:
                other, array = found[1], np.random.default_rng(0).normal(size=10**6)
                assert np.array_equal(other(array), array)
                ours_there_and_back = repeated(lambda: telegrad.tensor(array).numpy())
                name = f"1e6 float64 there and back, {isolation}"
                rows.append(
                    turns(name, ours_there_and_back, repeated(lambda: other(array)), against="Tesseract", calls=2, rounds=5)
                )
    return rows


TRANSFER: Final = """
import resource, sys, time
import numpy
import telegrad

url, size, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with telegrad.connect(url):
    telegrad.tensor(numpy.ones(8)).numpy()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    array = numpy.ones(size)
    end = time.perf_counter() + seconds
    while True:
        back = telegrad.tensor(array).numpy()
        if time.perf_counter() >= end:
            break
        del back
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / array.nbytes)
"""
"""Transfers there and back for so many seconds; prints the memory that it took, in arrays."""


def beside(isolation: str, command: tuple[str, ...]) -> None:
    """Small calls while another client transfers 1e6 float64 there and back."""
    with server(*command, path="/healthz") as url, telegrad.connect(url):
        x = telegrad.tensor(np.arange(8.0), requires_grad=True)
        gradient_of(x).numpy()
        other = subprocess.Popen([sys.executable, "-c", TRANSFER, url, "1000000", "6"], stdout=subprocess.DEVNULL)
        time.sleep(1.5)
        found: list[float] = []
        end = time.perf_counter() + 4
        while time.perf_counter() < end:
            begun = time.perf_counter()
            gradient_of(x).numpy()
            found.append(time.perf_counter() - begun)
        other.wait(30)
        found.sort()
        print(
            f"  {isolation}: {len(found)} gradients of 8 numbers while 1e6 float64 went there and back: "
            f"median {1e3 * found[len(found) // 2]:.2f} ms, p99 {1e3 * found[int(len(found) * 0.99)]:.2f} ms (goal 15)"
        )


def memory(megabytes: int) -> None:
    """Memory of client and server while an array goes up and down once. Linux only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    for isolation, command in (("a process each", SERVE), ("inline", INLINE)):
        process = subprocess.Popen([sys.executable, *[c.replace("PORT", port) for c in command], *LARGE])
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url)
            with telegrad.connect(url):
                telegrad.zeros(3).numpy()
            before = most = memory_bytes(process.pid)
            stop = threading.Event()

            def watch(pid: int = process.pid, stop: threading.Event = stop) -> None:
                nonlocal most
                pause = 0.02
                while not stop.wait(pause):
                    begun = time.perf_counter()
                    most = max(most, memory_bytes(pid))
                    pause = 2 * (time.perf_counter() - begun)  # the server stands still meanwhile

            watcher = threading.Thread(target=watch)
            watcher.start()
            arguments = [sys.executable, "-c", TRANSFER, url, str(megabytes * 2**17), "0"]
            taken = subprocess.run(arguments, capture_output=True, text=True, check=True)
            stop.set()
            watcher.join()
            here, there = float(taken.stdout), (most - before) / (megabytes * 2**20)
            print(f"  {megabytes} MiB up and down, {isolation}: server {there:.2f} arrays (1.1), client {here:.2f} (2.1)")
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(f"{url}/healthz")
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


def main() -> None:
    """Print the tables."""
    places = {"a process each": SERVE, "inline": INLINE}
    show("The wire: small calls", [row for name, command in places.items() for row in small_calls(name, command)])
    print("\nThe wire: calls per second, sessions in")
    for name, command in places.items():
        throughput(name, command)
    show("The wire: large arrays", [row for name, command in places.items() for row in large(name, command)])
    print("\nThe wire: small beside large, sessions in")
    for name, command in places.items():
        beside(name, command)
    if Path("/proc/self/smaps_rollup").exists():
        print("\nThe wire: memory")
        memory(1024)


if __name__ == "__main__":
    main()
