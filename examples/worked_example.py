"""Two numbers, one formula, its gradients: the smallest whole example, with what PyTorch would print.

python examples/worked_example.py                               in this process
python examples/worked_example.py --url http://127.0.0.1:8000   the same over HTTP
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import telegrad
from telegrad.autograd import grad


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example where the command line says."""
    parser = argparse.ArgumentParser(description="The worked example: y = x1**2 + 5*x2 and its gradients.")
    parser.add_argument("--url", help="a telegrad service; without it, everything happens in this process")
    url = parser.parse_args(arguments).url

    with telegrad.connect(url) if url else telegrad.local() as session:
        x1 = telegrad.tensor(0.3939, requires_grad=True)
        x2 = telegrad.tensor(0.7965, requires_grad=True)
        y = x1**2 + 5 * x2
        print("y =", y)

        # grad() returns the gradients and accumulates nothing. retain_graph keeps the graph for backward() below.
        print("grad(y, (x1, x2)) =", grad(y, (x1, x2), telegrad.ones_like(y), retain_graph=True))
        print("x1.grad =", x1.grad)

        # backward() accumulates into .grad and returns nothing.
        y.backward(telegrad.ones_like(y))
        print("after y.backward(): x1.grad =", x1.grad, "x2.grad =", x2.grad)

        try:
            y.backward(telegrad.ones_like(y))
            session.flush()  # over HTTP, what only the server can know comes with its answer
        except RuntimeError as error:
            print("a second y.backward():", str(error).partition(".")[0])


if __name__ == "__main__":
    main()
