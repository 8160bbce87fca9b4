"""Intervals and tests that a page shows of several fits of one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef.comparison import interval_frame
from _ranef.errors import FitError, NotAvailableError, RowsNotHeld
from _ranef.spec import Generalised
from _ranef.tables import Document, exact_test_table, interval_table, sign_table
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.posterior import PosteriorFit
from _ranef.user.posterior_base import Drawn
from _ranef.user.reml_fit import FEW_ROWS, EmpiricalBayesFit

__all__ = ["REPLICATES", "Intervals", "intervals_document", "quickly_profiled", "signs_document", "summary_with_tests"]

AnyFit: TypeAlias = EmpiricalBayesFit | PosteriorFit | GeneralisedFit | GeneralisedPosterior

#: simulations of a page's tests
SIMULATIONS = 20_000

#: of a bootstrap
REPLICATES = 500


def quickly_profiled(fit: AnyFit) -> bool:
    """Whether this is a fit by REML or ML whose profiles take a moment only."""
    return isinstance(fit, EmpiricalBayesFit) and fit._quickly_profiled


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of fits of one model as a page has them, each computed once.

    Attributes
    ----------
    fits : mapping str to fit
    level : float
    """

    fits: Mapping[str, AnyFit]
    level: float

    @cached_property
    def profiles(self) -> dict[str, inf.Profiles]:
        """Of fits whose profiles take a moment only."""
        wide = max(self.level, 0.99)
        return {name: fit.profile(level=wide) for name, fit in self.fits.items() if quickly_profiled(fit)}  # type: ignore[union-attr]

    @property
    def quick(self) -> bool:
        """Whether all fits have them."""
        return all(isinstance(fit, Drawn) or name in self.profiles for name, fit in self.fits.items())

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Those by Wald, by profile and bootstrap where that is quick, and of posteriors."""
        return self._by("wald", "profile", "bootstrap") if self.quick else self._by("wald")

    @property
    def without_bootstrap(self) -> pd.DataFrame:
        """The same but those by bootstrap, which needs the rows."""
        try:
            return self.frame.query("method != 'bootstrap'")
        except RowsNotHeld:
            return self._by("wald", "profile")

    def _by(self, *methods: str) -> pd.DataFrame:
        return interval_frame(self.fits, methods, self.level, REPLICATES, 1, self.profiles)  # type: ignore[arg-type]


def intervals_document(intervals: Intervals, headings: Mapping[str, str]) -> Document:
    """What a page shows: intervals by Wald, by profile where that is quick, and of posteriors; and exact tests."""
    fits, level = intervals.fits, intervals.level
    own = {headings[name]: fit for name, fit in fits.items() if isinstance(fit, EmpiricalBayesFit)}
    linked = any(isinstance(fit.spec.family, Generalised) for fit in fits.values())
    shown = intervals.without_bootstrap
    table = interval_table(shown.assign(fit=shown["fit"].map(headings)), level, linked=linked)
    tests = [
        (test.tested, name, test.kind, test.statistic, test.p_value)
        for name, fit in own.items()
        for test in _exact_tests(fit)
    ]
    return Document((table, exact_test_table(tests, SIMULATIONS)) if tests else (table,))


def signs_document(fits: Mapping[str, AnyFit]) -> Document:
    """What posteriors say of the signs of coefficients."""
    posteriors = {name: fit for name, fit in fits.items() if isinstance(fit, Drawn) and fit.spec.n_fixed}
    tested = {name: fit.test(np.eye(fit.spec.n_fixed)) for name, fit in posteriors.items()}
    names = {name: list(fit.fixef.index) for name, fit in posteriors.items()}
    return Document(tuple(sign_table(own.assign(hypothesis=names[name]), name) for name, own in tested.items()))


def summary_with_tests(fit: AnyFit) -> Document:
    """The summary, with Satterthwaite's p-values where they take a moment only."""
    if isinstance(fit, EmpiricalBayesFit) and quickly_profiled(fit):
        return fit.summary(ddf="satterthwaite")
    return fit.summary()


def _exact_tests(fit: EmpiricalBayesFit) -> Iterator[inf.ExactTest]:
    """Of the variances that have one, in models of few rows."""
    for t in fit.spec.terms if fit.spec.n_obs <= FEW_ROWS and fit.ok else ():
        try:
            yield inf.exact_rlrt(fit, t.group, SIMULATIONS, 1, term=t.columns[0])
        except (NotAvailableError, FitError):  # it has several parameters, or is of related rows or levels
            continue
