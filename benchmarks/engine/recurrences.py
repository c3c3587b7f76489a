"""A recurrent net and an LSTM, written out in ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.engine.kinds import Array, Makers, Step, generator

_STEPS, _BATCH, _INPUT, _HIDDEN = 100, 16, 32, 64


def _weights_and_data(width: int) -> tuple[Array, Array, Array, Array]:
    """Weights of the input and of the hidden state, each with so many columns, their bias, and the inputs of all steps."""
    rng = generator()
    wx, wh = (rng.normal(size=(n, width)).astype(np.float32) / np.float32(np.sqrt(n)) for n in (_INPUT, _HIDDEN))
    return wx, wh, np.zeros(width, np.float32), rng.normal(size=(_STEPS, _BATCH, _INPUT)).astype(np.float32)


def _tensors(T: Any, parameters: Sequence[Array], data: Array) -> tuple[list[Any], list[Any], Any]:
    """The same as tensors of an engine: parameters, the input of each step, and the state before the first."""
    ps = [T.tensor(p, requires_grad=True) for p in parameters]
    return ps, [T.tensor(x) for x in data], T.tensor(np.zeros((_BATCH, _HIDDEN), np.float32))


def recurrent() -> Makers:
    """``tanh(x @ wx + h @ wh + bias)``, step after step."""
    wx, wh, bias, data = _weights_and_data(_HIDDEN)

    def tape(T: Any) -> Step:
        ps, xs, start = _tensors(T, (wx, wh, bias), data)

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


def lstm() -> Makers:
    """An LSTM cell in 14 ops, step after step."""
    wx, wh, bias, data = _weights_and_data(4 * _HIDDEN)

    def tape(T: Any) -> Step:
        ps, xs, start = _tensors(T, (wx, wh, bias), data)

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
        ps, xs, start = _tensors(T, (wx.T.copy(), wh.T.copy(), bias, np.zeros_like(bias)), data)

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
