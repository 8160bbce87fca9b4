"""``ranef.pooling`` of generalised responses, on the scale of the link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd

from _ranef import comparison as cmp
from _ranef.errors import DesignError
from _ranef.inference import grouping_named, laplace_at, only_group
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.user.fits_alike import alike
from _ranef.user.generalised_fit import GeneralisedFit, generalised_fit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.pooled_base import Pooled

__all__ = ["GeneralisedPooling", "generalised_pooling"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedPooling(Pooled):
    """Every level of a generalised response between complete pooling and none, on the scale of the link.

    Made by :func:`ranef.pooling`.

    Attributes
    ----------
    eb : GeneralisedFit
        Whose estimates partial pooling takes as known.
    fb : GeneralisedPosterior or None
    group : str or None
        The grouping factor asked for; all by default.
    level : float
        Probability of the posterior intervals.

    Notes
    -----
    ``no_pooling`` maximises the likelihood of the level's own rows, given β̂ and the conditional modes of other factors:
    it is ±∞ where these rows are all at an end of their range, as zeros or ones are, for their likelihood rises for
    ever. ``partial`` has the conditional modes. ``reliability`` is τ²/(τ² + [Aⱼ⁻¹]_qq) with Aⱼ = ZⱼᵀWⱼZⱼ the curvature
    of the level's rows at the modes: 1 less Laplace's conditional variance over τ² where a level has one effect. It is
    small where rows say little, and smallest where they are all alike.

    Examples
    --------
    >>> import ranef
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> pooled = ranef.pooling(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit())
    >>> pooled.frame[["level", "no_pooling", "partial", "reliability"]].round(2).head(2).to_numpy().tolist()
    [['1', 0.82, 0.59, 0.71], ['2', -0.45, -0.3, 0.68]]
    """

    eb: GeneralisedFit
    fb: GeneralisedPosterior | None = None
    group: str | None = None
    level: float = 0.95

    _instead: ClassVar[Mapping[str, str]] = {
        "at": "path(scales=...) has the effects with their covariance scaled; other θ are for Gaussian responses.",
        "path_fixef": "Coefficients stay as estimated while the covariance of a factor is scaled.",
        "reliability_draws": "Reliabilities of draws are of Gaussian responses; .frame has those at the estimates.",
    }

    @cached_property
    def _base(self) -> cmp.LinkedBase:
        return cmp.linked_base(laplace_at(self.eb.spec, self.eb.estimates), self.eb.estimates.theta)

    @property
    def _without_shares(self) -> str:
        return "" if self.fb is None else "are left out: they depend on its modes at every draw"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All estimates of every random effect, as deviations from the fixed effects.

        ``group, level, term, n``; ``no_pooling``, ±∞ where the level's rows are all at one end and NaN where they do
        not determine it; ``partial``, the conditional mode; ``complete``, 0; ``posterior``, the posterior mean, NaN
        without one; ``reliability`` at the estimates.

        Examples
        --------
        >>> import ranef
        >>> data = {"y": [0, 0, 0, 1, 0, 1, 1, 0, 1], "g": list("aaabbbccc")}
        >>> pooled = ranef.pooling(ranef.Model("y ~ 1 + (1 | g)", data, family="binomial").fit())
        >>> pooled.frame["no_pooling"].round(2).tolist()
        [-inf, 0.94, 0.94]
        """
        drawn = None if self.fb is None else self.fb.draws
        return self._only(cmp.linked_frame(self._base, drawn))

    def path(
        self,
        group: str | None = None,
        n: int = 41,
        *,
        scales: Sequence[float] | Floats | None = None,
    ) -> pd.DataFrame:
        """Path of every conditional mode from complete pooling to none, the covariance of a factor scaled.

        All else stays as estimated. At s = 0 stand zeros, at 1 the conditional modes, at infinity ``no_pooling``.

        Parameters
        ----------
        group : str, optional
            All factors by default, one path after the other.
        n : int
            Places on a path without `scales`.
        scales : sequence of float, optional
            Factors s on all standard deviations of a factor.

        Returns
        -------
        DataFrame
            As of :meth:`Pooling.path`; ``reliability`` is by the curvature at the effects of each place.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> pooled = ranef.pooling(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit())
        >>> path = pooled.path(scales=[0.0, 1.0, float("inf")])
        >>> path.loc[path["level"] == "1", "estimate"].round(2).tolist()
        [0.0, 0.59, 0.82]
        """
        return pd.concat([self._sweep(k, scales, n).frame for k in self._groups(group)], ignore_index=True)

    def sweep(
        self, group: str | None = None, n: int = 41, *, scales: Sequence[float] | Floats | None = None
    ) -> cmp.CovarianceSweep:
        """Arrays along one path of :meth:`path`: ``scales, ratios, beta, b, coefficients, reliability``.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> pooled = ranef.pooling(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit())
        >>> pooled.sweep(n=5).b.shape
        (5, 15, 1)
        """
        return self._sweep(self._groups(only_group(self.spec, group or self.group))[0], scales, n)

    def _sweep(self, k: int, scales: Sequence[float] | Floats | None, n: int) -> cmp.CovarianceSweep:
        return cmp.linked_sweep(self._base, k, cmp.scales_of(self._base.covariances[k], scales, n))


def generalised_pooling(fits: Sequence[Any], group: str | None, level: float) -> GeneralisedPooling:
    """Of a model, a fit or a posterior, or of one of each of the latter.

    Raises
    ------
    DesignError
        If they are of other kinds, not of one model and data, or of a model without random effects.
    """
    ebs = [fit for fit in fits if isinstance(fit, GeneralisedFit)]
    fbs = [fit for fit in fits if isinstance(fit, GeneralisedPosterior)]
    models = [fit for fit in fits if not isinstance(fit, GeneralisedFit | GeneralisedPosterior) and hasattr(fit, "fit")]
    if len(ebs) + len(fbs) + len(models) != len(fits) or max(len(ebs), len(fbs), len(models)) > 1 or len(fits) > 2:
        got = " and ".join(type(fit).__name__ for fit in fits)
        raise DesignError(
            f"pooling() takes a Model, a fit from Model.fit(), one from Model.sample(), or one of each kind of fit of "
            f"one model and response; got {got}."
        )
    spec = fits[0].spec
    if not spec.terms:
        raise DesignError(
            f"{spec.design.formula!r} has no random effects, so there is nothing to pool; add a (… | group)."
        )
    if ebs and fbs:
        if ebs[0].spec.family != fbs[0].spec.family:
            raise DesignError("The fits are of different responses. Make both from the same ranef.Model.")
        fbs = [alike({"the first fit": ebs[0], "the second": fbs[0]})["the second"]]
    eb = ebs[0] if ebs else models[0].fit() if models else generalised_fit(spec, start=None, control=None, nagq=1)
    chosen = None if group is None else grouping_named(spec, only_group(spec, group))[1].name
    return GeneralisedPooling(eb, fbs[0] if fbs else None, chosen, level)
