"""The front door: one formula and one data frame make one model, fitted two ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from _ranef import equations, nuts, saved, tables, user
from _ranef import inference as inf
from _ranef.design import (
    as_chunks,
    build_design,
    check_sigma,
    check_whole,
    constant_response,
    registered,
    scan_chunks,
    warn_of_dropped,
)
from _ranef.errors import DesignError, FitError, NotAvailableError
from _ranef.formula import parse_formula
from _ranef.likelihood import CrossProducts, Likelihood, Method, cross_products, of_sums, streamed_products
from _ranef.reml import Control, checked_control, fit_reml
from _ranef.residuals import CorrelationFunction, VarianceFunction
from _ranef.results import RemlEstimates, fit_call, sample_arguments
from _ranef.spec import (
    Generalised,
    ModelSpec,
    Moments,
    Priors,
    Reader,
    check_cov,
    default_priors,
    flat_priors,
    model_spec,
    moments,
    response_family,
    with_known,
)
from _ranef.support.argument_remedies import generator, helpful, one_of, whole_number
from _ranef.user.fit_base import Shown, told
from _ranef.user.generalised_fit import GeneralisedFit, generalised_fit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit, empirical_bayes
from _ranef.user.row_sums import RowSums

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Model"]

METHODS = ("REML", "ML")


@helpful
class Model(Shown):
    """A linear mixed model: a formula in lme4's grammar and the data it speaks of.

    Parameters
    ----------
    formula : str
        As for lme4's ``lmer``, for example ``"Reaction ~ Days + (Days | Subject)"``.
    data : pandas, polars or pyarrow frame, mapping of columns, list of rows (mappings), or chunks
        It is not changed. Chunks are a pyarrow dataset or ``ParquetFile``, a list of frames, or a function that returns
        an iterator of frames: they are read twice, and no more than a few are in memory at a time.
    weights : str or array, optional
        Prior weights: the residual variance of row i is σ²/wᵢ. Of a binomial response trials; of other generalised
        ones they multiply the log density of rows.
    offset : str or array, optional
        A known part of the linear predictor.
    sigma : float, optional
        A known residual standard deviation (meta-analysis: ``weights=1/se**2, sigma=1``).
    family : str or one of ``ranef.families``
        Of the response: ``"gaussian"``, or a generalised one, ``"binomial"``, ``"poisson"``, ``"gamma"``,
        ``"ordinal"`` or another of ``ranef.families``, whose mean is an inverse link of the linear predictor. A
        binomial response is 0 or 1, two levels, a proportion with its trials as ``weights=``, or
        ``cbind(successes, failures)``.
    link : str, optional
        Another link than the usual one, as ``"probit"`` of a binomial response.
    cov : mapping str to matrix, optional
        Known covariances among the levels of grouping factors, K of Var b = K ⊗ Σ: a DataFrame labelled by levels,
        ``(K, levels)``, or :class:`ranef.Precision`. Levels of K without rows are predicted.
    variance : ranef.VarIdent, VarPower, VarExp, VarConstPower or VarFixed, optional
        How residual standard deviations differ from row to row, in nlme's words; products by ``*``.
    correlation : ranef.AR1, CAR1, CompSymm, ARMA, Symm, Exponential, Gaussian or Spherical, optional
        How residuals of one group are correlated. Without random effects the model is nlme's ``gls``.
    transforms : mapping str to function, optional
        Functions of arrays that the formula may call besides the registered ones.
    na_action : "omit" or "error"
        What to do with rows that have missing values.

    Raises
    ------
    FormulaError
        If the formula cannot be read, or names something that is not there; the place is underlined.
    DesignError
        If no model can be built from the data.

    Warns
    -----
    DataWarning
        For columns of X that others determine, which are left out; and for text that is read as a factor though most
        of it are numbers or dates.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> model.fit().fixef.round(4).to_dict()
    {'Intercept': 251.4051, 'Days': 10.4673}
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        *,
        weights: Any = None,
        offset: Any = None,
        sigma: float | None = None,
        family: str | Generalised = "gaussian",
        link: str | None = None,
        cov: Mapping[str, Any] | None = None,
        variance: Any = None,
        correlation: Any = None,
        transforms: Mapping[str, Callable[..., Any]] | None = None,
        na_action: Literal["omit", "error"] = "omit",
    ) -> None:
        check_sigma(sigma)
        own = response_family(family, link)
        generalised = own if isinstance(own, Generalised) else None
        reader = None if generalised is None else Reader(generalised)
        if generalised is not None:
            _refuse_gaussian_parts(generalised, data, sigma=sigma, variance=variance, correlation=correlation)
            sigma = 1.0
        known = check_cov(cov)
        reads = [form for part in _structures(variance, correlation) for form in part.reads]
        parsed = parse_formula(formula, functions=registered(transforms), others=reads)
        chunks, products = as_chunks(data), None
        if chunks is None:
            design = build_design(
                parsed,
                data,
                weights=weights,
                offset=offset,
                sigma=sigma,
                transforms=transforms,
                na_action=na_action,
                related=known.keys(),
                reader=reader,
            )
            own = own if reader is None else reader.family
            spec = with_known(model_spec(design, sigma, variance, correlation), known).with_family(own)
            if generalised is not None:
                _refuse_one_level(spec)
                _refuse_no_intercept(spec)
        else:
            _refuse_in_chunks(variance, correlation)
            design = scan_chunks(
                parsed, chunks, weights=weights, offset=offset, sigma=sigma, transforms=transforms, na_action=na_action
            )
            spec, products = streamed_products(with_known(model_spec(design, sigma, variance, correlation), known))
        self._hold(spec, products)
        warn_of_dropped(spec.design.dropped)

    def _hold(self, spec: ModelSpec, products: CrossProducts | None = None, moments: Moments | None = None) -> None:
        """What a model is made of, with what is known already of its rows: the rest is computed when asked for."""
        self._spec, self._products, self._known_moments = spec, products, moments

    @classmethod
    def of(
        cls, fit: EmpiricalBayesFit | GeneralisedFit | PosteriorFit | GeneralisedPosterior | saved.Prepared
    ) -> Model:
        """The model that a fit is of, from what the fit holds: to sample, or fit, again without the data frame.

        Parameters
        ----------
        fit : EmpiricalBayesFit or PosteriorFit
            As made here or loaded from a file.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> ranef.Model.of(fit).fit("ML").status
        'converged'
        """
        if isinstance(fit, GeneralisedFit | GeneralisedPosterior):
            model = cls.__new__(cls)
            model._hold(fit.spec)
            return model
        if not isinstance(fit, EmpiricalBayesFit | PosteriorFit | saved.Prepared):
            raise DesignError(
                f"Model.of() takes a fit, from Model.fit(), Model.sample() or ranef.load(); got {type(fit).__name__}. "
                "A comparison has its fits as .eb, .fb and .fits."
            )
        model = cls.__new__(cls)
        products = None if isinstance(fit, PosteriorFit) or fit.spec.structured else fit.products
        spec = fit.spec.with_family("gaussian").with_rho(None)
        model._hold(spec, products, fit.moments if isinstance(fit, saved.Prepared) else None)
        return model

    @classmethod
    def from_sums(cls, *parts: RowSums) -> Model:
        """The model of all rows that sums were made of, wherever those are.

        It has no rows: what needs them, as residuals, says so.

        Parameters
        ----------
        *parts : RowSums
            From :func:`ranef.sums`.

        Raises
        ------
        DesignError
            If they are not sums of one model.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("pulp")
        >>> sites = [ranef.sums("bright ~ 1 + (1 | operator)", rows) for _, rows in data.groupby("operator")]
        >>> ranef.Model.from_sums(*sites).fit().varcorr["sdcor"].round(4).tolist()
        [0.2609, 0.326]
        """
        if not parts or not isinstance(parts[0], RowSums):
            raise DesignError("Model.from_sums() takes what ranef.sums() made, one or more.")
        total = parts[0].merge(*parts[1:]) if len(parts) > 1 else parts[0]
        check_whole(total.spec.design, total.spec.sigma)
        if total.spec.sigma is None and total.moments.y_sd == 0:
            raise constant_response(total.moments.y_mean, total.n_obs, total.spec.design.response)
        model = cls.__new__(cls)
        model._hold(*of_sums(total.spec, total.sums, total.moments))
        warn_of_dropped(model.spec.design.dropped)
        return model

    @property
    def spec(self) -> ModelSpec:
        """Everything both engines read.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> model.spec.n_obs, model.spec.n_fixed, model.spec.theta_names
        (180, 2, ('Subject.Intercept', 'Subject.Days.Intercept', 'Subject.Days'))
        """
        return self._spec

    @property
    def formula(self) -> str:
        """The formula as given.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> model.formula
        'bright ~ 1 + (1 | operator)'
        """
        return self._spec.design.formula

    @property
    def products(self) -> CrossProducts:
        """Cross-products of the rows, read once.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> model.products is model.fit().products
        True
        """
        self._refuse_generalised("products", "its rows are weighted anew at every step.")
        if self._products is None:
            self._products = cross_products(self._spec)
        return self._products

    @property
    def _moments(self) -> Moments:
        if self._known_moments is None:
            self._known_moments = moments(self._spec)
        return self._known_moments

    @property
    def matrices(self) -> user.Matrices:
        """Named y, X, Z and, per term, J, Xᵢ, Zᵢ; ``.cluster(level)`` has one level's, ``.show("Z")`` a view.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> one = model.matrices.cluster("308")
        >>> one.X.shape, one.Z.columns.tolist()
        ((10, 2), ['Intercept', 'Days'])
        """
        return user.Matrices(self._spec)

    def fit(
        self,
        method: Literal["REML", "ML"] | None = None,
        *,
        start: Any = None,
        control: Control | None = None,
        nagq: int = 1,
    ) -> EmpiricalBayesFit:
        """Fit by REML or ML, with conditional modes (BLUPs) of the random effects.

        Parameters
        ----------
        method : "REML" or "ML", optional
            REML by default; of a generalised response ML, which has no REML.
        start : array (n_theta,), optional
            θ to start from, in lme4's order.
        control : ranef.Control, optional
            Settings of the optimiser.
        nagq : int
            Of a generalised response, points of adaptive Gauss-Hermite quadrature along each effect, of one factor with
            up to three effects of a level: 1 is Laplace's approximation.

        Returns
        -------
        EmpiricalBayesFit
            :class:`ranef.GeneralisedFit` where ``family=`` is not Gaussian, which type checkers are not told.

        Warns
        -----
        SingularFitWarning
            If a variance is zero or a correlation ±1: a result, and often one of too few data. As lme4's message it can
            be switched off: ``warnings.filterwarnings("ignore", category=ranef.SingularFitWarning)``.
        ConvergenceWarning
            If the fit did not converge, or the data do not determine its variance parameters.

        Raises
        ------
        FitError
            If the residual variance is zero, or an argument is not possible.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> model.fit().status, model.fit("ML").engine
        ('converged', 'ML')
        """
        settings = checked_control(control)
        nagq = whole_number("nagq", nagq, 1, FitError)
        if self._generalised:
            _refuse_restricted(method)
            fit: Any = told(generalised_fit(self._spec, start=start, control=settings, nagq=nagq))
            return fit  # type: ignore[no-any-return]
        if nagq != 1:
            raise FitError(f"nagq={nagq} is for generalised responses, family=; a Gaussian likelihood needs none.")
        products = None if self._spec.structured else self.products  # which are those of a fit's own ρ
        own = _checked_method(method or "REML")
        return told(empirical_bayes(self._spec, own, start=start, control=settings, products=products))

    def sample(
        self,
        draws: int = 1000,
        warmup: int | None = None,
        chains: int = 4,
        seed: int | None = None,
        *,
        priors: Priors | Mapping[str, object] | Literal["flat"] | None = None,
        family: Literal["gaussian", "student"] = "gaussian",
        parameterization: Literal["auto", "marginal", "noncentered", "centered"] = "auto",
        init: Literal["reml"] | EmpiricalBayesFit | GeneralisedFit = "reml",
        target_accept: float = 0.8,
        sampler: Literal["numpyro", "nutpie", "direct", "auto"] = "numpyro",
        chain_method: Literal["vectorized", "parallel", "sequential"] = "vectorized",
        device: Any = None,
        progress: bool = True,
        checkpoint: str | PathLike[str] | None = None,
    ) -> Any:
        """Sample the posterior by NUTS, or draw from it directly.

        Parameters
        ----------
        draws, chains : int
            Kept draws of each chain, and the number of chains.
        warmup : int, optional
            Warm-up steps of each chain; by default 200 where chains start around the posterior mode in the metric found
            there (the marginal parameterization, and nutpie), and 1000 for the others.
        seed : int, optional
            The same seed gives the same draws; without one a seed is chosen and recorded.
        priors : mapping, "flat" or Priors, optional
            Replacements of the data-scaled defaults by name, families of ``ranef.priors`` or distributions of numpyro
            (see :meth:`priors`); ``"flat"`` is the choice under which the marginal mode of θ is the REML estimate.
            Dispersions, thresholds and degrees of freedom of a response keep their default priors under it.
        family : "gaussian" or "student"
            Of the response; Student t with unknown degrees of freedom ``nu`` makes outliers count less.
        parameterization : "auto", "marginal", "noncentered" or "centered"
            ``"marginal"`` (the default where random effects and residuals are normal) integrates β and b out and draws
            them exactly afterwards; coefficients whose priors are not normal or flat are sampled. With ``family=`` it
            integrates b by Laplace's approximation, the quickest for many levels, and takes draws by weights of the
            exact density; ``fit.glance()`` has their Pareto k̂. The default is non-centred by NumPyro and partially
            centred by nutpie.
        init : "reml" or EmpiricalBayesFit
            Where the posterior mode is sought from.
        target_accept : float
            Target acceptance probability.
        sampler : "numpyro", "nutpie", "direct" or "auto"
            NUTS by NumPyro, or by nutpie (an optional extra, ``ranef[nutpie]``), which starts at once and is the faster
            one on a CPU. ``"direct"`` has no chain: the variance parameters are drawn independently by weights of
            importance, and β and b exactly given them, in a fraction of a second; it refuses where no proposal fits
            (Pareto k̂ above 0.7), or parts are not normal. With ``family=`` β and b are integrated by Laplace's
            approximation, and drawn with weights by the exact density. ``"auto"`` takes it where it can be had, and
            else NumPyro.
        chain_method : "vectorized", "parallel" or "sequential"
            How NumPyro advances chains: together in one computation, each in a thread, or one after the other.
        device : str or jax.Device, optional
            Where NumPyro computes, as ``"gpu"``; JAX's default otherwise.
        progress : bool
            Whether to show progress, on a terminal or in a notebook; elsewhere one line, if it takes half a second.
        checkpoint : str or path, optional
            A file in which NumPyro's chains are kept while they are sampled. The same call goes on from it where it was
            stopped, by a crash too, and gives the draws that it would have given; one of another model, other data or
            settings is refused.

        Warns
        -----
        ConvergenceWarning
            If the posterior should not be trusted, with the sentences of ``fit.warnings``.

        Raises
        ------
        DesignError
            If a prior is not possible.
        FitError
            If settings and model do not go together, or JAX cannot be used: no device, or a forked process.

        Notes
        -----
        Direct draws stand in chains by name only, as ArviZ wants them: R-hat is not told of them. Vehtari, Simpson,
        Gelman, Yao and Gabry (2024, J. Mach. Learn. Res. 25, 72) are the source of k̂.

        Ctrl-C while chains are sampled keeps the draws until then: a warning says how many, and ``draws.complete`` is
        False. Before the first draws are there it raises ``KeyboardInterrupt``, once a compiler is done that was at
        work. A handler of SIGINT of your own is called instead.

        JAX cannot be used in a process forked off one that has loaded it: with ``multiprocessing`` choose the start
        method ``"spawn"`` or ``"forkserver"``; joblib's loky is well. ``sampler="nutpie"`` may be forked.

        What is compiled is kept in a folder for later processes (``RANEF_CACHE_DIR``, or ``off``).

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> fb.draws.b[0].shape  # chains, draws, levels, effects
        (4, 200, 4, 1)
        """
        settings = nuts.Settings(
            draws=draws,
            warmup=warmup,
            chains=chains,
            seed=seed,
            parameterization=parameterization,
            target_accept=target_accept,
            progress=progress,
            sampler=sampler,
            chain_method=chain_method,
            device=device,
            checkpoint=checkpoint,
        )
        if not self._spec.terms and not self._spec.structured:
            raise FitError(
                f"{self.formula!r} has no random effects, and models without them are not sampled; add a (… | group), "
                "or use bambi or brms."
            )
        if self._generalised:
            return told(self._generalised_posterior(settings, family, priors, init))
        spec = self._spec.with_family(family)
        if spec.family.by_rows:
            spec = spec.held
        start = self._estimates(init)
        spec = self._with_fitted(spec)
        record = nuts.sample_posterior(
            spec,
            priors=self.priors(priors),
            settings=settings,
            start=start,
            products=self.products,
        )
        asked = sample_arguments(
            record, draws=draws, chains=chains, chain_method=chain_method, device=device, init=self._start_call(init)
        )
        return told(PosteriorFit(spec, replace(record, asked=asked)))

    def _start_call(self, init: Any) -> str:
        """How ``init=`` is written where these draws are made again; empty where it was not given."""
        if isinstance(init, str):
            return ""
        own = isinstance(init, EmpiricalBayesFit | GeneralisedFit) and init.spec is self._spec
        return f"model.{fit_call(init.estimates)}" if own else "init"

    def _generalised_posterior(
        self, settings: nuts.Settings, family: str, priors: Any, init: Any
    ) -> GeneralisedPosterior:
        """Sampled from around the mode of Laplace's approximation, where there is one."""
        if family != "gaussian":
            raise FitError(f"family={family!r}: the response is {self._spec.family.label}; leave it out.")
        if not (isinstance(init, GeneralisedFit) or init == "reml"):
            raise FitError(f"init={init!r:.60} must be a fit of this model by Model.fit(), or be left out.")
        own = self.priors(priors)
        nuts.require_sampler(self._spec, own, settings)
        try:
            start = (
                init.estimates
                if isinstance(init, GeneralisedFit)
                else generalised_fit(self._spec, start=None, control=None, nagq=1).estimates
            )
        except FitError:  # of separated rows, which priors hold
            start = None
        record = nuts.sample_posterior(self._spec, priors=own, settings=settings, start=start)
        asked = sample_arguments(
            record,
            draws=settings.draws,
            chains=settings.chains,
            chain_method=settings.chain_method,
            device=settings.device,
            init=self._start_call(init),
        )
        return GeneralisedPosterior(self._spec, replace(record, asked=asked))

    def prior_predictive(
        self,
        draws: int = 500,
        seed: int | None = None,
        *,
        priors: Priors | Mapping[str, object] | None = None,
        family: Literal["gaussian", "student"] = "gaussian",
    ) -> xr.DataTree:
        """Parameters drawn from their priors, and responses simulated from them: what the priors say before the data.

        Parameters
        ----------
        draws : int
        seed : int, optional
        priors, family
            As for :meth:`sample`; a model of a generalised response has its family already.

        Returns
        -------
        DataTree
            Groups ``prior``, ``prior_predictive``, ``observed_data`` and ``constant_data``.

        Raises
        ------
        FitError
            If a prior is flat: there is nothing to draw from.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> tree = model.prior_predictive(draws=100, seed=1)
        >>> dict(tree["prior_predictive"]["bright"].sizes)
        {'chain': 1, 'draw': 100, 'obs': 20}
        """
        settings, rng = nuts.Settings(draws=draws, seed=seed), generator(seed)
        spec = self._spec.held if self._generalised else self._with_fitted(self._spec.held.with_family(family))
        drawn = nuts.sample_prior(spec, self.priors(priors), draws=settings.draws, seed=seed)
        return nuts.prior_tree(spec, drawn, inf.predictive_draws(spec, drawn, None, "fitted", rng)[0])

    def priors(self, changes: Priors | Mapping[str, object] | Literal["flat"] | None = None) -> Priors:
        """The priors that :meth:`sample` would use, with their numbers.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> model.priors().lines()[:2]
        ['Intercept ~ Normal(60.4, 0.9747)', 'sd(Intercept | operator) ~ HalfStudentT(3, 0.3899)']
        >>> model.priors({"sigma": ranef.priors.HalfNormal(1)}).lines()[-1]
        'sigma ~ HalfNormal(1)'
        """
        if isinstance(changes, Priors):
            return changes
        if isinstance(changes, str) and changes == "flat":
            return flat_priors(self._spec)
        if isinstance(changes, str):
            one_of("priors", changes, ("flat",), but="a mapping from names to priors")
        names = changes if isinstance(changes, Mapping) else ()
        if not (changes is None or isinstance(changes, Mapping)) or not all(isinstance(name, str) for name in names):
            raise DesignError(
                f"priors={changes!r} must be 'flat', or a mapping from names to priors, as "
                "{'sd': ranef.priors.HalfNormal(1)}; describe() shows the names."
            )
        return default_priors(self._spec, changes, self._moments)

    def likelihood(self, method: Method = "REML") -> Likelihood:
        """The REML criterion, or −2 log-likelihood (``"ML"``), as a function of θ, as lme4's deviance function.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> at = model.likelihood().at([0.8])
        >>> round(at.criterion, 4), at.beta.round(4).tolist(), at.effects[0].round(4).ravel().tolist()
        (18.6262, [60.4], [-0.1219, -0.259, 0.1676, 0.2133])
        """
        self._refuse_generalised("likelihood()", "fit().criterion has it at the estimates.")
        return Likelihood(self._spec, self.products, _checked_method(method))

    def describe(self) -> tables.Document:
        """What the model is made of: rows, coefficients, random effects, θ, default priors, notes.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> print(model.describe())
        Linear mixed model: bright ~ 1 + (1 | operator)
        20 rows
        <BLANKLINE>
        Fixed effects (1 coefficients):
          Intercept
        <BLANKLINE>
        Random effects:
          operator (4 levels): Intercept [us]
        <BLANKLINE>
        Variance parameters θ (relative to σ), in lme4's order:
          operator.Intercept
        <BLANKLINE>
        Default priors of sample():
          Intercept ~ Normal(60.4, 0.9747)
          sd(Intercept | operator) ~ HalfStudentT(3, 0.3899)
          sigma ~ HalfStudentT(3, 0.3899)
        """
        return _describe(self._spec, self.priors())

    @property
    def parameters(self) -> pd.DataFrame:
        """Every parameter: ``symbol, parameter, kind, meaning, place, prior``, as fits have them with estimates.

        ``kind`` is ``"fixed"``, ``"sd"``, ``"cor"`` or ``"residual"``: all but the first are variance components, and
        ``place`` says where each stands in D or R.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> model.parameters["symbol"].tolist()
        ['β₀', 'β₁', 'σ₀', 'σ₁', 'ρ₀₁', 'σ']
        """
        return equations.parameter_table(self._spec, self.priors())

    def equation(
        self,
        style: str = "scalar",
        *,
        level: str | None = None,
        group: str | None = None,
        entries: Literal["numbers", "symbols"] = "numbers",
        priors: Priors | Mapping[str, object] | Literal["flat"] | None = None,
    ) -> equations.Equation:
        """The model as an equation: LaTeX, MathML, Typst and text, with a legend.

        Parameters
        ----------
        style : str
            ``"scalar"`` (one row), ``"hierarchical"`` (level by level, with γ and U), ``"combined"`` (the levels put
            into each other), ``"cluster"`` (the matrices of one level written out), ``"matrix"`` (all rows, with the
            blocks of D and R), ``"distribution"`` or ``"priors"`` (the Bayesian model).
        level, group : str, optional
            Of ``"cluster"``: which level, of which factor; the first by default.
        entries : "numbers" or "symbols"
            Of ``"cluster"``: whether X and Z show data, or what each entry is.
        priors : mapping or "flat", optional
            Of ``"priors"``, as for :meth:`sample`.

        Raises
        ------
        DesignError
            If there is no such style or level.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> print(model.equation("hierarchical").text.splitlines()[-3].strip())
        β₁[j] = γ₁₀ + U₁[j]
        """
        asked = equations.Asked(equations.Chosen(level, group, entries), lambda: self.priors(priors))
        return equations.model_equation(self._spec, style=style, asked=asked)

    @property
    def _generalised(self) -> bool:
        return isinstance(self._spec.family, Generalised)

    def _refuse_generalised(self, what: str, instead: str) -> None:
        if self._generalised:
            raise NotAvailableError(
                f"{what} is not available yet for a model of a {self._spec.family.label} response: {instead}"
            )

    def _estimates(self, init: object) -> RemlEstimates:
        """What engine A found or finds, without the warnings of :meth:`fit`: as a start it will do."""
        if isinstance(init, EmpiricalBayesFit):
            own, other = self._spec, init.spec
            if (own.theta_names, own.design.fixed_names) != (other.theta_names, other.design.fixed_names):
                raise FitError(
                    f"init= is a fit of {other.design.formula!r}, whose parameters are not those of {self.formula!r}. "
                    "Give a fit of this model, or 'reml'."
                )
            return init.estimates
        if init != "reml":
            one_of("init", init, ("reml",), FitError, but="a fit from Model.fit()")
        if self._spec.structured:
            return empirical_bayes(self._spec, "REML").estimates
        return fit_reml(self._spec, "REML", products=self.products)

    def _with_fitted(self, spec: ModelSpec) -> ModelSpec:
        """A residual variance of the fitted values reads, in every draw, those by REML."""
        if spec.variance is None or not spec.variance.of_fitted:
            return spec
        return spec.with_fitted(np.asarray(empirical_bayes(self._spec, "REML").fitted(), dtype=float))

    def _document(self) -> tables.Document:
        return self.describe()

    def _stored(self) -> saved.Prepared:
        self._refuse_generalised("save()", "fit().save(path) writes the fit, and Model.of(fit) is its model.")
        return saved.Prepared(self._spec, self.products, self._moments)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        groups = ", ".join(f"{g.name} ({g.n_levels})" for g in self._spec.groupings) or "none"
        return f"<Model {self.formula!r}: {self._spec.n_obs} rows, groups: {groups}>"


def _checked_method(method: Method) -> Method:
    one_of("method", method, METHODS, FitError)
    return method


def _refuse_restricted(method: Method | None) -> None:
    """Refuse REML, of generalised responses."""
    if method is not None and _checked_method(method) == "REML":
        raise FitError(
            "method='REML' is for Gaussian responses: a generalised one is fitted by maximum likelihood, as by lme4's "
            "glmer. Leave method out, or say 'ML'."
        )


def _refuse_gaussian_parts(family: Generalised, data: Any, **given: Any) -> None:
    """Refuse what is of Gaussian responses alone, and rows in chunks."""
    for name in (name for name, value in given.items() if value is not None):
        raise NotAvailableError(
            f"{name}= is not available with family={family.word!r}: it is of Gaussian responses. Leave it out, or "
            "leave family= out."
        )
    if as_chunks(data) is not None:
        raise NotAvailableError(
            f"A {family.label} response in chunks or an engine is not available: its rows are weighted anew at every "
            "step, and must be held. Build the model from one frame."
        )


def _refuse_one_level(spec: ModelSpec) -> None:
    for g in spec.groupings:
        if g.n_levels < 2:
            raise DesignError(
                f"The grouping factor {g.name} has one level, {g.levels[0]!r}: a variance between levels needs at "
                "least two. Leave the term out, or use rows with more levels."
            )


def _refuse_no_intercept(spec: ModelSpec) -> None:
    if isinstance(spec.family, Generalised) and spec.family.classes and not spec.design.has_intercept:
        raise DesignError(
            "An ordinal response has thresholds, the first of which stands in the intercept: leave the intercept in "
            "the formula, without 0 + or - 1."
        )


def _structures(variance: Any, correlation: Any) -> list[VarianceFunction | CorrelationFunction]:
    """What is given of residual variances and correlations, refused where it is none."""
    allowed: list[tuple[str, Any, type[Any], str]] = [
        ("variance", variance, VarianceFunction, "VarIdent, VarPower, VarExp, VarConstPower, VarFixed"),
        (
            "correlation",
            correlation,
            CorrelationFunction,
            "AR1, CAR1, CompSymm, ARMA, Symm, Exponential, Gaussian, Spherical",
        ),
    ]
    for name, given, kind, words in allowed:
        if given is not None and not isinstance(given, kind):
            call = f" Call it with what it reads: {given.__name__}(...)." if isinstance(given, type) else ""
            if name == "variance" and isinstance(given, str):
                call = f" Strata are VarIdent({given!r}), a covariate VarPower({given!r})."
            raise DesignError(f"{name}={given!r} must be one of ranef's {words}.{call}")
    return [given for _, given, _, _ in allowed if given is not None]


def _refuse_in_chunks(variance: VarianceFunction | None, correlation: CorrelationFunction | None) -> None:
    """Refuse what does not add up over chunks: all but strata, or groups of rows that are all alike."""
    given = [part for part in (variance, correlation) if part is not None]
    refused = [part for part in given if not part.in_strata] or given * (len(given) > 1)
    if refused:
        words = " and ".join(map(repr, refused)) + (" together" if len(refused) > 1 else "")
        apart = all(part.in_strata for part in refused)
        why = " Together they need sums by pairs of strata and sizes of groups, which are not read." if apart else ""
        raise NotAvailableError(
            f"{words} in a model from chunks is not available: VarIdent() is, or CompSymm(group=).{why} "
            "Build the model from one frame."
        )


def _describe(spec: ModelSpec, priors: Priors) -> tables.Document:
    d = spec.design
    rows = f"{spec.n_obs} rows" + (f" ({d.n_dropped} left out: missing values)" if d.n_dropped else "")
    fixed = [f"  {', '.join(d.fixed_names) or 'none'}"]
    if d.dropped:
        fixed.append(f"  left out as aliased: {', '.join(d.dropped)}")
    random = [
        f"  {t.group} ({spec.groupings[t.grouping].n_levels} levels): {', '.join(t.columns)} [{t.structure.word}]"
        + (", known covariance among levels" if spec.groupings[t.grouping].among is not None else "")
        for t in spec.terms
    ]
    own = spec.family
    kind = [f"Family: {own.word} ({own.link})"] if isinstance(own, Generalised) else []
    relative = "on the scale of the link" if kind else "relative to σ"
    blocks = [
        tables.Text((f"{tables.model_title(spec)}: {d.formula}", *kind, rows)),
        tables.Text(tuple(fixed), f"Fixed effects ({spec.n_fixed} coefficients):"),
        tables.Text(tuple(random) or ("  none",), "Random effects:"),
        tables.Text(
            (f"  {', '.join(spec.theta_names) or 'none'}",), f"Variance parameters θ ({relative}), in lme4's order:"
        ),
    ]
    if spec.structured:
        names = ", ".join(spec.rho_names)
        words = [f"  {line}" for line in spec.residual.meaning_lines]
        blocks.append(tables.Text((*words, *([f"  parameters: {names}"] if names else [])), "Residuals:"))
    lines = (*priors.lines(own), *spec.residual_prior_words(priors.rho))
    blocks.append(tables.Text(tuple(f"  {line}" for line in lines), "Default priors of sample():"))
    notes = (*d.notes, *priors.notes)
    if notes:
        blocks.append(tables.Text(tuple(f"Note: {note}" for note in notes)))
    return tables.Document(tuple(blocks))
