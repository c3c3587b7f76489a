"""Second order: a Hessian, and a Hessian times a vector."""

from __future__ import annotations

from typing import Any

from benchmarks.engine.kinds import Makers, Step, generator


def _rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def hessian() -> Makers:
    """The Hessian, its rows together."""
    point = generator().normal(size=50)

    def tape(T: Any) -> Step:
        x = T.tensor(point)
        return lambda: [T.autograd.functional.hessian(_rosenbrock, x, vectorize=True)]

    return {"tape": tape}


def hessian_vector() -> Makers:
    """The gradient's gradient times a vector."""
    rng = generator()
    point, direction = rng.normal(size=10_000), rng.normal(size=10_000)

    def tape(T: Any) -> Step:
        x, v = T.tensor(point, requires_grad=True), T.tensor(direction)

        def step() -> Any:
            (g,) = T.autograd.grad(_rosenbrock(x), (x,), create_graph=True)
            return [T.autograd.grad(g, (x,), v)[0]]

        return step

    return {"tape": tape}
