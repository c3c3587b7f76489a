"""Functions made of ops, one of which has a result that depends on values: what they need shows on the way, op by op."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from telegrad.contract import compositions
from telegrad.contract.dtypes import DType
from telegrad.contract.ops import Shape
from telegrad.contract.transforms.wrapper import Level, Wrapped, entered
from telegrad_service.engine.calls import apply
from telegrad_service.engine.tensor import Engine, Tensor, spec_of

if TYPE_CHECKING:
    from telegrad_service.session.quota import Quota


def run(name: str, engine: Engine, quota: Quota, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """As ``compositions.run``. Raises LimitError or QuotaError at the first op that would exceed a limit, before it is computed."""
    level = Weighing(engine, quota)
    with entered(level):
        made = compositions.run(name, engine, [level.around(x) for x in inputs], parameters)
    return tuple([x.held if isinstance(x, Weighed) else x for x in made])


class Weighing(Level):
    """The ops of one function."""

    def __init__(self, engine: Engine, quota: Quota) -> None:
        super().__init__()
        self.engine = engine
        self.quota = quota

    def around(self, value: Any) -> Any:
        """A tensor, or the tensors in a tuple, wrapped; anything else as it is."""
        if isinstance(value, tuple):
            several: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
            return tuple([self.around(v) for v in several])
        return Weighed(self, value) if isinstance(value, Tensor) else value

    def do(self, name: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """One op on plain tensors, admitted."""
        op, in_place = compositions.look_up(name)
        self.quota.foresee(self.engine, op, inputs, parameters, in_place=in_place)
        return apply(self.engine, name, inputs, parameters)


class Weighed(Wrapped):
    """One tensor of the function, whose values it may look at."""

    __slots__ = ("held",)
    level: Weighing

    def __init__(self, level: Weighing, held: Tensor) -> None:
        self.level = level
        self.held = held

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        return spec_of(self.held).shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return spec_of(self.held).dtype

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """See ``Tensor.numpy``."""
        return self.held.numpy(force=force)

    def _value(self) -> npt.NDArray[Any]:
        return self.held._value()

    def _held(self) -> Tensor:
        return self.held

    def _with_held(self, change: Callable[[Any], Any]) -> Any:
        return Weighed(self.level, change(self.held))

    def _transform(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        return self.level.around(self.level.do(op, tuple([x.held if isinstance(x, Weighed) else x for x in inputs]), parameters))
