"""Custom functions with ``torch.autograd.Function``'s interface: a forward of any ops, and a backward of one's own."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from telegrad.contract.custom import check_gradient
from telegrad.contract.errors import (
    ArgumentTypeError,
    AutogradError,
    DerivativeMissingError,
    VersionError,
)
from telegrad.contract.hooks import known_dtype, known_shape
from telegrad.contract.modes import is_grad_enabled, no_grad
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.wrapper import innermost, running
from telegrad.contract.watching import current_packing, no_tensor, packed_in_place

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """What the forward of a ``Function`` tells its backward. Any attribute may be set on it; tensors for backward go into
    ``save_for_backward``, which notices when they are changed in place, and frees them with the graph.

    Attributes:
        needs_input_grad: per argument of ``apply``, whether it is a tensor that requires grad.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self.to_save: tuple[Any, ...] = ()
        self.saved_for_forward: tuple[Any, ...] = ()
        self.dirty_tensors: tuple[Any, ...] = ()
        self.non_differentiable: tuple[Any, ...] = ()
        self.materialize_grads = True
        self._kept: tuple[_Kept | None, ...] = ()
        self._in_forward_mode = False

    def name(self) -> str:
        """The name of the node."""
        return type(self).__name__

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or other tensors for ``backward``, where ``saved_tensors`` has them. To be called once."""
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``jvp``, where ``saved_tensors`` has them."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs were changed in place. Each of them must be returned."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs have no gradient. ``backward`` gets zeros for them all the same."""
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` and ``jvp`` get zeros (the default) or None for gradients that are missing."""
        self.materialize_grads = bool(value)

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """The old name of ``saved_tensors``, deprecated as in PyTorch."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors that were saved, with their history.

        Raises VersionError where one of them was changed in place since.
        """
        if self._in_forward_mode:
            return self.saved_for_forward
        return tuple([None if kept is None else kept.tensor(self.name()) for kept in self._kept])


class _Kept:
    """A saved tensor and how often it had been written to; or what a hook has packed it to, and the hook that unpacks that."""

    __slots__ = ("_give", "_packed", "_version")

    def __init__(self, give: Callable[[], Any], version: int, packed: tuple[Any, Callable[[Any], Any]] | None = None) -> None:
        self._give = give
        self._version = version
        self._packed = packed

    def tensor(self, by: str) -> Any:
        """The tensor again. Raises VersionError where it was changed."""
        if self._packed is not None:
            return self._unpacked(*self._packed)
        tensor = self._give()
        now = tensor.session._written(tensor)
        if now > self._version:
            raise VersionError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: a value of "
                f"{known_dtype(tensor)} {list(known_shape(tensor) or ())} saved by {by} is at version {now}; expected version "
                f"{self._version} instead. Hint: clone() the tensor before changing it in place, or change it after backward()."
            )
        return tensor

    def _unpacked(self, value: Any, unpack: Callable[[Any], Any]) -> Any:
        found = unpack(value)
        if not isinstance(found, Tensor):
            raise no_tensor(found)
        saved = self._give()
        if saved is None or not is_grad_enabled():
            return found
        with no_grad():  # these values, with the history of what was saved
            (made,) = found.session._attach(_Same(), [saved], [found.detach()], [True], [False], [])
        return made


class _Same:
    """The backward of a tensor that stands for another one. See ``telegrad.contract.custom.Backward``."""

    name = "AliasBackward0"
    materialize = False
    saves = False

    def run(self, gradients: tuple[Any, ...]) -> Sequence[Any]:
        """The gradient as it is."""
        return gradients


class _Run:
    """The backward of one call. See ``telegrad.contract.custom.Backward``."""

    def __init__(self, function: type[Function], ctx: FunctionCtx, arguments: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.name = ctx.name()
        self.materialize = ctx.materialize_grads
        self.saves = any(t is not None for t in ctx.to_save)
        self._function = function
        self.context = ctx
        self._tensors = [y is not None for y in outputs]
        self._shapes = [
            (known_shape(x), known_dtype(x), n) if isinstance(x, Tensor) else None
            for x, n in zip(arguments, ctx.needs_input_grad, strict=True)
        ]

    def run(self, gradients: tuple[Any, ...]) -> list[Any]:
        """See ``telegrad.contract.custom.Backward``."""
        shown = [g if there else None for g, there in zip(gradients, self._tensors, strict=True)]
        result = _backward_of(self._function)(self.context, *shown)
        given = as_tuple(result)
        count = len(self._shapes)
        if len(given) > count and all(g is None for g in given[count:]):
            given = given[:count]
        if len(given) != count:
            raise AutogradError(
                f"function {self.name} returned an incorrect number of gradients (expected {count}, got {len(given)})"
            )
        found: list[Any] = []
        for position, (gradient, shape) in enumerate(zip(given, self._shapes, strict=True)):
            if shape is None:
                if gradient is not None:
                    raise AutogradError(
                        f"function {self.name} returned a gradient different than None at position {position + 1}, but the "
                        "corresponding forward input was not a Variable"
                    )
                continue
            found.append(self._checked(gradient, len(found), *shape))
        return found

    def _checked(self, gradient: Any, index: int, shape: Any, dtype: Any, needed: bool) -> Any:
        if gradient is None:
            return None
        if not isinstance(gradient, Tensor):
            raise AutogradError(f"expected Variable or None (got {type(gradient).__name__})")
        if not needed:
            return None
        check_gradient(self.name, index, gradient, shape, dtype)
        return gradient


_NO_BACKWARD: Final = (
    "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
)


class Function:
    """A function with a gradient of its own. Subclass it, and call ``YourFunction.apply(...)``.

    Define ``forward(ctx, *args)``, or ``forward(*args)`` and ``setup_context(ctx, inputs, output)``; and
    ``backward(ctx, *grad_outputs)``, all static methods. ``forward`` may use any ops; they are not recorded. ``backward`` gets one
    gradient for each output and returns one for each argument, None for arguments that are no tensors. What it does is recorded
    with ``create_graph=True``, so that it can be differentiated itself.
    """

    generate_vmap_rule: ClassVar[bool] = False
    """True lets ``vmap`` run ``forward``, ``setup_context`` and ``backward`` on all rows at once."""

    _context: ClassVar[type[FunctionCtx]] = FunctionCtx

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._context = type(f"{cls.__name__}Backward", (FunctionCtx,), {"__module__": cls.__module__})

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - of no use whatever they are
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all static, so you should invoke them "
            "on the class itself. Instantiating an autograd function will raise an error in a future version.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - refused whatever they are
        """Refused: there are no instances to call."""
        raise AutogradError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd function with "
            f"static forward method: {type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result: a tensor, or a tuple of tensors and anything else."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save what ``backward`` needs, where ``forward`` has no ``ctx``."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any, **kwargs: Any) -> Any:  # noqa: ARG004 - overridden with any signature
        """From the gradients of the outputs to those of the arguments."""
        raise DerivativeMissingError(_NO_BACKWARD)

    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any, **kwargs: Any) -> Any:  # noqa: ARG004 - overridden with any signature
        """Another name for ``backward``."""
        raise DerivativeMissingError(_NO_BACKWARD)

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any, **kwargs: Any) -> Any:  # noqa: ARG004 - likewise
        """From the tangents of the arguments to those of the outputs, for forward mode."""
        raise DerivativeMissingError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Do all rows: from ``info.batch_size``, the batch dimension of each argument (None: it has none) and the arguments to
        the outputs and their batch dimensions.
        """
        raise NotImplementedError("To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
                                  "generate_vmap_rule=True.")  # fmt: skip

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function.

        Returns what ``forward`` returns, the tensors among it with a history of one node, called like the class plus
        ``Backward``.

        Raises:
            NotImplementedError: there is no ``forward``.
            ArgumentTypeError: ``save_for_backward`` of something else than tensors, or arguments that do not fit ``forward``.
            AutogradError: a tensor marked as dirty that is not returned, a leaf that requires grad marked as dirty, and in the
                backward, gradients that do not fit the arguments.
        """
        split = overridden(cls, "setup_context")
        if split or kwargs:
            args, kwargs = _bound(cls, args, kwargs, split)
        if running():
            wrapper = innermost(args)
            if (wrapper is not None and wrapper.level.functional) or any(level.functional for level in running()):
                _check_transformable(split)
            if wrapper is not None and not wrapper.level.over:
                from telegrad.autograd._function_transforms import transformed  # it needs this module

                return transformed(cls, wrapper, args, kwargs)
        return call(cls, args, kwargs)[0]


def as_tuple(result: Any) -> tuple[Any, ...]:
    """The values of a tuple, or the one value that there is."""
    values: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)
    return values


def overridden(cls: type[Function], name: str) -> bool:
    """Whether a subclass defines this method."""
    return getattr(cls, name) is not getattr(Function, name)


def _check_transformable(split: bool) -> None:
    if not split:
        raise AutogradError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must override the "
            "setup_context staticmethod: forward without ctx, and what is saved in setup_context(ctx, inputs, output)."
        )


def _bound(cls: type[Function], args: Any, kwargs: Any, split: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments by position; with ``setup_context`` those left out too, for which backward returns nothing otherwise."""
    try:
        bound = inspect.signature(cls.forward).bind(*(() if split else (None,)), *args, **kwargs)
    except TypeError as error:
        raise ArgumentTypeError(f"{cls.__name__}.forward: {error}") from None
    ordered = [p.name for p in bound.signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if split or any(name in bound.kwargs for name in ordered):  # one was left out before one that was given
        bound.apply_defaults()
    return (bound.args if split else bound.args[1:]), bound.kwargs


def _backward_of(cls: type[Function]) -> Callable[..., Any]:
    if overridden(cls, "vjp"):
        if overridden(cls, "backward"):
            raise AutogradError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of "
                "them."
            )
        return cls.vjp
    return cls.backward


def call(cls: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, FunctionCtx]:
    """Call a function on plain tensors; its result, and what the call told its backward."""
    ctx = cls._context()
    inputs: list[Any] = []
    for x in args:
        if isinstance(x, Tensor):
            inputs.append(x)
        elif isinstance(x, TensorBase):
            raise ArgumentTypeError(f"{cls.__name__}.apply takes plain tensors; async tensors cannot record custom functions")
    ctx.needs_input_grad = tuple([isinstance(x, Tensor) and x.requires_grad for x in args])
    records = is_grad_enabled() and any(ctx.needs_input_grad)
    with no_grad():
        if overridden(cls, "setup_context"):
            output = cls.forward(*args, **kwargs)
            cls.setup_context(ctx, args, output)
        else:
            output = cls.forward(ctx, *args, **kwargs)
        outputs = list(as_tuple(output))
        outputs = _finished(cls, ctx, args, inputs, outputs, records)
    return (tuple(outputs) if isinstance(output, tuple) else outputs[0]), ctx


def _finished(
    cls: type[Function], ctx: FunctionCtx, args: tuple[Any, ...], inputs: list[Any], outputs: list[Any], records: bool
) -> list[Any]:
    """The outputs with their history, and what was saved in the form in which it is kept."""
    dirty, fixed = _ids(ctx.dirty_tensors, "mark_dirty"), _ids(ctx.non_differentiable, "mark_non_differentiable")
    for position, saved in enumerate(ctx.to_save):
        if saved is not None and not isinstance(saved, Tensor):
            raise ArgumentTypeError(
                f"save_for_backward can only save variables, but argument {position} is of type {type(saved).__name__}"
            )
    returned = {id(y) for y in outputs}
    if not dirty <= returned:
        raise AutogradError(
            "Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified "
            "inplace must all be outputs of the Function."
        )
    given = {id(x) for x in inputs}
    if not dirty <= given:
        _refuse_dirty([t for t in ctx.dirty_tensors if id(t) not in given])
        dirty &= given
    tensors = [y if isinstance(y, Tensor) else None for y in outputs]
    flows = [y is not None and records and id(y) not in fixed and _differentiable(y) for y in tensors]
    if overridden(cls, "setup_context") and records:
        for saved in (*ctx.to_save, *ctx.saved_for_forward):
            if id(saved) in given and id(saved) in returned and id(saved) not in dirty:
                raise AutogradError(
                    "An input that has been returned as-is as output is being saved for backward. This is not supported if you "
                    "override setup_context. You should return and save a view of the input instead, e.g. with x.view_as(x) or "
                    "setup ctx inside the forward function itself."
                )
    for index, y in enumerate(tensors):
        # A view that requires grad because its base does stays one that was made in no_grad mode, as in PyTorch.
        if y is not None and not flows[index] and id(y) not in dirty and (id(y) in given or (y.requires_grad and not y._is_view())):
            outputs[index] = tensors[index] = y.detach()
    if not any(flows):
        return outputs
    session = inputs[0].session
    saved_now = [t for t in ctx.to_save if t is not None]
    made = session._attach(_Run(cls, ctx, args, tensors), inputs, tensors, flows, [id(y) in dirty for y in tensors], saved_now)
    own = {id(before) for before, after, flow in zip(tensors, made, flows, strict=True) if flow and before is after}
    ctx._kept = tuple([None if t is None else _kept(t, id(t) in own) for t in ctx.to_save])
    ctx.to_save = ctx.dirty_tensors = ctx.non_differentiable = ()
    return [y if t is None else t for y, t in zip(outputs, made, strict=True)]


def _refuse_dirty(others: Sequence[Any]) -> None:
    """Tensors that are no inputs were marked as dirty: a warning, and an error where they are views."""
    said = (
        "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been mutated should be passed to "
        "ctx.mark_dirty()."
    )
    if any(t._is_view() for t in others):
        raise AutogradError(said)
    warnings.warn(said, UserWarning, stacklevel=5)


def _ids(tensors: Sequence[Any], what: str) -> set[int]:
    for position, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise AutogradError(f"{what} can only accept variables, but argument {position} is of type {type(t).__name__}")
    return {id(t) for t in tensors}


def _differentiable(tensor: Tensor) -> bool:
    dtype = known_dtype(tensor)
    return dtype is None or dtype.is_differentiable


def _kept(tensor: Any, is_output: bool) -> _Kept:
    session = tensor.session
    version = session._written(tensor)
    give = session._keep_output(tensor) if is_output else lambda: tensor
    packing = current_packing()
    if packing is None:
        return _Kept(give, version)
    value = packing.pack(tensor)
    if session._written(tensor) != version:
        raise packed_in_place()
    return _Kept(give if tensor.requires_grad else lambda: None, version, (value, packing.unpack))


# Backward once only ----------------------------------------------------------------------------------------------------------

_TWICE: Final = "trying to differentiate twice a function that was marked with @once_differentiable"


class _Refusing:
    """The backward of gradients that cannot be differentiated again."""

    name = "Error"
    materialize = True
    saves = False

    def run(self, gradients: tuple[Any, ...]) -> Sequence[Any]:  # noqa: ARG002 - whatever they are
        """Refuse."""
        raise AutogradError(_TWICE)


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``backward`` that cannot be differentiated: nothing of it is recorded, and who tries gets an AutogradError."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            result = fn(ctx, *args)
        sources = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
        if not is_grad_enabled() or not sources:
            return result
        outputs = list(as_tuple(result))
        places = [i for i, y in enumerate(outputs) if isinstance(y, Tensor)]
        with no_grad():
            fresh = [outputs[i].detach() for i in places]
            flows = [True] * len(fresh)
            made = sources[0].session._attach(_Refusing(), sources, fresh, flows, [False] * len(fresh), []) if fresh else []
        for place, y in zip(places, made, strict=True):
            outputs[place] = y
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]

    return wrapper
