"""Priors as data: families with their numbers, and the data-scaled defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranef.errors import DesignError, suggestion
from ranef.spec.model_spec import ModelSpec, TermSpec

__all__ = [
    "LKJ",
    "Flat",
    "HalfNormal",
    "HalfStudentT",
    "Normal",
    "Priors",
    "corr_name",
    "default_priors",
    "flat_priors",
]


@dataclass(frozen=True)
class Flat:
    """Improper uniform prior."""

    def __str__(self) -> str:
        return "flat"


@dataclass(frozen=True)
class Normal:
    """Normal prior with mean `loc` and standard deviation `scale`, in the units of the coefficient."""

    loc: float
    scale: float

    def __post_init__(self) -> None:
        _require_positive("Normal", "scale", self.scale)

    def __str__(self) -> str:
        return f"Normal({self.loc:.4g}, {self.scale:.4g})"


@dataclass(frozen=True)
class HalfStudentT:
    """Half Student t prior for a standard deviation, in the units of the response."""

    df: float
    scale: float

    def __post_init__(self) -> None:
        _require_positive("HalfStudentT", "df", self.df)
        _require_positive("HalfStudentT", "scale", self.scale)

    def __str__(self) -> str:
        return f"HalfStudentT({self.df:g}, {self.scale:.4g})"


@dataclass(frozen=True)
class HalfNormal:
    """Half normal prior for a standard deviation."""

    scale: float

    def __post_init__(self) -> None:
        _require_positive("HalfNormal", "scale", self.scale)

    def __str__(self) -> str:
        return f"HalfNormal({self.scale:.4g})"


@dataclass(frozen=True)
class LKJ:
    """LKJ prior for a correlation matrix; ``eta=1`` is uniform (Lewandowski, Kurowicka and Joe, 2009)."""

    eta: float

    def __post_init__(self) -> None:
        _require_positive("LKJ", "eta", self.eta)

    def __str__(self) -> str:
        return f"LKJ({self.eta:g})"


def _require_positive(family: str, name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise DesignError(f"{family}({name}={value!r}): {name} must be a positive finite number.")


Scale = Flat | HalfStudentT | HalfNormal


@dataclass(frozen=True)
class Priors:
    """The priors of one model, with their numbers.

    Attributes
    ----------
    fixef : mapping str to Normal or Flat
        By coefficient. The prior of ``Intercept`` is on the mean response at the means of the other columns.
    sd : mapping (group, column) to HalfStudentT, HalfNormal or Flat
        Standard deviations of the random effects; the one of an ``ident`` term stands under its first column.
    corr : mapping str to LKJ
        By :func:`corr_name`; only unstructured terms of two or more columns have one.
    sigma : HalfStudentT, HalfNormal or Flat
        Residual standard deviation.
    flat : bool
        Flat on β, on θ (the relative Cholesky factor itself) and on log σ: then the mode of the marginal
        posterior of θ is the REML estimate. `sd`, `corr` and `sigma` are not used.
    """

    fixef: Mapping[str, Normal | Flat]
    sd: Mapping[tuple[str, str], Scale]
    corr: Mapping[str, LKJ]
    sigma: Scale
    flat: bool = False

    def lines(self) -> list[str]:
        """One line for each prior, for printing."""
        if self.flat:
            return ["beta ~ flat", "theta ~ flat (relative Cholesky factor)", "log(sigma) ~ flat"]
        where = {"Intercept": " (mean response at the means of the other columns)"}
        out = [f"{name} ~ {p}{where.get(name, '') if len(self.fixef) > 1 else ''}" for name, p in self.fixef.items()]
        out += [f"sd({column} | {group}) ~ {p}" for (group, column), p in self.sd.items()]
        out += [f"{name} ~ {p}" for name, p in self.corr.items()]
        return [*out, f"sigma ~ {self.sigma}"]


def corr_name(term: TermSpec) -> str:
    """Name of the correlations of a term, as ``cor(Intercept, Days | Subject)``."""
    return f"cor({', '.join(term.columns)} | {term.group})"


def default_priors(spec: ModelSpec, changes: Mapping[str, object] | None = None) -> Priors:
    """Weakly informative priors scaled to the data.

    With s the standard deviation of the response (offset removed): Intercept ~ Normal(mean, 2.5 s) at the means of
    the other columns; a coefficient ~ Normal(0, 2.5 s / sd of its column); without an intercept, root mean squares
    take the place of standard deviations. The standard deviation of a random effect ~ HalfStudentT(3, s / rms of its
    column), σ ~ HalfStudentT(3, s); correlations ~ LKJ(1).

    Parameters
    ----------
    spec : ModelSpec
    changes : mapping, optional
        Replacements by name: a coefficient's name, ``"fixef"`` (all but the intercept), ``"sd"`` (all),
        ``"sd(column | group)"``, ``"corr"`` (all), ``"cor(columns | group)"`` or ``"sigma"``.

    Raises
    ------
    DesignError
        If a name is not one of these, or the family does not fit.
    """
    d = spec.design
    y = d.y if d.offset is None else d.y - d.offset
    s = float(y.std()) or 1.0
    unit = s if d.has_intercept else float(np.sqrt(np.mean(y**2))) or 1.0
    fixef: dict[str, Normal | Flat] = {}
    for name, column in zip(d.fixed_names, d.X.T, strict=True):
        if name == "Intercept":
            fixef[name] = Normal(float(y.mean()), 2.5 * s)
        else:
            spread = column.std() if d.has_intercept else np.sqrt(np.mean(column**2))
            fixef[name] = Normal(0.0, 2.5 * unit / (float(spread) or 1.0))
    sd: dict[tuple[str, str], Scale] = {}
    for t in spec.terms:
        rms = np.sqrt(np.mean(spec.groupings[t.grouping].Z[:, t.where] ** 2, axis=0))
        shared = t.template.kind == "ident"
        for column, r in zip(t.columns[:1] if shared else t.columns, rms, strict=not shared):
            sd[t.group, column] = HalfStudentT(3.0, s / (float(r) or 1.0))
    corr = {corr_name(t): LKJ(1.0) for t in spec.terms if t.template.kind == "us" and t.template.size > 1}
    sigma: Scale = HalfStudentT(3.0, s)
    return _changed(Priors(fixef, sd, corr, sigma), dict(changes or {}))


def flat_priors(spec: ModelSpec) -> Priors:
    """Flat on β, θ and log σ: the choice under which the marginal mode of θ is the REML estimate."""
    return Priors({name: Flat() for name in spec.design.fixed_names}, {}, {}, Flat(), flat=True)


def _changed(priors: Priors, changes: dict[str, object]) -> Priors:
    fixef, sd, corr, sigma = dict(priors.fixef), dict(priors.sd), dict(priors.corr), priors.sigma
    by_label = {f"sd({column} | {group})": (group, column) for group, column in sd}
    for name, prior in changes.items():
        if name == "sigma":
            sigma = _family(name, prior, (HalfStudentT, HalfNormal))
        elif name == "corr" or name in corr:
            corr.update(dict.fromkeys(corr if name == "corr" else [name], _family(name, prior, (LKJ,))))
        elif name == "sd" or name in by_label:
            family = _family(name, prior, (HalfStudentT, HalfNormal))
            sd.update(dict.fromkeys(sd if name == "sd" else [by_label[name]], family))
        elif name == "fixef" or name in fixef:
            family = _family(name, prior, (Normal, Flat))
            fixef.update({n: family for n in fixef if n == name or (name == "fixef" and n != "Intercept")})
        else:
            known = [*fixef, "fixef", "sd", *by_label, "corr", *corr, "sigma"]
            raise DesignError(
                f"There is no parameter {name!r} to give a prior to.{suggestion(name, known)} "
                f"Known names: {', '.join(known)}."
            )
    return Priors(fixef, sd, corr, sigma)


def _family(name: str, prior: Any, allowed: tuple[type, ...]) -> Any:
    if not isinstance(prior, allowed):
        names = " or ".join(t.__name__ for t in allowed)
        raise DesignError(f"The prior of {name!r} is {prior!r}; it must be {names} (from ranef.priors).")
    return prior
