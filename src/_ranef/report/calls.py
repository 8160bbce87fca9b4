"""The calls that make the same fits again, and what they were made with."""

from __future__ import annotations

import inspect
import keyword
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from _ranef.results import PosteriorDraws, RemlEstimates, fit_call
from _ranef.spec import Custom, Generalised, ModelSpec, default_priors, replacements

__all__ = ["python_calls", "versions"]

Record = RemlEstimates | PosteriorDraws

PACKAGES = ("ranef", "numpy", "scipy", "pandas", "jax", "numpyro", "nutpie", "arviz-stats", "vl-convert-python")

#: names that the calls themselves use
TAKEN = {"data", "model", "both", "weights", "offset", "cov", "init", "ranef", "pd", "dist", "jax"}


def python_calls(
    spec: ModelSpec, records: Mapping[str, Record], source: str | None, page: str, level: float = 0.95
) -> str:
    """Python that reads the data, fits the same model the same ways and writes the page again.

    What a fit does not remember (arrays of weights or offsets, the code of transforms) is left to be filled in. The
    call of a run that was interrupted is the whole run's.
    """
    priors = {name: _changed(spec, record) for name, record in records.items()}
    lines = ["import pandas as pd"] if source and source.startswith("pd.") else []
    lines += ["import ranef"]
    lines += ["from ranef.priors import *"] if any(priors.values()) else []
    lines += ["from numpyro import distributions as dist"] if any("dist." in text for text in priors.values()) else []
    asked = [text for record in records.values() for text in record.asked.values()]
    lines += ["import jax"] if any(text.startswith("jax.") for text in asked) else []
    options, missing = _model_options(spec)
    missing += ["init = ...  # the fit of another model given as init="] if "init" in asked else []
    lines += ["", f"data = {source}" if source else "data = ...  # the data, in the same order of rows", *missing]
    lines += [f"model = ranef.Model({', '.join([repr(spec.design.formula), 'data', *options])})"]
    calls = {name: f"model.{_call(record, priors[name])}" for name, record in records.items()}
    at = "" if level == 0.95 else f", level={level!r}"
    if all(name.isidentifier() and not keyword.iskeyword(name) and name not in TAKEN for name in calls):
        lines += [f"{name} = {call}" for name, call in calls.items()]
        plain = list(calls) == ["eb", "fb"]
        fits = ", ".join(calls) if plain else f"{{{', '.join(f'{name!r}: {name}' for name in calls)}}}"
    else:
        lines += ["fits = {", *(f"    {name!r}: {call}," for name, call in calls.items()), "}"]
        fits = "fits"
    return "\n".join([*lines, f"both = ranef.compare({fits}{at})", f"both.report({page!r})"])


def _model_options(spec: ModelSpec) -> tuple[list[str], list[str]]:
    """Arguments of Model, and lines that define what only the user has."""
    d, options, missing = spec.design, [], []
    if d.encoding.weights_column is not None:
        options.append(f"weights={d.encoding.weights_column!r}")
    elif d.weights is not None and not _own_trials(spec):
        options.append("weights=weights")
        missing.append("weights = ...  # the array given as weights=")
    if d.encoding.offset_column is not None:
        options.append(f"offset={d.encoding.offset_column!r}")
    elif d.offset is not None and not d.encoding.offsets:
        options.append("offset=offset")
        missing.append("offset = ...  # the array given as offset=")
    if spec.sigma is not None and not isinstance(spec.family, Generalised):
        options.append(f"sigma={float(spec.sigma)!r}")
    options += spec.residual.calls
    if isinstance(spec.family, Generalised):
        options += _family_options(spec.family)
    if spec.related:
        options.append("cov=cov")
        missing.append("cov = ...  # the known covariances among levels given as cov=")
    if d.encoding.transforms:
        options.append(f"transforms={{{', '.join(f'{name!r}: {name}' for name in d.encoding.transforms)}}}")
        missing.append(f"# define here the transforms {', '.join(d.encoding.transforms)}")
    return options, missing


def _family_options(family: Generalised) -> list[str]:
    if family.classes:  # in an order that the data need not tell
        return [f"family=ranef.families.{family!r}"]
    return [f"family={family.word!r}"] + ([] if family.link == family.links[0] else [f"link={family.link!r}"])


def _own_trials(spec: ModelSpec) -> bool:
    """Whether weights are the trials that the response itself has."""
    return spec.family.word == "binomial" and spec.design.response.startswith("cbind(")


def _call(record: Record, priors: str) -> str:
    if isinstance(record, RemlEstimates):
        return fit_call(record)
    chains, draws = record.sigma.shape
    given = {"draws": draws, "warmup": record.warmup, "chains": chains, "seed": record.seed}
    if not record.chained:
        del given["warmup"]
    usual = {"target_accept": 0.8, "sampler": "numpyro", "family": "gaussian", "parameterization": "marginal"}
    if isinstance(record.response, Generalised):
        own = {"partially centered"} & {record.parameterization} or {"noncentered"}
        usual |= {"family": record.family, "parameterization": own.pop()}
    given |= {name: getattr(record, name) for name, value in usual.items() if getattr(record, name) != value}
    texts = {name: repr(value) for name, value in given.items()} | dict(record.asked)
    texts |= {"priors": priors} if priors else {}
    return f"sample({', '.join(f'{name}={text}' for name, text in texts.items())})"


def _changed(spec: ModelSpec, record: Record) -> str:
    """The priors that are not the default ones, as they are given to ``sample``; empty where there are none."""
    if isinstance(record, RemlEstimates):
        return ""
    if record.priors.flat:
        return "'flat'"
    changed = [f"{name!r}: {_python(p)}" for name, p in replacements(record.priors, default_priors(spec)).items()]
    return "{" + ", ".join(changed) + "}" if changed else ""


def _python(prior: object) -> str:
    """A prior as it is written."""
    if not isinstance(prior, Custom):
        return repr(prior)
    return _distribution(prior.distribution)


def _distribution(own: Any) -> str:
    """A distribution of numpyro by the arguments of its class: numbers, or distributions that it is made of."""
    names = [name for name in inspect.signature(type(own)).parameters if name != "validate_args"]
    held = {name: getattr(own, name) for name in names if getattr(own, name, None) is not None}
    texts = [f"{k}={_distribution(v) if hasattr(v, 'log_prob') else repr(float(v))}" for k, v in held.items()]
    return f"dist.{type(own).__name__}({', '.join(texts)})"


def versions() -> tuple[tuple[str, str], ...]:
    """Python and the packages that matter, as far as they are installed."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
