"""Random histories of commands: graphs, views, writes into them, gradients of gradients, programs, mistakes of all kinds.

Commands are chosen with an eye on the session, so that most of them are possible; those that are not must fail alike everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from telegrad.contract import codec
from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import TelegradError
from telegrad_service.session.session import BatchAnswer, Session

Command = dict[str, Any]

UNARY = ("exp", "sin", "tanh", "relu", "neg", "abs", "sigmoid", "clone", "square")
BINARY = ("add", "sub", "mul", "div", "maximum", "matmul")
REDUCTIONS = ("sum", "mean", "prod", "cumsum", "amax", "softmax", "sort")
IN_PLACE = ("add_", "mul_", "sub_", "copy_", "exp_", "fill_", "tanh_")
SHAPES = ((), (3,), (2, 3), (3, 3), (3, 2), (2, 3, 3), (0, 3))


class History:
    """Makes up what happens next to a session.

    Attributes:
        dice: decides; histories from equal dice on equal sessions are equal.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self._made = 0

    def command(self, session: Session) -> Command:
        """One command."""
        dice = self.dice
        names = list(session.names)
        if len(names) < 3 or dice.random() < 0.12:
            return self._create()
        if len(names) > 40:
            return {"command": "release", "tensors": dice.sample(names, 15)}
        choices = (self._apply, self._view, self._in_place, self._backward, self._grad, self._set, self._read, self._other)
        return dice.choices(choices, (8, 5, 4, 3, 2, 3, 2, 2))[0](session, names)

    def batch(self, session: Session) -> list[Command]:
        """Some commands that were possible one after the other when they were made up."""
        return [self.command(session) for _ in range(self.dice.randint(1, 6))]

    def _new(self) -> str:
        self._made += 1
        return f"h{self._made}"

    def _numbers(self, shape: tuple[int, ...]) -> Any:
        rng = np.random.default_rng(self.dice.randrange(2**32))
        return np.round(rng.normal(size=shape), 3).tolist()

    def _create(self) -> Command:
        dice = self.dice
        kind = dice.choice(("float32", "float64", "float32", "complex64", "int64"))
        shape = dice.choice(SHAPES)
        command: Command = {"command": "create", "id": self._new(), "data": self._numbers(shape), "dtype": kind}
        if kind == "int64":
            command["data"] = np.random.default_rng(dice.randrange(2**32)).integers(-5, 5, shape).tolist()
        elif dice.random() < 0.6:
            command["requires_grad"] = True
        return command

    def _apply(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        kind = dice.random()
        parameters: dict[str, Any] = {}
        inputs: list[Any]
        if kind < 0.35:
            op, inputs = dice.choice(UNARY), [dice.choice(names)]
        elif kind < 0.75:
            op, inputs = dice.choice(BINARY), [dice.choice(names), dice.choice([*names, 2, 0.5])]
        elif kind < 0.9:
            op, inputs, parameters = dice.choice(REDUCTIONS), [dice.choice(names)], {"dim": dice.choice((0, -1, 1))}
        elif kind < 0.95:
            op, inputs, parameters = "dropout", [dice.choice(names)], {"p": 0.4}
        else:
            op, inputs, parameters = "cat", [dice.choice(names), dice.choice(names)], {"dim": 0}
        command: Command = {"command": "apply", "op": op, "inputs": inputs, "parameters": parameters}
        if dice.random() < 0.8:
            command["outputs"] = [self._new()]
        if dice.random() < 0.1:
            command["grad_enabled"] = False
        if dice.random() < 0.1:
            command["scope"] = "part/of"
        return command

    def _view(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        name = dice.choice(names)
        shape = session.names[name].array.shape
        dim = dice.randrange(-1, max(len(shape), 1))
        options: list[tuple[str, dict[str, Any]]] = [
            ("transpose", {"dim0": 0, "dim1": -1}),
            ("reshape", {"shape": [-1]}),
            ("view", {"shape": [-1]}),
            ("narrow", {"dim": dim, "start": 0, "length": dice.choice((0, 1, 2))}),
            ("getitem", {"index": [{"slice": [dice.choice((None, 1)), None, dice.choice((None, 2))]}]}),
            ("getitem", {"index": [dice.choice((0, -1, None))]}),
            ("unsqueeze", {"dim": 0}),
            ("expand", {"size": [2, *shape]}),
            ("detach", {}),
            ("unbind", {"dim": 0}),
            ("diagonal", {}),
        ]
        op, parameters = dice.choice(options)
        made = [self._new() for _ in range(2 if op == "unbind" else 1)]
        command: Command = {"command": "apply", "op": op, "inputs": [name], "parameters": parameters, "outputs": made}
        if dice.random() < 0.1:
            command["grad_enabled"] = False
        return command

    def _in_place(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        op = dice.choice(IN_PLACE)
        inputs: list[Any] = [dice.choice(names)]
        if op in ("add_", "mul_", "sub_", "copy_", "fill_"):
            inputs.append(dice.choice([*names, 0.5]) if op != "copy_" else dice.choice(names))
        command: Command = {"command": "apply", "op": op, "inputs": inputs}
        if dice.random() < 0.3:
            command["grad_enabled"] = False
        return command

    def _roots(self, session: Session, names: list[str]) -> list[str]:
        able = [n for n in names if _requires(session, n)] or names
        return self.dice.sample(able, min(len(able), self.dice.choice((1, 1, 2))))

    def _vectors(self, session: Session, roots: list[str]) -> list[str | None]:
        """For each root a tensor of its shape and type, where there is one."""
        found: list[str | None] = []
        for root in roots:
            like = session.names[root].array
            able = [n for n, t in session.names.items() if t.array.shape == like.shape and t.array.dtype == like.dtype]
            found.append(None if like.size == 1 and self.dice.random() < 0.5 else self.dice.choice(able))
        return found

    def _backward(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        roots = self._roots(session, names)
        command: Command = {"command": "backward", "tensors": roots, "grad_tensors": self._vectors(session, roots)}
        if dice.random() < 0.5:
            command["retain_graph"] = True
        if dice.random() < 0.15:
            command["create_graph"] = True
        return command

    def _grad(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        roots = self._roots(session, names)
        wanted = self._roots(session, names)
        return {
            "command": "grad",
            "outputs": roots,
            "inputs": wanted,
            "grad_outputs": self._vectors(session, roots),
            "results": [self._new() for _ in wanted],
            "create_graph": dice.random() < 0.5,
            "retain_graph": True,
            "allow_unused": True,
        }

    def _set(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        command: Command = {"command": "set", "tensor": dice.choice(names)}
        kind = dice.randrange(6)
        if kind == 0:
            command["requires_grad"] = dice.random() < 0.8
        elif kind == 1:
            command["grad"] = None if dice.random() < 0.5 else dice.choice(names)
        elif kind == 2:
            command["retain_grad"] = True
        elif kind == 3:
            command["detach"] = True
        elif kind == 4:
            like = session.names[command["tensor"]].array
            command["data"] = dice.choice([n for n, t in session.names.items() if t.array.shape == like.shape])
        else:
            command["name"] = self._new()
        return command

    def _read(self, session: Session, names: list[str]) -> Command:
        name = self.dice.choice(names)
        if self.dice.random() < 0.3:
            name += ".grad"
        return {"command": "read", "tensor": name, "encoding": self.dice.choice(("json", "base64", "buffer"))}

    def _other(self, session: Session, names: list[str]) -> Command:
        dice = self.dice
        kind = dice.randrange(4)
        if kind == 0:
            return {"command": "seed", "seed": dice.randrange(2**40)}
        if kind == 1:
            shape = dice.choice(SHAPES[:4])
            return {"command": "apply", "op": "randn", "inputs": [], "parameters": {"size": list(shape)}, "outputs": [self._new()]}
        if kind == 2:
            program = self._program(session)
            return {"command": "run", "program": program, "inputs": {"x": dice.choice(names)}, "outputs": {"out": self._new()}}
        able = [n for n in names if _requires(session, n)] or names
        plain = [n for n in names if not _requires(session, n)] or names
        return {"command": "attach", "name": "Own", "inputs": [dice.choice(able)], "outputs": [dice.choice(plain)]}

    def _program(self, session: Session) -> str:
        commands = [
            {"command": "apply", "op": self.dice.choice(UNARY), "inputs": ["x"], "outputs": ["y"]},
            {"command": "apply", "op": "mul", "inputs": ["y", 0.5], "outputs": ["out"]},
        ]
        return session.store_program([decode_command(c) for c in commands], ["x"]).id


def _requires(session: Session, name: str) -> bool:
    try:
        return session.names[name].requires_grad
    except TelegradError:  # a view whose base got data of another shape
        return False


def do(session: Session, commands: list[Command], buffers: Mapping[str, Any] | None = None) -> BatchAnswer:
    """The commands as a batch."""
    return session.batch([decode_command(c) for c in commands], buffers)


def as_data(answer: BatchAnswer) -> Any:
    """All that an answer says, bits included, as something to compare."""
    failed = None if answer.failed is None else answer.failed.problem()
    arrays = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in answer.arrays.items()}
    return answer.applied, codec.dump_json(answer.results), failed, arrays


def everything(session: Session) -> Any:
    """All that can be seen of a session: descriptions, values, gradients, random numbers to come."""
    seen: list[Any] = []
    for name, tensor in session.names.items():
        gradient = tensor.kept_gradient
        shown = None if gradient is None else (gradient.dtype.name, gradient.array.shape, gradient.array.tobytes())
        try:
            described: Any = session.describe(name)
        except TelegradError as error:  # a view whose base got data of another shape
            described = error.problem()
        seen.append((described, tensor.array.tobytes(), shown))
    return seen, session.engine.generator.bit_generator.state, sorted(session.programs)
