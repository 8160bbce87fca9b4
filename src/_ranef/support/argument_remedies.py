"""Arguments that a function does not have, with the one that does what was meant, and those of the wrong type.

What users call is marked by :func:`helpful`: whoever writes an argument that is not there is told more than that it is
unexpected.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from _ranef.errors import ArgumentError, DesignError, RanefError, suggestion
from _ranef.support.annotations import misfit

__all__ = ["Answering", "entropy_of", "file_path", "generator", "helpful", "one_of", "whole_number"]

_T = TypeVar("_T", bound=Callable[..., Any])

GLMM = (
    "The distribution of the response is the model's: ranef.Model(..., family='binomial'), 'poisson' or another of "
    "ranef.families, with link=. Model.sample(family='student') has a Student t response."
)
BARS = "Random effects stand in the formula, as in 'y ~ x + (x | g)'."
DEGREES = (
    "Degrees of freedom are those of fits by REML or ML, as tidy(ddf='satterthwaite'); a posterior's intervals carry "
    "the uncertainty of the variances without them."
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
    "nuts_sampler": "The sampler is sampler=: 'numpyro', 'nutpie', 'direct' or 'auto'.",
    "backend": "The sampler is sampler=: 'numpyro', 'nutpie', 'direct' or 'auto'.",
    "inference_method": "The sampler is sampler=: 'numpyro', 'nutpie', 'direct' or 'auto'.",
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
    "parm": "Which parameters is parameters=, by the names of confint(): parameters='sigma'.",
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


#: what to write for attributes that lme4's, brms', bambi's and statsmodels' objects have
ATTRIBUTES: dict[str, str] = {
    "params": "Coefficients are .fixef.",
    "coefficients": "Coefficients are .fixef.",
    "fe_params": "Coefficients are .fixef.",
    "bse": "Standard errors are in .tidy().",
    "bse_fe": "Standard errors are in .tidy().",
    "tvalues": "They are in .tidy().",
    "pvalues": "They are in .tidy(ddf='satterthwaite') or 'kenward-roger'; .summary(ddf=...) prints them.",
    "random_effects": "Random effects are .ranef().",
    "cov_re": "Variance components are .varcorr.",
    "VarCorr": "Variance components are .varcorr.",
    "scale": "The residual standard deviation is .sigma.",
    "logLik": "The log-likelihood is .loglik; .deviance, .aic and .bic are beside it.",
    "llf": "The log-likelihood is .loglik.",
    "resid": "Residuals are .residuals().",
    "fittedvalues": "Fitted values are .fitted().",
    "conf_int": "Intervals are .confint().",
    "waic": "Predictive accuracy is .loo(); ranef.compare() ranks posteriors by it.",
    "hypothesis": "Probabilities of any quantity are those of its draws: .derive(name), .datatree.",
    "posterior": "Draws are .datatree.posterior, and .draws as arrays.",
    "stanfit": "Draws are .datatree.",
    "idata": "Draws are .datatree; .to_inference_data() for ArviZ before 1.0.",
    "trace": "Draws are .datatree; arviz_plots.plot_trace(fit.datatree) draws them.",
    "pairs": "Draws are .datatree: arviz_plots.plot_pair(fit.datatree); two sds are plot.joint().",
    "caterpillar": "It is plot.ranef().",
    "dotplot": "It is plot.ranef().",
    "model": "The model of a fit is ranef.Model.of(fit).",
}

OPTIMUM = "It is of fits by REML or ML, model.fit(), for a posterior has no maximum."
ELPD = f"{OPTIMUM} ranef.compare(fb1, fb2) ranks posteriors by expected predictive accuracy, as .loo() has it."

#: what takes the place, in a posterior, of what fits by REML and ML have
OF_POSTERIORS: dict[str, str] = {
    "anova": f"{OPTIMUM} Probabilities of hypotheses are .test('x = 0'); ranef.compare(fb1, fb2) ranks posteriors.",
    **dict.fromkeys(("drop1", "aic", "bic", "aicc", "caic", "loglik", "deviance", "criterion"), ELPD),
    **dict.fromkeys(("bootstrap", "profile"), f"{OPTIMUM} Intervals are .confint(), of any quantity .derive(name)."),
    "vcov_robust": f"{OPTIMUM} The posterior covariance of the coefficients is .vcov.",
    **dict.fromkeys(
        ("influence", "cooks_distance", "hatvalues"),
        f"{OPTIMUM} How much a row or group matters is in .loo() and .loo(kind='group'), by their .pareto_k.",
    ),
}


class Answering:
    """An object that says, of an attribute that it does not have, which one is meant.

    A class may have ``_instead``, words by the names of what others have in its place.
    """

    if not TYPE_CHECKING:  # a checker knows what there is

        def __getattr__(self, name: str) -> NoReturn:
            """Of what is not there; see :data:`ATTRIBUTES` and :data:`OF_POSTERIORS`."""
            kind = type(self)
            if hasattr(kind, name):  # a property that failed: with its own error
                return object.__getattribute__(self, name)
            known = [other for other in dir(kind) if not other.startswith("_")]
            own: Mapping[str, str] = getattr(kind, "_instead", {})
            words = own.get(name) or ATTRIBUTES.get(name) or (OF_POSTERIORS.get(name) if hasattr(kind, "loo") else None)
            words = "" if name.startswith("_") else words or suggestion(name, known).strip()
            raise AttributeError(f"{kind.__name__} has no attribute {name!r}. {words}".rstrip(), name=name, obj=self)


def helpful(target: _T) -> _T:
    """Mark a function, or a class with all its public methods: a call that does not fit says what to write instead.

    Such calls raise :class:`~ranef.ArgumentError`.
    """
    if isinstance(target, FunctionType):
        answering: _T = _answering(target)
        return answering
    for name, member in list(vars(target).items()):
        plain = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        if isinstance(plain, FunctionType) and (name in ("__init__", "__call__") or not name.startswith("_")):
            kind: Any = type(member) if plain is not member else lambda function: function
            setattr(target, name, kind(_answering(plain)))
    return target


def _answering(function: Any) -> Any:
    unfit, wrong, raw = _unfit, _wrong, _RAW  # what is named below is found in the closure alone

    def call(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except raw as error:
            within = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            told = (wrong if within or type(error) is not TypeError else unfit)(error, function, given, named)
            if told is None:
                raise
            raise told from None

    # as if written where the function is: doctest looks there only
    here = FunctionType(call.__code__, function.__globals__, closure=call.__closure__)
    return functools.wraps(function)(here)


def generator(seed: Any) -> np.random.Generator:
    """Numpy's random generator for a seed.

    Raises
    ------
    DesignError
        If the seed is none.
    """
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise DesignError(f"seed={seed!r} must be a whole number, or None for other draws each time.") from None


def entropy_of(seed: Any) -> int:
    """The number that stands for a seed: itself, or a new one where there is none.

    Raises
    ------
    DesignError
        If the seed is none.
    """
    try:
        return int(np.random.SeedSequence(seed).entropy)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DesignError(f"seed={seed!r} must be a whole number, or None for other draws each time.") from None


def whole_number(name: str, value: Any, least: int = 0, error: type[RanefError] = DesignError) -> int:
    """Read a count.

    Raises
    ------
    RanefError
        Of the kind given, if it is no whole number, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise error(f"{name}={value!r} must be a whole number of at least {least}.")
    return int(value)


def one_of(name: str, value: Any, allowed: Sequence[Any], error: type[RanefError] = DesignError, but: str = "") -> None:
    """Refuse what is none of the values that the option `name` may have; `but` is what else it may be, in words.

    Raises
    ------
    RanefError
        Of the kind given, with those that there are and the nearest.
    """
    if any(type(value) is type(own) and value == own for own in allowed):
        return
    words = [repr(own) for own in allowed] + ([but] if but else [])
    listed = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    near = suggestion(value, [own for own in allowed if isinstance(own, str)]) if isinstance(value, str) else ""
    raise error(f"{name}={value!r} must be {listed}.{near}")


def file_path(path: str | PathLike[str]) -> Path:
    """Read the name of a file.

    Raises
    ------
    DesignError
        If it is none.
    """
    if not isinstance(path, str | PathLike) or "\0" in str(path):
        raise DesignError(f"The name of a file is text or a pathlib.Path; got {path!r}.")
    return Path(path)


#: what Python and numpy raise where an argument is of a type that nobody thought of
_RAW = (TypeError, ValueError, OverflowError, AttributeError, LookupError, ZeroDivisionError)


def _wrong(
    error: Exception, function: Callable[..., Any], given: tuple[object, ...], named: Mapping[str, object]
) -> ArgumentError | None:
    """Which argument is not what it can be, of a call that failed in words that are not ours; None where all may be."""
    if isinstance(error, RanefError) or (told := misfit(function, given, named)) is None:
        return None
    return ArgumentError(f"{_called(function, given)}(): {told}")


def _called(function: Callable[..., Any], given: tuple[object, ...]) -> str:
    """What users write to call it."""
    owner = type(given[0]).__name__ if "self" in inspect.signature(function).parameters and given else ""
    full = f"{owner}.{function.__name__}" if owner else function.__qualname__
    return full.removesuffix(".__init__").removesuffix(".__call__")


def _unfit(
    _: Exception, function: Callable[..., Any], given: tuple[object, ...], named: Mapping[str, object]
) -> ArgumentError:
    """What to say of a call that Python could not bind to the parameters of `function`."""
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    own = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"]
    call = _called(function, given)
    strange = [name for name in named if name not in signature.parameters]
    if strange and call == "compare" and not isinstance(named[strange[0]], str | int | float | list | None):
        return ArgumentError(f"compare() takes names as a mapping: ranef.compare({{{strange[0]!r}: fit, ...}}).")
    if strange:
        return ArgumentError(f"{call}() has no argument {strange[0]}=. {_remedy(strange[0], own)}")
    try:
        signature.bind(*given, **named)
    except TypeError as error:
        return ArgumentError(f"{call}(): {error}. {_takes(own)}")
    return ArgumentError(f"{call}() cannot be called so. {_takes(own)}")  # pragma: no cover


def _remedy(name: str, own: list[str]) -> str:
    plain = name.replace(".", "_")
    known = {key.casefold(): words for key, words in REMEDIES.items()}
    if plain.casefold() in known:
        return known[plain.casefold()]
    if plain in OWNERS:
        return f"It is one of {OWNERS[plain]}."
    return suggestion(plain, own).strip() or _takes(own)


def _takes(own: list[str]) -> str:
    return f"It takes {', '.join(f'{p}=' for p in own)}." if own else "It takes none."
