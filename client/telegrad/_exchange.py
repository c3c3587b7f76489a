"""What a remote session says to its server: opening, batches, closing. Procedures without I/O, which both drivers run.

A batch has prefix semantics on the server. When command number k failed, what came before it stands; here, what depends on it is
dropped, and the independent rest is sent again in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote, urlencode

from telegrad import _defaults
from telegrad._batch import Numbers, Sent, Taken, cut, hand_out, new_key, reads_last, request_of, unread
from telegrad._capture import dependent
from telegrad._history import UNKNOWN, Leaf, Node
from telegrad._queue import Entry, Recorded, Taint, forget_unmade, outputs_of, place, to_raise
from telegrad._recorder import Recorder
from telegrad._refusals import of_session, refusal_of
from telegrad._retries import Retries, error_of, member, parse, problem_of, send
from telegrad._transport import NotSent, Procedure, Request, Response
from telegrad.contract import codec, safetensors
from telegrad.contract.command_fields import encode_command
from telegrad.contract.commands import Backward, Create, Read, Release, Resume, Run
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DeadlineError,
    NotFoundError,
    PayloadTooLargeError,
    QuotaError,
    RunCancelledError,
    SequenceError,
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
        trouble: why what is recorded could not be sent in the background, until the next flush or somebody has been told.
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
        self._numbers = Numbers()
        self._taken = Taken()
        self._most = self._max_commands
        """Commands of one request, at most: fewer while they are too long together."""
        self._stores = 0
        """How many programs this flush gave the server anew."""
        self._unwarned: list[tuple[Sequence[Any], TelegradError]] = []
        """Errors whose nodes are to be warned of, where somebody is told, with the histories that the walk began at."""
        self._opening: Request | None = None
        self._unanswered = False
        """Whether the last batch got no answer however often it was sent."""
        self.trouble: TelegradError | None = None

    # Opening and closing -----------------------------------------------------------------------------------------------------

    def open(self) -> Procedure[None]:
        """Open the session, or attach to it; nothing to do if that is done."""
        if self.id is not None:
            return
        if self._opening is None:
            if self._attach is None:
                self._opening = Request("POST", "/v1/sessions", [b"{}"], repeatable=True, headers=new_key())
            else:
                self._opening = Request("GET", self._path(self._attach), repeatable=True)
        try:
            response = yield from send(self._opening, self.retries, first=True)
        except NotSent as signal:
            raise signal.error from signal.error.__cause__
        summary = parse(response)
        found = member(summary, "id")
        if not isinstance(found, str):
            raise TransportError("the answer describes no session: is that address a telegrad server?")
        limits = member(summary, "limits")
        self._max_commands = _permitted(limits, "max_commands", self._max_commands)
        self.recorder.most_runs = _permitted(limits, "max_run_times", self.recorder.most_runs)
        self.id = found

    def close(self) -> Procedure[None]:
        """Delete the session if this client opened it."""
        if self.id is None or not self.owns:
            return
        # Where nobody has answered for long, once will do: the server forgets a session that nobody uses.
        retries = replace(self.retries, seconds=0.0) if self._unanswered else self.retries
        try:
            response = yield from send(Request("DELETE", self._path(self.id), repeatable=True), retries)
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
        self.recorder.check(())
        yield from self.open()
        commands = [encode_command(Create(name, buffer=name)) for name in arrays]
        body = list(safetensors.pack(arrays, {"commands": commands}))
        try:
            request = Request(
                "POST",
                f"{self._path(self._opened())}/batch",
                body,
                codec.SAFETENSORS_MEDIA_TYPE,
                repeatable=True,
                headers=new_key(),
            )
            response = yield from send(request, self.retries)
        except NotSent as signal:
            raise signal.error from signal.error.__cause__
        parse(response)

    def stop_run(self, run_id: str) -> Request:
        """The request that stops a run."""
        return Request("DELETE", f"{self._path(self._opened())}/runs/{run_id}", repeatable=True)

    def _get(self, what: str) -> Procedure[Response]:
        """Ask for something of the session, whatever form it comes in."""
        self.recorder.check(())
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
        return bool(recorder.queue or recorder.pending or self._taken)

    def discard(self) -> None:
        """Forget what is recorded."""
        self.recorder.queue.clear()
        self.recorder.pending.clear()
        self._taken = Taken()

    def remember(self, error: TelegradError) -> None:
        """Keep an error that a flush met which nobody waited for; the next flush that somebody waits for raises it.

        Where nothing was answered, that flush tries again: only who fills the queue meanwhile is told.
        """
        if self._taken or isinstance(error, (TransportError, UnavailableError)):
            self.trouble = error
        else:
            self.recorder.pending.append(error)

    def _found(self, error: TelegradError, errors: list[TelegradError]) -> None:
        """Nobody has been told of this error yet. Before handles know that it is theirs: who uses one meanwhile is to be told."""
        self.recorder.pending.append(error)
        errors.append(error)

    def raise_trouble(self) -> None:
        """Tell who records on while nothing can be sent. Raises TelegradError."""
        error, self.trouble = self.trouble, None
        if error is not None:
            raise error

    # Batches -----------------------------------------------------------------------------------------------------------------

    def flush(self, taken: Callable[[], None] | None = None, *, background: bool = False) -> Procedure[None]:
        """Send what is recorded; a procedure. ``taken`` is called when the queue is empty.

        In the background nobody waits: until the error has been raised to somebody, what is recorded meanwhile counts as recorded
        before it could be known.

        Raises the first error of the recorded commands, with the line that recorded it in a note, once; in the background it
        is left to whoever waits next. Where no answer was to be had, or this was interrupted, everything stays recorded: the batch
        that was on its way is sent again as it was, and the server, which knows it again, does it once.
        """
        recorder = self.recorder
        recorder.ask_in_hook()
        if not background:
            recorder.check(())  # another thread or task may have closed it while this one waited for its turn
            self.trouble = None
        self._take()
        if taken is not None:
            taken()
        errors: list[TelegradError] = []
        known = self._taint
        taint = self._taint = known or Taint(recorder.failed, recorder.roots, recorder.gradients)
        if recorder.failed or known is not None:
            self._hold(self._without_dependents(self._taken.held, taint))
        if not background:
            self._taint = None
        if self._taken:
            yield from self._send_all(taint, errors)
            self.trouble = None
        if background:
            if not errors:
                self._taint = known
            return
        errors, recorder.pending = recorder.pending, []
        unwarned, self._unwarned = self._unwarned, []
        for roots, error in unwarned:
            _warn_of_node(roots, error)
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"failed as well: {type(other).__name__}: {other.detail} ({_first_note(other)})")
            raise to_raise(errors[0])

    def _take(self) -> None:
        """Take what is recorded. Who is interrupted leaves it in the queue, or held, or in both, which the next one sees."""
        recorder = self.recorder
        sent, held = self._taken
        found = recorder.waiting(held)
        self._taken = Taken(sent, [*held, *found])
        recorder.drop(len(found))
        entries, later = reads_last(self._taken.held)
        recorder.released.extend(later)
        self._hold(entries)

    def _hold(self, entries: Sequence[Entry]) -> None:
        self._taken = Taken(self._taken.sent, entries)

    def _answered(self, sent: Sent, rest: Sequence[Entry]) -> None:
        """The batch was answered for good; ``rest`` is left to be done."""
        self._numbers.done(sent.request)
        self._taken = Taken(None, rest)

    def _send_all(self, taint: Taint, errors: list[TelegradError]) -> Procedure[None]:
        try:
            yield from self.open()
            self._most, self._stores = self._max_commands, 0
            while self._taken:
                sent, held = self._taken
                if sent is None:
                    batch = held[: min(cut(held), self._most)]
                    refused = (yield from self._store_programs(batch)) if self.recorder.unstored else None
                    if refused is not None:
                        self._hold(self._without_runs(held, *refused, taint, errors))
                        continue
                    held = held[len(batch) :]
                    sent = Sent(request_of(self._path(self._opened()), batch, self._numbers), batch)
                    self._taken = Taken(sent, held)
                response = yield from send(sent.request, self.retries)
                if response.status < 300:
                    hand_out(sent.entries, parse(response), response.arrays)
                    self._answered(sent, held)
                    self._most = min(2 * self._most, self._max_commands)
                else:
                    self._refused(sent, held, response, taint, errors)
        except BaseException as error:
            self._keep(error)
            if isinstance(error, NotSent):
                raise error.error from error.error.__cause__
            raise

    def _refused(self, sent: Sent, held: Sequence[Entry], response: Response, taint: Taint, errors: list[TelegradError]) -> None:
        """A batch was refused: one of its commands, or all of it. Raises TelegradError where it is to be sent again."""
        refusal = refusal_of(response, sent.request)
        problem = problem_of(response) or {}
        batch, failed = sent.entries, problem.get("failed")
        if isinstance(refusal, PayloadTooLargeError) and failed is None:
            # By the server's own bound, or a lower one of a gateway. In halves, only what is too large by itself fails.
            if len(batch) > 1:
                self._most = len(batch) // 2
                self._return(batch, held)
                return
            failed = 0
        if type(failed) is not int or not 0 <= failed < len(batch):
            # Not a command but the request as a whole was refused.
            if isinstance(refusal, SequenceError) and self._numbers.is_used(refusal, sent.request):
                self._numbers.skip(sent.request)
                return
            self._found(refusal := of_session(refusal), errors)
            self._give_up([*batch, *held], taint, refusal)
            self._return((), ())
            return
        applied = problem.get("applied")
        if type(applied) is not int:
            applied = failed
        if applied < failed or (not applied and isinstance(refusal, (QuotaError, PayloadTooLargeError))):
            # It does not fit, and was refused whole: what comes before the command that would not goes alone.
            self._fail(batch[failed], refusal, taint, errors)
            self._return(batch[:failed], self._without_dependents([*batch[failed + 1 :], *held], taint))
            return
        done, lost = batch[:failed], batch[failed]
        hand_out(done, {"results": problem.get("results", ())}, {})
        if problem.get("program") and isinstance(lost, Recorded) and lost.program is not None:
            self._stores += 1
            if self._stores <= _defaults.PROGRAM_STORES:
                # The server has forgotten the program: it gets it again, and nobody need know.
                self.recorder.stored.discard(lost.program.id)
                self.recorder.unstored[lost.program.id] = lost.program
                self._answered(sent, [*unread(done), *batch[failed:], *held])
                return
        self._fail(lost, refusal, taint, errors)
        self._answered(sent, [*unread(done), *self._without_dependents([*batch[failed + 1 :], *held], taint)])

    def _return(self, batch: Sequence[Entry], rest: Sequence[Entry]) -> None:
        """A batch was refused as a whole; ``rest`` comes after what is left of it."""
        self._numbers.give_back()
        self._taken = Taken(None, [*batch, *rest])

    def _keep(self, error: BaseException) -> None:
        """No answer for good: the batch on its way stays there, and everything else stays recorded. Who waits is told.

        Where one was interrupted, others who wait are not: they will ask themselves.
        """
        self._unanswered = isinstance(error, (NotSent, TransportError))
        told = error.error if isinstance(error, NotSent) else error
        sent, held = self._taken
        if sent is not None and not sent.is_numbered:
            held, sent = [*sent.entries, *held], None
        kept: list[Entry] = []
        for entry in held:
            if isinstance(told, Exception) and isinstance(entry, Recorded) and entry.reply is not None:
                entry.reply.error = told
                if isinstance(entry.command, Read):
                    continue
            kept.append(entry)
        self._taken = Taken(sent, kept)
        self.recorder.put_back(kept)
        self._taken = Taken(sent)
        if isinstance(told, TelegradError) and (sent is not None or held):
            told.add_note("what was recorded stays recorded, and is sent with whatever is flushed next; the server does it once")

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
            request = Request("POST", f"{self._path(self._opened())}/programs", body, repeatable=True, headers=new_key())
            response = yield from send(request, self.retries)
            if response.status >= 400:
                return program.id, refusal_of(response, request)
            del recorder.unstored[program.id]
            recorder.stored.add(program.id)
        return None

    def _without_runs(
        self, entries: Sequence[Entry], id: str, refusal: TelegradError, taint: Taint, errors: list[TelegradError]
    ) -> list[Entry]:
        """The entries without the runs of a program that the server has refused, and without what depends on them."""
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
            self._unwarned.append((entry.roots, error))
        if isinstance(entry, Recorded) and isinstance(entry.command, Release):
            return  # a name that somebody else took away: nothing the script could mind
        if isinstance(entry, Recorded) and entry.many is not None and isinstance(error, (RunCancelledError, DeadlineError)):
            self._stopped(entry, error)
            return
        reply = entry.reply if isinstance(entry, Recorded) and isinstance(entry.command, (Read, Run)) else None
        if reply is None and not (isinstance(entry, Recorded) and entry.unasked):
            self._found(error, errors)
        self._drop(entry, error, taint)
        if reply is not None:
            reply.error = error

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
            if isinstance(entry, Recorded) and isinstance(entry.command, Release):
                names = forget_unmade(self.recorder, entry.command.tensors)
                if names:
                    kept.append(Recorded(Release(tuple(names)), entry.code, entry.instruction))
                continue
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
        if isinstance(entry.command, (Backward, Resume)):
            recorder.grad_epoch += 1
        recorder.writes += 1
        if entry.reply is not None:
            entry.reply.error = dependent(cause)

    def _give_up(self, entries: Sequence[Entry], taint: Taint, error: TelegradError) -> None:
        for entry in entries:
            self._drop(entry, error, taint)
            if isinstance(entry, Recorded) and entry.reply is not None:
                entry.reply.error = error
            if isinstance(entry, Recorded) and isinstance(entry.command, Release):
                self.recorder.released.extend(entry.command.tensors)


def _permitted(limits: object, name: str, otherwise: int) -> int:
    """A limit that the server has told of."""
    found = member(limits, name)
    return found if type(found) is int and found > 0 else otherwise


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


def _first_note(error: TelegradError) -> str:
    notes: Sequence[str] = getattr(error, "__notes__", ())
    return notes[0] if notes else "place unknown"
