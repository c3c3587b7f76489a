"""The entry of an op while a run is recorded: it computes as the op's own does, and what it computes becomes steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from telegrad_service.compiler.ir import CALL, Result, replaced
from telegrad_service.compiler.tracing import take_apart
from telegrad_service.engine.calls import Call
from telegrad_service.engine.table import Array, Entry
from telegrad_service.engine.tensor import Tensor

if TYPE_CHECKING:
    from telegrad_service.compiler.recorder import Recorder


class RecordedEntry:
    """An op's entry for one call, whose kernels are recorded; the rest is the entry itself."""

    def __init__(self, recorder: Recorder, entry: Entry, inputs: Sequence[Any], call: Call) -> None:
        self._recorder = recorder
        self._entry = entry
        self._inputs = inputs
        self._call = call
        self._made: Any = None
        self.op = entry.op
        self.plan = entry.plan

    # Properties: what keeps a method of its own goes with the next collection only, and with it all arrays of the run.
    in_place = property(lambda self: None if self._entry.in_place is None else self._write)
    keeping = property(lambda self: None if self._entry.keeping is None else self._keep)

    def _converted(self, arrays: Sequence[Any], inputs: Sequence[Any]) -> None:
        """Record what the engine converted before the kernel came."""
        recorder = self._recorder
        for x, array in zip(inputs, arrays, strict=True):
            if isinstance(x, Tensor) and array is not x.array and not recorder.knows(array):
                source = recorder.value(x.array)
                recorder.add(CALL, np.ndarray.astype, (source, array.dtype), {}, [Result((), recorder.fresh(array), False)])
            elif not isinstance(x, Tensor) and isinstance(array, (np.ndarray, np.generic)):
                recorder.constant(np.asarray(array))

    def kernel(self, *arrays: Any, **parameters: Any) -> Any:
        """Compute, and record how."""
        recorder, entry = self._recorder, self._entry
        if recorder.failed:
            return entry.kernel(*arrays, **parameters)
        self._converted(arrays, self._inputs)
        values = entry.kernel(*arrays, **parameters)
        if self.op.random:
            home, kernel = recorder.home, entry.kernel
            parameters = {k: v for k, v in parameters.items() if k != "generator"}

            def draw(*args: Any, **keywords: Any) -> Any:
                return kernel(*args, **keywords, generator=home.generator)

            self._made = recorder.unit(draw, arrays, parameters, values, random=True)
        else:
            self._made = recorder.unit(entry.kernel, arrays, parameters, values, fallible=not self.op.view)
        return self._made

    def _keep(self, *arrays: Any, **parameters: Any) -> Any:
        """Likewise where a node is made, and what the kernel finds on the way is kept for backward."""
        recorder, keeping = self._recorder, cast("Any", self._entry.keeping)
        if recorder.failed:
            return keeping(*arrays, **parameters)
        self._converted(arrays, self._inputs)
        values, kept = recorder.unit(keeping, arrays, parameters, keeping(*arrays, **parameters))
        self._made = values
        return values, kept

    def _write(self, target: Array, *others: Any, **parameters: Any) -> None:
        recorder, in_place = self._recorder, cast("Any", self._entry.in_place)
        if recorder.failed:
            in_place(target, *others, **parameters)
            return
        self._converted(others, self._inputs[1:])
        before = target.copy(order="K")
        in_place(target, *others, **parameters)
        stands = take_apart(in_place, (before, *others), parameters, target, before) if before.strides == target.strides else None
        value = recorder.value(target)
        if stands is None:
            arguments = replaced((target, *others), lambda x: recorder.value(x) if isinstance(x, np.ndarray) else x)
            recorder.add(CALL, in_place, arguments, parameters, [], writes=(value,), fallible=True)
            return
        recorder.same(before, value)
        recorder.apart(None, (stands[0], stands[1], None))

    def finish(self, tensors: Sequence[Tensor], in_place: bool) -> None:
        """Tie what the kernel gave to the tensors that the engine made of it, or to the one that it wrote to."""
        recorder = self._recorder
        made, self._made = self._made, None
        if recorder.failed or made is None:
            return
        if in_place:
            self._store(tensors[0], made)
            return
        for array, tensor in zip(made if isinstance(made, tuple) else (made,), tensors, strict=True):
            if tensor.array is not array and not recorder.knows(tensor.array):
                value = recorder.value(array)
                recorder.add(
                    CALL, np.ndarray.astype, (value, tensor.array.dtype), {}, [Result((), recorder.fresh(tensor.array), False)]
                )

    def _store(self, target: Tensor, made: Array) -> None:
        recorder = self._recorder
        value = recorder.value(target.array)
        if target.node is not None:
            for array in target.node.saved or ():  # the engine keeps the old value where a formula needs it
                if isinstance(array, np.ndarray) and not recorder.knows(array):
                    recorder.add(CALL, np.copy, (value,), {}, [Result((), recorder.fresh(array), False)])
        recorder.add(CALL, _store, (value, recorder.value(made)), {}, [], writes=(value,))


def _store(target: Array, made: Array) -> None:
    np.copyto(target, np.real(made) if made.dtype.kind == "c" and target.dtype.kind != "c" else made, casting="unsafe")
