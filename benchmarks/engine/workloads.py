"""What is timed: one forward and backward pass of each workload, written once per kind of engine.

``tape(T, ...)`` serves PyTorch and telegrad, letter by letter the same script; ``functional(np, grad, ...)`` serves HIPS autograd
and JAX; ``by_hand()`` is forward and backward written out in plain numpy. Each returns a step: a callable without arguments that
does one pass and returns what the correctness check compares: gradients, as a list of arrays or of the engine's own tensors.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Step = Callable[[], Any]


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        title: what is done.
        make: from the name of a kind of engine (``hand``, ``tape``, ``functional``, ``mygrad``) to a function that gives the step;
            kinds that are missing are left out of the row.
        per: how many ops or uses a step stands for; times are shown per such.
        reach: the goals as (peer, ratio): ours may cost at most so many times the peer.
        tolerance: relative, for the correctness check.
    """

    title: str
    make: dict[str, Callable[..., Step]]
    reach: tuple[tuple[str, float], ...]
    per: int = 1
    tolerance: float = 1e-6
    notes: str = field(default="")


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Long chains -----------------------------------------------------------------------------------------------------------------


def _chain(length: int) -> dict[str, Callable[..., Step]]:
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

    made: dict[str, Callable[..., Step]] = {"tape": tape, "hand": by_hand}
    if length <= 1000:
        made["mygrad"] = mygrad
        made["autograd"] = functional
    return made


def _uses(count: int) -> dict[str, Callable[..., Step]]:
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


# Networks ----------------------------------------------------------------------------------------------------------------------


def _network(sizes: tuple[int, ...], batch: int) -> dict[str, Callable[..., Step]]:  # noqa: C901, PLR0915 - five engines
    """A ReLU network with cross-entropy; a step is forward, backward and one step of gradient descent."""
    rng = _rng()
    weights = [(rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32) for a, b in itertools.pairwise(sizes)]
    biases = [np.zeros(b, np.float32) for b in sizes[1:]]
    data = rng.normal(size=(batch, sizes[0])).astype(np.float32)
    target = rng.integers(0, sizes[-1], batch)
    rate = 1e-6  # so small that every engine stays where it began, for the check
    rows = np.arange(batch)

    def tape(T: Any) -> Step:
        F = T.nn.functional
        ws = [T.tensor(w.T.copy(), requires_grad=True) for w in weights]
        bs = [T.tensor(b, requires_grad=True) for b in biases]
        x, y = T.tensor(data), T.tensor(target)

        def step() -> Any:
            h = x
            for w, b in zip(ws[:-1], bs[:-1], strict=True):
                h = F.relu(F.linear(h, w, b))
            F.cross_entropy(F.linear(h, ws[-1], bs[-1]), y).backward()
            found = []
            with T.no_grad():
                for p in (*ws, *bs):
                    p.sub_(p.grad, alpha=rate)
                    found.append(p.grad)
                    p.grad = None
            return [g.T if g.ndim == 2 else g for g in found]

        return step

    def by_hand() -> Step:
        ws, bs = [w.copy() for w in weights], [b.copy() for b in biases]
        inverse = np.float32(1 / batch)

        def step() -> Any:
            hidden = [data]
            for w, b in zip(ws[:-1], bs[:-1], strict=True):
                h = hidden[-1] @ w
                h += b
                hidden.append(np.maximum(h, 0, out=h))
            logits = hidden[-1] @ ws[-1]
            logits += bs[-1]
            logits -= logits.max(1, keepdims=True)
            p = np.exp(logits)
            p /= p.sum(1, keepdims=True)
            float(-np.log(p[rows, target]).mean())
            p[rows, target] -= 1
            g = p
            g *= inverse
            dws, dbs = [], []
            for layer in range(len(ws) - 1, -1, -1):
                dws.append(hidden[layer].T @ g)
                dbs.append(g.sum(0))
                if layer:
                    g = g @ ws[layer].T
                    g *= hidden[layer] > 0
            found = dws[::-1] + dbs[::-1]
            for p_, d in zip((*ws, *bs), found, strict=True):
                p_ -= rate * d
            return found

        return step

    def functional(xp: Any, grad: Any) -> Step:
        def loss(parameters: Any) -> Any:
            ws, bs = parameters
            h = data
            for w, b in zip(ws[:-1], bs[:-1], strict=True):
                h = xp.maximum(xp.dot(h, w) + b, 0)
            z = xp.dot(h, ws[-1]) + bs[-1]
            z = z - xp.max(z, axis=1, keepdims=True)
            return xp.mean(xp.log(xp.sum(xp.exp(z), axis=1)) - z[rows, target])

        gradient = grad(loss)
        state = [weights, biases]

        def step() -> Any:
            dws, dbs = gradient(state)
            state[0] = [w - rate * d for w, d in zip(state[0], dws, strict=True)]
            state[1] = [b - rate * d for b, d in zip(state[1], dbs, strict=True)]
            return [*dws, *dbs]

        return step

    def mygrad(mg: Any) -> Step:
        softmax_crossentropy = importlib.import_module("mygrad.nnet.losses").softmax_crossentropy

        ws, bs = [mg.tensor(w) for w in weights], [mg.tensor(b) for b in biases]

        def step() -> Any:
            h = data
            for w, b in zip(ws[:-1], bs[:-1], strict=True):
                h = mg.maximum(mg.matmul(h, w) + b, 0)
            softmax_crossentropy(mg.matmul(h, ws[-1]) + bs[-1], target).backward()
            found = [p.grad for p in (*ws, *bs)]
            for p in (*ws, *bs):
                p.data -= rate * p.grad
                p.null_grad()
            return found

        return step

    return {"tape": tape, "hand": by_hand, "autograd": functional, "jax": functional, "mygrad": mygrad}


def _elementwise(count: int) -> dict[str, Callable[..., Step]]:
    """Twelve ops: three times multiply, tanh, add, sigmoid."""
    values = _rng().normal(size=count)
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


def _convolutions() -> dict[str, Callable[..., Step]]:
    """Two 3x3 convolutions (1 to 8 to 16 channels) with ReLU and 2x2 maxima, a linear layer, cross-entropy; 32 images of 28x28."""
    rng = _rng()
    batch = 32
    shapes = [(8, 1, 3, 3), (8,), (16, 8, 3, 3), (16,), (10, 16 * 7 * 7), (10,)]
    parameters = [(rng.normal(size=s) / np.sqrt(np.prod(s[1:]) or 1) * (len(s) > 1)).astype(np.float32) for s in shapes]
    data = rng.normal(size=(batch, 1, 28, 28)).astype(np.float32)
    target = rng.integers(0, 10, batch)

    def tape(T: Any) -> Step:
        F = T.nn.functional
        ps = [T.tensor(p, requires_grad=True) for p in parameters]
        x, y = T.tensor(data), T.tensor(target)

        def step() -> Any:
            for p in ps:
                p.grad = None
            h = F.max_pool2d(F.relu(F.conv2d(x, ps[0], ps[1], padding=1)), 2)
            h = F.max_pool2d(F.relu(F.conv2d(h, ps[2], ps[3], padding=1)), 2)
            F.cross_entropy(F.linear(h.reshape(batch, -1), ps[4], ps[5]), y).backward()
            return [p.grad for p in ps]

        return step

    def by_hand() -> Step:
        def columns(x: Array) -> Array:
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
            return windows.transpose(0, 2, 3, 1, 4, 5).reshape(x.shape[0] * x.shape[2] * x.shape[3], -1)

        def convolve(x: Array, w: Array, b: Array) -> tuple[Array, Array]:
            c = columns(x)
            n, _, height, width = x.shape
            return (c @ w.reshape(w.shape[0], -1).T + b).reshape(n, height, width, -1).transpose(0, 3, 1, 2), c

        def pool(x: Array) -> tuple[Array, Array]:
            n, c, height, width = x.shape
            blocks = (
                x.reshape(n, c, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, height // 2, width // 2, 4)
            )
            best = blocks.argmax(-1)
            return np.take_along_axis(blocks, best[..., None], -1)[..., 0], best

        def unpool(g: Array, best: Array) -> Array:
            n, c, height, width = g.shape
            blocks = np.zeros((n, c, height, width, 4), g.dtype)
            np.put_along_axis(blocks, best[..., None], g[..., None], -1)
            return blocks.reshape(n, c, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * height, 2 * width)

        def step() -> Any:
            w1, b1, w2, b2, w3, b3 = parameters
            z1, c1 = convolve(data, w1, b1)
            p1, m1 = pool(np.maximum(z1, 0))
            z2, c2 = convolve(p1, w2, b2)
            p2, m2 = pool(np.maximum(z2, 0))
            flat = p2.reshape(batch, -1)
            logits = flat @ w3.T + b3
            logits -= logits.max(1, keepdims=True)
            g = np.exp(logits)
            g /= g.sum(1, keepdims=True)
            g[np.arange(batch), target] -= 1
            g /= batch
            dw3, db3 = g.T @ flat, g.sum(0)
            d2 = unpool((g @ w3).reshape(p2.shape), m2) * (z2 > 0)
            rows = d2.transpose(0, 2, 3, 1).reshape(-1, 16)
            dw2, db2 = (rows.T @ c2).reshape(w2.shape), rows.sum(0)
            back = columns(d2) @ w2[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(-1, 8)
            d1 = unpool(back.reshape(batch, 14, 14, 8).transpose(0, 3, 1, 2), m1) * (z1 > 0)
            rows = d1.transpose(0, 2, 3, 1).reshape(-1, 8)
            return [(rows.T @ c1).reshape(w1.shape), rows.sum(0), dw2, db2, dw3, db3]

        return step

    return {"tape": tape, "hand": by_hand}


def _transformer() -> dict[str, Callable[..., Step]]:  # noqa: PLR0915 - written out
    """One pre-norm block: attention of 4 heads, a GELU network of 512, width 128, 64 positions, batch 8."""
    rng = _rng()
    batch, length, width, heads = 8, 64, 128, 4
    shapes = {
        "wqkv": (3 * width, width), "bqkv": (3 * width,), "wo": (width, width), "bo": (width,),
        "w1": (4 * width, width), "b1": (4 * width,), "w2": (width, 4 * width), "b2": (width,),
        "g1": (width,), "s1": (width,), "g2": (width,), "s2": (width,),
    }  # fmt: skip
    parameters = {k: (rng.normal(size=s) * 0.05 + (1.0 if k[0] == "g" else 0.0)).astype(np.float32) for k, s in shapes.items()}
    data = rng.normal(size=(batch, length, width)).astype(np.float32)

    def tape(T: Any) -> Step:
        F = T.nn.functional
        p = {k: T.tensor(v, requires_grad=True) for k, v in parameters.items()}
        x = T.tensor(data)

        def step() -> Any:
            for v in p.values():
                v.grad = None
            h = F.layer_norm(x, (width,), p["g1"], p["s1"])
            qkv = F.linear(h, p["wqkv"], p["bqkv"]).reshape(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            q, k, v = qkv.unbind(0)
            a = F.scaled_dot_product_attention(q, k, v)
            y = x + F.linear(a.transpose(1, 2).reshape(batch, length, width), p["wo"], p["bo"])
            h = F.layer_norm(y, (width,), p["g2"], p["s2"])
            y = y + F.linear(F.gelu(F.linear(h, p["w1"], p["b1"]), approximate="tanh"), p["w2"], p["b2"])
            (y * y).mean().backward()
            return [v.grad for v in p.values()]

        return step

    def by_hand() -> Step:
        d = width // heads
        scale = np.float32(1 / np.sqrt(d))
        rows = batch * length
        c = np.float32(np.sqrt(2 / np.pi))
        k3 = np.float32(0.044715)

        def norm(x: Array, g: Array, s: Array) -> tuple[Array, Array, Array]:
            centred = x - x.mean(-1, keepdims=True)
            r = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
            n = centred * r
            return n * g + s, n, r

        def norm_back(g: Array, gain: Array, n: Array, r: Array) -> tuple[Array, Array, Array]:
            t = g * gain
            return (
                r * (t - t.mean(-1, keepdims=True) - n * (t * n).mean(-1, keepdims=True)),
                (g * n).sum(0),
                g.sum(0),
            )

        def step() -> Any:
            p = parameters
            x = data.reshape(rows, width)
            h1, n1, r1 = norm(x, p["g1"], p["s1"])
            qkv = (h1 @ p["wqkv"].T + p["bqkv"]).reshape(batch, length, 3, heads, d).transpose(2, 0, 3, 1, 4)
            q, k, v = qkv
            scores = (q @ k.transpose(0, 1, 3, 2)) * scale
            scores -= scores.max(-1, keepdims=True)
            a = np.exp(scores)
            a /= a.sum(-1, keepdims=True)
            mixed = (a @ v).transpose(0, 2, 1, 3).reshape(rows, width)
            y1 = x + mixed @ p["wo"].T + p["bo"]
            h2, n2, r2 = norm(y1, p["g2"], p["s2"])
            u = h2 @ p["w1"].T + p["b1"]
            t = np.tanh(c * (u + k3 * u * u * u))
            e = 0.5 * u * (1 + t)
            y2 = y1 + e @ p["w2"].T + p["b2"]
            g = y2 * np.float32(2 / y2.size)
            out: dict[str, Array] = {"w2": g.T @ e, "b2": g.sum(0)}
            de = g @ p["w2"]
            du = de * (0.5 * (1 + t) + 0.5 * u * (1 - t * t) * c * (1 + 3 * k3 * u * u))
            out["w1"], out["b1"] = du.T @ h2, du.sum(0)
            dn, out["g2"], out["s2"] = norm_back(du @ p["w1"], p["g2"], n2, r2)
            g = g + dn
            out["wo"], out["bo"] = g.T @ mixed, g.sum(0)
            dm = (g @ p["wo"]).reshape(batch, length, heads, d).transpose(0, 2, 1, 3)
            dv = a.transpose(0, 1, 3, 2) @ dm
            da = dm @ v.transpose(0, 1, 3, 2)
            ds = a * (da - (da * a).sum(-1, keepdims=True)) * scale
            dqkv = np.stack([ds @ k, ds.transpose(0, 1, 3, 2) @ q, dv]).transpose(1, 3, 0, 2, 4).reshape(rows, 3 * width)
            out["wqkv"], out["bqkv"] = dqkv.T @ h1, dqkv.sum(0)
            _, out["g1"], out["s1"] = norm_back(dqkv @ p["wqkv"], p["g1"], n1, r1)
            return [out[name] for name in p]

        return step

    return {"tape": tape, "hand": by_hand}


# Recurrences -------------------------------------------------------------------------------------------------------------------

_STEPS, _BATCH, _INPUT, _HIDDEN = 100, 16, 32, 64


def _recurrent() -> dict[str, Callable[..., Step]]:
    rng = _rng()
    wx, wh = (rng.normal(size=(n, _HIDDEN)).astype(np.float32) / np.float32(np.sqrt(n)) for n in (_INPUT, _HIDDEN))
    bias = np.zeros(_HIDDEN, np.float32)
    data = rng.normal(size=(_STEPS, _BATCH, _INPUT)).astype(np.float32)

    def tape(T: Any) -> Step:
        ps = [T.tensor(p, requires_grad=True) for p in (wx, wh, bias)]
        xs = [T.tensor(x) for x in data]
        start = T.tensor(np.zeros((_BATCH, _HIDDEN), np.float32))

        def step() -> Any:
            for p in ps:
                p.grad = None
            h = start
            for x in xs:
                h = (x @ ps[0] + h @ ps[1] + ps[2]).tanh()
            (h * h).sum().backward()
            return [p.grad for p in ps]

        return step

    def by_hand() -> Step:
        def step() -> Any:
            hs = [np.zeros((_BATCH, _HIDDEN), np.float32)]
            for x in data:
                hs.append(np.tanh(x @ wx + hs[-1] @ wh + bias))
            g = 2 * hs[-1]
            dx, dh, db = np.zeros_like(wx), np.zeros_like(wh), np.zeros_like(bias)
            for t in range(_STEPS - 1, -1, -1):
                g = g * (1 - hs[t + 1] * hs[t + 1])
                dx += data[t].T @ g
                dh += hs[t].T @ g
                db += g.sum(0)
                g = g @ wh.T
            return [dx, dh, db]

        return step

    return {"tape": tape, "hand": by_hand}


def _lstm() -> dict[str, Callable[..., Step]]:
    rng = _rng()
    wx, wh = (rng.normal(size=(n, 4 * _HIDDEN)).astype(np.float32) / np.float32(np.sqrt(n)) for n in (_INPUT, _HIDDEN))
    bias = np.zeros(4 * _HIDDEN, np.float32)
    data = rng.normal(size=(_STEPS, _BATCH, _INPUT)).astype(np.float32)

    def tape(T: Any) -> Step:
        ps = [T.tensor(p, requires_grad=True) for p in (wx, wh, bias)]
        xs = [T.tensor(x) for x in data]
        start = T.tensor(np.zeros((_BATCH, _HIDDEN), np.float32))

        def step() -> Any:
            for p in ps:
                p.grad = None
            h = c = start
            for x in xs:
                i, f, g, o = (x @ ps[0] + h @ ps[1] + ps[2]).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            (h * h).sum().backward()
            return [p.grad for p in ps]

        return step

    def fused(T: Any) -> Step:
        ps = [T.tensor(p.T.copy() if p.ndim == 2 else p, requires_grad=True) for p in (wx, wh, bias, np.zeros_like(bias))]
        xs = [T.tensor(x) for x in data]
        start = T.tensor(np.zeros((_BATCH, _HIDDEN), np.float32))

        def step() -> Any:
            for p in ps:
                p.grad = None
            h = c = start
            for x in xs:
                h, c = T.lstm_cell(x, (h, c), *ps)
            (h * h).sum().backward()
            return [ps[0].grad.T, ps[1].grad.T, ps[2].grad]

        return step

    def by_hand() -> Step:
        n = _HIDDEN

        def sigmoid(x: Array) -> Array:
            return np.asarray(1 / (1 + np.exp(-x)))

        def step() -> Any:
            h = c = np.zeros((_BATCH, n), np.float32)
            saved = []
            for x in data:
                z = x @ wx + h @ wh + bias
                i, f, g, o = sigmoid(z[:, :n]), sigmoid(z[:, n : 2 * n]), np.tanh(z[:, 2 * n : 3 * n]), sigmoid(z[:, 3 * n :])
                before = h, c
                c = f * c + i * g
                t = np.tanh(c)
                h = o * t
                saved.append((x, *before, i, f, g, o, t))
            dh = 2 * h
            dc = np.zeros_like(c)
            dwx, dwh, db = np.zeros_like(wx), np.zeros_like(wh), np.zeros_like(bias)
            dz = np.empty((_BATCH, 4 * n), np.float32)
            while saved:
                x, hb, cb, i, f, g, o, t = saved.pop()
                dc = dc + dh * o * (1 - t * t)
                dz[:, :n] = dc * g * i * (1 - i)
                dz[:, n : 2 * n] = dc * cb * f * (1 - f)
                dz[:, 2 * n : 3 * n] = dc * i * (1 - g * g)
                dz[:, 3 * n :] = dh * t * o * (1 - o)
                dwx += x.T @ dz
                dwh += hb.T @ dz
                db += dz.sum(0)
                dh = dz @ wh.T
                dc = dc * f
            return [dwx, dwh, db]

        return step

    return {"tape": tape, "fused": fused, "hand": by_hand}


# Second order ------------------------------------------------------------------------------------------------------------------


def _rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def _hessian() -> dict[str, Callable[..., Step]]:
    point = _rng().normal(size=50)

    def tape(T: Any) -> Step:
        x = T.tensor(point)
        return lambda: [T.autograd.functional.hessian(_rosenbrock, x, vectorize=True)]

    return {"tape": tape}


def _hessian_vector() -> dict[str, Callable[..., Step]]:
    rng = _rng()
    point, direction = rng.normal(size=10_000), rng.normal(size=10_000)

    def tape(T: Any) -> Step:
        x, v = T.tensor(point, requires_grad=True), T.tensor(direction)

        def step() -> Any:
            (g,) = T.autograd.grad(_rosenbrock(x), (x,), create_graph=True)
            return [T.autograd.grad(g, (x,), v)[0]]

        return step

    return {"tape": tape}


# Sparse gradients --------------------------------------------------------------------------------------------------------------


def _embedding() -> dict[str, Callable[..., Step]]:
    rng = _rng()
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


def _slices() -> dict[str, Callable[..., Step]]:
    matrix = _rng().normal(size=(1000, 1000))

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


WORKLOADS: dict[str, Workload] = {
    "tiny": Workload("1,000 tiny ops, per op", _chain(1000), (("torch", 0.6),), per=1000),
    "long": Workload("100,000-op chain, per op", _chain(100_000), (("torch", 0.4),), per=100_000),
    "uses": Workload("one leaf used 10,000 times, per use", _uses(10_000), (("torch", 0.6),), per=10_000),
    "network": Workload(
        "784-256-128-10, batch 64, SGD step", _network((784, 256, 128, 10), 64), (("torch", 0.85),), tolerance=1e-4
    ),
    "wide": Workload("1024-1024-1024-10, batch 1024", _network((1024, 1024, 1024, 10), 1024), (("hand", 1.0),), tolerance=1e-3),
    "elementwise6": Workload("12 elementwise ops, 1e6 float64", _elementwise(10**6), (("hand", 1.0),)),
    "elementwise7": Workload("12 elementwise ops, 1e7 float64", _elementwise(10**7), (("torch", 0.55), ("torch-kept", 1.6))),
    "convolutions": Workload("two convolutions, 28x28, batch 32", _convolutions(), (("torch", 1.5),), tolerance=1e-3),
    "transformer": Workload("transformer block, 8x64x128", _transformer(), (("torch", 1.15),), tolerance=1e-3),
    "recurrent": Workload("recurrent net, 100 steps", _recurrent(), (("torch", 0.65),), tolerance=1e-3),
    "lstm": Workload("LSTM, 100 steps", _lstm(), (("torch", 0.65),), tolerance=1e-3),
    "hessian": Workload("Hessian of Rosenbrock, n = 50, vectorised", _hessian(), (("torch", 1.2),)),
    "hvp": Workload("Hessian-vector product, n = 10,000", _hessian_vector(), (("torch", 1.0),)),
    "embedding": Workload("embedding 50,000 x 64, 4,096 rows", _embedding(), (("torch", 1.3),)),
    "slices": Workload("100 row slices of 1000 x 1000", _slices(), (("torch", 0.15),)),
}
"""Every workload by its name on the command line."""
