"""``python -m benchmarks.compiled [WORKLOAD ...] [--seconds N]``: steps under ``telegrad.function`` against peers.

The workloads are those of ``benchmarks.engine``; a compiled step is one run of a program in this process: forward, backward and the
step of the optimiser. What a program computes and nobody sees is not computed, as in the peers that compile: the values of a loss
that is only differentiated, say.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence

from benchmarks.engine.table import COMPILED, TORCH_COMPILED, chosen, run, show
from benchmarks.engine.workloads import WORKLOADS

NETWORK = (("telegrad", 0.9), ("torch", 1.0))

REACH: dict[str, tuple[tuple[str, float], ...]] = {
    "tiny": (("hand", 1.5),),
    "elementwise6": (("torch", 0.6),),
    "elementwise7": (("torch", 0.2), ("torch-kept", 0.7)),
    "network": NETWORK,
    "wide": NETWORK,
    "convolutions": (("telegrad", 0.9), ("torch", 1.3)),
    "transformer": NETWORK,
    "recurrent": NETWORK,
    "lstm": NETWORK,
}
"""The goals as (peer, ratio), by workload."""

PEERS = ("hand", "telegrad", "torch", "torch-kept", "jax")

FOR_TORCH_COMPILE = ("elementwise6", "elementwise7", "network")
"""Where ``torch.compile`` stands beside us: a thousand ops, or a hundred steps of a cell, take it minutes to compile."""


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; returns 1 where a goal is not reached."""
    names, seconds = chosen(arguments, "benchmarks.compiled", "Compiled steps against their peers.", REACH, seconds=4.0)
    failed: list[str] = []
    for name in names:
        able = name in FOR_TORCH_COMPILE and shutil.which("g++") and importlib.util.find_spec("torch")
        workers, _ = run(name, seconds, PEERS, (COMPILED, TORCH_COMPILED) if able else (COMPILED,))
        failed += show(WORKLOADS[name].title, workers, COMPILED, REACH[name], WORKLOADS[name].per)
    if failed:
        print(f"\nnot reached: {'; '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
