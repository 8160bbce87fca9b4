"""The priors of one model: data-scaled defaults, replacements by name, and how they print."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from _ranef.errors import DesignError, suggestion
from _ranef.spec.column_moments import Moments, moments
from _ranef.spec.generalised_response import Generalised, Rows
from _ranef.spec.model import ModelSpec, TermSpec
from _ranef.spec.prior_coordinates import (
    Directions,
    TermColumns,
    coding_notes,
    fixed_directions,
    plain_columns,
    term_columns,
)
from _ranef.spec.prior_families import (
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
    ShapePrior,
    StudentT,
    Uniform,
    from_numpyro,
    is_numpyro,
)
from _ranef.spec.response import Family, Student, family_of
from _ranef.spec.rho_prior import rho_parameters
from _ranef.structures import ShapeParameter
from _ranef.support.arrays import Floats

__all__ = ["Priors", "corr_name", "default_priors", "flat_priors", "replacements", "shape_name"]

#: a standard deviation of this part of the root mean square is rounding
CONSTANT = 1e-12

#: how far a term may move the response, in its standard deviations
WIDTH = 2.5

LOCATIONS = (Normal, StudentT, Cauchy, Flat, Custom)
SCALES = (HalfNormal, HalfStudentT, HalfCauchy, Exponential, Gamma, Flat, Custom)


@dataclass(frozen=True, repr=False)
class Priors:
    """The priors of one model, with their numbers.

    Attributes
    ----------
    fixef : mapping str to Normal, StudentT, Cauchy, Flat or Custom
        By coefficient. The prior of ``Intercept`` is on the mean response over the rows. Those of other coefficients
        are marginals of `joint`, unless they have been replaced.
    sd : mapping (group, column) to HalfNormal, HalfStudentT, HalfCauchy, Exponential, Gamma, Flat or Custom
        Standard deviations of the random effects in the coordinates of `columns`; the one of an ``ident`` term stands
        under its first column.
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
        The same for a Student t response; not used for others.
    dispersions : mapping str to float or Gamma
        The same of the parameters of a generalised response, by name.
    spreads : mapping str to float
        Standard deviation of the column of each coefficient but the intercept, to which `r2d2` is relative.
    joint : Directions, optional
        Coordinates of the coefficients that have independent default priors.
    columns : mapping str to TermColumns
        By the text of a term: coordinates of its random effects, in which `sd` and `corr` stand.
    known_sigma : float, optional
        A residual standard deviation that is known, and has no prior.
    notes : tuple of str
        What the choice of coordinates cannot cure.
    shape : mapping str to ShapePrior
        By :func:`shape_name`; parameters of covariance structures that are no standard deviations.
    rho : mapping str to ShapePrior
        By the names of tables; parameters of residual variances and correlations that have no default prior.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> print(model.priors({"sigma": ranef.priors.HalfNormal(1.0)}).lines()[-1])
    sigma ~ HalfNormal(1)
    """

    fixef: Mapping[str, Location]
    sd: Mapping[tuple[str, str], Scale]
    corr: Mapping[str, LKJ]
    sigma: Scale
    flat: bool = False
    r2d2: R2D2 | None = None
    effects: Mapping[str, float | Gamma] = field(default_factory=dict)
    df: float | Gamma = Student.parameters["nu"]
    spreads: Mapping[str, float] = field(default_factory=dict)
    joint: Directions | None = None
    columns: Mapping[tuple[str, int], TermColumns] = field(default_factory=dict)
    known_sigma: float | None = None
    notes: tuple[str, ...] = ()
    shape: Mapping[str, ShapePrior] = field(default_factory=dict)
    rho: Mapping[str, ShapePrior] = field(default_factory=dict)
    dispersions: Mapping[str, float | Gamma] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def coordinates(self, names: Sequence[str]) -> tuple[Floats, list[Location]]:
        """C (p, p) with c = Cβ, and the independent priors of c.

        A block of the default coordinates of which a coefficient has another prior is given up for the coefficients
        themselves; the intercept's is the mean response over the rows all the same.
        """
        priors, joint = [self.fixef[name] for name in names], self.joint
        if joint is None:
            return np.eye(len(names)), priors
        own = np.array([p != d for p, d in zip(priors, _normals(joint.mean, joint.sd), strict=True)], dtype=bool)
        given_up = np.isin(joint.blocks, joint.blocks[own | (self.r2d2 is not None)])
        if names[:1] == ("Intercept",):
            given_up[0] = False
        C = np.where(given_up[:, None], np.eye(len(names)), joint.C)
        replaced = zip(given_up | own, priors, _normals(joint.loc, joint.scale), strict=True)
        return C, [prior if own_prior else default for own_prior, prior, default in replaced]

    def _place(self, name: str) -> str:
        """What to say beside the prior of a coefficient."""
        if name == "Intercept" or self.joint is None:
            return " (mean response at the means of the other columns)" if len(self.fixef) > 1 else ""
        together = np.flatnonzero(self.joint.blocks == self.joint.blocks[list(self.fixef).index(name)])
        C, _ = self.coordinates(tuple(self.fixef))
        own = self.r2d2 is not None or np.array_equal(C[together], np.eye(len(C))[together])
        return "" if own or len(together) == 1 else " (jointly, the same for every coding)"

    def term(self, t: TermSpec) -> TermColumns:
        """The coordinates of a term's random effects."""
        return self.columns.get((t.group, t.start)) or plain_columns(t, np.ones(len(t.columns)))

    def sds(self, t: TermSpec) -> list[Scale]:
        """Priors of the standard deviations of a term in its coordinates; one that several columns share, once."""
        names = self.term(t).names
        return [self.sd[t.group, names[i]] for i in t.structure.own_sds]

    def shapes(self, t: TermSpec) -> list[ShapePrior]:
        """Priors of the shape parameters of a term."""
        own = t.structure.shapes
        return [_flat_shape(s) for s in own] if self.flat else [self.shape[shape_name(t, s)] for s in own]

    @property
    def response(self) -> dict[str, float | Gamma]:
        """Priors of the parameters that families of the response have of their own, or their values where known."""
        return {"nu": self.df, **self.dispersions}

    def lines(self, family: Family | str = "gaussian") -> list[str]:
        """One line for each prior, for printing."""
        response = family_of(family) if isinstance(family, str) else family
        if self.flat:
            sigma = [] if isinstance(response, Generalised) else ["log(sigma) ~ flat"]
            return ["beta ~ flat", "theta ~ flat (relative Cholesky factor)", *sigma, *self._of_response(response)]
        out = []
        for name, p in self.fixef.items():
            prior = str(p) if self.r2d2 is None or name == "Intercept" else str(self.r2d2)
            out.append(f"{name} ~ {prior}{self._place(name)}")
        where: dict[tuple[str, str], str] = {}
        cors: dict[str, str] = {}
        for (g, _), own in self.columns.items():
            where |= {(g, c): text for c, text in zip(own.names, own.where, strict=True)}
            cors[_cor_name(own.columns, g)] = _cor_name(own.names, g)
        out += [f"sd({c} | {g}) ~ {p}{where.get((g, c), '')}" for (g, c), p in self.sd.items()]
        out += [f"{cors.get(name, name)} ~ {p}" for name, p in self.corr.items()]
        out += [f"{name} ~ {p}" for name, p in [*self.shape.items(), *self.rho.items()]]
        out += [f"ranef[{group}] ~ Student t, df {_df_text(df)}" for group, df in self.effects.items()]
        out += self._of_response(response)
        if isinstance(response, Generalised):
            return out
        return [*out, f"sigma ~ {self.sigma}" if self.known_sigma is None else f"sigma = {self.known_sigma:g}, known"]

    def _of_response(self, family: Family) -> list[str]:
        """The line of the parameters that a family has of its own."""
        if not family.parameters:
            return []
        numbers = (f"{name} {_df_text(self.response[name])}" for name in family.parameters)
        return [f"response ~ {', '.join((family.label, *numbers))}"]


def _df_text(df: float | Gamma) -> str:
    return f"= {df:g}" if isinstance(df, float) else f"~ {df}"


def corr_name(term: TermSpec) -> str:
    """Name of the correlations of a term, as ``cor(Intercept, Days | Subject)``."""
    return _cor_name(term.columns, term.group)


def shape_name(term: TermSpec, parameter: ShapeParameter) -> str:
    """Name of a shape parameter of a term, as ``cor(a, b, c | g)``."""
    return f"{parameter.name}({', '.join(term.columns)} | {term.group})"


def _cor_name(columns: Sequence[str], group: str) -> str:
    return f"cor({', '.join(columns)} | {group})"


def _normals(loc: Floats, scale: Floats) -> list[Normal]:
    return [Normal(float(m), float(s)) for m, s in zip(loc, scale, strict=True)]


def default_priors(
    spec: ModelSpec, changes: Mapping[str, object] | None = None, about: Moments | None = None
) -> Priors:
    """Weakly informative priors scaled to the data.

    With s the standard deviation of the response (offset removed): Intercept ~ Normal(mean, 2.5 s) at the means of the
    other columns; a numeric column's coefficient ~ Normal(0, 2.5 s / sd of the column), coefficients of a term of
    several columns jointly so that its coding does not matter (:func:`_ranef.spec.prior_coordinates.fixed_directions`).
    The standard deviation of a random effect ~ HalfStudentT(3, s / sd of its column), of an intercept and of effects in
    cells of factors HalfStudentT(3, s), correlations ~ LKJ(1), in coordinates that know neither origins nor codings
    (:func:`_ranef.spec.prior_coordinates.term_columns`); with a known covariance K among levels over the root of its
    mean variance. σ ~ HalfStudentT(3, s √w̄) with w̄ the mean weight. Other parameters of a covariance structure are
    uniform between their bounds, or of the size that the structure gives.

    A prior given to standard deviations is of the columns as they are written; their term then stands in these. One
    given to correlations alone stands where the default does.

    Parameters
    ----------
    spec : ModelSpec
    changes : mapping, optional
        Replacements by name, families of this package or distributions of numpyro: a coefficient's name, ``"fixef"``
        (all but the intercept); ``"sd"`` (all), ``"sd[group]"``, ``"sd[group, column]"``; ``"cor"``, ``"cor[group]"``
        (other parameters of a covariance structure likewise, by their names); ``"sigma"``; ``"ranef"`` or
        ``"ranef[group]"`` (``StudentT(df)`` for Student t random effects); ``"nu"`` (degrees of freedom of a Student t
        response); parameters of residual variances and correlations by the names that tables print, as ``"ratio(B)"``,
        ``"power"`` or ``"Phi"``. The more specific name wins. Names as they are printed,
        ``"sd(column | group)"``, will do too.
    about : Moments, optional
        Those of `spec`, where they are at hand.

    Raises
    ------
    DesignError
        If a name is not one of these, or the family does not fit.
    """
    about = moments(spec) if about is None else about
    about = _of_link(spec, spec.family, about) if isinstance(spec.family, Generalised) else _with_unit(spec, about)
    changes = {_spaced(name): prior for name, prior in dict(changes or {}).items()}
    names, s = spec.design.fixed_names, about.y_sd
    joint = fixed_directions(spec, about, WIDTH)
    fixef: dict[str, Location] = dict(zip(names, _normals(joint.mean, joint.sd), strict=True))
    spread = about.X_sd if spec.design.has_intercept else about.X_rms
    spreads = {n: float(v) or 1.0 for n, v in zip(names, spread, strict=True) if n != "Intercept"}
    columns: dict[tuple[str, int], TermColumns] = {}
    for t in spec.terms:
        named = [c for c in t.columns if changes.keys() & {"sd", f"sd[{t.group}]", *_sd_names(t.group, c)}]
        own = term_columns(spec, t, about, named=named)
        taken = {c for other in spec.terms if other is not t and other.group == t.group for c in other.columns}
        if taken & {*own.names}:  # a cell has the name of another term's column
            own = term_columns(spec, t, about, named=t.columns)
        columns[t.group, t.start] = own
    sd: dict[tuple[str, str], Scale] = {}
    for t in spec.terms:
        own = columns[t.group, t.start]
        sizes = own.sizes
        if t.structure.shared:  # the first standard deviation is one for columns of several sizes
            others = t.structure.own_sds[1:]
            sizes = np.sqrt([np.delete(sizes**2, others).mean(), *sizes[others] ** 2])
        sizes = sizes * np.sqrt(spec.groupings[t.grouping].unit)
        sd |= {(t.group, c): HalfStudentT(3.0, s / float(v)) for c, v in zip(own.names, sizes, strict=False)}
    corr = {corr_name(t): LKJ(1.0) for t in spec.terms if t.structure.free and t.structure.pairs}
    sigma = HalfStudentT(3.0, s * float(np.sqrt(about.weight)))
    priors = Priors(
        fixef,
        sd,
        corr,
        sigma,
        spreads=spreads,
        joint=joint,
        columns=columns,
        known_sigma=spec.sigma,
        notes=coding_notes(spec),
        shape={shape_name(t, s): _default_shape(s) for t in spec.terms for s in t.structure.shapes},
        dispersions=_of_dispersions(spec),
    )
    return _changed(priors, _Names(spec, priors), changes)


def _of_dispersions(spec: ModelSpec) -> Mapping[str, float | Gamma]:
    return spec.family.own_priors(_rows(spec)) if isinstance(spec.family, Generalised) else {}


def _default_shape(s: ShapeParameter) -> ShapePrior:
    if s.bounded:
        return Uniform(s.low, s.high)
    return HalfStudentT(3.0, s.scale) if s.positive else Normal(0.0, s.scale)


def _flat_shape(s: ShapeParameter) -> ShapePrior:
    return Uniform(s.low, s.high) if s.bounded else Flat()


def _of_link(spec: ModelSpec, family: Generalised, about: Moments) -> Moments:
    """Moments of a linear predictor that moves by a unit of its link around that of the mean response."""
    rows, offset = _rows(spec), np.zeros(spec.n_obs) if spec.design.offset is None else spec.design.offset
    mean, unit = family.central(rows, offset), family.unit(rows)
    return replace(about, y_mean=mean, y_sd=unit, y_rms=float(np.hypot(mean, unit)))


def _rows(spec: ModelSpec) -> Rows:
    d = spec.design
    return Rows(d.y, np.ones(spec.n_obs) if d.weights is None else d.weights)


def _with_unit(spec: ModelSpec, about: Moments) -> Moments:
    """Moments in which a constant response, which only a known σ allows, varies as the residuals do."""
    if about.y_sd > CONSTANT * about.y_rms:
        return about
    unit = (spec.sigma or 1.0) / float(np.sqrt(about.weight))
    return replace(about, y_sd=unit, y_rms=float(np.hypot(about.y_rms, unit)))


def _spaced(name: str) -> str:
    """``sd[g,x]`` as ``sd[g, x]``; commas within the names of levels stay as they are."""
    return re.sub(r"^(sd\[[^,\]]+)\s*,\s*", r"\1, ", name)


def _sd_names(group: str, column: str) -> tuple[str, str]:
    return f"sd[{group}, {column}]", f"sd({column} | {group})"


def replacements(priors: Priors, default: Priors) -> dict[str, object]:
    """Names and priors, as ``sample`` takes them, that make `priors` out of the `default` ones."""
    usual = _entries(default)
    own = _entries(priors).items()
    return _sd_replacements(priors, default) | {name: p for name, p in own if name not in usual or usual[name] != p}


def _sd_replacements(priors: Priors, default: Priors) -> dict[str, object]:
    out: dict[str, object] = {}
    for key, own in priors.columns.items():
        written = not np.array_equal(own.outward, default.columns[key].outward)
        for c in own.names:
            p = priors.sd.get((key[0], c))  # None for all but the first of an ``ident`` term
            if p is not None and (written or p != default.sd.get((key[0], c))):
                out[_sd_names(key[0], c)[0]] = p
    return out


def _entries(priors: Priors) -> dict[str, object]:
    """Every prior but those of standard deviations, by its most specific name."""
    out: dict[str, object] = {
        f"fixef[{n}]": p for n, p in priors.fixef.items() if priors.r2d2 is None or n == "Intercept"
    }
    out |= {**priors.corr, **priors.shape, **priors.rho}
    out |= {"fixef": priors.r2d2} if priors.r2d2 is not None else {}
    out |= {f"ranef[{g}]": StudentT(df) if isinstance(df, float) else df for g, df in priors.effects.items()}
    out |= {"nu": priors.df, **priors.dispersions}
    return out | ({"sigma": priors.sigma} if priors.known_sigma is None else {})


def flat_priors(spec: ModelSpec) -> Priors:
    """Flat on β, θ and log σ: the choice under which the marginal mode of θ is the REML estimate.

    What a family of the response has of its own, as a dispersion, keeps its default prior: under a flat one the
    posterior would be improper wherever the likelihood has a limit, as that of counts that vary like Poisson ones.
    """
    fixef = {name: Flat() for name in spec.design.fixed_names}
    return Priors(fixef, {}, {}, Flat(), flat=True, dispersions=_of_dispersions(spec))


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
            self.sd |= {name: [(group, column)] for name in _sd_names(group, column)}
        self.corr |= {name: [name] for name in priors.corr}
        self.shapes = {s.name for t in spec.terms for s in t.structure.shapes}
        self.shape: dict[str, list[tuple[str, ShapeParameter]]] = {}
        for t in spec.terms:
            for s in t.structure.shapes:
                for name in (s.name, f"{s.name}[{t.group}]", shape_name(t, s)):
                    self.shape.setdefault(name, []).append((shape_name(t, s), s))
        self.rho = rho_parameters(spec)
        own = ["nu", "sigma"] if not isinstance(spec.family, Generalised) else list(spec.family.parameters)
        self.response = own
        self.effects = {"ranef": groups, **{f"ranef[{group}]": [group] for group in groups}}

    @property
    def known(self) -> list[str]:
        """Names worth printing."""
        shown = [n for n in self.fixef if not n.startswith("fixef[") and n != "b"]
        sds = [n for n in self.sd if "(" not in n.partition("[")[0]]
        corrs = [n for n in self.corr if n.startswith("cor[") or n == "cor"] if len(self.corr) > 2 else []
        shapes = [n for n in self.shape if "(" not in n and n not in corrs]
        return [*shown, *sds, *corrs, *shapes, *self.effects, *self.rho, *self.response]


def _changed(priors: Priors, names: _Names, changes: dict[str, object]) -> Priors:
    fixef, sd, corr, effects = dict(priors.fixef), dict(priors.sd), dict(priors.corr), dict(priors.effects)
    sigma, df, r2d2, shape = priors.sigma, priors.df, priors.r2d2, dict(priors.shape)
    dispersions = dict(priors.dispersions)
    rho = dict(priors.rho)
    for name in sorted(changes, key=lambda name: _specificity(name, names.shapes)):
        prior = changes[name]
        if is_numpyro(prior):
            prior = from_numpyro(name, prior)
        if name == "sigma" and "sigma" in names.response and priors.known_sigma is not None:
            raise DesignError(f"sigma is known to be {priors.known_sigma:g} in this model, so it has no prior.")
        if name == "sigma" and name in names.response:
            sigma = _scale(name, prior)
        elif name in dispersions:
            dispersions[name] = _degrees(name, prior)
        elif name == "nu" and name in names.response:
            df = _degrees(name, prior)
        elif name in names.shape and not (names.corr.get(name) and isinstance(prior, LKJ)):
            shape |= {full: _shape(name, prior, s) for full, s in names.shape[name]}
        elif name in names.corr:
            corr.update(dict.fromkeys(names.corr[name], _family(name, prior, (LKJ,))))
        elif name in names.sd:
            sd.update(dict.fromkeys(names.sd[name], _scale(name, prior)))
        elif name in names.rho:
            rho[name] = _of_residuals(name, prior, names.rho[name])
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
    return replace(
        priors,
        fixef=fixef,
        sd=sd,
        corr=corr,
        sigma=sigma,
        effects=effects,
        df=df,
        dispersions=dispersions,
        r2d2=r2d2,
        shape=shape,
        rho=rho,
    )


def _specificity(name: str, shapes: Collection[str]) -> int:
    """General names first."""
    return (name not in {"fixef", "b", "sd", "cor", "corr", "ranef", *shapes}) + ("," in name or "(" in name)


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


def _shape(name: str, prior: Any, s: ShapeParameter) -> ShapePrior:
    """A family for a shape parameter; it counts between the bounds of the parameter only."""
    if isinstance(prior, Flat):
        return _flat_shape(s)
    if s.positive:
        prior = _scale(name, prior)
    allowed = tuple(f for f in (SCALES if s.positive else LOCATIONS) if f is not Custom)
    out: ShapePrior = _family(name, prior, allowed)
    return out


def _of_residuals(name: str, prior: Any, s: ShapeParameter) -> ShapePrior:
    """A family for a parameter of residuals, which must reach between its bounds."""
    out = _shape(name, prior, s)
    if s.bounded and not isinstance(out, Uniform):
        drawn = out.sample(np.random.default_rng(0), (10_000,))
        if not ((drawn > s.low) & (drawn < s.high)).any():
            raise DesignError(
                f"The prior of {name!r} is {prior}, which has no mass to speak of between {s.low:g} and {s.high:g}, "
                "where the parameter lies."
            )
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
