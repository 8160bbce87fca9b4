"""Fits by REML or ML. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, overload

import numpy as np
import pandas as pd

from _ranef import comparison as cmp
from _ranef import inference as inf
from _ranef import tables, user
from _ranef.likelihood import (
    At,
    CrossProducts,
    Leverages,
    Likelihood,
    Method,
    Responses,
    products_of,
    read_responses,
)
from _ranef.reml import Control, refit_many, refit_structured
from _ranef.results import Refits, RemlEstimates, fit_arguments, marked
from _ranef.spec import ModelSpec, check_responses, with_response
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.user.estimated_base import Maximised
from _ranef.user.fit_base import BaseFit, told

__all__ = ["FEW_ROWS", "EmpiricalBayesFit", "empirical_bayes"]

#: rows, and coefficients or parameters of variances, up to which profiles and simulated tests take a moment
FEW_ROWS, FEW_PARAMETERS = 5_000, 12

#: to type checkers an array whose number of dimensions they do not know is one of three dimensions too
UnknownShape: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[Any]]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class EmpiricalBayesFit(Maximised, BaseFit):
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
        """``"REML"`` or ``"ML"``.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.engine
        'REML'
        """
        return self.estimates.method

    def summary(self, *, ddf: str | None = None, vcov: str | None = None, cluster: Any = None) -> tables.Document:
        """The printed fit, in lme4's order.

        Parameters
        ----------
        ddf : "satterthwaite", "kenward-roger", "residual", optional
            Degrees of freedom of the t values, printed with p-values as lmerTest does. Satterthwaite's come from the
            observed information of the variance parameters, for fits by REML or ML and all residual structures.
            Kenward and Roger's, for REML and independent residuals, widen the standard errors besides. They differ on
            the boundary: a variance of zero counts as known for the first and as estimated for the second. Residual
            ones are n − p, which is too many where groups are few. None by default, as in lme4.
        vcov, cluster : optional
            ``"CR0"``, ``"CR1"`` or ``"CR2"`` for a cluster-robust covariance, as in :meth:`vcov_robust`.

        Raises
        ------
        DesignError
            If `ddf` is none of these, or asks Kenward and Roger of a fit by ML.
        NotAvailableError
            For Kenward and Roger with residual structures or compound symmetry and the like of random effects.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> for line in str(fit.summary(ddf="satterthwaite")).splitlines()[-7:-4]:
        ...     print(line)
                   Estimate Std. Error    df t value Pr(>|t|)
         Intercept  251.405      6.825 17.00  36.838   <2e-16
         Days        10.467      1.546 17.00   6.771 3.26e-06
        """
        criteria = {
            "AIC": self.aic,
            "BIC": self.bic,
            "logLik": self.loglik,
            "-2*log(L)": self.deviance,
            "df.resid": float(self.spec.n_obs - self.df),
        }
        tests = self._tests(ddf, vcov, cluster)
        streamed = self.spec.design.stream is not None
        scaled = None if streamed else inf.scaled_quantiles(self.residuals("pearson").to_numpy())
        return tables.reml_summary(self.spec, self.estimates, self.fixef, self.varcorr, scaled, criteria, tests)

    def anova(
        self,
        type: int | str = 3,
        *,
        ddf: str | None = "satterthwaite",
        vcov: str | None = None,
        cluster: Any = None,
    ) -> tables.ResultFrame:
        """Test every term of the fixed effects, as lmerTest's ``anova``: by types I, II or III, whatever the contrasts.

        Type III are hypotheses on means of cells that weigh every level alike, each term given all others; type II
        each term given all that do not contain it; type I one after the other, as the formula has them.

        Parameters
        ----------
        type : 1, 2, 3, or "I", "II", "III"
        ddf : "satterthwaite", "kenward-roger", "residual" or None
            Denominator degrees of freedom, as in :meth:`summary`; with None they are χ² tests. Of terms with several
            columns F depends on no coding, and neither do Kenward and Roger's; Satterthwaite's do, as lmerTest's.
        vcov, cluster : optional
            ``"CR0"``, ``"CR1"`` or ``"CR2"`` for a cluster-robust covariance, as in :meth:`vcov_robust`.

        Returns
        -------
        ResultFrame
            ``term, sum_sq, mean_sq, ndf, ddf, statistic, p``; NaN for terms of which nothing is estimated.

        Raises
        ------
        DesignError
            If there is no such type, or no term besides the intercept.

        See Also
        --------
        ranef.anova : compares fits.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
        >>> fit.anova(ddf="kenward-roger")
        Type III Analysis of Variance Table with Kenward-Roger's method
                  Sum Sq Mean Sq NumDF DenDF F value   Pr(>F)
         nitro   19536.4 19536.4     1 53.00 118.003 4.30e-15
         Variety   491.8   245.9     2 10.00   1.485   0.2724
        """
        law = self._law(ddf, vcov, cluster)
        frame = inf.term_tests(self.spec, law, self.estimates.beta, self.sigma, type)
        return marked(tables.term_table(frame, type, law.words), [self])

    def vcov_adjusted(self) -> pd.DataFrame:
        """Kenward and Roger's covariance of the coefficients, p×p: :attr:`vcov` with the uncertainty of θ̂ in it.

        pbkrtest's ``vcovAdj``; what ``ddf="kenward-roger"`` stands on.

        Raises
        ------
        DesignError
            If the fit is by ML.
        NotAvailableError
            For residual structures, and compound symmetry and the like of random effects.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block)", ranef.datasets.load("Oats")).fit()
        >>> (fit.vcov_adjusted().loc["nitro", "nitro"] / fit.vcov.loc["nitro", "nitro"]).round(6).item()
        1.0
        """
        return inf.vcov_frame(self.spec, self._law("kenward-roger").vcov)

    def caic(self) -> float:
        """Conditional AIC: for predictions of the same levels, where :attr:`aic` is for new ones.

        −2 log of the density of the rows given β̂ and b̂, and twice the effective number of parameters, the sum of
        :meth:`hatvalues`, with one for σ (Vaida & Blanchard 2005, Biometrika 92, 351-370, with θ̂ taken as known: it
        favours the larger random part a little, Greven & Kneib 2010, Biometrika 97, 773-789).

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit("ML")
        >>> round(fit.caic(), 2), round(fit.aic, 2)
        (1709.08, 1763.94)
        """
        return inf.conditional_aic(self.spec, self.residuals("normalized"), self.sigma, self.hatvalues())

    @property
    def likelihood(self) -> Likelihood:
        """The criterion that was minimised, as a function of θ; ``likelihood.at(theta)`` has everything there.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.likelihood.at(fit.theta).criterion == fit.criterion
        True
        >>> fit.likelihood.at([0.0]).criterion > fit.criterion
        True
        """
        return Likelihood(self.spec, self.products, self._method)

    @cached_property
    def matrices(self) -> user.FitMatrices:
        """y, X, Z and per-term pieces with Λ, D and V at the estimates.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.matrices.V_cluster("308").round(0).iloc[:3, :3].to_numpy().tolist()
        [[1267.0, 622.0, 631.0], [622.0, 1321.0, 711.0], [631.0, 711.0, 1446.0]]
        """
        return user.FitMatrices(self.spec, self.estimates.theta, self.sigma)

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
                return refit_structured(
                    self.spec.held, check_responses(self.spec, y), self._method, self.estimates.theta
                )
            spec = with_response(self.spec, y)
            return told(empirical_bayes(spec, self._method, start=self.estimates.theta))
        if np.ndim(y) == 2:
            spec = self.spec.held
            return refit_many(spec, self.products, check_responses(spec, y), self._method, self.estimates.theta)
        return told(self._refitted(y))

    def _refitted(self, y: Any) -> EmpiricalBayesFit:
        spec, start = with_response(self.spec, y), self.estimates.theta
        if spec.structured:
            return empirical_bayes(spec, self._method, start=start)
        responses = read_responses(spec, self.products, spec.design.y[:, None])
        return empirical_bayes(spec, self._method, start=start, products=products_of(self.products, responses, 0))

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
            If the model has no fixed effects, or residuals are correlated.

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
        self.spec.residual.refuse_correlated(
            "Cook's distance by a leverage", "influence() deletes rows or levels, and fits again."
        )
        return inf.row_series(
            self.spec,
            lambda rows: inf.cooks_distances(
                inf.residual_rows(rows, self._fitted("all", rows), self.sigma, "pearson"),
                self._leverages(rows),
                rows.n_fixed,
            ),
            "cooks_distance",
        )

    @overload
    def r2(
        self, interval: None = None, level: float = ..., *, n: int = ..., seed: int | None = ...
    ) -> pd.Series[float]: ...
    @overload
    def r2(self, interval: str, level: float = ..., *, n: int = ..., seed: int | None = ...) -> pd.DataFrame: ...
    def r2(
        self, interval: str | None = None, level: float = 0.95, *, n: int = 1000, seed: int | None = None
    ) -> pd.Series[float] | pd.DataFrame:
        """R² ``marginal`` (fixed effects) and ``conditional`` (with random effects), defined at singular fits too.

        Shares of var(Xβ̂) + mean zᵀΣ̂z + mean σ̂²/w (Nakagawa & Schielzeth 2013, Methods Ecol. Evol. 4, 133-142;
        Johnson 2014, ibid. 5, 944-946, for random slopes); w is one without weights.

        Parameters
        ----------
        interval : "bootstrap" or "delta", optional
            Percentiles over refits of simulated responses; or normal on the scale of logits, by the covariance of the
            estimates.
        level : float
        n, seed : int
            Of the bootstrap.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``

        Raises
        ------
        DesignError
            For another interval.
        NotAvailableError
            Of intervals with residual structures, and of the delta method on the boundary.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.r2().round(4).to_dict()
        {'marginal': 0.2787, 'conditional': 0.7992}
        >>> fit.r2("delta").round(2).loc["conditional"].tolist()
        [0.8, 0.7, 0.87]
        """
        parts = self._variance_parts
        if interval is None:
            return inf.r2_series(parts)
        return inf.r2_intervals(parts.r2, *self._shares(lambda own: own.r2, interval, level, n, seed))

    def icc(
        self, interval: str | None = None, level: float = 0.95, *, n: int = 1000, seed: int | None = None
    ) -> pd.DataFrame:
        """Intraclass correlations: shares of variance by grouping factor, 0 where a variance is 0.

        Parameters
        ----------
        interval : "bootstrap" or "delta", optional
            As of :meth:`r2`.
        level : float
        n, seed : int
            Of the bootstrap.

        Returns
        -------
        DataFrame
            ``group, variance, adjusted, unadjusted``: the mean of zᵀΣ̂z over the rows, its share of the random and
            residual variance, and its share with the variance of the fixed effects counted; the last row, ``all``, is
            their sum. With an interval ``adjusted_lower, adjusted_upper`` and the like stand behind each. Levels of
            nested factors share rows: the correlation of two rows of one inner level is the sum of the rows of the
            factors that they share.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.icc().round(4)["adjusted"].tolist()
        [0.3905, 0.3905]
        >>> fit.icc("bootstrap", seed=1)[["adjusted_lower", "adjusted_upper"]].round(2).iloc[0].tolist()
        [0.0, 0.77]
        """
        frame = inf.icc_frame(self.spec, self._variance_parts)
        if interval is None:
            return frame
        return inf.icc_intervals(frame, *self._shares(lambda own: own.icc, interval, level, n, seed))

    def _shares(
        self, shares: inf.Shares, interval: str, level: float, n: int, seed: int | None
    ) -> tuple[Floats, Floats]:
        return inf.share_intervals(self, shares, lambda: self._information, interval, level, n, seed)

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
        names, whole = list(self.spec.rho_names), self._vcov_whole
        return inf.residual_frame(self.spec, None if whole is None else whole.loc[names, names].to_numpy())

    @cached_property
    def _vcov_whole(self) -> pd.DataFrame | None:
        """Covariance of all parameters of variances; there is none where one of them has no bound."""
        try:
            return self.vcov_theta() if self.spec.rho_names else None
        except np.linalg.LinAlgError:
            return None

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

    def _effects(self, interval: str, level: float, group: str | None, n: int, seed: int | None) -> pd.DataFrame:
        return inf.effect_intervals(
            self._at, self.estimates, lambda: self._information, interval, level, group, n, seed
        )

    def _again(self, case: Floats | ModelSpec | Responses) -> EmpiricalBayesFit:
        if isinstance(case, ModelSpec):
            return empirical_bayes(case, self._method)
        if isinstance(case, Responses):
            products = products_of(self.products, case, 0)
            return empirical_bayes(self.spec, self._method, start=self.estimates.theta, products=products)
        return self._refitted(case)

    @property
    def _quickly_profiled(self) -> bool:
        """Whether profiles take a moment only."""
        few = self.spec.n_obs <= FEW_ROWS and max(self.spec.n_theta, self.spec.n_fixed) <= FEW_PARAMETERS
        return self.ok and few and not self.spec.rho_names

    def _estimated(self) -> tuple[dict[str, float], pd.DataFrame]:
        bounds = self.confint(method="profile" if self._quickly_profiled else "wald")
        return inf.parameter_values(self.spec, self.estimates), bounds

    def _one_covariance(self, rng: np.random.Generator) -> tuple[Floats, ...]:
        return self._covariances

    def _predicted(
        self, rows: inf.Rows, chosen: Sequence[int], options: inf.PredictOptions, rng: np.random.Generator
    ) -> inf.Predicted:
        return inf.predict_estimates(
            self._at, self.estimates, lambda: self._information, inf.RowsAsked(rows, chosen, options), rng
        )

    def _whole_tidy(self) -> pd.DataFrame:
        return cmp.with_errors(self.tidy(ddf="satterthwaite"), self._variance_errors())

    @property
    def _own(self) -> Mapping[str, object]:
        return {"sigma": self.sigma}

    @property
    def _unrestricted(self) -> float:
        if self.engine == "ML":
            return self.criterion
        return Likelihood(self.spec, self.products, "ML").at(self.estimates.theta).criterion

    def _more_rows(self, level: float, vcov: str | None) -> Iterator[pd.DataFrame]:
        if self.spec.rho_names:
            yield inf.residual_tidy(self.spec, self.residual_parameters, self.sigma, self._vcov_whole)

    @property
    def _method(self) -> Method:
        return self.estimates.method

    @cached_property
    def _at(self) -> At:
        return self.likelihood.at(self.estimates.theta)

    @cached_property
    def _information(self) -> inf.VarianceInformation:
        return inf.variance_information(self._at, self.estimates.theta)

    @cached_property
    def _leverages_here(self) -> Leverages:
        return Leverages(self._at)

    def _leverages(self, rows: ModelSpec) -> Floats:
        return self._leverages_here.of(rows)

    @cached_property
    def _variance_parts(self) -> inf.VarianceParts:
        return inf.estimated_parts(self)

    def __repr__(self) -> str:
        what = f"{self.spec.design.formula!r} by {self.engine}"
        return f"<EmpiricalBayesFit {what}, criterion {self.criterion:.4f}{self._mark}>"


def empirical_bayes(
    spec: ModelSpec,
    method: Method,
    *,
    start: Floats | None = None,
    control: Control | None = None,
    products: CrossProducts | None = None,
) -> EmpiricalBayesFit:
    """Run engine A and wrap its record, without a warning (see :func:`told`)."""
    own = inf.fitted(spec, method, start=start, control=control, products=products)
    estimates = replace(own.estimates, asked=fit_arguments(start, control))
    return EmpiricalBayesFit(own.spec, estimates, own.products)
