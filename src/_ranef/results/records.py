"""Frozen records that the engines return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.spec import FAMILIES, Family, Generalised, Priors, family_of, response_family
from _ranef.support.arrays import Floats

__all__ = [
    "Importance",
    "Method",
    "Modes",
    "OptimizerRecord",
    "OptimizerStep",
    "PosteriorDraws",
    "Refits",
    "RemlEstimates",
    "Status",
    "response_fields",
]

#: the criterion that estimates are the optimum of
Method = Literal["REML", "ML"]


class Status(Enum):
    """How a maximisation ended; the value is the sentence for the user."""

    CONVERGED = "The optimum is interior and the gradient vanishes there."
    BOUNDARY = "The optimum lies on the boundary of the parameter space (a singular fit)."
    NOT_IDENTIFIED = "The data do not determine every variance parameter."
    NOT_CONVERGED = "The optimiser stopped before the gradient vanished; the estimates should not be trusted."


@dataclass(frozen=True)
class OptimizerStep:
    """One evaluation of the criterion.

    Attributes
    ----------
    kind : str
        ``"start"``, ``"em"``, ``"newton"``, ``"halved"``, ``"quasi-newton"``, ``"snap"``,
        ``"restart"`` or ``"polish"``.
    theta : array (n_theta,)
        On the user's scale.
    criterion : float
    """

    kind: str
    theta: Floats
    criterion: float


@dataclass(frozen=True, repr=False)
class OptimizerRecord:
    """The whole path of a maximisation.

    Attributes
    ----------
    steps : tuple of OptimizerStep
        Every evaluation in order.
    decrement : float
        Newton decrement gᵀB⁻¹g at the end, in deviance units: how much lower a quadratic model says one could go.
    status : Status
    message : str
        One or two sentences for the user.
    undetermined : tuple of str
        Entries of θ, by name, that the data do not determine, or only in combination: whatever they are, the criterion
        is the same, and what stands for them in θ is arbitrary.
    doubt : str
        The sentence of `message` that says why a higher likelihood may have been missed; mostly empty.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> record = fit.optimizer
    >>> record.status, record.n_evaluations == len(record.steps), record.decrement < 1e-6, record.doubt, record.ok
    (<Status.CONVERGED: 'The optimum is interior and the gradient vanishes there.'>, True, True, '', True)
    """

    steps: tuple[OptimizerStep, ...]
    decrement: float
    status: Status
    message: str
    undetermined: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def ok(self) -> bool:
        """Whether the estimates may be trusted, on a boundary or not."""
        return self.status in (Status.CONVERGED, Status.BOUNDARY)

    def __repr__(self) -> str:
        return f"<OptimizerRecord: {self.n_evaluations} evaluations. {self.message}>"

    @property
    def n_evaluations(self) -> int:
        """Number of evaluations of the criterion."""
        return len(self.steps)


@dataclass(frozen=True)
class Modes:
    """Conditional modes of the random effects of one grouping factor.

    Attributes
    ----------
    values : array (J, p)
        b̂ = D Zᵀ V⁻¹ (y − X β̂), by level.
    cov : array (J, p, p)
        Conditional covariance with θ and β taken as known (lme4's condVar).
    cov_prediction : array (J, p, p)
        Covariance of b̂ − b with θ known and β estimated (Henderson's equations).
    """

    values: Floats
    cov: Floats
    cov_prediction: Floats


@dataclass(frozen=True)
class RemlEstimates:
    """What engine A returns, on the user's scale.

    Attributes
    ----------
    method : str
        ``"REML"`` or ``"ML"``.
    theta : array (n_theta,)
        Relative Cholesky factors in lme4's order.
    sigma : float
    beta : array (p,)
    vcov : array (p, p)
        σ²(XᵀV⁻¹X)⁻¹.
    criterion : float
        Minimised −2 log-likelihood or REML criterion.
    modes : tuple of Modes
        One for each grouping of the spec.
    optimizer : OptimizerRecord
    singular : bool
        Whether some variance is zero or some correlation ±1: lme4's tolerance of 1e-4 on θ, for columns of unit mean
        square.
    asked : mapping str to str
        Further arguments of the call that made it, as Python: ``start`` and ``control``, where they were given.
    rho : array (n_rho,), optional
        Parameters of residual variances and correlations, where the model has any.
    family, link : str
        Of the response.
    dispersion : array (n_dispersions,), optional
        Parameters of a generalised response besides its mean; its σ is 1.
    nagq : int
        Points of quadrature for each effect: 1 is Laplace's approximation.
    classes : tuple of str
        Of an ordinal response, in their order.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> fit.estimates.theta.round(3).tolist(), fit.estimates.modes[0].values.shape, fit.estimates.singular
    ([0.8], (4, 1), False)
    """

    method: Method
    theta: Floats
    sigma: float
    beta: Floats
    vcov: Floats
    criterion: float
    modes: tuple[Modes, ...]
    optimizer: OptimizerRecord
    singular: bool
    asked: Mapping[str, str] = field(default_factory=dict)
    rho: Floats | None = None
    family: str = "gaussian"
    link: str = "identity"
    dispersion: Floats | None = None
    nagq: int = 1
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Refits:
    """One model fitted to B responses.

    Attributes
    ----------
    method : str
        ``"REML"`` or ``"ML"``.
    theta : array (B, n_theta)
        Relative Cholesky factors in lme4's order.
    sigma : array (B,)
    beta : array (B, p)
    vcov : array (B, p, p)
        σ̂²(XᵀV⁻¹X)⁻¹.
    sdcor : mapping str to array (B,)
        Standard deviations and correlations by the names of ``confint``; ``sigma``, then parameters of the residuals. A
        correlation with an effect of variance zero is NaN.
    criterion : array (B,)
    singular : array of bool (B,)
        Whether some variance is zero or some correlation ±1.
    converged : array of bool (B,)
    fixed_names : tuple of str

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> refits = fit.refit(fit.simulate(3, seed=1))
    >>> refits.beta.shape, refits.converged.tolist()
    ((3, 1), [True, True, True])
    >>> refits.frame.columns.tolist()
    ['Intercept', 'sd(Intercept | operator)', 'sigma', 'criterion', 'singular', 'converged']
    """

    method: Method
    theta: Floats
    sigma: Floats
    beta: Floats
    vcov: Floats
    sdcor: Mapping[str, Floats]
    criterion: Floats
    singular: NDArray[np.bool_]
    converged: NDArray[np.bool_]
    fixed_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sigma)

    def __repr__(self) -> str:
        return f"<Refits: {len(self)} responses by {self.method}, {int(self.singular.sum())} singular>"

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each response: coefficients, sds and correlations, ``criterion``, ``singular``, ``converged``."""
        out = pd.DataFrame(self.beta, columns=list(self.fixed_names)).assign(**self.sdcor)
        return out.assign(criterion=self.criterion, singular=self.singular, converged=self.converged)


@dataclass(frozen=True)
class Importance:
    """How draws were chosen by weights of importance: of independent points, or of the draws of chains.

    Attributes
    ----------
    proposed : int
        Points of the proposal of which they were chosen.
    pareto_k : float
        Shape of the tail of the weights, k̂: the variance of what they estimate exists for certain below 0.5, and they
        are to be trusted below 0.7.
    efficiency : float
        Effective over actual number of the points proposed, (Σw)²/(n Σw²).
    effective : float
        Effective number of the draws, which is theirs where no point was chosen twice.
    """

    proposed: int
    pareto_k: float
    efficiency: float
    effective: float


@dataclass(frozen=True)
class PosteriorDraws:
    """What engine B returns, on the user's scale; every array begins with (chain, draw).

    Attributes
    ----------
    theta : array (chains, draws, n_theta)
        Relative Cholesky factors in lme4's order, as in :class:`RemlEstimates`.
    sigma : array (chains, draws)
    beta : array (chains, draws, p)
    b : tuple of array (chains, draws, J_k, p_k)
        Random effects, one array for each grouping of the spec.
    sample_stats : mapping str to array (chains, draws)
        ``diverging``, ``tree_depth``, ``n_steps``, ``energy``, ``acceptance_rate``, ``lp``, ``step_size``; of
        independent draws ``lp`` and ``log_ratio``, the logarithm of posterior over proposal but for a constant.
    parameterization : str
        ``"marginal"``, ``"noncentered"`` or ``"centered"``; ``"partially centered"`` between these two.
    priors : Priors
        The priors, with their numbers.
    seed : int
    warmup : int
    seconds : float
        Wall time of compiling, warming up and sampling.
    complete : bool
        False where the run was interrupted and holds what was drawn until then.
    family : str
        Of the response: ``"gaussian"``, or ``"student"``, where σ is the scale and ``extras["nu"]`` the degrees of
        freedom.
    extras : mapping str to array (chains, draws, ...)
        Further parameters: ``nu`` (degrees of freedom of the response), ``nu_g`` (of the effects of a factor g), ``R2``
        and ``phi`` (of a global scale of the coefficients).
    sampler : str
        ``"numpyro"``, ``"nutpie"`` or ``"direct"``, whose draws are independent: they have no chains but by name.
    notes : tuple of str
        What was chosen for the user, and why.
    doubts : tuple of str
        Why the draws may not be those of the whole posterior, by weights of importance.
    target_accept : float
    asked : mapping str to str
        Further arguments of the call that made it, as Python: ``init``, ``chain_method`` and ``device`` where they were
        given, ``draws`` and ``chains`` of a run that was interrupted.
    importance : Importance, optional
        Of ``"direct"``.
    link : str
        Of a generalised response, whose σ is 1.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, sampler="direct", progress=False)
    >>> fb.draws.theta.shape, fb.draws.beta.shape, fb.draws.b[0].shape
    ((4, 200, 1), (4, 200, 1), (4, 200, 4, 1))
    >>> fb.draws.sampler, fb.draws.chained, fb.draws.response.word, fb.draws.not_normal
    ('direct', False, 'gaussian', '')
    """

    theta: Floats
    sigma: Floats
    beta: Floats
    b: tuple[Floats, ...]
    sample_stats: Mapping[str, NDArray[Any]]
    parameterization: str
    priors: Priors
    seed: int
    warmup: int
    seconds: float
    complete: bool
    family: str = "gaussian"
    extras: Mapping[str, Floats] = field(default_factory=dict)
    sampler: str = "numpyro"
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    target_accept: float = 0.8
    asked: Mapping[str, str] = field(default_factory=dict)
    importance: Importance | None = None
    link: str = "identity"
    classes: tuple[str, ...] = ()

    @property
    def chained(self) -> bool:
        """Whether draws are those of Markov chains, if taken by weights."""
        return self.sampler != "direct"

    @property
    def response(self) -> Family:
        """The distribution of the response."""
        return (
            family_of(self.family)
            if self.family in FAMILIES and self.link == "identity"
            else response_family(self.family, self.link, self.classes)
        )

    @property
    def not_normal(self) -> str:
        """Which parts are Student t, in words; empty where all is normal, and conditional moments have closed forms."""
        effects = [f"the random effects of {', '.join(self.priors.effects)}"] if self.priors.effects else []
        return " and ".join(effects + ([] if self.response.collapses else ["the response"]))


def response_fields(family: Family) -> dict[str, Any]:
    """What :class:`PosteriorDraws` keeps of the distribution of the response, from which its ``response`` is made."""
    if not isinstance(family, Generalised):
        return {"family": family.word}
    return {"family": family.word, "link": family.link, "classes": family.classes}
