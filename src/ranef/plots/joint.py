"""Two standard deviations together: posterior draws and the profiled criterion, as arrays; nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ranef.arrays import Floats
from ranef.comparison.surface import Surface, chosen_pair, criterion_surface
from ranef.errors import DesignError
from ranef.inference import estimates_of, estimates_to_mark, first_fit, posteriors_of, products_of
from ranef.plots.components import Component, components
from ranef.plots.panels import spread
from ranef.results import Fit, Method
from ranef.spec import ModelSpec, sdcor_arrays

__all__ = ["JointPanel", "joint_panel"]

#: draws shown
DRAWS = 4000

#: points of the grid along one side, and where two parameters are all there is and nothing has to be minimised
POINTS, FINE = 40, 80

#: draws beyond these quantiles are not reached for by the axes
REACH = (0.003, 0.997)


@dataclass(frozen=True, eq=False)
class JointPanel:
    """Draws of two standard deviations over contours of the profiled criterion.

    Attributes
    ----------
    x, y : Component
    draws : mapping str to array (shown, 2)
        By the name of the posterior.
    surface : Surface or None
        None where the model sampled is not Gaussian, and no fit by REML or ML is given.
    estimates : mapping str to (float, float)
        By the label of the criterion.
    """

    x: Component
    y: Component
    draws: Mapping[str, Floats]
    surface: Surface | None
    estimates: Mapping[str, tuple[float, float]]


def joint_panel(
    fits: Mapping[str, Fit], x: str | None = None, y: str | None = None, method: Method | None = None
) -> JointPanel:
    """Gather draws, contours and estimates of two standard deviations of fits of one model.

    Parameters
    ----------
    fits : mapping of str to Fit
    x, y : str, optional
        As for :func:`ranef.comparison.surface.criterion_surface`.
    method : "REML" or "ML", optional
        The criterion whose contours are taken; by default that of the first fit by REML or ML, else REML.

    Raises
    ------
    DesignError
        For an unknown standard deviation or method, or a model without two.
    """
    if method not in (None, "REML", "ML"):
        raise DesignError(f"method={method!r} must be 'REML' or 'ML'.")
    spec, posteriors, marks = first_fit(fits).spec, posteriors_of(fits), estimates_to_mark(fits)
    names = chosen_pair(spec, x, y)
    known = {c.name: c for c in components(spec)}
    draws = {name: _pairs(spec, f.draws.theta, f.draws.sigma, names) for name, f in posteriors.items()}
    found = {label: _pairs(spec, e.theta, np.asarray(e.sigma), names)[0] for label, e in marks.items()}
    estimates = {label: (float(a), float(b)) for label, (a, b) in found.items()}
    surface = None
    if marks:
        own = next((f.estimates.method for f in estimates_of(fits).values()), "REML")
        optimum = next(e for e in marks.values() if e.method == (method or own))
        within = _reach(np.concatenate(list(draws.values()))) if draws else None
        points = FINE if len(known) == 2 else POINTS
        surface = criterion_surface(spec, products_of(fits), optimum, *names, points=points, within=within)
    shown = {name: d[spread(len(d), DRAWS // len(draws))] for name, d in draws.items()}
    return JointPanel(known[names[0]], known[names[1]], shown, surface, estimates)


def _pairs(spec: ModelSpec, theta: Floats, sigma: Floats, names: tuple[str, str]) -> Floats:
    """Values (n, 2) of two standard deviations."""
    found = sdcor_arrays(spec, theta, sigma)
    return np.stack([np.ravel(found[name]) for name in names], axis=1)


def _reach(draws: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    low, high = np.quantile(draws, REACH, axis=0).tolist()
    return (low[0], high[0]), (low[1], high[1])
