"""``ranef.pooling``: no pooling, partial pooling, complete pooling and the posterior, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, overload, runtime_checkable

import numpy as np
import pandas as pd

from _ranef import comparison as cmp
from _ranef.errors import DesignError, FitError
from _ranef.inference import check_level, grouping_named, only_group
from _ranef.spec import Generalised
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.user.fits_alike import alike
from _ranef.user.generalised_pooled import GeneralisedPooling, generalised_pooling
from _ranef.user.pooled_base import Pooled
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit, empirical_bayes

__all__ = ["Fittable", "PooledAt", "Pooling", "pooling"]

#: reliabilities of draws given at once
MAX_DRAWN = 200_000_000

#: size of effects, beside the noise of a row, up to which estimates at a given θ keep six digits
MOST = 1e5


@runtime_checkable
class Fittable(Protocol):
    """What can be fitted by REML: a :class:`ranef.Model`."""

    def fit(self) -> EmpiricalBayesFit:
        """Fit by REML."""
        ...


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class PooledAt:
    """Estimates at one θ, which need not be the estimate.

    Made by :meth:`Pooling.at`.

    Attributes
    ----------
    theta : Series
        By name, in lme4's order.
    fixef : Series
        β̂ by generalised least squares at that θ.
    sigma : float
        σ̂ at that θ, or the known one.
    criterion : float
        The REML criterion, or −2 log-likelihood after a fit by ML; infinite where a ratio is.
    frame : DataFrame
        ``group, level, term, n, no_pooling, partial, complete, reliability``, as deviations from the fixed effects.
    coef : DataFrame
        The same estimates with the fixed effects added: ``group, level, term, n, no_pooling, partial, complete``.

    Notes
    -----
    At an infinite ratio these are limits, and NaN what has none (see :meth:`Pooling.path`); so is ``no_pooling`` there,
    which is counted from β̂. At a scale ``fixef``, ``sigma`` and ``no_pooling`` are those of the θ that is scaled.
    """

    theta: pd.Series[float]
    fixef: pd.Series[float]
    sigma: float
    criterion: float
    frame: pd.DataFrame
    coef: pd.DataFrame

    def __repr__(self) -> str:
        values = ", ".join(f"{name} = {value:.4g}" for name, value in self.theta.items())
        return f"<PooledAt {values}>"


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class Pooling(Pooled):
    """Every level between complete pooling and none.

    Made by :func:`ranef.pooling`.

    Attributes
    ----------
    eb : EmpiricalBayesFit
        Whose θ̂ partial pooling takes as known.
    fb : PosteriorFit or None
    group : str or None
        The grouping factor asked for; all by default.
    level : float
        Probability of the posterior intervals.

    Notes
    -----
    ``no_pooling`` is weighted least squares in the level's own rows, b̃ⱼ = Aⱼ⁻¹Zⱼᵀ W(y − offset − Xβ̂ − other
    factors' BLUPs) with Aⱼ = ZⱼᵀWZⱼ; its sampling variance, all else known, is σ²Aⱼ⁻¹. The ``reliability`` of an effect
    q is that of Raudenbush & Bryk (2002, *Hierarchical Linear Models*, 2nd ed., ch. 3),

        λ_qj = τ_qq / (τ_qq + σ²[Aⱼ⁻¹]_qq),

    τ²/(τ² + σ²/nⱼ) for one random intercept: 0 is complete pooling, 1 none. It is 0 where the level's rows do not
    determine the coefficient, as a slope in one row. :meth:`reliability_matrix` gives Λⱼ, with which b̂ⱼ = Λⱼ b̃ⱼ
    exactly: these are the mixed-model equations of the level. ``shrinkage`` in :func:`ranef.compare`, and
    ``derive("shrinkage")``, compare conditional and prior variance of an effect instead, and so count what is not known
    of other factors; for one factor with one effect the two agree.

    Examples
    --------
    >>> import ranef
    >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
    >>> (pooled.frame["no_pooling"] / pooled.frame["partial"]).round(5).tolist()
    [1.31212, 1.31212, 1.31212, 1.31212]
    >>> pooled.frame["reliability"].round(4).tolist()
    [0.7621, 0.7621, 0.7621, 0.7621]
    """

    eb: EmpiricalBayesFit
    fb: PosteriorFit | None = None
    group: str | None = None
    level: float = 0.95
    _kept: dict[tuple[int, int, int], cmp.PoolingSweep] = field(default_factory=dict, init=False)

    # -- estimates at θ̂ ----------------------------------------------------------------------------------------

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All estimates of every random effect, as deviations from the fixed effects.

        ``group, level, term``; ``n``, rows of the level; ``no_pooling``, the level's own least squares of
        y − offset − Xβ̂, NaN where its rows do not determine it; ``partial``, the BLUP at θ̂; ``complete``, 0;
        ``posterior``, the posterior mean; ``reliability`` at θ̂; ``reliability_mean, reliability_lower,
        reliability_upper``, its posterior mean and equal-tailed interval. The posterior's are NaN without one.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> pooled.frame[["level", "no_pooling", "partial", "complete"]].round(3).head(2).to_numpy().tolist()
        [['a', -0.16, -0.122, 0.0], ['b', -0.34, -0.259, 0.0]]
        """
        return self._only(cmp.pooling_frame(self._base, None if self.fb is None else self.fb.draws, self.level))

    # -- at other θ --------------------------------------------------------------------------------------------

    def at(
        self,
        theta: Mapping[str, float] | Sequence[float] | Floats | pd.Series[float] | None = None,
        ratio: float | None = None,
        *,
        scale: float | None = None,
        group: str | None = None,
        term: str | None = None,
    ) -> PooledAt:
        """BLUPs, β̂ and reliabilities at any θ, at any scale of the covariance, or with one standard deviation changed.

        Parameters
        ----------
        theta : sequence, Series or mapping, optional
            θ in lme4's order, or by name (those left out stay at θ̂); θ̂ by default. β̂ is estimated anew at it.
        ratio : float, optional
            Standard deviation over σ of one effect, from 0 to infinity, put in place of that in `theta`; correlations
            and all other standard deviations stay, β̂ and all effects are estimated anew. With an ``ident`` structure
            all effects of the term change.
        scale : float, optional
            Factor on all standard deviations of `group` (all groups by default), from 0 (complete pooling) through 1
            (the BLUPs at `theta`) to infinity (no pooling). Correlations, β̂, σ̂ and the effects of other factors stay:
            see :meth:`path`.
        group, term : str, optional
            Whose; for `ratio` needed where there are several.

        Returns
        -------
        PooledAt
            ``theta, fixef, sigma, criterion, frame, coef``.

        Raises
        ------
        DesignError
            If θ has the wrong length or a wrong name, a ratio or scale is negative, or both are given.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> pooled = ranef.pooling(model)
        >>> float(pooled.at(scale=0.0).frame["partial"].abs().max())
        0.0
        >>> none = pooled.at(scale=float("inf")).frame
        >>> bool((none["partial"] - pooled.frame["no_pooling"]).abs().max() < 1e-9)
        True
        >>> round(pooled.at(ratio=0.5, term="Intercept").criterion - pooled.eb.criterion, 2)
        6.2
        """
        values = self._base.theta if theta is None else cmp.checked_theta(self.spec, theta, self._base.theta)
        if scale is not None:
            found, values, ratios = self._scaled(values, ratio, scale, group, term)
        else:
            found, values, ratios = self._estimated(values, ratio, group, term)
        frame = cmp.own_frame(self._base, found, ratios)
        coef = cmp.coefficient_frame(self._base, frame, found.beta, found.beta)
        # with the limits of sums whose parts have none
        coef["partial"] = np.concatenate([values.ravel() for values in found.coef])
        return PooledAt(
            pd.Series(values, index=list(self.spec.theta_names), name="theta"),
            pd.Series(found.beta, index=list(self.spec.design.fixed_names), name="estimate", dtype=float),
            found.sigma,
            found.criterion,
            self._only(frame),
            self._only(coef),
        )

    def path(
        self,
        group: str | None = None,
        term: str | None = None,
        ratios: Sequence[float] | Floats | None = None,
        n: int = 41,
        *,
        scales: Sequence[float] | Floats | None = None,
    ) -> pd.DataFrame:
        """Path of every BLUP from complete pooling to none, or as the standard deviation of one effect moves.

        By default the whole covariance of a factor's effects is scaled: its standard deviations are s times the
        estimated ones, s from 0 to infinity, and correlations stay. All else stays as estimated, β̂, σ̂ and the effects
        of other factors too, so that only pooling changes: the path leads from ``complete`` of :attr:`frame` at s = 0
        through ``partial`` at 1 to ``no_pooling`` at infinity, to rounding, NaN there where the level's rows do not
        determine the effect.

        Multiples of a singular covariance never reach no pooling, so that beyond s = 1 it is given what it lacks: in
        proportion to s² − 1, variances like the sampling variances of a typical level's own coefficients, in the
        directions left out. An effect whose variance is estimated as zero then rests at zero up to s = 1.

        With `term` or `ratios` the standard deviation over σ of one effect alone runs from 0 to infinity; all others
        and the correlations stay at θ̂, and β̂ and all effects are estimated anew at every ratio (one evaluation of the
        model each, infinity four). The right end of that is not no pooling: the other effects still draw levels
        together. It holds limits, and NaN where there is none: the ``estimate`` of an effect correlated with others can
        grow with the ratio without end, against β̂, for all levels where one of those others has no fixed effect, as for
        the intercepts of ``1 + (Days | Subject)``, or where the rows of some level do not hold the column. ``coef``
        then has a limit all the same, but for such a level.

        Parameters
        ----------
        group, term : str, optional
            Whose; all effects by default, one path after the other. A `term` moves alone.
        ratios : sequence of float, optional
            Standard deviations over σ of one effect alone.
        n : int
            Places on a path without `ratios` and `scales`, from 0 to infinity and even in ``position``.
        scales : sequence of float, optional
            Factors s on all standard deviations of a factor.

        Returns
        -------
        DataFrame
            ``group, level, term``; ``ratio``, the standard deviation of the effect over σ; ``estimate``;
            ``reliability``; ``position`` between 0 and 1, s²/(s² + h²) with h the scale at which a typical level is
            half-way (r²/(r² + h²) of a ratio r); ``coef``, the estimate with the fixed effect added; and ``scale``, s,
            where the whole covariance moves.

        See Also
        --------
        sweep : the arrays, all effects of a factor together.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> path = pooled.path(n=3)
        >>> path.loc[path["level"] == "a", "ratio"].round(4).tolist()
        [0.0, 0.4472, inf]
        >>> path.loc[path["level"] == "a", "estimate"].round(4).tolist()
        [0.0, -0.08, -0.16]
        """
        if term is not None or ratios is not None:
            self._not_both(scales, "scales", "term= or ratios=")
            return pd.concat([s.frame for s in self._single(group, term, ratios, n)], ignore_index=True)
        return pd.concat(
            [cmp.whole_sweep(self._base, k, scales, n).frame for k in self._groups(group)], ignore_index=True
        )

    def path_fixef(
        self,
        group: str | None = None,
        term: str | None = None,
        ratios: Sequence[float] | Floats | None = None,
        n: int = 41,
    ) -> pd.DataFrame:
        """β̂ as the standard deviation of one effect moves: ``group, term, ratio, position, coefficient, estimate``.

        One path after the other, of all effects by default. When the whole covariance is scaled β̂ stays.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> pooled.path_fixef(n=3)["estimate"].round(2).tolist()
        [60.4, 60.4, 60.4]
        """
        return pd.concat([s.fixef for s in self._single(group, term, ratios, n)], ignore_index=True)

    @overload
    def sweep(
        self,
        group: str | None = None,
        term: None = None,
        ratios: None = None,
        n: int = 41,
        *,
        scales: Sequence[float] | Floats | None = None,
    ) -> cmp.CovarianceSweep: ...

    @overload
    def sweep(
        self, group: str | None, term: str, ratios: Sequence[float] | Floats | None = None, n: int = 41
    ) -> cmp.PoolingSweep: ...

    @overload
    def sweep(
        self, group: str | None = None, *, term: str, ratios: Sequence[float] | Floats | None = None, n: int = 41
    ) -> cmp.PoolingSweep: ...

    @overload
    def sweep(
        self, group: str | None = None, term: str | None = None, *, ratios: Sequence[float] | Floats, n: int = 41
    ) -> cmp.PoolingSweep: ...

    def sweep(
        self,
        group: str | None = None,
        term: str | None = None,
        ratios: Sequence[float] | Floats | None = None,
        n: int = 41,
        *,
        scales: Sequence[float] | Floats | None = None,
    ) -> cmp.CovarianceSweep | cmp.PoolingSweep:
        """Arrays along one path of :meth:`path`.

        Of the whole covariance of a factor ``scales, ratios, beta, b, coefficients, reliability``; with `term` or
        `ratios`, of one effect alone, ``ratios, beta, b, coefficients, reliability, sigma, criterion``.

        `group` and `term` are needed only where there are several. A default grid of one effect is kept: asking again,
        and :meth:`path` and :meth:`path_fixef` with the same `n`, cost nothing.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> pooled.sweep(n=5).b.shape
        (5, 4, 1)
        """
        if term is None and ratios is None:
            return cmp.whole_sweep(self._base, self._groups(only_group(self.spec, group or self.group))[0], scales, n)
        self._not_both(scales, "scales", "term= or ratios=")
        k, q = cmp.one_column(self.spec, group or self.group, term)
        return self._sweep(k, q, ratios, n)

    # -- ratios and reliabilities of the posterior -------------------------------------------------------------

    def reliability_draws(self, group: str | None = None, levels: Sequence[str] | None = None) -> Floats:
        """Posterior draws (chains, draws, levels, p) of the reliability of every effect of a factor.

        Parameters
        ----------
        group : str, optional
            Needed only where there are several.
        levels : sequence of str, optional
            All by default, in the order of :attr:`frame`.

        Raises
        ------
        DesignError
            If there is no posterior, no such level, or they would be more than 2e8 numbers.
        FitError
            If the posterior is not of a normal model: λ then has no closed form.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> pooled = ranef.pooling(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> pooled.reliability_draws(levels=["a", "b"]).shape
        (4, 200, 2, 1)
        """
        k, g = grouping_named(self.spec, only_group(self.spec, group or self.group))
        draws = self._posterior("reliability_draws()").draws
        if draws.not_normal:
            raise FitError(
                f"Student t in this model: {draws.not_normal}. The reliability of a level then depends on its own rows "
                "and has no closed form. Compare the posterior means in .frame instead."
            )
        at = slice(None) if levels is None else [self._level(g.name, level) for level in levels]
        v = self._base.own[k].variances[at]
        if draws.sigma.size * v.size > MAX_DRAWN:
            raise DesignError(
                f"{draws.sigma.size} draws of {len(v)} levels are {draws.sigma.size * v.size:.2g} numbers, too many to "
                "hold. Name some of the levels: levels=. Summaries of all are in .frame."
            )
        if "rho" in draws.extras:
            every = np.arange(draws.sigma.size)
            drawn = cmp.own_variance_draws(self.spec, draws, every)[k][:, at]
            v = drawn.reshape(*draws.sigma.shape, *drawn.shape[1:])
        return cmp.reliabilities(v, cmp.relative_sds(self.spec, draws.theta)[k][:, :, None, :])

    # -- rendering ---------------------------------------------------------------------------------------------

    @property
    def _without_shares(self) -> str:
        what = "" if self.fb is None else self.fb.draws.not_normal
        return f"in which {what} are Student t, have no closed form" if what else ""

    @cached_property
    def _base(self) -> cmp.PoolingBase:
        return cmp.pooling_base(self.eb.likelihood, self.eb.estimates.theta)

    def _scaled(
        self, theta: Floats, ratio: float | None, scale: float, group: str | None, term: str | None
    ) -> tuple[cmp.EffectsAt, Floats, list[Floats]]:
        self._not_both(ratio, "ratio", "scale=")
        self._not_both(term, "term", "scale=")
        group = group or self.group
        name = None if group is None else grouping_named(self.spec, group)[1].name
        return cmp.scaled_at(self._base, theta, _checked_place(scale, "scale", "a factor on standard deviations"), name)

    def _estimated(
        self, theta: Floats, ratio: float | None, group: str | None, term: str | None
    ) -> tuple[cmp.EffectsAt, Floats, list[Floats]]:
        base, spec = self._base, self.spec
        ratios = list(cmp.relative_sds(spec, theta))
        if ratio is None:
            _refuse_beyond(base, theta, "theta")
            return cmp.effects_at(base.likelihood, spec.lambdas(theta)), theta, ratios
        k, q = cmp.one_column(spec, group or self.group, term)
        column, number = cmp.moved(spec, k, q), _checked_place(ratio, "ratio", "a standard deviation over σ")
        _refuse_beyond(base, column.theta(spec, theta, number), "ratio")
        found = cmp.effects_at_ratio(base.likelihood, spec.lambdas(theta), base.own[k], column, number)
        ratios[k][column.columns] = number
        return found, column.theta(spec, theta, number), ratios

    @staticmethod
    def _not_both(given: object, name: str, other: str) -> None:
        if given is not None:
            raise DesignError(
                f"{name}={given!r} does not go with {other}: a scale moves all standard deviations of a grouping "
                "factor together, a ratio that of one effect alone. Give one of the two."
            )

    def _single(
        self, group: str | None, term: str | None, ratios: Sequence[float] | Floats | None, n: int
    ) -> list[cmp.PoolingSweep]:
        columns = cmp.chosen_columns(self.spec, group or self.group, term)
        return [self._sweep(k, q, ratios, n) for k, q in columns]

    def _sweep(self, k: int, q: int, ratios: Sequence[float] | Floats | None, n: int) -> cmp.PoolingSweep:
        if ratios is not None or not isinstance(n, int):
            return cmp.pooling_sweep(self._base, k, q, ratios, n)
        if (k, q, n) not in self._kept:
            self._kept[k, q, n] = cmp.pooling_sweep(self._base, k, q, n=n)
        return self._kept[k, q, n]


@helpful
def pooling(
    *fits: Fittable | EmpiricalBayesFit | PosteriorFit,
    group: str | None = None,
    level: float = 0.95,
) -> Pooling | GeneralisedPooling:
    """No pooling, partial pooling, complete pooling and the posterior mean of every random effect.

    Parameters
    ----------
    *fits : Model, EmpiricalBayesFit or PosteriorFit (or those of generalised responses), or one of each of the latter
        A model is fitted by REML; so is that of a posterior which comes without a fit.
    group : str, optional
        Only this grouping factor.
    level : float
        Probability of the posterior intervals.

    Returns
    -------
    Pooling, or GeneralisedPooling
        ``frame, coef, reliability_matrix(), at(), path(), sweep(), ratios, ratio_draws(), reliability_draws()``.

    Raises
    ------
    DesignError
        If the model has no random effects, no factor `group`, or the fits are not of one model and data.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> pooled = ranef.pooling(model.fit())
    >>> pooled.coef.query("level == '308'")[["term", "no_pooling", "partial", "complete"]].round(2).to_numpy().tolist()
    [['Intercept', 244.19, 253.66, 251.41], ['Days', 21.76, 19.67, 10.47]]
    >>> pooled.frame.columns.tolist()[:6]
    ['group', 'level', 'term', 'n', 'no_pooling', 'partial']
    """
    check_level(level)
    if any(isinstance(getattr(getattr(fit, "spec", None), "family", None), Generalised) for fit in fits):
        return generalised_pooling(fits, group, level)
    ebs = [fit for fit in fits if isinstance(fit, EmpiricalBayesFit)]
    fbs = [fit for fit in fits if isinstance(fit, PosteriorFit)]
    models = [] if ebs or fbs else [fit for fit in fits if isinstance(fit, Fittable)]
    if len(ebs) + len(fbs) + len(models) != len(fits) or not fits or max(len(ebs), len(fbs), len(models)) > 1:
        got = " and ".join(type(fit).__name__ for fit in fits) or "nothing"
        raise DesignError(
            f"pooling() takes a Model, a fit from Model.fit(), one from Model.sample(), or one of each kind of fit of "
            f"one model; got {got}."
        )
    fb = fbs[0] if fbs else None
    if fb is not None and ebs:
        own = alike({"the first fit": ebs[0], "the second": fb})["the second"]
        fb = own if isinstance(own, PosteriorFit) else None
    eb = ebs[0] if ebs else models[0].fit() if models else empirical_bayes(fbs[0].spec, "REML")
    out = Pooling(eb, fb, None if group is None else only_group(eb.spec, group), level)
    assert out._base.own  # evaluated now, so that a model without random effects is refused here
    return out


def _refuse_beyond(base: cmp.PoolingBase, theta: Floats, name: str) -> None:
    """Refuse effects so large beside the noise of a row that their estimates would be rounding; infinity is a limit."""
    roots = base.likelihood.standard(np.where(np.isfinite(theta), theta, 0.0))
    largest = max(float(np.abs(lam).max()) for lam in roots)
    if largest > MOST:
        infinity = ", or ratio=float('inf') for the limit" if name == "ratio" else ""
        raise DesignError(
            f"At this {name} effects are {largest:.0e} times the noise of a row, and what is left of the estimates is "
            f"rounding. Give one where they are at most {MOST:.0e} times{infinity}."
        )


def _checked_place(given: float, name: str, what: str) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not value >= 0.0:
        raise DesignError(f"{name}={given!r} must be a number from 0 to infinity: {what}.")
    return value
