"""Checkpoints as in ``torch.utils.checkpoint``: memory for time. What a block saves is dropped, and backward computes it again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, cast

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, VersionError
from telegrad.contract.hooks import known_dtype, known_shape
from telegrad.contract.modes import enable_grad, is_grad_enabled, no_grad
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.trees import build, flatten
from telegrad.contract.transforms.wrapper import running
from telegrad.contract.watching import without_packing

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]

_CHECKS: Final = ("default", "none")


class _Recompute:
    """The backward of a checkpoint: run the block again, and differentiate that. See ``telegrad.contract.custom.Backward``."""

    materialize = False
    saves = True

    def __init__(self, name: str, block: Callable[[], list[Any]], check: bool) -> None:
        self.name = name
        self.arguments: list[tuple[Any, int]] = []
        self._block = block
        self._check = check
        self._boundary: Sequence[Any] = ()
        self._chosen: list[int] = []
        self._seen: list[tuple[Any, Any]] = []

    def prepare(self, boundary: Sequence[Any], leaves: Sequence[Any], chosen: list[int]) -> None:
        """Note where the block's graph ends, and what it gave: all tensors, and which of them have gradients."""
        self._boundary, self._chosen = boundary, chosen
        self._seen = [_metadata(y) for y in leaves]

    def run(self, gradients: tuple[Any, ...]) -> Sequence[Any]:
        """See ``telegrad.contract.custom.Backward``."""
        if all(g is None for g in gradients):
            return [None] * len(self._boundary)
        for tensor, version in self.arguments:
            now = tensor.session._written(tensor)
            if now > version:
                raise VersionError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: an argument "
                    f"of a checkpoint of {known_dtype(tensor)} {list(known_shape(tensor) or ())} is at version {now}; expected "
                    f"version {version} instead. Hint: clone() the tensor before changing it in place."
                )
        records, session = is_grad_enabled(), self._boundary[0].session
        begin = session._begin_block(False)
        try:
            with enable_grad(), without_packing():
                leaves = self._block()
        finally:
            session._leave_block(begin)
        self._compare(leaves)
        pairs = [(leaves[i], g) for i, g in zip(self._chosen, gradients, strict=True) if g is not None and leaves[i].requires_grad]
        if not pairs:
            return [None] * len(self._boundary)
        with no_grad():  # what the block uses may have been written since: its places in this run are those of the first in order
            boundary, _, _ = session._enclose(begin, [y if isinstance(y, Tensor) else None for y in leaves])
        if len(boundary) != len(self._boundary):
            raise CheckpointError(
                "telegrad.utils.checkpoint: A different number of tensors was used during the original forward and recomputation: "
                f"gradients went to {len(self._boundary)} tensors outside of the block, and would now go to {len(boundary)}. Make "
                "the block do the same each time, with tensors that require grad as they did."
            )
        found: Sequence[Any] = session._grad_at([y for y, _ in pairs], boundary, [g for _, g in pairs], records)
        return found

    def _compare(self, leaves: Sequence[Any]) -> None:
        now = [_metadata(y) for y in leaves]
        if self._check and now != self._seen:
            raise CheckpointError(
                "telegrad.utils.checkpoint: Recomputed values have different metadata than during the forward pass: "
                f"(shape, dtype) of the results was {self._seen}, is now {now}. Make the block do the same each time, or pass "
                "determinism_check='none'."
            )


def _metadata(leaf: Any) -> tuple[Any, Any]:
    return (known_shape(leaf), str(known_dtype(leaf))) if isinstance(leaf, Tensor) else (None, type(leaf).__name__)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]] | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Call ``function`` and keep nothing that it saves: backward calls it again.

    Gradients reach all that the block uses: arguments, and tensors that it refers to, such as the parameters of a layer. The
    results have one node in place of those of the block.

    Args:
        function: the block. It must do the same when it is called again.
        args: its arguments.
        use_reentrant: False is recommended. True is the older variant: where no argument requires grad, nothing does, and the
            node is called ``CheckpointFunctionBackward``. Left out it is True, with a warning.
        preserve_rng_state: draw the same random numbers again.
        context_fn: gives two context managers: one around the block now, one around it each time that backward runs it again. They
            are left alone where nothing is recorded. Not with ``use_reentrant=True``.
        determinism_check: ``default`` compares shapes and types of the results with those of the first call, ``none`` does not.
        debug: not supported, raises if true.
        early_stop: accepted; the block always runs to its end.
        kwargs: keyword arguments of ``function``; not with ``use_reentrant=True``.

    Raises:
        ArgumentTypeError: a ``context_fn`` that gives something else, or an async session.
        ArgumentValueError: an argument that does not go with the others, or is not supported.
        CheckpointError: in the backward, results of another shape or type.
        VersionError: in the backward, an argument that was changed in place.
    """
    if use_reentrant is None:
        warnings.warn(
            "telegrad.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True.",
            UserWarning,
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant and kwargs:
        raise ArgumentValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if use_reentrant and context_fn is not None:
        raise ArgumentValueError("Passing context_fn or debug is only supported when use_reentrant=False.")
    if debug:
        raise ArgumentValueError("debug=True is not supported by telegrad.utils.checkpoint; leave it out")
    if determinism_check not in _CHECKS:
        raise ArgumentValueError(f"determinism_check should be one of {list(_CHECKS)}, but got {determinism_check}")
    _ = early_stop
    given = [x for x in flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    if use_reentrant and not any(x.requires_grad for x in given):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", UserWarning, stacklevel=2)
        with no_grad():
            return function(*args, **kwargs)
    contexts: Any = (nullcontext(), nullcontext()) if context_fn is None else context_fn()
    if not isinstance(contexts, tuple) or len(contexts) != 2:
        raise ArgumentTypeError(
            "context_fn must give a tuple of two context managers: for the first run of the block, and for later ones"
        )
    around, again = contexts
    if not is_grad_enabled() or running():
        return function(*args, **kwargs)  # inside a transform what is saved is the transform's

    def first() -> Any:
        with around:
            return function(*args, **kwargs)

    def later() -> Any:
        with again:
            return function(*args, **kwargs)

    return _recorded(first, later, given, use_reentrant, preserve_rng_state, determinism_check == "default")


def _recorded(
    first: Callable[[], Any], later: Callable[[], Any], given: list[Any], reentrant: bool, preserve: bool, check: bool
) -> Any:
    from telegrad._current import current  # what closures use lives there, where no argument is a tensor

    session: Any = given[0].session if given else current()
    if not isinstance(session, BaseSession):
        raise ArgumentTypeError("checkpoint takes plain tensors; async sessions cannot record checkpoints")
    versions = [(x, session._written(x)) for x in given]
    begin = session._begin_block(preserve)
    try:
        with without_packing():
            result = first()
    finally:
        session._leave_block(begin)
    leaves, structure = flatten(result)
    again = session._end_block(begin)

    def block() -> list[Any]:
        return flatten(again(later))[0]

    tensors = [y if isinstance(y, Tensor) else None for y in leaves]
    with no_grad():
        boundary, fresh, name = session._enclose(begin, tensors)
    chosen = [i for i, y in enumerate(fresh) if y is not None]
    if not chosen:
        return result
    backward = _Recompute("CheckpointFunctionBackward" if reentrant else name, block, check)
    backward.arguments = versions
    backward.prepare(boundary, leaves, chosen)
    outputs = [fresh[i] for i in chosen]
    with no_grad():
        made = session._attach(backward, boundary, outputs, [True] * len(chosen), [False] * len(chosen), given)
    for index, y in zip(chosen, made, strict=True):
        leaves[index] = y
    return build(structure, leaves)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, *, preserve_rng_state: bool = True
) -> Any:
    """Call functions one after the other, in segments each of which is a checkpoint, the last one apart.

    Args:
        functions: the functions, or anything whose ``children()`` gives them.
        segments: how many parts.
        input: what the first function is given.
        use_reentrant: see ``checkpoint``.
        preserve_rng_state: see ``checkpoint``.

    Raises ArgumentValueError for no segments, or more of them than functions.
    """
    children = getattr(functions, "children", None)
    every = list(cast("Iterable[Callable[..., Any]]", functions if children is None else children()))
    if type(segments) is not int or not 1 <= segments <= len(every):
        raise ArgumentValueError(f"segments must be from 1 to the number of functions, {len(every)}, not {segments}")
    size = len(every) // segments

    def part(begin: int, end: int) -> Callable[..., Any]:
        def run(x: Any) -> Any:
            for f in every[begin:end]:
                x = f(x)
            return x

        return run

    last, value = size * (segments - 1), input
    for begin in range(0, last, size):
        value = checkpoint(part(begin, begin + size), value, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return part(last, len(every))(value)
