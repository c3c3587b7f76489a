"""The error tree. Each class has a stable ``code``, an HTTP status, and the builtin that PyTorch raises for the same mistake.

TelegradError
├── ArgumentError                    the call itself is wrong
│   ├── ArgumentTypeError            (TypeError)        wrong Python or JSON type, unknown or missing parameter
│   ├── ArgumentValueError           (ValueError)       a value outside its domain
│   ├── ShapeError                   (RuntimeError)     shapes do not fit each other
│   ├── DimensionError               (IndexError)       a dimension that the tensor does not have
│   ├── IndexBoundsError             (IndexError)       an index out of range, too many indices
│   ├── KeyReusedError               (ValueError)       another request under an Idempotency-Key that was used
│   ├── DTypeError                   (RuntimeError)     an element type the op does not take
    │   │   └── UnsupportedDTypeError    (NotImplementedError) an element type for which the op is not implemented
│   └── UnknownOpError               (AttributeError)   no op of that name
├── AutogradError                    (RuntimeError)     the graph does not allow it
│   ├── GraphFreedError              a second backward through a freed graph
│   ├── VersionError                 a saved value was modified in place
│   ├── LeafError                    an in-place change of a leaf, requires_grad of a non-leaf
│   ├── UnusedInputError             an input that the outputs do not depend on
│   ├── DerivativeMissingError       (NotImplementedError) an input whose derivative nobody implements
│   ├── CheckpointError              a checkpointed block that gave other results the second time
│   ├── GradcheckError               gradients that disagree with finite differences
│   └── TraceError                   what a traced function cannot do
├── NumericalError                   (RuntimeError)     no result: a singular matrix, for example
├── LimitError                       (MemoryError)      a quota would be exceeded; nothing was allocated
│   ├── PayloadTooLargeError         a body over its limit
│   ├── DeadlineError                (TimeoutError)     a request that took too long
│   └── QuotaError                   a tenant would have more than it may: 429
│       └── RateLimitError           a tenant does more in a stretch of time than it may
├── SessionError
│   ├── SessionMismatchError         (RuntimeError)     tensors of different sessions in one call
│   ├── SessionClosedError           (RuntimeError)     the session was closed
│   ├── NotFoundError                (LookupError)      no such session, tensor, program or page
│   │   └── SessionLostError         (RuntimeError)     the session was there and is no more
│   ├── ConflictError                (RuntimeError)     the name is taken, or the state forbids it
│   │   ├── SequenceError            a batch out of its client's order, or another one under a number that was used
│   │   ├── KeyInProgressError       a request with this Idempotency-Key is being done
│   │   └── SessionDamagedError      the session's journal is broken: it can be read, and not changed
│   ├── DependentError               (RuntimeError)     needs the result of a command that failed earlier
│   └── RunCancelledError            (RuntimeError)     somebody stopped a program between two of its runs
├── AccessError                      (PermissionError)  who asks may not
│   ├── UnauthenticatedError         nobody whom the server knows
│   └── ForbiddenError               known, but without the right
├── RequestError                     (ValueError)       the request cannot be read
│   ├── MethodNotAllowedError        405
│   ├── NotAcceptableError           406
│   ├── RequestTimeoutError          (TimeoutError)     408
│   └── UnsupportedMediaTypeError    415
├── StorageError                     (OSError)          the journal cannot be written: a full disk
│   └── JournalUnreachableError      (ConnectionError)  the journal's database cannot be reached for the moment
├── UnavailableError                 (ConnectionError)  starting, draining or at capacity: try again later
├── TransportError                   (ConnectionError)  the server was not reached, or hung up
│   └── TransportTimeoutError        (TimeoutError)     no answer in time
├── ConfigurationError               (ValueError)       a server's settings that cannot work
├── BackendMissingError              (ImportError)      local sessions need `telegrad[service]` files
├── LibraryMissingError              (ImportError)      the op needs an optional library, `pip install 'telegrad[scipy]'`
└── InternalError                    (RuntimeError)     a fault of ours; the report names the request
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

PROBLEM_TYPE_PREFIX: Final = "urn:telegrad:problem:"
"""Every problem document's ``type`` is this followed by the class's ``code`` (RFC 9457 allows any URI)."""


class TelegradError(Exception):
    """Base of everything telegrad raises on purpose.

    Attributes:
        code: stable, machine-readable name of the mistake.
        status: the HTTP status it travels with.
        detail: the sentence for people.
        extra: further members of the problem document, for example ``predicted`` and ``permitted``.
        request_id: the server's id of the request that failed, or None for errors raised locally.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"

    def __init__(self, detail: str, *, extra: Mapping[str, Any] | None = None, request_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra: dict[str, Any] = dict(extra or {})
        self.request_id = request_id

    def __str__(self) -> str:
        return self.detail

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 problem document of this error, without ``instance``."""
        return {
            "type": PROBLEM_TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }


class ArgumentError(TelegradError):
    """The call itself is wrong: nothing was done."""

    code, status, title = "argument", 422, "Argument not accepted"


class ArgumentTypeError(ArgumentError, TypeError):
    """A wrong Python or JSON type, an unknown or a missing parameter."""

    code, title = "argument-type", "Argument of a wrong type"


class ArgumentValueError(ArgumentError, ValueError):
    """A value outside the domain of its parameter."""

    code, title = "argument-value", "Argument out of its domain"


class ShapeError(ArgumentError, RuntimeError):
    """Shapes that do not fit each other or the op."""

    code, title = "shape", "Shapes do not fit"


class DimensionError(ArgumentError, IndexError):
    """A dimension that the tensor does not have."""

    code, title = "dimension", "Dimension out of range"


class IndexBoundsError(ArgumentError, IndexError):
    """An index out of range, or more indices than dimensions."""

    code, title = "index-bounds", "Index out of bounds"


class DTypeError(ArgumentError, RuntimeError):
    """An element type that the op does not take, or a promotion that does not exist."""

    code, title = "dtype", "Element type not accepted"


class UnsupportedDTypeError(DTypeError, NotImplementedError):
    """An element type for which the op is not implemented, where PyTorch says so with NotImplementedError."""

    code, title = "dtype-unsupported", "Not implemented for this element type"


class UnknownOpError(ArgumentError, AttributeError):
    """No op of that name."""

    code, title = "unknown-op", "Unknown op"


class AutogradError(TelegradError, RuntimeError):
    """The graph does not allow what was asked."""

    code, status, title = "autograd", 409, "Not possible in this graph"


class GraphFreedError(AutogradError):
    """A second backward through a graph whose saved values were freed."""

    code, title = "graph-freed", "Graph already freed"


class VersionError(AutogradError):
    """A value saved for backward was modified in place."""

    code, title = "saved-value-modified", "Saved value was modified"


class LeafError(AutogradError):
    """An in-place change of a leaf that requires grad, or a leaf-only setting on a non-leaf."""

    code, title = "leaf", "Not allowed for this kind of tensor"


class UnusedInputError(AutogradError):
    """An input that the outputs do not depend on."""

    code, title = "unused-input", "Input not used in the graph"


class DerivativeMissingError(AutogradError, NotImplementedError):
    """An input whose derivative nobody implements, asked for in backward."""

    code, title = "derivative-missing", "No derivative of this input"


class CheckpointError(AutogradError):
    """A checkpointed block gave other results when it was run again."""

    code, title = "checkpoint", "A checkpointed block changed"


class GradcheckError(AutogradError):
    """``gradcheck`` found gradients that disagree with finite differences, or that break a rule of backward."""

    code, title = "gradcheck", "Gradients disagree with finite differences"


class TraceError(AutogradError):
    """A function cannot be traced: it needs values while it is traced, or does something that a program would not do again."""

    code, title = "trace", "Not possible in a traced function"


class NumericalError(TelegradError, RuntimeError):
    """The computation has no result, for example the inverse of a singular matrix."""

    code, status, title = "numerical", 422, "No numerical result"


class LimitError(TelegradError, MemoryError):
    """A quota would be exceeded. Refused before allocation; ``extra`` has ``predicted`` and ``permitted``."""

    code, status, title = "limit", 422, "Limit exceeded"


class PayloadTooLargeError(LimitError):
    """A request body over ``max_body_bytes``."""

    code, status, title = "payload-too-large", 413, "Body too large"


class DeadlineError(LimitError, TimeoutError):
    """A request that took longer than it may; the runs of a program that were done by then stand."""

    code, title = "deadline", "Deadline exceeded"


class QuotaError(LimitError):
    """A tenant would hold more than its quota, all its sessions together; ``extra`` has ``used``, ``requested``, ``permitted``."""

    code, status, title = "quota", 429, "Quota exceeded"


class RateLimitError(QuotaError):
    """A tenant asks for more in ``extra["window_seconds"]`` than it may; ``extra["retry_after_seconds"]`` says when it fits."""

    code, title = "rate-limit", "Too much at once"


class SessionError(TelegradError):
    """Something about the session or its names."""

    code, status, title = "session", 409, "Session error"


class SessionMismatchError(SessionError, RuntimeError):
    """Tensors of different sessions met in one call."""

    code, title = "session-mismatch", "Tensors live in different sessions"


class SessionClosedError(SessionError, RuntimeError):
    """The session was closed."""

    code, title = "session-closed", "Session is closed"


class NotFoundError(SessionError, LookupError):
    """No such session, tensor, program or page."""

    code, status, title = "not-found", 404, "Not found"


class SessionLostError(NotFoundError, RuntimeError):
    """The session was there and is no more: its process or server ended and nothing of it was kept, or somebody deleted it."""

    code, status, title = "session-lost", 410, "Session was lost"


class ConflictError(SessionError, RuntimeError):
    """The name is taken, or the state forbids the change."""

    code, title = "conflict", "Conflict"


class SequenceError(ConflictError):
    """A batch that is not the next one of its client, or another one under a number that was used; ``extra`` has ``expected``."""

    code, title = "sequence", "Out of order"


class KeyInProgressError(ConflictError):
    """A request with the same ``Idempotency-Key`` is being done; try again in a moment."""

    code, title = "idempotency-key-in-progress", "Request in progress"


class SessionDamagedError(ConflictError):
    """The journal of the session is broken. It can be read as it was before the damage, and not changed."""

    code, title = "session-damaged", "Journal damaged"


class DependentError(SessionError, RuntimeError):
    """Needs the result of a command that failed earlier."""

    code, title = "depends-on-failed", "Depends on a command that failed"


class RunCancelledError(SessionError, RuntimeError):
    """Somebody stopped a program between two of its runs; those before stand, and ``extra["run"]`` says how many they are."""

    code, title = "run-cancelled", "Run cancelled"


class AccessError(TelegradError, PermissionError):
    """Who asks may not do this."""

    code, status, title = "access", 403, "Access denied"


class UnauthenticatedError(AccessError):
    """No key or token, or one that is not valid."""

    code, status, title = "unauthenticated", 401, "Key needed"


class ForbiddenError(AccessError):
    """The key or token is valid, and lacks the scope that this needs."""

    code, title = "forbidden", "Scope missing"


class RequestError(TelegradError, ValueError):
    """The request cannot be read: malformed JSON, a bad header, a broken binary body."""

    code, status, title = "request", 400, "Request cannot be read"


class MethodNotAllowedError(RequestError):
    """The route exists, the method does not."""

    code, status, title = "method-not-allowed", 405, "Method not allowed"


class NotAcceptableError(RequestError):
    """No representation that the Accept header allows."""

    code, status, title = "not-acceptable", 406, "No acceptable representation"


class RequestTimeoutError(RequestError, TimeoutError):
    """The request itself was too slow in coming: its head, or its body. Nothing was done."""

    code, status, title = "request-timeout", 408, "Request too slow"


class UnsupportedMediaTypeError(RequestError):
    """A Content-Type or Content-Encoding that the route does not read."""

    code, status, title = "unsupported-media-type", 415, "Unsupported media type"


class KeyReusedError(ArgumentError, ValueError):
    """Another request under an ``Idempotency-Key`` that was used."""

    code, title = "idempotency-key-reused", "Idempotency-Key was used"


class StorageError(TelegradError, OSError):
    """The journal cannot be written or read: a full disk, say. What was asked for is not kept, and not done."""

    code, status, title = "storage", 507, "Journal not usable"


class JournalUnreachableError(StorageError, ConnectionError):
    """The database of the journal cannot be reached for the moment. Nothing was done; trying again is safe."""

    code, status, title = "journal-unreachable", 503, "Journal not reached"


class UnavailableError(TelegradError, ConnectionError):
    """The server cannot take the request now: it starts, drains, or is at its capacity. Nothing was done; trying again is safe."""

    code, status, title = "unavailable", 503, "Service not available"


class TransportError(TelegradError, ConnectionError):
    """The server was not reached, hung up, or answered something that is not telegrad."""

    code, status, title = "transport", 503, "Server not reached"


class TransportTimeoutError(TransportError, TimeoutError):
    """No answer in time."""

    code, title = "transport-timeout", "No answer in time"


class ConfigurationError(TelegradError, ValueError):
    """Settings of a server that cannot work: a missing file, a key that is none. Raised before it starts, never sent."""

    code, title = "configuration", "Settings cannot work"


class BackendMissingError(TelegradError, ImportError):
    """No backend for local sessions is installed."""

    code, title = "backend-missing", "Backend not installed"


class LibraryMissingError(TelegradError, ImportError):
    """The op is computed by an optional library that is not installed where it would run."""

    code, status, title = "library-missing", 501, "Optional library not installed"


class InternalError(TelegradError, RuntimeError):
    """A fault of telegrad's own."""

    code, status, title = "internal", 500, "Internal error"


def all_errors() -> Iterator[type[TelegradError]]:
    """Every class of the tree, base first, each once."""
    seen: set[type[TelegradError]] = set()
    todo: list[type[TelegradError]] = [TelegradError]
    while todo:
        cls = todo.pop(0)
        if cls not in seen:
            seen.add(cls)
            yield cls
            todo.extend(cls.__subclasses__())


def from_problem(problem: Mapping[str, Any], request_id: str | None = None) -> TelegradError:
    """The error that a problem document describes: same class, same message as where it was raised.

    A ``type`` that this version does not know becomes the class of its status' family, so that a newer server's error still raises.
    """
    kind = str(problem.get("type", ""))
    detail = str(problem.get("detail") or problem.get("title") or "the server sent no detail")
    extra = {k: v for k, v in problem.items() if k not in ("type", "title", "status", "detail", "instance")}
    code = kind.removeprefix(PROBLEM_TYPE_PREFIX)
    for cls in all_errors():
        if cls.code == code:
            return cls(detail, extra=extra, request_id=request_id)
    status = problem.get("status")
    fallback: type[TelegradError] = InternalError if isinstance(status, int) and status >= 500 else RequestError
    return fallback(detail, extra=extra, request_id=request_id)
