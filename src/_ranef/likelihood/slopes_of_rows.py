"""Log densities of rows and their derivatives: by the family, or where there are many rows by loops for its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from _ranef.spec import Generalised, Rows, Slopes
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import deferred, load

__all__ = ["FEW", "heights_of", "kind_of", "level_values", "slopes_of"]

#: numbers from which on loading the loops (half a second) pays where they are asked for some hundred times, and where
#: that is `often`
MANY, FEW = 50_000, 300

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
    out = [np.empty_like(eta) for _ in range(4)]
    with deferred():  # it may be compiled now
        loops: Any = load("_ranef.likelihood.row_loops")
        if rows.y.size < eta.size:
            loops.grid_slopes(kind, eta, *_numbers(rows), *out)
        else:
            loops.row_slopes(kind, eta.ravel(), *_numbers(rows), *(x.reshape(-1) for x in out))
    return Slopes(*out)


def heights_of(family: Generalised, eta: Floats, rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Two derivatives (n, N) of rows (n, 1) of a kind that loops know, and sums (N,) of log densities."""
    first, curvature, heights = np.empty_like(eta), np.empty_like(eta), np.zeros(eta.shape[1])
    with deferred():
        load("_ranef.likelihood.row_loops").add_heights(
            kind_of(family), eta, *_numbers(rows), first, curvature, heights
        )
    return first, curvature, heights


def level_values(family: Generalised, eta: Floats, rows: Rows, Z: Floats, code: Ints, b: Floats) -> Floats:
    """Sums (J, M, N) by level of their log densities at η (n, N) and M trials of effects b (J, p, M, N)."""
    out = np.zeros((len(b), *b.shape[2:]))
    with deferred():
        load("_ranef.likelihood.row_loops").add_level_values(kind_of(family), eta, *_numbers(rows), Z, code, b, out)
    return out


def _numbers(rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Responses, weights and logarithms of responses, flat."""
    return rows.y.ravel(), np.broadcast_to(rows.weights, rows.y.shape).ravel(), rows.log_y.ravel()
