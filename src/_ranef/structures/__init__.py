"""Covariance structures of random effects: one file each.

Everything else asks a :class:`Structure` and knows none of them by name. A new one is a file beside these and a line in
:data:`STRUCTURES`; its word stands in `formula.STRUCTURES`, too, which knows nothing else of it.
"""

from _ranef.structures.ar1 import Autoregressive
from _ranef.structures.base import Structure, lower_root, without_small
from _ranef.structures.column_scales import non_zero, orthonormalising
from _ranef.structures.cs import CompoundSymmetry
from _ranef.structures.diag import Diagonal
from _ranef.structures.hetar1 import HeterogeneousAutoregressive
from _ranef.structures.homcs import HomogeneousCompoundSymmetry
from _ranef.structures.ident import Identity
from _ranef.structures.shape_coordinates import ShapeParameter
from _ranef.structures.toep import Toeplitz
from _ranef.structures.us import Unstructured

__all__ = [
    "STRUCTURES",
    "ShapeParameter",
    "Structure",
    "lower_root",
    "non_zero",
    "orthonormalising",
    "without_small",
]

#: by the word that formulas have for them
STRUCTURES: dict[str, type[Structure]] = {
    kind.word: kind
    for kind in (
        Unstructured,
        Diagonal,
        Identity,
        CompoundSymmetry,
        HomogeneousCompoundSymmetry,
        Autoregressive,
        HeterogeneousAutoregressive,
        Toeplitz,
    )
}
