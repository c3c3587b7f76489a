"""The free functions of ``telegrad``: one module per op family, each line an op or a creation call."""

from __future__ import annotations

from telegrad._functions.comparison import *
from telegrad._functions.conversion import *
from telegrad._functions.counting import *
from telegrad._functions.creation import *
from telegrad._functions.decompositions import *
from telegrad._functions.distances import *
from telegrad._functions.elementwise import *
from telegrad._functions.index import *
from telegrad._functions.inplace import *
from telegrad._functions.linalg import *
from telegrad._functions.nn import *
from telegrad._functions.numbers import *
from telegrad._functions.parts import *
from telegrad._functions.quadrature import *
from telegrad._functions.queries import *
from telegrad._functions.recurrent import *
from telegrad._functions.reduce import *
from telegrad._functions.scattering import *
from telegrad._functions.shape import *
from telegrad._functions.signal import *
from telegrad._functions.special import *
from telegrad._functions.statistics import *
from telegrad._functions.transcendental import *
from telegrad.contract.functions.composite import *
from telegrad.contract.functions.matrix import *
