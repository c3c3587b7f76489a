"""Products and whole matrices of first and second derivatives of a function, with ``torch.autograd.functional``'s names.

A function takes one tensor or several, and returns a tensor or a tuple of them. Results are nested likewise: one tensor where one
was given or returned, else a tuple. ``telegrad.func`` has the same as transforms of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from telegrad.contract.errors import ArgumentTypeError, AutogradError, DerivativeMissingError, ShapeError
from telegrad.contract.modes import enable_grad, is_grad_enabled, set_grad_enabled
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.wrapper import do, lifted, running

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors: TypeAlias = "Tensor | tuple[Tensor, ...]"
Function: TypeAlias = Callable[..., Any]

_NOT_STRICT = "This is not allowed in strict mode"
_INDEPENDENT_JACOBIAN = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is independent of "
    f"the input. {_NOT_STRICT}. You should ensure that your function is twice differentiable and that the jacobian depends on the "
    "inputs (this would be violated by a linear function for example)."
)


# What goes in and comes out --------------------------------------------------------------------------------------------------


class _Point:
    """A function at a point, recorded: inputs that require grad and stand for the given ones, and the outputs.

    Attributes:
        inputs: the aliases.
        outputs: what the function gave.
        several: whether the inputs, and the outputs, were given as tuples.
    """

    def __init__(self, function: Function, inputs: Any, name: str, *, create_graph: bool, strict: bool) -> None:
        self.name = name
        self.create_graph = create_graph
        self.strict = strict
        takes_several, given = _as_tuple(inputs, "inputs", name)
        self.given = given
        with enable_grad():
            self.inputs = [_alias(x, create_graph) for x in given]
            gives_several, self.outputs = _as_tuple(function(*self.inputs), "outputs of the user-provided function", name)
        self.several = (takes_several, gives_several)
        _check_outputs(self.outputs, strict)

    def vectors(self, v: Any, like: Sequence[Tensor], several: bool) -> list[Any]:
        """The vector's parts, one for each of ``like``, in their types."""
        if v is None:
            if several or len(like) != 1 or like[0].numel() != 1:
                what = "the input to the user-provided function is" if like is self.inputs else "the user-provided function returns"
                raise AutogradError(f"The vector v can only be None if {what} a single Tensor with a single element.")
            return [do("ones_like", like[0].detach())]
        _, parts = _as_tuple(v, "v", self.name)
        if len(parts) != len(like):
            if several:
                raise AutogradError(f"v is a tuple of invalid length: should be {len(like)} but got {len(parts)}.")
            raise AutogradError("The given v should contain a single Tensor.")
        for i, (part, x) in enumerate(zip(parts, like, strict=True)):
            if tuple(part.shape) != tuple(x.shape):
                which = f"Entry {i} in v" if several or len(like) > 1 else "v"
                raise ShapeError(f"{which} has invalid size: should be {list(x.shape)} but got {list(part.shape)}.")
        with set_grad_enabled(self.create_graph):
            own = [part if self.create_graph else part.detach() for part in parts]
            return [part if part.dtype is x.dtype else part.to(x.dtype) for part, x in zip(own, like, strict=True)]

    def finished(self, made: Sequence[Any], several: bool) -> Any:
        """Results as they are given out: with history only if asked for."""
        own = [x if self.create_graph or not x.requires_grad else x.detach() for x in made]
        return tuple(own) if several else own[0]

    def filled(self, found: Sequence[Any], like: Sequence[Tensor], independent: str, derivative: str) -> list[Any]:
        """Derivatives with zeros in the place of those that do not exist; refuses them in strict mode.

        ``independent`` says what does not depend on an input; ``derivative`` what does not after it was differentiated.
        """
        filled: list[Any] = []
        for i, (g, x) in enumerate(zip(found, like, strict=True)):
            if g is None:
                if self.strict:
                    raise AutogradError(f"{independent} of the user-provided function is independent of input {i}. {_NOT_STRICT}.")
                g = do("zeros_like", x.detach())
            elif self.strict and self.create_graph and not g.requires_grad:
                raise AutogradError(
                    f"The {derivative} of the user-provided function is independent of input {i}. {_NOT_STRICT} when "
                    "create_graph=True."
                )
            filled.append(g)
        return filled

    def scalar(self) -> Tensor:
        """The single output, of one element."""
        return _scalar(self.outputs, self.several[1], self.name)


def _check_outputs(outputs: Sequence[Tensor], strict: bool) -> None:
    for i, y in enumerate(outputs):
        if strict and not y.requires_grad:
            raise AutogradError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
                "differentiable manner from the input when running in strict mode."
            )


def _scalar(outputs: Sequence[Tensor], several: bool, name: str) -> Tensor:
    if several:
        raise AutogradError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise ShapeError(f"The Tensor returned by the function given to {name} should contain a single element")
    return outputs[0].reshape(()) if outputs[0].shape else outputs[0]


def _as_tuple(value: Any, what: str, name: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether ``value`` is a tuple, and its tensors."""
    wanted = f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the"
    if not isinstance(value, tuple):
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(f"{wanted} given {what} has type {type(value)}.")
        return False, (value,)
    items: tuple[Any, ...] = value
    for i, item in enumerate(items):
        if not isinstance(item, Tensor):
            raise ArgumentTypeError(f"{wanted} value at index {i} has type {type(item)}.")
    return True, items


def _alias(x: Tensor, create_graph: bool) -> Any:
    """What stands for an input: it requires grad, and with ``create_graph`` its history goes on at the input."""
    own = lifted(x, running())
    made = do("view", own, shape=tuple(x.shape)) if create_graph else own.detach()
    if not made.requires_grad:
        made.requires_grad = True
    return made


def _grad(
    outputs: Sequence[Any],
    inputs: Sequence[Any],
    vectors: Sequence[Any] | None = None,
    *,
    create_graph: bool,
    batched: bool = False,
) -> tuple[Any, ...]:
    """``session.grad`` of those outputs that require grad; None where no one depends on an input."""
    given: Sequence[Any] = (None,) * len(outputs) if vectors is None else vectors
    pairs = [(y, v) for y, v in zip(outputs, given, strict=True) if y is not None and y.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    found: tuple[Any, ...] = inputs[0].session.grad(
        [y for y, _ in pairs],
        list(inputs),
        None if vectors is None else [v for _, v in pairs],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        is_grads_batched=batched,
    )
    return found


# Products --------------------------------------------------------------------------------------------------------------------


def vjp(
    func: Function, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The outputs of ``func``, and the product of a vector with its Jacobian from the left.

    Args:
        func: takes ``inputs`` as its arguments; returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        v: the vector, nested and shaped as the outputs; may be left out where these are one number.
        create_graph: record history of the results, which then follow from ``inputs``.
        strict: refuse an output that does not depend on an input, instead of giving zeros.

    Returns:
        ``(outputs, product)``; the product is nested and shaped as ``inputs``.

    Raises:
        ArgumentTypeError: anything but tensors.
        ShapeError: a vector of another shape.
        AutogradError: a missing vector; in strict mode, independence.
    """
    point = _Point(func, inputs, "vjp", create_graph=create_graph, strict=strict)
    vectors = point.vectors(v, point.outputs, point.several[1])
    with set_grad_enabled(create_graph or is_grad_enabled()):
        found = _grad(point.outputs, point.inputs, vectors, create_graph=create_graph)
        made = point.filled(found, point.inputs, "The output", "jacobian")
    return point.finished(point.outputs, point.several[1]), point.finished(made, point.several[0])


def jvp(
    func: Function, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The outputs of ``func``, and the product of its Jacobian with a vector.

    The product with a vector from the left is linear in that vector u, so its own gradient by u gives the product from the right.
    ``telegrad.func.jvp`` gets there in one pass, forwards.

    Args:
        func: as in ``vjp``.
        inputs: as in ``vjp``.
        v: the vector, nested and shaped as ``inputs``; may be left out where these are one number.
        create_graph: as in ``vjp``.
        strict: as in ``vjp``.

    Returns:
        ``(outputs, product)``; the product is nested and shaped as the outputs.

    Raises as ``vjp`` does.
    """
    point = _Point(func, inputs, "jvp", create_graph=create_graph, strict=strict)
    vectors = point.vectors(v, point.inputs, point.several[0])
    with enable_grad():
        free = [do("zeros_like", y.detach()) for y in point.outputs]
        for u in free:
            if u.dtype.is_differentiable:
                u.requires_grad = True
        pulled = _grad(point.outputs, point.inputs, free, create_graph=True)
        pulled = tuple(point.filled(pulled, point.inputs, "The output", "jacobian"))
        found = _grad(pulled, free, vectors, create_graph=create_graph)
    for g in found:
        if strict and g is None:
            raise AutogradError(f"The output of the user-provided function is independent of the inputs. {_NOT_STRICT}.")
        if strict and create_graph and not g.requires_grad:
            raise AutogradError(
                f"The jacobian of the user-provided function is independent of input 0. {_NOT_STRICT} when create_graph=True."
            )
    made = [do("zeros_like", y.detach()) if g is None else g for y, g in zip(point.outputs, found, strict=True)]
    return point.finished(point.outputs, point.several[1]), point.finished(made, point.several[1])


def _hessian_product(
    func: Function, inputs: Tensors, v: Tensors | None, create_graph: bool, strict: bool, name: str
) -> tuple[Any, Any]:
    point = _Point(func, inputs, name, create_graph=create_graph, strict=strict)
    value = point.scalar()
    vectors = point.vectors(v, point.inputs, point.several[0])
    with enable_grad():
        gradient = _grad([value], point.inputs, create_graph=True)
        _check_gradient(gradient, strict)
        found = _grad(gradient, point.inputs, vectors, create_graph=create_graph)
        made = point.filled(found, point.inputs, "The jacobian", "hessian")
    return point.finished(point.outputs, False), point.finished(made, point.several[0])


def _check_gradient(gradient: Sequence[Any], strict: bool) -> None:
    """In strict mode a gradient must depend on the inputs."""
    for i, g in enumerate(gradient):
        if not strict:
            return
        if g is None:
            raise AutogradError(f"The output of the user-provided function is independent of input {i}. {_NOT_STRICT}.")
        if not g.requires_grad:
            raise AutogradError(_INDEPENDENT_JACOBIAN.format(i))


def vhp(
    func: Function, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a scalar function, and the product of a vector with its Hessian from the left.

    Args:
        func: takes ``inputs`` as its arguments; returns a tensor of one element.
        inputs: as in ``vjp``.
        v: the vector, nested and shaped as ``inputs``; may be left out where these are one number.
        create_graph: as in ``vjp``.
        strict: refuse a value that does not depend on an input, and a gradient that does not, instead of giving zeros.

    Returns:
        ``(value, product)``; the product is nested and shaped as ``inputs``.

    Raises as ``vjp`` does, and for a function that returns anything but one element.
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "vhp")


def hvp(
    func: Function, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a scalar function, and the product of its Hessian, which is symmetric, with a vector: what ``vhp`` gives."""
    return _hessian_product(func, inputs, v, create_graph, strict, "hvp")


# Matrices --------------------------------------------------------------------------------------------------------------------


def jacobian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of ``func``: for each output and input, a tensor of the shape [*output, *input].

    Args:
        func: as in ``vjp``.
        inputs: as in ``vjp``.
        create_graph: as in ``vjp``.
        strict: as in ``vjp``.
        vectorize: take all rows (or columns, forwards) in one pass instead of one after another.
        strategy: "reverse-mode" goes row by row, "forward-mode" column by column: better with more outputs than inputs, and
            possible with ``vectorize`` only.

    Returns:
        One tensor for one output and one input; else a tuple over outputs, over inputs, or over outputs of tuples over inputs.

    Raises as ``vjp`` does; DerivativeMissingError (a NotImplementedError) for "forward-mode" without ``vectorize`` or with
    ``create_graph``; AssertionError for another strategy, as PyTorch does.
    """
    _check_strategy(
        strategy,
        ' Hint: If your function has more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer '
        'to use "reverse-mode".',
    )
    if strategy == "forward-mode":
        return _jacobian_forwards(func, inputs, create_graph=create_graph, strict=strict, vectorize=vectorize)
    point = _Point(func, inputs, "jacobian", create_graph=create_graph, strict=strict)
    if vectorize and strict:
        raise AutogradError(
            "telegrad.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please either "
            "set `strict=False` or `vectorize=False`."
        )
    rows = _rows_together if vectorize else _rows_apart
    with set_grad_enabled(create_graph or is_grad_enabled()):
        found = [rows(point, i, y) for i, y in enumerate(point.outputs)]
    parts = [point.finished(row, point.several[0]) for row in found]
    return tuple(parts) if point.several[1] else parts[0]


def _check_strategy(strategy: str, hint: str = "") -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        # PyTorch's class for it, which has no place among the errors of calls.
        raise AssertionError(f'Expected strategy to be either "forward-mode" or "reverse-mode".{hint}')


def _rows_apart(point: _Point, index: int, output: Any) -> list[Any]:
    """The Jacobian of one output to each input: a walk for each element."""
    rows: list[list[Any]] = [[] for _ in point.inputs]
    flat = output.reshape(-1) if output.shape else output
    for j in range(output.numel()):
        found = _grad([flat[j] if output.shape else output], point.inputs, create_graph=point.create_graph)
        for i, (g, x) in enumerate(zip(found, point.inputs, strict=True)):
            if point.strict and g is None:
                raise AutogradError(f"Output {index} of the user-provided function is independent of input {i}. {_NOT_STRICT}.")
            if point.strict and point.create_graph and not g.requires_grad:
                raise AutogradError(
                    f"The jacobian of the user-provided function is independent of input {i}. {_NOT_STRICT} when create_graph=True."
                )
            rows[i].append(do("zeros_like", x.detach()) if g is None else g)
    return [_stacked(row, output, x) for row, x in zip(rows, point.inputs, strict=True)]


def _stacked(rows: Sequence[Any], output: Any, x: Any) -> Any:
    if not rows:
        raise ShapeError("stack expects a non-empty TensorList: an output of the function has no elements to differentiate")
    return do("stack", *rows, dim=0).reshape((*output.shape, *x.shape)) if output.shape else rows[0]


def _rows_together(point: _Point, _: int, output: Any) -> list[Any]:
    """The Jacobian of one output to each input: one walk with all unit vectors."""
    count = output.numel()
    found: tuple[Any, ...] = (None,) * len(point.inputs)
    if count:
        basis = output.session.eye(count, dtype=output.dtype).reshape((count, *output.shape))
        found = _grad([output], point.inputs, [basis], create_graph=point.create_graph, batched=True)
    shapes = [(*output.shape, *x.shape) for x in point.inputs]
    return [
        do("new_full", x.detach(), size=shape, fill_value=0) if g is None else g.reshape(shape)
        for g, x, shape in zip(found, point.inputs, shapes, strict=True)
    ]


def _jacobian_forwards(func: Function, inputs: Tensors, *, create_graph: bool, strict: bool, vectorize: bool) -> Any:
    from telegrad.func.forward import columns

    for given, option in ((create_graph, "create_graph"), (strict, "strict")):
        if given:
            error = DerivativeMissingError if option == "create_graph" else AutogradError
            raise error(
                f'telegrad.autograd.functional.jacobian: `{option}=True` and `strategy="forward-mode"` are not supported together '
                f'(yet). Please either set `{option}=False` or `strategy="reverse-mode"`.'
            )
    takes_several, given_inputs = _as_tuple(inputs, "inputs", "jacobian")
    if not vectorize:
        raise DerivativeMissingError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for `vectorize=True`."
        )
    gives_several = False

    def call(*own: Any) -> tuple[Any, ...]:
        nonlocal gives_several
        gives_several, outputs = _as_tuple(func(*own), "outputs of the user-provided function", "jacobian")
        return outputs

    found = columns(call, given_inputs)
    parts = [row if takes_several else row[0] for row in found]
    return tuple(parts) if gives_several else parts[0]


def hessian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a scalar function: for each pair of inputs, a tensor of the shape [*first, *second].

    Args:
        func: takes ``inputs`` as its arguments; returns a tensor of one element.
        inputs: as in ``vjp``.
        create_graph: as in ``vjp``.
        strict: as in ``vhp``.
        vectorize: as in ``jacobian``.
        outer_jacobian_strategy: how the gradient is differentiated, as ``strategy`` in ``jacobian``.

    Returns:
        One tensor for one input; for a tuple, a tuple of tuples.

    Raises as ``jacobian`` does, and for a function that returns anything but one element.
    """
    takes_several, _ = _as_tuple(inputs, "inputs", "hessian")
    _check_strategy(outer_jacobian_strategy)

    def scalar(*own: Any) -> Tensor:
        several, outputs = _as_tuple(func(*own), "outputs of the user-provided function", "hessian")
        _check_outputs(outputs, strict)
        return _scalar(outputs, several, "hessian")

    def gradient(*own: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = jacobian(scalar, own, create_graph=True)
        _check_gradient(found, strict)
        return found

    made = jacobian(
        gradient, inputs, create_graph=create_graph, strict=strict, vectorize=vectorize, strategy=outer_jacobian_strategy
    )
    return made if takes_several else made[0]
