"""Engine B: a NumPyro model compiled from the same spec, sampled with NUTS.

Importing this package loads neither jax nor numpyro: everything that needs them stands behind one gate,
:func:`_engine`, which the first call of a function here opens.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ranef.arrays import Floats
from ranef.likelihood import CrossProducts
from ranef.nuts.datatree import to_datatree
from ranef.nuts.settings import Parameterization, Settings
from ranef.results import PosteriorDraws, RemlEstimates
from ranef.spec import ModelSpec, Priors

__all__ = ["log_density", "sample_posterior", "to_datatree"]


def _engine() -> Any:
    """The module that imports jax and numpyro."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # numpyro's, in notebooks without widgets
        return import_module("ranef.nuts.engine")


def sample_posterior(
    spec: ModelSpec,
    *,
    draws: int = 1000,
    warmup: int = 1000,
    chains: int = 4,
    seed: int | None = None,
    priors: Priors,
    parameterization: Parameterization = "auto",
    start: RemlEstimates | None = None,
    target_accept: float = 0.8,
    progress: bool = True,
    products: CrossProducts | None = None,
) -> PosteriorDraws:
    """Draw from the posterior of a model.

    Parameters
    ----------
    spec : ModelSpec
    draws, warmup, chains : int
        Draws kept of each chain, adaptation steps before them, and number of chains.
    seed : int, optional
        The same seed gives the same draws; without one, a seed is drawn and recorded.
    priors : Priors
    parameterization : {"auto", "marginal", "noncentered", "centered"}
        ``"marginal"``, which is what ``"auto"`` chooses, samples the variance parameters only and draws β and b
        exactly afterwards; the other two sample β and b too, row by row, and are there for comparison and teaching.
    start : RemlEstimates, optional
        The REML optimum, near which the chains begin.
    target_accept : float
        Acceptance rate for which the step size is tuned.
    progress : bool
        Whether to show a progress bar on stderr.
    products : CrossProducts, optional
        Those of `spec`, where they are at hand already.

    Returns
    -------
    PosteriorDraws
        Interrupted while sampling (Ctrl-C), the draws until then, with ``complete=False`` and a warning.

    Raises
    ------
    FitError
        If a setting is not allowed, or the density is not finite where the chains begin.

    Examples
    --------
    >>> from ranef import datasets
    >>> from ranef.design import build_design, registered
    >>> from ranef.formula import parse_formula
    >>> from ranef.spec import default_priors, model_spec
    >>> parsed = parse_formula("bright ~ 1 + (1 | operator)", functions=registered())
    >>> spec = model_spec(build_design(parsed, datasets.load("pulp")))
    >>> fit = sample_posterior(spec, priors=default_priors(spec), draws=100, warmup=100, seed=1, progress=False)
    >>> fit.theta.shape, fit.beta.shape, fit.b[0].shape
    ((4, 100, 1), (4, 100, 1), (4, 100, 4, 1))
    """
    settings = Settings(draws, warmup, chains, seed, parameterization, target_accept, progress)
    out: PosteriorDraws = _engine().sample(spec, priors, settings, start, products)
    return out


def log_density(
    spec: ModelSpec, products: CrossProducts, priors: Priors, path: str | None = None
) -> Callable[[Floats, float], float]:
    """Collapsed log likelihood log p(y | θ, σ) as a plain function of (θ, σ) on the user's scale.

    β and b are integrated out under `priors`, which enter through β only; flat coefficients are integrated against
    Lebesgue measure, so with flat priors on all of them this is −½ REML criterion (σ not profiled).

    Parameters
    ----------
    spec : ModelSpec
    products : CrossProducts
    priors : Priors
    path : {"jax", "numpy"}, optional
        Compiled arithmetic or the numpy kernels; by default what sampling would use.
    """
    out: Callable[[Floats, float], float] = _engine().log_density(spec, products, priors, path)
    return out
