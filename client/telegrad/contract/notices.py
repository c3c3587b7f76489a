"""What telegrad warns of where PyTorch warns: calls that run, and likely do not do what their writer thinks.

Each begins with the words that people search for. Who is warned is the innermost line outside telegrad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from telegrad.contract.watching import warn_user

REPLACED_BY: Final = {
    "cholesky": "linalg.cholesky(A), for upper=True followed by .mH",
    "chain_matmul": "linalg.multi_dot, which takes a list of matrices",
    "lu": "linalg.lu_factor or, for get_infos=True, linalg.lu_factor_ex",
    "nn.functional.upsample": "nn.functional.interpolate",
    "nn.functional.upsample_bilinear": "nn.functional.interpolate(mode='bilinear', align_corners=True)",
    "nn.functional.upsample_nearest": "nn.functional.interpolate",
    "qr": "linalg.qr(A, 'reduced' if some else 'complete')",
    "range": "arange, which leaves the end out as Python's range does",
    "triangular_solve": "linalg.solve_triangular, which takes A first",
}
"""Older functions, and what to call today."""


def known_shape(x: Any) -> tuple[int, ...] | None:
    """A tensor's shape as far as known without asking a server."""
    known = getattr(x, "known_shape", None)
    shape: tuple[int, ...] | None = x.shape if known is None else known()
    return shape


def deprecated(name: str) -> None:
    """A function that has a better successor."""
    warn_user(f"{name} is deprecated: use {REPLACED_BY[name]}")


def byte_condition() -> None:
    """A condition of 8-bit integers."""
    warn_user("where received a uint8 condition tensor. This behavior is deprecated. Use a boolean condition instead.")


def sizes_that_broadcast(x: Any, target: Any) -> None:
    """A loss whose target has another size than the input, which is most often a forgotten squeeze."""
    mine, theirs = known_shape(x), known_shape(target)
    if mine is not None and theirs is not None and mine != theirs:
        warn_user(
            f"Using a target size ({list(theirs)}) that is different to the input size ({list(mine)}). This will likely lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size."
        )


def freedom(name: str, x: Any, dim: Sequence[int] | None, correction: Any) -> None:
    """A variance over no more elements than ``correction``, which is nan or inf."""
    shape = known_shape(x)
    if shape is None:
        return
    ndim = len(shape)
    reduced = range(ndim) if not dim else {d % ndim for d in dim if -ndim <= d < ndim} if ndim else ()
    count = 1
    for d in reduced:
        count *= shape[d]
    if any(shape[d] == 0 for d in range(ndim) if d not in reduced):
        count = 0
    if count <= (1 if correction is None else correction):
        warn_user(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the number of elements that are "
            "reduced; the result is nan or inf"
        )


def observations(x: Any, correction: int) -> None:
    """Covariances over no more observations than ``correction``."""
    shape = known_shape(x)
    if shape is not None and len(shape) <= 2 and (shape[-1] if shape else 1) <= correction:
        warn_user("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.")


def discards_imaginary(x: Any, wanted: Any) -> None:
    """A conversion of complex numbers to real ones."""
    if wanted is not None and wanted.category in (1, 2):
        dtype = x.known_dtype() if hasattr(x, "known_dtype") else x.dtype
        if dtype is not None and dtype.is_complex:
            warn_user("Casting complex values to real discards the imaginary part; x.real says so, and is a view")


def reversed_dimensions(ndim: int) -> None:
    """``x.T`` of what is no matrix."""
    if ndim == 0:
        warn_user("Tensor.T is deprecated on 0-D tensors. This function is the identity in these cases.")
    elif ndim != 2:
        warn_user(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated. Use `x.mT` to transpose "
            "batches of matrices or `x.permute(...)` to reverse the dimensions."
        )


def scalar_transposed(name: str) -> None:
    """``mT``, ``mH`` and their like of a tensor of no dimensions."""
    warn_user(f"{name} is deprecated on 0-D tensors. This function is the identity or the conjugate in these cases.")


def copied_tensor() -> None:
    """``tensor(x)`` of a tensor."""
    warn_user(
        "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
        "sourceTensor.detach().clone().requires_grad_(True), rather than telegrad.tensor(sourceTensor)."
    )


def implicit_dimension(name: str, ndim: int) -> int:
    """The dimension that ``F.softmax(x)`` means: 0 of none, one or three dimensions, else 1."""
    warn_user(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.")
    return 0 if ndim in (0, 1, 3) else 1


def default_corners(name: str) -> None:
    """A grid without word on the corners."""
    warn_user(
        f"Default {name} behavior is align_corners=False. Specify align_corners=True if the corners of the input are meant to be "
        "the corners of the grid."
    )


def no_window(name: str) -> None:
    """A short-time transform without a window."""
    warn_user(
        f"A window was not provided. {name}() uses a rectangular one, which leaks into other frequencies; give the same window, "
        "hann_window(n_fft) say, to stft and istft, or ones(n_fft) to say that you mean it."
    )
