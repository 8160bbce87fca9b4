"""Fits by REML or ML. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn, TypeAlias, overload

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef.errors import ConvergenceWarning, DesignError, NotAvailableError, RanefWarning, SingularFitWarning
from _ranef.likelihood import (
    At,
    CrossProducts,
    Likelihood,
    Method,
    RowBlocks,
    cross_products,
    products_of,
    read_responses,
    row_blocks,
    row_leverages,
)
from _ranef.reml import Control, fit_reml, fit_structured, refit_many, refit_structured
from _ranef.results import OptimizerRecord, Refits, RemlEstimates, Status, fit_arguments
from _ranef.spec import ModelSpec, check_responses, covariance_arrays, with_response
from _ranef.support.arrays import Floats
from _ranef.support.remedies import generator, helpful, whole_number
from _ranef.tables import Document, reml_summary
from _ranef.user.fit_base import BaseFit, Simulated, told

__all__ = ["EmpiricalBayesFit", "empirical_bayes"]

#: to type checkers an array whose number of dimensions they do not know is one of three dimensions too
UnknownShape: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[Any]]


def _later(what: str, meanwhile: str) -> NoReturn:
    raise NotAvailableError(f"{what} is not available yet. Meanwhile: {meanwhile}")


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class EmpiricalBayesFit(BaseFit):
    """A fit by REML or ML with conditional modes (BLUPs).

    Made by :meth:`ranef.Model.fit`.

    Attributes
    ----------
    spec : ModelSpec
        The model.
    estimates : RemlEstimates
        The engine's record: θ, σ, β, their covariance, conditional modes, optimiser path.
    products : CrossProducts
        The cross-products, which refits and later evaluations read.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> round(fit.criterion, 4)
    18.6262
    >>> fit.ranef("operator")["estimate"].round(4).tolist()
    [-0.1219, -0.2591, 0.1677, 0.2134]
    """

    spec: ModelSpec
    estimates: RemlEstimates
    products: CrossProducts = field(repr=False)

    @property
    def engine(self) -> str:
        """``"REML"`` or ``"ML"``."""
        return self.estimates.method

    @property
    def fixef(self) -> pd.Series[float]:
        """Fixed effects β̂ by coefficient name."""
        return inf.fixef_series(self.spec, self.estimates.beta)

    @property
    def vcov(self) -> pd.DataFrame:
        """σ̂²(XᵀV⁻¹X)⁻¹, p×p, with θ taken as known."""
        return inf.vcov_frame(self.spec, self.estimates.vcov)

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variance components: ``group, term1, term2, vcov, sdcor``, residual last."""
        return inf.varcorr_frame(self.spec, self.estimates.theta, self.sigma)

    @property
    def sigma(self) -> float:
        """Residual standard deviation σ̂."""
        return self.estimates.sigma

    def ranef(self, group: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Conditional modes b̂ = D Zᵀ V⁻¹ (y − X β̂), with sd and interval given θ̂ (lme4's condVar).

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        level : float
            Probability of the normal interval.

        Returns
        -------
        DataFrame
            ``group, level, term, estimate, sd, lower, upper``.
        """
        modes = self.estimates.modes
        sds = [np.sqrt(np.maximum(np.diagonal(m.cov, axis1=1, axis2=2), 0.0)) for m in modes]
        z = inf.normal_quantile(level)
        bounds = [(m.values - z * s, m.values + z * s) for m, s in zip(modes, sds, strict=True)]
        return inf.ranef_frame(self.spec, self._modes, sds, bounds, group)

    def simulate(self, n: int = 1, *, re: str = "new", seed: int | None = None) -> Simulated:
        """Simulate responses (n_obs, n) at the estimates; ``re="fitted"`` keeps the conditional modes."""
        n = whole_number("n", n)
        mean = self._fitted(inf.simulation_part(re))
        rng = generator(seed)
        draw = inf.simulate_new
        new = re == "new"
        sims = [draw(self.spec, mean, self._covariances, self.sigma, rng, new_effects=new) for _ in range(n)]
        return np.column_stack(sims) if sims else np.empty((self.spec.n_obs, 0))

    def confint(self, level: float = 0.95, method: str = "wald") -> pd.DataFrame:
        """Intervals ``lower, upper`` of the fixed effects, normal with θ̂ taken as known (``method="wald"``)."""
        if method in ("profile", "bootstrap"):
            _later(f"confint(method={method!r})", "method='wald' for coefficients; Model.sample() for variances.")
        if method != "wald":
            raise DesignError(f"method={method!r} must be 'wald', 'profile' or 'bootstrap'.")
        return inf.wald_intervals(self.fixef, self.estimates.vcov, level)

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """One row a parameter: ``effect, group, term, estimate, std_error, statistic, lower, upper``."""
        se = np.sqrt(np.diag(self.estimates.vcov))
        out = inf.tidy_frame(self.spec, self.fixef, se, self.confint(level), self.varcorr)
        if not self.spec.rho_names:
            return out
        return pd.concat([out, inf.residual_tidy(self.spec, self.residual_parameters)], ignore_index=True)

    def glance(self) -> pd.DataFrame:
        """One row: ``engine, nobs, sigma, loglik, criterion, aic, bic, df, df_residual, singular``."""
        return inf.glance_frame(
            {
                "engine": self.engine,
                "nobs": self.spec.n_obs,
                "sigma": self.sigma,
                "loglik": self.loglik,
                "criterion": self.criterion,
                "aic": self.aic,
                "bic": self.bic,
                "df": self.df,
                "df_residual": self.spec.n_obs - self.df,
                "singular": self.is_singular,
            }
        )

    def summary(self) -> Document:
        """The printed fit, in lme4's order."""
        criteria = {
            "AIC": self.aic,
            "BIC": self.bic,
            "logLik": self.loglik,
            "-2*log(L)": self.deviance,
            "df.resid": float(self.spec.n_obs - self.df),
        }
        streamed = self.spec.design.stream is not None
        scaled = None if streamed else inf.scaled_quantiles(self.residuals("pearson").to_numpy())
        return reml_summary(self.spec, self.estimates, self.fixef, self.varcorr, scaled, criteria)

    # -- empirical Bayes only ----------------------------------------------------------------------------------

    @property
    def theta(self) -> pd.Series[float]:
        """Relative covariance parameters θ̂ in lme4's order."""
        return pd.Series(self.estimates.theta, index=list(self.spec.theta_names), name="theta")

    @property
    def criterion(self) -> float:
        """The minimised REML criterion, or −2 log-likelihood under ML."""
        return self.estimates.criterion

    @property
    def loglik(self) -> float:
        """Log-likelihood at the estimates; the restricted one under REML, as lme4's ``logLik``."""
        return -0.5 * self.estimates.criterion

    @property
    def deviance(self) -> float:
        """−2 log-likelihood (not restricted) at θ̂, profiled over β and σ; under ML the criterion itself."""
        if self.engine == "ML":
            return self.criterion
        return Likelihood(self.spec, self.products, "ML").at(self.estimates.theta).criterion

    @property
    def df(self) -> int:
        """Number of parameters: coefficients, and all of variances."""
        return self.spec.n_fixed + len(self.spec.parameter_names)

    @property
    def aic(self) -> float:
        """Criterion + 2 df, as lme4 counts."""
        return self.criterion + 2 * self.df

    @property
    def bic(self) -> float:
        """Criterion + log(n) df, as lme4 counts."""
        return self.criterion + float(np.log(self.spec.n_obs)) * self.df

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or a correlation ±1, by lme4's tolerance but whatever the units of the data."""
        return self.estimates.singular

    @property
    def likelihood(self) -> Likelihood:
        """The criterion that was minimised, as a function of θ; ``likelihood.at(theta)`` has everything there."""
        return Likelihood(self.spec, self.products, self._method)

    @property
    def status(self) -> str:
        """``"converged"``, ``"boundary"``, ``"not identified"`` or ``"not converged"``."""
        return self.estimates.optimizer.status.name.lower().replace("_", " ")

    @property
    def warnings(self) -> list[str]:
        """Sentences on why the estimates should not be trusted; empty where they may be.

        For a fit that did not converge or is not identified. A singular fit is a result, of which :attr:`is_singular`
        and :attr:`status` tell.
        """
        doubtful = self.estimates.optimizer.status in (Status.NOT_CONVERGED, Status.NOT_IDENTIFIED)
        return [self.estimates.optimizer.message] if doubtful else []

    @property
    def optimizer(self) -> OptimizerRecord:
        """Every evaluation of the criterion, the Newton decrement, and why the optimiser stopped."""
        return self.estimates.optimizer

    @cached_property
    def matrices(self) -> inf.FitMatrices:
        """y, X, Z and per-term pieces with Λ, D and V at the estimates."""
        return inf.FitMatrices(self.spec, self.estimates.theta, self.sigma)

    @overload
    def refit(self, y: UnknownShape) -> EmpiricalBayesFit | Refits: ...
    @overload
    def refit(self, y: pd.DataFrame | np.ndarray[tuple[int, int], np.dtype[Any]]) -> Refits: ...
    @overload
    def refit(
        self, y: pd.Series[Any] | np.ndarray[tuple[int], np.dtype[Any]] | Sequence[float]
    ) -> EmpiricalBayesFit: ...
    def refit(self, y: Any) -> EmpiricalBayesFit | Refits:
        """Fit the same model to another response, or to many at once; the preparation is shared.

        Descents start from θ̂ and nowhere else, as lme4's ``refit`` does; a new ``Model(...).fit()`` of a small data set
        tries several starts. A model with one variance parameter is searched over its whole range in either case.

        Parameters
        ----------
        y : array (n_obs,) or (n_obs, B)
            Responses for the rows used, in their order; a Series or DataFrame is aligned by its index.

        Returns
        -------
        EmpiricalBayesFit, or Refits for an array of two dimensions
            ``Refits`` holds arrays of θ, σ, β, sds, correlations and criteria, and a ``frame`` of one row for each.

        Raises
        ------
        DesignError
            If `y` has the wrong length or is not finite.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> refits = fit.refit(fit.simulate(100, seed=1))
        >>> refits.frame.columns.tolist()
        ['Intercept', 'sd(Intercept | operator)', 'sigma', 'criterion', 'singular', 'converged']
        """
        if self.spec.structured:
            if np.ndim(y) == 2:
                return refit_structured(self.spec, check_responses(self.spec, y), self._method, self.estimates.theta)
            spec = with_response(self.spec, y)
            return told(empirical_bayes(spec, self._method, start=self.estimates.theta))
        if np.ndim(y) == 2:
            return refit_many(
                self.spec, self.products, check_responses(self.spec, y), self._method, self.estimates.theta
            )
        spec = with_response(self.spec, y)
        responses = read_responses(spec, self.products, spec.design.y[:, None])
        products = products_of(self.products, responses, 0)
        return told(empirical_bayes(spec, self._method, start=self.estimates.theta, products=products))

    def vcov_joint(self, group: str | None = None) -> pd.DataFrame:
        """Joint covariance of (β̂, b̂ − b) with θ̂ taken as known, from Henderson's mixed-model equations.

        Parameters
        ----------
        group : str, optional
            Only the effects of this grouping factor besides the coefficients; all by default.

        Returns
        -------
        DataFrame
            Square, named by coefficient and as ``matrices.Z_names``; the coefficients' part is :attr:`vcov`.

        Raises
        ------
        DesignError
            If the model has no grouping factor `group`.
        FitError
            If the matrix would be too large to hold (5000 effects of a model of 5000).

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> joint = model.fit().vcov_joint()
        >>> joint.loc["Days", ["Days", "Subject[308].Days"]].round(3).tolist()
        [2.389, -1.948]
        """
        return inf.joint_covariance(self._at, group)

    def varcorr_se(self) -> pd.DataFrame:
        """Standard errors of the sds and correlations of :attr:`varcorr`, from the observed information.

        The deviance (or REML criterion) is differentiated twice in (θ, log σ) at the estimates, and carried to sds and
        correlations by the delta method (Pinheiro & Bates 2000, §2.4). On the boundary there is no such standard error:
        it is NaN for a zero sd and its correlations, and for a correlation of ±1; the others then are conditional on
        the rank of the covariance matrix. It is NaN, too, for what the data do not determine, and where the curvature
        gives a number that cannot be one: more than √(1 − ρ²) for a correlation ρ, more than twice an sd itself.
        Sampling distributions of sds are skewed: take an interval from ``Model.sample()`` or a profile, not ±2 of
        these.

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

    def hatvalues(self) -> pd.Series[float]:
        """Leverage of every row: the diagonal of the matrix that maps y to the conditional fitted values.

        With θ̂ taken as known, as lme4's ``hatvalues``. The sum is the effective number of parameters, between p and
        p + q.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> round(float(model.fit("ML").hatvalues().sum()), 4)
        28.6116
        """
        return inf.row_series(self.spec, self._leverages, "hatvalue")

    def cooks_distance(self) -> pd.Series[float]:
        """Cook's distance of every row from its residual and leverage, as lme4's ``cooks.distance``; no refits.

        It counts a row's own random effects, so it is on another scale than the distances of :meth:`influence`, which
        count the change of the coefficients alone.

        Raises
        ------
        FitError
            If the model has no fixed effects.

        See Also
        --------
        influence : deletes rows or levels and fits again.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> round(float(fit.cooks_distance().max()), 4)
        0.6033
        """
        return inf.row_series(
            self.spec,
            lambda rows: inf.cooks_distances(
                inf.residual_rows(rows, self._fitted("all", rows), self.sigma, "pearson"),
                self._leverages(rows),
                rows.n_fixed,
            ),
            "cooks_distance",
        )

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
        return inf.influence(self.spec, self.estimates, group, refit=refit)

    def r2(self) -> pd.Series[float]:
        """R² ``marginal`` (fixed effects) and ``conditional`` (with random effects), defined at singular fits too.

        Shares of var(Xβ̂) + mean zᵀΣ̂z + mean σ̂²/w (Nakagawa & Schielzeth 2013, Methods Ecol. Evol. 4, 133-142;
        Johnson 2014, ibid. 5, 944-946, for random slopes); w is one without weights.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.r2().round(4).to_dict()
        {'marginal': 0.2787, 'conditional': 0.7992}
        """
        return inf.r2_series(self._variance_parts)

    def icc(self) -> pd.DataFrame:
        """Intraclass correlations: shares of variance by grouping factor, 0 where a variance is 0.

        Returns
        -------
        DataFrame
            ``group, variance, adjusted, unadjusted``: the mean of zᵀΣ̂z over the rows, its share of the random and
            residual variance, and its share with the variance of the fixed effects counted; the last row, ``all``, is
            their sum. Levels of nested factors share rows: the correlation of two rows of one inner level is the sum
            of the rows of the factors that they share.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.icc().round(4)["adjusted"].tolist()
        [0.3905, 0.3905]
        """
        return inf.icc_frame(self.spec, self._variance_parts)

    @property
    def residual_parameters(self) -> pd.DataFrame:
        """Parameters of the residual variance and correlation as nlme prints them, with standard errors.

        ``structure, form, parameter, estimate, std_error``, none for a model without them. Ratios of standard
        deviations are to the first stratum. Standard errors are those of the observed information, carried over by the
        delta method.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("sleepstudy")
        >>> ar1 = ranef.AR1("Days", group="Subject")
        >>> fit = ranef.Model("Reaction ~ Days", data, variance=ranef.VarExp("Days"), correlation=ar1).fit()
        >>> fit.residual_parameters[["parameter", "estimate"]].round(4).to_numpy().tolist()
        [['expon', 0.0871], ['Phi', 0.7913]]
        """
        if not self.spec.rho_names:
            return inf.residual_frame(self.spec)
        try:
            whole = self.vcov_theta()
        except np.linalg.LinAlgError:  # of parameters without bounds there are no standard errors
            return inf.residual_frame(self.spec)
        names = list(self.spec.rho_names)
        place = [list(whole).index(name) for name in names]
        return inf.residual_frame(self.spec, whole.to_numpy()[np.ix_(place, place)])

    @property
    def residual_sd(self) -> pd.Series[float]:
        """Residual standard deviation of every stratum of ``VarIdent``; under ``Residual`` σ̂, where there are none.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("Machines")
        >>> model = ranef.Model("score ~ Machine + (1 | Worker/Machine)", data, variance=ranef.VarIdent("Machine"))
        >>> model.fit().residual_sd.round(3).to_dict()
        {'A': 1.147, 'B': 1.002, 'C': 0.673}
        """
        return inf.residual_sds(self.spec, self.sigma)

    def profile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available yet."""
        _later("profile()", "Model.sample() gives posterior intervals of every parameter.")

    def bootstrap(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available yet."""
        _later("bootstrap()", "fit.refit(fit.simulate(n)).frame, a parametric bootstrap.")

    @property
    def _beta(self) -> Floats:
        return self.estimates.beta

    def _one_covariance(self, rng: np.random.Generator) -> tuple[Floats, ...]:
        return self._covariances

    def _predicted(
        self, rows: inf.Rows, chosen: Sequence[int], options: inf.PredictOptions, rng: np.random.Generator
    ) -> tuple[Floats, Floats, Floats]:
        estimate = inf.linear_predictor(rows, self._beta, self._modes, chosen)
        variance = inf.prediction_variance(self._at, rows, chosen)
        if options.interval == "prediction":
            variance = variance + inf.residual_variance(rows, self.sigma, self.spec.rho, estimate)
        if options.interval == "prediction" or options.new_levels == "sample":
            variance = variance + inf.unseen_variance(self.spec, rows, self._covariances, chosen)
        half = inf.normal_quantile(options.level) * np.sqrt(variance)
        return estimate, estimate - half, estimate + half

    def _told(self) -> Iterator[tuple[str, type[RanefWarning]]]:
        if self.warnings:
            yield " ".join(self.warnings), ConvergenceWarning
        elif self.is_singular:
            found, boundary = self.optimizer, Status.BOUNDARY
            message = found.message if found.status is boundary else f"{boundary.value} {found.message}"
            words = "(fit.is_singular; a filter for ranef.SingularFitWarning switches this off.)"
            yield f"{message} {words}", SingularFitWarning

    @property
    def _method(self) -> Method:
        return self.estimates.method

    @cached_property
    def _covariances(self) -> tuple[Floats, ...]:
        return covariance_arrays(self.spec, self.estimates.theta, np.asarray(self.sigma))

    @property
    def _modes(self) -> tuple[Floats, ...]:
        return tuple(m.values for m in self.estimates.modes)

    @cached_property
    def _at(self) -> At:
        return self.likelihood.at(self.estimates.theta)

    @cached_property
    def _information(self) -> inf.VarianceInformation:
        return inf.variance_information(self._at, self.estimates.theta)

    @cached_property
    def _row_blocks(self) -> RowBlocks:
        return row_blocks(self._at)

    def _leverages(self, rows: ModelSpec) -> Floats:
        rows.residual.refuse_correlated("A leverage", "influence() of a level deletes all of a group.")
        return row_leverages(rows, self._row_blocks)

    @cached_property
    def _variance_parts(self) -> inf.VarianceParts:
        return inf.variance_parts(self.spec, self.estimates.beta, self._covariances, self.sigma)

    def __repr__(self) -> str:
        return f"<EmpiricalBayesFit {self.spec.design.formula!r} by {self.engine}, criterion {self.criterion:.4f}>"


def empirical_bayes(
    spec: ModelSpec,
    method: Method,
    *,
    start: Floats | None = None,
    control: Control | None = None,
    products: CrossProducts | None = None,
) -> EmpiricalBayesFit:
    """Run engine A and wrap its record, without a warning (see :func:`told`)."""
    spec = spec.with_family("gaussian")
    if spec.structured:
        rows = fit_structured(spec.with_rho(None), method, start=start, control=control)
        return EmpiricalBayesFit(
            rows.spec, replace(rows.estimates, asked=fit_arguments(start, control), rho=rows.spec.rho), rows.products
        )
    products = cross_products(spec) if products is None else products
    estimates = fit_reml(spec, method, start=start, control=control, products=products)
    return EmpiricalBayesFit(spec, replace(estimates, asked=fit_arguments(start, control)), products)
