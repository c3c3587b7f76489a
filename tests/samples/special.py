"""Samples of the special family."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

POSITIVE = rand(2, 3, low=0.4, high=5.0)
ANY = rand(2, 3, low=-4.0, high=4.0)
CHANCE = rand(2, 3, low=0.05, high=0.95)
# Of nan, PyTorch's gradient of i1 is the one at 0.
EDGES = np.array([np.inf, np.nan, 0.0, 1.0, -2.5])

DOMAINS = {
    "lgamma": POSITIVE,
    "digamma": POSITIVE,
    "erfinv": rand(2, 3, low=-0.9, high=0.9),
    "i0": ANY,
    "special.i0e": ANY,
    "special.i1": ANY,
    "special.i1e": ANY,
    "special.erfcx": ANY,
    "special.ndtr": ANY,
    "special.ndtri": CHANCE,
    "special.log_ndtr": ANY,
    "special.entr": POSITIVE,
}
WITHOUT_DERIVATIVE = {
    "special.modified_bessel_i0": ANY,
    "special.modified_bessel_i1": ANY,
    "special.modified_bessel_k0": POSITIVE,
    "special.modified_bessel_k1": POSITIVE,
    "special.scaled_modified_bessel_k0": POSITIVE,
    "special.scaled_modified_bessel_k1": POSITIVE,
    "special.spherical_bessel_j0": ANY,
    # PyTorch's own values of these are good to 1e-6 only, near the points where its approximations change.
    "special.bessel_j0": rand(2, 3, low=0.2, high=2.0),
    "special.bessel_j1": rand(2, 3, low=0.2, high=2.0),
    "special.bessel_y0": rand(2, 3, low=0.2, high=2.0),
    "special.bessel_y1": rand(2, 3, low=0.2, high=2.0),
    "special.airy_ai": rand(2, 3, low=-1.0, high=2.0),
}
ALIASES = {
    "special.gammaln": "lgamma",
    "special.psi": "digamma",
    "special.digamma": "digamma",
    "special.erfinv": "erfinv",
    "special.i0": "i0",
    "special.expit": "sigmoid",
    "special.erf": "erf",
    "special.erfc": "erfc",
    "special.exp2": "exp2",
    "special.expm1": "expm1",
    "special.log1p": "log1p",
    "special.sinc": "sinc",
}


def _op(call: str) -> str:
    return call.rpartition(".")[2]


def _each(call: str, op: str, *cases: tuple[Any, ...], **settings: Any) -> list[Sample]:
    return [Sample(call, args, op=op, **settings) for args in cases]


SAMPLES: list[Sample] = [
    Sample("special.xlog1py", (bools(4), True), op="xlog1py", gradient=False),
    *[Sample(call, (x,), op=_op(call)) for call, x in DOMAINS.items()],
    *[Sample(call, (np.asarray(x[0, 0]),), op=_op(call), note="0-d") for call, x in DOMAINS.items()],
    *[Sample(call, (ints(3, low=1, high=4),), op=_op(call), gradient=False) for call in DOMAINS],
    *[
        Sample(call, (EDGES[[0, 2, 3, 4]] if "i1" in call else EDGES,), op=_op(call), gradient=False, note="edges")
        for call in DOMAINS
    ],
    *[Sample(call, (x,), op=_op(call), gradient=False) for call, x in WITHOUT_DERIVATIVE.items()],
    *[Sample(call, (ints(3, low=1, high=3),), op=_op(call), gradient=False) for call in WITHOUT_DERIVATIVE],
    *[Sample(call, (rand(3, low=0.2, high=0.8),), op=op) for call, op in ALIASES.items()],
    *[Sample(f"Tensor.{name}_", (DOMAINS[name],), op=name) for name in ("lgamma", "digamma", "erfinv", "i0")],
    *_each("lgamma", "lgamma", (bools(3),), (rand(0, 2, low=1),)),
    *_each("lgamma", "lgamma", (np.array([0.0, -1.0, -2.5, -np.inf, 1e-300, 1e5]),), gradient=False, float32=False),
    *_each("special.i1", "i1", (np.array([0.0, 1e-3, -0.05, 0.2]),)),
    *_each("special.i1e", "i1e", (np.array([1e-3, -0.05, 0.2, 30.0]),)),
    *_each("special.log_ndtr", "log_ndtr", (np.array([-30.0, -0.1, 0.1, 8.0]),)),
    *_each("special.airy_ai", "airy_ai", (np.array([0.0, 500.0, np.nan]),), gradient=False),
    *_each("special.entr", "entr", (np.array([0.0, -1.0, np.nan, np.inf]),), gradient=False),
    # Gamma
    *[Sample("polygamma", (n, POSITIVE), op="polygamma") for n in range(4)],
    *_each("polygamma", "polygamma", (1, rand(4, low=-3.9, high=-0.1)), (2, rand(4, low=-3.9, high=-0.1))),
    *_each("polygamma", "polygamma", (1, ints(3, low=1)), (2, ints(3, low=1, high=9)), (3, bools(2)), gradient=False),
    *_each("polygamma", "polygamma", (3, np.array([0.0, -1.0, np.inf, -np.inf, np.nan, 0.25])), gradient=False),
    Sample("Tensor.polygamma_", (POSITIVE, 1), op="polygamma"),
    Sample("special.polygamma", (1, rand(low=1)), op="polygamma"),
    *_each("mvlgamma", "mvlgamma", (POSITIVE + 2, 1), (POSITIVE + 2, 3), (np.asarray(4.5), 4), (rand(0), 2)),
    *_each("mvlgamma", "mvlgamma", (ints(3, low=2, high=9), 2), (np.array([0.5, -1.0, np.inf, np.nan]), 2), gradient=False),
    Sample("Tensor.mvlgamma_", (POSITIVE + 1,), {"p": 2}, op="mvlgamma"),
    Sample("special.multigammaln", (POSITIVE + 1, 2), op="mvlgamma"),
    *[
        Sample(call, (order, rand(2, 3, low=0.3, high=6.0)), op=op, torch=False, note=note)
        for call, op in (("igamma", "igamma"), ("igammac", "igammac"))
        for order, note in (
            (ints(3, low=1, high=5), "PyTorch takes lgamma of whole orders in float32"),
            (np.asarray(2), "0-d; likewise"),
        )
    ],
    *[
        Sample(call, (rand(2, 1, low=0.2, high=5.0), rand(3, low=0.0, high=6.0)), op=op, gradient=False)
        for call, op in (
            ("igamma", "igamma"),
            ("igammac", "igammac"),
            ("special.gammainc", "igamma"),
            ("special.gammaincc", "igammac"),
        )
    ],
    Sample("Tensor.igamma_", (rand(3, low=1), rand(3, low=1)), op="igamma", gradient=False),
    Sample("Tensor.igammac_", (rand(3, low=1), rand(3, low=1)), op="igammac", gradient=False),
    *_each("special.zeta", "zeta", (2.5, rand(2, 3, low=0.5, high=4.0)), (ints(3, low=2, high=5), rand(3, low=0.5))),
    *_each("special.zeta", "zeta", (rand(2, 1, low=1.2, high=5.0), rand(3, low=0.3, high=4.0)), gradient=False),
    *_each("special.zeta", "zeta", (rand(3, low=1.2), 2), (ints(3, low=2), ints(3, low=1)), (3, rand(4, low=-6.0)), gradient=False),
    *_each("special.zeta", "zeta", (np.array([1.0, 0.5, 2.5, 2.0, 3.0]), np.array([1.0, 1.0, -0.5, -2.0, np.nan])), gradient=False),
    # Entropy
    *_each("special.xlog1py", "xlog1py", (rand(2, 3), rand(3, low=-0.5)), (2.5, POSITIVE), (rand(3), 2)),
    *_each("special.xlog1py", "xlog1py", (ints(3), ints(3, low=0)), gradient=False),
    Sample(
        "special.xlog1py",
        (np.zeros(4), np.array([-2.0, -1.0, 2.0, np.nan])),
        op="xlog1py",
        differences=False,
        second=False,
        note="0",
    ),
    Sample("special.xlogy", (rand(3), POSITIVE), op="xlogy"),
    # Others by their second name
    Sample("special.logit", (CHANCE,), {"eps": 0.1}, op="logit"),
    Sample("special.logsumexp", (ANY, 1), {"keepdim": True}, op="logsumexp"),
    Sample("special.softmax", (ANY, -1), op="softmax"),
    Sample("special.log_softmax", (ANY, 0), op="log_softmax"),
    Sample("special.round", (ANY,), {"decimals": 1}, op="round", differences=False, second=False),
]

ERRORS: list[ErrorSample] = [
    *[
        ErrorSample(call, (complexes(2),), error=NotImplementedError, match="not implemented")
        for call in DOMAINS
        if call != "special.ndtr"
    ],
    *[ErrorSample(call, (complexes(2),), error=NotImplementedError, match="not implemented") for call in WITHOUT_DERIVATIVE],
    *[
        ErrorSample(call, (rand(2, dtype="float16"),), error=NotImplementedError, match="not implemented")
        for call in ("special.ndtri", "special.erfcx", "special.log_ndtr", "special.bessel_y1", "special.airy_ai")
    ],
    ErrorSample("special.ndtr", (complexes(2),), error=RuntimeError, match="not implemented"),
    ErrorSample("polygamma", (-1, rand(2)), error=RuntimeError, match="negative n"),
    ErrorSample("polygamma", (rand(2), 1), error=TypeError, match="must be int"),
    ErrorSample("polygamma", (1, complexes(2)), error=NotImplementedError, match="not implemented"),
    ErrorSample("mvlgamma", (rand(2), 0), error=RuntimeError, match="greater than or equal to 1"),
    ErrorSample("mvlgamma", (bools(2), 2), error=RuntimeError, match="boolean"),
    ErrorSample("mvlgamma", (rand(2), 2.0), error=TypeError, match="must be int"),
    ErrorSample("Tensor.lgamma_", (ints(2),), error=RuntimeError, match="can't be cast"),
    ErrorSample("igamma", (ints(2), ints(2)), error=NotImplementedError, match="not implemented"),
    ErrorSample("igammac", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("special.zeta", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("special.zeta", (complexes(2), rand(2)), error=NotImplementedError, match="zeta"),
    ErrorSample("special.xlog1py", (complexes(2), rand(2)), error=NotImplementedError, match="xlog1py"),
    ErrorSample("special.xlog1py", (2.0, 3.0), error=TypeError, match="Tensor"),
]
