"""Data with fitted lines by group, as arrays: nothing here draws.

A line of a level is its linear predictor along a covariate. What does not depend on the covariate is held at the mean
over the level's own rows (columns of X and Z, offset, effects of other grouping factors), and so is the partner of the
covariate in an interaction. Where the covariate enters through curves, the line joins the values at the level's own
rows. Along a factor it joins the means over the level's rows of each category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.comparison.shrinkage import shrinkage_frame
from ranef.errors import DesignError
from ranef.inference import (
    FREE,
    Covariate,
    choose_covariate,
    constant_factor,
    draws_of,
    grouping_named,
    level_cells,
    level_means,
    predictor,
    predictor_draws,
)
from ranef.plots.selection import LevelsArgument, selected_levels
from ranef.results import Fit
from ranef.spec import ModelSpec

__all__ = ["GroupLines", "by_level", "group_lines", "lines_group", "population_lines"]

#: population lines drawn one by one, and classes of the covariate over which more are averaged
DISTINCT, CLASSES = 6, 20


@dataclass(frozen=True)
class GroupLines:
    """Data and lines of some levels of a grouping factor.

    Attributes
    ----------
    group : str
    x_name : str
        Of the covariate; empty where there is none, and every level has one point.
    categories : tuple of str
        Of a factor, whose places are x; empty for a numeric covariate.
    response : str
    levels : tuple of str
        Shown, in the order of panels.
    n_levels : int
        How many there are.
    points : DataFrame
        ``level, x, y``: the rows of those levels.
    lines : DataFrame
        ``level, x, no_pooling, population``, and for every fit ``{name}``; of posteriors with a band ``{name}_lower``
        and ``{name}_upper``. Sorted by level, as `levels`, and x.
    stretches : tuple of (str, int)
        Without a covariate, where a factor of the fixed effects is constant within levels: its categories, by which
        levels are sorted first, and how many levels each has.
    """

    group: str
    x_name: str
    response: str
    levels: tuple[str, ...]
    n_levels: int
    points: pd.DataFrame
    lines: pd.DataFrame
    categories: tuple[str, ...] = ()
    stretches: tuple[tuple[str, int], ...] = ()


def lines_group(spec: ModelSpec, group: str | None, x: object) -> str:
    """The grouping factor asked for; else the first that has a slope on the covariate, else the first.

    Raises
    ------
    DesignError
        If there is no such grouping factor, or none at all.
    """
    if group is not None:
        return grouping_named(spec, group)[1].name
    if not spec.groupings:
        raise DesignError("There are no lines by group to draw: the model has no (… | group) term.")
    covariate = choose_covariate(spec, x, None)
    if covariate is not None:
        for g, kinds in zip(spec.groupings, covariate.random, strict=True):
            if (kinds != FREE).any():
                return g.name
    return spec.groupings[0].name


def group_lines(
    fits: Mapping[str, Fit], group: str, x: object, levels: LevelsArgument, *, level: float = 0.95, bands: bool = True
) -> GroupLines:
    """Lines of fits of one model; no pooling and the population line are the first fit's.

    Parameters
    ----------
    x : str, array or Series, optional
        As :func:`choose_covariate`.
    levels : int or sequence, optional
        As :func:`ranef.plots.selection.select`, in the order of their mean fitted values.
    level : float
        Probability of the posterior bands.
    bands : bool
        Whether posteriors get bands.
    """
    first = next(iter(fits.values()))
    spec = first.spec
    k, grouping = grouping_named(spec, group)
    covariate = choose_covariate(spec, x, group) or choose_covariate(spec, x, None)
    effects = {name: _effects(fit) for name, fit in fits.items()}
    J = grouping.n_levels
    order = np.argsort(level_means(first.fitted().to_numpy(), grouping.codes, J), kind="stable")
    between = None if covariate is not None else constant_factor(spec, group)
    category = (
        np.zeros(grouping.n_levels) if between is None else level_means(between.values, grouping.codes, len(order))
    )
    order = order[np.argsort(category[order].round(), kind="stable")]
    shown = order[selected_levels(spec, group, levels).positions(grouping.levels[order])]
    cells = level_cells(spec, k, covariate, shown)
    own = _own(first, k)
    lines = pd.DataFrame({"level": grouping.levels[shown][cells.level], "x": cells.x})
    beta = first.fixef.to_numpy(dtype=float)
    lines["population"] = predictor(cells, beta)
    lines["no_pooling"] = lines["population"] + np.einsum("mp,mp->m", cells.Z[k], own[shown][cells.level])
    for name, fit in fits.items():
        lines[name] = predictor(cells, fit.fixef.to_numpy(dtype=float), effects[name])
        draws = draws_of(fit) if bands else None
        if draws is not None:
            tail = 0.5 * (1.0 - level)
            values = predictor_draws(cells, draws)
            lines[f"{name}_lower"], lines[f"{name}_upper"] = np.quantile(values, [tail, 1.0 - tail], axis=0)
    at = np.zeros(spec.n_obs) if covariate is None else covariate.values
    own_rows = {"x": at[cells.rows], "y": spec.design.y[cells.rows]}
    points = pd.DataFrame({"level": grouping.levels[shown][cells.place], **own_rows})
    names = tuple(map(str, grouping.levels[shown]))
    x_name, categories = ("", ()) if covariate is None else (covariate.name, covariate.categories)
    stretches = () if between is None else _stretches(between, category[shown])
    response = spec.design.response
    return GroupLines(grouping.name, x_name, response, names, grouping.n_levels, points, lines, categories, stretches)


def _stretches(factor: Covariate, places: Floats) -> tuple[tuple[str, int], ...]:
    """Names and lengths of the stretches of levels with one category."""
    found, counts = np.unique(places.round().astype(np.intp), return_counts=True)
    return tuple((f"{factor.name}: {factor.categories[k]}", int(n)) for k, n in zip(found, counts, strict=True))


def by_level(lines: GroupLines, column: str) -> list[Floats]:
    """Lines (points, 2) of a column of the frame along the covariate, one for each level."""
    values = lines.lines[["x", column]].to_numpy(dtype=float)
    level = lines.lines["level"].to_numpy()
    return np.split(values, np.flatnonzero(level[1:] != level[:-1]) + 1)


def population_lines(lines: GroupLines) -> list[Floats]:
    """The distinct population lines (points, 2); where levels differ in many ways, the mean over levels.

    Straight ones are the same where intercept and slope are, whatever values of the covariate a level has.
    """
    curves = by_level(lines, "population")
    size = float(np.abs(lines.lines["population"]).max()) or 1.0
    straight = _straight([c for c in curves if len(c) > 1], size)
    if straight is not None and 0 < len(straight) <= DISTINCT:
        return straight
    known = {tuple(np.round(c / size, 7).ravel()): c for c in curves}
    if len(known) <= DISTINCT:
        return list(known.values())
    frame = lines.lines[["x", "population"]]
    x = frame["x"].to_numpy(dtype=float)
    if len(np.unique(x)) > 2 * CLASSES:
        x = np.digitize(x, np.linspace(x.min(), x.max(), CLASSES + 1)[1:-1]).astype(float)
    return [frame.groupby(x).mean().to_numpy()]


def _straight(curves: list[Floats], size: float) -> list[Floats] | None:
    """Distinct straight lines by their ends; None if one is bent."""
    ends: dict[tuple[float, float], list[float]] = {}
    for c in curves:
        slope = (c[-1, 1] - c[0, 1]) / (c[-1, 0] - c[0, 0])
        intercept = c[0, 1] - slope * c[0, 0]
        if np.abs(c[:, 1] - intercept - slope * c[:, 0]).max() > 1e-7 * size:
            return None
        key = next((k for k in ends if np.allclose(k, (intercept, slope), rtol=1e-6, atol=1e-6 * size)), None)
        if key is None and len(ends) == DISTINCT:
            return None
        ends.setdefault(key or (intercept, slope), []).extend([c[0, 0], c[-1, 0]])
    return [np.array([[x, k[0] + k[1] * x] for x in (min(at), max(at))]) for k, at in ends.items()]


def _effects(fit: Fit) -> list[Floats]:
    """Random effects (J_k, p_k) by grouping."""
    frame = fit.ranef()
    parts = frame.groupby("group", sort=False)["estimate"]
    found = {str(name): values.to_numpy(dtype=float) for name, values in parts}
    return [found[g.name].reshape(g.n_levels, len(g.columns)) for g in fit.spec.groupings]


def _own(fit: Fit, k: int) -> Floats:
    """No-pooling estimates (J, p) of a grouping."""
    g, frame = fit.spec.groupings[k], shrinkage_frame(fit)
    own = frame.loc[frame["group"] == g.name, "no_pooling"].to_numpy(dtype=float)
    return own.reshape(g.n_levels, len(g.columns))
