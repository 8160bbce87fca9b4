"""What posteriors of all responses answer from their draws."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef import nuts, tables
from _ranef.errors import ConvergenceWarning, DesignError, RanefWarning, warn
from _ranef.results import Fit, PosteriorDraws, marked
from _ranef.spec import Generalised, ModelSpec, Priors
from _ranef.support.argument_remedies import generator, helpful, one_of, whole_number
from _ranef.support.arrays import Floats
from _ranef.user.fit_base import Simulated

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Drawn"]


@helpful
class Drawn:
    """Draws of a model's parameters, with their names."""

    spec: ModelSpec
    draws: PosteriorDraws

    @property
    def engine(self) -> str:
        """``"NUTS"``, or ``"direct"`` where draws are independent.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.engine
        'NUTS'
        """
        return "NUTS" if self.draws.chained else "direct"

    @property
    def fixef(self) -> pd.Series[float]:
        """Posterior means of β by coefficient name.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.fixef.round(0).to_dict()
        {'Intercept': 60.0}
        """
        return inf.fixef_series(self.spec, self.draws.beta.mean(axis=(0, 1)))

    @property
    def vcov(self) -> pd.DataFrame:
        """Posterior covariance of β, p×p.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.vcov.shape
        (1, 1)
        """
        flat = self.draws.beta.reshape(self.draws.sigma.size, self.spec.n_fixed)
        centred = flat - flat.mean(axis=0)
        return inf.vcov_frame(self.spec, centred.T @ centred / (flat.shape[0] - 1))

    @property
    def varcorr(self) -> pd.DataFrame:
        """Posterior means: ``vcov`` of each variance, ``sdcor`` of each sd or correlation itself; residual last.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.varcorr["group"].tolist()
        ['operator', 'Residual']
        """
        return inf.varcorr_means(self.spec, self.draws)

    def ranef(self, group: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Posterior mean, sd and equal-tailed interval of the random effects.

        Returns
        -------
        DataFrame
            ``group, level, term, estimate, sd, lower, upper``.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.ranef("operator").columns.tolist()
        ['group', 'level', 'term', 'estimate', 'sd', 'lower', 'upper']
        """
        sds = [b.std(axis=(0, 1), ddof=1) for b in self.draws.b]
        bounds = [inf.interval(b, level) for b in self.draws.b]
        return inf.ranef_frame(self.spec, self._modes, sds, bounds, group)

    def simulate(self, n: int = 1, *, re: str = "new", seed: int | None = None) -> Simulated:
        """Responses (n_obs, n) from the posterior predictive; ``re="fitted"`` keeps the drawn random effects.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.simulate(3, seed=1).shape
        (20, 3)
        """
        return inf.simulate_posterior(self.spec.held, self.draws, whole_number("n", n), re, generator(seed))

    def confint(self, level: float = 0.95, method: str = "eti") -> pd.DataFrame:
        """Posterior intervals ``lower, upper`` of every parameter: ``"eti"`` (equal-tailed) or ``"hdi"``.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.confint(method="hdi").index.tolist()
        ['Intercept', 'sd(Intercept | operator)', 'sigma']
        """
        one_of("method", method, ("eti", "hdi"))
        named = inf.parameter_draws(self.spec, self.draws)
        bounds = [inf.interval(x, level, method) for x in named.values()]
        return pd.DataFrame(bounds, index=list(named), columns=["lower", "upper"]).astype(float)

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """One row a parameter: ``effect, group, term, estimate, std_error, statistic, lower, upper``.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.tidy()["term"].tolist()
        ['Intercept', 'sd(Intercept)', 'sigma']
        """
        p = self.spec.n_fixed
        sds = [x.std(ddof=1) for *_, x in inf.varcorr_draws(self.spec, self.draws)]
        if self.spec.sigma_afar:  # that of a tail
            sds[-1] = np.nan
        bounds = self.confint(level)[: p + len(sds)]
        columns = {"std_error": sds, "lower": bounds["lower"][p:].tolist(), "upper": bounds["upper"][p:].tolist()}
        se = np.sqrt(np.diag(self.vcov.to_numpy()))
        out = inf.tidy_frame(self.spec, self.fixef, se, bounds[:p], self.varcorr, columns)
        residual = inf.residual_draws(self.spec, self.draws) | inf.response_draws(self.spec, self.draws)
        if not residual:
            return out
        own = pd.DataFrame({"effect": "random", "group": "Residual", "term": list(residual)})
        own["estimate"] = [x.mean() for x in residual.values()]
        own["std_error"] = [x.std(ddof=1) for x in residual.values()]
        ends = [np.quantile(x, [(1 - level) / 2, (1 + level) / 2]) for x in residual.values()]
        own["lower"], own["upper"] = np.array(ends).T
        return pd.concat([out, own], ignore_index=True)

    def test(self, L: Any, value: Any = 0.0, *, level: float = 0.95) -> pd.DataFrame:
        """What the posterior says of linear hypotheses Lβ = c: no test, but where Lβ is, and on which side of c.

        Parameters
        ----------
        L : str, sequence of str, or array (p,) or (r, p)
            Equations or rows, as :meth:`EmpiricalBayesFit.test <ranef.EmpiricalBayesFit.test>` takes them.
        value : float or array (r,)
            c, for rows of numbers.
        level : float
            Probability of the equal-tailed intervals.

        Returns
        -------
        DataFrame
            ``hypothesis, estimate, sd, lower, upper, probability``: posterior mean and standard deviation of Lβ, its
            interval, and the posterior probability that it is above c.

        Raises
        ------
        DesignError
            If the hypotheses cannot be read.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> fb = model.sample(draws=500, seed=1, progress=False)
        >>> fb.test("Days = 0")["probability"].tolist()
        [1.0]
        """
        asked = inf.hypotheses(L, list(self.fixef.index), self.spec.design.dropped, value)
        return inf.hypothesis_draws(self.draws.beta.reshape(-1, self.spec.n_fixed), asked, level)

    def _whole_tidy(self) -> pd.DataFrame:
        return self.tidy()

    def glance(self) -> pd.DataFrame:
        """One row: ``engine, nobs, sigma, chains, draws``, and the worst of every diagnostic.

        Of generalised responses ``family`` and ``link`` stand in the place of ``sigma``.
        ``divergences``; ``pareto_k`` of draws by weights of importance, NaN of others; ``rhat_max``; ``ess_min`` of
        bulk and tail; ``bfmi_min``, the least energy fraction of a chain; ``max_treedepth``, how many trajectories were
        cut short at depth 10; ``ok``, whether nothing is wrong with the run.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.glance()[["engine", "nobs", "chains", "draws"]].to_dict("records")
        [{'engine': 'NUTS', 'nobs': 20, 'chains': 4, 'draws': 200}]
        """
        table, energy = self.diagnostics, inf.bfmi(self.draws)
        sigma = inf.posterior_sigma(self.spec, self.draws)
        linked = isinstance(self.spec.family, Generalised)
        own = {"family": self.draws.family, "link": self.draws.link} if linked else {"sigma": sigma}
        return inf.glance_frame(
            {
                "engine": self.engine,
                "nobs": self.spec.n_obs,
                **own,
                "chains": self.draws.sigma.shape[0],
                "draws": self.draws.sigma.shape[1],
                "divergences": int(np.sum(self.draws.sample_stats.get("diverging", 0))),
                "pareto_k": np.nan if self.draws.importance is None else self.draws.importance.pareto_k,
                "rhat_max": table["rhat"].max(),
                "ess_min": table[["ess_bulk", "ess_tail"]].min().min(),
                "bfmi_min": np.nan if np.isnan(energy).all() else float(np.nanmin(energy)),
                "max_treedepth": inf.saturated_trees(self.draws),
                "ok": not self.warnings,
            }
        )

    def summary(self) -> tables.Document:
        """The printed posterior: priors, then the order of lme4, with R-hat and effective sample sizes.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> print(str(fb.summary()).splitlines()[0])
        Linear mixed model sampled by NUTS
        """
        table = self.diagnostics
        chains, draws = self.draws.sigma.shape
        run = f"{chains} chains, {draws} draws each after {self.draws.warmup} warm-up steps by {self.draws.sampler}, "
        run += f"{self.draws.parameterization} parameterization"
        if not self.draws.chained:
            run = f"{chains * draws} independent ones by weights of importance"
        settings = [f"Draws: {run}, seed {self.draws.seed}"]
        fixed = table["group"] == ""
        notes = [*self.draws.notes, *self._owed]
        words = [*self.warnings, *(f"Note: {note}" for note in notes)]
        return tables.posterior_summary(
            self.spec, self.draws.priors, settings, self.draws.response, table[~fixed], table[fixed], words, self.engine
        )

    def prior_sensitivity(self) -> pd.DataFrame:
        """How much each variance component owes to the priors of all of them, and how much to the likelihood.

        Returns
        -------
        DataFrame
            ``prior`` and ``likelihood`` by parameter: power-scaling sensitivities. Above 0.05 they matter; where the
            prior's is as large as the likelihood's, the posterior is mostly its prior. The summary says so.

        Raises
        ------
        DesignError
            If the priors are flat.

        Notes
        -----
        Kallioinen, Paananen, Bürkner and Vehtari (2024, Stat. Comput. 34, 57).

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> bool(fb.prior_sensitivity().loc["sd(Intercept | operator)", "prior"] > 0.05)
        True
        """
        return inf.prior_sensitivity(self.spec, self.draws)

    def derive(self, name: str, **arguments: Any) -> inf.Derived:
        """A quantity derived from the draws, by name.

        Parameters
        ----------
        name : str
            - ``"icc"``: intraclass correlations, as :meth:`icc`;
            - ``"r2"``: R² marginal and conditional, as :meth:`r2`;
            - ``"shrinkage"``: the factor λ_j of every level and term, 1 − Var(b_ja | y, β, θ, σ)/Σ_aa: with one random
              intercept n_jσ_b²/(n_jσ_b² + σ²), the weight of the level's own mean (takes ``group=``; of Gaussian
              responses);
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
        NotAvailableError
            For shrinkage factors of a generalised response.

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
        return marked(inf.derive(self.spec, self.draws, name, arguments), [cast(Fit, self)])

    @overload
    def r2(self, interval: None = None, level: float = ...) -> pd.Series[float]: ...
    @overload
    def r2(self, interval: str, level: float = ...) -> pd.DataFrame: ...
    def r2(self, interval: str | None = None, level: float = 0.95) -> pd.Series[float] | pd.DataFrame:
        """Posterior means of R² ``marginal`` and ``conditional``, as :meth:`EmpiricalBayesFit.r2` defines them.

        Of a generalised response they stand on the scale of the link, as :meth:`GeneralisedFit.r2` has them.

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

        Those of a generalised response are as :meth:`GeneralisedFit.icc` has them.

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

    @cached_property
    def datatree(self) -> xr.DataTree:
        """ArviZ DataTree with named dimensions (coefficient, group level, term); :meth:`to_datatree` adds groups.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> dict(fb.datatree["posterior"]["ranef_operator"].sizes)
        {'chain': 4, 'draw': 200, 'operator': 4, 'operator_term': 1}
        """
        return nuts.to_datatree(self.spec, self.draws)

    def to_datatree(
        self,
        *,
        prior: bool | PosteriorDraws = False,
        posterior_predictive: bool | int = False,
        re: str = "fitted",
        seed: int | None = None,
    ) -> xr.DataTree:
        """The DataTree with further groups.

        It saves by ``to_netcdf(path)`` and loads by ``xarray.open_datatree(path)``: draws and data for other programs.
        :meth:`save` keeps the whole fit, for :func:`ranef.load`.

        Parameters
        ----------
        prior : bool or PosteriorDraws
            Whether to add draws from the priors, as many as there are of the posterior; or the draws themselves.
        posterior_predictive : bool or int
            Whether to add replicated responses, one for each draw, or for so many draws of each chain.
        re, seed
            As for :meth:`posterior_predictive`.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> tree = fb.to_datatree(posterior_predictive=50, seed=1)
        >>> dict(tree["posterior_predictive"]["bright"].sizes)
        {'chain': 4, 'draw': 50, 'obs': 20}
        """
        replicated, kept, spec = None, None, self.spec
        one_of("re", re, ("new", "fitted"))
        if posterior_predictive is not False:
            draws = None if posterior_predictive is True else posterior_predictive
            spec = spec.held
            replicated, kept = inf.predictive_draws(spec, self.draws, draws, re, generator(seed))
        if not isinstance(prior, bool | PosteriorDraws):
            raise DesignError(f"prior={prior!r} must be True, False, or draws from the prior.")
        own = self._prior_draws(seed) if prior is True else prior or None
        return nuts.to_datatree(spec, self.draws, prior=own, posterior_predictive=replicated, kept=kept)

    def to_inference_data(self) -> Any:
        """:attr:`datatree` as an InferenceData, for ArviZ before 1.0 (which nutpie brings): it takes no DataTree.

        Raises
        ------
        FitError
            If that ArviZ is not installed; later ones take :attr:`datatree` as it is.

        Notes
        -----
        ``arviz.summary(fb.to_inference_data())`` and ``arviz_stats.summary(fb.datatree)`` give the same.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> try:
        ...     data = fb.to_inference_data()
        ... except ranef.FitError:  # ArviZ 1.0 takes fb.datatree
        ...     pass
        """
        return nuts.to_inference_data(self.datatree)

    def _prior_draws(self, seed: int | None) -> PosteriorDraws:
        chains, draws = self.draws.sigma.shape
        return nuts.sample_prior(self.spec, self.draws.priors, draws=draws, chains=chains, seed=seed)

    @cached_property
    def diagnostics(self) -> pd.DataFrame:
        """``group, name, estimate, sd, lower, upper, rhat, ess_bulk, ess_tail`` of every parameter.

        Independent draws (``sampler="direct"``) have no chains, and no R-hat; what they are worth is the same for all
        parameters, and :meth:`glance` has the Pareto k̂ of their weights.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> bool((fb.diagnostics["rhat"] < 1.1).all())
        True
        """
        effective = None
        if self.draws.importance is not None and not self.draws.chained:
            effective = self.draws.importance.effective
        out = inf.posterior_table(inf.labelled_draws(self.spec, self.draws), effective=effective)
        if self.spec.sigma_afar:
            out.loc[out["name"] == "sigma", ["estimate", "sd"]] = inf.posterior_sigma(self.spec, self.draws), np.nan
        return out

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences on what is wrong with the run and what to do; empty when nothing is.

        On R-hat, effective sample sizes of bulk and tail, divergences, E-BFMI, tree depth, stuck chains and
        interruption.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.ok == (len(fb.warnings) == 0)
        True
        """
        return inf.diagnose(self.draws, self.diagnostics)

    def loo(self, kind: str = "conditional", group: str | None = None) -> inf.Loo:
        """Leave-one-out cross-validation by Pareto-smoothed importance sampling (PSIS-LOO).

        Parameters
        ----------
        kind : "conditional" or "group"
            Leave out one row at a time, predicted given the random effects of its levels; or all rows of one level of
            `group`, predicted as those of a new level. For the latter the effects of the level, and of levels nested
            in it, are integrated exactly, and so are the coefficients where their priors are normal or flat. Where
            levels share no effects, (θ, σ) alone are left, and are integrated over weighted draws that reach beyond
            the posterior; effects that levels share (of crossed or outer factors) keep their drawn values, and the
            posterior's draws are reweighted.
        group : str, optional
            The grouping factor; needed only where there are several.

        Returns
        -------
        Loo
            ``elpd, se, p``, and by row or level ``elpd_i, p_i, pareto_k``; ``to_arviz()`` gives an ``ELPDData``.

        Warns
        -----
        RanefWarning
            If some Pareto k is too large for the estimate to be trusted.

        Raises
        ------
        DesignError
            If `kind` is not one of the two, or the factor has to be named.
        FitError
            For ``kind="group"``, if the response is not Gaussian.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> loo = model.sample(draws=200, seed=1, progress=False).loo(kind="group")
        >>> loo.elpd_i.round(0).tolist(), loo.warning
        ([-6.0, -2.0, -2.0, -2.0], False)
        """
        if inf.loo_kind(kind) == "conditional":
            if group is not None:
                raise DesignError(f"group={group!r} is for kind='group'; kind='conditional' leaves out single rows.")
            return marked(_after_warnings(inf.loo_rows(self.spec, self.draws)), [cast(Fit, self)])
        spec = self.spec.held
        place = inf.grouping_named(spec, inf.only_group(spec, group))[0]
        found = inf.loo_groups(spec, self.draws, inf.row_groups(spec, place))
        return marked(_after_warnings(found), [cast(Fit, self)])

    def posterior_predictive(
        self, draws: int | None = None, *, seed: int | None = None, re: str = "fitted"
    ) -> xr.DataArray:
        """Replicated responses, for posterior predictive checks.

        Parameters
        ----------
        draws : int, optional
            Draws of each chain to use, evenly spaced; all by default.
        seed : int, optional
        re : "fitted" or "new"
            Keep the drawn random effects, or draw new levels from N(0, Σ).

        Returns
        -------
        DataArray (chain, draw, obs)

        Raises
        ------
        DesignError
            If there are not so many draws, or they would hold more than 2e7 numbers.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> model.sample(draws=200, seed=1, progress=False).posterior_predictive(25, seed=1).shape
        (4, 25, 20)
        """
        spec = self.spec.held
        return nuts.predictive_array(spec, *inf.predictive_draws(spec, self.draws, draws, re, generator(seed)))

    def _estimated(self) -> tuple[dict[str, float], pd.DataFrame]:
        draws = inf.parameter_draws(self.spec, self.draws)
        return {name: float(draw.mean()) for name, draw in draws.items()}, self.confint()

    def _priors(self) -> Priors:
        return self.draws.priors

    @property
    def _beta(self) -> Floats:
        return np.asarray(self.draws.beta.mean(axis=(0, 1)))

    @cached_property
    def _owed(self) -> list[str]:
        """Sentences on what owes much to its prior."""
        return inf.sensitivity_words(self.spec, self.draws)

    @property
    def _run(self) -> str:
        """The draws in words."""
        chains, draws = self.draws.sigma.shape
        return f"{chains} chains of {draws} draws" if self.draws.chained else f"{chains * draws} independent draws"

    @cached_property
    def _modes(self) -> tuple[Floats, ...]:
        return tuple(b.mean(axis=(0, 1)) for b in self.draws.b)

    def _told(self) -> Iterator[tuple[str, type[RanefWarning]]]:
        if self.warnings:
            yield "This posterior should not be trusted yet: " + " ".join(self.warnings), ConvergenceWarning


def _after_warnings(loo: inf.Loo) -> inf.Loo:
    """The same, after a warning where it is doubtful."""
    for sentence in loo.words:
        warn(sentence)
    return loo
