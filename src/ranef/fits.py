"""The two classes that users hold. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar, overload

import numpy as np
import pandas as pd

from ranef import inference as inf
from ranef.arguments import Answering, generator, helpful, whole_number
from ranef.arrays import Floats
from ranef.copies import ByFields
from ranef.equations import Equation, model_equation
from ranef.errors import ConvergenceWarning, DesignError, NotAvailableError, SingularFitWarning, warn
from ranef.likelihood import (
    CrossProducts,
    Evaluation,
    Method,
    cross_products,
    evaluate,
    products_of,
    read_responses,
)
from ranef.nuts import predictive_array, sample_prior, to_datatree, to_inference_data
from ranef.plots import FitPlots
from ranef.reml import Control, fit_reml, refit_many
from ranef.results import OptimizerRecord, PosteriorDraws, Refits, RemlEstimates, Status, fit_arguments
from ranef.saved import save
from ranef.spec import ModelSpec, check_responses, covariance_arrays, with_response
from ranef.tables import Document, posterior_summary, reml_summary

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["EmpiricalBayesFit", "PosteriorFit", "empirical_bayes", "told"]

RandomPart: TypeAlias = str | Sequence[str]

#: to type checkers an array whose number of dimensions they do not know is one of three dimensions too
UnknownShape: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[Any]]

#: responses by columns
Simulated: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float64]]

AnyFit = TypeVar("AnyFit", "EmpiricalBayesFit", "PosteriorFit")


def _later(what: str, meanwhile: str) -> NoReturn:
    raise NotAvailableError(f"{what} is not available yet. Meanwhile: {meanwhile}")


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class EmpiricalBayesFit(ByFields, Answering):
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

    # -- what both kinds of fit answer -------------------------------------------------------------------------

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

    def coef(self, group: str | None = None) -> pd.DataFrame:
        """Fixed plus random effects of every level of `group` (needed only where there are several)."""
        return inf.coef_frame(self.spec, self.estimates.beta, self._modes, inf.only_group(self.spec, group))

    def fitted(self, re: RandomPart = "all") -> pd.Series[float]:
        """Fitted values: with all random effects, with none, or with those of the groups listed."""
        return inf.row_series(self.spec, lambda rows: self._fitted(re, rows), "fitted")

    def residuals(self, kind: str = "response", re: RandomPart = "all") -> pd.Series[float]:
        """Residuals: ``response``, ``pearson`` (divided by their standard deviation) or ``normalized``."""
        return inf.row_series(
            self.spec, lambda rows: inf.residual_rows(rows, self._fitted(re, rows), self.sigma, kind), "residual"
        )

    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
    ) -> pd.Series[float]: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: str,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
    ) -> pd.DataFrame: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: str | None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
    ) -> pd.Series[float] | pd.DataFrame: ...
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = "all",
        new_levels: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        seed: int | None = None,
        offset: Any = None,
        weights: Any = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the rows used, or new data.

        Parameters
        ----------
        data : frame, optional
            New data; it needs no response.
        re : "all", "none" or list of str
            Which random effects to include.
        new_levels : "population", "error" or "sample"
            For levels not in the data (a missing one counts as such): effect zero, an error, or a draw from N(0, Σ̂).
        interval : "confidence" or "prediction", optional
            For the mean given the random effects included, or for a new response; θ̂ is taken as known. Estimates are
            then population values for unseen levels; they add zᵀΣ̂z to prediction intervals, and with
            ``new_levels="sample"`` to both kinds.
        level : float
        seed : int, optional
            For ``new_levels="sample"``.
        offset : str, float or array, optional
            For new data, what stands for the model's ``offset=``: needed where that was an array. A column that it
            named is found in the new data.
        weights : number, str or array, optional
            Prior weights of the new responses, for ``interval="prediction"``: their residual variance is σ̂²/w. By
            default those of the rows used, or of new data the column that the model's weights are named by. Without
            one the interval is for rows of the mean residual variance of the rows used.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``
            Rows with missing predictors are NaN.

        Warns
        -----
        RanefWarning
            If predictors are missing, or for prediction intervals of new data whose weights nothing tells.

        Raises
        ------
        DesignError
            If the new data lack a column, or hold a level of a predictor that is not known; if an offset is needed; if
            a weight is not positive.
        """
        options = inf.PredictOptions(re, new_levels, interval, level, offset, weights)
        rows, chosen = inf.rows_for(self.spec, data, options), inf.chosen_groupings(self.spec, re)
        if interval is None:
            effects = inf.effects_for(rows, self._modes, self._covariances, options, generator(seed))
            estimate = inf.linear_predictor(rows, self.estimates.beta, effects, chosen)
            return pd.Series(estimate, index=rows.index, name="prediction")
        estimate = inf.linear_predictor(rows, self.estimates.beta, self._modes, chosen)
        variance = inf.prediction_variance(self.spec, self.products, self._evaluation, rows, chosen)
        if interval == "prediction":
            variance = variance + inf.residual_variance(rows, self.sigma)
        if interval == "prediction" or new_levels == "sample":
            variance = variance + inf.unseen_variance(self.spec, rows, self._covariances, chosen)
        half = inf.normal_quantile(level) * np.sqrt(variance)
        return inf.prediction_frame(rows, estimate, estimate - half, estimate + half)

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
        return inf.tidy_frame(self.spec, self.fixef, se, self.confint(level), self.varcorr)

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

    def augment(self) -> pd.DataFrame:
        """The rows used with response, levels, ``fitted``, ``fixed`` (no random effects) and ``residual``."""
        parts = self.spec.parts()
        return pd.concat([inf.augment_frame(p, self._fitted("all", p), self._fitted("none", p)) for p in parts])

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

    def equation(self, style: str = "scalar", values: bool = False) -> Equation:
        """The model as LaTeX; with ``values=True`` the estimates stand in it."""
        numbers = (self.fixef, self.varcorr) if values else None
        return model_equation(self.spec, style=style, values=numbers)

    @property
    def plot(self) -> FitPlots:
        """Figures: ``plot.ranef()``, ``shrinkage``, ``path``, ``lines``, ``diagnostics``, ``ppc`` and others."""
        return FitPlots(self)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the fit with its model to one file, which :func:`ranef.load` reads.

        The file is a zip of JSON and of arrays, without pickle; loaded, it answers all
        that it does now, without the data frame, and ``ranef.Model.of(fit)`` samples its model.
        Functions given as ``transforms=`` are not in it (give them to :func:`ranef.load`), nor rows read in chunks.

        Parameters
        ----------
        path : str or Path
            As ``"fit.ranef"``; any ending will do.
        overwrite : bool
            Whether an existing file is replaced; it is, or stays, whole.

        Returns
        -------
        Path

        Raises
        ------
        DesignError
            If the file exists and `overwrite` is false, or it cannot be written.

        Examples
        --------
        >>> import tempfile, pathlib, ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fit = model.fit()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = ranef.load(fit.save(pathlib.Path(folder) / "fit.ranef"))
        >>> again.criterion == fit.criterion
        True
        """
        return save(self, path, overwrite=overwrite)

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
        return evaluate(self.products, self._evaluation.factor.lambdas, "ML", self.spec.sigma).criterion

    @property
    def df(self) -> int:
        """Number of parameters: coefficients, θ, and σ unless it is known."""
        return self.spec.n_fixed + self.spec.n_theta + (self.spec.sigma is None)

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
    def ok(self) -> bool:
        """Whether there is nothing to warn about."""
        return not self.warnings

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
        return inf.joint_covariance(self.spec, self.products, self._evaluation, group)

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
        return inf.varcorr_errors(self.spec, self.products, self.varcorr, self._information)

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

    def profile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available yet."""
        _later("profile()", "Model.sample() gives posterior intervals of every parameter.")

    def bootstrap(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available yet."""
        _later("bootstrap()", "fit.refit(fit.simulate(n)).frame, a parametric bootstrap.")

    def _fitted(self, re: RandomPart, rows: ModelSpec | None = None) -> Floats:
        return inf.fitted_values(self.spec if rows is None else rows, self.estimates.beta, self._modes, re)

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
    def _evaluation(self) -> Evaluation:
        lambdas = self.products.scaling.inward(self.spec.lambdas(self.estimates.theta))
        ordered = [lambdas[k] for k in self.products.order]
        return evaluate(self.products, ordered, self._method, self.spec.sigma)

    @cached_property
    def _information(self) -> inf.VarianceInformation:
        return inf.variance_information(self.spec, self.products, self._evaluation, self.estimates.theta)

    @cached_property
    def _row_covariance(self) -> inf.RowCovariance:
        return inf.row_covariance(self.products, self._evaluation)

    def _leverages(self, rows: ModelSpec) -> Floats:
        return inf.leverages(rows, self.products, self._row_covariance)

    @cached_property
    def _variance_parts(self) -> inf.VarianceParts:
        return inf.variance_parts(self.spec, self.estimates.beta, self._covariances, self.sigma)

    def __repr__(self) -> str:
        return f"<EmpiricalBayesFit {self.spec.design.formula!r} by {self.engine}, criterion {self.criterion:.4f}>"

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def _told(loo: inf.Loo) -> inf.Loo:
    """The same, after a warning where it is doubtful."""
    for sentence in loo.words:
        warn(sentence)
    return loo


def told(fit: AnyFit) -> AnyFit:
    """The same, after one warning where a fit should not be trusted, or is singular."""
    if fit.warnings:
        doubt = "This posterior should not be trusted yet: " if isinstance(fit, PosteriorFit) else ""
        warn(doubt + " ".join(fit.warnings), ConvergenceWarning)
    elif isinstance(fit, EmpiricalBayesFit) and fit.is_singular:
        warn(_singular_words(fit), SingularFitWarning)
    return fit


def _singular_words(fit: EmpiricalBayesFit) -> str:
    found = fit.estimates.optimizer
    message = found.message if found.status is Status.BOUNDARY else f"{Status.BOUNDARY.value} {found.message}"
    return f"{message} (fit.is_singular; a filter for ranef.SingularFitWarning switches this off.)"


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
    products = cross_products(spec) if products is None else products
    estimates = fit_reml(spec, method, start=start, control=control, products=products)
    return EmpiricalBayesFit(spec, replace(estimates, asked=fit_arguments(start, control)), products)


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class PosteriorFit(ByFields, Answering):
    """A posterior sampled by NUTS.

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
        object.__setattr__(self, "spec", self.spec.with_family(self.draws.family))

    # -- what both kinds of fit answer -------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        """``"NUTS"``."""
        return "NUTS"

    @property
    def fixef(self) -> pd.Series[float]:
        """Posterior means of β by coefficient name."""
        return inf.fixef_series(self.spec, self.draws.beta.mean(axis=(0, 1)))

    @property
    def vcov(self) -> pd.DataFrame:
        """Posterior covariance of β, p×p."""
        flat = self.draws.beta.reshape(self.draws.sigma.size, self.spec.n_fixed)
        centred = flat - flat.mean(axis=0)
        return inf.vcov_frame(self.spec, centred.T @ centred / (flat.shape[0] - 1))

    @property
    def varcorr(self) -> pd.DataFrame:
        """Posterior means: ``vcov`` of each variance, ``sdcor`` of each sd or correlation itself; residual last."""
        return inf.varcorr_means(self.spec, self.draws)

    @property
    def sigma(self) -> float:
        """Posterior mean of σ."""
        return float(self.draws.sigma.mean())

    def ranef(self, group: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Posterior mean, sd and equal-tailed interval of the random effects.

        Returns
        -------
        DataFrame
            ``group, level, term, estimate, sd, lower, upper``.
        """
        sds = [b.std(axis=(0, 1), ddof=1) for b in self.draws.b]
        bounds = [inf.interval(b, level) for b in self.draws.b]
        return inf.ranef_frame(self.spec, self._modes, sds, bounds, group)

    def coef(self, group: str | None = None) -> pd.DataFrame:
        """Posterior means of fixed plus random effects by level of `group`."""
        return inf.coef_frame(self.spec, self._beta, self._modes, inf.only_group(self.spec, group))

    def fitted(self, re: RandomPart = "all") -> pd.Series[float]:
        """Posterior means of the linear predictor of the rows used."""
        return inf.row_series(self.spec, lambda rows: self._fitted(re, rows), "fitted")

    def residuals(self, kind: str = "response", re: RandomPart = "all") -> pd.Series[float]:
        """Residuals from :meth:`fitted`; ``pearson`` and ``normalized`` are divided by the posterior mean of σ."""
        return inf.row_series(
            self.spec, lambda rows: inf.residual_rows(rows, self._fitted(re, rows), self.sigma, kind), "residual"
        )

    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
    ) -> pd.Series[float]: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: str,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
    ) -> pd.DataFrame: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: str | None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
    ) -> pd.Series[float] | pd.DataFrame: ...
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = "all",
        new_levels: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        seed: int | None = None,
        offset: Any = None,
        weights: Any = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the rows used, or new data, as :meth:`EmpiricalBayesFit.predict`; intervals are equal-tailed."""
        options = inf.PredictOptions(re, new_levels, interval, level, offset, weights)
        rows, chosen = inf.rows_for(self.spec, data, options), inf.chosen_groupings(self.spec, re)
        rng = generator(seed)
        if interval is None:
            covs = inf.one_draw(inf.covariance_draws(self.spec, self.draws), rng)
            effects = inf.effects_for(rows, self._modes, covs, options, rng)
            estimate = inf.linear_predictor(rows, self._beta, effects, chosen)
            return pd.Series(estimate, index=rows.index, name="prediction")
        estimate, lower, upper = inf.predict_draws(self.spec, self.draws, rows, chosen, options, rng)
        return inf.prediction_frame(rows, estimate, lower, upper)

    def simulate(self, n: int = 1, *, re: str = "new", seed: int | None = None) -> Simulated:
        """Responses (n_obs, n) from the posterior predictive; ``re="fitted"`` keeps the drawn random effects."""
        return inf.simulate_posterior(self.spec, self.draws, whole_number("n", n), re, generator(seed))

    def confint(self, level: float = 0.95, method: str = "eti") -> pd.DataFrame:
        """Posterior intervals ``lower, upper`` of every parameter: ``"eti"`` (equal-tailed) or ``"hdi"``."""
        if method not in ("eti", "hdi"):
            raise DesignError(f"method={method!r} must be 'eti' or 'hdi'.")
        named = inf.parameter_draws(self.spec, self.draws)
        bounds = [inf.interval(x, level, method) for x in named.values()]
        return pd.DataFrame(bounds, index=list(named), columns=["lower", "upper"]).astype(float)

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """One row a parameter: ``effect, group, term, estimate, std_error, statistic, lower, upper``."""
        p = self.spec.n_fixed
        sds = [x.std(ddof=1) for *_, x in inf.varcorr_draws(self.spec, self.draws)]
        bounds = self.confint(level)[: p + len(sds)]
        columns = {"std_error": sds, "lower": bounds["lower"][p:].tolist(), "upper": bounds["upper"][p:].tolist()}
        se = np.sqrt(np.diag(self.vcov.to_numpy()))
        return inf.tidy_frame(self.spec, self.fixef, se, bounds[:p], self.varcorr, columns)

    def glance(self) -> pd.DataFrame:
        """One row: ``engine, nobs, sigma, chains, draws``, and the worst of every diagnostic.

        ``divergences``; ``rhat_max``; ``ess_min`` of bulk and tail; ``bfmi_min``, the least energy fraction of a chain;
        ``max_treedepth``, how many trajectories were cut short at depth 10.
        """
        table, energy = self.diagnostics, inf.bfmi(self.draws)
        return inf.glance_frame(
            {
                "engine": self.engine,
                "nobs": self.spec.n_obs,
                "sigma": self.sigma,
                "chains": self.draws.sigma.shape[0],
                "draws": self.draws.sigma.shape[1],
                "divergences": int(np.sum(self.draws.sample_stats.get("diverging", 0))),
                "rhat_max": table["rhat"].max(),
                "ess_min": table[["ess_bulk", "ess_tail"]].min().min(),
                "bfmi_min": np.nan if np.isnan(energy).all() else float(np.nanmin(energy)),
                "max_treedepth": inf.saturated_trees(self.draws),
            }
        )

    def augment(self) -> pd.DataFrame:
        """The rows used with response, levels, ``fitted``, ``fixed`` (no random effects) and ``residual``."""
        parts = self.spec.parts()
        return pd.concat([inf.augment_frame(p, self._fitted("all", p), self._fitted("none", p)) for p in parts])

    def summary(self) -> Document:
        """The printed posterior: priors, then the order of lme4, with R-hat and effective sample sizes."""
        table = self.diagnostics
        chains, draws = self.draws.sigma.shape
        settings = [
            f"Draws: {chains} chains, {draws} draws each after {self.draws.warmup} warm-up steps by "
            f"{self.draws.sampler}, {self.draws.parameterization} parameterization, seed {self.draws.seed}",
        ]
        fixed = table["group"] == ""
        notes = [*self.draws.notes, *inf.sensitivity_words(self.spec, self.draws)]
        words = [*self.warnings, *(f"Note: {note}" for note in notes)]
        return posterior_summary(
            self.spec, self.draws.priors, settings, self.draws.family, table[~fixed], table[fixed], words
        )

    def equation(self, style: str = "scalar", values: bool = False) -> Equation:
        """The model as LaTeX; with ``values=True`` posterior means stand in it."""
        numbers = (self.fixef, self.varcorr) if values else None
        return model_equation(self.spec, style=style, values=numbers)

    @property
    def plot(self) -> FitPlots:
        """Figures: ``plot.ranef()``, ``shrinkage``, ``path``, ``lines``, ``diagnostics``, ``ppc`` and others."""
        return FitPlots(self)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the posterior with its model to one file, which :func:`ranef.load` reads.

        The file is a zip of JSON and of arrays, without pickle; loaded, its draws are
        the same to the last bit, and ``ranef.Model.of(fit)`` samples its model again, without the data frame.
        Functions given as ``transforms=`` are not in it (give them to :func:`ranef.load`), nor rows read in chunks.

        Parameters
        ----------
        path : str or Path
            As ``"posterior.ranef"``; any ending will do.
        overwrite : bool
            Whether an existing file is replaced; it is, or stays, whole.

        Returns
        -------
        Path

        Raises
        ------
        DesignError
            If the file exists and `overwrite` is false, or it cannot be written.

        Examples
        --------
        >>> import tempfile, pathlib, ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = ranef.load(fb.save(pathlib.Path(folder) / "posterior.ranef"))
        >>> bool((again.draws.beta == fb.draws.beta).all())
        True
        """
        return save(self, path, overwrite=overwrite)

    # -- Bayes only --------------------------------------------------------------------------------------------

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

    @cached_property
    def datatree(self) -> xr.DataTree:
        """ArviZ DataTree with named dimensions (coefficient, group level, term); :meth:`to_datatree` adds groups."""
        return to_datatree(self.spec, self.draws)

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
        replicated, kept = None, None
        if posterior_predictive is not False:
            draws = None if posterior_predictive is True else posterior_predictive
            replicated, kept = inf.predictive_draws(self.spec, self.draws, draws, re, generator(seed))
        if not isinstance(prior, bool | PosteriorDraws):
            raise DesignError(f"prior={prior!r} must be True, False, or draws from the prior.")
        own = self._prior_draws(seed) if prior is True else prior or None
        return to_datatree(self.spec, self.draws, prior=own, posterior_predictive=replicated, kept=kept)

    def to_inference_data(self) -> Any:
        """:attr:`datatree` as an InferenceData, for ArviZ before 1.0 (which nutpie brings): it takes no DataTree.

        Raises
        ------
        FitError
            If that ArviZ is not installed; later ones take :attr:`datatree` as it is.

        Notes
        -----
        ``arviz.summary(fb.to_inference_data())`` and ``arviz_stats.summary(fb.datatree)`` give the same.
        """
        return to_inference_data(self.datatree)

    def _prior_draws(self, seed: int | None) -> PosteriorDraws:
        chains, draws = self.draws.sigma.shape
        return sample_prior(self.spec, self.draws.priors, draws=draws, chains=chains, seed=seed)

    @cached_property
    def diagnostics(self) -> pd.DataFrame:
        """``group, name, estimate, sd, lower, upper, rhat, ess_bulk, ess_tail`` of every parameter."""
        return inf.posterior_table(inf.labelled_draws(self.spec, self.draws))

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences on what is wrong with the run and what to do; empty when nothing is.

        On R-hat, effective sample sizes of bulk and tail, divergences, E-BFMI, tree depth, stuck chains and
        interruption.
        """
        return inf.diagnose(self.draws, self.diagnostics)

    @property
    def ok(self) -> bool:
        """Whether there is nothing to warn about."""
        return not self.warnings

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
            return _told(inf.loo_rows(self.spec, self.draws))
        place = inf.grouping_named(self.spec, inf.only_group(self.spec, group))[0]
        return _told(inf.loo_groups(self.spec, self.draws, inf.row_groups(self.spec, place)))

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

    def r2(self) -> pd.Series[float]:
        """Posterior means of R² ``marginal`` and ``conditional``, as :meth:`EmpiricalBayesFit.r2` defines them.

        ``derive("r2").frame()`` gives intervals.
        """
        return inf.posterior_r2(self.spec, self.draws)

    def icc(self) -> pd.DataFrame:
        """Posterior means of ``variance, adjusted, unadjusted`` by ``group``, as :meth:`EmpiricalBayesFit.icc`.

        ``derive("icc").frame()`` gives intervals.
        """
        return inf.posterior_icc(self.spec, self.draws)

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
        values, kept = inf.predictive_draws(self.spec, self.draws, draws, re, generator(seed))
        return predictive_array(self.spec, values, kept)

    def _fitted(self, re: RandomPart, rows: ModelSpec | None = None) -> Floats:
        return inf.fitted_values(self.spec if rows is None else rows, self._beta, self._modes, re)

    @property
    def _beta(self) -> Floats:
        return np.asarray(self.draws.beta.mean(axis=(0, 1)))

    @cached_property
    def _modes(self) -> tuple[Floats, ...]:
        return tuple(b.mean(axis=(0, 1)) for b in self.draws.b)

    def __repr__(self) -> str:
        chains, draws = self.draws.sigma.shape
        return f"<PosteriorFit {self.spec.design.formula!r}, {chains} chains of {draws} draws>"

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()
