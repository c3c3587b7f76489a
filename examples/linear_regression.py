"""Four straight lines at once: the least-squares fits of Anscombe's quartet, found by gradient descent.

The four data sets look nothing alike and have the same line, y = 3.00 + 0.500 x. Source: F. J. Anscombe, "Graphs in Statistical
Analysis", The American Statistician 27(1), 1973. No value is read inside the loop, so over HTTP the steps travel together, many to
a request.

python examples/linear_regression.py                               in this process
python examples/linear_regression.py --url http://127.0.0.1:8000   the same over HTTP
With --compiled a step is a program, traced once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import telegrad
from telegrad.autograd import grad

SHARED_X = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
X = np.array([SHARED_X, SHARED_X, SHARED_X, [8, 8, 8, 8, 8, 8, 8, 19, 8, 8, 8]], np.float32)
Y = np.array(
    [
        [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68],
        [9.14, 8.14, 8.74, 8.77, 9.26, 8.10, 6.13, 3.10, 9.13, 7.26, 4.74],
        [7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73],
        [6.58, 5.76, 7.71, 8.84, 8.47, 7.04, 5.25, 12.50, 5.56, 7.91, 6.89],
    ],
    np.float32,
)
STEPS = 60
LEARNING_RATE = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, compare with the closed form, print the table."""
    parser = argparse.ArgumentParser(description="Anscombe's four lines by gradient descent.")
    parser.add_argument("--url", help="a telegrad service; without it, everything happens in this process")
    parser.add_argument("--compiled", action="store_true", help="trace the step once, and run it as a program")
    options = parser.parse_args(arguments)
    url = options.url

    with telegrad.connect(url) if url else telegrad.local():
        x, y = telegrad.tensor(X), telegrad.tensor(Y)  # [4, 11]: one row per data set
        # With x centred and scaled, every direction of the loss curves alike and plain descent needs few steps.
        centre = x.mean(dim=1, keepdim=True)
        spread = x.std(dim=1, keepdim=True)
        z = (x - centre) / spread

        slope = telegrad.zeros(4, 1, requires_grad=True)
        height = telegrad.zeros(4, 1, requires_grad=True)

        def step() -> None:
            errors = slope * z + height - y
            loss = (errors**2).mean(dim=1).sum()
            gradients = grad(loss, (slope, height))
            with telegrad.no_grad():
                for parameter, gradient in zip((slope, height), gradients, strict=True):
                    parameter -= LEARNING_RATE * gradient

        run = telegrad.function(step) if options.compiled else step
        for _ in range(STEPS):
            run()

        with telegrad.no_grad():
            slopes = slope / spread
            intercepts = height - slopes * centre
            found = telegrad.cat((intercepts, slopes), dim=1).numpy()  # [4, 2]

    print("set   intercept   slope    by closed form")
    for number, ((intercept, slope_found), x_row, y_row) in enumerate(zip(found, X, Y, strict=True), start=1):
        exact_slope, exact_intercept = np.polyfit(x_row.astype(np.float64), y_row.astype(np.float64), 1)
        print(f"{number:3d}{intercept:12.4f}{slope_found:9.4f}{exact_intercept:12.4f}{exact_slope:9.4f}")
        assert abs(intercept - exact_intercept) < 1e-3
        assert abs(slope_found - exact_slope) < 1e-3


if __name__ == "__main__":
    main()
