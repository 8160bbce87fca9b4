"""The calls that make the same fits again, and what they were made with."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from ranef.results import PosteriorDraws, RemlEstimates
from ranef.spec import ModelSpec, Priors, default_priors

__all__ = ["python_calls", "versions"]

Record = RemlEstimates | PosteriorDraws

PACKAGES = ("ranef", "numpy", "scipy", "pandas", "jax", "numpyro", "nutpie", "arviz-stats", "altair")


def python_calls(spec: ModelSpec, records: Mapping[str, Record], source: str | None, page: str) -> str:
    """Python that reads the data, fits the same model the same ways and writes the page again."""
    d = spec.design
    options = [f"{spec.design.formula!r}", "data"]
    options += ["weights=..."] if d.weights is not None else []
    options += [f"sigma={spec.sigma!r}"] if spec.sigma is not None else []
    lines = ["import pandas as pd"] if source and source.startswith("pd.") else []
    lines += ["import ranef"]
    lines += ["from ranef.priors import *"] if any(_changed(spec, r) for r in records.values()) else []
    lines += ["", f"data = {source or '...'}", f"model = ranef.Model({', '.join(options)})"]
    lines += [f"{name} = model.{_call(spec, record)}" for name, record in records.items()]
    names = ", ".join(f"{name}={name}" for name in records)
    plain = set(records) == {"eb", "fb"}
    compared = ", ".join(records) if plain else f"dict({names})"
    return "\n".join([*lines, f"both = ranef.compare({compared})", f"both.report({page!r})"])


def _call(spec: ModelSpec, record: Record) -> str:
    if isinstance(record, RemlEstimates):
        return "fit()" if record.method == "REML" else f"fit({record.method!r})"
    chains, draws = record.sigma.shape
    given = {"draws": draws, "warmup": record.warmup, "chains": chains, "seed": record.seed}
    named = [f"{k}={v!r}" for k, v in given.items()]
    named += [f"sampler={record.sampler!r}"] if record.sampler != "numpyro" else []
    named += [f"family={record.family!r}"] if record.family != "gaussian" else []
    named += [f"parameterization={record.parameterization!r}"] if record.parameterization != "marginal" else []
    changed = _changed(spec, record)
    return f"sample({', '.join([*named, *([f'priors={changed}'] if changed else [])])})"


def _changed(spec: ModelSpec, record: Record) -> str:
    """The priors that are not the default ones, as they are given to ``sample``; empty where there are none."""
    if isinstance(record, RemlEstimates):
        return ""
    if record.priors.flat:
        return "'flat'"
    own, default = _entries(record.priors), _entries(default_priors(spec))
    changed = [f"{key!r}: {text}" for key, text in own.items() if default.get(key) != text]
    return "{" + ", ".join(changed) + "}" if changed else ""


def _entries(priors: Priors) -> dict[str, str]:
    out = {f"sd[{group}, {column}]": str(p) for (group, column), p in priors.sd.items()}
    out |= {name: str(p) for name, p in priors.fixef.items() if priors.r2d2 is None or name == "Intercept"}
    out |= {f"cor[{name.rsplit(' | ', 1)[1][:-1]}]": str(p) for name, p in priors.corr.items()}
    out |= {"fixef": str(priors.r2d2)} if priors.r2d2 is not None else {}
    out |= {f"ranef[{group}]": f"StudentT({df})" for group, df in priors.effects.items()}
    return out | ({"sigma": str(priors.sigma)} if priors.known_sigma is None else {})


def versions() -> tuple[tuple[str, str], ...]:
    """Python and the packages that matter, as far as they are installed."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
