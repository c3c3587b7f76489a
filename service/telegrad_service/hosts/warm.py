"""The warm helper: a process that has imported everything a session needs, and forks one worker for each session.

``python -m telegrad_service.hosts.warm FD`` speaks over the inherited socket FD, one datagram a message:

| from the server | |
|---|---|
| first of all | ``{"limits": ..., "keeping": ..., "tune": bool, "log": null or [level, style]}``, of all sessions |
| ``fork`` | ``{"fork": number, "kept": [id, created, tenant], "drop": null or [turn, overdue]}``, and the worker's end |
| ``kill`` | ``{"kill": pid}``: only a process that this one has not reaped, so never a stranger under an old number |

| to the server | |
|---|---|
| ``ready`` | ``{"ready": true}`` once all is imported |
| ``forked`` | ``{"forked": number, "pid": pid}`` |
| ``failed`` | ``{"failed": number, "reason": text}``: the system gives no process |
| ``ended`` | ``{"ended": pid, "status": exit status, or minus the signal}`` |

It starts no thread and calls no BLAS, so that the state it forks is whole; BLAS is told to use one thread before it is loaded.
It ends when the server does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, Final, TypeAlias

from telegrad.contract.limits import Limits
from telegrad_service import process
from telegrad_service.hosts import worker
from telegrad_service.hosts.keeping import Drop, Keeping
from telegrad_service.journal.base import Kept, open_journal
from telegrad_service.logs import Log

MESSAGE_BYTES: Final = 4096
_CONFIGURATION_BYTES: Final = 2**16

Settings: TypeAlias = "tuple[Limits, Keeping]"
"""Of all sessions."""


def fork(control: socket.socket, connection: socket.socket, message: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What to tell the server of its wish for a worker. The worker itself never returns from here."""
    try:
        pid = os.fork()
    except OSError as error:
        return {"failed": message["fork"], "reason": error.strerror}
    if pid:
        return {"forked": message["fork"], "pid": pid}
    status = 1
    try:
        worker.die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        worker.run(connection, worker.Home(Kept(*message["kept"]), *settings, Drop(*message["drop"]) if message["drop"] else None))
        status = 0
    except MemoryError:
        status = 3
    finally:
        os._exit(status)  # never back into the helper's loop, whatever happened


def _reap() -> list[tuple[int, int]]:
    """Workers that have ended, with their status."""
    ended: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended.append((pid, os.waitstatus_to_exitcode(status)))
    return ended


def serve(control: socket.socket, settings: Settings) -> None:
    """Fork and reap until the server goes away."""
    awake, wake = socket.socketpair()
    for end in (awake, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    alive: set[int] = set()

    def tell(message: dict[str, Any]) -> None:
        control.send(json.dumps(message).encode())

    gc.collect()
    gc.freeze()  # what is here now is shared with every worker: a collection must not touch its pages
    tell({"ready": True})
    while True:
        readable, _, _ = select.select([control, awake], [], [])
        if awake in readable:
            awake.recv(MESSAGE_BYTES)
        for pid, status in _reap():
            alive.discard(pid)
            tell({"ended": pid, "status": status})
        if control not in readable:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        if not data:
            return
        message = json.loads(data)
        if "fork" in message:
            with socket.socket(fileno=descriptors[0]) as connection:
                reply = fork(control, connection, message, settings)
            if "pid" in reply:
                alive.add(reply["pid"])
            tell(reply)
        elif message["kill"] in alive:
            os.kill(message["kill"], signal.SIGKILL)


def main(descriptor: int) -> None:
    """Serve on the inherited socket."""
    # A terminal's Ctrl-C is for the server, which ends its helper in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # In the background of a terminal that may stop whoever writes to it: the log goes there.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as control, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        given = json.loads(control.recv(_CONFIGURATION_BYTES))
        process.tune(given["tune"])
        if given["log"] is not None:
            Log(*given["log"]).install()
        keeping = Keeping(**given["keeping"])
        if keeping.is_durable:
            open_journal(keeping.journal_url).close()  # imports its driver, once for all workers
        serve(control, (Limits(**given["limits"]), keeping))


if __name__ == "__main__":
    main(int(sys.argv[1]))
