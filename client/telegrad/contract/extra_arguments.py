"""Arguments that many methods take beside their own: where a tensor lies (``placement``), and with what random numbers it is drawn.

They are no parameters of an op: nothing of them is computed, and nothing travels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from telegrad.contract.generator import drawing
from telegrad.contract.placement import settle

F = TypeVar("F", bound=Callable[..., Any])

_PLACE: Final = ("device", "layout", "pin_memory")
_DEVICE: Final = ("device",)
_FORMAT: Final = ("memory_format",)
_LIKE: Final = (*_PLACE, *_FORMAT)
_DRAWN: Final = ("generator",)

EXTRA_ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {
    "tensor": ("device", "pin_memory"),
    "new_tensor": ("device", "pin_memory"),
    "as_tensor": _DEVICE,
    "asarray": _DEVICE,
    "empty": _LIKE,
    **dict.fromkeys(("zeros", "ones", "full", "eye", "arange", "range", "linspace", "logspace", "scalar_tensor"), _PLACE),
    **dict.fromkeys(("tril_indices", "triu_indices", "fftfreq", "rfftfreq"), _PLACE),
    **dict.fromkeys(("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"), _PLACE),
    **dict.fromkeys(("new_full", "new_zeros", "new_ones", "new_empty"), _PLACE),
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "full_like"), _LIKE),
    **dict.fromkeys(("clone", "contiguous"), _FORMAT),
    **dict.fromkeys(("rand", "randn", "randint", "randperm", "normal"), (*_PLACE, *_DRAWN)),
    **dict.fromkeys(("rand_like", "randn_like", "randint_like"), (*_LIKE, *_DRAWN)),
    **dict.fromkeys(("bernoulli", "multinomial"), _DRAWN),
    **dict.fromkeys(("bernoulli_", "uniform_", "normal_", "random_", "exponential_", "cauchy_"), _DRAWN),
    **dict.fromkeys(("log_normal_", "geometric_"), _DRAWN),
}
"""By method, the arguments it takes beside those in its signature; PyTorch takes them there."""


def with_extra_arguments(function: F, name: str) -> F:
    """``function``, a method or a function of a session's or a tensor's, which takes what ``EXTRA_ARGUMENTS`` says of ``name``."""
    extra = EXTRA_ARGUMENTS[name]
    placed = tuple([argument for argument in extra if argument != "generator"])

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            return function(*args)
        contiguous = settle(name, placed, kwargs)
        generator = kwargs.pop("generator", None) if "generator" in extra else None
        if generator is None:
            made = function(*args, **kwargs)
        else:
            with drawing(name, generator, args, kwargs):
                made = function(*args, **kwargs)
        return made.contiguous() if contiguous else made

    call.__qualname__ = name
    taken: Any = call
    return taken  # type: ignore[no-any-return]


def accept_extra_arguments(cls: type) -> None:
    """Let a class's own methods take them."""
    for name, method in list(vars(cls).items()):
        known = name.lstrip("_")  # a function of a module has its method by such a name
        if known in EXTRA_ARGUMENTS and inspect.isfunction(method):
            setattr(cls, name, with_extra_arguments(method, known))
