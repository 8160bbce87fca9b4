"""Posteriors. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd

from _ranef import equations
from _ranef import inference as inf
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats
from _ranef.support.remedies import helpful
from _ranef.user.drawn import Drawn
from _ranef.user.fit_base import BaseFit

if TYPE_CHECKING:
    pass

__all__ = ["PosteriorFit"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class PosteriorFit(Drawn, BaseFit):
    """A posterior, sampled by NUTS or drawn directly.

    Made by :meth:`ranef.Model.sample`. Estimates are posterior means, ``sd`` posterior standard deviations: they carry
    the uncertainty of the variance components, which an empirical-Bayes ``sd`` does not.

    Attributes
    ----------
    spec : ModelSpec
        The model.
    draws : PosteriorDraws
        The engine's record.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, progress=False)
    >>> fb.datatree["posterior"]["beta"].dims
    ('chain', 'draw', 'coefficient')
    >>> fb.ranef("operator").columns.tolist()
    ['group', 'level', 'term', 'estimate', 'sd', 'lower', 'upper']
    """

    spec: ModelSpec
    draws: PosteriorDraws

    def __post_init__(self) -> None:
        spec = self.spec.with_family(self.draws.response)
        if "rho" in self.draws.extras:  # what stands on one ρ takes the posterior mean
            spec = spec.with_rho(np.asarray(self.draws.extras["rho"]).mean(axis=(0, 1)))
        object.__setattr__(self, "spec", spec)

    @property
    def sigma(self) -> float:
        """Posterior mean of σ.

        With ``VarPower``, ``VarExp`` or ``VarConstPower`` it is the standard deviation where the covariate is one, or
        zero, which may be far from all rows, and its mean that of a tail: then it is the σ with which rows have their
        posterior mean standard deviations at the posterior mean of the other parameters. ``tidy()`` and ``confint()``
        have that of the rows themselves beside it, as ``sd(rows)``, their geometric mean.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> 0.25 < fb.sigma < 0.45
        True
        """
        return inf.posterior_sigma(self.spec, self.draws)

    # -- Bayes only --------------------------------------------------------------------------------------------

    def derive(self, name: str, **arguments: Any) -> inf.Derived:
        """A quantity derived from the draws, by name.

        Parameters
        ----------
        name : str
            - ``"icc"``: intraclass correlations, as :meth:`icc`;
            - ``"r2"``: R² marginal and conditional, as :meth:`r2`;
            - ``"shrinkage"``: the factor λ_j of every level and term, 1 − Var(b_ja | y, β, θ, σ)/Σ_aa: with one random
              intercept n_jσ_b²/(n_jσ_b² + σ²), the weight of the level's own mean (takes ``group=``);
            - ``"contrast"``: differences of random effects, each of ``levels=`` (all by default) minus the first
              (takes ``group=``, ``levels=``);
            - ``"rank"``: rank of every level, 1 for the largest effect, with P(rank = 1) (takes ``group=``,
              ``largest=``);
            - any parameter as :meth:`confint` names it.
        **arguments
            Where the quantity takes some.

        Returns
        -------
        Derived
            ``draws`` (chains, draws, ...), ``dims``, ``coords``, ``frame(level)``, ``to_dataarray()``.

        Raises
        ------
        DesignError
            If the name is not known, with a list of those that are.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.derive("contrast", levels=("a", "d")).frame()["contrast"].tolist()
        ['d - a']
        >>> fb.derive("rank").frame().columns[-1]
        'p_best'
        """
        return inf.derive(self.spec, self.draws, name, arguments)

    @overload
    def r2(self, interval: None = None, level: float = ...) -> pd.Series[float]: ...
    @overload
    def r2(self, interval: str, level: float = ...) -> pd.DataFrame: ...
    def r2(self, interval: str | None = None, level: float = 0.95) -> pd.Series[float] | pd.DataFrame:
        """Posterior means of R² ``marginal`` and ``conditional``, as :meth:`EmpiricalBayesFit.r2` defines them.

        With ``interval="eti"`` (equal-tailed) or ``"hdi"`` a frame ``estimate, lower, upper``; ``derive("r2")`` has the
        draws.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.r2().index.tolist()
        ['marginal', 'conditional']
        """
        return inf.posterior_r2(self.spec, self.draws, interval, level)

    def icc(self, interval: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Posterior means of ``variance, adjusted, unadjusted`` by ``group``, as :meth:`EmpiricalBayesFit.icc`.

        With ``interval="eti"`` or ``"hdi"`` ends stand behind each share; ``derive("icc")`` has the draws.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> bool(fb.icc()["adjusted"].between(0, 1).all())
        True
        """
        return inf.posterior_icc(self.spec, self.draws, interval, level)

    @property
    def residual_parameters(self) -> pd.DataFrame:
        """Parameters of the residual variance and correlation, as nlme names them.

        ``structure, form, parameter, estimate, sd, lower, upper``: posterior means and equal-tailed 95 % intervals,
        none for a model without them; ratios of standard deviations are to the first stratum.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("Machines")
        >>> model = ranef.Model("score ~ Machine + (1 | Worker)", data, variance=ranef.VarIdent("Machine"))
        >>> fb = model.sample(draws=200, seed=1, sampler="nutpie", progress=False)
        >>> fb.residual_parameters["parameter"].tolist()
        ['A', 'B', 'C']
        """
        if "rho" not in self.draws.extras:
            return inf.residual_frame(self.spec)
        return inf.told_draws(self.spec, np.asarray(self.draws.extras["rho"])).frame()

    @property
    def residual_sd(self) -> pd.DataFrame:
        """Residual standard deviation of every stratum of ``VarIdent``: ``stratum, estimate, sd, lower, upper``.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("Machines")
        >>> model = ranef.Model("score ~ Machine + (1 | Worker)", data, variance=ranef.VarIdent("Machine"))
        >>> fb = model.sample(draws=200, seed=1, sampler="nutpie", progress=False)
        >>> fb.residual_sd["stratum"].tolist()
        ['A', 'B', 'C']
        """
        return inf.residual_sd_frame(self.spec, self.draws.sigma, self.draws.extras.get("rho"))

    @property
    def _more_numbers(self) -> dict[equations.Key, float]:
        return {("nu",): float(np.mean(self.draws.extras["nu"]))} if "nu" in self.draws.extras else {}

    def __repr__(self) -> str:
        chains, draws = self.draws.sigma.shape
        run = f"{chains} chains of {draws} draws" if self.engine == "NUTS" else f"{chains * draws} independent draws"
        return f"<PosteriorFit {self.spec.design.formula!r}, {run}>"

    def _one_covariance(self, rng: np.random.Generator) -> tuple[Floats, ...]:
        return inf.one_draw(inf.covariance_draws(self.spec, self.draws), rng)

    def _predicted(
        self, rows: inf.Rows, chosen: Sequence[int], options: inf.PredictOptions, rng: np.random.Generator
    ) -> inf.Predicted:
        return inf.predict_posterior(self.spec, self.draws, inf.RowsAsked(rows, chosen, options), rng)
