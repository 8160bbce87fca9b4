"""``ranef.compare``: fits of one model side by side; posteriors of several models ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, overload

import pandas as pd

from _ranef import comparison as cmp
from _ranef import inference as inf
from _ranef.errors import DesignError
from _ranef.likelihood import CrossProducts
from _ranef.results import ESTIMATING
from _ranef.spec import Flat, Generalised, ModelSpec, Normal
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.tables import FitColumns, decomposition_line
from _ranef.user.comparison_base import Compared
from _ranef.user.fits_alike import AnyFit, alike
from _ranef.user.generalised_comparison import GeneralisedComparison, generalised_comparison
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.posterior import PosteriorFit
from _ranef.user.posterior_base import Drawn
from _ranef.user.reml_fit import EmpiricalBayesFit

__all__ = ["Comparison", "compare"]

Posteriors: TypeAlias = PosteriorFit | Mapping[str, PosteriorFit]

#: effects and rows up to which that takes no time to speak of, and is done for printing
QUICK_EFFECTS, QUICK_ROWS = 200, 50_000


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Compared[EmpiricalBayesFit, PosteriorFit]):
    """Fits of one model, aligned.

    Made by :func:`ranef.compare`.

    Attributes
    ----------
    fits : mapping str to EmpiricalBayesFit or PosteriorFit
        By name, in the order of the columns; read-only.
    level : float
        Probability of the intervals.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, progress=False)
    >>> both = ranef.compare(model.fit(), model.fit("ML"), fb)
    >>> list(both.fits), both.reference
    (['REML', 'ML', 'NUTS'], 'NUTS')
    >>> both.agreement.columns[4:].tolist()
    ['fit', 'reference', 'difference', 'difference_in_sd', 'overlap', 'width_ratio']
    """

    fits: Mapping[str, AnyFit]
    level: float = 0.95

    @property
    def _variance_errors(self) -> Mapping[str, Floats]:
        return {name: f._variance_errors() for name, f in self.fits.items() if isinstance(f, EmpiricalBayesFit)}

    def _split(self, posterior: PosteriorFit, draws: int | None) -> Sequence[cmp.VarianceSplit]:
        return cmp.split_variances(posterior.spec, posterior.draws, draws, self._products_of(posterior.spec))

    @cached_property
    def boundary(self) -> cmp.Boundary:
        """What it means that a fit puts a variance at 0 or a correlation at ±1, where it does; false where none does.

        ``words`` are paragraphs, ``frame`` has the numbers of every posterior: ``fit, group, term, estimate, posterior,
        mean, median, lower, upper, near, p_near``.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> print(both.boundary)
        No fit is on the boundary.
        """
        return self._boundary(self.fits)

    def _boundary(self, fits: Mapping[str, AnyFit]) -> cmp.Boundary:
        estimates = {n: (f.likelihood, f.estimates) for n, f in fits.items() if isinstance(f, EmpiricalBayesFit)}
        posteriors = {n: f.draws for n, f in fits.items() if isinstance(f, PosteriorFit)}
        spec = next(iter(self.fits.values())).spec
        return cmp.boundary(spec, estimates, posteriors, self.level)

    @property
    def _at_boundary(self) -> Sequence[str]:
        return self._boundary({n: f for n, f in self.fits.items() if f.ok}).words

    @property
    def _further(self) -> Mapping[str, pd.DataFrame]:
        return {"boundary": self.boundary.frame}

    def _decomposed(self, columns: Sequence[FitColumns]) -> list[str]:
        if not self._quick:
            return []
        posteriors = [c for c in columns if c.engine not in ESTIMATING]
        whose = next(c.heading for c in posteriors if c.name == self.reference) if len(posteriors) > 1 else ""
        priors = self.fb.draws.priors
        sampled = [name for name, p in priors.fixef.items() if not isinstance(p, Normal | Flat)]
        return [decomposition_line(self.decomposition, whose, [] if priors.flat else sampled)]

    @property
    def _quick(self) -> bool:
        """Whether the decomposition is there already, or takes no time to speak of."""
        fit = self.fits[self.reference]
        if not isinstance(fit, PosteriorFit) or fit.draws.not_normal or not fit.spec.groupings:
            return False
        if "decomposition" in vars(self):
            return True
        effects = sum(g.n_levels * len(g.columns) for g in fit.spec.groupings)
        return effects <= QUICK_EFFECTS and fit.spec.n_obs <= QUICK_ROWS and fit.draws.sigma.size > 1

    def _products_of(self, spec: ModelSpec) -> CrossProducts | None:
        """Those that a fit of this very spec holds."""
        held = (f.products for f in self.fits.values() if isinstance(f, EmpiricalBayesFit) and f.spec is spec)
        return next(held, None)


@overload
def compare(first: EmpiricalBayesFit, /, *fits: AnyFit, level: float = 0.95) -> Comparison: ...
@overload
def compare(first: PosteriorFit, second: EmpiricalBayesFit, /, *fits: AnyFit, level: float = 0.95) -> Comparison: ...
@overload
def compare(fits: Mapping[str, EmpiricalBayesFit], /, *, level: float = 0.95) -> Comparison: ...
@overload
def compare(*fits: Posteriors, kind: str, level: float = 0.95, group: str | None = None) -> pd.DataFrame: ...
@overload
def compare(*fits: Posteriors, group: str, level: float = 0.95, kind: str | None = None) -> pd.DataFrame: ...
@overload
def compare(
    *fits: AnyFit | Mapping[str, AnyFit] | Posteriors,
    level: float = 0.95,
    kind: str | None = None,
    group: str | None = None,
) -> Comparison | GeneralisedComparison | pd.DataFrame: ...
@helpful
def compare(
    *fits: Any, level: float = 0.95, kind: str | None = None, group: str | None = None
) -> Comparison | GeneralisedComparison | pd.DataFrame:
    """Set fits of one model side by side, or rank posteriors of several models.

    One model may be written in several ways, as ``a*b`` and ``b*a``, with terms in another order or factors in another
    coding: its fits are shown in the words of the first.

    Parameters
    ----------
    *fits : EmpiricalBayesFit or PosteriorFit, or GeneralisedFit or GeneralisedPosterior
        Two or more fits of one model and data, from :meth:`ranef.Model.fit` and :meth:`ranef.Model.sample` in any mix:
        REML, ML, posteriors under other priors, parameterizations or families of the response. Or posteriors of
        different models of the same rows. Or one mapping of names to either.
    level : float
        Probability of the intervals of a side-by-side comparison.
    kind : "conditional" or "group", optional
        Rank posteriors by elpd, of one model too: leaving out rows, or whole levels of `group`, as
        :meth:`PosteriorFit.loo`. Posteriors of different models are ranked in any case, by rows unless this says else.
    group : str, optional
        A grouping factor of one of the models; needed only where they have several.

    Returns
    -------
    Comparison, or GeneralisedComparison, or DataFrame of posteriors by model
        A comparison of fits of one model; a ranking of posteriors of different models, or where `kind` or `group`
        asks for one. Type checkers know which if a fit is by REML or ML, or `kind` or `group` is given. A comparison
        names its fits ``eb`` and ``fb`` where there is one of each kind, else ``REML``, ``ML`` and ``NUTS``, numbered
        where repeated, unless a mapping names them. A ranking has ``rank, elpd, p, elpd_diff, weight, se, dse,
        warning``, best first, as ``arviz_stats.compare``; models go by their formulas.

    Raises
    ------
    DesignError
        If the arguments are not fits, or not of the same model or data; the message says where they differ.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, progress=False)
    >>> ranef.compare(model.fit(), fb).shrinkage["eb_ratio"].round(5).tolist()
    [1.31212, 1.31212, 1.31212, 1.31212]
    >>> again = model.sample(draws=200, warmup=200, seed=2, progress=False, priors="flat")
    >>> both = ranef.compare({"default priors": fb, "flat priors": again})
    >>> both.variance_components.columns[2:4].tolist()
    ['default priors_estimate', 'default priors_sd']
    >>> both.elpd()["rank"].tolist()
    [0, 1]
    """
    named = _fits_by_name(fits)
    inf.normal_quantile(level)  # refuses what is no probability
    given = list(fits) if named is None else list(named.values())
    posteriors: list[Any] = [fit for fit in given if isinstance(fit, Drawn)]
    asked = kind is not None or group is not None
    if asked and len(posteriors) < len(given):
        raise DesignError("kind= and group= are for ranking posteriors by elpd; a fit by REML or ML has none.")
    if len(posteriors) == len(given) and (asked or any(_another(given[0].spec, fit.spec) for fit in given[1:])):
        names = cmp.formula_names([fit.spec for fit in posteriors]) if named is None else list(named)
        return cmp.ranked(dict(zip(names, posteriors, strict=True)), kind or "conditional", group)
    own = _by_engine(given) if named is None else named
    if any(isinstance(fit.spec.family, Generalised) for fit in given):
        return generalised_comparison(own, level)
    return _side_by_side(own, level)


def _another(first: ModelSpec, second: ModelSpec) -> bool:
    """Whether two posteriors are of different models: terms, or distributions of a generalised response."""
    families = first.family, second.family
    linked = any(isinstance(family, Generalised) for family in families)
    return (linked and families[0] != families[1]) or cmp.difference(first, second) is not None


def _side_by_side(fits: Mapping[str, AnyFit], level: float) -> Comparison:
    out = Comparison(alike(fits), level)
    if any(fit.spec.design.stream is not None for fit in fits.values()):
        out.random_effects  # noqa: B018  rows are read now: where there are none, that is said here
    return out


def _by_engine(fits: Sequence[AnyFit]) -> dict[str, AnyFit]:
    """Fits by the names they have where nobody names them; the estimate first, whatever the order given."""
    own = dict(zip(cmp.default_names([fit.engine for fit in fits]), fits, strict=True))
    return dict(sorted(own.items())) if "eb" in own else own


def _fits_by_name(fits: Sequence[Any]) -> dict[str, AnyFit] | None:
    """A mapping's fits, or None for fits without names; what is not two fits at least is refused."""
    named = dict(fits[0]) if len(fits) == 1 and isinstance(fits[0], Mapping) else None
    given = list(fits) if named is None else list(named.values())
    known = EmpiricalBayesFit | PosteriorFit | GeneralisedFit | GeneralisedPosterior
    if len(given) < 2 or not all(isinstance(fit, known) for fit in given):
        got = " and ".join(type(fit).__name__ for fit in given) or "nothing"
        hint = ""
        if any(isinstance(fit, list | tuple) for fit in given):
            hint = " A list of fits is given as compare(*fits)."
        elif any(type(fit).__name__ == "Model" for fit in given):
            hint = " A Model is no fit yet: call its fit() or sample()."
        raise DesignError(
            "compare() takes two or more fits, from Model.fit() or Model.sample(), or one mapping of names to them; "
            f"got {got}.{hint}"
        )
    if named is not None:
        cmp.check_names(list(named))
    return named
