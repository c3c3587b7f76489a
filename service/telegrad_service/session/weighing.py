"""Functions made of ops, one of which has a result that depends on values: what they need shows on the way, op by op."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from telegrad.contract import compositions
from telegrad.contract.transforms.wrapper import entered
from telegrad_service.engine.calls import apply
from telegrad_service.engine.detour import Detour, Detoured

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine
    from telegrad_service.session.quota import Quota


def run(name: str, engine: Engine, quota: Quota, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """As ``compositions.run``. Raises LimitError or QuotaError at the first op that would exceed a limit, before it is computed."""
    level = Weighing(engine, quota)
    with entered(level):
        made = compositions.run(name, engine, [level.around(x) for x in inputs], parameters)
    return tuple([x.held if isinstance(x, Weighed) else x for x in made])


class Weighing(Detour):
    """The ops of one function."""

    def __init__(self, engine: Engine, quota: Quota) -> None:
        super().__init__()
        self.engine = engine
        self.quota = quota

    def do(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """One op on plain tensors, admitted."""
        row, in_place = compositions.look_up(op)
        self.quota.foresee(self.engine, row, inputs, parameters, in_place=in_place)
        return apply(self.engine, op, inputs, parameters)


class Weighed(Detoured):
    """One tensor of the function, whose values it may look at."""

    __slots__ = ()

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """See ``Tensor.numpy``."""
        return self.held.numpy(force=force)

    def _value(self) -> npt.NDArray[Any]:
        return self.held._value()


Weighing.wrapper = Weighed
