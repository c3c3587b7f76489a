"""``TensorOps``: all families stacked."""

from __future__ import annotations

from telegrad.contract.tensor.alias import AliasOps
from telegrad.contract.tensor.aliases import OtherNames
from telegrad.contract.tensor.alignment import AlignmentOps
from telegrad.contract.tensor.comparison import ComparisonOps
from telegrad.contract.tensor.composite import CompositeOps
from telegrad.contract.tensor.conv import ConvOps
from telegrad.contract.tensor.conversion import CastOps
from telegrad.contract.tensor.counting import CountingOps
from telegrad.contract.tensor.creation import LikeOps
from telegrad.contract.tensor.decompositions import DecompositionOps
from telegrad.contract.tensor.draws import DrawOps
from telegrad.contract.tensor.elementwise import ElementwiseOps
from telegrad.contract.tensor.extent import Extent
from telegrad.contract.tensor.factorisations import FactorisationOps
from telegrad.contract.tensor.fft import FFTOps
from telegrad.contract.tensor.fills import Fills
from telegrad.contract.tensor.indefinite import IndefiniteOps
from telegrad.contract.tensor.index import IndexOps
from telegrad.contract.tensor.inplace import InPlaceOps
from telegrad.contract.tensor.linalg import LinalgOps
from telegrad.contract.tensor.losses import LossOps
from telegrad.contract.tensor.nn import NNOps
from telegrad.contract.tensor.numbers import NumberOps
from telegrad.contract.tensor.numpy_names import accept_numpy_names
from telegrad.contract.tensor.operators import Operators
from telegrad.contract.tensor.parts import PartOps
from telegrad.contract.tensor.quadrature import QuadratureOps
from telegrad.contract.tensor.recurrent import RecurrentOps
from telegrad.contract.tensor.reduce import ReduceOps
from telegrad.contract.tensor.resampling import ResamplingOps
from telegrad.contract.tensor.sampling import SamplingOps
from telegrad.contract.tensor.scattering import ScatteringOps
from telegrad.contract.tensor.shape import ShapeOps
from telegrad.contract.tensor.special import SpecialOps
from telegrad.contract.tensor.statistics import StatisticsOps
from telegrad.contract.tensor.stft import STFTOps
from telegrad.contract.tensor.strided import StridedOps
from telegrad.contract.tensor.systems import SystemOps
from telegrad.contract.tensor.tensor_arguments import check_tensor_arguments
from telegrad.contract.tensor.transcendental import TranscendentalOps


@accept_numpy_names
@check_tensor_arguments
class TensorOps(
    Extent,
    ElementwiseOps,
    TranscendentalOps,
    ComparisonOps,
    CastOps,
    LikeOps,
    ReduceOps,
    ShapeOps,
    AliasOps,
    PartOps,
    StridedOps,
    CompositeOps,
    IndexOps,
    QuadratureOps,
    StatisticsOps,
    ScatteringOps,
    CountingOps,
    LinalgOps,
    DecompositionOps,
    FactorisationOps,
    IndefiniteOps,
    SystemOps,
    NNOps,
    LossOps,
    ConvOps,
    RecurrentOps,
    ResamplingOps,
    SamplingOps,
    AlignmentOps,
    FFTOps,
    STFTOps,
    NumberOps,
    DrawOps,
    SpecialOps,
    InPlaceOps,
    OtherNames,
    Fills,
    Operators,
):
    """Every op that is a method of a tensor; the only way out is ``_apply``."""

    __slots__ = ()
