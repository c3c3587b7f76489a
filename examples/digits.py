"""Handwritten digits: a two-layer classifier trained in mini-batches, in this process or over HTTP, to the same bits.

The data are 1,797 real 8x8 images, which scikit-learn ships. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49. The images go up once and stay with the session;
each step sends the numbers of its images and gets its loss back, in one round trip. With --compiled the step is traced once and is
a program from then on: the same bits, and a request of a few hundred bytes.

python examples/digits.py                                          in this process
python examples/digits.py --url http://127.0.0.1:8000              the same over HTTP
python examples/digits.py --url http://127.0.0.1:8000 --compiled   the same, as a program
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

import telegrad
import telegrad.nn.functional as F

try:
    import matplotlib as mpl
    from matplotlib import ticker
    from sklearn.datasets import load_digits
    from tqdm import tqdm

    mpl.use("Agg")  # draws into a file; needs no screen
    from matplotlib import pyplot as plt
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed, which this example needs: pip install 'telegrad[examples]'")

TRAINING_IMAGES = 1437  # four fifths; the other 360 are for the test
HIDDEN = 64
BATCH = 64
LEARNING_RATE = 0.2
MOMENTUM = 0.9
WANTED_ACCURACY = 0.97


@dataclass
class History:
    """What a training run leaves behind: a loss per step, two accuracies per epoch, and the test images' classes as told."""

    losses: list[float] = field(default_factory=list)
    training_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """Time spent in steps, evaluations left out."""


class Classifier:
    """64 pixels -> HIDDEN rectified units -> 10 classes, trained by gradient descent with momentum."""

    def __init__(self) -> None:
        """Draw the weights from the session's generator, at the scale of He et al. (2015), arXiv:1502.01852."""
        self.weight1 = telegrad.randn(HIDDEN, 64) * math.sqrt(2 / 64)
        self.bias1 = telegrad.zeros(HIDDEN)
        self.weight2 = telegrad.randn(10, HIDDEN) * math.sqrt(1 / HIDDEN)
        self.bias2 = telegrad.zeros(10)
        self.parameters = [p.requires_grad_() for p in (self.weight1, self.bias1, self.weight2, self.bias2)]
        self.velocities = [telegrad.zeros_like(p) for p in self.parameters]

    def logits(self, images: telegrad.Tensor) -> telegrad.Tensor:
        """Unnormalised log-probabilities: [n, 64] -> [n, 10]."""
        hidden = F.relu(F.linear(images, self.weight1, self.bias1))
        return F.linear(hidden, self.weight2, self.bias2)

    def step(self, images: telegrad.Tensor, classes: telegrad.Tensor) -> telegrad.Tensor:
        """One step of descent on a batch; its loss. Only reading that needs an answer, so all of it is one request."""
        loss = F.cross_entropy(self.logits(images), classes)
        loss.backward()
        with telegrad.no_grad():
            for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
                assert parameter.grad is not None
                velocity.mul_(MOMENTUM).add_(parameter.grad)
                parameter -= LEARNING_RATE * velocity
                parameter.grad = None
        return loss

    def classify(self, images: telegrad.Tensor) -> npt.NDArray[np.int64]:
        """The likeliest class of each image: [n, 64] -> [n]."""
        with telegrad.no_grad():
            found: npt.NDArray[np.int64] = self.logits(images).argmax(dim=1).numpy()
        return found


def shuffled_digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """All images [1797, 64] in [0, 1] and their classes [1797], in an order that is the same every time."""
    pixels, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(classes))
    return (pixels[order] / 16).astype(np.float32), classes[order].astype(np.int64)


def train(session: telegrad.Session, epochs: int, seed: int, *, compiled: bool = False) -> History:
    """Train in the session, showing progress, with the step as a program if ``compiled``; what was seen on the way."""
    image_values, class_values = shuffled_digits()
    training_classes, test_classes = np.split(class_values, [TRAINING_IMAGES])
    rng = np.random.default_rng(seed)
    history = History()

    with session:
        telegrad.manual_seed(seed)
        images, classes = telegrad.tensor(image_values), telegrad.tensor(class_values)
        classifier = Classifier()
        step = telegrad.function(classifier.step) if compiled else classifier.step
        with tqdm(total=epochs * -(-TRAINING_IMAGES // BATCH), unit="step", disable=None) as progress:
            for _ in range(epochs):
                order = rng.permutation(TRAINING_IMAGES)
                started = time.perf_counter()
                for first in range(0, TRAINING_IMAGES, BATCH):
                    batch = telegrad.tensor(order[first : first + BATCH])
                    history.losses.append(float(step(images[batch], classes[batch]).item()))
                    progress.update()
                history.seconds += time.perf_counter() - started

                told = classifier.classify(images)
                history.training_accuracy.append(float(np.mean(told[:TRAINING_IMAGES] == training_classes)))
                history.test_accuracy.append(float(np.mean(told[TRAINING_IMAGES:] == test_classes)))
                history.told = told[TRAINING_IMAGES:].tolist()
                progress.set_postfix(loss=f"{history.losses[-1]:.3f}", test=f"{history.test_accuracy[-1]:.1%}")
    return history


def draw(history: History, path: Path) -> None:
    """Loss, accuracy and some of the test images with what the classifier takes them for, as one picture."""
    figure = plt.figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[3, 1.3])[:, 0]
    loss_axes, accuracy_axes = above.subplots(1, 2)

    epochs = len(history.test_accuracy)
    steps_per_epoch = len(history.losses) // epochs
    loss_axes.semilogy(history.losses, color="0.75", linewidth=0.8, label="each step")
    means = np.reshape(history.losses, (epochs, steps_per_epoch)).mean(axis=1)
    loss_axes.semilogy((np.arange(epochs) + 0.5) * steps_per_epoch, means, color="C0", label="mean of an epoch")
    loss_axes.set(title="Loss (cross-entropy)", xlabel="step")
    loss_axes.legend()

    numbers = np.arange(1, epochs + 1)
    accuracy_axes.plot(numbers, history.training_accuracy, color="C1", marker=".", label="training images")
    accuracy_axes.plot(numbers, history.test_accuracy, color="C0", marker=".", label="test images")
    accuracy_axes.axhline(WANTED_ACCURACY, color="0.6", linestyle=":", label=f"{WANTED_ACCURACY:.0%}")
    accuracy_axes.set(title=f"Accuracy: {history.test_accuracy[-1]:.1%} of the test images", xlabel="epoch", ylim=(0.8, 1.005))
    accuracy_axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    accuracy_axes.yaxis.set_major_locator(ticker.MultipleLocator(0.05))
    accuracy_axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
    accuracy_axes.legend(loc="lower right")

    # The mistakes first: they are the interesting ones.
    pixels, classes = (values[TRAINING_IMAGES:] for values in shuffled_digits())
    chosen = np.argsort(np.array(history.told) == classes, kind="stable")[:12]
    below.suptitle("Test images, the mistakes first", fontsize="medium")
    for axes, number in zip(below.subplots(1, 12), chosen, strict=True):
        axes.imshow(pixels[number].reshape(8, 8), cmap="gray_r")
        right = history.told[number] == classes[number]
        axes.set_title(f"{history.told[number]}" if right else f"{history.told[number]}, not {classes[number]}", fontsize="small")
        axes.title.set_color("black" if right else "C3")
        axes.axis("off")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def print_table(history: History) -> None:
    """Every few epochs and the last one, then the totals."""
    epochs = len(history.test_accuracy)
    steps_per_epoch = len(history.losses) // epochs
    print("epoch   mean loss   training     test")
    for epoch in sorted({*range(0, epochs, max(1, epochs // 5)), epochs - 1}):
        mean = np.mean(history.losses[epoch * steps_per_epoch : (epoch + 1) * steps_per_epoch])
        print(f"{epoch + 1:5d}{mean:12.4f}{history.training_accuracy[epoch]:11.2%}{history.test_accuracy[epoch]:9.2%}")
    print(f"{len(history.losses)} steps in {history.seconds:.1f} s: {len(history.losses) / history.seconds:.0f} steps/s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train where the command line says; 0 if the accuracy that was asked for is reached."""
    parser = argparse.ArgumentParser(description="A classifier of handwritten digits, trained in this process or over HTTP.")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--url", help="train on the telegrad service there")
    place.add_argument("--local", action="store_true", help="train in this process (the default)")
    parser.add_argument("--compiled", action="store_true", help="trace the step once, and run it as a program")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="for the weights and the order of the images (default 0)")
    parser.add_argument(
        "--accuracy", type=float, default=WANTED_ACCURACY, help="exit 1 if the test accuracy is lower (default 0.97)"
    )
    parser.add_argument("--plot", type=Path, default=Path(__file__).parent / "output" / "digits.png", help="where the picture goes")
    parser.add_argument("--losses", type=Path, help="write each step's loss there, bit-exactly, a line a step")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")

    session = telegrad.connect(options.url) if options.url else telegrad.local()
    history = train(session, options.epochs, options.seed, compiled=options.compiled)
    print_table(history)
    draw(history, options.plot)
    print(f"picture: {options.plot}")
    if options.losses:
        options.losses.write_text("".join(f"{loss.hex()}\n" for loss in history.losses), encoding="ascii")

    reached = history.test_accuracy[-1]
    print(f"test accuracy {reached:.2%}, wanted at least {options.accuracy:.2%}")
    return 0 if reached >= options.accuracy else 1


if __name__ == "__main__":
    sys.exit(main())
