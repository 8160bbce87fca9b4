"""Tests of nested models: likelihood ratios by χ², its mixture or a bootstrap; F tests of what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from _ranef.errors import DesignError, FitError
from _ranef.inference.ddf import coefficient_law, joint_test
from _ranef.inference.engines import Estimated, Maximum
from _ranef.inference.generalised_refits import by_refits, make_together
from _ranef.inference.mixtures import chi_squared, mixture
from _ranef.inference.nested_models import other_rows, same_columns, same_random_part, why_not_nested
from _ranef.inference.other_fits import Fitted, by_method, fitted, n_parameters
from _ranef.inference.resampling import make_resampling
from _ranef.reml import refit_many
from _ranef.results import Method
from _ranef.spec import with_response
from _ranef.support.arrays import Floats
from _ranef.support.progress import LateBar

__all__ = [
    "TESTS",
    "Simulated",
    "bootstrap_frame",
    "by_one_criterion",
    "f_frame",
    "likelihood_frame",
    "ordered",
    "simulated_ratios",
]

#: what ``test=`` may be, with the words for it
TESTS = {
    "lrt": "Likelihood ratio tests",
    "bootstrap": "Likelihood ratio tests by parametric bootstrap",
    "kr": "F tests with Kenward-Roger's method",
    "satterthwaite": "F tests with Satterthwaite's method",
}

#: what is left of unit columns beside others, above which they add to them
ADDED = 1e-7

#: a simulated ratio below this is zero
ZERO = 1e-5


def ordered(fits: Sequence[Maximum]) -> list[int]:
    """Places of the fits from the smallest to the largest, each nested in the next.

    Raises
    ------
    DesignError
        If they are fewer than two, of other rows, or not nested.
    """
    if len(fits) < 2:
        raise DesignError("There is one fit: anova() compares several. fit.anova() tests its terms.")
    for fit in fits[1:]:
        if (reason := other_rows(fits[0].spec, fit.spec)) is not None:
            raise DesignError(f"The fits are to different data: {reason}.")
    order = sorted(range(len(fits)), key=lambda i: n_parameters(fits[i].spec))
    for i, j in pairwise(order):
        if (reason := why_not_nested(fits[i].spec, fits[j].spec)) is not None:
            raise DesignError(
                f"{fits[i].spec.design.formula!r} is not nested in {fits[j].spec.design.formula!r}: {reason}. Models "
                "that are not nested are compared by fit.aic and fit.bic, by ML where their fixed effects differ."
            )
    return order


def by_one_criterion(fits: Sequence[Maximum], *, refit: bool) -> tuple[list[Fitted], str]:
    """The fits by a criterion that may be compared, and what was done for it, in words.

    Raises
    ------
    DesignError
        If fits have to be fitted again and may not be.
    """
    methods = {fit.estimates.method for fit in fits}
    same = all(same_columns(fits[0].spec, fit.spec) for fit in fits[1:])
    if methods == {"ML"} or (same and len(methods) == 1):
        return [Fitted.of(fit) for fit in fits], ""
    why = "their fixed effects differ" if not same else "others are by ML"
    if not refit:
        raise DesignError(
            f"Fits by REML cannot be compared by their criteria, for {why}. Fit all by ML, model.fit('ML'), or let "
            "anova() do so with refit=True."
        )
    return [by_method(fit, "ML") for fit in fits], f"Fits by REML were fitted again by ML, for {why}."


def likelihood_frame(fits: Sequence[Fitted], names: Sequence[str]) -> pd.DataFrame:
    """``model, npar, aic, aicc, bic, loglik, deviance, statistic, df, p, p_mixture``, each against the one before.

    ``p_mixture`` is that of :func:`~_ranef.inference.mixtures.mixture`.
    """
    rows: list[list[object]] = []
    for k, (fit, name) in enumerate(zip(fits, names, strict=True)):
        criterion, npar, n = fit.estimates.criterion, fit.n_parameters, fit.spec.n_obs
        aic, left = criterion + 2 * npar, n - npar - 1
        aicc = aic + 2 * npar * (npar + 1) / left if left > 0 else np.nan
        scores = [npar, aic, aicc, criterion + np.log(n) * npar, -0.5 * criterion, criterion]
        rows.append([name, *scores, *(_ratio(fits[k - 1], fit) if k else [np.nan] * 4)])
    columns = ["model", "npar", "aic", "aicc", "bic", "loglik", "deviance", "statistic", "df", "p", "p_mixture"]
    return pd.DataFrame(rows, columns=columns)


def _ratio(small: Fitted, large: Fitted) -> list[float]:
    statistic = small.estimates.criterion - large.estimates.criterion
    df = large.n_parameters - small.n_parameters
    return [statistic, df, chi_squared(statistic, df), mixture(small, large, statistic)]


def f_frame(fits: Sequence[Estimated], names: Sequence[str], ddf: str) -> tuple[pd.DataFrame, str]:
    """``model, npar, statistic, ndf, ddf, p, scale``, each against the one before, and what was done in words.

    Raises
    ------
    DesignError
        If models differ in more than their fixed effects.
    """
    note = ""
    rows: list[list[object]] = [[names[0], n_parameters(fits[0].spec), *[np.nan] * 5]]
    for (small, large), name in zip(pairwise(fits), names[1:], strict=True):
        if not same_random_part(small.spec, large.spec):
            raise DesignError(
                "F tests are of fixed effects, and the random effects or residuals of the models differ, too. Take "
                "test='LRT' or 'bootstrap'."
            )
        if large.estimates.method == "ML":
            note = "The larger models were fitted again by REML."
        own = by_method(large, "REML")
        L = restriction(small.spec.held.design.X, own.spec.held.design.X)
        if not len(L):
            raise DesignError("Two models have the same fixed effects: there is nothing to test.")
        found = joint_test(coefficient_law(own, ddf), L, L @ own.estimates.beta)
        rows.append([name, n_parameters(large.spec), found.statistic, found.ndf, found.ddf, found.p, found.scale])
    return pd.DataFrame(rows, columns=["model", "npar", "statistic", "ndf", "ddf", "p", "scale"]), note


def restriction(small: Floats, large: Floats) -> Floats:
    """L (q, p) with Lβ = 0 where Xβ lies in the span of `small` (n, r); its rows are orthonormal, as pbkrtest's."""
    Q, _ = np.linalg.qr(small)
    size = np.linalg.norm(large, axis=0)
    rest = large / size
    for _ in range(2):
        rest = rest - Q @ (Q.T @ rest)
    U, s, _ = np.linalg.svd(rest, full_matrices=False)
    added = U[:, s > ADDED].T @ large
    return np.asarray(np.linalg.qr(added.T)[0].T)


@dataclass(frozen=True, eq=False)
class Simulated:
    """Likelihood ratios (n,) of responses simulated under the smaller model; NaN where a fit failed."""

    ratios: Floats

    def tested(self, statistic: float) -> list[float]:
        """P-value, its Monte Carlo standard error, the share of zeros, and how many fits failed."""
        known = self.ratios[np.isfinite(self.ratios)]
        p = float((known >= statistic).mean()) if statistic >= ZERO else 1.0
        error = float(np.sqrt(p * (1.0 - p) / len(known)))
        return [p, error, float((known < ZERO).mean()), float(len(self.ratios) - len(known))]


def simulated_ratios(small: Fitted, large: Fitted, nsim: int, rng: np.random.Generator) -> Simulated:
    """Simulate under the smaller model at its estimates, and fit both to each response.

    Raises
    ------
    FitError
        If no simulated response could be fitted by both.
    """
    drawn = make_resampling(small.spec, small.estimates, "parametric", "new")
    Y = np.column_stack([drawn.response(rng) for _ in range(nsim)])
    ratios = _criteria(small, Y) - _criteria(large, Y)
    if not np.isfinite(ratios).any():
        raise FitError("No simulated response could be fitted by both models.")
    return Simulated(ratios)


def _criteria(fit: Fitted, Y: Floats) -> Floats:
    """Minimised criteria (B,) of responses (n, B); NaN where a fit did not converge."""
    method: Method = fit.estimates.method
    if fit.held is not None and not fit.spec.structured:
        found = refit_many(fit.spec, fit.held, Y, method, fit.estimates.theta)
        return np.where(found.converged, found.criterion, np.nan)
    own = fit.estimates

    def alone(y: Floats) -> float:
        with suppress(FitError):
            spec = with_response(fit.spec, y)
            return fitted(spec, method, start=own.theta, points=own.nagq).estimates.criterion
        return np.nan

    with LateBar("Refitting", "response", Y.shape[1]) as bar:
        return by_refits(make_together(fit.spec, own), Y, alone, bar.update)


def bootstrap_frame(
    fits: Sequence[Fitted], names: Sequence[str], nsim: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As :func:`likelihood_frame` with ``p`` of the bootstrap, ``p_chi2``, ``p_se``, ``zeros`` and ``failed``.

    The second frame has the simulated ratios, one column for each comparison.
    """
    frame = likelihood_frame(fits, names).rename(columns={"p": "p_chi2"}).drop(columns="p_mixture")
    own = [simulated_ratios(small, large, nsim, rng) for small, large in pairwise(fits)]
    tested = [s.tested(float(lrt)) for s, lrt in zip(own, frame["statistic"][1:], strict=True)]
    columns = pd.DataFrame([[np.nan] * 4, *tested], columns=["p", "p_se", "zeros", "failed"])
    ratios = pd.DataFrame({name: s.ratios for name, s in zip(names[1:], own, strict=True)})
    return pd.concat([frame, columns], axis=1), ratios
