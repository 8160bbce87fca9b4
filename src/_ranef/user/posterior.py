"""Posteriors. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from _ranef import equations
from _ranef import inference as inf
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.user.fit_base import BaseFit
from _ranef.user.posterior_base import Drawn

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
        return f"<PosteriorFit {self.spec.design.formula!r}, {self._run}{self._mark}>"

    def _one_covariance(self, rng: np.random.Generator) -> tuple[Floats, ...]:
        return inf.one_draw(inf.covariance_draws(self.spec, self.draws), rng)

    def _predicted(
        self, rows: inf.Rows, chosen: Sequence[int], options: inf.PredictOptions, rng: np.random.Generator
    ) -> inf.Predicted:
        return inf.predict_posterior(self.spec, self.draws, inf.RowsAsked(rows, chosen, options), rng)
