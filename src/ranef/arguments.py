"""Arguments that a function does not have, with the one that does what was meant.

Functions that users call take ``**others: Never``: type checkers refuse any, and whoever writes one is told more than
that it is unexpected.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ranef.errors import ArgumentError, suggestion

__all__ = ["no_others"]

GLMM = (
    "Responses are Gaussian here; Model.sample(family='student') has a Student t response. For binomial, Poisson and "
    "other families use lme4, glmmTMB or bambi."
)
BARS = "Random effects stand in the formula, as in 'y ~ x + (x | g)'."
DEGREES = (
    "Degrees of freedom after Satterthwaite or Kenward and Roger are not available; Model.sample() gives intervals "
    "that carry the uncertainty of the variances, and R's lmerTest has them."
)
OPTIMISER = "The optimiser has one setting object: control=ranef.Control(tolerance=..., max_iterations=...)."
LEVEL = "The probability of intervals is level=, as level=0.95."

#: what to do instead, by the names that lme4, nlme, brms, PyMC, bambi and statsmodels have
REMEDIES: dict[str, str] = {
    "family": GLMM,
    "link": GLMM,
    "REML": "Write fit('ML') for REML=False; fit() is REML.",
    "random": BARS,
    "groups": BARS,
    "re_formula": "Which random effects to include is re=: 'all', 'none' or a list of grouping factors.",
    "vc_formula": BARS,
    "re_form": "Which random effects to include is re=: 'all', 'none' or a list of grouping factors.",
    "subset": "Choose the rows before: ranef.Model(formula, data[data['x'] > 0]).",
    "missing": "What to do with missing values is na_action=: 'omit' or 'error'.",
    "na": "What to do with missing values is na_action=: 'omit' or 'error'.",
    "dropna": "What to do with missing values is na_action=: 'omit' or 'error'.",
    "contrasts": "Contrasts stand in the formula, as C(f, contr.sum).",
    "noncentered": "Write parameterization='noncentered' or 'centered'.",
    "centered": "Write parameterization='noncentered' or 'centered'.",
    "verbose": "What the optimiser did is fit.optimizer; progress= shows that of sampling.",
    "optimizer": OPTIMISER,
    "tol": OPTIMISER,
    "maxiter": OPTIMISER,
    "max_iter": OPTIMISER,
    "tune": "Warm-up steps of each chain are warmup=.",
    "num_warmup": "Warm-up steps of each chain are warmup=.",
    "burnin": "Warm-up steps of each chain are warmup=.",
    "iter": "Kept draws of each chain are draws=, and warm-up steps warmup=.",
    "samples": "Kept draws of each chain are draws=.",
    "num_samples": "Kept draws of each chain are draws=.",
    "n_samples": "Kept draws of each chain are draws=.",
    "num_chains": "The number of chains is chains=.",
    "n_chains": "The number of chains is chains=.",
    "random_seed": "The seed is seed=.",
    "random_state": "The seed is seed=.",
    "rng": "The seed is seed=.",
    "rng_key": "The seed is seed=.",
    "cores": "chain_method='parallel' gives each chain a thread; the vectorized default needs none.",
    "n_jobs": "chain_method='parallel' gives each chain a thread; the vectorized default needs none.",
    "nuts_sampler": "The sampler is sampler=: 'numpyro' or 'nutpie'.",
    "backend": "The sampler is sampler=: 'numpyro' or 'nutpie'.",
    "inference_method": "The sampler is sampler=: 'numpyro' or 'nutpie'.",
    "progressbar": "Progress is shown, or not, by progress=.",
    "progress_bar": "Progress is shown, or not, by progress=.",
    "adapt_delta": "The target acceptance probability is target_accept=.",
    "max_treedepth": "Trajectories are cut at depth 10; sample(target_accept=...) changes the length of steps.",
    "prior": "Priors are priors=, by name: {'sd': ranef.priors.Exponential(1)}. model.describe() lists the names.",
    "inits": "Where the posterior mode is sought from is init=: 'reml' or a fit.",
    "newdata": "New data are data=, or the first argument.",
    "new_data": "New data are data=, or the first argument.",
    "allow_new_levels": "What is done with new levels is new_levels=: 'population', 'error' or 'sample'.",
    "sample_new_levels": "What is done with new levels is new_levels=: 'population', 'error' or 'sample'.",
    "se": "Ask for interval='confidence' or 'prediction'.",
    "se_fit": "Ask for interval='confidence' or 'prediction'.",
    "type": "Predictions are on the scale of the response; residuals take kind=.",
    "kind": "Predictions are of the mean; interval='prediction' is for a new response.",
    "alpha": LEVEL,
    "ci": LEVEL,
    "prob": LEVEL,
    "probs": LEVEL,
    "conf_level": LEVEL,
    "hdi_prob": LEVEL,
    "ci_prob": LEVEL,
    "nsim": "The number of responses is n=, or the first argument.",
    "parm": "Choose rows of what comes back: fit.confint().loc[['x']].",
    "oldNames": "Names are 'sd(x | g)', 'cor(x, z | g)' and 'sigma' always.",
    "condVar": "The standard deviation of every effect is in the column sd always.",
    "pointwise": "Each row's part is in the answer always: .elpd_i and .pareto_k.",
    "ddf": DEGREES,
    "ic": "Posteriors are ranked by leave-one-out elpd; kind='group' leaves out whole groups.",
    "names": "Give a mapping of names to fits: ranef.compare({'first': a, 'second': b}).",
    "quiet": "Messages are warnings: warnings.filterwarnings('ignore', category=ranef.RanefWarning).",
}

#: whose argument it is, where another function has it
OWNERS: dict[str, str] = {
    **dict.fromkeys(("data", "weights", "offset", "sigma", "transforms", "na_action", "formula"), "ranef.Model()"),
    **dict.fromkeys(("method", "start", "control"), "Model.fit()"),
    **dict.fromkeys(
        ("draws", "warmup", "chains", "seed", "priors", "parameterization", "init", "target_accept", "sampler"),
        "Model.sample()",
    ),
    **dict.fromkeys(("chain_method", "device", "progress"), "Model.sample()"),
    **dict.fromkeys(("interval", "new_levels", "re"), "fit.predict()"),
}


def no_others(function: Callable[..., Any], others: Mapping[str, object]) -> None:
    """Refuse arguments that `function` does not have, and say what to do instead.

    Raises
    ------
    ArgumentError
        If there are any.
    """
    if not others:
        return
    name = next(iter(others))
    parameters = inspect.signature(function).parameters.values()
    own = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"]
    call = function.__qualname__.removesuffix(".__init__")
    raise ArgumentError(f"{call}() has no argument {name}=. {_remedy(name, own)}")


def _remedy(name: str, own: list[str]) -> str:
    plain = name.replace(".", "_")
    known = {key.casefold(): words for key, words in REMEDIES.items()}
    if plain.casefold() in known:
        return known[plain.casefold()]
    if plain in OWNERS:
        return f"It is one of {OWNERS[plain]}."
    takes = f"It takes {', '.join(f'{p}=' for p in own)}." if own else "It takes none."
    return suggestion(plain, own).strip() or takes
