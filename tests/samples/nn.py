"""Samples of activations, normalisation and layers."""

from __future__ import annotations

import numpy as np

from tests.samples import D, ErrorSample, Sample, bools, complexes, ints, rand

_FAR = np.array([-800.0, -90.0, -25.0, -3.0, 3.0, 25.0, 90.0, 800.0])
_ODD = np.array([np.nan, np.inf, -np.inf, 1.0])
_TIED = np.array([[1.0, 1.0, 0.5], [-2.0, 0.25, -2.0]])


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


def _activation(name: str, *settings: dict[str, object], op: str = "") -> list[Sample]:
    row = op or name
    call = F(name)
    return [
        Sample(call, (rand(2, 3),), op=row),
        Sample(call, (rand(),), op=row),
        Sample(call, (rand(0, 3),), op=row),
        Sample(call, (_FAR,), op=row, differences=False, note="far"),
        # PyTorch's vectorised gelu gives NaN for an infinite float32; its other kernels, and ours, give the limit.
        Sample(call, (_ODD,), op=row, gradient=False, float32=name != "gelu", note="odd values"),
        Sample(call, (rand(5, dtype="float16"),), op=row, gradient=False),
        *[Sample(call, (rand(2, 3, seed=i),), s, op=row) for i, s in enumerate(settings)],
    ]


SAMPLES: list[Sample] = [
    # Activations
    *_activation("relu"),
    Sample("relu", (np.array([-1.0, 0.0, 2.0]),), op="relu", differences=False, note="zero"),
    Sample("relu", (_ODD,), op="relu", differences=False, note="not a number"),
    Sample("relu", (ints(2, 3),), op="relu", gradient=False),
    Sample("Tensor.relu", (rand(2, 3),), op="relu"),
    Sample("Tensor.relu_", (rand(2, 3),), op="relu", gradient=False),
    Sample(F("relu"), (rand(2, 3),), {"inplace": True}, op="relu", gradient=False),
    *_activation("relu6", op="hardtanh"),
    *_activation("leaky_relu", {"negative_slope": 0.3}, {"negative_slope": -0.5}, {"negative_slope": 0.0}),
    Sample(F("leaky_relu"), (np.array([-1.0, 0.0, 2.0]),), op="leaky_relu", differences=False, note="zero"),
    Sample(F("leaky_relu"), (rand(3),), {"inplace": True}, op="leaky_relu", gradient=False),
    *_activation("elu", {"alpha": 0.3}, {"alpha": 2}),
    Sample(F("elu"), (np.array([-1.0, 0.0, 2.0]),), op="elu", differences=False, note="zero"),
    Sample(F("elu"), (rand(3),), {"inplace": True}, op="elu", gradient=False),
    *_activation("hardtanh", {"min_val": -0.5, "max_val": 0.25}),
    Sample(F("hardtanh"), (np.array([-1.0, 0.0, 1.0]),), op="hardtanh", differences=False, note="limits"),
    Sample(F("hardtanh"), (ints(2, 3),), op="hardtanh", gradient=False),
    Sample(F("hardtanh"), (rand(3),), {"inplace": True}, op="hardtanh", gradient=False),
    *_activation("gelu", {"approximate": "tanh"}),
    Sample(F("gelu"), (_FAR,), {"approximate": "tanh"}, op="gelu", differences=False, note="far"),
    *_activation("silu"),
    Sample(F("silu"), (rand(3),), {"inplace": True}, op="silu", gradient=False),
    *_activation("softplus", {"beta": 2}, {"beta": 3.0, "threshold": 1.0}),
    *_activation("logsigmoid"),
    # Normalised exponentials
    *[
        sample
        for name in ("softmax", "log_softmax")
        for sample in (
            Sample(F(name), (rand(2, 3),), {"dim": 1}, op=name),
            Sample(F(name), (rand(2, 3),), {"dim": 0}, op=name),
            Sample(name, (rand(2, 3, 4), -2), op=name),
            Sample(f"Tensor.{name}", (rand(2, 3), -1), op=name),
            Sample(name, (rand(), 0), op=name),
            Sample(name, (rand(0, 3), 1), op=name),
            Sample(name, (rand(2, 0), 1), op=name),
            Sample(name, (_FAR, 0), op=name, differences=False, note="far"),
            Sample(name, (_ODD, 0), op=name, gradient=False, note="odd values"),
            Sample(name, (np.array([-np.inf, 1.0, 2.0]), 0), op=name, gradient=False, note="one infinite"),
            Sample(name, (_TIED, 1), op=name, note="ties"),
            Sample(name, (rand(2, 3, dtype="float32"), 1, D("float64")), op=name, float32=False),
            Sample(name, (ints(2, 3), 1), {"dtype": D("float32")}, op=name, gradient=False),
            Sample(name, (rand(2, 3, dtype="float16"), 1), op=name, gradient=False),
        )
    ],
    Sample(F("softmin"), (rand(2, 3),), {"dim": 1}, op="softmax"),
    # Layers
    Sample(F("linear"), (rand(2, 3), rand(4, 3, seed=1), rand(4, seed=2)), op="linear"),
    Sample(F("linear"), (rand(2, 3), rand(4, 3, seed=1)), op="linear"),
    Sample(F("linear"), (rand(3), rand(4, 3, seed=1), rand(4, seed=2)), op="linear"),
    Sample(F("linear"), (rand(5, 2, 3), rand(4, 3, seed=1), rand(4, seed=2)), op="linear"),
    Sample(F("linear"), (rand(2, 5, 2, 3), rand(4, 3, seed=1), rand(1, seed=2)), op="linear"),
    Sample(F("linear"), (rand(2, 3), rand(4, 3, seed=1), rand(2, 4, seed=2)), op="linear"),
    Sample(F("linear"), (rand(2, 3), rand(3, seed=1)), op="linear"),
    Sample(F("linear"), (rand(2, 4, 3), rand(3, seed=1)), op="linear"),
    Sample(F("linear"), (rand(0, 3), rand(4, 3, seed=1), rand(4, seed=2)), op="linear"),
    Sample(F("linear"), (rand(2, 0), rand(4, 0), rand(4, seed=2)), op="linear"),
    Sample(F("linear"), (complexes(2, 3), complexes(4, 3, seed=1), complexes(4, seed=2)), op="linear"),
    Sample(F("linear"), (), {"input": rand(2, 3), "weight": rand(4, 3, seed=1), "bias": rand(4)}, op="linear"),
    Sample(F("embedding"), (np.array([0, 2, 2, 1]), rand(4, 3)), op="embedding"),
    Sample(F("embedding"), (np.array([[0, 2, 2], [1, 0, 3]]), rand(4, 3)), {"padding_idx": 2}, op="embedding", differences=False),
    Sample(F("embedding"), (np.array([0, 3, 3]), rand(4, 3)), {"padding_idx": -1}, op="embedding", differences=False),
    Sample(F("embedding"), (np.array(1), rand(4, 3)), op="embedding"),
    Sample(
        F("embedding"),
        (np.array([[0, 2, 2], [1, 2, 3]]), rand(4, 3)),
        {"scale_grad_by_freq": True},
        op="embedding",
        differences=False,
        second=False,
        note="PyTorch's second derivative forgets the scale",
    ),
    Sample(F("embedding"), (np.zeros((0,), "int64"), rand(4, 3)), op="embedding", torch=False, note="PyTorch's own gradient fails"),
    Sample(F("embedding"), (np.array([1, 1, 0], "int32"), rand(4, 20)), op="embedding"),
    Sample(F("embedding"), (np.array([1] * 9 + [0, 3]), rand(4, 20)), op="embedding", note="many repeats"),
    Sample(
        F("embedding"), (np.array([3, 1, 0]), complexes(4, 2)), op="embedding", torch=False, note="PyTorch has no complex gradient"
    ),
    Sample(F("layer_norm"), (rand(2, 3), (3,)), op="layer_norm"),
    Sample(F("layer_norm"), (rand(2, 3), [3], rand(3, seed=1), rand(3, seed=2)), op="layer_norm"),
    Sample(F("layer_norm"), (rand(2, 3, 4), (3, 4), rand(3, 4, seed=1), rand(3, 4, seed=2)), op="layer_norm"),
    Sample(
        F("layer_norm"),
        (rand(2, 3), (3,)),
        {"bias": rand(3, seed=2), "eps": 0.1},
        op="layer_norm",
        torch=False,
        note="PyTorch's own second gradient fails",
    ),
    Sample(F("layer_norm"), (rand(2, 3), (3,)), {"weight": rand(3, seed=2)}, op="layer_norm"),
    Sample(F("layer_norm"), (rand(3), (3,)), op="layer_norm"),
    Sample(F("layer_norm"), (rand(0, 3), (3,)), op="layer_norm"),
    Sample(F("normalize"), (rand(2, 3),), op="norm"),
    Sample(F("normalize"), (rand(2, 3),), {"p": 3.0, "dim": 0}, op="norm"),
    Sample(F("normalize"), (np.array([[1e-14, 0.0], [1.0, 2.0]]),), op="norm", gradient=False, note="tiny"),
    Sample(F("cosine_similarity"), (rand(2, 3), rand(2, 3, seed=1)), op="norm"),
    Sample(F("cosine_similarity"), (rand(2, 3), rand(3, seed=1)), {"dim": -1}, op="norm"),
    Sample(F("dropout"), (rand(20, 30),), op="dropout", random=True),
    Sample(F("dropout"), (rand(20, 30), 0.2), op="dropout", random=True),
    Sample(F("dropout"), (rand(4, 5), 1.0), op="dropout", note="nothing kept"),
    Sample(F("dropout"), (rand(4, 5), 0.0), op="dropout", note="everything kept"),
    Sample(F("dropout"), (rand(4, 5), 0.7), {"training": False}, op="dropout"),
    Sample(F("one_hot"), (np.array([0, 2, 1]),), op="one_hot", gradient=False),
    Sample(F("one_hot"), (np.array([[0, 2], [1, 1]]), 4), op="one_hot", gradient=False),
    Sample(F("one_hot"), (np.array(2),), op="one_hot", gradient=False),
    Sample(F("one_hot"), (np.zeros((0,), "int64"), 4), op="one_hot", gradient=False),
    # Activations that are made of other ops
    Sample(F("celu"), (4 * rand(2, 3),), op="elu"),
    Sample(F("celu"), (rand(3),), {"alpha": 0.5}, op="elu"),
    Sample(F("celu"), (rand(5),), {"alpha": -1.5}, op="where", note="the other way round"),
    Sample(F("elu"), (np.array([np.nan, -1.0, 2.0]), 0.5), op="elu", differences=False, second=False, note="not a number"),
    Sample(F("celu"), (rand(3),), {"inplace": True}, op="elu"),
    Sample(F("selu"), (4 * rand(2, 3),), op="elu"),
    Sample(F("selu"), (rand(3),), {"inplace": True}, op="elu"),
    Sample(F("mish"), (4 * rand(2, 3),), op="softplus"),
    Sample(F("mish"), (rand(3),), {"inplace": True}, op="softplus"),
    Sample(F("hardswish"), (4 * rand(2, 3),), op="clamp"),
    Sample(F("hardswish"), (rand(3),), {"inplace": True}, op="clamp"),
    Sample(F("hardswish"), (np.array([-4.0, -3.0, 0.0, 3.0, 4.0]),), op="where", differences=False, second=False, note="kinks"),
    # In float64 PyTorch multiplies by float32's 1/6.
    Sample(F("hardsigmoid"), (4 * rand(2, 3),), op="hardtanh", torch=False, note="to finite differences"),
    Sample(F("hardsigmoid"), (4 * rand(2, 3, dtype="float32"),), op="hardtanh", second=False, differences=False),
    Sample(F("hardsigmoid"), (rand(3, dtype="float32"),), {"inplace": True}, op="hardtanh", second=False, differences=False),
    Sample(F("hardshrink"), (4 * rand(2, 3),), op="masked_fill"),
    Sample(F("hardshrink"), (rand(3),), {"lambd": 1.0}, op="masked_fill"),
    Sample(F("softshrink"), (4 * rand(2, 3),), op="masked_fill"),
    Sample(F("softshrink"), (rand(3),), {"lambd": 0.3}, op="masked_fill"),
    Sample(F("softsign"), (rand(2, 3),), op="div"),
    Sample(F("softsign"), (ints(3),), op="div", gradient=False),
    Sample(F("tanhshrink"), (rand(2, 3),), op="tanh"),
    Sample(F("threshold"), (rand(2, 3), 0.1, 5.0), op="masked_fill"),
    Sample(F("threshold"), (ints(4), 1, 7), op="masked_fill", gradient=False),
    Sample(F("prelu"), (rand(2, 3), rand(3, seed=1)), op="where"),
    Sample(F("prelu"), (rand(2, 3, 2), rand(3, seed=1)), op="where"),
    Sample(F("prelu"), (rand(4), rand(1, seed=1)), op="where"),
    Sample(F("glu"), (rand(2, 4),), op="sigmoid"),
    Sample(F("glu"), (rand(4, 3), 0), op="sigmoid"),
]

_INTEGERS_REFUSED = ("gelu", "silu", "softplus", "elu", "leaky_relu", "logsigmoid")

ERRORS: list[ErrorSample] = [
    *[
        ErrorSample(F(name), (ints(2),), error=NotImplementedError, match="not implemented")
        for name in ("celu", "selu", "mish", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "glu")
    ],
    ErrorSample(F("celu"), (rand(2), 0.0), match="alpha cannot be 0"),
    ErrorSample(F("softshrink"), (rand(2), -1.0), match="lambda must be"),
    ErrorSample(F("prelu"), (rand(2, 3), rand(2)), match="Mismatch of parameter numbers"),
    ErrorSample(F("prelu"), (rand(2, 3), rand(3, dtype="float32")), match="Type promoting not supported"),
    ErrorSample(F("glu"), (rand(3),), match="Halving dimension must be even"),
    ErrorSample(F("glu"), (rand(),), match="does not support scalars"),
    *[ErrorSample(F(name), (ints(2, 3),), match="not implemented for") for name in _INTEGERS_REFUSED],
    ErrorSample("relu", (bools(3),), match="relu"),
    ErrorSample("relu", (complexes(3),), match=""),
    ErrorSample(F("gelu"), (rand(3),), {"approximate": "none at all"}, match="approximate argument must be either none or tanh"),
    ErrorSample(F("hardtanh"), (rand(3), 2.0, 1.0), error=ValueError, match="min_val cannot be greater than max_val"),
    ErrorSample("softmax", (rand(2, 3), 2), error=IndexError, match="Dimension out of range"),
    ErrorSample("softmax", (rand(2, 3), None), error=TypeError, match="dim"),
    ErrorSample("softmax", (ints(2, 3), 0), match="not implemented for"),
    ErrorSample("log_softmax", (rand(2, 3), 0, D("int64")), match="not implemented for"),
    ErrorSample("log_softmax", (complexes(2, 3), 0), match="not implemented for"),
    ErrorSample(F("linear"), (rand(2, 3), rand(4, 5)), match="mat1 and mat2 shapes cannot be multiplied (2x3 and 5x4)"),
    ErrorSample(F("linear"), (rand(2, 3), rand(4, 3), rand(5)), match="The expanded size of the tensor"),
    ErrorSample(F("linear"), (rand(2, 3), rand(4, 3, dtype="float32")), match="same dtype"),
    ErrorSample(F("linear"), (rand(), rand(4, 3)), match="both arguments to linear need to be at least 1D"),
    ErrorSample(F("linear"), (rand(2, 3), rand(2, 4, 3)), match="dim"),
    ErrorSample(F("embedding"), (rand(3), rand(2, 3)), match="Expected tensor for argument #1 'indices'"),
    ErrorSample(F("embedding"), (np.array([5]), rand(2, 3)), error=IndexError, match="index out of range in self"),
    ErrorSample(F("embedding"), (np.array([-1]), rand(2, 3)), error=IndexError, match="index out of range in self"),
    ErrorSample(F("embedding"), (np.array([1]), rand(2, 3, 4)), match="'weight' must be 2-D"),
    ErrorSample(
        F("embedding"), (np.array([1]), rand(2, 3)), {"padding_idx": 7}, ValueError, "Padding_idx must be within", torch=False
    ),
    ErrorSample(F("embedding"), (np.array([1]), rand(2, 3)), {"sparse": True}, ValueError, "sparse", torch=False),
    ErrorSample(F("layer_norm"), (rand(2, 3), (2,)), match="Given normalized_shape=[2], expected input with shape [*, 2]"),
    ErrorSample(F("layer_norm"), (rand(2, 3), ()), match="at least 1-dimensional"),
    ErrorSample(F("layer_norm"), (rand(2, 3), (3,), rand(2)), match="Expected weight to be of same shape as normalized_shape"),
    ErrorSample(F("layer_norm"), (ints(2, 3), (3,)), match="not implemented for"),
    ErrorSample(F("dropout"), (rand(3), 1.5), error=ValueError, match="dropout probability has to be between 0 and 1"),
    ErrorSample(F("dropout"), (ints(3),), match="result type Float can't be cast"),
    ErrorSample(F("one_hot"), (np.array([0, -1]),), match="Class values must be non-negative"),
    ErrorSample(F("one_hot"), (np.array([0, 2]), 2), match="Class values must be smaller than num_classes"),
    ErrorSample(F("one_hot"), (np.zeros((0,), "int64"),), match="Can not infer total number of classes from empty tensor"),
    ErrorSample(F("one_hot"), (rand(3),), match="one_hot is only applicable to index tensor"),
]
