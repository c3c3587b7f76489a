"""Random scripts about hooks: of all kinds, put on and taken off, on tensors that are written, through custom functions,
checkpoints and saved tensors, in walks of all kinds; and handles that are dropped in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.parity.random_scripts import Writer
from tests.parity.script_runs import run_line

PREAMBLE: Final = """
from importlib import import_module

checkpoint = import_module(T.__name__ + ".utils.checkpoint").checkpoint
graph = T.autograd.graph


def show(x):
    if isinstance(x, (tuple, list)):
        return [show(y) for y in x]
    return None if x is None else ["%.5g" % (v + 0.0) for v in x.detach().reshape(-1).tolist()]


def note(tag):
    def hook(*groups):
        log.append((tag, show(groups)))
    return hook


def keep(*groups):
    for group in groups:
        log.extend(g * 1 for g in (group if isinstance(group, (tuple, list)) else (group,)) if g is not None)


def call(tag):
    def hook(*_groups):
        log.append((tag,))
    return hook


def boom(*_groups):
    raise KeyError("boom")


def scaled(k):
    return lambda g: None if g is None else g * k


def scaled_all(k):
    return lambda gs, *_more: tuple(None if g is None else g * k for g in gs)


def stepping(p):
    with T.no_grad():
        p -= 0.1 * p.grad
    p.grad = None


def told(how):
    def pack(t):
        log.append(("pack", show(t), t.requires_grad))
        return how(t)
    return pack


def within(pack, unpack, f):
    with graph.saved_tensors_hooks(pack, unpack):
        return f()


def same(t):
    return t


def copied(t):
    return t.detach().clone()


def numpied(t):
    return t.detach().numpy().copy()


def negated(t):
    return -t


class Reading(T.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y, x + y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        log.append(("reading", show((g, h))))
        return g * y + h, g * x + h


class Dirty(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 3
"""
"""What the lines refer to."""


class HookWriter(Writer):
    """Writes such a script. With ``packs``, it notes what is packed, which is the engine's own business."""

    def __init__(self, seed: int, library: Any, *, packs: bool) -> None:
        super().__init__(seed, library)
        self.packs = self.ours = packs  # not what PyTorch is known to do otherwise
        # Gradients that a hook has kept are there only if the walk ends well: on a server they come with its answer.
        self.keeps = self.chance(0.5)
        self.checkpoints = self.chance(0.5)  # or writes: blocks that run again see what was written since
        self.keep = "keep" if self.keeps else "call('kept')"
        self.boom = "call('boom')" if self.keeps else "boom"
        exec(PREAMBLE, self.names)

    def grown(self) -> str:
        """A tensor with a history, if there is one."""
        return self.tensor(lambda x: x.requires_grad)

    def of_shape(self, name: str) -> str:
        """A tensor that has that one's shape, if there is another."""
        shape = tuple(self.names[name].shape)
        return self.tensor(lambda x: tuple(x.shape) == shape)

    def new(self) -> str:
        shape = self.one((3,), (3,), (2, 3), ())
        count = {(3,): 3, (2, 3): 6, (): 1}[shape]
        values: Any = [round(self.random.uniform(-2, 2), 1) or 0.5 for _ in range(count)]
        if self.chance(0.15):  # a view
            return self.assign(f"T.tensor({values}, dtype=T.float64).reshape({shape})" + self.one(".requires_grad_()", ""))
        values = values if len(shape) == 1 else [values[:3], values[3:]] if shape else values[0]
        return self.assign(f"T.tensor({values}, dtype=T.float64, requires_grad={self.chance(0.8)})")

    def formula(self) -> str:
        """Some ops."""
        a = self.grown()
        b = self.of_shape(a)
        return str(
            self.one(
                f"{a} * {b}",
                f"{a} * {b}",
                f"{a} + {b}",
                f"{a}.sin()",
                f"{a}.exp()",
                f"{a}.tanh() * {b}",
                f"{a} / ({b} * {b} + 1)",
                f"({a} * {b}).sum()",
                f"T.stack([{a}, {b}]).prod(0)",
                f"{a} * 2",
                f"{a}.reshape(-1)",
                f"{a}.max()",
                f"{a}.cumsum(-1)" if len(self.names[a].shape) else f"{a}.square()",
            )
        )

    def op(self) -> str:
        return self.assign(self.formula())

    def view_of(self) -> str:
        a = self.tensor(lambda x: len(x.shape) > 0)
        text = self.one(f"{a}[0]", f"{a}[1:]", f"{a}[:2]", f"{a}.view(-1)", f"{a}.detach()", f"{a}.unbind()[1]", f"{a}.t()")
        return self.assign(text)

    def write_to(self) -> str:
        a = self.tensor(_may_be_written)
        b = self.of_shape(a)
        if self.checkpoints:
            return self.op()
        if not self.ours and (a == b or not self.names[a].requires_grad):
            return self.op()  # PyTorch counts marks of what is not recorded, and refuses gradients of products with oneself
        return str(
            self.one(
                f"{a}.mul_(2)",
                f"{a}.mul_({b})",
                f"{a}.add_({b}.detach())",
                f"{a}.sin_()",
                f"{a}[0] = 1.5",
                f"{a}[1:].mul_(3)",
                f"{a}[:1].add_({self.grown()}.sum())",
                f"{a}.copy_({b})",
                f"Dirty.apply({a})",
                f"Dirty.apply({a}[:2])",
            )
        )

    def special(self) -> str:
        """Custom functions, checkpoints, saved tensors."""
        a = self.grown()
        b = self.of_shape(a)
        how = self.one("same", "copied", "copied")
        pack = f"told({how})" if self.packs else how
        unpack = self.one("same", "negated", "told(same)") if self.ours else "same"  # what is saved is the engine's business
        if self.chance(0.2):
            pack, unpack = "numpied", "T.from_numpy"
        return self.assign(
            str(
                self.one(
                    f"Cube.apply({a})",
                    f"Reading.apply({a}, {b})[{self.one(0, 0, 1)}]",
                    f"checkpoint(lambda x: (x * {b}).sin() * x, {a}, use_reentrant=False)" if self.checkpoints else f"{a} * {b}",
                    f"checkpoint(lambda x: Cube.apply(x) + {b}, {a}, use_reentrant=False)" if self.checkpoints else f"{a} + {b}",
                    f"within({pack}, {unpack}, lambda: {self.formula()})",
                    f"within({pack}, {unpack}, lambda: ({a} * {b}).exp() * {a})",
                    f"within({pack}, {unpack}, lambda: Cube.apply({a}))",
                    f"within({pack}, {unpack}, lambda: ({a} * 1).mul_({b}))",
                )
            )
        )

    def put_hook(self) -> str:
        a, b = self.grown(), self.grown()
        if self.chance(0.7):
            a = self.tensor(_has_history)
        grown = self.ours or all(_has_history(self.names[x]) for x in (a, b))  # PyTorch drops hooks on accumulations of free leaves
        self.handles += 1
        h, tag = f"h{self.handles}", f"'{a}.{self.handles}'"
        scaled = f"scaled({self.one(2, -1, 0.5, b)})"
        what = self.one(f"note({tag})", f"note({tag})", f"call({tag})", self.keep, scaled, scaled, self.boom)
        several = self.one(f"note({tag})", f"call({tag})", self.keep, "scaled_all(2)", self.boom)
        looks = self.one(f"note({tag})", f"call({tag})", self.keep)
        mode = self.one("all", "all", "any") if grown else "any"
        return str(
            self.one(
                f"{h} = {a}.register_hook({what})",
                f"{h} = {a}.register_hook({what})",
                f"{h} = {a}.register_post_accumulate_grad_hook({self.one(looks, 'stepping', self.boom)})",
                f"{h} = {a}.register_post_accumulate_grad_hook(lambda p: log.append(({tag}, show(p.grad))))",
                f"{h} = {a}.grad_fn.register_prehook({several})",
                f"{h} = {a}.grad_fn.register_hook({several if self.ours else f'call({tag})'})",  # checkpoints have other edges
                f"{h} = graph.register_multi_grad_hook(({a}, {b}), {looks}, mode='{mode}')",
                f"{h} = graph.get_gradient_edge({a}).node.register_prehook({looks})"
                if grown
                else f"{h} = {a}.register_hook({looks})",
                f"{h} = {self.tensor(_is_leaf)}.grad.register_hook({what})",
            )
        )

    def take_hook(self) -> str:
        return f"h{self.random.randrange(1, self.handles + 1)}.remove()" if self.handles else self.put_hook()

    def state_of(self) -> str:
        a = self.grown()
        still = [f"{a}.retain_grad()", f"{a}.retain_grad()", f"{a}.grad = None", f"{a}.grad = T.ones_like({a})", self.dropped()]
        changed = [f"{a}.requires_grad_(False)"]
        if self.ours:  # PyTorch refuses walks by what was detached in place, and saves what data is assigned later
            changed += [f"{a}.detach_()", f"{a}.data = {self.of_shape(a)}.detach().clone()"]
        return str(self.one(*still, *([] if self.checkpoints else changed)))

    def dropped(self) -> str:
        """A handle dropped, unless blocks of checkpoints refer to it, which run again."""
        a = self.tensor()
        return "log.append(())" if any("checkpoint" in line and a in line for line in self.lines) else f"del {a}"

    def walk_back(self) -> str:
        a, b, c = self.grown(), self.grown(), self.grown()
        if self.chance(0.5):  # walks that come by much
            a, b, c = [self.random.choice(self.tensors()[-5:]) for _ in range(3)]
        keep = ", retain_graph=True"
        keeps = self.one(keep, keep, keep, keep if self.keeps else "", ", create_graph=True")
        if self.chance(0.5):
            inputs = f", inputs=[{b}]" if self.chance(0.2) else ""
            text = self.one(
                f"{a}.sum().backward({(keeps + inputs)[2:]})",
                f"({a} * {c}.sum()).sum().backward({(keeps + inputs)[2:]})",
                f"({a}.sum() + {b}.sum() * {c}.sum()).backward({(keeps + inputs)[2:]})",
                f"({a}.sum() + {b}.sum() * {c}.sum()).backward({(keeps + inputs)[2:]})",
                f"({a}.sum() + {b}.sum() * {c}.sum()).backward({(keeps + inputs)[2:]})",
                f"{a}.backward(T.ones_like({a}){keeps}{inputs})",
                f"T.autograd.backward([{a}.sum(), {c}.sum()]{keeps}{inputs})",
            )
            return str(text)
        unused = ", allow_unused=True" if self.chance(0.7) else ""
        ends = self.one(f"[{b}]", f"[{b}, {c}]")
        return self.assign(f"T.autograd.grad({a}.sum(), {ends}{keeps}{unused})[0]" + ("" if self.ours else ".clone()"))

    def walk_all(self) -> str:
        """A walk that comes by all that it can."""
        roots = "".join(f"{name}.sum(), " for name in self.tensors() if _has_history(self.names[name]))
        if not roots:
            return self.op()
        return f"T.autograd.backward([{roots}], {self.one('retain_graph=True', 'retain_graph=True', 'create_graph=True')})"

    def write_script(self, length: int) -> list[str]:
        """So many lines, the first ones new tensors, the last one a walk by all that is there."""
        super().write_script(length - 1)
        self.lines.append(self.walk_all())
        run_line(self.lines[-1], self.names)
        return self.lines

    def line(self) -> str:
        kinds: list[tuple[Callable[[], str], int]] = [
            (self.new, 3),
            (self.op, 16),
            (self.view_of, 7),
            (self.write_to, 8),
            (self.special, 14),
            (self.put_hook, 26),
            (self.take_hook, 4),
            (self.state_of, 7),
            (self.walk_back, 20),
        ]
        made = self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()
        if made.startswith("h") and self.chance(0.5):
            self.lines.append(made)
            run_line(made, self.names)
            return self.walk_all()
        return f"with T.no_grad(): {made}" if self.chance(0.04) and (self.ours or "Dirty" not in made) else made


def _may_be_written(tensor: Any) -> bool:
    """Whether it is no leaf that requires grad; of a view that cannot follow its base, nobody knows."""
    try:
        return not (tensor.requires_grad and tensor.is_leaf)
    except RuntimeError:
        return False


def _has_history(tensor: Any) -> bool:
    try:
        return bool(tensor.requires_grad and not tensor.is_leaf)
    except RuntimeError:
        return False


def _is_leaf(tensor: Any) -> bool:
    return bool(tensor.requires_grad) and not _has_history(tensor)
