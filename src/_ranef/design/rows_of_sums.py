"""A few rows with the cross-products of all: those of a square root of every cell's sums."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from _ranef.design.cellsums import CellSums
from _ranef.design.expression_values import Array
from _ranef.design.newdata import encode_in, scope_of
from _ranef.design.records import Design, Encoded, EncodedRandom
from _ranef.formula import label

__all__ = ["Condensed", "condensed"]


@dataclass(frozen=True, eq=False, repr=False)
class Condensed:
    """Few rows in the place of many.

    Attributes
    ----------
    design : Design
        Of C (m + 1) rows.
    one : array (C (m + 1),)
        What the rows have in the place of a one.
    """

    design: Design
    one: Array


def condensed(design: Design, cells: CellSums, centre: float) -> Condensed:
    """C (m + 1) rows whose cross-products are those of all rows, once `centre` is taken off the response.

    With Σ w a aᵀ = R Rᵀ every column r of R stands for a row: where that has a = (1, x) it has (r₀, r), and what is
    affine in x, c + Σ xₖ sₖ, becomes r₀ c + Σ rₖ sₖ.
    """
    values, vectors = np.linalg.eigh(cells.products)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    one, each = roots[:, 0], roots.shape[2]  # (C, m + 1)
    atoms = cells.shift[:, None] * one[:, None] + cells.scale[:, None] * roots[:, 1:]  # (C, m, m + 1)
    points = [np.zeros(len(cells.atoms)), *np.eye(len(cells.atoms))]
    corners = [encode_in(scope_of(design.encoding, cells.table(point)), design.encoding) for point in points]

    def affine(*columns: Array) -> Array:
        """Rows (C (m + 1), p) of columns (C, p) at the origin and at one of every numeric column."""
        out: Array = np.einsum("cp,cr->crp", columns[0], one)
        for k, column in enumerate(columns[1:]):
            out += np.einsum("cp,cr->crp", column - columns[0], atoms[:, k])
        return out.reshape(one.size, out.shape[2])

    origin = corners[0]
    X = affine(*(corner.X for corner in corners))
    random = []
    for k, known in enumerate(design.random):
        terms = [_random(corner, k) for corner in corners]
        same = terms[0].values is origin.X
        Z = X if same else affine(*(term.values for term in terms))
        random.append(replace(known, codes=np.repeat(terms[0].codes, each), values=Z))
    assert design.stream is not None
    own = cells.atoms.index(label(design.stream.response))
    has_offset = design.encoding.offsets or design.encoding.offset_column
    few = replace(
        design,
        y=((cells.shift[own] - centre) * one + cells.scale[own] * roots[:, own + 1]).ravel() + centre,
        X=X,
        random=tuple(random),
        weights=None,
        offset=affine(*(corner.offset[:, None] for corner in corners))[:, 0] if has_offset else None,
        index=pd.RangeIndex(len(X)),
        rows=np.arange(len(X)),
        stream=None,
    )
    return Condensed(few, one.ravel())


def _random(encoded: Encoded, k: int) -> EncodedRandom:
    term = encoded.random[k]
    assert term is not None
    return term
