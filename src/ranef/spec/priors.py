"""The priors of one model: data-scaled defaults, replacements by name, and how they print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ranef.arrays import Floats
from ranef.errors import DesignError, suggestion
from ranef.spec.families import (
    LKJ,
    R2D2,
    Cauchy,
    Custom,
    Exponential,
    Flat,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Location,
    Normal,
    Scale,
    StudentT,
    from_numpyro,
    is_numpyro,
)
from ranef.spec.model_spec import ModelSpec, TermSpec
from ranef.spec.moments import Moments, moments

__all__ = ["Priors", "corr_name", "default_priors", "flat_priors"]

#: default prior of the degrees of freedom of a Student t response or random effect (Juárez & Steel, 2010)
DEFAULT_DF = Gamma(2.0, 0.1)

LOCATIONS = (Normal, StudentT, Cauchy, Flat, Custom)
SCALES = (HalfNormal, HalfStudentT, HalfCauchy, Exponential, Gamma, Flat, Custom)


@dataclass(frozen=True, repr=False)
class Priors:
    """The priors of one model, with their numbers.

    Attributes
    ----------
    fixef : mapping str to Normal, StudentT, Cauchy, Flat or Custom
        By coefficient. The prior of ``Intercept`` is on the mean response at the means of the other columns.
    sd : mapping (group, column) to HalfNormal, HalfStudentT, HalfCauchy, Exponential, Gamma, Flat or Custom
        Standard deviations of the random effects; the one of an ``ident`` term stands under its first column.
    corr : mapping str to LKJ
        By :func:`corr_name`; only unstructured terms of two or more columns have one.
    sigma : the same families as `sd`
        Residual standard deviation.
    flat : bool
        Flat on β, on θ (the relative Cholesky factor itself) and on log σ: then the mode of the marginal
        posterior of θ is the REML estimate. `sd`, `corr` and `sigma` are not used.
    r2d2 : R2D2, optional
        Global scale of the coefficients besides the intercept, in place of their own priors.
    effects : mapping str to float or Gamma
        Grouping factors whose random effects are Student t rather than normal: degrees of freedom, or their prior.
    df : float or Gamma
        The same for a Student t response; not used for a normal one.
    spreads, means : mapping str to float
        Standard deviation and mean of the column of each coefficient but the intercept: `r2d2` is relative to the one,
        and the prior of the intercept stands at the other.
    known_sigma : float, optional
        A residual standard deviation that is known, and has no prior.
    """

    fixef: Mapping[str, Location]
    sd: Mapping[tuple[str, str], Scale]
    corr: Mapping[str, LKJ]
    sigma: Scale
    flat: bool = False
    r2d2: R2D2 | None = None
    effects: Mapping[str, float | Gamma] = field(default_factory=dict)
    df: float | Gamma = DEFAULT_DF
    spreads: Mapping[str, float] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    known_sigma: float | None = None

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def centring(self, names: Sequence[str]) -> Floats:
        """C (p, p) with c = Cβ, the coefficients that have priors; that of ``Intercept`` stands at the `means`."""
        out = np.eye(len(names))
        if names and names[0] == "Intercept":
            out[0, 1:] = [self.means.get(name, 0.0) for name in names[1:]]
        return out

    def lines(self, family: str = "gaussian") -> list[str]:
        """One line for each prior, for printing."""
        if self.flat:
            return ["beta ~ flat", "theta ~ flat (relative Cholesky factor)", "log(sigma) ~ flat"]
        where = {"Intercept": " (mean response at the means of the other columns)"}
        out = []
        for name, p in self.fixef.items():
            prior = str(p) if self.r2d2 is None or name == "Intercept" else str(self.r2d2)
            out.append(f"{name} ~ {prior}{where.get(name, '') if len(self.fixef) > 1 else ''}")
        out += [f"sd({column} | {group}) ~ {p}" for (group, column), p in self.sd.items()]
        out += [f"{name} ~ {p}" for name, p in self.corr.items()]
        out += [f"ranef[{group}] ~ Student t, df {_df_text(df)}" for group, df in self.effects.items()]
        if family == "student":
            out.append(f"response ~ Student t, nu {_df_text(self.df)}")
        return [*out, f"sigma ~ {self.sigma}" if self.known_sigma is None else f"sigma = {self.known_sigma:g}, known"]


def _df_text(df: float | Gamma) -> str:
    return f"= {df:g}" if isinstance(df, float) else f"~ {df}"


def corr_name(term: TermSpec) -> str:
    """Name of the correlations of a term, as ``cor(Intercept, Days | Subject)``."""
    return f"cor({', '.join(term.columns)} | {term.group})"


def default_priors(
    spec: ModelSpec, changes: Mapping[str, object] | None = None, about: Moments | None = None
) -> Priors:
    """Weakly informative priors scaled to the data.

    With s the standard deviation of the response (offset removed): Intercept ~ Normal(mean, 2.5 s) at the means of
    the other columns; a coefficient ~ Normal(0, 2.5 s / sd of its column); without an intercept, root mean squares
    take the place of standard deviations. The standard deviation of a random effect ~ HalfStudentT(3, s / rms of its
    column), σ ~ HalfStudentT(3, s); correlations ~ LKJ(1).

    Parameters
    ----------
    spec : ModelSpec
    changes : mapping, optional
        Replacements by name, families of this package or distributions of numpyro: a coefficient's name, ``"fixef"``
        (all but the intercept); ``"sd"`` (all), ``"sd[group]"``, ``"sd[group, column]"``; ``"cor"``, ``"cor[group]"``;
        ``"sigma"``; ``"ranef"`` or ``"ranef[group]"`` (``StudentT(df)`` for Student t random effects); ``"nu"``
        (degrees of freedom of a Student t response). The more specific name wins. Names as they are printed,
        ``"sd(column | group)"``, will do too.
    about : Moments, optional
        Those of `spec`, where they are at hand.

    Raises
    ------
    DesignError
        If a name is not one of these, or the family does not fit.
    """
    about = moments(spec) if about is None else about
    names, has_intercept = spec.design.fixed_names, spec.design.has_intercept
    s = about.y_sd or 1.0
    unit = s if has_intercept else about.y_rms or 1.0
    fixef: dict[str, Location] = {}
    spreads: dict[str, float] = {}
    means: dict[str, float] = {}
    for i, name in enumerate(names):
        if name == "Intercept":
            fixef[name] = Normal(about.y_mean, 2.5 * s)
        else:
            spreads[name] = float((about.X_sd if has_intercept else about.X_rms)[i]) or 1.0
            means[name] = float(about.X_mean[i]) if has_intercept else 0.0
            fixef[name] = Normal(0.0, 2.5 * unit / spreads[name])
    sd: dict[tuple[str, str], Scale] = {}
    for t in spec.terms:
        rms = about.Z_rms[t.grouping][t.where]
        shared = t.template.kind == "ident"
        for column, r in zip(t.columns[:1] if shared else t.columns, rms, strict=not shared):
            sd[t.group, column] = HalfStudentT(3.0, s / (float(r) or 1.0))
    corr = {corr_name(t): LKJ(1.0) for t in spec.terms if t.template.kind == "us" and t.template.size > 1}
    priors = Priors(fixef, sd, corr, HalfStudentT(3.0, s), spreads=spreads, means=means, known_sigma=spec.sigma)
    return _changed(priors, _Names(spec, priors), dict(changes or {}))


def flat_priors(spec: ModelSpec) -> Priors:
    """Flat on β, θ and log σ: the choice under which the marginal mode of θ is the REML estimate."""
    return Priors({name: Flat() for name in spec.design.fixed_names}, {}, {}, Flat(), flat=True)


class _Names:
    """What each name of a replacement stands for."""

    def __init__(self, spec: ModelSpec, priors: Priors) -> None:
        slopes = [name for name in priors.fixef if name != "Intercept"]
        groups = [g.name for g in spec.groupings]
        self.fixef = {
            "fixef": slopes,
            "b": slopes,
            **{f"fixef[{n}]": [n] for n in priors.fixef},
            **{n: [n] for n in priors.fixef},
        }
        self.sd: dict[str, list[tuple[str, str]]] = {"sd": list(priors.sd)}
        self.corr: dict[str, list[str]] = {"cor": list(priors.corr), "corr": list(priors.corr)}
        for group in groups:
            self.sd[f"sd[{group}]"] = [key for key in priors.sd if key[0] == group]
            own = [corr_name(t) for t in spec.terms if t.group == group and corr_name(t) in priors.corr]
            if own:
                self.corr[f"cor[{group}]"] = own
        for group, column in priors.sd:
            self.sd[f"sd[{group}, {column}]"] = self.sd[f"sd({column} | {group})"] = [(group, column)]
        self.corr |= {name: [name] for name in priors.corr}
        self.effects = {"ranef": groups, **{f"ranef[{group}]": [group] for group in groups}}

    @property
    def known(self) -> list[str]:
        """Names worth printing."""
        shown = [n for n in self.fixef if not n.startswith("fixef[") and n != "b"]
        sds = [n for n in self.sd if "(" not in n.partition("[")[0]]
        corrs = [n for n in self.corr if n.startswith("cor[") or n == "cor"] if len(self.corr) > 2 else []
        return [*shown, *sds, *corrs, *self.effects, "sigma", "nu"]


def _changed(priors: Priors, names: _Names, changes: dict[str, object]) -> Priors:
    fixef, sd, corr, effects = dict(priors.fixef), dict(priors.sd), dict(priors.corr), dict(priors.effects)
    sigma, df, r2d2 = priors.sigma, priors.df, priors.r2d2
    for given in sorted(changes, key=_specificity):
        prior, name = changes[given], re.sub(r"\s*,\s*", ", ", given)
        if is_numpyro(prior):
            prior = from_numpyro(name, prior)
        if name == "sigma" and priors.known_sigma is not None:
            raise DesignError(f"sigma is known to be {priors.known_sigma:g} in this model, so it has no prior.")
        if name == "sigma":
            sigma = _scale(name, prior)
        elif name == "nu":
            df = _degrees(name, prior)
        elif name in names.corr:
            corr.update(dict.fromkeys(names.corr[name], _family(name, prior, (LKJ,))))
        elif name in names.sd:
            sd.update(dict.fromkeys(names.sd[name], _scale(name, prior)))
        elif name in names.effects:
            effects |= _effects(name, prior, names.effects[name])
        elif name in ("fixef", "b") and isinstance(prior, R2D2):
            r2d2 = prior
        elif name in names.fixef:
            fixef.update(dict.fromkeys(names.fixef[name], _family(name, prior, LOCATIONS)))
        else:
            known = names.known
            raise DesignError(
                f"There is no parameter {name!r} to give a prior to.{suggestion(name, known)} "
                f"Known names: {', '.join(known)}."
            )
    if r2d2 is not None:
        _check_r2d2(priors, fixef)
    return replace(priors, fixef=fixef, sd=sd, corr=corr, sigma=sigma, effects=effects, df=df, r2d2=r2d2)


def _specificity(name: str) -> int:
    """General names first."""
    return (name not in ("fixef", "b", "sd", "cor", "corr", "ranef")) + ("," in name or "(" in name)


def _family(name: str, prior: Any, allowed: tuple[type, ...]) -> Any:
    if isinstance(prior, type):
        raise DesignError(f"The prior of {name!r} is the class {prior.__name__}; call it with its numbers.")
    if not isinstance(prior, allowed):
        names = " or ".join(t.__name__ for t in allowed if t is not Custom)
        also = ", or any distribution of numpyro" if Custom in allowed else ""
        raise DesignError(f"The prior of {name!r} is {prior}; it must be {names} (from ranef.priors){also}.")
    return prior


def _scale(name: str, prior: Any) -> Scale:
    """A family for a standard deviation; one that is symmetric about zero stands for its positive half."""
    if isinstance(prior, Normal) and prior.loc == 0:
        return HalfNormal(prior.scale)
    if isinstance(prior, StudentT) and prior.loc == 0:
        return HalfStudentT(prior.df, prior.scale)
    if isinstance(prior, Cauchy) and prior.loc == 0:
        return HalfCauchy(prior.scale)
    out: Scale = _family(name, prior, SCALES)
    return out


def _degrees(name: str, prior: Any) -> float | Gamma:
    if isinstance(prior, Gamma):
        return prior
    if isinstance(prior, int | float) and not isinstance(prior, bool) and np.isfinite(prior) and prior > 0:
        return float(prior)
    raise DesignError(f"The prior of {name!r} is {prior}; it must be Gamma, or a positive number that fixes it.")


def _effects(name: str, prior: Any, groups: list[str]) -> dict[str, float | Gamma]:
    if isinstance(prior, Gamma):
        return dict.fromkeys(groups, prior)
    if isinstance(prior, StudentT) and prior.loc == 0 and prior.scale == 1:
        return dict.fromkeys(groups, float(prior.df))
    raise DesignError(
        f"The prior of {name!r} is {prior}; it must be StudentT(df), with the location and scale left alone (the "
        "standard deviations have priors of their own), or Gamma for unknown degrees of freedom."
    )


def _check_r2d2(priors: Priors, fixef: Mapping[str, Location]) -> None:
    own = [n for n, p in fixef.items() if n != "Intercept" and p != priors.fixef[n]]
    if own:
        raise DesignError(f"R2D2 governs all coefficients but the intercept, so {own[0]!r} cannot have its own prior.")
    if not [n for n in fixef if n != "Intercept"]:
        raise DesignError("R2D2 needs a coefficient besides the intercept.")
