"""Coordinates in which a posterior ends where its parameters do, rather than in long tails.

Logarithms of standard deviations and logits of correlations, which NUTS samples, stretch what lies next to a variance
of zero or a correlation of ±1 to infinity. A density that is finite there has no tails in the parameter itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.posterior.layout import Layout
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["Edges", "make_edges"]

FREE, POSITIVE, CORRELATION, SHARE = range(4)

#: what the unconstrained coordinates of a site stand for
KINDS = {
    "sd": POSITIVE,
    "sigma": POSITIVE,
    "diagonal": POSITIVE,
    "log_sigma": POSITIVE,
    "partial": CORRELATION,
}


@dataclass(frozen=True, eq=False, repr=False)
class Edges:
    """Coordinates w of unconstrained ones q.

    A positive x = exp(q) is scale · sinh(w), about linear below its scale and a logarithm above; a correlation stands
    for itself, and so does a share between two bounds.

    Attributes
    ----------
    kinds : array of int (d,)
    scales : array (d,)
    """

    kinds: Ints
    scales: Floats

    def outward(self, q: Floats) -> tuple[Floats, Floats]:
        """Coordinates w (..., d), and dw/dq (..., d)."""
        w, slope = q.copy(), np.ones_like(q)
        at = self.kinds == POSITIVE
        w[..., at] = np.arcsinh(np.exp(q[..., at]) / self.scales[at])
        slope[..., at] = np.tanh(w[..., at])
        at = self.kinds == CORRELATION
        w[..., at] = np.tanh(0.5 * q[..., at])
        slope[..., at] = 0.5 * (1.0 - w[..., at] ** 2)
        at = self.kinds == SHARE
        w[..., at] = scipy.special.expit(q[..., at])
        slope[..., at] = w[..., at] * (1.0 - w[..., at])
        return w, slope

    @property
    def ends(self) -> Floats:
        """Lower and upper ends (2, d), which may be infinite."""
        return np.array([[-np.inf, 0.0, -1.0, 0.0], [np.inf, np.inf, 1.0, 1.0]])[:, self.kinds]

    def inside(self, w: Floats) -> Bools:
        """Which points (n, d) are any (n,)."""
        low, high = self.ends
        return np.asarray(((w > low) & (w < high)).all(axis=1))

    def inward(self, w: Floats) -> tuple[Floats, Floats]:
        """Coordinates q (n, d) of points inside, and log |dq/dw| (n,)."""
        q, log_slope = w.copy(), np.zeros(len(w))
        at = self.kinds == POSITIVE
        x = w[:, at]
        q[:, at] = x + np.log(-0.5 * np.expm1(-2.0 * x)) + np.log(self.scales[at])  # log sinh
        log_slope -= np.log(np.tanh(x)).sum(axis=1)
        at = self.kinds == CORRELATION
        q[:, at] = 2.0 * np.arctanh(w[:, at])
        log_slope += np.log(2.0 / (1.0 - w[:, at] ** 2)).sum(axis=1)
        at = self.kinds == SHARE
        q[:, at] = scipy.special.logit(w[:, at])
        log_slope -= np.log(w[:, at] * (1.0 - w[:, at])).sum(axis=1)
        return q, log_slope


def make_edges(layout: Layout, centre: Floats, spread: Floats) -> Edges:
    """Those of a layout, scaled by a mode (d,) in unconstrained coordinates and standard deviations there.

    Coordinates after those of the layout have no ends.
    """
    kinds: list[int] = []
    for name, n in layout.sites:
        bounds = [bounds for _, bounds in layout.shapes] if name == "shape" else []
        kinds += [SHARE if b == "both" else FREE for b in bounds] if bounds else [KINDS.get(name, FREE)] * n
    kinds += [FREE] * (len(centre) - len(kinds))
    return Edges(np.array(kinds, dtype=np.intp), np.exp(centre) * np.minimum(spread, 1.0))
