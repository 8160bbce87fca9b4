"""Log densities of rows and their derivatives: by the family, or where there are many rows by loops for its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from _ranef.spec import Generalised, Rows, Slopes
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import deferred, load

__all__ = ["kind_of", "slopes_of"]

#: numbers from which on loading the loops (half a second) pays where they are asked for some hundred times, and where
#: that is `often`
MANY, FEW = 50_000, 1_000

#: kinds of rows by families and links: a line and a function of the loops for each
KINDS = {("binomial", "logit"): 1, ("poisson", "log"): 2}


def kind_of(family: Generalised) -> int:
    """Which of the kinds of :mod:`_ranef.likelihood.row_loops` a family has; zero where it has none."""
    return KINDS.get((family.word, family.link), 0)


def slopes_of(family: Generalised, eta: Floats, rows: Rows, own: Mapping[str, Any], *, often: bool = False) -> Slopes:
    """:meth:`~_ranef.spec.Generalised.slopes` at η (n,), or (n, N) for rows (n, 1) or (n, N)."""
    kind = kind_of(family)
    if not kind or len(eta) < (FEW if often else MANY):
        return family.slopes(eta, rows, own)
    with deferred():  # it may be compiled now
        loops: Any = load("_ranef.likelihood.row_loops")
        out = [np.empty_like(eta) for _ in range(4)]
        numbers = [rows.y, np.broadcast_to(rows.weights, rows.y.shape), rows.log_y if kind == loops.LOG else rows.y]
        of = loops.grid_slopes if rows.y.size < eta.size else loops.row_slopes
        flat = [np.ravel(x) for x in (numbers if of is loops.grid_slopes else [eta, *numbers, *out])]
        of(kind, *([eta, *flat, *out] if of is loops.grid_slopes else flat))
    return Slopes(*out)
