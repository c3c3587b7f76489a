"""What a remote session says to its server: opening, batches, closing. Procedures without I/O, which both drivers run.

A batch has prefix semantics on the server. When command number k failed, what came before it stands; here, what depends on it is
dropped, and the independent rest is sent again in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, urlencode

from telegrad import _defaults
from telegrad._history import UNKNOWN, Leaf, Node
from telegrad._queue import Entry, Recorded, Taint, encode, outputs_of, place
from telegrad._recorder import Recorder, dependent
from telegrad._retries import Retries, error_of, member, parse, problem_of, send
from telegrad._transport import NotSent, Procedure, Request, Response
from telegrad.contract import codec
from telegrad.contract.commands import Apply, Backward, Create, Grad, Read, Release, Run, encode_command
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DeadlineError,
    NotFoundError,
    RunCancelledError,
    TelegradError,
    TransportError,
    UnavailableError,
)
from telegrad.contract.limits import Limits
from telegrad.contract.summary import Summary
from telegrad.contract.watching import warn_of_anomaly


class Exchange:
    """The conversation of one session with its server.

    Attributes:
        recorder: the queue.
        retries: how often and how long to try.
        id: the session's id on the server; None before it is open.
        owns: whether this client opened the session, so that closing deletes it.
    """

    def __init__(self, recorder: Recorder, retries: Retries, id: str | None) -> None:
        """Talk for ``recorder``; attach to session ``id``, or open one if None."""
        self.recorder = recorder
        self.retries = retries
        self.id: str | None = None
        self.owns = id is None
        self._attach = id
        self._max_commands = Limits().max_commands
        self._taint: Taint | None = None
        """What failed in the background, until somebody has been told."""

    # Opening and closing -----------------------------------------------------------------------------------------------------

    def open(self) -> Procedure[None]:
        """Open the session, or attach to it; nothing to do if that is done."""
        if self.id is not None:
            return
        if self._attach is None:
            # Doing it twice leaves a session that nobody uses and that the server closes when it has been idle.
            request = Request("POST", "/v1/sessions", [b"{}"], repeatable=True)
        else:
            request = Request("GET", self._path(self._attach), repeatable=True)
        try:
            response = yield from send(request, self.retries)
        except NotSent as signal:
            raise signal.error from signal.error.__cause__
        summary = parse(response)
        found = member(summary, "id")
        if not isinstance(found, str):
            raise TransportError("the answer describes no session: is that address a telegrad server?")
        permitted = member(member(summary, "limits"), "max_commands")
        if type(permitted) is int and permitted > 0:
            self._max_commands = permitted
        self.id = found

    def close(self) -> Procedure[None]:
        """Delete the session if this client opened it."""
        if self.id is None or not self.owns:
            return
        try:
            response = yield from send(Request("DELETE", self._path(self.id), repeatable=True), self.retries)
        except NotSent as signal:
            raise signal.error from signal.error.__cause__
        if response.status >= 400:
            error = error_of(response)
            if not isinstance(error, NotFoundError):  # gone is what was wanted
                raise error

    def graph(self, reference: str, format: str, max_nodes: int | None, collapse: bool) -> Procedure[Any]:
        """The picture of a graph; see ``BaseSession.graph``."""
        given: tuple[Any, ...] = (format, collapse, 1 if max_nodes is None else max_nodes)
        if [type(value) for value in given] != [str, bool, int]:
            raise ArgumentTypeError("format must be str, max_nodes must be int and collapse must be bool")
        if max_nodes is not None and max_nodes < 1:
            raise ArgumentValueError(f"max_nodes must be at least 1, not {max_nodes}")
        query = {"root": reference, "format": format, "names": "false", "collapse": "true" if collapse else "false"}
        if max_nodes is not None:
            query["max_nodes"] = str(max_nodes)
        response = yield from self._get(f"graph?{urlencode(query)}")
        if response.status >= 400 or format == "json":
            return parse(response)
        return response.body.decode()

    def summary(self, reference: str) -> Procedure[Summary]:
        """What a graph holds; see ``telegrad.summary``."""
        response = yield from self._get(f"graph/summary?{urlencode({'root': reference})}")
        return Summary.from_dict(parse(response))

    def upload(self, arrays: Mapping[str, codec.Array]) -> Procedure[None]:
        """Make tensors of these names at once, past everything that is recorded."""
        yield from self.open()
        commands = [encode_command(Create(name, buffer=name)) for name in arrays]
        body = list(codec.pack(arrays, {"commands": commands}))
        try:
            response = yield from send(
                Request("POST", f"{self._path(self._opened())}/batch", body, codec.SAFETENSORS_MEDIA_TYPE), self.retries
            )
        except NotSent as signal:
            raise signal.error from signal.error.__cause__
        parse(response)

    def stop_run(self, run_id: str) -> Request:
        """The request that stops a run."""
        return Request("DELETE", f"{self._path(self._opened())}/runs/{run_id}", repeatable=True)

    def _get(self, what: str) -> Procedure[Response]:
        """Ask for something of the session, whatever form it comes in."""
        try:
            response = yield from send(
                Request("GET", f"{self._path(self._opened())}/{what}", accept="*/*", repeatable=True), self.retries
            )
        except NotSent as signal:
            raise signal.error from signal.error.__cause__
        return response

    def _path(self, id: str) -> str:
        return f"/v1/sessions/{quote(id, safe='')}"

    def _opened(self) -> str:
        if self.id is None:
            raise TransportError("the session is not open yet")
        return self.id

    def has_work(self) -> bool:
        """Whether closing must send something first: what was recorded, or an error that nobody has heard of."""
        recorder = self.recorder
        if not self.owns:
            recorder.release()
        return bool(recorder.queue or recorder.pending)

    def discard(self) -> None:
        """Forget what is recorded."""
        self.recorder.queue.clear()
        self.recorder.pending.clear()

    def remember(self, error: TelegradError) -> None:
        """Keep an error that a flush met which nobody waited for; the next flush that somebody waits for raises it."""
        self.recorder.pending.append(error)

    # Batches -----------------------------------------------------------------------------------------------------------------

    def flush(self, taken: Callable[[], None] | None = None, *, background: bool = False) -> Procedure[None]:
        """Send what is recorded; a procedure. ``taken`` is called when the queue is empty.

        In the background nobody waits: until the error has been raised to somebody, what is recorded meanwhile counts as recorded
        before it could be known.

        Raises the first error of the recorded commands, with the line that recorded it in a note, once. Where the server was not
        reached, everything stays recorded. Where nobody knows what was applied, the results of all commands of the batch count as
        failed.
        """
        recorder = self.recorder
        recorder.refuse_in_hook()
        entries = self._repeatable_if_possible(recorder.take())
        if taken is not None:
            taken()
        errors: list[TelegradError] = []
        known = self._taint
        taint = self._taint = known or Taint(recorder.failed, recorder.roots, recorder.gradients)
        if entries and (recorder.failed or known is not None):
            entries = self._without_dependents(entries, taint)
        if not background:
            self._taint = None
        if entries:
            try:
                yield from self.open()
                yield from self._send_all(entries, taint, errors)
            except NotSent as signal:
                raise signal.error from signal.error.__cause__
            except TelegradError as error:
                if self.id is None:
                    self._keep(entries, error)
                raise
        if background and not errors:
            self._taint = known
            return
        if not background:
            errors = recorder.pending + errors
            recorder.pending = []
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"failed as well: {type(other).__name__}: {other.detail} ({_first_note(other)})")
            raise errors[0]

    def _repeatable_if_possible(self, entries: list[Entry]) -> list[Entry]:
        """Without its releases, if all else is reads: such a batch may be sent twice, and the releases can wait."""
        if not all(isinstance(e, Recorded) and isinstance(e.command, (Read, Release)) for e in entries):
            return entries
        reads: list[Entry] = []
        for entry in entries:
            if isinstance(entry, Recorded) and isinstance(entry.command, Release):
                self.recorder.released.extend(entry.command.tensors)
            else:
                reads.append(entry)
        return reads

    def _send_all(self, entries: list[Entry], taint: Taint, errors: list[TelegradError]) -> Procedure[None]:
        recorder = self.recorder
        again = 0
        while entries:
            count = min(_cut(entries), self._max_commands)
            batch, rest = entries[:count], entries[count:]
            try:
                refused = (yield from self._store_programs(batch)) if recorder.unstored else None
                if refused is not None:
                    entries = self._without_runs(entries, *refused, taint, errors)
                    continue
                response = yield from send(_request(self._path(self._opened()), batch), self.retries)
            except NotSent as signal:
                self._keep(entries, signal.error)
                raise
            except TransportError as error:
                self._give_up(entries, taint, _fate_unknown(error, len(batch)))
                raise
            except GeneratorExit:
                # The driver was interrupted or its task cancelled while it waited.
                self._give_up(entries, taint, _fate_unknown(TransportError("the request was interrupted"), len(batch)))
                raise
            if response.status < 300:
                _answer(batch, parse(response), response.arrays)
                entries = rest
                continue
            refusal = error_of(response)
            problem = problem_of(response) or {}
            failed = problem.get("failed")
            if isinstance(refusal, UnavailableError) and failed is None:
                self._keep(entries, refusal)
                raise refusal
            if type(failed) is not int or not 0 <= failed < len(batch):
                # Not a command but the request as a whole was refused.
                self._give_up(entries, taint, refusal)
                raise refusal
            lost = batch[failed]
            if problem.get("program") and isinstance(lost, Recorded) and lost.program is not None and again < _defaults.RETRIES:
                # The server has forgotten the program: it gets it again, and nobody need know.
                again += 1
                recorder.stored.discard(lost.program.id)
                recorder.unstored[lost.program.id] = lost.program
                done = batch[:failed]
                _answer(done, {"results": problem.get("results", ())}, {})
                entries = [*_unread(done), *batch[failed:], *rest]
                continue
            done = batch[:failed]
            _answer(done, {"results": problem.get("results", ())}, {})
            self._fail(batch[failed], refusal, taint, errors)
            entries = [*_unread(done), *self._without_dependents([*batch[failed + 1 :], *rest], taint)]

    def _store_programs(self, batch: Sequence[Entry]) -> Procedure[tuple[str, TelegradError] | None]:
        """Give the server the programs that it needs for the batch. Returns the id of one that it refuses, and why."""
        recorder = self.recorder
        while recorder.dropped:
            path = f"{self._path(self._opened())}/programs/{recorder.dropped.pop()}"
            yield from send(Request("DELETE", path, repeatable=True), self.retries)  # if it is gone, all the better
        for entry in batch:
            program = entry.program if isinstance(entry, Recorded) else None
            if program is None or program.id not in recorder.unstored:
                continue
            body = [codec.dump_json(program.message)]
            request = Request("POST", f"{self._path(self._opened())}/programs", body, repeatable=True)
            response = yield from send(request, self.retries)
            if response.status >= 400:
                return program.id, error_of(response)
            del recorder.unstored[program.id]
            recorder.stored.add(program.id)
        return None

    def _without_runs(
        self, entries: Sequence[Entry], id: str, refusal: TelegradError, taint: Taint, errors: list[TelegradError]
    ) -> list[Entry]:
        """The entries without the runs of a program that the server has refused, and without what depends on them."""
        if isinstance(refusal, UnavailableError):
            self._keep(entries, refusal)
            raise refusal
        for position, entry in enumerate(entries):
            if isinstance(entry, Recorded) and entry.program is not None and entry.program.id == id:
                self._fail(entry, refusal, taint, errors)
                return [*entries[:position], *self._without_dependents(entries[position + 1 :], taint)]
        return list(entries)

    def _fail(self, entry: Entry, error: TelegradError, taint: Taint, errors: list[TelegradError]) -> None:
        """This entry was refused with ``error``."""
        if isinstance(entry, Recorded) and entry.program is not None:
            entry.program.explain(error)
        error.add_note(place(entry))
        if isinstance(entry, Recorded) and entry.roots:
            _warn_of_node(entry.roots, error)
        if isinstance(entry, Recorded) and isinstance(entry.command, Release):
            return  # a name that somebody else took away: nothing the script could mind
        if isinstance(entry, Recorded) and entry.many is not None and isinstance(error, (RunCancelledError, DeadlineError)):
            self._stopped(entry, error)
            return
        self._drop(entry, error, taint)
        if isinstance(entry, Recorded) and entry.reply is not None and isinstance(entry.command, (Read, Run)):
            entry.reply.error = error
        else:
            errors.append(error)

    def _stopped(self, entry: Recorded, error: TelegradError) -> None:
        """Runs were stopped between two of them: what they change is as at their end, and there is nothing to give out."""
        recorder = self.recorder
        if not error.extra.get("run"):
            self._drop(entry, error, Taint(recorder.failed, recorder.roots, recorder.gradients))
        for name in outputs_of(entry):
            recorder.failed.setdefault(name, error)
        recorder.attention = True
        if entry.reply is not None:
            entry.reply.error = error

    def _without_dependents(self, entries: Sequence[Entry], taint: Taint) -> list[Entry]:
        kept: list[Entry] = []
        for entry in entries:
            cause = taint.cause(entry)
            if cause is None:
                kept.append(entry)
            else:
                self._drop(entry, cause, taint)
        return kept

    def _drop(self, entry: Entry, cause: TelegradError, taint: Taint) -> None:
        """This entry is not done because of ``cause``."""
        recorder = self.recorder
        taint.add(entry, cause)
        recorder.attention = True
        if not isinstance(entry, Recorded):
            return
        for touched in entry.touches:
            if isinstance(touched, Leaf):
                touched.settle(UNKNOWN, recorder.grad_epoch)
            else:
                touched.forget()
        if isinstance(entry.command, Backward):
            recorder.grad_epoch += 1
        recorder.writes += 1
        if entry.reply is not None:
            entry.reply.error = dependent(cause)

    def _give_up(self, entries: Sequence[Entry], taint: Taint, error: TelegradError) -> None:
        for entry in entries:
            self._drop(entry, error, taint)
            if isinstance(entry, Recorded) and entry.reply is not None:
                entry.reply.error = error

    def _keep(self, entries: Sequence[Entry], error: TelegradError) -> None:
        """Nothing was applied: everything stays recorded, but who waits for an answer is told."""
        kept: list[Entry] = []
        for entry in entries:
            if isinstance(entry, Recorded) and entry.reply is not None:
                entry.reply.error = error
                if isinstance(entry.command, Read):
                    continue
            kept.append(entry)
        self.recorder.put_back(kept)


def _unread(entries: Sequence[Entry]) -> list[Entry]:
    """Those that still wait for an answer."""
    return [e for e in entries if isinstance(e, Recorded) and e.reply is not None and not e.reply.done]


def _warn_of_node(roots: Sequence[Any], error: TelegradError) -> None:
    """In anomaly mode: say where the node was recorded that the error came from, which the server tells by the way to it."""
    told = error.extra.get("node")
    if not isinstance(told, dict):
        return
    way = cast("dict[str, Any]", told)
    at: Any = roots[way["root"]] if way.get("root") in range(len(roots)) else None
    for position in way.get("path", ()):
        at = next((target for p, target, _ in at.edges if p == position), None) if isinstance(at, Node) else None
    hooks = getattr(at, "hooks", None)
    warn_of_anomaly(str(way.get("name")), None if hooks is None else hooks.stack)


def _request(path: str, batch: Sequence[Entry]) -> Request:
    commands, arrays = encode(batch)
    only_reads = all(isinstance(e, Recorded) and isinstance(e.command, Read) for e in batch)
    binary = any(isinstance(e, Recorded) and isinstance(e.command, Read) and e.command.encoding == "buffer" for e in batch)
    accept = f"{codec.SAFETENSORS_MEDIA_TYPE}, {codec.PROBLEM_MEDIA_TYPE}" if binary else codec.JSON_MEDIA_TYPE
    message = {"commands": commands}
    many = getattr(batch[-1], "many", None)
    address, hear = f"{path}/batch", None
    if many is not None:
        address, hear, accept = f"{address}?run_id={many.run_id}", many.hear, codec.EVENTS_MEDIA_TYPE
    if arrays:
        body = list(codec.pack(arrays, message))
        return Request("POST", address, body, codec.SAFETENSORS_MEDIA_TYPE, accept, hear=hear)
    return Request("POST", address, [codec.dump_json(message)], accept=accept, repeatable=only_reads, hear=hear)


def _answer(batch: Sequence[Entry], message: Any, arrays: Mapping[str, codec.Array]) -> None:
    """Hand the results out. Raises TransportError for an answer that is none."""
    results = member(message, "results")
    if not isinstance(results, (list, tuple)):
        raise TransportError("the answer has no results: is that address a telegrad server?")
    for result in cast("Sequence[dict[str, Any]]", results):
        index: int = result["index"]
        entry = batch[index]
        if not isinstance(entry, Recorded) or entry.reply is None:
            continue
        name = result.get("buffer")
        if name is not None:
            array = arrays.get(name)
            if array is None:
                continue
            array.setflags(write=False)
            entry.reply.array = array
        elif isinstance(entry.command, Read) and entry.command.what == "value" and result.get("tensor") is not None:
            continue
        entry.reply.result = result


def _cut(entries: Sequence[Entry]) -> int:
    """How many entries may go in one request.

    A failure drops the values that were read before it, so no read may stand before a change and be repeated after it. A run that
    is followed goes alone: its answer is a stream of events, and who interrupts it loses nothing else.
    """
    read = False
    for position, entry in enumerate(entries):
        if not isinstance(entry, Recorded) or isinstance(entry.command, (Create, Release, Grad, Apply)):
            continue
        if isinstance(entry.command, Read):
            read = True
        elif read:
            return position
        elif entry.many is not None:
            return position or 1
    return len(entries)


def _fate_unknown(error: TransportError, count: int) -> TransportError:
    error.add_note(
        f"{count} recorded command(s) were sent and not acknowledged: nobody knows whether they were applied. Their results "
        "count as failed; what they change in place is to be read again."
    )
    return error


def _first_note(error: TelegradError) -> str:
    notes: Sequence[str] = getattr(error, "__notes__", ())
    return notes[0] if notes else "place unknown"
