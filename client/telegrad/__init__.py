"""telegrad: autograd as a service.

The same script runs in this process or over HTTP: ``with telegrad.local():`` or ``with telegrad.connect(url):``.
Names are PyTorch's. Everything is imported on first use, so that ``import telegrad`` takes milliseconds.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from telegrad._version import __version__ as __version__

if TYPE_CHECKING:
    from telegrad import autograd as autograd
    from telegrad import errors as errors
    from telegrad import fft as fft
    from telegrad import func as func
    from telegrad import linalg as linalg
    from telegrad import nn as nn
    from telegrad import random as random
    from telegrad import signal as signal
    from telegrad import special as special
    from telegrad import utils as utils
    from telegrad._async import AsyncSession as AsyncSession
    from telegrad._async import AsyncTensor as AsyncTensor
    from telegrad._connect import connect as connect
    from telegrad._connect import connect_async as connect_async
    from telegrad._current import local as local
    from telegrad._function import function as function
    from telegrad._functions import *
    from telegrad._generator import Generator as Generator
    from telegrad._remote import RemoteSession as RemoteSession
    from telegrad.contract.dtypes import DType, bool_
    from telegrad.contract.dtypes import complex64 as complex64
    from telegrad.contract.dtypes import complex128 as complex128
    from telegrad.contract.dtypes import float16 as float16
    from telegrad.contract.dtypes import float32 as float32
    from telegrad.contract.dtypes import float64 as float64
    from telegrad.contract.dtypes import int8 as int8
    from telegrad.contract.dtypes import int16 as int16
    from telegrad.contract.dtypes import int32 as int32
    from telegrad.contract.dtypes import int64 as int64
    from telegrad.contract.dtypes import uint8 as uint8
    from telegrad.contract.dtypes import uint16 as uint16
    from telegrad.contract.dtypes import uint32 as uint32
    from telegrad.contract.dtypes import uint64 as uint64
    from telegrad.contract.errors import TelegradError as TelegradError
    from telegrad.contract.modes import enable_grad as enable_grad
    from telegrad.contract.modes import inference_mode as inference_mode
    from telegrad.contract.modes import is_grad_enabled as is_grad_enabled
    from telegrad.contract.modes import is_inference_mode_enabled as is_inference_mode_enabled
    from telegrad.contract.modes import no_grad as no_grad
    from telegrad.contract.modes import set_grad_enabled as set_grad_enabled
    from telegrad.contract.number_limits import FloatLimits, IntegerLimits
    from telegrad.contract.placement import Device
    from telegrad.contract.placement import contiguous_format as contiguous_format
    from telegrad.contract.placement import preserve_format as preserve_format
    from telegrad.contract.placement import strided as strided
    from telegrad.contract.scope import scope as scope
    from telegrad.contract.session import BaseSession
    from telegrad.contract.summary import Summary as Summary
    from telegrad.contract.summary import summary as summary
    from telegrad.contract.tensor.print_options import set_printoptions as set_printoptions
    from telegrad.contract.tensor.tensor import Tensor as Tensor
    from telegrad.contract.watching import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
    from telegrad.contract.watching import is_anomaly_enabled as is_anomaly_enabled
    from telegrad.func.batching import vmap as vmap

    # Under another name, an import alone makes nothing public to type checkers.
    Session = BaseSession
    bool = bool_  # noqa: A001 - PyTorch's name
    float, double, half, cfloat, cdouble = float32, float64, float16, complex64, complex128  # noqa: A001
    short, int, long = int16, int32, int64  # noqa: A001
    dtype = DType
    device, finfo, iinfo = Device, FloatLimits, IntegerLimits

# Where each public name that is no op lives; ops are looked up in telegrad._functions.
_NAMES: dict[str, tuple[str, str]] = {
    "AsyncSession": ("telegrad._async", "AsyncSession"),
    "AsyncTensor": ("telegrad._async", "AsyncTensor"),
    "Generator": ("telegrad._generator", "Generator"),
    "RemoteSession": ("telegrad._remote", "RemoteSession"),
    "Session": ("telegrad.contract.session", "BaseSession"),
    "Summary": ("telegrad.contract.summary", "Summary"),
    "Tensor": ("telegrad.contract.tensor.tensor", "Tensor"),
    "TelegradError": ("telegrad.contract.errors", "TelegradError"),
    "bool": ("telegrad.contract.dtypes", "bool_"),
    "cdouble": ("telegrad.contract.dtypes", "complex128"),
    "cfloat": ("telegrad.contract.dtypes", "complex64"),
    "connect": ("telegrad._connect", "connect"),
    "connect_async": ("telegrad._connect", "connect_async"),
    "contiguous_format": ("telegrad.contract.placement", "contiguous_format"),
    "device": ("telegrad.contract.placement", "Device"),
    "double": ("telegrad.contract.dtypes", "float64"),
    "dtype": ("telegrad.contract.dtypes", "DType"),
    "finfo": ("telegrad.contract.number_limits", "FloatLimits"),
    "float": ("telegrad.contract.dtypes", "float32"),
    "iinfo": ("telegrad.contract.number_limits", "IntegerLimits"),
    "half": ("telegrad.contract.dtypes", "float16"),
    "int": ("telegrad.contract.dtypes", "int32"),
    "long": ("telegrad.contract.dtypes", "int64"),
    "short": ("telegrad.contract.dtypes", "int16"),
    "function": ("telegrad._function", "function"),
    "enable_grad": ("telegrad.contract.modes", "enable_grad"),
    "is_anomaly_check_nan_enabled": ("telegrad.contract.watching", "is_anomaly_check_nan_enabled"),
    "is_anomaly_enabled": ("telegrad.contract.watching", "is_anomaly_enabled"),
    "inference_mode": ("telegrad.contract.modes", "inference_mode"),
    "is_grad_enabled": ("telegrad.contract.modes", "is_grad_enabled"),
    "is_inference_mode_enabled": ("telegrad.contract.modes", "is_inference_mode_enabled"),
    "local": ("telegrad._current", "local"),
    "no_grad": ("telegrad.contract.modes", "no_grad"),
    "preserve_format": ("telegrad.contract.placement", "preserve_format"),
    "scope": ("telegrad.contract.scope", "scope"),
    "set_grad_enabled": ("telegrad.contract.modes", "set_grad_enabled"),
    "set_printoptions": ("telegrad.contract.tensor.print_options", "set_printoptions"),
    "strided": ("telegrad.contract.placement", "strided"),
    "summary": ("telegrad.contract.summary", "summary"),
    "vmap": ("telegrad.func.batching", "vmap"),
} | {
    name: ("telegrad.contract.dtypes", name)
    for names in (
        ("complex64", "complex128", "float16", "float32", "float64"),
        ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
    for name in names
}
_MODULES = frozenset({"autograd", "errors", "fft", "func", "linalg", "nn", "random", "signal", "special", "utils"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"telegrad.{name}")
    found: Any
    if name in _NAMES:
        module, attribute = _NAMES[name]
        found = getattr(importlib.import_module(module), attribute)
    elif name.startswith("_"):
        raise AttributeError(f"module 'telegrad' has no attribute '{name}'")
    else:
        functions = importlib.import_module("telegrad._functions")
        try:
            found = getattr(functions, name)
        except AttributeError:
            known = sys.modules[__name__]  # from whose names Python picks what may have been meant
            raise AttributeError(f"module 'telegrad' has no attribute '{name}'", name=name, obj=known) from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    functions = importlib.import_module("telegrad._functions")
    public = [n for n in dir(functions) if not n.startswith("_")]
    return sorted({*globals(), *_NAMES, *_MODULES, *public})
