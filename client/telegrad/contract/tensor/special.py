"""The functions of mathematical physics: gamma, zeta, Bessel, error and entropy functions."""

# What PyTorch has in its namespace `special` only has no public method: its name is found in ``telegrad.special``.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from telegrad.contract import dtypes
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, op
from telegrad.contract.shapes import elementwise, integer
from telegrad.contract.tensor.base import TensorBase

SCIPY = "scipy"

F = TypeVar("F", bound=Callable[..., Any])


def _real(name: str, *, half: bool = True, whole: bool = True, flops: int = 50) -> Rule:
    """Broadcast and promote, integers to float32; refuse complex numbers and, where not wanted, float16 and whole numbers."""
    rule = elementwise(to_float=True, flops=flops, refuse="c" if whole else "bic", name=name)

    def checked(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
        outcome = rule(inputs, p)
        if not half and outcome.outputs[0].dtype is dtypes.float16:
            raise UnsupportedDTypeError(
                f'"{name}" not implemented for float16; convert the tensor first, for example with .to(...)'
            )
        return outcome

    return checked


def _polygamma(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if p["n"] < 0:
        raise ShapeError("polygamma(n, x) does not support negative n.")
    outcome = _real("polygamma")(inputs, p)
    return outcome._replace(scratch_bytes=48 * outcome.outputs[0].size)  # half a dozen arrays of float64


def _mvlgamma(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if inputs[0].dtype is dtypes.bool_:
        raise DTypeError("mvlgamma: The input tensor may not be a boolean tensor.")
    if p["p"] < 1:
        raise ShapeError("mvlgamma: p has to be greater than or equal to 1")
    outcome = _real("mvlgamma", flops=50 * p["p"])(inputs, p)
    return outcome._replace(scratch_bytes=64 * outcome.outputs[0].size + 2**18)


def _bessel(name: str, about: str) -> Callable[[F], F]:
    """The row of a Bessel function, which PyTorch gives no derivative."""
    return op(
        _real(name, half=False),
        name=name,
        namespace="special",
        needs=SCIPY,
        differentiable=(),
        reason=f"PyTorch has no derivative of {about}",
    )


class GammaOps(TensorBase):
    """The gamma function's relatives, of real numbers. Integers and bool compute in float32."""

    __slots__ = ()

    @op(_real("lgamma"), inplace=True, needs=SCIPY)
    def lgamma(self) -> Self:
        """Logarithm of the absolute value of the gamma function; inf at 0 and at negative integers.

        Shapes: [...] -> [...]. Gradient: g * digamma(self).
        """
        return self._apply("lgamma", self)

    @op(_real("digamma"), inplace=True, needs=SCIPY)
    def digamma(self) -> Self:
        """Slope of ``lgamma``; -inf at 0, nan at negative integers.

        Shapes: [...] -> [...]. Gradient: g * polygamma(1, self).
        """
        return self._apply("digamma", self)

    @op(_polygamma, inplace=True, needs=SCIPY)
    def polygamma(self, n: int) -> Self:
        """Derivative number ``n`` of ``digamma``, n = 0 being ``digamma`` itself.

        Shapes: [...] -> [...]. Gradient: g * polygamma(n + 1, self). Raises: ShapeError for a negative n. Source:
        (-1)**(n + 1) * n! * zeta(n + 1, self).
        """
        return self._apply("polygamma", self, n=integer(n, "n"))

    @op(_mvlgamma, inplace=True, needs=SCIPY)
    def mvlgamma(self, p: int) -> Self:
        """Logarithm of the gamma function of ``p`` dimensions: ``p * (p - 1) / 4 * log(pi)`` and the lgamma(self - j / 2), j < p.

        Shapes: [...] -> [...]. Gradient: g times the sum of digamma(self - j / 2). Raises: ShapeError for p below 1; DTypeError for
        bool.
        """
        return self._apply("mvlgamma", self, p=integer(p, "p"))

    @op(_mvlgamma, namespace="internal", needs=SCIPY)
    def _polygamma_sum(self, *, n: int, p: int) -> Self:
        """The sum of polygamma(n, self - j / 2) for j below ``p``.

        Shapes: [...] -> [...]. Gradient: g times the same sum for n + 1.
        """
        return self._apply("_polygamma_sum", self, n=n, p=p)

    @op(_real("igamma", whole=False, flops=200), inplace=True, needs=SCIPY)
    def igamma(self, other: Self) -> Self:
        """Regularised lower incomplete gamma function of ``other``, with the order ``self``; nan where either is negative.

        Shapes: [...], [...] -> broadcast. Gradient: that of ``self`` is refused in backward, as in PyTorch;
        g * exp((self - 1) * log(other) - other - lgamma(self)). Raises: DTypeError for integers.
        """
        return self._apply("igamma", self, other)

    @op(_real("igammac", whole=False, flops=200), inplace=True, needs=SCIPY)
    def igammac(self, other: Self) -> Self:
        """``1 - igamma(self, other)``, exact where that is tiny.

        Shapes: [...], [...] -> broadcast. Gradient: that of ``self`` is refused in backward, as in PyTorch; minus that of
        ``igamma``. Raises: DTypeError for integers.
        """
        return self._apply("igammac", self, other)

    @op(_real("zeta", half=False, flops=200), name="zeta", namespace="special", node="SpecialZeta", reflected=True, needs=SCIPY)
    def _zeta(self, other: Self | Number) -> Self:
        """Hurwitz' zeta function: the sum of ``(k + other)**-self`` over k = 0, 1, ...; inf at poles, nan for self below 1.

        Shapes: [...], [...] -> broadcast. Gradient: that of ``self`` is refused in backward, as in PyTorch;
        -g * self * zeta(self + 1, other). Raises: DTypeError for float16.
        """
        return self._apply("zeta", self, other)

    # In place -------------------------------------------------------------------------------------------------------------

    def lgamma_(self) -> Self:
        """``lgamma`` in place."""
        return self._apply("lgamma_", self)

    def digamma_(self) -> Self:
        """``digamma`` in place."""
        return self._apply("digamma_", self)

    def polygamma_(self, n: int) -> Self:
        """``polygamma`` in place."""
        return self._apply("polygamma_", self, n=integer(n, "n"))

    def mvlgamma_(self, p: int) -> Self:
        """``mvlgamma`` in place."""
        return self._apply("mvlgamma_", self, p=integer(p, "p"))

    def igamma_(self, other: Self) -> Self:
        """``igamma`` in place."""
        return self._apply("igamma_", self, other)

    def igammac_(self, other: Self) -> Self:
        """``igammac`` in place."""
        return self._apply("igammac_", self, other)


class SpecialOps(GammaOps):
    """Error functions, normal distribution, entropy and Bessel functions, of real numbers. Integers and bool compute in float32."""

    __slots__ = ()

    # Error functions and the normal distribution --------------------------------------------------------------------------

    @op(_real("erfinv"), inplace=True, needs=SCIPY)
    def erfinv(self) -> Self:
        """Inverse of ``erf``; infinite at -1 and 1, nan beyond.

        Shapes: [...] -> [...]. Gradient: g * sqrt(pi) / 2 * exp(result**2).
        """
        return self._apply("erfinv", self)

    def erfinv_(self) -> Self:
        """``erfinv`` in place."""
        return self._apply("erfinv_", self)

    @op(_real("erfcx", half=False), name="erfcx", namespace="special", node="SpecialErfcx", needs=SCIPY)
    def _erfcx(self) -> Self:
        """``exp(self**2) * erfc(self)``, without overflow for large numbers.

        Shapes: [...] -> [...]. Gradient: g * (2 * self * result - 2 / sqrt(pi)). Raises: DTypeError for float16.
        """
        return self._apply("erfcx", self)

    @op(_real("ndtr"), name="ndtr", namespace="special")
    def _ndtr(self) -> Self:
        """Probability that a standard normal variable is at most ``self``: ``erfc(-self / sqrt(2)) / 2``.

        Shapes: [...] -> [...]. Gradient: g * exp(-self**2 / 2) / sqrt(2 * pi).
        """
        return self._apply("ndtr", self)

    @op(_real("ndtri", half=False), name="ndtri", namespace="special", node="SpecialNdtri", needs=SCIPY)
    def _ndtri(self) -> Self:
        """Inverse of ``ndtr``; infinite at 0 and 1, nan beyond.

        Shapes: [...] -> [...]. Gradient: g * sqrt(2 * pi) * exp(result**2 / 2). Raises: DTypeError for float16.
        """
        return self._apply("ndtri", self)

    @op(_real("log_ndtr", half=False), name="log_ndtr", namespace="special", node="SpecialLogNdtr", needs=SCIPY)
    def _log_ndtr(self) -> Self:
        """Logarithm of ``ndtr``, exact where that is tiny.

        Shapes: [...] -> [...]. Gradient: g * sqrt(2 / pi) / erfcx(-self / sqrt(2)). Raises: DTypeError for float16.
        """
        return self._apply("log_ndtr", self)

    # Entropy --------------------------------------------------------------------------------------------------------------

    @op(_real("entr", flops=12), name="entr", namespace="special", node="SpecialEntr")
    def _entr(self) -> Self:
        """``-self * log(self)``, 0 at 0, -inf for negative numbers.

        Shapes: [...] -> [...]. Gradient: -g * (1 + log(self)).
        """
        return self._apply("entr", self)

    @op(_real("xlog1py", flops=12), name="xlog1py", namespace="special", node="SpecialXlog1PyBackward0", reflected=True)
    def _xlog1py(self, other: Self | Number) -> Self:
        """``self * log1p(other)``, 0 where ``self`` is 0 unless ``other`` is not a number.

        Shapes: [...], [...] -> broadcast. Gradient: g * log1p(other), 0 where self is 0 and other at most
        -1; g * self / (other + 1).
        """
        return self._apply("xlog1py", self, other)

    # Bessel functions -----------------------------------------------------------------------------------------------------

    @op(_real("i0"), inplace=True, node="I0", needs=SCIPY)
    def i0(self) -> Self:
        """Modified Bessel function of the first kind, order 0.

        Shapes: [...] -> [...]. Gradient: g * i1(self).
        """
        return self._apply("i0", self)

    def i0_(self) -> Self:
        """``i0`` in place."""
        return self._apply("i0_", self)

    @op(_real("i0e"), name="i0e", namespace="special", node="SpecialI0EBackward0", needs=SCIPY)
    def _i0e(self) -> Self:
        """``exp(-abs(self)) * i0(self)``.

        Shapes: [...] -> [...]. Gradient: g * (i1e(self) - sgn(self) * result).
        """
        return self._apply("i0e", self)

    @op(_real("i1"), name="i1", namespace="special", node="SpecialI1", needs=SCIPY)
    def _i1(self) -> Self:
        """Modified Bessel function of the first kind, order 1.

        Shapes: [...] -> [...]. Gradient: g * (i0(self) - result / self), half of g at 0.
        """
        return self._apply("i1", self)

    @op(_real("i1e"), name="i1e", namespace="special", node="SpecialI1EBackward0", needs=SCIPY)
    def _i1e(self) -> Self:
        """``exp(-abs(self)) * i1(self)``.

        Shapes: [...] -> [...]. Gradient: g * (i0e(self) - result * (sgn(self) + 1 / self)), half of g at 0.
        """
        return self._apply("i1e", self)

    @_bessel("bessel_j0", "Bessel functions")
    def _bessel_j0(self) -> Self:
        """Bessel function of the first kind, order 0.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("bessel_j0", self)

    @_bessel("bessel_j1", "Bessel functions")
    def _bessel_j1(self) -> Self:
        """Bessel function of the first kind, order 1.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("bessel_j1", self)

    @_bessel("bessel_y0", "Bessel functions")
    def _bessel_y0(self) -> Self:
        """Bessel function of the second kind, order 0; -inf at 0, nan for negative numbers.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("bessel_y0", self)

    @_bessel("bessel_y1", "Bessel functions")
    def _bessel_y1(self) -> Self:
        """Bessel function of the second kind, order 1; -inf at 0, nan for negative numbers.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("bessel_y1", self)

    @_bessel("modified_bessel_i0", "this form of i0")
    def _modified_bessel_i0(self) -> Self:
        """Modified Bessel function of the first kind, order 0; ``i0`` has a derivative.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("modified_bessel_i0", self)

    @_bessel("modified_bessel_i1", "this form of i1")
    def _modified_bessel_i1(self) -> Self:
        """Modified Bessel function of the first kind, order 1; ``i1`` has a derivative.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("modified_bessel_i1", self)

    @_bessel("modified_bessel_k0", "Bessel functions")
    def _modified_bessel_k0(self) -> Self:
        """Modified Bessel function of the second kind, order 0; inf at 0, nan for negative numbers.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("modified_bessel_k0", self)

    @_bessel("modified_bessel_k1", "Bessel functions")
    def _modified_bessel_k1(self) -> Self:
        """Modified Bessel function of the second kind, order 1; inf at 0, nan for negative numbers.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("modified_bessel_k1", self)

    @_bessel("scaled_modified_bessel_k0", "Bessel functions")
    def _scaled_modified_bessel_k0(self) -> Self:
        """``exp(self) * modified_bessel_k0(self)``.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("scaled_modified_bessel_k0", self)

    @_bessel("scaled_modified_bessel_k1", "Bessel functions")
    def _scaled_modified_bessel_k1(self) -> Self:
        """``exp(self) * modified_bessel_k1(self)``.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("scaled_modified_bessel_k1", self)

    @op(
        _real("spherical_bessel_j0", half=False, flops=12),
        name="spherical_bessel_j0",
        namespace="special",
        differentiable=(),
        reason="PyTorch has no derivative of it; sinc(self / pi) is the same function and has one",
    )
    def _spherical_bessel_j0(self) -> Self:
        """``sin(self) / self``, 1 at 0: the spherical Bessel function of the first kind, order 0.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("spherical_bessel_j0", self)

    @_bessel("airy_ai", "Airy functions")
    def _airy_ai(self) -> Self:
        """Airy function Ai.

        Shapes: [...] -> [...]. Raises: DTypeError for float16 and complex numbers.
        """
        return self._apply("airy_ai", self)
