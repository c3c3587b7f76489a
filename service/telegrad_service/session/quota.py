"""Admission: what a command would cost is known from its op's rule, and refused before anything is computed or allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from telegrad.contract.limits import Limits, refuse
from telegrad.contract.ops import Op, Outcome
from telegrad_service.engine.calls import Call, foresee
from telegrad_service.engine.table import ENTRIES
from telegrad_service.engine.tensor import Engine, Tensor
from telegrad_service.session import usage
from telegrad_service.session.account import UNBOUNDED, Account, Allowance, Need, Report

if TYPE_CHECKING:
    from telegrad_service.session.foresight import Totals


class Quota:
    """What one session holds, as an upper bound that every command raises; counted exactly when it nears a limit."""

    def __init__(self, limits: Limits, alive: Callable[[], Iterable[Tensor]], tensors: Callable[[], int] = lambda: 0) -> None:
        """Begin with nothing held; ``alive`` gives every tensor that has a name, ``tensors`` the number of names."""
        self._limits = limits
        self._alive = alive
        self._tensors = tensors
        self.account: Account | None = None
        """Who is asked for more than the allowance of a request."""
        self.allowance: Allowance | None = None
        """What the tenant lets the session hold in the request that is done now; None: all that the limits do."""
        self._held = usage.Held(0, 0)
        self._metered_bytes = self._metered_nodes = 0
        self._scratch = 0

    def limit(self, limits: Limits) -> None:
        """Have other limits from now on."""
        self._limits = limits

    @property
    def held(self) -> usage.Held:
        """An upper bound of what is held."""
        return self._held

    @property
    def is_rated(self) -> bool:
        """Whether somebody counts what requests do."""
        return self.allowance is not None and self.allowance.rated

    def expect(self, totals: Totals) -> None:
        """Ask for what a request will need, where that is more than its allowance, or is counted. Raises QuotaError and others."""
        allowance, names = self.allowance, self._tensors()
        if allowance is None or self.account is None:
            return
        fits = names + totals.peak_names <= allowance.tensors and self._held.nbytes + totals.peak_bytes <= allowance.nbytes
        if not fits:
            self._held = usage.count(self._alive())
            fits = names + totals.peak_names <= allowance.tensors and self._held.nbytes + totals.peak_bytes <= allowance.nbytes
        if not fits or allowance.rated:
            held = self._held.nbytes
            self.allowance = self.account.ask(
                Need(held, names, held + totals.peak_bytes, names + totals.peak_names, totals.flops, totals.made)
            )

    def report(self) -> Report | None:
        """What is held now, for whoever gave the allowance; counted if that was asked."""
        if self.allowance is None:
            return None
        if self.allowance.exact:
            self._held = usage.count(self._alive())
        return Report(self._held.nbytes, self._tensors(), self.allowance.exact)

    def admit_names(self, count: int) -> None:
        """Refuse so many more names, where the tenant may not have them."""
        if self.allowance is None or self.account is None:
            return
        names = self._tensors()
        if names + count > self.allowance.tensors:
            held = usage.count(self._alive())
            self.allowance = self.account.ask(Need(held.nbytes, names, held.nbytes, names + count))

    def _allow(self, nbytes: int) -> None:
        """Refuse to hold so many bytes more, where the tenant may not."""
        allowance = self.allowance
        if allowance is None or self.account is None or self._held.nbytes + nbytes <= allowance.nbytes:
            return
        self._held = usage.count(self._alive())
        if self._held.nbytes + nbytes > allowance.nbytes:
            names = self._tensors()
            self.allowance = self.account.ask(Need(self._held.nbytes, names, self._held.nbytes + nbytes, names))

    def foresee(self, home: Engine, op: Op, inputs: tuple[Any, ...], parameters: Mapping[str, Any], *, in_place: bool) -> Call:
        """Check the call and run the op's rule: raise its errors and admit its cost."""
        call = foresee(home, op, inputs, parameters)
        outcome = call.outcome
        if outcome is None:
            # The result depends on values: they tell how large it is, or it is no larger than all inputs together (nonzero, say).
            # What a function made of ops needs is admitted op by op, see ``weighing``.
            entry = ENTRIES.get(op.name)
            tensors = [x.array for x in inputs if isinstance(x, Tensor)]
            if entry is not None and entry.extent is not None:
                arrays = [x.array if isinstance(x, Tensor) else x for x in inputs]
                size, dtype = entry.extent(*arrays, **{**op.defaults, **parameters})
                self._check_flops(op.name, size)
                nbytes = size * dtype.itemsize
            else:
                nbytes = 8 * (sum(x.size for x in tensors) or 1) * (max((x.ndim for x in tensors), default=1) or 1)
            self.admit(op.name, [nbytes], nodes=1)
            return call
        shares = op.view and isinstance(inputs[0], Tensor) and inputs[0].array.flags.c_contiguous
        if self.allowance is None and not in_place and self._fits(call, outcome, shares):  # as almost always
            return call
        self._check_flops(op.name, outcome.flops)
        sizes = [0] if shares else [spec.nbytes for spec in outcome.outputs]
        if in_place and sizes:
            sizes[0] = 0
        self.admit(op.name, sizes, scratch=outcome.scratch_bytes, nodes=outcome.nodes, kept=outcome.kept_bytes)
        return call

    def _fits(self, call: Call, outcome: Outcome, shares: bool) -> bool:
        """Whether a call that makes new values comes near no limit; then it is admitted, as ``admit`` would."""
        limits, held = self._limits, self._held
        _, flops, _, scratch, nodes, kept = outcome
        total = kept if shares else call.nbytes + kept
        if (
            flops > limits.max_command_flops
            or total > limits.max_tensor_bytes
            or held.nbytes + total + scratch > limits.max_session_bytes
            or held.nodes + nodes > limits.max_nodes
        ):
            return False
        self._scratch = max(self._scratch, scratch)
        self._add(held, total, nodes)
        return True

    def _check_flops(self, what: str, flops: int) -> None:
        permitted = self._limits.max_command_flops
        if flops > permitted:
            raise refuse(what, flops, permitted, "max_command_flops", unit="operations")

    def admit(self, what: str, sizes: Sequence[int], *, scratch: int = 0, nodes: int = 0, kept: int = 0) -> None:
        """Refuse what would exceed a limit; otherwise add it to the upper bound of what the session holds.

        Args:
            what: the subject of the refusal.
            sizes: bytes of each new value.
            scratch: bytes needed only meanwhile.
            nodes: new graph nodes.
            kept: bytes of values on the way, which the graph may keep.
        """
        limits = self._limits
        largest = max(sizes, default=0)
        if largest > limits.max_tensor_bytes:
            raise refuse(what, largest, limits.max_tensor_bytes, "max_tensor_bytes")
        if scratch > limits.max_session_bytes:
            raise refuse(f"{what} (working memory)", scratch, limits.max_session_bytes, "max_session_bytes")
        total = sum(sizes) + kept
        held = self._held
        if held.nbytes + total + scratch > limits.max_session_bytes or held.nodes + nodes > limits.max_nodes:
            held = usage.count(self._alive())
            if held.nbytes + total + scratch > limits.max_session_bytes:
                raise refuse(
                    f"{what}, with the {held.nbytes:,} bytes that the session holds,",
                    held.nbytes + total + scratch,
                    limits.max_session_bytes,
                    "max_session_bytes",
                    hint="release tensors that are no longer needed",
                )
            if held.nodes + nodes > limits.max_nodes:
                raise refuse(
                    "the graph",
                    held.nodes + nodes,
                    limits.max_nodes,
                    "max_nodes",
                    unit="nodes",
                    hint="release results that are no longer needed, or use no_grad",
                )
        if self.allowance is not None:
            self._held = held
            self._allow(total + scratch)
            held = self._held
        self._scratch = max(self._scratch, scratch)
        self._add(held, total, nodes)

    def _add(self, held: usage.Held, nbytes: int, nodes: int) -> None:
        self._held = usage.Held(held.nbytes + nbytes, held.nodes + nodes)
        self._metered_bytes += nbytes
        self._metered_nodes += nodes

    def meter(self) -> Callable[[], usage.Held]:
        """Begin to measure; what is answered says how much was admitted since, with the most working memory of one command."""
        nbytes, nodes = self._metered_bytes, self._metered_nodes
        self._scratch = 0

        def measure() -> usage.Held:
            return usage.Held(self._metered_bytes - nbytes + self._scratch, self._metered_nodes - nodes)

        return measure

    def has_room(self, nbytes: int, nodes: int) -> bool:
        """Whether so much could be admitted without coming near a limit."""
        limits = self._limits
        held = self._held
        most = min(limits.max_session_bytes, UNBOUNDED if self.allowance is None else self.allowance.nbytes)
        if held.nbytes + nbytes > most or held.nodes + nodes > limits.max_nodes:
            held = self._held = usage.count(self._alive())
        return held.nbytes + nbytes <= most and held.nodes + nodes <= limits.max_nodes

    def left(self, nbytes: int, nodes: int) -> None:
        """Add what a compiled run left behind."""
        self._add(self._held, nbytes, nodes)

    def hold(self, nbytes: int, create_graph: bool) -> None:
        """Add gradients to the upper bound; a recorded gradient also made nodes, which only a count can tell."""
        if create_graph:
            self._held = usage.count(self._alive())
        else:
            self._add(self._held, nbytes, 0)
