"""Checks that the engine makes before it computes and the client before it records.

So the same mistake raises the same class with the same words in every place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from telegrad.contract.base import TensorBase, stands_for_number
from telegrad.contract.dtypes import DType, can_cast
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    AutogradError,
    DTypeError,
    LeafError,
    SessionMismatchError,
    ShapeError,
)
from telegrad.contract.modes import is_inference_mode_enabled
from telegrad.contract.ops import Op, Spec

OTHER_SESSION: Final = "these tensors live in different sessions; move one with session.tensor(other.numpy())"

GRAPH_FREED: Final = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
    "Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if "
    "you need to backward through the graph a second time or if you need to access saved tensors after calling backward."
)

GRAD_OF_NON_LEAF: Final = (
    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that "
    "doesn't require differentiation use var_no_grad = var.detach()."
)


def plain_inputs(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs with numpy's scalars as the Python numbers they stand for: ``x + np.float32(2)`` is ``x + 2.0``, as in PyTorch."""
    for x in inputs:
        if isinstance(x, np.generic):
            return tuple([_plain(y) for y in inputs])
    return inputs


def plain_parameters(parameters: dict[str, Any]) -> None:
    """Put Python numbers in the place of numpy's scalars and of tensors that stand for a number, as in PyTorch."""
    for name, value in parameters.items():
        if isinstance(value, np.generic) or (isinstance(value, TensorBase) and stands_for_number(value)):
            scalar: Any = value
            parameters[name] = scalar.item()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def check_inputs(op: Op, inputs: Sequence[Any], is_ours: Callable[[Any], bool]) -> None:
    """Refuse inputs of the wrong kind, in the wrong number, or of another session (``is_ours`` says of a tensor)."""
    slots = op.inputs
    variadic = bool(slots) and slots[-1].variadic
    if (len(inputs) > len(slots) and not variadic) or len(inputs) < len(slots) - variadic:
        raise ArgumentTypeError(f"{op.name}() takes {len(slots)} input(s), got {len(inputs)}")
    if inputs and not variadic and not any(isinstance(x, TensorBase) for x in inputs):
        raise ArgumentTypeError(f"{op.name}(): at least one argument must be Tensor")
    for i, x in enumerate(inputs):
        slot = slots[min(i, len(slots) - 1)]
        if isinstance(x, TensorBase):
            if not is_ours(x):
                raise SessionMismatchError(OTHER_SESSION)
        elif x is None:
            if not slot.optional:
                raise ArgumentTypeError(f"{op.name}(): argument '{slot.name}' must be Tensor, not None")
        elif not (slot.number and isinstance(x, (bool, int, float, complex))):
            wanted = "Tensor or Number" if slot.number else "Tensor"
            hint = "; make the array a tensor first, with telegrad.tensor(array)" if isinstance(x, np.ndarray) else ""
            raise ArgumentTypeError(
                f"{op.name}(): argument '{slot.name}' (position {i + 1}) must be {wanted}, not {type(x).__name__}{hint}"
            )


def check_in_place_result(foreseen: Spec, target: Spec) -> None:
    """Refuse to write a result of another shape, or of a type of a higher category, into ``target``."""
    if foreseen.shape != target.shape:
        raise ShapeError(f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(foreseen.shape)}")
    if not can_cast(foreseen.dtype, target.dtype):
        raise DTypeError(
            f"result type {foreseen.dtype.name} can't be cast to the desired output type {target.dtype.name}; "
            "use the op without underscore, which makes a new tensor"
        )


def check_can_require_grad(dtype: DType) -> None:
    """Refuse gradients for integers and booleans."""
    if not dtype.is_differentiable:
        raise DTypeError("only Tensors of floating point and complex dtype can require gradients")


def no_gradient(value: object) -> str:
    """What is said of an assigned ``grad`` that is no tensor."""
    return f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"


def check_assigned_grad(tensor: Spec, gradient: Spec) -> None:
    """Refuse an assigned ``grad`` of another shape or type than its tensor."""
    if gradient.shape != tensor.shape:
        raise ShapeError(
            f"attempting to assign a gradient of size '{list(gradient.shape)}' to a tensor of size "
            f"'{list(tensor.shape)}'. Please ensure that the gradient and the tensor are the same size"
        )
    if gradient.dtype is not tensor.dtype:
        raise DTypeError(
            f"attempting to assign a gradient with dtype '{gradient.dtype.name}' to a tensor with dtype "
            f"'{tensor.dtype.name}'. Please ensure that the gradient and the tensor have the same dtype"
        )


def check_data(requires_grad: bool, dtype: DType) -> None:
    """Refuse data of a type that has no gradients for a tensor that needs them."""
    if requires_grad and not dtype.is_differentiable:
        raise DTypeError("data set to a tensor that requires gradients must be floating point or complex dtype")


def check_turnable(name: str, requires_grad: bool, is_leaf: bool, is_view: bool, grad_enabled: bool) -> None:
    """Refuse to change a shape in place where history or a base would have to follow."""
    if is_leaf and not is_view and requires_grad and grad_enabled:
        raise leaf_in_place()
    if is_view or not is_leaf:
        what = "is a view" if is_view else "has history"
        raise AutogradError(f"{name}: this tensor {what}, whose shape telegrad does not change in place; use {name[:-1]}()")


CUT_VIEW: Final = "Can't detach views in-place. Use detach() instead: a view's history is that of the tensor it is a view of."


def check_vectors(count: int, vectors: Sequence[Any]) -> None:
    """Refuse another number of vectors than of tensors to differentiate."""
    if len(vectors) != count:
        raise AutogradError(f"got {count} tensors and {len(vectors)} gradients")


def check_implicit(tensor: Spec, requires_grad: bool) -> None:
    """Refuse to begin with 1 anywhere but at a real scalar."""
    if not requires_grad:
        return
    if math.prod(tensor.shape) != 1:
        raise AutogradError("grad can be implicitly created only for scalar outputs")
    if tensor.dtype.is_complex:
        raise AutogradError(f"grad can be implicitly created only for real scalar outputs but got {tensor.dtype!r}")


def check_vector(index: int, tensor: Spec, vector: Spec) -> None:
    """Refuse a vector that does not fit output number ``index``."""
    if vector.shape != tensor.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[{index}] has a shape of {list(vector.shape)} and output[{index}] has a "
            f"shape of {list(tensor.shape)}."
        )
    if vector.dtype.is_complex != tensor.dtype.is_complex:
        raise DTypeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{index}] has a dtype of {vector.dtype.name} and output[{index}] has a dtype of {tensor.dtype.name}."
        )


def not_a_vector(vector: object) -> ArgumentTypeError:
    """The error of a vector that is no tensor."""
    return ArgumentTypeError(f"gradients can be either Tensors or None, but got {type(vector).__name__}")


def root_without_grad(index: int) -> AutogradError:
    """The error of differentiating what has no history."""
    return AutogradError(f"element {index} of tensors does not require grad and does not have a grad_fn")


def input_without_grad(position: int | None = None) -> AutogradError:
    """The error of differentiating with respect to what does not require grad; ``backward`` says which."""
    where = "" if position is None else f" (inputs[{position}])"
    return AutogradError(f"One of the differentiated Tensors does not require grad{where}")


def check_grad_inputs(inputs: Sequence[Any] | None, function: str) -> None:
    """Refuse an empty list of tensors to differentiate with respect to."""
    if inputs is not None and len(inputs) == 0:
        raise AutogradError(f"`inputs` argument to `{function}()` cannot be empty.")


def check_materialize(allow_unused: bool | None, materialize_grads: bool) -> None:
    """Refuse to forbid what is asked for."""
    if materialize_grads and allow_unused is False:
        raise ArgumentValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )


def not_a_tensor(value: object, what: str) -> ArgumentTypeError:
    """The error of anything else where a tensor is needed."""
    return ArgumentTypeError(f"{what} must be a Tensor, not {type(value).__name__}")


def not_a_tensor_mapped(value: object, name: str) -> ArgumentTypeError:
    """What ``map_`` says of another that is no tensor."""
    return ArgumentTypeError(f"{name}(): argument 'other' (position 1) must be Tensor, not {type(value).__name__}")


def other_type_mapped(wanted: DType, given: DType) -> ArgumentTypeError:
    """What ``map_`` says of another of another type."""
    return ArgumentTypeError(f"map_: expected {wanted.name} for 'other' (got {given.name})")


def gradient_mapped(name: str) -> AutogradError:
    """What ``apply_`` and ``map_`` say of a tensor that requires grad."""
    return AutogradError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")


def check_dirty_view(outputs: int) -> None:
    """Refuse that a custom function which returns so many tensors wrote to an input that is a view."""
    if outputs > 1:
        raise AutogradError(
            "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than "
            "one Tensor. Clone the input first, or make two Functions of it: one that writes and returns a single Tensor, and one "
            "for the rest."
        )


def leaf_in_place() -> LeafError:
    """The error of a recorded in-place change of a leaf that requires grad."""
    return LeafError("a leaf Variable that requires grad is being used in an in-place operation.")


def leaf_view_written() -> LeafError:
    """The error of a recorded in-place change of a part of a leaf that requires grad."""
    return LeafError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


def leaf_written() -> LeafError:
    """The error of a custom function that wrote to a leaf that requires grad."""
    return LeafError("a leaf Variable that requires grad has been used in an in-place operation.")


def in_place_target(name: str, target: object) -> ArgumentTypeError:
    """The error of an in-place op on what is no tensor."""
    return ArgumentTypeError(f"{name}_(): argument 'self' must be Tensor, not {type(target).__name__}")


# Tensors of inference mode ------------------------------------------------------------------------------------------------------

INFERENCE_SAVED = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by "
    "autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use "
    "`telegrad.no_grad()` instead of `telegrad.inference_mode()`."
)
INFERENCE_IN_PLACE = (
    "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal tensor before "
    "doing inplace update."
)
INFERENCE_REQUIRES_GRAD = "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
INFERENCE_VERSION = "Inference tensors do not track version counter."


def check_inference(is_inference: bool, message: str) -> None:
    """Refuse with that message what an inference tensor cannot do outside of the mode."""
    if is_inference and not is_inference_mode_enabled():
        raise AutogradError(message)


# Random numbers --------------------------------------------------------------------------------------------------------------

STATE_SHAPE: Final = (37,)
"""Of the state of a random generator, as bytes."""


def not_a_state() -> ArgumentValueError:
    """The error of a state that no generator has."""
    return ArgumentValueError("set_rng_state takes what get_rng_state gave, a uint8 tensor of 37 bytes, and nothing else")


def check_state(shape: Sequence[int], dtype: DType) -> None:
    """Refuse what cannot be the state of a random generator."""
    if tuple(shape) != STATE_SHAPE or dtype.name != "uint8":
        raise not_a_state()
