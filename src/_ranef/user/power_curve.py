"""Power by simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from _ranef import inference as inf
from _ranef.errors import DesignError
from _ranef.plots.power import power_axes
from _ranef.results import Doubtable, marked
from _ranef.spec import Generalised
from _ranef.support.argument_remedies import helpful
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Power", "power"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class Power(Doubtable):
    """How often a hypothesis is rejected.

    Made by :func:`power`.

    Attributes
    ----------
    hypothesis : tuple of str
        As equations, tested together.
    alpha : float
        Level of the test.
    effect : mapping of str to float
        Coefficients that were put in place of the estimates.
    ddf : str, optional
        Where degrees of freedom come from; None for χ².
    group : str
        The factor whose number of levels varies; empty for the design as it is.
    frame : DataFrame
        One row a size: ``levels, n_obs, power, lower, upper, n_sim, failed, ddf``.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> found = ranef.power(fit, "Days", 100, effect={"Days": 5}, seed=1)
    >>> found.hypothesis, found.frame.loc[0, "ddf"].round(2)
    (('Days = 0',), np.float64(17.0))
    """

    hypothesis: tuple[str, ...]
    alpha: float
    effect: Mapping[str, float]
    ddf: str | None
    group: str
    frame: pd.DataFrame

    def plot(self, ax: Axes | None = None) -> Axes | Figure:
        """Draw the power over the sizes, with its intervals.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> power = ranef.power(fit, "Days", 50, seed=1)
        >>> power.plot().get_ylabel()
        'power'
        """
        title = " and ".join(self.hypothesis)
        return power_axes(self.frame, self.group, title if self._trusted else f"{title} (not to be trusted)", ax)

    def _printed(self) -> str:
        changed = "".join(f", {name} = {value:g}" for name, value in self.effect.items())
        how = f"F ({self.ddf})" if self.ddf else "χ²"
        head = f"Power at α = {self.alpha:g}{changed}; rejected is {' and '.join(self.hypothesis)}, by {how}"
        sizes = self.frame.rename(columns={"levels": self.group}) if self.group else self.frame.drop(columns="levels")
        return f"{head}\n{sizes.to_string(index=False)}"


@helpful
def power(
    fit: EmpiricalBayesFit | GeneralisedFit,
    test: str | Sequence[str] | Any,
    n_sim: int = 1000,
    *,
    extend: Mapping[str, int | Sequence[int]] | None = None,
    effect: Mapping[str, float] | None = None,
    ddf: str | None = "satterthwaite",
    alpha: float = 0.05,
    seed: int | None = None,
    level: float = 0.95,
    n_jobs: int | None = None,
) -> Power:
    """Find by simulation how often a hypothesis on coefficients is rejected, as R's simr.

    Responses are drawn at the estimates, with effects and errors new each time, fitted again by the criterion of the
    fit, and tested by the Wald statistic.

    Parameters
    ----------
    fit : EmpiricalBayesFit or GeneralisedFit
        A fit whose estimates, but for `effect`, are taken as the truth.
    test : str, sequence of str, or array
        The hypothesis, as :meth:`EmpiricalBayesFit.test` reads it: ``"Days"`` for a slope of zero.
    n_sim : int
        Simulations for every size.
    extend : mapping of str to int or sequence of int, optional
        A factor and how many levels it is to have: ``{"Subject": [10, 20, 40]}``. Levels take their rows from those of
        the data in turn, with levels of other factors that lie within them; fewer are the first ones.
    effect : mapping of str to float, optional
        Coefficients to put in place of the estimates: ``{"Days": 5}``.
    ddf : "satterthwaite", "kenward-roger", "residual" or None
        Degrees of freedom of F, the median of those of fifteen simulations; None for χ², which generalised responses
        have always.
    alpha : float
        Level of the test.
    seed : int, optional
        The result is the same for it whatever `n_jobs`.
    level : float
        Of the intervals, Clopper and Pearson's, for the error that so many simulations leave.
    n_jobs : int, optional
        As for :meth:`EmpiricalBayesFit.bootstrap`: processes, or what ``joblib.parallel_config`` has chosen.

    Returns
    -------
    Power
        With a ``frame`` and ``plot()``.

    Raises
    ------
    DesignError
        If there is no such coefficient, factor or number of levels; or `fit` is a posterior.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> found = ranef.power(fit, "Days", 200, extend={"Subject": [6, 18]}, effect={"Days": 5}, seed=1)
    >>> found.frame[["levels", "n_obs"]].to_numpy().tolist(), bool(found.frame["power"].is_monotonic_increasing)
    ([[6, 60], [18, 180]], True)
    """
    if isinstance(fit, PosteriorFit | GeneralisedPosterior):
        raise DesignError("power() simulates at the estimates of a fit by REML or ML: give model.fit().")
    hypothesis, group, frame = inf.simulated_power(
        fit, test, n_sim, extend=extend, effect=effect, ddf=ddf, alpha=alpha, seed=seed, level=level, n_jobs=n_jobs
    )
    known = None if isinstance(fit.spec.family, Generalised) else ddf
    return marked(Power(hypothesis, alpha, dict(effect or {}), known, group, frame), [fit])
