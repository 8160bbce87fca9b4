"""Covariance structures of random effects: one file each.

Everything else asks a :class:`Structure` and knows none of them by name. A new one is a file beside these and a line in
:data:`STRUCTURES`; its word stands in `formula.STRUCTURES`, too, which knows nothing else of it.
"""

from ranef.structures.base import Structure, lower_root, without_small
from ranef.structures.columns import non_zero, orthonormalising
from ranef.structures.diag import Diagonal
from ranef.structures.ident import Identity
from ranef.structures.shape import ShapeParameter
from ranef.structures.us import Unstructured

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
STRUCTURES: dict[str, type[Structure]] = {kind.word: kind for kind in (Unstructured, Diagonal, Identity)}
