"""What fits by REML, or by maximum likelihood, answer whatever their response. Each method is one call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from typing import Any, ClassVar, Self, cast

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef import tables
from _ranef.design import rows_elsewhere
from _ranef.errors import ConvergenceWarning, DesignError, RanefWarning, SingularFitWarning
from _ranef.likelihood import Responses
from _ranef.results import OptimizerRecord, RemlEstimates, Status, marked
from _ranef.spec import ModelSpec, covariance_arrays
from _ranef.support.argument_remedies import generator, helpful, one_of, whole_number
from _ranef.support.arrays import Floats
from _ranef.user.fit_base import Answers, Simulated

__all__ = ["Maximised"]


@helpful
class Maximised(Answers):
    """Estimates of a model, with conditional modes and the path of the optimiser."""

    estimates: RemlEstimates

    #: the robust covariance by default
    _sandwich: ClassVar[str] = "CR2"

    @abstractmethod
    def _effects(self, interval: str, level: float, group: str | None, n: int, seed: int | None) -> pd.DataFrame:
        """Random effects with intervals."""

    @abstractmethod
    def _again(self, case: Floats | ModelSpec | Responses) -> Self:
        """The fit to another response (n,), or of another model, without a warning."""

    @property
    @abstractmethod
    def _own(self) -> Mapping[str, object]:
        """What the row of :meth:`glance` says of the response."""

    @property
    @abstractmethod
    def _information(self) -> inf.VarianceInformation:
        """Second derivatives of the criterion in the variance parameters."""

    @property
    def fixef(self) -> pd.Series[float]:
        """Fixed effects β̂ by coefficient name, on the scale of the link.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.fixef.round(2).to_dict()
        {'Intercept': 251.41, 'Days': 10.47}
        """
        return inf.fixef_series(self.spec, self.estimates.beta)

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the coefficients, p×p: σ̂²(XᵀV⁻¹X)⁻¹, with θ taken as known.

        Of generalised responses it is by the Hessian of −2 log L in all parameters, as lme4's default.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.vcov.round(2)
                   Intercept  Days
        Intercept      46.57 -1.45
        Days           -1.45  2.39
        """
        return inf.vcov_frame(self.spec, self.estimates.vcov)

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variance components: ``group, term1, term2, vcov, sdcor``, the residual, where there is one, last.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.varcorr.round(2)
              group      term1 term2    vcov  sdcor
        0   Subject  Intercept   NaN  612.09  24.74
        1   Subject       Days   NaN   35.07   5.92
        2   Subject  Intercept  Days    9.60   0.07
        3  Residual              NaN  654.94  25.59
        """
        return inf.varcorr_frame(self.spec, self.estimates.theta, self.sigma)

    @property
    def sigma(self) -> float:
        """Residual standard deviation σ̂; 1 of generalised responses, which have none.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(fit.sigma, 4)
        0.326
        """
        return self.estimates.sigma

    @property
    def theta(self) -> pd.Series[float]:
        """Covariance parameters θ̂ in lme4's order, relative to :attr:`sigma`.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.theta.round(4).to_dict()
        {'Subject.Intercept': 0.9667, 'Subject.Days.Intercept': 0.0152, 'Subject.Days': 0.2309}
        """
        return pd.Series(self.estimates.theta, index=list(self.spec.theta_names), name="theta")

    def ranef(
        self,
        group: str | None = None,
        level: float = 0.95,
        interval: str = "conditional",
        *,
        n: int = 400,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Conditional modes, of Gaussian responses b̂ = D Zᵀ V⁻¹ (y − X β̂), with standard deviations and intervals.

        Those of generalised responses stand on the scale of the link, and their density is taken as normal round the
        mode: with few rows in a level, and 0 or 1 in each, it is not.

        What an interval takes as known decides what it holds: with four groups a conditional interval of 95 % covers
        two thirds.

        ===============  =================  ==========================================================================
        interval         column             takes as known
        ===============  =================  ==========================================================================
        "conditional"    sd                 θ̂ and β̂ (lme4's condVar)
        "henderson"      sd_given_theta     θ̂ (from Henderson's mixed-model equations)
        "corrected"      sd_corrected       neither: + 2 (∂b̂/∂θ) Var(θ̂) (∂b̂/∂θ)ᵀ (Kass & Steffey 1989, Prasad & Rao
                                            1990); a variance of zero stays so. Of generalised responses that of all
                                            parameters, once, as TMB has it
        "bootstrap"      sd_bootstrap       neither: a mixture over refits of simulated responses (Laird & Louis 1987)
                                            estimates off the boundary (Chung et al. 2013); holds with few groups
        "robust"         sd_given_effect    θ̂ and β̂, but not that effects are normal: covers on average over levels
                                            (Armstrong, Kolesár & Plagborg-Møller 2022); one effect in a level
        ===============  =================  ==========================================================================

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        level : float
            Probability of the interval.
        interval : str
            One of the table.
        n, seed : int, optional
            Replicates of a bootstrap, and their seed.

        Returns
        -------
        DataFrame
            ``group, level, term, estimate, sd, lower, upper``, the fifth column named as in the table.

        Raises
        ------
        DesignError
            For another interval or group.
        NotAvailableError
            For a bootstrap of structured residuals, or of too few levels, and robust intervals of several effects in a
            level.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.ranef()["sd"][0].round(3), fit.ranef(interval="corrected")["sd_corrected"][0].round(3)
        (np.float64(0.127), np.float64(0.177))
        """
        return self._effects(interval, level, group, n, seed)

    def simulate(self, n: int = 1, *, re: str = "new", seed: int | None = None) -> Simulated:
        """Simulate responses (n_obs, n) at the estimates; ``re="fitted"`` keeps the conditional modes.

        Those of a binomial response are proportions of the rows' own trials, as ``refit`` takes them.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.simulate(3, seed=1).shape
        (20, 3)
        """
        n, rng = whole_number("n", n), generator(seed)
        drawn = inf.make_resampling(self.spec, self.estimates, "parametric", re)
        sims = [drawn.response(rng) for _ in range(n)]
        return np.column_stack(sims) if sims else np.empty((self.spec.n_obs, 0))

    def confint(
        self,
        level: float = 0.95,
        method: str = "wald",
        *,
        ddf: str | None = None,
        vcov: str | None = None,
        cluster: Any = None,
        parameters: Sequence[str] | str | None = None,
        interval: str = "percentile",
        n: int = 1000,
        seed: int | None = None,
        n_jobs: int | None = None,
    ) -> pd.DataFrame:
        """Intervals ``lower, upper`` of parameters.

        Parameters
        ----------
        level : float
        method : "wald", "profile" or "bootstrap"
            ``"wald"``: of the coefficients, with θ̂ taken as known; of generalised responses by the Hessian in all
            parameters, and of their standard deviations and dispersions (by logarithms), correlations (by atanh) and
            thresholds, too. ``"profile"``: of every
            coefficient, standard deviation, correlation, parameter of the residuals and σ, by the likelihood ratio
            (:meth:`profile`).
            ``"bootstrap"``: of the same, by simulated responses (:meth:`bootstrap`).
        ddf : "satterthwaite", "kenward-roger", "residual", optional
            Of ``"wald"``, degrees of freedom of t intervals, as in :meth:`summary`; normal intervals by default.
        vcov, cluster : optional
            Of ``"wald"``, ``"CR0"``, ``"CR1"`` or ``"CR2"`` for a cluster-robust covariance, as in :meth:`vcov_robust`.
        parameters : str or sequence of str, optional
            Some of them, by the names of the rows; all by default.
        interval, n, seed, n_jobs
            Of a bootstrap: ``"percentile"``, ``"basic"``, ``"normal"``, ``"bca"`` or ``"shortest"``, how many
            replicates, and as there.

        Raises
        ------
        DesignError
            For an unknown method or parameter, a profile of a fixed σ, or `ddf` or `vcov` beside another method.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit("ML")
        >>> fit.confint(method="profile").round(2).loc["sigma"].tolist()
        [22.9, 28.86]
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.confint(ddf="kenward-roger").round(2).to_numpy().tolist()
        [[59.92, 60.88]]
        """
        one_of("method", method, ("wald", "profile", "bootstrap"))
        if method != "wald" and (ddf is not None or vcov is not None):
            raise DesignError(f"ddf= and vcov= are for method='wald'; {method!r} needs neither.")
        if method == "profile":
            return self._profiles(parameters, level, 1).confint(level)
        if method == "bootstrap":
            out = self.bootstrap(n, seed=seed, n_jobs=n_jobs).confint(level, interval)
            return out if parameters is None else inf.chosen_rows(out, parameters)
        tests = self._tests(ddf, vcov, cluster)
        out = inf.wald_intervals(self.fixef, tests.std_error, tests.df, level)
        if vcov is None:
            out = pd.concat([out, *self._more_intervals(level)])
        return out if parameters is None else inf.chosen_rows(out, parameters)

    def tidy(
        self, level: float = 0.95, *, ddf: str | None = None, vcov: str | None = None, cluster: Any = None
    ) -> pd.DataFrame:
        """One row a parameter: ``effect, group, term, estimate, std_error, statistic, lower, upper``.

        Parameters
        ----------
        level : float
        ddf : "satterthwaite", "kenward-roger", "residual", optional
            As in :meth:`summary`: adds ``df`` and ``p_value`` of the coefficients, and their intervals are those of t.
        vcov, cluster : optional
            ``"CR0"``, ``"CR1"`` or ``"CR2"`` for a cluster-robust covariance, as in :meth:`vcov_robust`; of the
            coefficients alone.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.tidy(ddf="satterthwaite")[["term", "df", "p_value"]].round(6).head(2).to_numpy().tolist()
        [['Intercept', 17.0, 0.0], ['Days', 17.0, 3e-06]]
        """
        tests = self._tests(ddf, vcov, cluster)
        bounds = inf.wald_intervals(self.fixef, tests.std_error, tests.df, level)
        columns = self._told_of(tests)
        own = None if vcov is not None else self._of_components(level)
        more = None if own is None else {str(name): column.tolist() for name, column in own.items()}
        out = inf.tidy_frame(self.spec, self.fixef, tests.std_error, bounds, self.varcorr, more, tests=columns)
        return pd.concat([out, *self._more_rows(level, vcov)], ignore_index=True)

    def test(
        self,
        L: Any,
        value: Any = 0.0,
        *,
        ddf: str | None = None,
        level: float = 0.95,
        vcov: str | None = None,
        cluster: Any = None,
    ) -> tables.ResultFrame:
        """Test linear hypotheses Lβ = c on the coefficients, each alone and all together.

        Parameters
        ----------
        L : str, sequence of str, or array (p,) or (r, p)
            Equations separated by commas, in which coefficients stand by name: ``"Days = 0, Intercept = 250"``,
            ``"Days - 2*Intercept = 1"``, ``"f[T.b] = f[T.c]"``; without an equals sign it is zero. Names may hold
            brackets and blanks, as they do in :attr:`fixef`. Else rows of numbers, or a DataFrame of them by name.
        value : float or array (r,)
            c, for rows of numbers.
        ddf : "satterthwaite", "kenward-roger", "residual", optional
            Denominator degrees of freedom of F, as in :meth:`summary`; χ² by default. Of several hypotheses
            Satterthwaite's are found as lmerTest does (Fai & Cornelius 1996), and Kenward and Roger's F is scaled.
        level : float
            Probability of the intervals.
        vcov, cluster : optional
            ``"CR0"``, ``"CR1"`` or ``"CR2"`` for a cluster-robust covariance, as in :meth:`vcov_robust`.

        Returns
        -------
        ResultFrame
            One row ``statistic, ndf, ddf, p``: F, or χ² with `ddf` infinite. ``.rows`` is a frame of every hypothesis
            alone: ``hypothesis, estimate, std_error, statistic, df, p, lower, upper``.

        Raises
        ------
        DesignError
            If the hypotheses cannot be read, name what is no coefficient, or contradict each other.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.test("Days = 8, Intercept = 250", ddf="kenward-roger")
        Linear hypotheses. Tests use Kenward-Roger's method
        <BLANKLINE>
                         Estimate Std. Error    df t value Pr(>|t|)
         Days = 8           10.47      1.546 17.00  1.5961   0.1289
         Intercept = 250   251.41      6.825 17.00  0.2059   0.8393
        <BLANKLINE>
        Together:
         F value NumDF DenDF Pr(>F)
           1.286     2 16.00 0.3035
        """
        asked = inf.hypotheses(L, list(self.fixef.index), self.spec.design.dropped, value)
        law, beta = self._law(ddf, vcov, cluster), self.estimates.beta
        rows = inf.row_frame(law, beta, asked, level)
        return marked(tables.hypothesis_table(inf.joint_frame(law, beta, asked), rows, law.words), [self])

    def glance(self) -> pd.DataFrame:
        """One row: ``engine, nobs, sigma, loglik, criterion, aic, bic, df, df_residual, singular, ok``.

        Of generalised responses ``family`` and ``link`` stand in the place of ``sigma``.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.glance()[["engine", "nobs", "df", "singular"]].to_dict("records")
        [{'engine': 'REML', 'nobs': 20, 'df': 3, 'singular': False}]
        """
        return inf.glance_frame(
            {
                "engine": self.engine,
                "nobs": self.spec.n_obs,
                **self._own,
                "loglik": self.loglik,
                "criterion": self.criterion,
                "aic": self.aic,
                "bic": self.bic,
                "df": self.df,
                "df_residual": self.spec.n_obs - self.df,
                "singular": self.is_singular,
                "ok": self.ok,
            }
        )

    @property
    def criterion(self) -> float:
        """The minimised REML criterion, or −2 log-likelihood with all constants under ML.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(fit.criterion, 4)
        18.6262
        """
        return self.estimates.criterion

    @property
    def loglik(self) -> float:
        """Log-likelihood at the estimates; the restricted one under REML, as lme4's ``logLik``.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.loglik == -fit.criterion / 2
        True
        """
        return -0.5 * self.estimates.criterion

    @property
    def deviance(self) -> float:
        """−2 log-likelihood: under ML the criterion, where R's ``deviance()`` of a glmer fit sums squared residuals.

        Of a REML fit it is the one that is not restricted, at θ̂, profiled over β and σ.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(fit.deviance, 3), round(fit.criterion, 3)
        (16.637, 18.626)
        """
        return self._unrestricted

    @property
    def _unrestricted(self) -> float:
        return self.criterion

    @property
    def df(self) -> int:
        """Number of parameters: coefficients, all of variances, and dispersions.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.df
        6
        """
        return inf.n_parameters(self.spec)

    @property
    def aic(self) -> float:
        """Criterion + 2 df, as lme4 counts.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(fit.aic - fit.criterion, 6) == 2 * fit.df
        True
        """
        return self.criterion + 2 * self.df

    @property
    def bic(self) -> float:
        """Criterion + log(n) df, as lme4 counts.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(fit.bic, 2)
        27.61
        """
        return self.criterion + float(np.log(self.spec.n_obs)) * self.df

    @property
    def aicc(self) -> float:
        """AIC corrected for few rows: + 2 df (df + 1)/(n − df − 1); infinite where there are no more rows than that.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(fit.aic, 2), round(fit.aicc, 2)
        (24.63, 26.13)
        """
        left = self.spec.n_obs - self.df - 1
        return self.aic + 2 * self.df * (self.df + 1) / left if left > 0 else float("inf")

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or a correlation ±1, by lme4's tolerance but whatever the units of the data.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2")).fit()
        >>> fit.is_singular
        True
        """
        return self.estimates.singular

    @property
    def status(self) -> str:
        """``"converged"``, ``"boundary"``, ``"not identified"`` or ``"not converged"``.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2")).fit()
        >>> fit.status
        'boundary'
        """
        return self.estimates.optimizer.status.name.lower().replace("_", " ")

    @property
    def warnings(self) -> list[str]:
        """Sentences on why the estimates should not be trusted; empty where they may be.

        For a fit that did not converge or is not identified. A singular fit is a result, of which :attr:`is_singular`
        and :attr:`status` tell.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.warnings
        []
        """
        found = self.estimates.optimizer
        return [] if found.ok else [found.message]

    @property
    def optimizer(self) -> OptimizerRecord:
        """Every evaluation of the criterion, the Newton decrement, and why the optimiser stopped.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.optimizer.message.split(".")[0]
        'The optimum is interior and the gradient vanishes there'
        """
        return self.estimates.optimizer

    def profile(self, parameters: Sequence[str] | str | None = None, level: float = 0.99) -> inf.Profiles:
        """Profile the criterion: hold each parameter on either side of its estimate, and minimise over all others.

        Standard deviations and correlations stand on lme4's scale. Variance parameters are profiled in the criterion
        that was fitted. A REML criterion is integrated over the coefficients and is no function of them: theirs are
        profiles of the ML deviance, as lme4's are of all parameters.

        Parameters
        ----------
        parameters : str or sequence of str, optional
            As ``confint(method="profile")`` names them; all by default.
        level : float
            Probability of the widest interval that the curves reach.

        Returns
        -------
        Profiles
            ``curves`` of ζ, the signed root of the likelihood ratio, by parameter; ``frame``, ``confint(level)`` and
            ``notes`` on bounds and on profiles that are not monotone.

        Raises
        ------
        DesignError
            For an unknown parameter, or a fixed σ.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.profile("sigma").confint().round(3).to_numpy().tolist()
        [[0.239, 0.482]]
        """
        return self._profiles(parameters, level, 4)

    def bootstrap(
        self,
        n: int = 1000,
        statistic: inf.Statistic | None = None,
        kind: str = "parametric",
        re: str = "new",
        *,
        seed: int | None = None,
        n_jobs: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
    ) -> inf.Bootstrap:
        """Draw samples as the fit says that they come about, and estimate from each.

        Parameters
        ----------
        n : int
            Replicates.
        statistic : callable, optional
            Of a fit: a number, an array, a Series or a mapping of names to numbers. By default all coefficients,
            standard deviations, correlations, parameters of residuals and σ, refitted in batches.
        kind : "parametric", "residual" or "cases"
            Normal effects and errors at the estimates; predicted effects and residuals drawn with replacement, made as
            variable as their estimates say (Carpenter, Goldstein & Rasbash 2003, Appl. Stat. 52, 431-443); or whole
            levels of the coarsest factor with replacement, within which all others must be nested.
        re : "new" or "fitted"
            Whether effects are drawn anew, or stay as predicted (lme4's ``use.u``).
        seed : int, optional
            Every replicate has a seed spawned from it: the result is the same whatever `n_jobs`.
        n_jobs : int, optional
            As joblib counts: -1 is all cores. Where ``joblib.parallel_config`` has chosen a backend, it does the work::

                from dask.distributed import Client
                from joblib import parallel_config

                with Client(), parallel_config("dask"):
                    boot = fit.bootstrap(10_000, statistic=lambda fit: fit.icc()["adjusted"])
        checkpoint : str or path, optional
            A file in which finished replicates are kept. The same call goes on from it where it was stopped, by a crash
            too, and gives the replicates that it would have given; one of another fit or other arguments is refused.

        Returns
        -------
        Bootstrap
            ``replicates``, a ``frame`` of bias and standard error, and ``confint(level, interval)`` with percentile,
            basic, normal, BCa and shortest intervals. Failures are counted.

        Warns
        -----
        RanefWarning
            Where Ctrl-C or a killed worker ended it early: what was finished is kept.

        Raises
        ------
        DesignError
            For an unknown kind, cases of crossed factors, or a statistic that is no number.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> boot = fit.bootstrap(200, seed=1)
        >>> boot.confint().loc["sd(Intercept | operator)", "lower"]
        np.float64(0.0)
        >>> fit.bootstrap(50, lambda fit: fit.icc()["adjusted"][0], seed=1).replicates.shape
        (50, 1)
        """
        elsewhere = kind == "parametric" and rows_elsewhere(self.spec.design)
        fit = cast(Any, self) if elsewhere else replace(cast(Any, self), spec=self.spec.held)
        found = inf.bootstrap(fit, fit._again, n, statistic, kind, re, seed=seed, n_jobs=n_jobs, checkpoint=checkpoint)
        return marked(found, [self])

    def vcov_robust(self, type: str | None = None, *, cluster: Any = None) -> pd.DataFrame:
        """Cluster-robust covariance of the coefficients: it holds though the model of the rows of a cluster may not.

        Parameters
        ----------
        type : "CR0", "CR1", "CR2"
            The plain sandwich; times m/(m − 1) for m clusters; or with residuals adjusted, so that it has no bias where
            the model holds (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018), as clubSandwich has them: the default,
            but for generalised responses, of which the sandwich is that of Laplace's likelihood in all parameters, and
            CR1 the default.
        cluster : str or array (n_obs,), optional
            A grouping factor of the model, or the cluster of every row used; by default the outermost factor.

        Returns
        -------
        DataFrame
            p×p. ``vcov=`` of :meth:`summary`, :meth:`tidy`, :meth:`confint`, :meth:`test` and :meth:`anova` takes it
            for tests, with Satterthwaite's degrees of freedom by the model, and Hotelling's T² for several hypotheses.

        Raises
        ------
        DesignError
            If there is one cluster, rows of several clusters are correlated by the model, or factors are crossed.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.vcov_robust().round(2).to_numpy().tolist()
        [[46.57, -1.45], [-1.45, 2.39]]
        >>> fit.tidy(vcov="CR2")["df"].round(2).tolist()[:2]
        [17.0, 17.0]
        """
        return inf.vcov_frame(self.spec, inf.robust_law(self, self._sandwich if type is None else type, cluster).vcov)

    def varcorr_se(self) -> pd.DataFrame:
        """Standard errors of the sds and correlations of :attr:`varcorr`, from the observed information.

        The deviance (or REML criterion) is differentiated twice at the estimates, in (θ, log σ) or, of generalised
        responses, in all parameters, and carried to sds and correlations by the delta method (Pinheiro & Bates 2000,
        §2.4). On the boundary there is no such standard error: it is NaN for a zero sd and its correlations, and for a
        correlation of ±1; the others then are conditional on the rank of the covariance matrix. It is NaN, too, for
        what the data do not determine, and where the curvature gives a number that cannot be one: more than √(1 − ρ²)
        for a correlation ρ, more than twice an sd itself. Sampling distributions of sds are skewed: take an interval
        from ``Model.sample()`` or a profile, not ±2 of these.

        Returns
        -------
        DataFrame
            ``group, term1, term2, estimate, std_error, note``, the estimate being ``sdcor``; ``note`` says why a
            standard error is NaN. There is no residual row if σ is known.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.varcorr_se()["std_error"].round(3).tolist()
        [5.836, 1.248, 0.325, 1.508]
        """
        return inf.varcorr_errors(self.spec, self.varcorr, self._information)

    def vcov_theta(self) -> pd.DataFrame:
        """Covariance of (θ̂, σ̂) from the observed information, named as :attr:`theta` and ``sigma`` (unless known).

        NaN for parameters on the boundary, with the others conditional on them, as :meth:`varcorr_se` says.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.vcov_theta().round(4).to_numpy().tolist()
        [[0.2183, -0.0107], [-0.0107, 0.0033]]
        """
        return inf.vcov_theta_frame(self.spec, self._information)

    def re_pca(self) -> pd.DataFrame:
        """Principal components of the random effects of every grouping factor, as lme4's ``rePCA``.

        Returns
        -------
        DataFrame
            ``group, component, sd, relative_sd, proportion, cumulative``, and the share of each column of the effects
            in the component (a vector of length one; NaN for columns of other factors). ``sd`` is in units of the
            response, ``relative_sd`` over σ, as in lme4. A proportion of 0 is a dimension that the data do not need
            (Bates, Kliegl, Vasishth & Baayen 2015, arXiv:1506.04967); all depend on the units of the covariates.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.re_pca()["relative_sd"].round(4).tolist()
        [0.9669, 0.2309]
        """
        return inf.random_pca(self.spec, self._covariances, self.sigma)

    def drop1(self, scope: str | Sequence[str] = "terms") -> tables.ResultFrame:
        """Leave out every term that no other contains, one at a time: AIC and likelihood ratio tests by ML.

        Parameters
        ----------
        scope : "terms", "coefficients" or sequence of str
            With ``"coefficients"`` single columns of X in the place of terms; or names of either.

        Returns
        -------
        ResultFrame
            ``term, npar, aic, delta_aic, statistic, p``, the whole model first (``<none>``); ``npar`` parameters are
            gone, and ``delta_aic`` is how much the AIC has grown. A fit by REML is fitted again by ML.

        Raises
        ------
        DesignError
            If a name can not be left out, or there is nothing to leave out.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.drop1()
        Single term deletions, by maximum likelihood
        Model: Reaction ~ Days + (Days | Subject)
        <BLANKLINE>
                npar     AIC   LRT  Pr(Chi)
         <none>      1763.94
         Days      1 1785.48 23.54 1.23e-06
        """
        return marked(tables.drop_table(inf.drop_terms(self, scope), self.spec.design.formula), [self])

    def influence(self, group: str | None = None, *, refit: bool = True) -> inf.Influence:
        """Fit again without each level of `group`, or without each row.

        Parameters
        ----------
        group : str, optional
            A grouping factor of the model; single rows are deleted by default.
        refit : bool
            Estimate θ anew each time, from θ̂; with False it is kept, which takes one evaluation a deletion.

        Returns
        -------
        Influence
            Frames ``deleted`` (Cook's distance, σ, status), ``fixef`` (estimates and dfbetas), ``varcorr``, ``theta``.
            Where a deletion leaves a coefficient, or the model, without an estimate there is NaN and a ``note``.

        Raises
        ------
        DesignError
            If the model has no grouping factor `group`.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.influence("operator").deleted["cooks_distance"].round(3).tolist()
        [0.127, 0.575, 0.241, 0.39]
        """
        return marked(inf.influence(self.spec, self.estimates, group, refit=refit), [self])

    def _variance_errors(self) -> Floats:
        """Standard errors of the sds and correlations, NaN where the information does not give any."""
        try:
            return self.varcorr_se()["std_error"].to_numpy(dtype=float)
        except np.linalg.LinAlgError:
            return np.full(len(self.varcorr), np.nan)

    def _estimated(self) -> tuple[dict[str, float], pd.DataFrame]:
        return inf.parameter_values(self.spec, self.estimates), self.confint()

    def _told(self) -> Iterator[tuple[str, type[RanefWarning]]]:
        if self.warnings:
            yield " ".join(self.warnings), ConvergenceWarning
        elif self.is_singular or self.optimizer.status is Status.BOUNDARY:
            found, boundary = self.optimizer, Status.BOUNDARY
            message = found.message if found.status is boundary else f"{boundary.value} {found.message}"
            words = "(fit.status; a filter for ranef.SingularFitWarning switches this off.)"
            yield f"{message} {words}", SingularFitWarning

    @property
    def _modes(self) -> tuple[Floats, ...]:
        return tuple(m.values for m in self.estimates.modes)

    @cached_property
    def _covariances(self) -> tuple[Floats, ...]:
        return covariance_arrays(self.spec, self.estimates.theta, np.asarray(self.sigma))

    def _law(self, ddf: str | None = None, vcov: str | None = None, cluster: Any = None) -> inf.CoefficientLaw:
        name = inf.check_ddf(ddf)
        if vcov is not None:
            if name not in (None, "satterthwaite"):
                raise DesignError(f"ddf={ddf!r} is for the model's covariance; a robust one has degrees of its own.")
            return inf.robust_law(self, vcov, cluster)
        if cluster is not None:
            raise DesignError("cluster= is for a robust covariance: give vcov='CR2', too.")
        if name not in self._laws:
            self._laws[name] = inf.coefficient_law(self, name)
        return self._laws[name]

    @cached_property
    def _laws(self) -> dict[str | None, inf.CoefficientLaw]:
        """Those that were asked for."""
        return {}

    def _told_of(self, tests: inf.CoefficientTests) -> dict[str, Floats]:
        """The columns that a table of tests has."""
        return tests.columns

    def _more_rows(self, level: float, vcov: str | None) -> Iterator[pd.DataFrame]:
        """What :meth:`tidy` has behind variance components."""
        yield from ()

    def _of_components(self, level: float) -> pd.DataFrame | None:
        """``std_error, lower, upper`` of sds and correlations, where :meth:`tidy` has them."""
        return None

    def _more_intervals(self, level: float) -> Iterator[pd.DataFrame]:
        """What :meth:`confint` has of Wald's intervals behind those of coefficients."""
        yield from ()

    def _profiles(self, parameters: Sequence[str] | str | None, level: float, steps: int) -> inf.Profiles:
        held = inf.Fitted.of(self).held
        found = inf.likelihood_profiles(self.spec, held, self.estimates, parameters, level, steps)
        return marked(found, [self])

    def _tests(self, ddf: str | None = None, vcov: str | None = None, cluster: Any = None) -> inf.CoefficientTests:
        return inf.coefficient_tests(self._law(ddf, vcov, cluster), self.estimates.beta)

    @property
    def _beta(self) -> Floats:
        return self.estimates.beta
