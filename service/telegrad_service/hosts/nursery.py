"""Where worker processes come from: forked from one warm helper, or spawned where the system cannot fork safely."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from telegrad.contract.errors import UnavailableError
from telegrad.contract.limits import Limits
from telegrad_service.hosts import warm, worker
from telegrad_service.hosts.keeping import Drop, Keeping
from telegrad_service.journal.base import Kept
from telegrad_service.logs import Log

log = logging.getLogger("telegrad.service")

START_SECONDS: Final = 60.0
"""How long the helper may take to import everything."""

_BUFFER_BYTES: Final = 2**20
"""What a connection to a session's process holds on its way."""

CAN_FORK: Final = sys.platform.startswith("linux")
"""Elsewhere system libraries start threads of their own before a fork (macOS), or there is none (Windows)."""

_AT_ONCE: Final = 32
"""Wishes for workers that may be on their way to the helper: hundreds, as when all sessions wake after a restart, would fill the
connection, and take two descriptors each. The helper forks one after the other in any case."""

_AGAIN_SECONDS: Final = 0.05
"""Until a wish that found the connection to the helper full is told again."""

_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

Ended = Callable[[int, int], None]
"""``ended(pid, status)``: a worker has ended; the status is its exit code, or minus the signal."""


def one_thread(environment: dict[str, str], threads: int) -> dict[str, str]:
    """The environment in which BLAS uses so many threads; with one, none is started, so that a fork takes a whole process along."""
    return environment | dict.fromkeys(_ONE_THREAD, str(threads))


def _pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection that takes the beginning of a large body at once. Raises UnavailableError where there is none."""
    try:
        ends = socket.socketpair()
    except OSError as error:
        raise _no_process(error.strerror) from error
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return ends


def _no_process(reason: str | None) -> UnavailableError:
    return UnavailableError(f"no process could be made for the session ({reason}); try again later")


class Nursery(ABC):
    """Makes workers, ends them, and says when one has ended."""

    @abstractmethod
    async def start(self) -> None:
        """Be ready to make workers."""

    @abstractmethod
    async def make(self, kept: Kept, drop: Drop | None = None) -> tuple[int, socket.socket]:
        """A new worker's pid and the server's end of its connection; for ``drop`` see ``DurableSession``.

        Raises UnavailableError where none can be made.
        """

    @abstractmethod
    def is_alive(self, pid: int) -> bool:
        """Whether the worker's end has not been told yet."""

    @abstractmethod
    def kill(self, pid: int) -> None:
        """End a worker at once, in whatever it is; nothing happens if it has ended."""

    @abstractmethod
    async def stop(self) -> None:
        """End every worker that is left."""


class Forking(Nursery):
    """Workers forked from the warm helper, in 2 to 5 ms each."""

    def __init__(self, limits: Limits, keeping: Keeping, *, tune: bool, ended: Ended, lines: Log | None = None) -> None:
        """Prepare; ``ended`` is called in the event loop."""
        self._configuration = json.dumps(
            {"limits": dataclasses.asdict(limits), "keeping": dataclasses.asdict(keeping), "tune": tune, "log": lines}
        ).encode()
        self._ended = ended
        self._helper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._alive: set[int] = set()
        self._count = 0
        self._ready: asyncio.Future[None] | None = None
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def start(self) -> None:
        """See ``Nursery.start``. A helper that has died is replaced by the next worker that is wanted."""
        async with self._starting:
            if self._control is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            with theirs:
                self._helper = subprocess.Popen(  # noqa: ASYNC220, S603 - returns once the child has begun; our own module and numbers
                    [sys.executable, "-m", warm.__name__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=one_thread(dict(os.environ), 1),
                    stdin=subprocess.DEVNULL,
                    # A terminal's signals are for the server. In a session of its own it would get none either, but Linux shares
                    # out processors among sessions first: server and workers would wait for each other's turns.
                    process_group=0,
                )
            ours.send(self._configuration)  # not in the command line, which everybody sees: a journal's address may hold a password
            self._control = ours
            loop = asyncio.get_running_loop()
            ready = self._ready = loop.create_future()
            loop.add_reader(ours, self._hear, ours)
            try:
                await asyncio.wait_for(ready, START_SECONDS)
            except (TimeoutError, UnavailableError):
                self._lose()
                raise UnavailableError("the process that makes sessions did not start; the server's log says why") from None

    async def make(self, kept: Kept, drop: Drop | None = None) -> tuple[int, socket.socket]:
        """See ``Nursery.make``."""
        async with self._room:
            await self.start()
            ours, theirs = _pair()
            try:
                with theirs:
                    pid = await self._fork(kept, drop, theirs)
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return pid, ours

    async def _fork(self, kept: Kept, drop: Drop | None, theirs: socket.socket) -> int:
        """Have the helper fork a worker that speaks over ``theirs``; its pid."""
        control = self._control
        if control is None:
            raise UnavailableError("the process that makes sessions has ended; try again")
        self._count += 1
        number = self._count
        forked = self._forks[number] = asyncio.get_running_loop().create_future()
        try:
            message = json.dumps({"fork": number, "kept": kept, "drop": drop}).encode()
            socket.send_fds(control, [message], [theirs.fileno()])
            return await asyncio.wait_for(forked, START_SECONDS)
        except (ConnectionError, TimeoutError) as error:
            del self._forks[number]  # nobody is to be told of it any more
            if control is self._control:
                self._lose()
            raise UnavailableError("the process that makes sessions does not answer; try again") from error
        except OSError as error:
            raise _no_process(error.strerror) from error
        finally:
            self._forks.pop(number, None)

    def is_alive(self, pid: int) -> bool:
        """See ``Nursery.is_alive``."""
        return pid in self._alive

    def kill(self, pid: int) -> None:
        """See ``Nursery.kill``."""
        if self._control is not None:
            try:
                self._control.send(json.dumps({"kill": pid}).encode())
            except BlockingIOError:
                asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self.kill, pid)
            except OSError:  # it has ended, which is heard soon, and its workers with it
                return

    async def stop(self) -> None:
        """See ``Nursery.stop``. The helper ends with its connection, and its workers with it."""
        helper = self._helper
        self._lose()
        if helper is not None:
            await asyncio.to_thread(helper.wait)

    def _hear(self, control: socket.socket) -> None:
        """What the helper says."""
        try:
            data = control.recv(warm.MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            log.warning("the process that makes sessions has ended, and theirs with it; it is started again when one is asked for")
            self._lose()
            return
        message: dict[str, Any] = json.loads(data)
        if "ended" in message:
            self._alive.discard(message["ended"])
            self._ended(message["ended"], message["status"])
        elif "forked" in message:
            self._alive.add(message["pid"])
            forked = self._forks.get(message["forked"])
            if forked is not None and not forked.done():
                forked.set_result(message["pid"])
            else:
                self.kill(message["pid"])  # nobody waits for it any more
        elif "failed" in message:
            forked = self._forks.get(message["failed"])
            if forked is not None and not forked.done():
                forked.set_exception(_no_process(message["reason"]))
        elif self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _lose(self) -> None:
        """The helper has gone, or shall go; its workers go with it."""
        control, self._control = self._control, None
        if control is None:
            return
        asyncio.get_running_loop().remove_reader(control)
        control.close()
        gone = UnavailableError("the process that makes sessions has ended; try again")
        waiting = [f for f in (self._ready, *self._forks.values()) if f is not None and not f.done()]
        for future in waiting:
            future.set_exception(gone)
        alive, self._alive = self._alive, set()
        for pid in alive:
            self._ended(pid, -signal.SIGKILL)


class Spawning(Nursery):
    """Workers started anew, each importing everything: for systems where a fork is not safe."""

    def __init__(self, limits: Limits, keeping: Keeping, *, tune: bool, ended: Ended, lines: Log | None = None) -> None:
        """Prepare; ``ended`` is called in the event loop."""
        self._limits, self._keeping = limits, keeping
        self._tune, self._lines = tune, lines
        self._ended = ended
        self._workers: dict[int, Any] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """See ``Nursery.start``: nothing has to be prepared."""

    async def make(self, kept: Kept, drop: Drop | None = None) -> tuple[int, socket.socket]:
        """See ``Nursery.make``."""
        ours, theirs = _pair()
        context = multiprocessing.get_context("spawn")
        with theirs:
            home = worker.Home(kept, self._limits, self._keeping, drop)
            process = context.Process(target=worker.spawned, args=(theirs, home, self._tune, self._lines), daemon=True)
            try:
                await asyncio.to_thread(self._start, process)
            except OSError as error:
                ours.close()
                raise UnavailableError("no process could be started for the session; try again later") from error
        pid = process.pid
        assert pid is not None  # noqa: S101 - it was started
        self._workers[pid] = process
        task = asyncio.ensure_future(self._watch(pid, process))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        ours.setblocking(False)
        return pid, ours

    @staticmethod
    def _start(process: Any) -> None:
        before = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(one_thread({}, 1))  # inherited when BLAS is loaded there; nothing reads it here any more
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    async def _watch(self, pid: int, process: Any) -> None:
        await asyncio.to_thread(process.join)
        self._workers.pop(pid, None)
        self._ended(pid, process.exitcode)

    def is_alive(self, pid: int) -> bool:
        """See ``Nursery.is_alive``."""
        return pid in self._workers

    def kill(self, pid: int) -> None:
        """See ``Nursery.kill``."""
        process = self._workers.get(pid)
        if process is not None:
            process.kill()

    async def stop(self) -> None:
        """See ``Nursery.stop``."""
        for process in self._workers.values():
            process.kill()
        if self._watching:
            await asyncio.wait(self._watching)
