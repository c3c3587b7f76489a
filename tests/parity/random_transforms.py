"""Random compositions of transforms: functions as text made from a seed, wrapped in grad, vjp, jvp, vmap, Jacobians and the like.

Every function takes ``x`` and ``y`` and returns one tensor, and its shapes are known, so that any transform fits on any function.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Final

Shape = tuple[int, ...]

SHAPES: Final[tuple[Shape, ...]] = ((), (2,), (3,), (2, 3), (3, 2), (1, 2))
LARGEST: Final = 400
"""No result has more elements."""

PREAMBLE: Final = """
class Product(T.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a, b):
        return a * b

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, g * a

    @staticmethod
    def jvp(ctx, s, t):
        a, b = ctx.saved_tensors
        return s * b + a * t


class Sine(T.autograd.Function):
    @staticmethod
    def forward(a):
        return a.sin(), a.cos()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx, g, _):
        (a,) = ctx.saved_tensors
        return g * a.cos()

    @staticmethod
    def jvp(ctx, t):
        (a,) = ctx.saved_tensors
        return t * a.cos(), None

    @staticmethod
    def vmap(info, in_dims, a):
        return Sine.apply(a), (in_dims[0], in_dims[0])
"""

UNARY: Final = (
    *(
        "{}.sin()",
        "{}.cos()",
        "{}.tanh()",
        "T.exp(-{}.abs())",
        "{} * {}",
        "{}.sigmoid()",
        "{}.relu()",
        "({} ** 2 + 1).sqrt()",
        "-{}",
    ),
    *(
        "{}.clone()",
        "T.where({} > 0, {}, 0.5 * {})",
        "{}.clamp(-1, 1)",
        "Sine.apply({})[0]",
        "Product.apply({}, {})",
        "{}.detach() * {}",
    ),
    *(
        "{}.cumsum(-1)",
        "T.softmax({}, -1)",
        "{}.flip(-1)",
        "{}.sort(-1)[0]",
        "{} - {}.mean(-1, keepdim=True)",
        "{}.logcumsumexp(-1)",
    ),
    *("{}.roll(1, -1)", "F.normalize({}, dim=-1)", "{}.cumprod(-1)", "T.nan_to_num({})", "{}.diff(dim=-1, prepend={}[..., :1])"),
    *("{} / (1 + {}.norm(dim=-1, keepdim=True))", "F.layer_norm({}, {}.shape[-1:])", "T.cat([{}[..., 1:], {}[..., :1]], -1)"),
    *("{}.unsqueeze(0).expand(3, *{}.shape).sum(0)", "T.stack([{}, {}]).amax(0)", "{}.movedim(-1, 0).movedim(0, -1)"),
    *("T.erf({})", "F.gelu({})", "F.softplus({})", "{}.log1p().nan_to_num()", "T.atan2({}, {}.cos() + 2)", "{}.cummax(-1)[0]"),
    *(
        "{}.index_select(-1, T.arange({}.shape[-1]).flip(0))",
        "{}.gather(-1, T.zeros_like({}, dtype=T.int64))",
        "{}.addcmul({}, {})",
    ),
)
BINARY: Final = (
    *("{} + {}", "{} - {}", "{} * {}", "{} / ({} ** 2 + 1)", "T.maximum({}, {})", "T.hypot({}, {} + 3)", "Product.apply({}, {})"),
    *("T.lerp({}, {}, 0.3)", "T.where({} > 0.1, {}, 0.2)", "T.logaddexp({}, {})", "F.mse_loss({}, {}, reduction='none')"),
    *("T.addcmul({}, {}, {})", "T.fmod({}, {}.abs() + 1)", "F.huber_loss({}, {}, reduction='none')"),
)


@dataclass(frozen=True)
class Function:
    """A name in the script, what it takes and what it gives."""

    name: str
    x: Shape
    y: Shape
    out: Shape


class Writer:
    """Writes one script, whose last name is ``result``; with ``writes``, of functions that change tensors in place."""

    def __init__(self, seed: int, *, writes: bool) -> None:
        self.random = random.Random(seed)
        self.writes = writes
        self.lines: list[str] = []
        self.count = 0

    def one(self, choices: Any) -> Any:
        """Any of them."""
        return self.random.choice(choices)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.random.random() < share

    def name(self, letter: str) -> str:
        """A new name."""
        self.count += 1
        return f"{letter}{self.count}"

    def define(self, body: list[str], x: Shape, y: Shape, out: Shape) -> Function:
        """A function with these lines."""
        name = self.name("f")
        self.lines += [f"def {name}(x, y):", *["    " + line for line in body]]
        return Function(name, x, y, out)

    # Functions ---------------------------------------------------------------------------------------------------------------

    def plain(self) -> Function:
        """A function made of ops."""
        shape, other = self.one(SHAPES[1:]), None
        other = self.one([shape, shape[-1:], shape, ()])
        body, here = [], ["x", "x", "y"]
        for _ in range(self.random.randint(1, 4)):
            name = self.name("v")
            if self.chance(0.5):
                form = self.one(UNARY)
                source = self.one([n for n in here if n != "y"])
            else:
                form, source = self.one(BINARY), None
            slots = form.count("{}")
            if source is None:
                names = [self.one([n for n in here if n != "y"])] + [self.one(here) for _ in range(slots - 1)]
                if names.count("y") and form.startswith(("F.", "Product")):
                    names = [n if n != "y" else f"(y + T.zeros_like({names[0]}))" for n in names]
            else:
                names = [source] * slots
            body.append(f"{name} = {form.format(*names)}")
            if self.writes and self.chance(0.25):
                body += [f"{name} = {name}.clone()", f"{name}.mul_({self.one(['y', '2', 'x'])})"]
            elif self.writes and self.chance(0.15):
                body += [f"{name} = {name}.clone()", f"{name}[..., 0] = {name}[..., -1] * 3"]
            here.append(name)
        last = here[-1]
        end, out = self.one(
            [(f"{last}", shape), (f"{last}.sum()", ()), (f"{last}.sum(-1)", shape[:-1]), (f"({last} * x).mean(0)", shape[1:])]
        )
        return self.define([*body, f"return {end}"], shape, other, out)

    def wrapped(self, f: Function) -> Function | None:
        """The function in a transform; None where that does not fit."""
        makers = (self.grad, self.jacobian, self.jacobian, self.vjp, self.jvp, self.vmap, self.vmap, self.vmap, self.rows)
        made: Function | None = self.one((*makers, self.hessian, self.linearized, self.through, self.value))(f)
        return made

    def argument(self, f: Function) -> tuple[int, Shape]:
        """One of the two."""
        return (0, f.x) if self.chance(0.7) else (1, f.y)

    def grad(self, f: Function) -> Function | None:
        """By ``grad``."""
        number, shape = self.argument(f)
        return self.define([f"return G.grad(lambda x, y: {f.name}(x, y).sum(), argnums={number})(x, y)"], f.x, f.y, shape)

    def value(self, f: Function) -> Function | None:
        """By ``grad_and_value`` with something beside."""
        body = [
            f"def with_aux(x, y): return {f.name}(x, y).sum(), x * 2",
            "(g, h), (v, beside) = G.grad_and_value(with_aux, argnums=(0, 1), has_aux=True)(x, y)",
            "return g * v + h.sum() + beside",
        ]
        return self.define(body, f.x, f.y, f.x)

    def jacobian(self, f: Function) -> Function | None:
        """By ``jacrev`` or ``jacfwd``."""
        number, shape = self.argument(f)
        out = (*f.out, *shape)
        if math.prod(out) > LARGEST:
            return None
        more = self.one(["", "", ", chunk_size=2"])
        how = self.one([f"G.jacrev({f.name}, {number}{more})", f"G.jacfwd({f.name}, {number})"])
        return self.define([f"return {how}(x, y)"], f.x, f.y, out)

    def hessian(self, f: Function) -> Function | None:
        """By ``hessian``."""
        number, shape = self.argument(f)
        out = (*f.out, *shape, *shape)
        if math.prod(out) > LARGEST:
            return None
        return self.define([f"return G.hessian({f.name}, {number})(x, y)"], f.x, f.y, out)

    def vjp(self, f: Function) -> Function | None:
        """By ``vjp``."""
        body = [f"out, pull = G.vjp({f.name}, x, y)", "a, b = pull(out.cos())", "return a + b.sum()"]
        return self.define(body, f.x, f.y, f.x)

    def jvp(self, f: Function) -> Function | None:
        """By ``jvp``."""
        along = self.one(["(x.cos(), y * 2)", "(T.ones_like(x), T.zeros_like(y))", "(x * y.sum(), T.ones_like(y))"])
        body = [f"out, change = G.jvp({f.name}, (x, y), {along})", f"return {self.one(['change', 'out * change'])}"]
        return self.define(body, f.x, f.y, f.out)

    def linearized(self, f: Function) -> Function | None:
        """By ``linearize``."""
        return self.define([f"out, push = G.linearize({f.name}, x, y)", "return push(x.cos(), y * 2)"], f.x, f.y, f.out)

    def vmap(self, f: Function) -> Function | None:
        """By ``vmap``."""
        size = self.random.randint(1, 3)
        if size * math.prod(f.out) > LARGEST:
            return None
        places = [self.random.randint(0, len(shape)) if self.chance(0.7) else None for shape in (f.x, f.y)]
        if places == [None, None]:
            places[0] = 0
        x, y = (_inserted(s, p, size) for s, p in zip((f.x, f.y), places, strict=True))
        out = self.random.randint(0, len(f.out))
        dims = tuple(p if p is None or self.chance(0.7) else p - len(s) for p, s in zip(places, (x, y), strict=True))
        more = self.one(["", "", f", out_dims={out}", f", out_dims={out - len(f.out) - 1}", ", chunk_size=2", ", chunk_size=1"])
        if "out" not in more:
            return self.define([f"return G.vmap({f.name}, in_dims={dims}{more})(x, y)"], x, y, (size, *f.out))
        # What has no rows, PyTorch puts in front whatever is asked.
        body = [
            f"def rowwise(a, b): return {f.name}(a, b) + 0 * (a.sum() + b.sum())",
            f"return G.vmap(rowwise, in_dims={dims}{more})(x, y)",
        ]
        return self.define(body, x, y, _inserted(f.out, out, size))

    def rows(self, f: Function) -> Function | None:
        """By ``vmap`` over rows of one argument, the other one being what the function refers to."""
        size = self.random.randint(1, 3)
        if size * math.prod(f.out) > LARGEST:
            return None
        return self.define([f"return G.vmap(lambda row: {f.name}(row, y))(x)"], (size, *f.x), f.y, (size, *f.out))

    def through(self, f: Function) -> Function | None:
        """By an op on what it gives."""
        form = self.one(["{}.sin()", "{} * 2", "{} * {}.detach()", "T.exp(-{} * {})"])
        return self.define([f"v = {f.name}(x, y)", f"return {form.format('v', 'v')}"], f.x, f.y, f.out)

    # Scripts -----------------------------------------------------------------------------------------------------------------

    def script(self) -> tuple[list[str], Shape, Shape]:
        """The lines, and the shapes of ``x`` and ``y``."""
        f = self.plain()
        for _ in range(self.random.randint(1, 3)):
            f = self.wrapped(f) or f
        self.lines.append(f"result = {f.name}(x, y)")
        return self.lines, f.x, f.y


def _inserted(shape: Shape, place: int | None, size: int) -> Shape:
    return shape if place is None else (*shape[:place], size, *shape[place:])
