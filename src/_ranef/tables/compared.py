"""The side-by-side table of several fits, with a word on what each column estimates and how far they agree."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from _ranef.comparison import Aligned
from _ranef.results import ESTIMATING
from _ranef.tables.model import Block, Document, Grid, Text
from _ranef.tables.numbers import decimals_for, with_decimals

__all__ = ["FitColumns", "agreement_lines", "comparison_table", "decomposition_line", "doubt_lines"]

#: characters of a line of prose
WIDTH = 112

#: fits that are shown with their intervals; more would not fit the width of a page
WITH_INTERVALS = 2


@dataclass(frozen=True)
class FitColumns:
    """One fit of the table.

    Attributes
    ----------
    name : str
        In the frames.
    heading : str
    engine : str
        ``"REML"``, ``"ML"``, ``"NUTS"`` or ``"direct"``.
    remarks : tuple of str
        Sentences about it, such as priors of its own.
    doubts : tuple of str
        Sentences on why it should not be trusted; none where it may be.
    owed : tuple of str
        Sentences on what owes much to its prior.
    """

    name: str
    heading: str
    engine: str
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()


def comparison_table(
    formula: str,
    frames: Aligned,
    fits: Sequence[FitColumns],
    level: float,
    *,
    max_levels: int = 10,
    agreement: Sequence[str] = (),
    boundary: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> Document:
    """One table of variance components, coefficients and random effects, and prose under it.

    Parameters
    ----------
    formula : str
    frames : Aligned
    fits : sequence of FitColumns
        Two are shown with their intervals, more with estimates and sds.
    level : float
    max_levels : int
        Of each factor and term.
    agreement, boundary : sequence of str
        Paragraphs on how far the fits agree, and on what is at the boundary.
    doubts : sequence of str
        Why fits should not be trusted, before all else.
    """
    numbers = ("estimate", "sd", "lower", "upper") if len(fits) <= WITH_INTERVALS else ("estimate", "sd")
    alone = bool(frames.random_effects["no_pooling"].notna().any())
    unbounded = bool(np.isinf(frames.random_effects["no_pooling"]).any())
    columns = [*(["no_pooling"] if alone else []), *(f"{f.name}_{c}" for f in fits for c in numbers)]
    rows: list[tuple[str, ...]] = []
    for r in frames.variance_components.to_dict("records"):
        rows += _rows([r], str(r["group"]), str(r["term"]), columns)
    for r in frames.fixed_effects.to_dict("records"):
        rows += _rows([r], "fixed", str(r["term"]), columns)
    left_out = 0
    for (group, term), part in frames.random_effects.groupby(["group", "term"], sort=False):
        shown: pd.DataFrame = part.head(max_levels)
        left_out += len(part) - len(shown)
        rows += _rows(shown.to_dict("records"), str(group), str(term), columns)
    several = frames.random_effects["group"].nunique() > 1
    names = ("Group", "Term", "Level", *(["No pooling"] if alone else []))
    header = (*names, *(h for f in fits for h in (f.heading, *numbers[1:])))
    k = len(numbers)
    spanners = tuple((f.heading, len(names) + i * k, len(names) + (i + 1) * k) for i, f in enumerate(fits))
    blocks: list[Block] = [Text(_wrapped(doubts), "Not to be trusted:")] if doubts else []
    blocks += [_title(formula, fits), Grid(header, tuple(rows), labels=3, spanners=spanners)]
    blocks.append(
        Text(
            _wrapped(_notes(fits, level, left_out, numbers, several=several, alone=alone, unbounded=unbounded)),
            "What each column estimates:",
        )
    )
    blocks += [Text(_wrapped(agreement), "How far they agree:")] if agreement else []
    blocks += [Text(_wrapped(boundary), "At the boundary:")] if boundary else []
    return Document(tuple(blocks))


def _title(formula: str, fits: Sequence[FitColumns]) -> Text:
    bayes = {f.engine not in ESTIMATING for f in fits}
    kind = {frozenset([True]): "Posteriors", frozenset([False]): "Estimates"}.get(
        frozenset(bayes), "Empirical Bayes and full Bayes"
    )
    doubted = ", not to be trusted" if any(f.doubts for f in fits) else ""
    return Text((f"{kind}{' of one model' if len(bayes) == 1 else ''}, side by side{doubted}", f"Formula: {formula}"))


def _rows(
    records: Sequence[Mapping[Hashable, Any]], group: str, term: str, columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """Rows of one parameter, or of all levels of one random effect, with common decimals."""
    values = [[float(r.get(c, float("nan"))) for c in columns] for r in records]
    errors = [[_error_of(c, r) for c in columns] for r in records]
    estimates, sds = ([float(r[c]) for r in records for c in columns if c.endswith(e)] for e in ("_estimate", "_sd"))
    decimals = decimals_for(estimates, sds)
    labels = [str(r.get("level", "")) for r in records]
    return [
        (group, term, level, *with_decimals(v, decimals, e)) for level, v, e in zip(labels, values, errors, strict=True)
    ]


def _error_of(column: str, record: Mapping[Hashable, Any]) -> float:
    """The sd of a column's fit; the least of all for what is of no fit."""
    sds = {c: float(sd) for c, sd in record.items() if str(c).endswith("_sd") and sd > 0}
    own = f"{column.rpartition('_')[0]}_sd"
    return min(sds.values(), default=float("nan")) if column == "no_pooling" else sds.get(own, float("nan"))


def _notes(
    fits: Sequence[FitColumns],
    level: float,
    left_out: int,
    numbers: Sequence[str],
    *,
    several: bool,
    alone: bool,
    unbounded: bool,
) -> list[str]:
    percent, notes = f"{100 * level:g} %", []
    likelihood = [f for f in fits if f.engine in ESTIMATING]
    posterior = [f for f in fits if f.engine not in ESTIMATING]
    if likelihood:
        notes.append(f"{', '.join(f.heading for f in likelihood)}: {_likelihood_words(likelihood, percent)}")
    if posterior:
        words = f"mean, sd and equal-tailed {percent} interval, over the uncertainty of everything else too."
        notes.append(f"{', '.join(f.heading for f in posterior)}: {words}")
    notes += [f"{f.heading}: {remark}" for f in fits for remark in f.remarks]
    if alone:
        ends = " It is ∞ or -∞ where all its rows are at one end, as zeros are." if unbounded else ""
        others = f" and from the effects of other factors, both as {fits[0].heading} has them" if several else ""
        notes.append(f"No pooling: the level's own data alone, as a deviation from the fixed effects{others}.{ends}")
    if "lower" not in numbers:
        notes.append("Intervals are in the frames: .variance_components, .fixed_effects, .random_effects, or .tidy().")
    if left_out:
        notes.append(f"{left_out} more rows of levels are not shown (.random_effects has them).")
    return notes


def _likelihood_words(fits: Sequence[FitColumns], percent: str) -> str:
    names = {"REML": "restricted likelihood", "ML": "likelihood"}
    methods = list(dict.fromkeys(f.engine for f in fits))
    if {"Laplace", "AGQ"} & {*methods}:
        return (
            "for sds, cors and coefficients the values that maximise the likelihood, with effects integrated out by "
            "Laplace's approximation or quadrature; for levels the conditional mode. All are on the scale of the link. "
            f"Sds and normal {percent} intervals of coefficients are from its curvature; those of levels take "
            "coefficients and variance components as known."
        )
    maximised = " or ".join(f"the {names[m]}" + (f" ({m})" if len(methods) > 1 else "") for m in methods)
    return (
        f"for sd, cor and sigma the values that maximise {maximised}, with sds from its curvature there (none at the "
        "boundary, or where that gives more than such a number can vary); for coefficients generalised least squares; "
        f"for levels the BLUP, b̂ = D Zᵀ V⁻¹ (y − X β̂). Sds and normal {percent} intervals of coefficients take the "
        "variance components as known, those of levels the coefficients too."
    )


def doubt_lines(fits: Sequence[FitColumns]) -> list[str]:
    """What is wrong with each fit that should not be trusted."""
    return [f"{f.heading}: {sentence}" for f in fits for sentence in f.doubts]


def agreement_lines(agreement: pd.DataFrame, fits: Sequence[FitColumns]) -> list[str]:
    """A sentence for each fit against the reference; medians over levels, and the largest difference.

    Nothing is said of fits that should not be trusted, nor of others against one of them.
    """
    shown, out = {f.name: f for f in fits if not f.doubts}, []
    levels = agreement[
        (agreement["effect"] == "random") & agreement[["fit", "reference"]].isin(list(shown)).all(axis=1)
    ]
    for (name, reference), own in levels.groupby(["fit", "reference"], sort=False):
        fit, other, apart = shown[str(name)], shown[str(reference)], own["difference_in_sd"].abs()
        if not apart.notna().any():
            continue
        whose = "the posterior's" if other.heading == "Posterior" else f"those of {other.heading}"
        unit = "posterior sds" if other.engine not in ESTIMATING else f"sds of {other.heading}"
        width, worst = own["width_ratio"].median(), own.iloc[int(apart.argmax())]
        share = f"{100 * own['overlap'].median():.0f} %"
        intervals = f"intervals of levels are {width:.2f} times as wide as {whose}, and overlap by {share} (medians)"
        out.append(
            f"{fit.heading}: {intervals if width > 0 else 'intervals of levels have no width'}; estimates differ by "
            f"{apart.median():.2f} {unit} (median), at most by {apart.max():.2f} ({worst['group']} {worst['level']}, "
            f"{worst['term']})."
        )
    return out


def decomposition_line(frame: pd.DataFrame, whose: str, sampled: Sequence[str]) -> str:
    """Where the posterior variance of the levels comes from, on average over levels and terms.

    `whose` names the posterior where there are several; `sampled` are coefficients whose priors are not normal, which
    count with the variance components.
    """
    shares = frame[["given_theta_beta", "beta", "theta", "plug_in"]].div(frame["total"], axis=0).mean()
    given, beta, theta, plug_in = (f"{100 * s:.0f} %" for s in shares)
    others = f" and of {', '.join(sampled)} (no normal prior)" if sampled else ""
    known = shares["plug_in"] == shares["plug_in"]
    held = f" A BLUP's variance, at the estimates, is {plug_in} of it." if known else ""
    return (
        f"Of a level's posterior variance{f' ({whose})' if whose else ''}, {given} would be left if all else were "
        f"known, {beta} is uncertainty of {'other ' if sampled else 'the '}coefficients and {theta} of the variance "
        f"components{others} (on average over levels, and over the posterior of the variance components).{held} By "
        "level: .decomposition."
    )


def _wrapped(paragraphs: Sequence[str]) -> tuple[str, ...]:
    """Lines of at most `WIDTH` characters, each paragraph indented; no line begins with a per cent sign."""
    wrapper = textwrap.TextWrapper(WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    kept = (words.replace(" %", "\u00a0%") for words in paragraphs)
    return tuple(line.replace("\u00a0", " ") for words in kept for line in wrapper.wrap(words))
