"""Fits of generalised responses. Each method is one call to the function that does the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, overload

import numpy as np
import pandas as pd

from _ranef import equations, reml, tables, user
from _ranef import inference as inf
from _ranef.errors import DesignError, NotAvailableError
from _ranef.likelihood import LaplaceAt, response_rows
from _ranef.reml import Control
from _ranef.results import RemlEstimates, fit_arguments, marked
from _ranef.spec import Generalised, ModelSpec, with_response
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.user.estimated_base import Maximised
from _ranef.user.fit_base import RandomPart, told
from _ranef.user.generalised_base import Linked

__all__ = ["GeneralisedFit", "generalised_fit", "refuse_generalised"]

NONE_YET = "Not available yet for generalised responses."

#: what users may look for that Gaussian fits have, and what there is
INSTEAD: Mapping[str, str] = {
    "vcov_adjusted": "Kenward and Roger's adjustment is for Gaussian responses; vcov has the uncertainty of θ̂ in it.",
    "products": "Rows of generalised responses are weighted anew at every step: there are no cross-products for all.",
    "likelihood": NONE_YET,
    "residual_sd": "Generalised responses have no residual standard deviation; dispersion has their parameters.",
    "residual_parameters": "Generalised responses have no residual structure; dispersion has their parameters.",
}


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedFit(Maximised, Linked):
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
    _sandwich = "CR1"

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
        """``"Laplace"``, or ``"AGQ"`` for adaptive quadrature; ``"ML"`` without random effects.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit().engine
        'Laplace'
        """
        if not self.spec.terms:
            return "ML"
        return "Laplace" if self.estimates.nagq == 1 else "AGQ"

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
    def thresholds(self) -> pd.Series[float]:
        """Thresholds α between the classes of an ordinal response, P(y ≤ k) = F(α_k − η without its intercept).

        Raises
        ------
        NotAvailableError
            Of other responses.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("sleepstudy").assign(slow=lambda d: (d["Reaction"] // 60).astype(int).clip(3, 6))
        >>> ranef.Model("slow ~ Days + (1 | Subject)", data, family="ordinal").fit().thresholds.index.tolist()
        ['3|4', '4|5', '5|6']
        """
        return inf.threshold_series(self.estimates)

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
        return told(self._again(y))

    def summary(self, *, vcov: str | None = None, cluster: Any = None) -> tables.Document:
        """The printed fit, in glmer's order.

        Parameters
        ----------
        vcov, cluster : optional
            ``"CR0"`` or ``"CR1"`` for a cluster-robust covariance, as in :meth:`vcov_robust`.

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
            self.spec,
            self.estimates,
            self.fixef,
            self.varcorr,
            scaled,
            criteria,
            self._tests(None, vcov, cluster),
            dict(zip(self.thresholds.index, self.thresholds, strict=True)) if self.family.classes else dispersions,
        )

    def vcov_joint(self, group: str | None = None) -> pd.DataFrame:
        """Joint covariance of (β̂, b̂ − b), θ̂ and dispersions taken as known: the inverse Hessian of log f(y, b | β).

        It is that of Henderson's equations of the working response at the conditional mode. The coefficients' part is
        smaller than :attr:`vcov`, which counts that θ̂ is estimated.

        Parameters
        ----------
        group : str, optional
            Only the effects of this grouping factor besides the coefficients; all by default.

        Returns
        -------
        DataFrame
            Square, named by coefficient and as ``matrices.Z_names``.

        Raises
        ------
        DesignError
            If the model has no grouping factor `group`.
        FitError
            If the matrix would be too large to hold (5000 effects of a model of 5000).

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.vcov_joint().loc["Intercept", ["Intercept", "herd[1].Intercept"]].round(3).tolist()
        [0.052, -0.028]
        """
        return inf.joint_covariance(self._at.working, group)

    def hatvalues(self) -> pd.Series[float]:
        """Leverage of every row: its working weight times the variance of its linear predictor, θ̂ taken as known.

        These are the hat values of the working response at the conditional mode, whose sum is the effective number of
        parameters, between p and p + q. (lme4's ``hatvalues`` of a ``glmer`` fit weights rows by their trials instead.)

        Raises
        ------
        NotAvailableError
            If the log density of a row is not concave at the mode.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> round(float(fit.hatvalues().sum()), 2)
        13.29
        """
        weights = inf.working_rows(self.spec, self._eta("all"), inf.dispersions_of(self.estimates))["working weight"]
        return inf.row_series(self.spec, lambda _: weights * inf.predictor_variances(self.spec, self._at), "hatvalue")

    def cooks_distance(self) -> pd.Series[float]:
        """Cook's distance of every row from its Pearson residual and leverage, without refits.

        See Also
        --------
        influence : deletes rows or levels and fits again.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> round(float(fit.cooks_distance().max()), 3)
        2.661
        """
        pearson, hat = self.residuals("pearson").to_numpy(), self.hatvalues()
        return pd.Series(
            inf.cooks_distances(pearson, hat.to_numpy(), self.spec.n_fixed), index=hat.index, name="cooks_distance"
        )

    def caic(self) -> float:
        """AIC of new responses of the same levels: −2 log density given β̂ and b̂, and twice the effective parameters.

        These are the sum of :meth:`hatvalues` and the dispersions, with θ̂ taken as known (Donohue, Overholser, Xu &
        Vaida 2011, Biometrika 98, 685-700). :attr:`aic` is for new levels.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> round(fit.caic(), 2), round(fit.aic, 2)
        (184.0, 194.05)
        """
        at = self._at
        density = float(at.mode.at.value.sum()) + at.constant
        return -2.0 * density + 2.0 * (float(self.hatvalues().sum()) + len(at.logs))

    @overload
    def r2(
        self,
        interval: None = None,
        level: float = ...,
        *,
        approximation: str = ...,
        n: int = ...,
        seed: int | None = ...,
    ) -> pd.Series[float]: ...
    @overload
    def r2(
        self, interval: str, level: float = ..., *, approximation: str = ..., n: int = ..., seed: int | None = ...
    ) -> pd.DataFrame: ...
    def r2(
        self,
        interval: str | None = None,
        level: float = 0.95,
        *,
        approximation: str = "trigamma",
        n: int = 1000,
        seed: int | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """R² ``marginal`` and ``conditional`` on the scale of the link (Nakagawa, Johnson & Schielzeth 2017).

        Shares of var(Xβ̂) + mean zᵀΣ̂z + a residual variance (J. R. Soc. Interface 14, 20170213). Of a binomial response
        it is that of a logistic (π²/3), normal (1) or Gumbel (π²/6) variable, whose distribution function is the
        inverse link. Of responses with a log link it is that of their logarithm round the mean of all rows; with other
        links V(μ) g′(μ)² there.

        Parameters
        ----------
        interval : "bootstrap", optional
            Percentiles over refits of simulated responses.
        level : float
        approximation : "trigamma", "lognormal" or "delta"
            Of the variance of a logarithm, of what has mean μ and variance vμ²: ψ₁(1/v), log(1 + v) or v. The first is
            exact for gamma responses.
        n, seed : int
            Of the bootstrap.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``

        Raises
        ------
        NotAvailableError
            Where rows have no variance there (a cauchit link), and for other intervals.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit().r2().round(3).to_dict()
        {'marginal': 0.085, 'conditional': 0.187}
        """
        own = inf.link_parts(self.spec, self.estimates, approximation).r2
        if interval is None:
            return pd.Series(own, index=["marginal", "conditional"], name="r2")
        return inf.r2_intervals(own, *self._shares(lambda one: one.r2, interval, level, approximation, n, seed))

    def icc(
        self,
        interval: str | None = None,
        level: float = 0.95,
        *,
        approximation: str = "trigamma",
        n: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Intraclass correlations on the scale of the link, with variances as in :meth:`r2`.

        Returns
        -------
        DataFrame
            ``group, variance, adjusted, unadjusted``; with an interval its ends stand behind each.

        Raises
        ------
        NotAvailableError
            Where rows have no variance there (a cauchit link), and for other intervals than of the bootstrap.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.icc()["adjusted"].round(3).tolist()
        [0.111, 0.111]
        """
        frame = inf.icc_frame(self.spec, inf.link_parts(self.spec, self.estimates, approximation))
        if interval is None:
            return frame
        return inf.icc_intervals(frame, *self._shares(lambda one: one.icc, interval, level, approximation, n, seed))

    def _shares(
        self, shares: inf.Shares, interval: str, level: float, approximation: str, n: int, seed: int | None
    ) -> tuple[Floats, Floats]:
        return inf.refitted_shares(self, self._again, shares, interval, level, approximation, n, seed)

    def anova(self, type: int | str = 3, *, vcov: str | None = None, cluster: Any = None) -> tables.ResultFrame:
        """Test every term of the fixed effects by Wald's χ², by types I, II or III, as car's ``Anova``.

        Types are those of :meth:`ranef.EmpiricalBayesFit.anova`: III weighs the levels of factors alike, whatever the
        contrasts. :meth:`drop1` has likelihood ratios.

        Parameters
        ----------
        type : 1, 2, 3, or "I", "II", "III"
        vcov, cluster : optional
            ``"CR0"`` or ``"CR1"`` for a cluster-robust covariance, as in :meth:`vcov_robust`.

        Returns
        -------
        ResultFrame
            ``term, ndf, ddf, statistic, p``; `ddf` is infinite.

        Raises
        ------
        DesignError
            If there is no such type, or no term besides the intercept.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.anova()[["term", "ndf"]].to_numpy().tolist()
        [['period', 3]]
        """
        law = self._law(None, vcov, cluster)
        frame = inf.term_tests(self.spec, law, self.estimates.beta, 1.0, type)
        return marked(tables.term_table(frame.drop(columns=["sum_sq", "mean_sq"]), type, law.words), [self])

    def _residuals(self, kind: str, re: RandomPart) -> Floats:
        own = inf.dispersions_of(self.estimates)
        return inf.generalised_residuals(self.family, own, response_rows(self.spec), self._eta(re), kind)

    @property
    def _own(self) -> Mapping[str, object]:
        return {"family": self.estimates.family, "link": self.estimates.link}

    def _means(self, asked: inf.RowsAsked, scale: str, rng: np.random.Generator) -> inf.Predicted:
        return inf.predict_generalised(
            lambda: self._at, lambda: self._joint, self.estimates, self._covariances, asked, scale, rng
        )

    def _effects(self, interval: str, level: float, group: str | None, n: int, seed: int | None) -> pd.DataFrame:
        return inf.generalised_effect_intervals(self.spec, self.estimates, interval, level, group, n, seed)

    def _again(self, case: Any) -> GeneralisedFit:
        spec = case if isinstance(case, ModelSpec) else with_response(self.spec, case)
        self.family.check(spec.design.y, spec.design.weights, "given to refit()", lambda row: f"row {row}")
        start = None if self.is_singular else self.estimates.theta
        return generalised_fit(spec, start=start, control=None, nagq=self.estimates.nagq)

    def _more_rows(self, level: float, vcov: str | None) -> Iterator[pd.DataFrame]:
        own = inf.response_parameters(lambda: self._joint, self.estimates, level)
        if len(own):
            own = own if vcov is None else own[["estimate"]]
            yield own.rename_axis("term").reset_index().assign(effect="random", group="Residual")

    def _more_intervals(self, level: float) -> Iterator[pd.DataFrame]:
        components = self._of_components(level) if self.spec.terms else None
        own = inf.response_parameters(lambda: self._joint, self.estimates, level)
        for frame in (components, own):
            if frame is not None and len(frame):
                yield frame[["lower", "upper"]]

    def _of_components(self, level: float) -> pd.DataFrame | None:
        try:
            return inf.varcorr_intervals(self.varcorr_se(), level)
        except np.linalg.LinAlgError:  # a fit so far out that there are no numbers beside it
            return None

    def _whole_tidy(self) -> pd.DataFrame:
        return self.tidy()

    def _told_of(self, tests: inf.CoefficientTests) -> dict[str, Floats]:
        return {"p_value": tests.p}

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

    def _eta(self, re: RandomPart) -> Floats:
        return inf.fitted_values(self.spec, self.estimates.beta, self._modes, re)

    @property
    def _more_numbers(self) -> dict[equations.Key, float]:
        return {("dispersion", name): value for name, value in inf.dispersions_of(self.estimates).items()}

    @cached_property
    def _at(self) -> LaplaceAt:
        return inf.laplace_at(self.spec, self.estimates)

    @cached_property
    def _information(self) -> inf.VarianceInformation:
        return self._joint.of_variances

    @cached_property
    def _joint(self) -> inf.JointInformation:
        return inf.joint_information(self.spec, self.estimates)

    def __post_init__(self) -> None:
        """A file has the family with the estimates."""
        if not isinstance(self.spec.family, Generalised):
            object.__setattr__(self, "spec", self.spec.with_family(self.family))

    def __repr__(self) -> str:
        what = f"{self.estimates.family} ({self.estimates.link}) by {self.engine}"
        return f"<GeneralisedFit {self.spec.design.formula!r}: {what}, criterion {self.criterion:.4f}{self._mark}>"


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
