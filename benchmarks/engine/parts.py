"""Sparse gradients: of looked up rows, and of slices."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.engine.kinds import Makers, Step, generator


def embedding() -> Makers:
    """Rows of a large table, a dense gradient."""
    rng = generator()
    table = rng.normal(size=(50_000, 64)).astype(np.float32)
    words = rng.integers(0, 50_000, 4096)

    def tape(T: Any) -> Step:
        w, i = T.tensor(table, requires_grad=True), T.tensor(words)

        def step() -> Any:
            w.grad = None
            (T.nn.functional.embedding(i, w) * 0.5).sum().backward()
            return [w.grad]

        return step

    def by_hand() -> Step:
        def step() -> Any:
            float((table[words] * np.float32(0.5)).sum())
            g = np.full((4096, 64), 0.5, np.float32)
            grad = np.zeros_like(table)
            np.add.at(grad, words, g)
            return [grad]

        return step

    return {"tape": tape, "hand": by_hand}


def slices() -> Makers:
    """Rows of a matrix, one by one."""
    matrix = generator().normal(size=(1000, 1000))

    def tape(T: Any) -> Step:
        x = T.tensor(matrix, requires_grad=True)

        def step() -> Any:
            x.grad = None
            total = x[0].sum()
            for row in range(1, 100):
                total = total + (x[row] * 0.5).sum()
            total.backward()
            return [x.grad]

        return step

    def by_hand() -> Step:
        def step() -> Any:
            total = matrix[0].sum()
            for row in range(1, 100):
                total = total + (matrix[row] * 0.5).sum()
            g = np.zeros_like(matrix)
            g[0] += 1
            for row in range(1, 100):
                g[row] += np.full(1000, 0.5)
            return [g]

        return step

    return {"tape": tape, "hand": by_hand}
