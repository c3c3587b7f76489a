"""What can be asked of a session: from a request as data to an answer ready to be sent. Runs where the session lives.

Parsing and writing of bodies happen here too, so that the front (an event loop) only passes bytes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from telegrad.contract import codec, safetensors
from telegrad.contract.command_fields import FIELDS, decode_command, decode_fields
from telegrad.contract.commands import COMMANDS, Apply, Backward, Command, Create, Grad, Read, Release, Run, Seed, Set
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    LimitError,
    NotAcceptableError,
    NotFoundError,
    QuotaError,
    RequestError,
    TelegradError,
)
from telegrad.contract.limits import quota_headers, refuse
from telegrad_service.engine import picture
from telegrad_service.engine.summary import summarise
from telegrad_service.hosts.base import Answer, Array, Work
from telegrad_service.hosts.npy import npy_pieces
from telegrad_service.session.haste import Haste, TooLongError
from telegrad_service.session.programs import puts_out
from telegrad_service.session.session import BatchAnswer, Session
from telegrad_service.session.watch import Watch

PICTURE_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "json": codec.JSON_MEDIA_TYPE,
    "dot": "text/vnd.graphviz",
    "mermaid": "text/vnd.mermaid",
    "svg": "image/svg+xml",
}
"""The forms of a graph's picture."""

_SHORT_BYTES: Final = 512
_MOST_ASKED: Final = 64
"""Requests to run a program that a session remembers, and how long they are at most."""

SUMMARY_MEDIA_TYPES: Final[Mapping[str, str]] = {"json": codec.JSON_MEDIA_TYPE, "text": "text/plain"}
"""The forms of a graph's summary."""


def do(session: Session, work: Work, watch: Watch | None = None, haste: Haste | None = None) -> Answer:
    """Do one request, which ``watch`` follows.

    Raises TelegradError, and nothing has changed but for what a batch or the runs of a program say that stands. With ``haste``,
    raises TooLongError where it is not over at once: ``go_on`` with the same arguments and the error finishes it.
    """
    session.quota.allowance = work.allowance
    session.done = {}
    return _guarded(lambda: VERBS[work.verb](session, work), session, watch, haste)


def go_on(session: Session, work: Work, watch: Watch | None, paused: TooLongError) -> Answer:
    """Do what is left of a request that was too long for the event loop."""
    return do(session, work, watch) if paused.rest is None else _guarded(paused.rest, session, watch, None)


def _guarded(function: Callable[[], Answer], session: Session, watch: Watch | None, haste: Haste | None) -> Answer:
    session.watch, session.haste = watch, haste
    try:
        return function()
    except TelegradError as error:
        # Its frames hold the request's arrays, and whoever answers does not need them.
        raise error.with_traceback(None) from None
    except MemoryError:
        raise LimitError("the machine has not enough memory for this; release tensors, or use smaller ones") from None
    finally:
        session.watch = session.haste = None


# Bodies ---------------------------------------------------------------------------------------------------------------------


def _object(session: Session, work: Work, *, allowed: Sequence[str] | None = None) -> dict[str, Any]:
    """The body as a JSON object; with ``allowed``, other members are refused."""
    limits = session.limits
    parsed = codec.load_json(work.body, max_depth=limits.max_json_depth, max_values=limits.max_json_values)
    if type(parsed) is not dict:
        raise ArgumentTypeError("the body must be a JSON object")
    value = cast(dict[str, Any], parsed)
    if allowed is not None and not value.keys() <= set(allowed):
        raise ArgumentTypeError(f"the body has an unknown member; its members are: {', '.join(allowed)}")
    return value


def _json(value: Any, *, status: int = 200, created: str | None = None) -> Answer:
    return Answer((codec.dump_json(value),), codec.JSON_MEDIA_TYPE, status, created)


def _no_content() -> Answer:
    return Answer(status=204)


# The session ----------------------------------------------------------------------------------------------------------------


def _open(session: Session, work: Work) -> Answer:
    """A new session's first work: seed it if that is asked, and introduce it."""
    given = _object(session, work, allowed=("seed",)) if work.body else {}
    if given.get("seed") is not None:
        session.apply(decode_fields(Seed, given))
    return _json(_summary_of(session), status=201, created=session.id)


def _summary(session: Session, _work: Work) -> Answer:
    return _json(_summary_of(session))


def _summary_of(session: Session) -> dict[str, Any]:
    return {**session.summary(), "limits": dataclasses.asdict(session.limits)}


def _seed(session: Session, work: Work) -> Answer:
    session.apply(decode_fields(Seed, _object(session, work)))
    return _no_content()


# Tensors --------------------------------------------------------------------------------------------------------------------


def _list_tensors(session: Session, work: Work) -> Answer:
    found, following = session.list(work.arguments["after"], work.arguments["limit"])
    return _json({"tensors": found, "next": following})


def _create(session: Session, work: Work) -> Answer:
    """One tensor from the fields of ``create`` as JSON, or from the one array that came in binary form."""
    fields = dict(work.arguments) if work.buffers else _object(session, work)
    if fields.get("id") is None:
        fields["id"] = session.new_name()
    if work.buffers:
        fields["buffer"] = next(iter(work.buffers))
    command = decode_fields(Create, fields)
    session.apply(command, work.buffers)
    name = str(fields["id"])
    return _json(session.describe(name), status=201, created=name)


def _create_many(session: Session, work: Work) -> Answer:
    """Every array becomes the tensor of its name: all of them or none."""
    settings = dict(work.arguments)
    commands = [decode_fields(Create, {"id": name, "buffer": name, **settings}) for name in work.buffers]
    done = session.batch(commands, work.buffers)
    if done.failed is not None:
        session.apply(Release(tuple(c.id for c in commands[: done.applied] if isinstance(c, Create))))
        raise done.failed
    return _json({"tensors": [session.describe(name) for name in work.buffers]}, status=201)


def _read(session: Session, work: Work) -> Answer:
    """Description and value in one of four forms."""
    reference, media_type = work.arguments["reference"], work.media_type
    with_data = work.arguments["data"]
    if media_type != codec.JSON_MEDIA_TYPE:
        if not with_data:
            raise NotAcceptableError("a description alone is JSON; ask for application/json, or leave out data=false")
        encoding = "buffer"
    else:
        encoding = work.arguments["encoding"]
    what = "value" if with_data else "description"
    fields = {"tensor": reference, "what": what, "encoding": encoding, "index": work.arguments.get("index")}
    result, arrays = session.apply(decode_fields(Read, fields))
    if result is None or result["tensor"] is None:
        raise NotFoundError("that tensor has no gradient; run backward first")
    if media_type == codec.JSON_MEDIA_TYPE:
        return _json({**result.pop("tensor"), **result})
    (array,) = arrays.values()
    return Answer(_pieces_of(reference, array, media_type), media_type)


def _pieces_of(name: str, array: Array, media_type: str) -> tuple[bytes | memoryview, ...]:
    if media_type == codec.SAFETENSORS_MEDIA_TYPE:
        return tuple(safetensors.pack({name: array}))
    if media_type == codec.NPY_MEDIA_TYPE:
        return npy_pieces(array)
    return (codec.array_bytes(array),)


def _set(session: Session, work: Work) -> Answer:
    given = _object(session, work)
    if "tensor" in given:
        raise ArgumentTypeError("set: the tensor is named by the address, not by a field")
    reference = work.arguments["reference"]
    session.apply(decode_fields(Set, {"tensor": reference, **given}))
    return _json(session.describe(reference))


def _release(session: Session, work: Work) -> Answer:
    session.apply(decode_fields(Release, {"tensors": [work.arguments["reference"]]}))
    return _no_content()


# Ops and gradients ----------------------------------------------------------------------------------------------------------


def _apply(session: Session, work: Work) -> Answer:
    command = decode_fields(Apply, _object(session, work))
    assert isinstance(command, Apply)  # noqa: S101 - for the type checkers
    result, _ = session.apply(command)
    names = [] if result is None else list(result["outputs"])
    if not names and command.op.endswith("_"):
        names = [v for v in command.inputs[:1] if isinstance(v, str)]  # changed in place
    return _json({"outputs": [None if n is None else session.describe(n) for n in names]})


def _backward(session: Session, work: Work) -> Answer:
    session.apply(decode_fields(Backward, _object(session, work)))
    leaves = [n for n, t in session.names.items() if t.requires_grad and t.kept_gradient is not None and t.is_leaf]
    return _json({"leaves": leaves})


def _grad(session: Session, work: Work) -> Answer:
    result, _ = session.apply(decode_fields(Grad, _object(session, work)))
    assert result is not None  # noqa: S101 - a grad always has one
    described = [None if n is None else session.describe(n) for n in result["results"]]
    return _json({"present": result["present"], "results": described})


def _graph(session: Session, work: Work) -> Answer:
    """The graph that leads to a tensor, as data or drawn."""
    given, permitted = work.arguments, session.limits.max_picture_nodes
    wanted = permitted if given["max_nodes"] is None else given["max_nodes"]
    if wanted > permitted:
        raise refuse("the picture", wanted, permitted, "max_picture_nodes", unit="nodes")
    root = session.find(given["reference"])
    if root is None:
        raise NotFoundError("that tensor has no gradient; run backward first")
    names = {id(t): n for n, t in session.names.items()} if given["names"] else None
    described = picture.describe_graph(root, max_nodes=wanted, collapse=given["collapse"], names=names)
    drawn = picture.draw(described, given["format"])
    if given["format"] == "json":
        return _json(drawn)
    return Answer((str(drawn).encode(),), PICTURE_MEDIA_TYPES[given["format"]])


def _graph_summary(session: Session, work: Work) -> Answer:
    """What the graph that leads to a tensor holds, as data or as a table."""
    root = session.find(work.arguments["reference"])
    if root is None:
        raise NotFoundError("that tensor has no gradient; run backward first")
    found = summarise(root)
    if work.arguments["format"] == "json":
        return _json(found.as_dict())
    return Answer((f"{found}\n".encode(),), SUMMARY_MEDIA_TYPES["text"])


# Batches and programs -------------------------------------------------------------------------------------------------------


def _commands(session: Session, given: Any) -> list[Command]:
    """A list of commands; a fault in any of them refuses the list, and names its place."""
    if type(given) is not list:
        raise ArgumentTypeError("'commands' must be a list of commands")
    values: list[Any] = given  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
    if len(values) > session.limits.max_commands:
        raise refuse("the list", len(values), session.limits.max_commands, "max_commands", unit="commands", hint="send several")
    commands: list[Command] = []
    for index, value in enumerate(values):
        try:
            commands.append(decode_command(value))
        except TelegradError as error:
            error.extra.update(applied=0, failed=index)
            raise
    return commands


def _batch(session: Session, work: Work) -> Answer:
    """Commands in order; the first that fails stops them, and what came before it stands."""
    given = _object(session, work, allowed=("commands",))
    if "commands" not in given:
        raise ArgumentTypeError("the body misses the member 'commands'")
    commands = _commands(session, given["commands"])
    _check_buffers(commands)
    if work.media_type != codec.SAFETENSORS_MEDIA_TYPE:
        at = next((index for index, c in enumerate(commands) if _puts_out_buffers(session, c)), None)
        if at is not None:
            raise NotAcceptableError(
                f"reads with encoding 'buffer' need a safetensors answer: Accept: {codec.SAFETENSORS_MEDIA_TYPE}",
                extra={"applied": 0, "failed": at},
            )
    try:
        done = session.batch(commands, work.buffers)
    except TooLongError as paused:
        rest = paused.rest
        assert rest is not None  # noqa: S101 - a batch says what is left
        paused.rest = lambda: _batch_answer(rest(), work)
        raise
    return _batch_answer(done, work)


_CHANGING: Final = tuple([f'"{name}"'.encode() for name, cls in COMMANDS.items() if cls is not Read])


def only_looks(session: Session, work: Work) -> bool:
    """Whether a batch has nothing but reads: who sends it again gets what is there then, and nothing was changed before."""
    if any(word in work.body for word in _CHANGING):  # as in almost all: then it need not be parsed twice
        return False
    try:
        commands = _object(session, work).get("commands")
    except TelegradError:
        return False
    return type(commands) is list and all(isinstance(c, dict) and c.get("command") == Read.command for c in commands)


def _batch_answer(done: BatchAnswer, work: Work) -> Answer:
    if isinstance(done.failed, QuotaError) and not done.applied:
        done.failed.extra.setdefault("applied", 0)
        done.failed.extra.setdefault("failed", 0)
        raise done.failed  # nothing was done, and later it may be
    if done.failed is not None:
        return _failed(done.applied, done.results, done.failed, work)
    message = {"applied": done.applied, "results": done.results}
    if work.media_type == codec.SAFETENSORS_MEDIA_TYPE:
        return Answer(tuple(safetensors.pack(done.arrays, message)), codec.SAFETENSORS_MEDIA_TYPE)
    return _json(message)


def _store_program(session: Session, work: Work) -> Answer:
    """Keep a list of commands with holes under its content hash."""
    given = _object(session, work, allowed=("commands", "inputs"))
    if "commands" not in given:
        raise ArgumentTypeError("the body misses the member 'commands'")
    inputs = given.get("inputs", [])
    if type(inputs) is not list:
        raise ArgumentTypeError("'inputs' must be a list of names")
    names = [FIELDS["create"]["id"].decode(name) for name in inputs]
    program = session.store_program(_commands(session, given["commands"]), names)
    return _json(program.describe(), status=201, created=program.id)


def _list_programs(session: Session, _work: Work) -> Answer:
    return _json({"programs": [{"id": p.id, "inputs": list(p.inputs)} for p in session.programs.values()]})


def _program(session: Session, work: Work) -> Answer:
    return _json(session.program(work.arguments["program"]).describe())


def _delete_program(session: Session, work: Work) -> Answer:
    session.forget_program(work.arguments["program"])
    return _no_content()


def _read_run(session: Session, work: Work) -> Run:
    """The command of a request that runs a program. Raises what is wrong with it."""
    given = _object(session, work)
    if "program" in given:
        raise ArgumentTypeError("run: the program is named by the address, not by a field")
    command = decode_fields(Run, {"program": work.arguments["program"], **given})
    if _puts_out_buffers(session, command):
        raise NotAcceptableError("the program reads with encoding 'buffer'; run it in a batch with a safetensors answer")
    assert isinstance(command, Run)  # noqa: S101 - for the type checkers
    return command


def _run(session: Session, work: Work) -> Answer:
    """Run a stored program. Whoever calls one again and again sends the same words: they are read once."""
    asked = work.arguments["program"], work.body
    command = session.asked_runs.get(asked)
    if command is None:
        command = _read_run(session, work)
        if len(work.body) <= _SHORT_BYTES and command.program in session.programs:
            if len(session.asked_runs) >= _MOST_ASKED:
                session.asked_runs.clear()
            session.asked_runs[asked] = command
    result, _ = session.apply(command)
    assert result is not None  # noqa: S101 - a run always has one
    named = [*command.outputs.values(), *command.collect.values()]
    return _json({**result, "tensors": [session.describe(name) for name in named]})


def _failed(applied: int, results: list[dict[str, Any]], error: TelegradError, work: Work) -> Answer:
    """The problem of the command that failed, with what stands. Written here: the results before it may be large."""
    kept = [r for r in results if "buffer" not in r]
    places = {"applied": applied, "failed": error.extra.get("failed", applied)}  # refused whole: the one that would not fit
    problem = {**error.problem(), **places, "results": kept, "request_id": work.request_id}
    headers = quota_headers(error.extra) if isinstance(error, QuotaError) else ()
    return Answer((codec.dump_json(problem),), codec.PROBLEM_MEDIA_TYPE, error.status, headers=headers)


def _check_buffers(commands: Sequence[Command]) -> None:
    """Each array of the request belongs to one tensor: two would share its memory."""
    seen: set[str] = set()
    for index, command in enumerate(commands):
        if isinstance(command, Create) and command.buffer is not None:
            if command.buffer in seen:
                raise ArgumentValueError("two creates name the same buffer", extra={"applied": 0, "failed": index})
            seen.add(command.buffer)


def _puts_out_buffers(session: Session, command: Command) -> bool:
    if isinstance(command, Run):
        program = session.programs.get(command.program)
        return program is not None and program.puts_out
    return puts_out(command)


SHORT_VERBS: Final = frozenset({"apply", "batch", "create", "grad", "read", "release", "run", "seed", "set"})
"""Verbs whose work is commands, and little else."""

VERBS: Final[Mapping[str, Callable[[Session, Work], Answer]]] = {
    "open": _open,
    "summary": _summary,
    "seed": _seed,
    "list_tensors": _list_tensors,
    "create": _create,
    "create_many": _create_many,
    "read": _read,
    "set": _set,
    "release": _release,
    "apply": _apply,
    "backward": _backward,
    "grad": _grad,
    "graph": _graph,
    "graph_summary": _graph_summary,
    "batch": _batch,
    "store_program": _store_program,
    "list_programs": _list_programs,
    "program": _program,
    "delete_program": _delete_program,
    "run": _run,
}

__all__ = ["VERBS", "RequestError", "do"]
