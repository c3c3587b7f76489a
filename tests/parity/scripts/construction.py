"""Tensors out of what users hold: lists with tensors and arrays in them, numbers of numpy's; and what goes with making them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def a_tensor_of_one_element_is_a_number_in_a_list(tg: Any) -> Any:
    one, flat, deep, two = tg.tensor(1.5), tg.tensor([2.5]), tg.tensor([[3]]), tg.tensor([1.0, 2.0])
    made = [[one, 2], [2, flat], [flat, flat], [deep, deep], [[flat], [4]], [[3, 4], two], (tg.tensor(1j), 2), [flat, True]]
    kinds = [tg.tensor(1, dtype=tg.int8), tg.tensor(2, dtype=tg.uint8)]
    refused = [[two, two], [two, [3, 4]], [tg.tensor([])], [[1, 2], one]]
    return [attempt(partial(tg.tensor, data)) for data in [*made, kinds, *refused]]


@script
def arrays_in_lists_are_rows(tg: Any) -> Any:
    rows = [np.array([1, 2]), np.array([3, 4])]
    made = [rows, [np.array([1.0]), np.array([2.0])], [rows[0], [5, 6]], [np.float32(1), 2], [np.int8(1), np.float64(2)]]
    return [attempt(partial(tg.tensor, data)) for data in [*made, [np.array([1, 2]), np.array([3])], [2, np.array([1.0])]]]


@script
def tensors_become_numbers_of_python(tg: Any) -> Any:
    x, two = tg.tensor([2.5]), tg.tensor([1.0, 2.0])
    seen = [float(x), int(x), complex(x), complex(tg.tensor(1j)), bool(x), [4, 5, 6][tg.tensor(1)], range(tg.tensor(3))]
    return seen, [attempt(partial(kind, two)) for kind in (float, int, complex, bool)]


@script
def seeds_fit_64_bits(tg: Any) -> Any:
    def draws(seed: Any) -> Any:
        tg.manual_seed(seed)
        first = tg.rand(3)
        tg.manual_seed(seed)
        return bool((first == tg.rand(3)).all())

    return [attempt(partial(draws, seed)) for seed in (0, -1, 2**63, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, np.int64(7))]


@script
def the_mode_is_a_bool(tg: Any) -> Any:
    def enabled(mode: Any) -> Any:
        tg.set_grad_enabled(mode)
        return tg.is_grad_enabled()

    return [attempt(partial(enabled, mode)) for mode in (True, 1, 0, "off", None)], tg.is_grad_enabled()


@script
def the_place_of_a_tensor_is_the_cpu(tg: Any) -> Any:
    cpu, x = tg.device("cpu"), tg.ones(2, 3)
    made = [
        *(
            tg.zeros(2, device="cpu"),
            tg.ones(2, device=cpu, layout=tg.strided, pin_memory=False),
            tg.full((2,), 1.0, device=x.device),
        ),
        *(
            tg.arange(3, device="cpu"),
            tg.eye(2, device=None),
            tg.linspace(0, 1, 3, device="cpu"),
            tg.tril_indices(2, 2, device=cpu),
        ),
        *(
            tg.tensor([1, 2], device="cpu"),
            tg.as_tensor([1.0], device=cpu),
            tg.asarray(2.5, device="cpu"),
            tg.fft.fftfreq(4, device=cpu),
        ),
        *(
            tg.zeros_like(x, device=cpu, memory_format=tg.preserve_format),
            tg.empty(0, device=cpu, memory_format=tg.contiguous_format),
        ),
        *(x.new_zeros(2, device="cpu"), x.new_tensor([1], device=cpu), x.to("cpu"), x.to(cpu, tg.float64), x.to(device=cpu)),
        *(
            x.to(tg.float64, memory_format=tg.preserve_format),
            x.t().clone(memory_format=tg.contiguous_format).view(6),
            x.contiguous(),
        ),
    ]
    drawn = [tg.rand(2, device=cpu), tg.randn(2, device="cpu"), tg.randint(3, (2,), device=cpu), tg.rand_like(x, device=cpu)]
    drawn += [tg.normal(0.0, 1.0, (2,), device="cpu"), tg.randperm(3, device="cpu")]
    told = [str(cpu), repr(cpu), cpu.type, cpu.index, repr(tg.device("cpu", 0)), cpu == x.device, hash(cpu) == hash(x.device)]
    told += [x.layout is tg.strided, x.is_cuda, x.is_cpu, x.is_sparse, x.is_quantized, x.get_device(), tg.device("cpu:0") == cpu]
    return made, [d.shape == tuple(d.shape) and d.numel() for d in drawn], told


@script
def words_for_places_are_refused_where_they_mean_nothing(tg: Any) -> Any:
    calls = [
        partial(tg.zeros, 2, layout="strided"),
        partial(tg.zeros, 2, device=[]),
        partial(tg.zeros, 2, memory_format=tg.contiguous_format),
        partial(tg.tensor, 1.0, layout=tg.strided),
        partial(tg.zeros_like, tg.ones(1), memory_format=1),
        partial(tg.ones(1).clone, device="cpu"),
        partial(tg.zeros, 2, generator=None),
        partial(tg.zeros, 2, where="cpu"),
    ]
    return [attempt(call) for call in calls]


@script
def other_places_are_refused_by_name_ours(tg: Any) -> Any:
    x = tg.ones(2)
    calls = [
        partial(tg.zeros, 2, device="cuda"),
        partial(tg.device, "cuda:0"),
        partial(x.to, "cuda"),
        partial(x.to, "mps", tg.float64),
    ]
    calls += [partial(tg.zeros, 2, pin_memory=True), partial(tg.Generator, "cuda"), partial(tg.rand, 2, device=1)]
    return [attempt(call) for call in calls]


@script
def as_array_takes_what_is_there(tg: Any) -> Any:
    leaf, plain = tg.tensor([1.0], requires_grad=True), tg.tensor([1.0])
    made = leaf * 2
    same = [tg.asarray(leaf) is leaf, tg.asarray(made, requires_grad=True) is made, tg.asarray(plain, copy=False) is plain]
    others = [tg.asarray([1, 2]), tg.asarray([1, 2], dtype=tg.float32), tg.asarray(1.5, requires_grad=True), tg.asarray(np.ones(2))]
    others += [tg.asarray(leaf, copy=True), tg.asarray(leaf, dtype=tg.float64), tg.asarray(made, requires_grad=False)]
    others += [tg.asarray(plain, requires_grad=True), plain, tg.scalar_tensor(2), tg.scalar_tensor(True, dtype=tg.int64)]
    calls = [partial(tg.asarray, plain, dtype=tg.float64, copy=False), partial(tg.asarray, [1.0], copy=False)]
    calls += [partial(tg.asarray, [1], requires_grad=True), partial(tg.asarray, [1], copy=1), partial(tg.asarray, "a")]
    return same, others, [attempt(call) for call in [*calls, partial(tg.scalar_tensor, [1]), partial(tg.scalar_tensor, 1j)]]


@script
def what_types_can_hold(tg: Any) -> Any:
    floats, integers = (
        (tg.float16, tg.float32, tg.float64, tg.complex64, tg.complex128),
        (tg.uint8, tg.int8, tg.int32, tg.int64, tg.uint64),
    )
    told: list[Any] = [repr(tg.finfo(t)) for t in floats] + [repr(tg.iinfo(t)) for t in integers[:2]]
    told += [
        getattr(tg.finfo(t), n)
        for t in floats
        for n in ("eps", "max", "min", "tiny", "smallest_normal", "resolution", "bits", "dtype")
    ]
    told += [(tg.iinfo(t).max, tg.iinfo(t).min, tg.iinfo(t).bits) for t in integers]
    told += [
        tg.float32.to_complex(),
        tg.float64.to_complex(),
        tg.complex128.to_real(),
        tg.int8.to_real(),
        tg.finfo() == tg.finfo(tg.float32),
    ]
    calls = [
        partial(tg.finfo, tg.int64),
        partial(tg.iinfo, tg.float32),
        partial(tg.iinfo, tg.bool),
        partial(tg.finfo, "a"),
        tg.iinfo,
    ]
    return told, [attempt(call) for call in [*calls, tg.int64.to_complex]]


@script
def generators_draw_apart_from_the_session(tg: Any) -> Any:
    def same(a: Any, b: Any) -> bool:
        return bool((a == b).all())

    g = tg.Generator().manual_seed(7)
    first, second = tg.rand(3, generator=g), tg.rand(3, generator=g)
    tg.manual_seed(7)
    seen = [same(first, tg.rand(3)), same(first, second)]
    tg.manual_seed(1)
    undisturbed = tg.rand(2)
    tg.manual_seed(1)
    x = tg.ones(4)
    drawn = [tg.randn(2, generator=g), tg.randint(3, (2,), generator=g), tg.randperm(3, generator=g), tg.bernoulli(x, generator=g)]
    drawn += [tg.normal(x, 1.0, generator=g), tg.normal(0.0, 1.0, (2,), generator=g), tg.multinomial(x, 2, generator=g)]
    drawn += [tg.zeros(2).uniform_(generator=g), tg.zeros(2).normal_(0, 1, generator=g), tg.zeros(2).bernoulli_(0.5, generator=g)]
    drawn += [tg.randn_like(x, generator=g), tg.rand(2, generator=None)[:0], tg.rand(2, generator=g, out=tg.empty(2))]
    tg.manual_seed(1)
    seen += [same(undisturbed, tg.rand(2)), *(tuple(d.shape) for d in drawn)]
    state = g.get_state()
    again = [tg.randn(3, generator=g), tg.randn(3, generator=g.set_state(state))]
    fresh = tg.Generator()
    before = [
        fresh.initial_seed(),
        tg.Generator().manual_seed(-1).initial_seed() > 0,
        str(fresh.device),
        fresh.seed() == fresh.initial_seed(),
    ]
    begun = tg.Generator().manual_seed(3)
    kept = begun.get_state()
    seen += [same(*again), same(tg.rand(2, generator=begun), tg.rand(2, generator=begun.set_state(kept))), *before]
    tg.manual_seed(2)
    wanted = tg.rand(2)
    tg.random.manual_seed(2)
    with tg.random.fork_rng():
        tg.rand(9)
    seen += [same(wanted, tg.rand(2)), tg.seed() >= 0]
    return seen, [attempt(partial(tg.rand, 2, generator=5)), attempt(partial(tg.Generator().manual_seed, 2**64))]
