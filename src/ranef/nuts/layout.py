"""How the sampled variance parameters make θ and σ: shapes that compilation depends on, and numbers it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranef.arrays import Floats
from ranef.likelihood import CrossProducts
from ranef.spec import LKJ, Flat, HalfNormal, HalfStudentT, ModelSpec, Normal, Priors, corr_name

__all__ = ["FixedPrior", "Layout", "TermLayout", "fixed_prior", "hyper_numbers", "make_layout"]

Range = tuple[int, int]


@dataclass(frozen=True)
class TermLayout:
    """One random-effects term.

    Attributes
    ----------
    kind : str
        ``"us"``, ``"diag"`` or ``"ident"``.
    size : int
        Number of columns p.
    grouping, start : int
        Its place in the spec.
    sd, partial, theta : (int, int)
        Its standard deviations, partial correlations and entries of θ, as half-open ranges.
    """

    kind: str
    size: int
    grouping: int
    start: int
    sd: Range
    partial: Range
    theta: Range


@dataclass(frozen=True)
class Layout:
    """Everything static about the variance parameters; hashable, so that models of one layout share compilation.

    Attributes
    ----------
    terms : tuple of TermLayout
    sizes : tuple of int
        Numbers of columns by grouping.
    families : tuple of str
        Family of the prior of each standard deviation: ``"student"``, ``"normal"`` or ``"flat"``.
    sigma_family : str
        The same for σ; ``"known"`` where σ is not sampled.
    flat : bool
        Flat on θ and log σ.
    """

    terms: tuple[TermLayout, ...]
    sizes: tuple[int, ...]
    families: tuple[str, ...]
    sigma_family: str
    flat: bool

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
    def n_hyper(self) -> int:
        """Number of variance parameters sampled."""
        return self.n_sd + self.n_partial + (self.sigma_family != "known")


def make_layout(spec: ModelSpec, priors: Priors) -> Layout:
    """Lay out the variance parameters of a model."""
    terms: list[TermLayout] = []
    families: list[str] = []
    n_partial = 0
    for t in spec.terms:
        p, kind = t.template.size, t.template.kind
        n_sd = 1 if kind == "ident" else p
        pairs = p * (p - 1) // 2 if kind == "us" else 0
        sd = (len(families), len(families) + n_sd)
        terms.append(
            TermLayout(kind, p, t.grouping, t.start, sd, (n_partial, n_partial + pairs), (t.theta.start, t.theta.stop))
        )
        families += ["flat"] * n_sd if priors.flat else [_family(priors.sd[t.group, c]) for c in t.columns[:n_sd]]
        n_partial += pairs
    sigma = "known" if spec.sigma is not None else _family(priors.sigma)
    sizes = tuple(len(g.columns) for g in spec.groupings)
    return Layout(tuple(terms), sizes, tuple(families), sigma, priors.flat)


def _family(prior: Flat | HalfNormal | HalfStudentT) -> str:
    return {HalfStudentT: "student", HalfNormal: "normal", Flat: "flat"}[type(prior)]


def hyper_numbers(spec: ModelSpec, priors: Priors) -> dict[str, Floats]:
    """Numbers of the priors of the variance parameters, in the order of the layout.

    The standard deviation of an ``ident`` term takes the prior of the term's first column.
    """
    scales: list[Flat | HalfNormal | HalfStudentT] = []
    shape: list[float] = []
    for t in spec.terms:
        if not priors.flat:
            scales += [priors.sd[t.group, c] for c in (t.columns[:1] if t.template.kind == "ident" else t.columns)]
        if t.template.kind == "us" and t.template.size > 1 and not priors.flat:
            shape += _vine_shapes(t.template.size, priors.corr[corr_name(t)])
    pairs = np.array([_df_and_scale(s) for s in scales]).reshape(-1, 2)
    df, scale = _df_and_scale(priors.sigma)
    return {
        "df": pairs[:, 0],
        "scale": pairs[:, 1],
        "shape": np.array(shape),
        "sigma_df": np.array(df),
        "sigma_scale": np.array(scale),
        "sigma": np.array(1.0 if spec.sigma is None else spec.sigma),
    }


def _df_and_scale(prior: Flat | HalfNormal | HalfStudentT) -> tuple[float, float]:
    if isinstance(prior, HalfStudentT):
        return prior.df, prior.scale
    return 1.0, prior.scale if isinstance(prior, HalfNormal) else 1.0


def _vine_shapes(size: int, prior: LKJ) -> list[float]:
    """Shape a of each canonical partial correlation (z + 1)/2 ~ Beta(a, a), by rows of the lower triangle.

    Lewandowski, Kurowicka and Joe (2009, J. Multivar. Anal. 100, 1989–2001), the C-vine: a = η + (p − 2 − j)/2 in
    column j, counted from 0.
    """
    return [prior.eta + (size - 2 - j) / 2.0 for i in range(size) for j in range(i)]


@dataclass(frozen=True)
class FixedPrior:
    """Gaussian prior of the fixed effects on the internal scale, flat directions included.

    Attributes
    ----------
    K : array (p + 1, p + 1)
        −2 log density of β̃ is vᵀKv + constant with v = (β̃, −1); zero where all priors are flat.
    log_scale : float
        q log 2π + log |V₀| of the q proper priors, in the user's units.
    """

    K: Floats
    log_scale: float


def fixed_prior(spec: ModelSpec, products: CrossProducts, priors: Priors) -> FixedPrior:
    """The prior of β as a quadratic form; that of ``Intercept`` is on the mean response at the means of the columns."""
    d, scale = spec.design, products.scaling
    centre = np.eye(spec.n_fixed)
    if d.has_intercept:
        centre[0, 1:] = d.X[:, 1:].mean(axis=0)
    proper = [(i, p) for i, name in enumerate(d.fixed_names) if isinstance(p := priors.fixef[name], Normal)]
    if priors.flat or not proper:
        return FixedPrior(np.zeros((spec.n_fixed + 1,) * 2), 0.0)
    rows = centre[[i for i, _ in proper]]
    loc, sd = (np.array([getattr(p, name) for _, p in proper]) for name in ("loc", "scale"))
    half = np.column_stack([scale.y * (rows @ scale.X), loc - rows @ scale.pilot]) / sd[:, None]
    return FixedPrior(half.T @ half, float(len(proper) * np.log(2.0 * np.pi) + 2.0 * np.log(sd).sum()))
