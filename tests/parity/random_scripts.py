"""Random scripts: text made from a seed that runs alike in PyTorch and in each place of telegrad; and what each line changed.

Left out is what is known to differ: complex conjugates, which PyTorch carries out later; an index that is a tensor of no
dimensions; shapes changed in place; comparisons in place; ``contiguous``, which makes a copy remotely.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tests.parity.script_runs import namespace, run_line


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TYPES: Final = ("float32", "float32", "float32", "float64", "float64", "int64", "bool", "complex64", "complex128", "int32", "uint8")
SHAPES: Final = ((), (1,), (2,), (3,), (2, 3), (3, 2), (1, 3), (2, 1), (2, 2), (3, 3), (2, 3, 2), (0,), (2, 0))

UNARY: Final = _words(
    """
    exp log sqrt sin cos tanh sigmoid relu neg abs square reciprocal rsqrt floor round sign log1p expm1 tan atan asin sinh cosh
    erf trunc frac clone positive conj angle isnan isfinite logical_not bitwise_not exp2 log2 log10 sgn nan_to_num softplus_
    lgamma digamma erfc signbit deg2rad logit cumsum_0 float double int long bool detach tril_ triu_ ravel alias_ resolve_conj
    """
)
BINARY: Final = ("+", "-", "*", "/", "**", "//", "%", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^", "@")
BINARY_FUNCTIONS: Final = _words(
    """
    add sub mul div pow maximum minimum atan2 fmod remainder where logaddexp hypot fmax fmin xlogy copysign matmul lerp addcmul
    addcdiv dot mv mm outer inner cat stack logical_and logical_or cross dist vdot kron float_power true_divide floor_divide
    heaviside
    """
)
REDUCTIONS: Final = _words(
    """
    sum mean prod max min amax amin argmax argmin std var norm logsumexp any all cumsum cumprod softmax log_softmax median sort
    topk nansum aminmax count_nonzero cummax flip roll diff std_mean var_mean mode nanmedian kthvalue logcumsumexp argsort
    """
)
IN_PLACE_UNARY: Final = _words(
    """
    exp_ sin_ cos_ tanh_ sigmoid_ relu_ neg_ abs_ square_ sqrt_ zero_ floor_ reciprocal_ detach_ round_ erf_
    """
)
IN_PLACE_BINARY: Final = _words(
    """
    add_ sub_ mul_ div_ copy_ pow_ fmod_ remainder_ atan2_ floor_divide_
    """
)


class Writer:
    """Writes a script, and runs it as it writes, so that it knows the shapes of what is there."""

    def __init__(self, seed: int, library: Any) -> None:
        self.random = random.Random(seed)
        self.names: dict[str, Any] = namespace(library)
        self.lines: list[str] = []
        self.made = 0
        self.handles = 0

    # Choices
    # ----------------------------------------------------------------------------------------------------------------

    def one(self, *choices: Any) -> Any:
        """Any of them."""
        return self.random.choice(choices)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.random.random() < share

    def tensors(self) -> list[str]:
        """Names of the tensors so far."""
        return [name for name in self.names if name[0] == "v" and name[1:].isdigit()]

    def tensor(self, want: Callable[[Any], bool] = lambda _: True) -> str:
        """A tensor's name, of those wanted if there are any; later ones are likelier."""
        names = self.tensors()
        fitting = [name for name in names if want(self.names[name])] or names
        return self.random.choice(fitting[-4:] if self.chance(0.5) else fitting)

    def like(self, name: str) -> str:
        """Something to combine a tensor with: mostly one that broadcasts."""
        if self.chance(0.25):
            return self.number()
        shape = tuple(self.names[name].shape)

        def fits(x: Any) -> bool:
            try:
                np.broadcast_shapes(shape, tuple(x.shape))
            except ValueError:
                return False
            return True

        return self.tensor(fits if self.chance(0.9) else lambda _: True)

    def number(self) -> str:
        """A Python number."""
        return str(self.one(2, 3, -1, 0, 0.5, 2.0, -1.5, 1, True, "(1+2j)" if self.chance(0.3) else 3))

    def dim(self, name: str) -> int:
        """A dimension of the tensor; seldom one that it does not have."""
        n = len(self.names[name].shape)
        if self.chance(0.04):
            return n + 1
        return self.random.randrange(-n, n) if n else self.one(0, -1)

    def index(self, name: str) -> str:
        """An index into the tensor."""
        shape = self.names[name].shape
        parts: list[str] = []
        for size in shape:
            kind = self.random.random()
            if kind < 0.3 and size:
                parts.append(str(self.random.randrange(-size, size)))
            elif kind < 0.55:
                parts.append(self.one(":", "1:", ":-1", "::2", ":1", "0:2"))
            elif kind < 0.62:
                parts.append("None")
                parts.append(":")
            elif kind < 0.72 and size:
                parts.append(str([self.random.randrange(size) for _ in range(self.one(1, 2, 3))]))
            elif kind < 0.8 and size:
                parts.append(f"T.tensor({[self.random.randrange(size) for _ in range(2)]})")
            elif kind < 0.86:
                parts.append(f"T.tensor({[self.chance(0.5) for _ in range(size)]}, dtype=T.bool)")
            elif kind < 0.93:
                parts.append("...")
                break
            else:
                break
        if self.chance(0.03):
            parts.append("5")
        if not parts:
            return self.one("...", "None", ":" if shape else "...")
        if self.chance(0.06):
            parts.insert(0, "...") if "..." not in parts else None
        if self.chance(0.04):
            return f"{name} > 0"
        return ", ".join(parts)

    # Lines
    # ----------------------------------------------------------------------------------------------------------------

    def new(self) -> str:
        """A new tensor."""
        dtype = self.random.choice(TYPES)
        shape = self.random.choice(SHAPES)
        count = int(np.prod(shape))
        if dtype == "bool":
            values: list[Any] = [self.chance(0.5) for _ in range(count)]
        elif dtype in ("int64", "int32", "uint8"):
            values = [self.random.randrange(0 if dtype == "uint8" else -3, 5) for _ in range(count)]
        elif dtype.startswith("complex"):
            values = [complex(self.random.randrange(-8, 9) / 4, self.random.randrange(-8, 9) / 4) for _ in range(count)]
        else:
            values = [self.random.randrange(-8, 12) / 4 for _ in range(count)]
        needs = ", requires_grad=True" if self.chance(0.6 if dtype[0] in "fc" else 0.04) else ""
        text = f"T.tensor({np.array(values, dtype=object).reshape(shape).tolist()}, dtype=T.{dtype}{needs})"
        return self.assign(text)

    def assign(self, text: str) -> str:
        """Give it a name."""
        self.made += 1
        return f"v{self.made} = {text}"

    def unary(self) -> str:
        """A function of one tensor."""
        name = self.random.choice(UNARY)
        a = self.tensor()
        if name == "softplus_":
            return self.assign(f"F.{self.one('softplus', 'gelu', 'silu', 'leaky_relu', 'elu', 'relu', 'mish')}({a})")
        if name == "cumsum_0":
            return self.assign(f"{a}.{self.one('cumsum', 'cumprod')}({self.dim(a)})")
        if name == "alias_":
            return self.assign(f"{a}.{self.one('view_as', 'expand_as', 'reshape_as')}({self.like(a)})")
        if name == "conj" and self.names[a].dtype.is_complex:
            name = "neg"  # PyTorch's conjugate waits to be carried out, and is a view; ours is carried out
        if name in ("tril_", "triu_"):
            name = name[:-1]
        dtype = self.chance(0.05)
        if dtype:
            return self.assign(f"{a}.to(T.{self.random.choice(TYPES)})")
        if self.chance(0.05):
            return self.assign(f"Cube.apply({a})")
        return self.assign(f"T.{name}({a})" if self.chance(0.3) and hasattr(self.names["T"], name) else f"{a}.{name}()")

    def binary(self) -> str:
        """A function of two."""
        a = self.tensor()
        b = self.like(a)
        if self.chance(0.65):
            if self.chance(0.2):
                a, b = b, a
            return self.assign(f"{a} {self.random.choice(BINARY)} {b}")
        name = self.random.choice(BINARY_FUNCTIONS)
        if name == "where":
            return self.assign(f"T.where({self.tensor()} > 0, {a}, {b})")
        if name == "lerp":
            return self.assign(f"T.lerp({a}, {b}, {self.one('0.5', self.like(a))})")
        if name in ("addcmul", "addcdiv"):
            return self.assign(f"T.{name}({a}, {b}, {self.like(a)}, value={self.number()})")
        if name in ("add", "sub"):
            return self.assign(f"T.{name}({a}, {b}, alpha={self.number()})")
        if name == "div":
            return self.assign(f"T.div({a}, {b}, rounding_mode={self.one(None, repr('floor'), repr('trunc'))})")
        if name in ("cat", "stack"):
            dim = "" if self.chance(0.6) else f", {self.dim(a)}"
            return self.assign(f"T.{name}([{a}, {b}, {a}]{dim})")
        return self.assign(f"T.{name}({a}, {b})")

    def reduction(self) -> str:
        """A function along a dimension, or of all elements."""
        a = self.tensor()
        name = self.random.choice(REDUCTIONS)
        needs_dim = name in ("logsumexp", "cumsum", "cumprod", "softmax", "log_softmax", "cummax", "flip", "roll", "logcumsumexp")
        args: list[str] = []
        if name == "topk":
            args.append(str(self.one(0, 1, 2)))
        if name == "kthvalue":
            args.append(str(self.one(1, 2)))
        if name == "roll":
            args.append(str(self.one(1, -1)))
        if needs_dim or self.chance(0.6):
            if name in ("sum", "mean", "amax", "amin", "std", "var", "logsumexp", "nansum", "flip") and self.chance(0.3):
                args.append(f"({self.dim(a)}, {self.dim(a)})")
            elif name in ("diff", "norm"):
                args.append(f"dim={self.dim(a)}")
            else:
                args.append(str(self.dim(a)) if not self.chance(0.5) or name in ("flip", "roll") else f"dim={self.dim(a)}")
            if name in [
                "sum",
                "mean",
                "prod",
                "max",
                "min",
                "amax",
                "amin",
                "std",
                "var",
                "norm",
                "logsumexp",
                "any",
                "all",
                "argmax",
                "median",
                "mode",
            ] and self.chance(0.3):
                args.append("keepdim=True")
        if name in ("std", "var", "std_mean") and self.chance(0.3):
            args.append(f"unbiased={self.chance(0.5)}" if self.chance(0.5) else f"correction={self.one(0, 1, 2)}")
        text = f"{a}.{name}({', '.join(args)})" if hasattr(self.names[a], name) else f"T.{name}({', '.join([a, *args])})"
        return self.assign(text)

    def view(self) -> str:
        """A view, or what may be one."""
        a = self.tensor()
        n = len(self.names[a].shape)
        d, e = self.dim(a), self.dim(a)
        text = self.one(
            f"{a}[{self.index(a)}]",
            f"{a}[{self.index(a)}]",
            f"{a}[{self.index(a)}]",
            f"{a}.view(-1)",
            f"{a}.reshape(-1)",
            f"{a}.reshape({self.one('1, -1', '-1, 1', '2, -1', '3, 2')})",
            f"{a}.transpose({d}, {e})",
            f"{a}.{self.one('t()', 'T', 'mT', 'H' if not self.names[a].dtype.is_complex else 'mT')}",
            f"{a}.permute({', '.join(map(str, self.random.sample(range(n), n)))})" if n else f"{a}.permute()",
            f"{a}.unsqueeze({d})",
            f"{a}.squeeze({self.one('', d)})",
            f"{a}.expand(2, {', '.join(['-1'] * n)})" if n else f"{a}.expand(2)",
            f"{a}.select({d}, 0)",
            f"{a}.narrow({d}, 0, 1)",
            f"{a}.diagonal()",
            f"{a}.unbind({self.one('', d)})",
            f"{a}.split(1, {d})",
            f"{a}.split([1, 1], {d})",
            f"{a}.chunk(2, {d})",
            f"{a}.detach()",
            f"{a}.data",
            f"{a}.{self.one('real', 'imag')}",
            f"T.view_as_real({a})",
            f"T.view_as_complex({a})",
            f"{a}.flatten()",
            f"{a}.movedim(0, -1)",
            f"{a}.unfold({d}, 1, 1)",
            f"{a}.view({a}.shape)",
            f"{a}.broadcast_to((2,) + tuple({a}.shape))",
            f"{a}.tensor_split(2, {d})",
            f"{a}.view_as({a})",
            f"{a}.swapaxes({d}, {e})",
            f"{a}.ravel()",
            f"T.atleast_2d({a})",
            f"{a}.repeat(2, {', '.join(['1'] * n)})" if n else f"{a}.repeat(2)",
            f"{a}.index_select({d}, T.tensor([0, 0]))",
            f"{a}.gather({d}, T.zeros_like({a}, dtype=T.int64))",
            f"{a}.masked_select({a} > 0)",
            f"{a}.take(T.tensor([0, 0]))",
            f"T.diag({a})",
        )
        line = self.assign(text)
        if any(f".{word}(" in text for word in ("unbind", "split", "chunk", "tensor_split")):
            line += f"[{self.one(0, 0, 0, -1)}]"
        return line

    def write(self) -> str:
        """A change in place."""
        a = self.tensor()
        b = self.like(a)
        kind = self.random.random()
        if kind < 0.25:
            return f"{a}.{self.random.choice(IN_PLACE_UNARY)}()"
        if kind < 0.45:
            return f"{a}.{self.random.choice(IN_PLACE_BINARY)}({b})"
        if kind < 0.6:
            return f"{a} {self.one('+=', '-=', '*=', '/=', '**=')} {b}"
        if kind < 0.85:
            return f"{a}[{self.index(a)}] = {self.one(b, self.number(), self.number())}"
        if kind < 0.9:
            return f"{a}[{self.index(a)}] {self.one('+=', '*=')} {self.number()}"
        d = self.dim(a)
        return str(
            self.one(
                f"{a}.masked_fill_({a} > 0, {self.number()})",
                f"{a}.fill_({self.one(self.number(), b)})",
                f"{a}.clamp_(min=0)",
                f"{a}.index_fill_({d}, T.tensor([0]), {self.number()})",
                f"{a}.index_add_({d}, T.tensor([0]), {a}.detach().narrow({d}, 0, 1))",
                f"{a}.addcmul_({b}, {self.like(a)})",
                f"{a}.lerp_({b}, 0.5)",
            )
        )

    def flag(self) -> str:
        """Flags and gradients, set."""
        a = self.tensor()
        leaf = self.tensor(lambda x: x.requires_grad)
        return str(
            self.one(
                f"{a}.requires_grad_()",
                f"{a}.requires_grad = {self.one(True, False)}",
                f"{a}.requires_grad_(False)",
                f"{leaf}.retain_grad()",
                f"{leaf}.retain_grad()",
                f"{leaf}.retain_grad()",
                f"{leaf}.grad = None",
                f"{leaf}.grad = {self.like(leaf)}",
                f"{leaf}.grad = T.ones_like({leaf})",
                f"{leaf}.grad.zero_()",
                f"{leaf}.grad.mul_(2)",
                self.assign(f"{leaf}.grad"),
                f"{a}.data = {self.like(a)}",
                f"{a}.data.mul_(2)",
                f"{a}.data.fill_(1)",
                f"{a}.detach().zero_()",
                f"{a} = {a}.detach()",
            )
        )

    def hook(self) -> str:
        """A hook, put on or taken off."""
        a = self.tensor(lambda x: x.requires_grad)
        self.handles += 1
        h = f"h{self.handles}"
        return str(
            self.one(
                f"{h} = {a}.register_hook(lambda g: g * 2)",
                f"{h} = {a}.register_hook(lambda g: log.append(g.shape))",
                f"{h} = {a}.register_hook(lambda g: log.append(g))",
                f"{h} = {a}.register_hook(lambda g: {self.like(a)} * g)",
                f"{h} = {a}.register_post_accumulate_grad_hook(lambda p: log.append(p.grad.clone()))",
                f"{h} = {a}.register_post_accumulate_grad_hook(lambda p: setattr(p, 'grad', None))",
                f"{h} = {a}.grad_fn.register_hook(lambda gi, go: log.append((len(gi), len(go))))",
                f"{h} = {a}.grad_fn.register_prehook(lambda go: tuple(None if g is None else g * 3 for g in go))",
                f"h{self.random.randrange(1, self.handles + 1)}.remove()",
            )
        )

    def walk(self) -> str:
        """Backward, or grad."""
        a = self.tensor(lambda x: x.requires_grad)
        options: list[str] = []
        if self.chance(0.5):
            options.append(f"retain_graph={self.chance(0.8)}")
        if self.chance(0.25):
            options.append("create_graph=True")
        rest = "".join(", " + option for option in options)
        real = f"{a}.abs()" if self.names[a].dtype.is_complex and self.chance(0.9) else a
        if self.chance(0.55):
            if self.chance(0.2):
                rest += f", inputs=[{self.tensor(lambda x: x.requires_grad)}]"
            return str(
                self.one(
                    f"{real}.sum().backward({rest[2:]})",
                    f"{real}.sum().backward({rest[2:]})",
                    f"({real} * {real}).sum().backward({rest[2:]})",
                    f"{a}.backward({rest[2:]})",
                    f"{a}.backward(T.ones_like({a}){rest})",
                    f"{a}.backward({self.like(a)}{rest})",
                    f"T.autograd.backward([{real}.sum(), {self.tensor()}.sum()]{rest})",
                )
            )
        b, c = self.tensor(lambda x: x.requires_grad), self.tensor(lambda x: x.requires_grad)
        if self.chance(0.4):
            rest += ", allow_unused=True"
        if self.chance(0.1):
            rest += ", materialize_grads=True"
        ends = self.one(f"{b}", f"[{b}]", f"[{b}, {c}]")
        roots = self.one(f"{real}.sum()", f"({real} ** 3).sum()", a, f"[{real}.sum(), {b}.sum()]")
        return f"{self.assign(f'T.autograd.grad({roots}, {ends}{rest})')}[0]"

    def line(self) -> str:
        """Any line."""
        kinds: list[tuple[Callable[[], str], int]] = [
            (self.new, 8),
            (self.unary, 16),
            (self.binary, 20),
            (self.reduction, 9),
            (self.view, 20),
            (self.write, 16),
            (self.flag, 8),
            (self.hook, 4),
            (self.walk, 12),
        ]
        made = self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()
        mode = self.random.random()
        if mode < 0.1:
            return f"with T.no_grad(): {made}"
        if mode < 0.12:
            return f"with T.set_grad_enabled({self.chance(0.5)}): {made}"
        if mode < 0.13:
            return f"with T.inference_mode(): {made}"
        return made

    def write_script(self, length: int) -> list[str]:
        """So many lines, the first ones new tensors."""
        while len(self.lines) < length:
            line = self.new() if len(self.lines) < 3 else self.line()
            self.lines.append(line)
            outcome, _ = run_line(line, self.names)
            if outcome is not None and self.chance(0.8):
                self.lines.pop()  # only a few of those that are refused: they lead nowhere
        return self.lines
