"""Likelihood ratio tests of terms: the model fitted again without each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from _ranef.design import every_level, independent_columns
from _ranef.errors import DesignError, suggestion
from _ranef.inference.engines import Maximum
from _ranef.inference.mixtures import chi_squared, mixture
from _ranef.inference.other_fits import (
    Fitted,
    by_method,
    converged,
    fitted,
    random_reductions,
    with_columns,
)
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["drop_terms", "ranova_frame"]


def drop_terms(fit: Maximum, scope: str | Sequence[str] = "terms") -> pd.DataFrame:
    """The model by ML, and without each term that no other contains: ``term, npar, aic, delta_aic, statistic, p``.

    Parameters
    ----------
    fit : Estimated
    scope : "terms", "coefficients" or sequence of str
        What is left out in turn: terms, single columns of X, or those named, terms or coefficients.

    Raises
    ------
    DesignError
        If a name is neither a term that may be left out nor a coefficient, or there is nothing to leave out.
    """
    whole = by_method(fit, "ML")
    full = whole.estimates.criterion + 2 * whole.n_parameters
    rows: list[list[object]] = [["<none>", np.nan, full, 0.0, np.nan, np.nan]]
    parts = _droppable(whole.spec, scope)
    with LateBar("Refitting without", "term", len(parts)) as bar:
        for name, (B, assign) in parts.items():
            rows.append([name, *_compared(whole, converged(with_columns(whole, B, assign), name), full)])
            bar.update()
    return pd.DataFrame(rows, columns=["term", "npar", "aic", "delta_aic", "statistic", "p"])


def _compared(whole: Fitted, small: Fitted, full: float) -> list[float]:
    df = whole.n_parameters - small.n_parameters
    statistic = small.estimates.criterion - whole.estimates.criterion
    aic = small.estimates.criterion + 2 * small.n_parameters
    return [df, aic, aic - full, statistic, chi_squared(statistic, df)]


def _droppable(spec: ModelSpec, scope: str | Sequence[str]) -> dict[str, tuple[Floats, Ints]]:
    """By name, the columns left (p, r) as combinations of those of X, and what each belongs to (r,)."""
    names, assign, terms = list(spec.design.fixed_names), np.asarray(spec.design.assign), _free_terms(spec)
    every = {"terms": list(terms), "coefficients": names[spec.design.has_intercept :]}
    asked = every.get(scope, [scope]) if isinstance(scope, str) else list(scope)
    if not asked:
        raise DesignError("The model has no fixed effects besides the intercept: there is nothing to leave out.")
    out = {}
    for name in asked:
        if name in terms and scope != "coefficients":
            out[name] = _without_term(spec, terms[name])
        elif name in names:
            keep = np.array([own != name for own in names])
            out[name] = np.eye(len(names))[:, keep], assign[keep]
        else:
            near = suggestion(str(name), [*every, *terms, *names])
            raise DesignError(
                f"{name!r} cannot be left out.{near} Terms that no other contains: {', '.join(terms) or 'none'}; or "
                f"coefficients: {', '.join(names)}."
            )
    return out


def _free_terms(spec: ModelSpec) -> dict[str, int]:
    """Terms that no other contains and of which something is estimated, with their numbers."""
    terms = spec.design.encoding.fixed.terms
    factors = [set(t.factors) for t in terms]
    free = [k for k, own in enumerate(factors) if not any(own < other for other in factors)]
    return {spec.design.fixed_terms[k]: k for k in free if (spec.design.assign == k + 1).any()}


def _without_term(spec: ModelSpec, k: int) -> tuple[Floats, Ints]:
    """The other terms, coded as R codes them then: the same span."""
    every = every_level(spec.design.encoding)
    at = np.flatnonzero(every.assign != k + 1)
    at = at[independent_columns(every.K[:, at], intercept=False)]
    return every.K[:, at], every.assign[at]


def ranova_frame(fit: Maximum) -> pd.DataFrame:
    """Steps back from every random term: ``term, npar, loglik, aic, statistic, df, p, p_mixture``.

    By the criterion of the fit, as the fixed effects are the same.

    Raises
    ------
    DesignError
        If the model has no random effects.
    """
    if not fit.spec.terms:
        raise DesignError("The model has no random effects: ranova() has nothing to reduce.")
    intercepts = all(random.columns == ("Intercept",) for random in fit.spec.design.random)
    own = Fitted.of(fit)
    whole = own if intercepts else replace(own, spec=fit.spec.held)  # a slope leaves others
    rows: list[list[object]] = [["<none>", *_scored(whole), np.nan, np.nan, np.nan, np.nan]]
    steps = random_reductions(whole.spec)
    with LateBar("Refitting without", "term", len(steps)) as bar:
        for name, spec in steps:
            small = converged(fitted(spec, fit.estimates.method, points=fit.estimates.nagq), name)
            rows.append([name, *_scored(small), *_tested(whole, small)])
            bar.update()
    columns = ["term", "npar", "loglik", "aic", "statistic", "df", "p", "p_mixture"]
    return pd.DataFrame(rows, columns=columns)


def _scored(fit: Fitted) -> list[float]:
    criterion = fit.estimates.criterion
    return [fit.n_parameters, -0.5 * criterion, criterion + 2 * fit.n_parameters]


def _tested(whole: Fitted, small: Fitted) -> list[float]:
    df = whole.n_parameters - small.n_parameters
    statistic = small.estimates.criterion - whole.estimates.criterion
    return [statistic, df, chi_squared(statistic, df), mixture(small, whole, statistic)]
