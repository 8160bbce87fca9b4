"""Fits of generalised responses. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef import reml, tables, user
from _ranef.errors import ConvergenceWarning, DesignError, NotAvailableError, RanefWarning, SingularFitWarning
from _ranef.likelihood import LaplaceAt, response_rows
from _ranef.reml import Control
from _ranef.results import OptimizerRecord, RemlEstimates, Status, fit_arguments
from _ranef.spec import Generalised, ModelSpec, covariance_arrays, with_response
from _ranef.support.arrays import Floats
from _ranef.support.remedies import generator, helpful, one_of, whole_number
from _ranef.user.fit_base import ByFields, RandomPart, Shown, Simulated, told

__all__ = ["GeneralisedFit", "generalised_fit", "refuse_generalised"]

NONE_YET = "Not available yet for generalised responses."

#: what users may look for that Gaussian fits have, and what there is
INSTEAD: Mapping[str, str] = {
    "profile": f"{NONE_YET} confint() has Wald's intervals of coefficients.",
    "bootstrap": f"{NONE_YET} simulate() and refit() make a parametric bootstrap.",
    "vcov_adjusted": "Kenward and Roger's adjustment is for Gaussian responses; vcov has the uncertainty of θ̂ in it.",
    "vcov_robust": f"{NONE_YET} vcov is by the Hessian of the likelihood.",
    "drop1": f"{NONE_YET} Fit the model without a term, and take ranef.anova(small, large) of both fits.",
    "anova": f"{NONE_YET} test() has joint Wald tests; ranef.anova(small, large) likelihood ratios.",
    "caic": f"{NONE_YET} aic is for new levels.",
    "influence": f"{NONE_YET} Fit the model without the rows.",
    "hatvalues": NONE_YET,
    "cooks_distance": NONE_YET,
    "varcorr_se": f"{NONE_YET} Likelihood ratios of models without the effect are ranef.anova(small, large).",
    "vcov_theta": NONE_YET,
    "vcov_joint": NONE_YET,
    "re_pca": NONE_YET,
    "equation": "ranef.Model.of(fit).equation() has the model; tidy() has the numbers.",
    "parameters": "ranef.Model.of(fit).parameters has them with their symbols; tidy() has the estimates.",
    "plot": f"{NONE_YET} ranef(), fitted() and residuals() hold what figures show.",
    "products": "Rows of generalised responses are weighted anew at every step: there are no cross-products for all.",
    "likelihood": NONE_YET,
    "residual_sd": "Generalised responses have no residual standard deviation; dispersion has their parameters.",
    "residual_parameters": "Generalised responses have no residual structure; dispersion has their parameters.",
    "to_marginaleffects": NONE_YET,
}


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedFit(ByFields, Shown):
    """A fit of a binomial, Poisson or other generalised response by maximum likelihood, with conditional modes.

    Made by :meth:`ranef.Model.fit` of a model with ``family=``. The likelihood is Laplace's approximation, and counts
    all constants of the density. Random effects stand on the scale of the link.

    Attributes
    ----------
    spec : ModelSpec
        The model.
    estimates : RemlEstimates
        The engine's record; its ``sigma`` is 1.

    Examples
    --------
    >>> import ranef
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
    >>> fit.fixef.round(3).tolist(), fit.theta.round(3).tolist()
    ([-1.399, -0.992, -1.129, -1.58], [0.642])
    """

    spec: ModelSpec
    estimates: RemlEstimates

    _instead: ClassVar[Mapping[str, str]] = INSTEAD

    @property
    def family(self) -> Generalised:
        """Distribution and link of the response.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().family
        Poisson(link='log')
        """
        return inf.family_of_estimates(self.estimates)

    @property
    def engine(self) -> str:
        """``"Laplace"``, or ``"AGQ"`` for adaptive quadrature.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().engine
        'Laplace'
        """
        return "Laplace" if self.estimates.nagq == 1 else "AGQ"

    @property
    def fixef(self) -> pd.Series[float]:
        """Fixed effects β̂ by coefficient name, on the scale of the link.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().fixef.round(2).tolist()[1:]
        [1.34, -0.9]
        """
        return inf.fixef_series(self.spec, self.estimates.beta)

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the coefficients, p×p, from the Hessian of −2 log L in all parameters, as lme4's default.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> float(fit.vcov.loc["Intercept", "Intercept"].round(4))
        0.054
        """
        return inf.vcov_frame(self.spec, self.estimates.vcov)

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variance components on the scale of the link: ``group, term1, term2, vcov, sdcor``; there is no residual.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.varcorr[["group", "term1", "sdcor"]].round(3).to_numpy().tolist()
        [['herd', 'Intercept', 0.642]]
        """
        return inf.varcorr_frame(self.spec, self.estimates.theta, self.sigma)

    @property
    def dispersion(self) -> pd.Series[float]:
        """Parameters of the response besides its mean, by name: ``size`` of negative binomial, ``dispersion`` of gamma.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="negative binomial").fit()
        >>> fit.dispersion.round(2).to_dict()
        {'size': 3.31}
        """
        return pd.Series(inf.dispersions_of(self.estimates), name="dispersion", dtype=float)

    @property
    def sigma(self) -> float:
        """1: generalised responses have no residual standard deviation, and θ̂ is on the scale of the link.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().sigma
        1.0
        """
        return self.estimates.sigma

    @property
    def theta(self) -> pd.Series[float]:
        """Covariance parameters θ̂ in lme4's order.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.theta.round(4).to_dict()
        {'herd.Intercept': 0.6423}
        """
        return pd.Series(self.estimates.theta, index=list(self.spec.theta_names), name="theta")

    def ranef(self, group: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Conditional modes b̂ on the scale of the link, with conditional standard deviations and intervals.

        θ̂ and β̂ are taken as known, and the density of the effects as normal round its mode (lme4's condVar): with few
        rows in a level, and 0 or 1 in each, neither holds well.

        Returns
        -------
        DataFrame
            ``group, level, term, estimate, sd, lower, upper``.

        Raises
        ------
        DesignError
            If the model has no grouping factor `group`.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.ranef("herd")[["estimate", "sd"]].round(3).to_numpy().tolist()[0]
        [0.59, 0.348]
        """
        z = inf.normal_quantile(level)
        sds = [np.sqrt(np.diagonal(m.cov, axis1=1, axis2=2)) for m in self.estimates.modes]
        values = self._modes
        bounds = [(b - z * s, b + z * s) for b, s in zip(values, sds, strict=True)]
        return inf.ranef_frame(self.spec, values, sds, bounds, group)

    def coef(self, group: str | None = None) -> pd.DataFrame:
        """Fixed plus random effects of every level of `group` (needed only where there are several).

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> float(fit.coef().loc["1", "Intercept"].round(3))
        -0.809
        """
        return inf.coef_frame(self.spec, self.estimates.beta, self._modes, inf.only_group(self.spec, group))

    def fitted(self, re: RandomPart = "all") -> pd.Series[float]:
        """Means of the rows used: probabilities, or expected counts; with all random effects, none, or some groups'.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.fitted().round(3).head(2).tolist()
        [0.308, 0.142]
        """
        return pd.Series(self.family.mean(self._eta(re)), index=self.spec.design.index, name="fitted")

    def residuals(self, kind: str = "deviance", re: RandomPart = "all") -> pd.Series[float]:
        """Residuals: ``deviance``, ``pearson``, ``response`` (of a binomial response of proportions) or ``working``.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.residuals("pearson").round(3).head(2).tolist()
        [-1.34, 1.075]
        """
        own = inf.generalised_residuals(self.estimates, response_rows(self.spec), self._eta(re), kind)
        return pd.Series(own, index=self.spec.design.index, name="residual")

    def predict(
        self,
        data: Any = None,
        *,
        type: str = "response",
        re: RandomPart = "all",
        new_levels: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        seed: int | None = None,
        offset: Any = None,
        uncertainty: str | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the means of the rows used, or of new data.

        Parameters
        ----------
        data : frame, optional
            New data; it needs no response, nor trials.
        type : "response" or "link"
            Means (probabilities, expected counts), or the linear predictor.
        re : "all", "none" or list of str
            Which random effects to include. A mean with none is that of a typical level, not the mean over levels.
        new_levels : "population", "error" or "sample"
            For levels not in the data: effect zero, an error, or a draw from N(0, Σ̂).
        interval : "confidence", optional
            Of the mean, given the random effects included; made on the scale of the link, θ̂ being taken as known.
        level : float
        seed : int, optional
            For ``new_levels="sample"``.
        offset : str, float or array, optional
            For new data, what stands for the model's ``offset=``.
        uncertainty : "fixef" or "plugin", optional
            What the interval counts: coefficients and random effects, or the latter alone. The frame then has a column
            of the standard deviation, on the scale asked for.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``

        Raises
        ------
        NotAvailableError
            For ``interval="prediction"``: :meth:`simulate` draws responses.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> new = {"period": ["1", "4"], "herd": ["1", "another"]}
        >>> fit.predict(new).round(3).tolist()
        [0.308, 0.048]
        >>> fit.predict(new, type="link", re="none", interval="confidence").round(2).to_numpy().tolist()
        [[-1.4, -1.85, -0.95], [-2.98, -3.83, -2.13]]
        """
        one_of("type", type, ("response", "link"))
        options = inf.PredictOptions(re, new_levels, interval, level, offset, None, uncertainty)
        rows, chosen = inf.rows_for(self.spec, data, options), inf.chosen_groupings(self.spec, re)
        if interval is not None:
            asked = inf.RowsAsked(rows, chosen, options)
            found = inf.predict_generalised(lambda: self._at, self.estimates, asked, type)
            return inf.prediction_frame(rows, found, uncertainty)
        rng = generator(seed)
        effects = inf.effects_for(rows, self._modes, self._covariances, options, rng)
        eta = inf.linear_predictor(rows, self.estimates.beta, effects, chosen)
        return pd.Series(self.family.mean(eta) if type == "response" else eta, index=rows.index, name="prediction")

    def simulate(self, n: int = 1, *, re: str = "new", seed: int | None = None) -> Simulated:
        """Simulate responses (n_obs, n) at the estimates; ``re="fitted"`` keeps the conditional modes.

        Those of a binomial response are proportions of the rows' own trials, as :meth:`refit` takes them.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.simulate(3, seed=1).shape
        (56, 3)
        """
        n, eta, rng = whole_number("n", n), self._eta(inf.simulation_part(re)), generator(seed)
        own, new = inf.dispersions_of(self.estimates), re == "new"
        draw = partial(inf.simulate_new, self.spec, eta, self._covariances, self.sigma, rng, new_effects=new, own=own)
        sims = [draw() for _ in range(n)]
        return np.column_stack(sims) if sims else np.empty((self.spec.n_obs, 0))

    def refit(self, y: Any) -> GeneralisedFit:
        """Fit the same model to another response (n_obs,), in the form that :meth:`simulate` gives.

        Raises
        ------
        DesignError
            If `y` has the wrong length, or is no such response.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> again = fit.refit(fit.simulate(seed=1)[:, 0])
        >>> again.status
        'converged'
        """
        if np.ndim(y) != 1:
            raise DesignError("refit() of a generalised response takes one response; call it for each column.")
        spec = with_response(self.spec, y)
        self.family.check(spec.design.y, spec.design.weights, "given to refit()", lambda row: f"row {row}")
        return told(generalised_fit(spec, start=None, control=None, nagq=self.estimates.nagq))

    def confint(
        self, level: float = 0.95, method: str = "wald", *, parameters: Sequence[str] | str | None = None
    ) -> pd.DataFrame:
        """Wald's intervals ``lower, upper`` of the coefficients, on the scale of the link.

        Raises
        ------
        DesignError
            For another method or parameter.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.confint(parameters="period[T.2]").round(2).to_numpy().tolist()
        [[-1.59, -0.39]]
        """
        one_of("method", method, ("wald",))
        tests = self._tests
        out = inf.wald_intervals(self.fixef, tests.std_error, tests.df, level)
        return out if parameters is None else inf.chosen_rows(out, parameters)

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """One row a parameter: ``effect, group, term, estimate, std_error, statistic, p_value, lower, upper``.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.tidy()[["term", "estimate", "p_value"]].round(4).to_numpy().tolist()[1]
        ['period[T.2]', -0.9923, 0.0012]
        """
        tests = self._tests
        bounds = inf.wald_intervals(self.fixef, tests.std_error, tests.df, level)
        return inf.tidy_frame(self.spec, self.fixef, tests.std_error, bounds, self.varcorr, tests={"p_value": tests.p})

    def test(self, L: Any, value: Any = 0.0, *, level: float = 0.95) -> tables.ResultFrame:
        """Test linear hypotheses Lβ = c on the coefficients by Wald's z and χ², each alone and all together.

        Parameters
        ----------
        L, value
            As of :meth:`ranef.EmpiricalBayesFit.test`.
        level : float
            Probability of the intervals.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.test("period[T.2] = period[T.3]")["p"].round(3).tolist()
        [0.72]
        """
        asked = inf.hypotheses(L, list(self.fixef.index), self.spec.design.dropped, value)
        law, beta = inf.normal_law(self.estimates.vcov), self.estimates.beta
        rows = inf.row_frame(law, beta, asked, level)
        return tables.hypothesis_table(inf.joint_frame(law, beta, asked), rows, law.words)

    def glance(self) -> pd.DataFrame:
        """One row: ``engine, family, link, nobs, loglik, criterion, aic, bic, df, df_residual, singular``.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.glance()[["family", "nobs", "df"]].to_dict("records")
        [{'family': 'binomial', 'nobs': 56, 'df': 5}]
        """
        return inf.glance_frame(
            {
                "engine": self.engine,
                "family": self.estimates.family,
                "link": self.estimates.link,
                "nobs": self.spec.n_obs,
                "loglik": self.loglik,
                "criterion": self.criterion,
                "aic": self.aic,
                "bic": self.bic,
                "df": self.df,
                "df_residual": self.spec.n_obs - self.df,
                "singular": self.is_singular,
            }
        )

    def augment(self) -> pd.DataFrame:
        """The rows used with response, levels, ``fitted``, ``fixed`` (no random effects) and response ``residual``.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> fit.augment().columns.tolist()
        ['TICKS', 'BROOD', 'fitted', 'fixed', 'residual']
        """
        return inf.augment_frame(self.spec, self.fitted().to_numpy(), self.fitted("none").to_numpy())

    def summary(self) -> tables.Document:
        """The printed fit, in glmer's order.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> for line in str(fit.summary()).splitlines()[:2]:
        ...     print(line)
        Generalised linear mixed model fit by maximum likelihood (Laplace approximation)
        Family: binomial (logit)
        """
        criteria = {
            "AIC": self.aic,
            "BIC": self.bic,
            "logLik": self.loglik,
            "-2*log(L)": self.deviance,
            "df.resid": float(self.spec.n_obs - self.df),
        }
        scaled = inf.scaled_quantiles(self.residuals("pearson").to_numpy())
        dispersions = inf.dispersions_of(self.estimates)
        return tables.generalised_summary(
            self.spec, self.estimates, self.fixef, self.varcorr, scaled, criteria, self._tests, dispersions
        )

    @property
    def criterion(self) -> float:
        """−2 log-likelihood with all constants, minimised.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> round(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit().criterion, 4)
        184.0526
        """
        return self.estimates.criterion

    @property
    def loglik(self) -> float:
        """Log-likelihood at the estimates, as approximated.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> round(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit().loglik, 4)
        -92.0263
        """
        return -0.5 * self.estimates.criterion

    @property
    def deviance(self) -> float:
        """−2 log-likelihood: the criterion, where R's ``deviance()`` is the sum of squared deviance residuals.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> fit.deviance == fit.criterion
        True
        """
        return self.criterion

    @property
    def df(self) -> int:
        """Number of parameters: coefficients, θ and dispersions.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().df
        4
        """
        return self.spec.n_fixed + self.spec.n_theta + len(self.family.dispersions)

    @property
    def aic(self) -> float:
        """Criterion + 2 df.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> round(fit.aic - fit.criterion, 6)
        8.0
        """
        return self.criterion + 2 * self.df

    @property
    def bic(self) -> float:
        """Criterion + log(n) df.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> round(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit().bic, 2)
        204.18
        """
        return self.criterion + float(np.log(self.spec.n_obs)) * self.df

    @property
    def aicc(self) -> float:
        """AIC corrected for few rows: + 2 df (df + 1)/(n − df − 1); infinite where there are no more rows than that.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> round(ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit().aicc, 2)
        195.25
        """
        left = self.spec.n_obs - self.df - 1
        return self.aic + 2 * self.df * (self.df + 1) / left if left > 0 else float("inf")

    def r2(self) -> pd.Series[float]:
        """R² ``marginal`` and ``conditional`` of a binomial response on the scale of the link.

        Shares of var(Xβ̂) + mean zᵀΣ̂z + the variance of a logistic (π²/3), normal (1) or Gumbel (π²/6) variable, whose
        distribution function is the inverse link (Nakagawa, Johnson & Schielzeth 2017, J. R. Soc. Interface 14).

        Raises
        ------
        NotAvailableError
            For other families, whose residual variance on the scale of the link is an approximation.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit().r2().round(3).to_dict()
        {'marginal': 0.085, 'conditional': 0.187}
        """
        return inf.r2_series(inf.link_parts(self.spec, self.estimates))

    def icc(self) -> pd.DataFrame:
        """Intraclass correlations of a binomial response on the scale of the link, with variances as in :meth:`r2`.

        Returns
        -------
        DataFrame
            ``group, variance, adjusted, unadjusted``.

        Raises
        ------
        NotAvailableError
            For other families.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.icc()["adjusted"].round(3).tolist()
        [0.111, 0.111]
        """
        return inf.icc_frame(self.spec, inf.link_parts(self.spec, self.estimates))

    def simulated_residuals(self, n: int = 250, *, re: str = "new", seed: int | None = None) -> inf.SimulatedResiduals:
        """Where each response lies among those simulated by the fit, and tests of uniformity, dispersion and outliers.

        As :meth:`ranef.EmpiricalBayesFit.simulated_residuals`; ties, of which counts have many, are broken at random
        (Dunn & Smyth 1996, J. Comput. Graph. Stat. 5, 236-244).

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> bool(fit.simulated_residuals(seed=1, re="fitted").tests.loc["dispersion", "p"] < 0.01)
        True
        """
        return inf.untied_residuals(self.spec, self.simulate(whole_number("n", n), re=re, seed=seed), generator(seed))

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or a correlation ±1.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().is_singular
        False
        """
        return self.estimates.singular

    @property
    def status(self) -> str:
        """``"converged"``, ``"boundary"``, ``"not identified"`` or ``"not converged"``.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().status
        'converged'
        """
        return self.estimates.optimizer.status.name.lower().replace("_", " ")

    @property
    def warnings(self) -> list[str]:
        """Sentences on why the estimates should not be trusted; empty where they may be.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().warnings
        []
        """
        doubtful = self.estimates.optimizer.status in (Status.NOT_CONVERGED, Status.NOT_IDENTIFIED)
        return [self.estimates.optimizer.message] if doubtful else []

    @property
    def ok(self) -> bool:
        """Whether there is nothing to warn about.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().ok
        True
        """
        return not self.warnings

    @property
    def optimizer(self) -> OptimizerRecord:
        """Every evaluation of the criterion, the Newton decrement, and why the optimiser stopped.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> fit.optimizer.decrement < 1e-9
        True
        """
        return self.estimates.optimizer

    @cached_property
    def matrices(self) -> user.LinkedMatrices:
        """y, X, Z and per-term pieces with Λ, D, and at the conditional mode W, the working response z and their L.

        Of a binomial response y are proportions. There is no V; ``V_working`` is that of z with W held.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.matrices.show("W").frame.iloc[:2, :2].round(2).to_numpy().tolist()
        [[2.99, 0.0], [0.0, 1.46]]
        """
        rows = inf.working_rows(self.spec, self._eta("all"), inf.dispersions_of(self.estimates))
        weights, z = rows["working weight"], rows["working response"]
        return user.LinkedMatrices(self.spec, self.estimates.theta, self.sigma, weights, z, self._eta("none"))

    def _document(self) -> tables.Document:
        return self.summary()

    def _told(self) -> Iterator[tuple[str, type[RanefWarning]]]:
        if self.warnings:
            yield " ".join(self.warnings), ConvergenceWarning
        elif self.is_singular or self.optimizer.status is Status.BOUNDARY:
            words = "(fit.status; a filter for ranef.SingularFitWarning switches this off.)"
            yield f"{self.optimizer.message} {words}", SingularFitWarning

    def _eta(self, re: RandomPart) -> Floats:
        return inf.fitted_values(self.spec, self.estimates.beta, self._modes, re)

    @property
    def _modes(self) -> tuple[Floats, ...]:
        return tuple(m.values for m in self.estimates.modes)

    @cached_property
    def _tests(self) -> inf.CoefficientTests:
        return inf.coefficient_tests(inf.normal_law(self.estimates.vcov), self.estimates.beta)

    @cached_property
    def _covariances(self) -> tuple[Floats, ...]:
        return covariance_arrays(self.spec, self.estimates.theta, np.asarray(1.0))

    @cached_property
    def _at(self) -> LaplaceAt:
        return inf.laplace_at(self.spec, self.estimates)

    def __post_init__(self) -> None:
        """A file has the family with the estimates."""
        if not isinstance(self.spec.family, Generalised):
            object.__setattr__(self, "spec", self.spec.with_family(self.family))

    def __repr__(self) -> str:
        what = f"{self.estimates.family} ({self.estimates.link})"
        return f"<GeneralisedFit {self.spec.design.formula!r}: {what} by {self.engine}, criterion {self.criterion:.4f}>"


def refuse_generalised(given: Iterable[Any], what: str, instead: str) -> None:
    """Raise where one of what is given is a fit, or a model, of a generalised response.

    Raises
    ------
    NotAvailableError
        That says what to do `instead`.
    """
    if any(isinstance(getattr(getattr(one, "spec", None), "family", None), Generalised) for one in given):
        raise NotAvailableError(f"{what} is not available yet for generalised responses. {instead}")


def generalised_fit(spec: ModelSpec, *, start: Any, control: Control | None, nagq: int) -> GeneralisedFit:
    """Run engine A and wrap its record, without a warning."""
    estimates = reml.fit_generalised(spec, start=start, control=control, points=nagq)
    asked = fit_arguments(start, control) | ({} if nagq == 1 else {"nagq": repr(nagq)})
    return GeneralisedFit(spec, replace(estimates, asked=asked))
