"""Long chains, a leaf of many uses, and elementwise ops on large arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.engine.kinds import Array, Makers, Step, generator


def chain(length: int) -> Makers:
    """Ops on three numbers, one after another."""
    factor = np.full(3, 1.0000001)

    def tape(T: Any) -> Step:
        x, c, seed = T.tensor(np.ones(3), requires_grad=True), T.tensor(factor), T.tensor(np.ones(3))

        def step() -> Any:
            x.grad = None
            y = x
            for _ in range(length // 2):
                y = y * c
                y = y + c
            y.backward(seed)
            return [x.grad]

        return step

    def by_hand() -> Step:
        def step() -> Any:
            y = np.ones(3)
            for _ in range(length // 2):
                y = y * factor
                y = y + factor
            g = np.ones(3)
            for _ in range(length // 2):
                g = g * factor
            return [g]

        return step

    def functional(xp: Any, grad: Any) -> Step:
        c = xp.asarray(factor)

        def total(x: Any) -> Any:
            y = x
            for _ in range(length // 2):
                y = y * c
                y = y + c
            return xp.sum(y)

        gradient = grad(total)
        ones = np.ones(3)
        return lambda: [gradient(ones)]

    def mygrad(mg: Any) -> Step:
        def step() -> Any:
            x = mg.tensor(np.ones(3))
            y = x
            for _ in range(length // 2):
                y = y * factor
                y = y + factor
            y.sum().backward()
            return [x.grad]

        return step

    made: Makers = {"tape": tape, "hand": by_hand}
    if length <= 1000:
        made["mygrad"] = mygrad
        made["autograd"] = functional
    return made


def uses(count: int) -> Makers:
    """The gradients of many uses of one leaf."""

    def tape(T: Any) -> Step:
        x, c = T.tensor(np.ones(3), requires_grad=True), T.tensor(np.full(3, 0.5))

        def step() -> Any:
            x.grad = None
            total = x * c
            for _ in range(count - 1):
                total = total + x
            total.sum().backward()
            return [x.grad]

        return step

    def by_hand() -> Step:
        def step() -> Any:
            x, c = np.ones(3), np.full(3, 0.5)
            total = x * c
            for _ in range(count - 1):
                total = total + x
            seed = np.ones(3)
            g = np.zeros(3)
            for _ in range(count - 1):
                g += seed
            return [g + seed * c]

        return step

    return {"tape": tape, "hand": by_hand}


def elementwise(count: int) -> Makers:
    """Twelve ops: three times multiply, tanh, add, sigmoid."""
    values = generator().normal(size=count)
    factor = np.full(count, 0.5)

    def tape(T: Any) -> Step:
        x, w = T.tensor(values, requires_grad=True), T.tensor(factor)

        def step() -> Any:
            x.grad = None
            y = x
            for _ in range(3):
                y = ((y * w).tanh() + w).sigmoid()
            y.sum().backward()
            return [x.grad]

        return step

    def by_hand() -> Step:
        def step() -> Any:
            y = values
            saved: list[tuple[Array, Array]] = []
            for _ in range(3):
                t = np.tanh(y * factor)
                y = 1 / (1 + np.exp(-(t + factor)))
                saved.append((t, y))
            float(y.sum())
            g = np.ones(count)
            while saved:
                t, s = saved.pop()
                g = g * (s * (1 - s))
                g = g * (1 - t * t)
                g = g * factor
            return [g]

        return step

    def functional(xp: Any, grad: Any) -> Step:
        w = xp.asarray(factor)

        def total(x: Any) -> Any:
            y = x
            for _ in range(3):
                y = 1 / (1 + xp.exp(-(xp.tanh(y * w) + w)))
            return xp.sum(y)

        gradient = grad(total)
        x = xp.asarray(values)
        return lambda: [gradient(x)]

    def mygrad(mg: Any) -> Step:
        def step() -> Any:
            x = mg.tensor(values)
            y = x
            for _ in range(3):
                y = 1 / (1 + mg.exp(-(mg.tanh(y * factor) + factor)))
            y.sum().backward()
            return [x.grad]

        return step

    return {"tape": tape, "hand": by_hand, "autograd": functional, "jax": functional, "mygrad": mygrad}
