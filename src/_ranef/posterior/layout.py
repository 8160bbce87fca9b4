"""How the sampled parameters make θ, σ and coefficients: what compilation depends on, and numbers it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma
from types import ModuleType
from typing import Any

import numpy as np

from _ranef.errors import NotAvailableError
from _ranef.spec import (
    LKJ,
    Custom,
    Exponential,
    Flat,
    Gamma,
    HalfNormal,
    HalfStudentT,
    ModelSpec,
    Normal,
    Priors,
    StudentT,
    Uniform,
    corr_name,
)
from _ranef.structures import ShapeParameter
from _ranef.support.arrays import Floats

__all__ = [
    "FAMILIES",
    "Layout",
    "TermLayout",
    "hyper_numbers",
    "make_layout",
    "theta_of",
    "unconstrained_values",
]

Range = tuple[int, int]

#: families of one number, in the order of their codes in :mod:`_ranef.posterior.loops.prior_terms`; the last is flat on
#: the logarithm
FAMILIES = ("flat", "normal", "student", "gamma", "log flat")


@dataclass(frozen=True)
class TermLayout:
    """One random-effects term.

    Attributes
    ----------
    triangular : bool
        Whether θ is a whole triangle; else each standard deviation, over σ, and the coordinates of shape parameters.
    size : int
        Number of columns p.
    sd, partial, shape, theta : (int, int)
        Its standard deviations, partial correlations, shape parameters and entries of θ, as half-open ranges.
    """

    triangular: bool
    size: int
    sd: Range
    partial: Range
    shape: Range
    theta: Range


@dataclass(frozen=True)
class Layout:
    """Everything static about the sampled parameters; hashable, so that models of one layout share compilation.

    Attributes
    ----------
    terms : tuple of TermLayout
    families : tuple of str
        Family of the prior of each standard deviation, one of :data:`FAMILIES` or ``"custom"``.
    sigma_family : str
        The same for σ; ``"known"`` where σ is not sampled.
    fixed_families : tuple of str
        Those of the coefficients that are sampled rather than integrated out.
    shapes : tuple of (str, str)
        Family of the prior of each shape parameter, and its bounds: ``"both"``, ``"below"`` or ``"none"``.
    rows : int
        Number of parameters of residual variances.
    flat : bool
        Flat on θ and log σ.
    r2d2 : int
        Number of coefficients that a global scale governs.
    """

    terms: tuple[TermLayout, ...]
    families: tuple[str, ...]
    sigma_family: str
    fixed_families: tuple[str, ...]
    shapes: tuple[tuple[str, str], ...]
    rows: int
    flat: bool
    r2d2: int

    @property
    def n_sd(self) -> int:
        """Number of standard deviations sampled."""
        return self.terms[-1].sd[1] if self.terms else 0

    @property
    def n_partial(self) -> int:
        """Number of partial correlations sampled."""
        return self.terms[-1].partial[1] if self.terms else 0

    @property
    def n_theta(self) -> int:
        """Length of θ."""
        return self.terms[-1].theta[1] if self.terms else 0

    @property
    def custom(self) -> tuple[str, ...]:
        """Sites of priors that only numpyro knows: ``sd0``, ``sigma``, ``fixef1``..."""
        sds = [f"sd{i}" for i, f in enumerate(self.families) if f == "custom"]
        fixed = [f"fixef{i}" for i, f in enumerate(self.fixed_families) if f == "custom"]
        return (*sds, *(["sigma"] if self.sigma_family == "custom" else []), *fixed)

    @property
    def sites(self) -> tuple[tuple[str, int], ...]:
        """Names and lengths of the sampled sites, in the order of the flat vector of unconstrained values."""
        sds = sum(f != "custom" for f in self.families)
        fixed = sum(f != "custom" for f in self.fixed_families)
        sampled_sigma = self.sigma_family not in ("known", "custom")
        names = ("diagonal", "off_diagonal", "log_sigma") if self.flat else ("sd", "partial", "sigma")
        sizes = [*zip(names, (sds, self.n_partial, int(sampled_sigma)), strict=True), ("fixef", fixed)]
        sizes += [(f"custom_{name}", 1) for name in self.custom]
        sizes += [
            ("r2", int(self.r2d2 > 0)),
            ("phi", max(self.r2d2 - 1, 0)),
            ("shape", len(self.shapes)),
            ("rho", self.rows),
        ]
        return tuple((name, n) for name, n in sizes if n)

    @property
    def n_hyper(self) -> int:
        """Length of the flat vector."""
        return sum(n for _, n in self.sites)

    @property
    def plain(self) -> bool:
        """Whether every prior has a family of this package."""
        return not self.custom and not self.r2d2


def make_layout(spec: ModelSpec, priors: Priors) -> Layout:
    """Lay out the sampled parameters of a model."""
    terms: list[TermLayout] = []
    families: list[str] = []
    shapes: list[tuple[str, str]] = []
    n_partial = 0
    for t in spec.terms:
        own = t.structure
        n_sd, pairs = len(own.own_sds), len(own.pairs) if own.free else 0
        if not own.free and own.n_theta != n_sd + len(own.shapes):
            raise NotAvailableError(
                f"{t.text} cannot be sampled: {own.word} does not say what parameters it has besides standard "
                "deviations. Model.fit() fits it."
            )
        sd = (len(families), len(families) + n_sd)
        partial, shape = (n_partial, n_partial + pairs), (len(shapes), len(shapes) + len(own.shapes))
        terms.append(TermLayout(own.free, own.size, sd, partial, shape, (t.theta.start, t.theta.stop)))
        families += ["flat"] * n_sd if priors.flat else [_family(prior) for prior in priors.sds(t)]
        shapes += [(_family(p), _bounds(s)) for p, s in zip(priors.shapes(t), own.shapes, strict=True)]
        n_partial += pairs
    sampled_sigma = "log flat" if priors.flat else _family(priors.sigma)
    sigma = sampled_sigma if spec.sigma is None else "known"
    fixed = [_family(p) for p in _sampled(spec, priors)]
    r2d2 = 0 if priors.r2d2 is None else sum(name != "Intercept" for name in spec.design.fixed_names)
    rows = 0 if spec.rho is not None else len(spec.rho_names)
    return Layout(tuple(terms), tuple(families), sigma, tuple(fixed), tuple(shapes), rows, priors.flat, r2d2)


def _bounds(s: ShapeParameter) -> str:
    return "both" if s.bounded else "below" if s.positive else "none"


def _sampled(spec: ModelSpec, priors: Priors) -> list[Any]:
    """Priors of the coefficients that are not integrated out, as :func:`_ranef.likelihood.fixed_part` parts them."""
    governed = priors.r2d2 is not None
    names = [n for n in spec.design.fixed_names if n == "Intercept" or not governed]
    if priors.flat:
        return []
    _, kinds = priors.coordinates(spec.design.fixed_names)
    sampled = [p for n, p in zip(spec.design.fixed_names, kinds, strict=True) if n in names]
    return [p for p in sampled if not isinstance(p, Flat | Normal)]


def _family(prior: object) -> str:
    if isinstance(prior, Custom):
        return "custom"
    if isinstance(prior, Flat | Uniform):
        return "flat"
    if isinstance(prior, HalfNormal | Normal):
        return "normal"
    return "gamma" if isinstance(prior, Gamma | Exponential) else "student"


def _numbers(prior: Any, *, half: bool) -> tuple[float, float, float, float]:
    """Shape, location, scale and logarithm of the constant of a prior of one number."""
    if isinstance(prior, Flat | Custom):
        return 1.0, 0.0, 1.0, 0.0
    if isinstance(prior, Uniform):
        return 1.0, 0.0, 1.0, -float(np.log(prior.high - prior.low))
    if isinstance(prior, Gamma | Exponential):
        shape = prior.shape if isinstance(prior, Gamma) else 1.0
        return shape, 0.0, 1.0 / prior.rate, float(shape * np.log(prior.rate) - lgamma(shape))
    doubled = float(np.log(2.0)) if half else 0.0
    loc = 0.0 if half else prior.loc
    if isinstance(prior, HalfNormal | Normal):
        return 1.0, loc, prior.scale, doubled - float(0.5 * np.log(2.0 * np.pi) + np.log(prior.scale))
    df = prior.df if isinstance(prior, HalfStudentT | StudentT) else 1.0
    constant = lgamma(0.5 * (df + 1.0)) - lgamma(0.5 * df) - float(0.5 * np.log(df * np.pi) + np.log(prior.scale))
    return df, loc, prior.scale, doubled + constant


def hyper_numbers(spec: ModelSpec, priors: Priors) -> dict[str, Any]:
    """Numbers of the priors of the sampled parameters, in the order of the layout.

    Returns
    -------
    dict
        ``sd`` (n_sd, 4), ``sigma`` (4,) and ``fixef`` (s, 4) hold shape, location, scale and log constant; ``vine``
        (n_partial, 2) the shape a of each (z + 1)/2 ~ Beta(a, a) and its log constant; ``shape`` (s, 6) the numbers of
        shape parameters and their bounds; ``known`` a known σ;
        ``custom`` the distributions of numpyro in the order of ``Layout.custom``; ``r2d2`` (3,) and ``spreads``.

    Notes
    -----
    The standard deviation of an ``ident`` term takes the prior of the term's first column.
    """
    sds: list[Any] = []
    vine: list[tuple[float, float]] = []
    shapes: list[tuple[float, ...]] = []
    for t in spec.terms:
        sds += [Flat()] * len(t.structure.own_sds) if priors.flat else priors.sds(t)
        if t.structure.free and t.structure.pairs and not priors.flat:
            vine += _vine(t.structure.size, priors.corr[corr_name(t)])
        for p, s in zip(priors.shapes(t), t.structure.shapes, strict=True):
            shapes.append((*_numbers(p, half=s.positive), s.low, s.high))
    fixed = _sampled(spec, priors)
    customs = [p for p in [*sds, priors.sigma if spec.sigma is None else None, *fixed] if isinstance(p, Custom)]
    r2d2 = (*priors.r2d2.shapes, priors.r2d2.concentration) if priors.r2d2 else (1.0, 1.0, 1.0)
    return {
        "sd": np.array([_numbers(p, half=True) for p in sds]).reshape(-1, 4),
        "sigma": np.array(_numbers(priors.sigma, half=True)),
        "fixef": np.array([_numbers(p, half=False) for p in fixed]).reshape(-1, 4),
        "shape": np.array(shapes).reshape(-1, 6),
        "vine": np.array(vine).reshape(-1, 2),
        "known": np.array(1.0 if spec.sigma is None else spec.sigma),
        "custom": tuple(c.distribution for c in customs),
        "r2d2": np.array(r2d2),
        "spreads": np.array([v for n, v in priors.spreads.items() if n != "Intercept"]),
    }


def _vine(size: int, prior: LKJ) -> list[tuple[float, float]]:
    """Shape a of each canonical partial correlation (z + 1)/2 ~ Beta(a, a), by rows of the lower triangle.

    Lewandowski, Kurowicka and Joe (2009, J. Multivar. Anal. 100, 1989–2001), the C-vine: a = η + (p − 2 − j)/2 in
    column j, counted from 0.
    """
    shapes = [prior.eta + (size - 2 - j) / 2.0 for i in range(size) for j in range(i)]
    return [(a, lgamma(2.0 * a) - 2.0 * lgamma(a) - (2.0 * a - 1.0) * float(np.log(2.0))) for a in shapes]


def unconstrained_values(layout: Layout, flat: Floats) -> dict[str, Floats]:
    """Unconstrained values (..., n) by site, from a flat vector (..., n_hyper)."""
    out, at = {}, 0
    for name, n in layout.sites:
        out[name] = flat[..., at : at + n]
        at += n
    return out


def theta_of(layout: Layout, relative: Sequence[Any], off: Sequence[Any], shapes: Sequence[Any], xp: ModuleType) -> Any:
    """θ (n_theta, ...) by numpy or jax.numpy.

    Parameters
    ----------
    layout : Layout
    relative : sequence of array
        sd/σ of each random effect; with flat priors the diagonal of λ.
    off : sequence of array
        Canonical partial correlations by rows; with flat priors the entries of λ below the diagonal, by columns.
    shapes : sequence of array
        Coordinates of shape parameters.
    xp : module
    """
    entries: list[Any] = []
    for t in layout.terms:
        sd, below = list(relative[slice(*t.sd)]), list(off[slice(*t.partial)])
        if not t.triangular:
            entries += [*sd, *shapes[slice(*t.shape)]]
        elif layout.flat:
            rest = iter(below)
            entries += [sd[i] if i == j else next(rest) for j in range(t.size) for i in range(j, t.size)]
        else:
            root = _correlation_root(below, t.size, xp)
            entries += [sd[i] * root[i][j] for j in range(t.size) for i in range(j, t.size)]
    return xp.stack(entries) if entries else xp.zeros(0)


def _correlation_root(partial: Sequence[Any], size: int, xp: ModuleType) -> list[list[Any]]:
    """Lower Cholesky factor of the correlation matrix that canonical partial correlations make."""
    z = iter(partial)
    rows: list[list[Any]] = []
    for i in range(size):
        rest: Any = 1.0
        row: list[Any] = []
        for _ in range(i):
            value = next(z)
            row.append(value * rest)
            rest = rest * xp.sqrt(1.0 - value**2)
        rows.append([*row, rest])
    return rows
