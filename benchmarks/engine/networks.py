"""Networks: of linear layers, of convolutions, and a transformer block."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np

from benchmarks.engine.kinds import Array, Makers, Step, generator


def network(sizes: tuple[int, ...], batch: int) -> Makers:  # noqa: C901, PLR0915 - five engines
    """A ReLU network with cross-entropy; a step is forward, backward and one step of gradient descent."""
    rng = generator()
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


def convolutions() -> Makers:
    """Two 3x3 convolutions (1 to 8 to 16 channels) with ReLU and 2x2 maxima, a linear layer, cross-entropy; 32 images of 28x28."""
    rng = generator()
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


def transformer() -> Makers:  # noqa: PLR0915 - written out
    """One pre-norm block: attention of 4 heads, a GELU network of 512, width 128, 64 positions, batch 8."""
    rng = generator()
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
