"""A session with its journal: opened, brought back, and asked to do things. Every host has sessions through this, and nothing else.

A request is written down *before* it is done, and reaches the disk while it is computed; the answer waits for both. That the
answer is not known yet does no harm, because doing the same again gives the same. What would not (a run that was stopped by the
clock, memory that the machine did not have) is followed by a snapshot at once.

A request that changes nothing, a batch of reads too, is not written, unless it gave a view a new history: the order of nodes
decides the order of sums.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import Any, Final

from telegrad.contract import codec
from telegrad.contract.errors import (
    DeadlineError,
    InternalError,
    JournalUnreachableError,
    RequestError,
    SessionDamagedError,
    StorageError,
    TelegradError,
)
from telegrad.contract.limits import Limits
from telegrad_service.hosts import verbs
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.entries import array_of, head_of, work_of
from telegrad_service.hosts.environment import differences, environment
from telegrad_service.hosts.keeping import ANY, Drop, Keeping
from telegrad_service.hosts.literals import slim, whole
from telegrad_service.hosts.once import QUOTAS, Once, answer_of, fingerprint, is_final, is_fleeting, mark_of, problem_in, stands
from telegrad_service.journal.base import Kept, open_journal
from telegrad_service.journal.log import FORMAT_VERSION, Entry, Log
from telegrad_service.session import snapshot
from telegrad_service.session.account import Account, Report
from telegrad_service.session.haste import Haste, TooLongError
from telegrad_service.session.session import Session
from telegrad_service.session.watch import Watch

log = logging.getLogger("telegrad.service")

LOOKS: Final = frozenset(
    ("summary", "list_tensors", "read", "graph", "graph_summary", "list_programs", "program", "list_runs", "describe")
)
"""Verbs that change nothing that anybody sees."""

STEPS: Final = frozenset(("open", "batch", "backward", "grad", "run"))
"""Verbs whose answers wait for the disk with durability ``step``; other changes reach it right after their answer."""

_SNAPSHOT_SHARE: Final = 8
"""What came since the last snapshot must take this many times as long to do again as the snapshot took: a bound on its price."""

_SNAPSHOT_BYTES: Final = 64 * 2**20
"""A journal that has grown by so much, and by more than the last snapshot has, gets a new one."""

_BLANK: Final = (
    "nothing of this session can be found in its journal ({}): its file was deleted, moved or damaged. Stop the server, put the "
    "file back, and start it again; or delete the session"
)
_OVERDUE: Final = "the request took longer than the server allows (request_seconds); nothing of it was done"
_DAMAGED: Final = (
    "the journal of this session is damaged ({}): the session can be read as it was before, and not changed; copy what you need to "
    "a new one"
)
_FAULT: Final = "telegrad failed by a fault of its own; the server's log tells more under this request_id"

_PATIENCE: Final = 8  # so many times a snapshot may be overdue while a backward waits for its client, which is given up then
_COPY_BYTES: Final = 4 * 2**20  # arrays up to so many are copied, to reach the disk while the session computes; larger ones before


class _Again(Watch):
    """Of a request that is done again."""

    __slots__ = ()
    counts_time = False


class DurableSession:
    """See the module.

    Attributes:
        session: as it is now.
        damage: why it can only be looked at; None where it is whole.
        inexact: why the values may differ from those before the last restart; None where they cannot.
        journal_seconds: for which the last change waited for its journal when it was done.
    """

    def __init__(
        self,
        kept: Kept,
        limits: Limits,
        keeping: Keeping,
        *,
        drop: Drop | None = None,
        account: Account | None = None,
        is_new: bool = True,
    ) -> None:
        """Open the session, or bring it back: it has its state when this returns.

        Args:
            kept: which one.
            limits: from now on.
            keeping: how it is kept.
            drop: a request to leave out for good.
            account: whom it asks for more than a request is allowed; what is done again was allowed before.
            is_new: whether there need be nothing in its journal.

        Raises StorageError, and SessionDamagedError where the journal cannot be read at all.
        """
        self._id, self._kept = kept.id, kept
        self._limits, self._keeping = limits, keeping
        self._journal = open_journal(keeping.journal_url) if keeping.is_durable else None
        self._account = account
        self._is_new = is_new
        self.journal_seconds = 0.0
        self._log: Log | None = None
        self._refused: Drop | None = None
        try:
            self._open(drop)
        except TelegradError:
            self._let_go()
            raise
        self.session.quota.account = account

    def _open(self, drop: Drop | None = None) -> None:
        """From the journal, if there is one."""
        self.session = Session(self._id, self._limits, created=self._kept.created)
        self.damage: str | None = None
        self.inexact: str | None = None
        self._once = Once(self._keeping.key_seconds)
        self._segment: dict[str, Any] | None = None
        self._replay_seconds = 0.0
        self._snapshot_seconds = 0.0
        self._snapshot_bytes = 0
        self._unsaved = self._fleeting = self._over_quota = self._is_blank = False
        if self._journal is None:
            return
        self._log = Log(self._journal.open(self._kept))
        self._log.failed = True  # until all of it is here
        found = self._log.read()
        last = found.entries[-1].head if found.entries and found.damage is None else {}
        if drop is not None and drop.turn and last.get("kind") == "work" and drop.turn in (ANY, last["turn"]):
            log.warning("session %s: request %s is left out: it was not answered as done", self._id, last["request_id"])
            dropped = {"kind": "dropped", "of": last["number"], "overdue": drop.overdue}
            self._log.add(dropped)
            self._log.commit()
            found.entries.append(Entry(dropped))
        begun = time.perf_counter()
        self.damage = found.damage
        try:
            self._bring_back(self._log, found.entries)
        except JournalUnreachableError:
            raise
        except StorageError as error:
            self.damage = error.detail
        self._log.failed = False
        self._refused = None
        self._is_blank = not found.entries
        if found.torn:
            log.warning("session %s: the end of its journal was cut off while it was written; nobody had been told of it", self._id)
        if self.damage is not None:
            log.error("session %s: its journal is damaged (%s); it can be read as it was before", self._id, self.damage)
            return
        if found.entries:
            log.info("session %s: back after %.3f s", self._id, time.perf_counter() - begun)
        segment: dict[str, Any] = {
            "kind": "segment",
            "format": FORMAT_VERSION,
            "environment": environment(),
            "limits": self._limits_now(),
        }
        if not found.entries:
            segment["generator"] = self.session.engine.generator.bit_generator.state
        self._segment = segment  # with the first change: to be looked at, a session needs no room on the disk

    def _limits_now(self) -> dict[str, Any]:
        return dataclasses.asdict(self._limits)

    # Doing -------------------------------------------------------------------------------------------------------------------

    def do(
        self, work: Work, watch: Watch | None = None, *, haste: Haste | None = None, paused: TooLongError | None = None
    ) -> Answer:
        """Do one request, once.

        Args:
            work: the request.
            watch: who follows it.
            haste: of a session without journal: raise TooLongError where the request is not over at once; see ``verbs.do``.
            paused: what was raised then: do what is left.

        Raises:
            SequenceError, KeyReusedError: it is not the next one of its client, or another one under a key.
            SessionDamagedError: it would change a session whose journal is damaged.
            StorageError: it could not be kept; it is not done.
            TelegradError: what the request itself raises.
        """
        if not (work.key or work.number):
            return self._do(work, "", watch, haste, paused)
        now = time.time()
        if paused is None:
            if self._log is not None:
                self._be_there(self._log)
            before = self._once.find(work, now)
            if before is not None:
                return before
        mark = fingerprint(work) if self._log is not None else mark_of(work)  # now: the session may change the arrays that came
        known: Answer | None = None
        try:
            # Of its own: a large answer is a view of memory that the session may write to.
            known = answer = self._do(work, mark, watch, haste, paused).owned()
            return answer
        except TooLongError:
            raise
        except TelegradError as error:
            known = answer_of(error, work.request_id) if is_final(error) else None
            raise
        except Exception:
            known = answer_of(InternalError(_FAULT), work.request_id)
            raise
        finally:
            if known is not None:
                self._once.remember(work, mark, known, now)
                if self._fleeting and self._log is not None:
                    self._save(self._log)

    def _be_there(self, journal: Log) -> None:
        """Have the state that the journal tells of. Raises SessionDamagedError where it tells of nothing, though it should."""
        if journal.durable:
            self._is_new = self._is_blank = False
        if journal.failed and not self._unsaved:
            self._reopen(journal)
        if self._is_blank and not self._is_new:
            raise SessionDamagedError(_BLANK.format(self.damage or "there is nothing in it"))

    def expect(self, work: Work) -> None:
        """Raise SequenceError for a request before whose turn others must come, whatever it brings."""
        if work.number:
            self._once.expect(work)

    def _do(self, work: Work, mark: str | Work, watch: Watch | None, haste: Haste | None, paused: TooLongError | None) -> Answer:
        if self._log is None:
            return verbs.do(self.session, work, watch, haste) if paused is None else verbs.go_on(self.session, work, watch, paused)
        self._be_there(self._log)
        self._fleeting = False
        try:
            return self._numbered(self._look(work, mark) if self._only_looks(work) else self._change(work, mark, watch))
        finally:
            if self._fleeting and not (work.key or work.number):
                self._save(self._log)

    def _only_looks(self, work: Work) -> bool:
        """Whether a request changes nothing. A number or a key is something to remember, whatever it stands on."""
        return work.verb in LOOKS or (work.verb == "batch" and work.repeats is None and verbs.only_looks(self.session, work))

    def _numbered(self, answer: Answer) -> Answer:
        assert self._log is not None  # noqa: S101 - for the type checkers
        numbers = (("Telegrad-Seq", str(self._log.last)), ("Telegrad-Durable-Seq", str(self._log.durable)))
        return answer._replace(headers=(*answer.headers, *numbers))

    def _look(self, work: Work, mark: str | Work) -> Answer:
        session, before = self.session, self.session.engine.refreshed
        try:
            answer = verbs.do(session, work)
        finally:
            if self._log is not None and session.engine.refreshed != before and self.damage is None:
                self._write(self._log, work, mark)
        if self._log is not None and self.damage is None:
            if self._unsaved:
                self._save(self._log)
            else:
                self._keep_what_was_answered(self._log)
        return answer

    def _keep_what_was_answered(self, journal: Log) -> None:
        """Put on the disk what is not there. Raises StorageError, and the session stays as it is: others know of it."""
        if journal.durable < journal.last:
            try:
                journal.commit()
            except StorageError:
                self._unsaved = True
                raise

    def _change(self, work: Work, mark: str | Work, watch: Watch | None) -> Answer:
        journal = self._log
        assert journal is not None  # noqa: S101 - for the type checkers
        if self.damage is not None:
            raise SessionDamagedError(_DAMAGED.format(self.damage))
        journal.check()
        waits = work.verb in STEPS or self._keeping.durability == "every"
        if self._unsaved:
            self._save(journal)
        elif waits:
            self._keep_what_was_answered(journal)
        large = sum(array.nbytes for array in work.buffers.values()) > _COPY_BYTES
        self._write(journal, work, mark, copy=not large)
        if waits or large:
            journal.begin_commit()
        if large:
            self._finish(journal, work)
        begun = time.perf_counter()
        self._over_quota = False
        try:
            answer = verbs.do(self.session, work, watch)
            self._judge(problem_in(answer))
        except TelegradError as error:
            self._judge(error.problem())
            raise
        finally:
            self._replay_seconds += time.perf_counter() - begun
            self.journal_seconds = 0.0
            if waits:
                waiting = time.perf_counter()
                self._finish(journal, work)
                self.journal_seconds = time.perf_counter() - waiting
            if self._over_quota:
                journal.add({"kind": "dropped", "of": journal.last, "overdue": False})
                if waits:
                    journal.commit()
        return answer

    def _finish(self, journal: Log, work: Work) -> None:
        try:
            journal.finish_commit()
        except StorageError:
            self._refused = Drop(work.turn)  # a connection that broke does not tell whether it is there
            raise

    def _judge(self, problem: dict[str, Any] | None) -> None:
        """What ended a request might not end it when it is done again."""
        if problem is not None and str(problem["type"]).rpartition(":")[2] in QUOTAS and not stands(problem):
            self._over_quota = True  # nothing was done: it is left out
        else:
            self._fleeting = is_fleeting(problem)

    def _write(self, journal: Log, work: Work, mark: str | Work, *, copy: bool = True) -> None:
        """Add a request to what is committed next; without ``copy`` its arrays must not change until then."""
        # The arrays become the session's own, which it may write to while they are on their way to the disk.
        copies = {n: bytes(codec.array_bytes(a)) if copy else codec.array_bytes(a) for n, a in work.buffers.items()}
        buffers = [[name, a.dtype.str, list(a.shape), journal.keep(copies[name])] for name, a in work.buffers.items()]
        body, literals = slim(work.body, journal.keep, self._limits.max_json_depth)
        if self._segment is not None:
            journal.add(self._segment)
            self._segment = None
        journal.add(head_of(work, mark, buffers, literals), body)

    def report(self) -> Report | None:
        """What the session holds, for whoever gave the last request its allowance."""
        return self.session.quota.report()

    @property
    def is_restless(self) -> bool:
        """Whether ``rest`` has something to do."""
        journal = self._log
        if journal is None or journal.failed or self.damage is not None or self._unsaved:
            return False
        return journal.durable < journal.last or self._is_due(journal)

    def rest(self) -> None:
        """After the answer has left: put on the disk what is not there, and take a snapshot if one is due."""
        journal = self._log
        if journal is None or not self.is_restless:
            return
        try:
            if self._is_due(journal):
                self._save(journal)
            else:
                self._keep_what_was_answered(journal)
        except StorageError as error:  # what was answered stands, in memory, and the next change waits until all of it can be kept
            self._unsaved = True
            log.error("session %s: %s", self._id, error.detail)  # noqa: TRY400 - it tells what happened

    def _is_due(self, journal: Log) -> bool:
        patience = _PATIENCE if self.session.waiting else 1
        if self._replay_seconds > patience * max(self._keeping.snapshot_seconds, _SNAPSHOT_SHARE * self._snapshot_seconds):
            return True
        return journal.nbytes > patience * max(_SNAPSHOT_BYTES, self._snapshot_bytes)

    def _save(self, journal: Log) -> None:
        """Take a snapshot. Raises StorageError."""
        journal.failed = False  # whatever failed before is in it
        begun = time.perf_counter()
        if self.session.waiting:
            log.warning("session %s: stored as a whole, %d backward(s) that wait are given up", self._id, len(self.session.waiting))
            self.session.waiting.clear()
        pieces = snapshot.dump(self.session, {"once": self._once.as_json()})
        journal.snapshot({"environment": environment(), "limits": self._limits_now()}, pieces, ())
        self._unsaved, self._segment = False, None
        self._replay_seconds = 0.0
        self._snapshot_seconds = time.perf_counter() - begun
        self._snapshot_bytes = sum(len(piece) for piece in pieces)

    def stop(self) -> None:
        """The process ends in order: what is not in a snapshot yet comes into one, so that the next start needs no replay."""
        journal = self._log
        stored = journal is not None and not journal.failed and self.damage is None and not self.session.waiting
        if journal is not None and stored and self._replay_seconds:
            try:
                self._save(journal)
            except StorageError as error:
                log.error("session %s: %s", self._id, error.detail)  # noqa: TRY400 - it tells what happened
        self._let_go()

    def close(self) -> None:
        """Free everything; the journal stays as it is."""
        self._let_go()

    def _let_go(self) -> None:
        self.session.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    # Bringing back -----------------------------------------------------------------------------------------------------------

    def _reopen(self, journal: Log) -> None:
        """A commit failed after its request was done: the session is as the journal has it."""
        journal.close()
        self._open(self._refused)
        self.session.quota.account = self._account

    def _bring_back(self, journal: Log, entries: list[Entry]) -> None:
        dropped = {entry.head["of"]: entry.head["overdue"] for entry in entries if entry.head["kind"] == "dropped"}
        for entry in entries:
            head = entry.head
            if head["kind"] == "dropped":
                continue
            if head["number"] in dropped:
                # One that took too long would again; any other may be sent again, and is done then.
                if dropped[head["number"]] and "fingerprint" in head:
                    error = DeadlineError(_OVERDUE)
                    self._once.remember(work_of(head), head["fingerprint"], answer_of(error, head["request_id"]), head["at"])
                continue
            if head["kind"] == "snapshot":
                self._load([journal.blob(name) for name in head["pieces"]])
            elif head["kind"] == "segment":
                self.inexact = "; ".join(differences(head["environment"])) or self.inexact
                if "generator" in head:
                    self.session.engine.generator.bit_generator.state = head["generator"]
                self.session.limit(Limits(**head["limits"]))  # what was refused then is refused now
            else:
                self._again(journal, entry)
        self.session.limit(self._limits)
        if self.inexact is not None:
            log.warning(
                "session %s was computed elsewhere and computed again here; the last bits may differ: %s", self._id, self.inexact
            )

    def _load(self, pieces: list[bytes]) -> None:
        try:
            self.session, more = snapshot.load(pieces, self._limits)
        except RequestError as error:  # of another version
            raise SessionDamagedError(f"the session cannot be brought back: {error.detail}") from error
        self._once.load(more["once"])

    def _again(self, journal: Log, entry: Entry) -> None:
        """Do a request that was done before. It fails if it failed then."""
        head = entry.head
        body = whole(entry.body, head.get("literals", ()), journal.blob)
        buffers = {name: array_of(dtype, shape, journal.blob(digest)) for name, dtype, shape, digest in head.get("buffers", ())}
        work = dataclasses.replace(work_of(head), body=body, buffers=buffers)
        begun = time.perf_counter()
        try:
            answer = verbs.do(self.session, work, _Again(""))
        except TelegradError as error:
            answer = answer_of(error, work.request_id)
        except Exception:
            log.exception("session %s: request %s failed by a fault of telegrad's own, as it did before", self._id, work.request_id)
            answer = answer_of(InternalError(_FAULT), work.request_id)
        self._replay_seconds += time.perf_counter() - begun
        if work.key or work.number:
            self._once.remember(work, head["fingerprint"], answer.owned(), head["at"])


__all__ = ["ANY", "LOOKS", "STEPS", "Drop", "DurableSession", "Keeping"]
