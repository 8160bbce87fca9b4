"""A model, its data and how its fits went, in sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from _ranef.results import PosteriorDraws, RemlEstimates
from _ranef.spec import Generalised, Grouping, ModelSpec, TermSpec
from _ranef.tables import Grid

__all__ = ["data_grids", "engine_words", "fingerprint", "model_words"]


def model_words(spec: ModelSpec, posteriors: Sequence[PosteriorDraws] = ()) -> tuple[str, ...]:
    """What the model says: the fixed part, each random term, and the residuals; and where a posterior differs."""
    d = spec.design
    covariates = _listed(d.fixed_terms)
    mean = f"depends on {covariates}" if covariates else "is constant" if d.has_intercept else "is zero"
    away = "" if d.offset is None else ", apart from the known offset of each row,"
    of = f"The expected value of {d.response}"
    if isinstance(spec.family, Generalised):
        what = "probability" if np.isfinite(spec.family.upper) else "mean"
        of = f"The {spec.family.link} of the {what} of {d.response}"
    words = [f"{of}{away} {mean} in the population ({_count(spec.n_fixed, 'coefficient')})."]
    words += [_term_words(spec, t) for t in spec.terms]
    if len(spec.terms) > 1:
        words.append("Effects of different terms are independent of each other.")
    if isinstance(spec.family, Generalised):
        return (*words, _response_words(spec, spec.family))
    residual = "with one standard deviation σ"
    if spec.sigma is not None:
        residual = f"with the known standard deviation {spec.sigma:g}"
    if spec.variance is not None and spec.variance.names:
        residual = "with a standard deviation that differs from row to row"
    if spec.residual.weighted:
        residual += " divided by the square root of each row's weight"
    independent = "normal" if spec.correlation is not None else "independent and normal"
    words.append(f"What is left in each of the {spec.n_obs} rows is {independent}, {residual}.")
    if spec.variance is not None:
        words.append(f"The standard deviation of a row is σ times {spec.variance.meaning}.")
    if spec.correlation is not None:
        words.append(f"The correlation of what is left in two rows {spec.correlation.meaning}; others are independent.")
    other = sorted({p.not_normal for p in posteriors if p.not_normal})
    words += [f"A posterior has Student t distributions in place of normal ones for {what}." for what in other]
    return tuple(words)


def _response_words(spec: ModelSpec, family: Generalised) -> str:
    """What rows are round their means."""
    own = f", with {_listed(family.dispersions)} as estimated" if family.dispersions else ""
    if family.word == "binomial":
        d = spec.design
        trials = spec.n_obs if d.weights is None else d.weights.sum()
        return f"Given its probability each of the {spec.n_obs} rows is binomial; there are {trials:g} trials in all."
    return f"Given its mean each of the {spec.n_obs} rows is {family.label}{own}, independent of the others."


def _term_words(spec: ModelSpec, term: TermSpec) -> str:
    levels = spec.groupings[term.grouping].n_levels
    names = _listed([_column_words(c) for c in term.columns])
    many = f", {term.structure.meaning}" if len(term.columns) > 1 else ""
    return (
        f"Each of the {levels} levels of {term.group} has {names}: deviations from the population, drawn from a normal "
        f"distribution with mean zero{many}.{_related_words(spec.groupings[term.grouping])}"
    )


def _related_words(g: Grouping) -> str:
    return "" if g.among is None else f" Levels of {g.name} are related by a known covariance."


def _column_words(column: str) -> str:
    if column == "Intercept":
        return "its own intercept"
    return f"its own value at {column}" if "[" in column and ":" not in column else f"its own coefficient of {column}"


def data_grids(spec: ModelSpec) -> tuple[Grid, ...]:
    """The response and the grouping factors in numbers; rows are read by parts."""
    d, sizes, moments = spec.design, [np.zeros(g.n_levels, dtype=np.intp) for g in spec.groupings], []
    for part in spec.parts():
        y = part.design.y
        moments.append((len(y), y.mean(), ((y - y.mean()) ** 2).sum(), y.min(), y.max()))
        for own, g in zip(sizes, part.groupings, strict=True):
            own += np.bincount(g.codes, minlength=len(own))
    n, means, squares, least, most = map(np.array, zip(*moments, strict=True))
    mean = float(np.average(means, weights=n))
    sd = float(np.sqrt((squares.sum() + n @ (means - mean) ** 2) / (n.sum() - 1)))
    response = Grid(
        ("Response", "rows", "left out", "mean", "sd", "min", "max"),
        ((d.response, str(n.sum()), str(d.n_dropped), *(f"{v:.4g}" for v in (mean, sd, least.min(), most.max()))),),
    )
    rows = [
        (g.name, str(g.n_levels), str(own.min()), f"{np.median(own):g}", str(own.max()))
        for g, own in zip(spec.groupings, sizes, strict=True)
    ]
    return response, Grid(("Grouping factor", "levels", "fewest rows", "median", "most rows"), tuple(rows))


def engine_words(record: RemlEstimates | PosteriorDraws, warnings: Sequence[str] = ()) -> tuple[str, ...]:
    """How a fit went."""
    if isinstance(record, RemlEstimates):
        o = record.optimizer
        return (f"{o.message} ({_count(o.n_evaluations, 'evaluation')} of the criterion.)",)
    chains, draws = record.sigma.shape
    if not record.chained:
        return (*record.notes, *(warnings or ("The weights of importance may be trusted.",)))
    run = f"{_count(chains, 'chain')} of {draws} draws after {record.warmup} warm-up steps, by {record.sampler}."
    fine = "No divergence, R-hat and effective sample sizes as they should be: nothing to say against the run."
    return (run, *record.notes, *(warnings or (fine,)))


def fingerprint(spec: ModelSpec) -> str:
    """Twelve hexadecimal digits of the numbers that the model used, rows in order: the same data give the same."""
    hashes: dict[int, Any] = {}
    for part in spec.parts():
        d = part.design
        arrays = [d.y, d.X, *(a for g in part.groupings for a in (g.codes, g.Z))]
        for i, a in enumerate([*arrays, *(v for v in (d.weights, d.offset) if v is not None)]):
            hashes.setdefault(i, hashlib.sha256()).update(np.ascontiguousarray(a).tobytes())
    return hashlib.sha256(b"".join(own.digest() for own in hashes.values())).hexdigest()[:12]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"
