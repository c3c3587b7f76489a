"""What is timed: one forward and backward pass of each workload, written once per kind of engine.

``tape(T, ...)`` serves PyTorch and telegrad, letter by letter the same script; ``functional(np, grad, ...)`` serves HIPS autograd
and JAX; ``by_hand()`` is forward and backward written out in plain numpy. Each returns a step: a callable without arguments that
does one pass and returns what the correctness check compares: gradients, as a list of arrays or of the engine's own tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.engine.chains import chain, elementwise, uses
from benchmarks.engine.derivatives import hessian, hessian_vector
from benchmarks.engine.kinds import Makers
from benchmarks.engine.networks import convolutions, network, transformer
from benchmarks.engine.parts import embedding, slices
from benchmarks.engine.recurrences import lstm, recurrent


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        title: what is done.
        make: from the name of a kind of engine (``hand``, ``tape``, ``functional``, ``mygrad``) to a function that gives the step;
            kinds that are missing are left out of the row.
        per: how many ops or uses a step stands for; times are shown per such.
        reach: the goals as (peer, ratio): ours may cost at most so many times the peer.
        tolerance: relative, for the correctness check.
    """

    title: str
    make: Makers
    reach: tuple[tuple[str, float], ...]
    per: int = 1
    tolerance: float = 1e-6
    notes: str = field(default="")


WORKLOADS: dict[str, Workload] = {
    "tiny": Workload("1,000 tiny ops, per op", chain(1000), (("torch", 0.6),), per=1000),
    "long": Workload("100,000-op chain, per op", chain(100_000), (("torch", 0.4),), per=100_000),
    "uses": Workload("one leaf used 10,000 times, per use", uses(10_000), (("torch", 0.6),), per=10_000),
    "network": Workload("784-256-128-10, batch 64, SGD step", network((784, 256, 128, 10), 64), (("torch", 0.85),), tolerance=1e-4),
    "wide": Workload("1024-1024-1024-10, batch 1024", network((1024, 1024, 1024, 10), 1024), (("hand", 1.0),), tolerance=1e-3),
    "elementwise6": Workload("12 elementwise ops, 1e6 float64", elementwise(10**6), (("hand", 1.0),)),
    "elementwise7": Workload("12 elementwise ops, 1e7 float64", elementwise(10**7), (("torch", 0.55), ("torch-kept", 1.6))),
    "convolutions": Workload("two convolutions, 28x28, batch 32", convolutions(), (("torch", 1.5),), tolerance=1e-3),
    "transformer": Workload("transformer block, 8x64x128", transformer(), (("torch", 1.15),), tolerance=1e-3),
    "recurrent": Workload("recurrent net, 100 steps", recurrent(), (("torch", 0.65),), tolerance=1e-3),
    "lstm": Workload("LSTM, 100 steps", lstm(), (("torch", 0.65),), tolerance=1e-3),
    "hessian": Workload("Hessian of Rosenbrock, n = 50, vectorised", hessian(), (("torch", 1.2),)),
    "hvp": Workload("Hessian-vector product, n = 10,000", hessian_vector(), (("torch", 1.0),)),
    "embedding": Workload("embedding 50,000 x 64, 4,096 rows", embedding(), (("torch", 1.3),)),
    "slices": Workload("100 row slices of 1000 x 1000", slices(), (("torch", 0.15),)),
}
"""Every workload by its name on the command line."""
