"""The side-by-side table, with a word on what each column estimates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from ranef.comparison import Aligned
from ranef.spec import ModelSpec
from ranef.tables.model import Document, Grid, Text, decimals_for, with_decimals

__all__ = ["comparison_table"]

HEADER = (
    "Group",
    "Term",
    "Level",
    "No pooling",
    "{engine}",
    "sd",
    "lower",
    "upper",
    "Posterior",
    "sd",
    "lower",
    "upper",
)

NUMBERS = ("no_pooling", *(f"{e}_{c}" for e in ("eb", "fb") for c in ("estimate", "sd", "lower", "upper")))


def comparison_table(spec: ModelSpec, frames: Aligned, engine: str, level: float, max_levels: int) -> Document:
    """One table of variance components, coefficients and random effects (`max_levels` of each factor)."""
    rows: list[tuple[str, ...]] = []
    for r in frames.variance_components.to_dict("records"):
        rows += _rows([r], str(r["group"]), str(r["term"]))
    for r in frames.fixed_effects.to_dict("records"):
        rows += _rows([r], "fixed", str(r["term"]))
    left_out = 0
    for (group, term), part in frames.random_effects.groupby(["group", "term"], sort=False):
        shown: pd.DataFrame = part.head(max_levels)
        left_out += len(part) - len(shown)
        rows += _rows(shown.to_dict("records"), str(group), str(term))
    header = tuple(h.format(engine=engine) for h in HEADER)
    notes = tuple(_notes(engine, level, left_out))
    title = Text(("Empirical Bayes and full Bayes, side by side", f"Formula: {spec.design.formula}"))
    return Document((title, Grid(header, tuple(rows), labels=3), Text(notes, "What each column estimates:")))


def _rows(records: Sequence[Mapping[Hashable, Any]], group: str, term: str) -> list[tuple[str, ...]]:
    """Rows of one parameter, or of all levels of one random effect, with common decimals."""
    values = [[float(r.get(c, float("nan"))) for c in NUMBERS] for r in records]
    estimates = [float(r["eb_estimate"]) for r in records]
    decimals = decimals_for(estimates, [float(r["fb_sd"]) for r in records])
    labels = [str(r.get("level", "")) for r in records]
    return [(group, term, level, *with_decimals(v, decimals)) for level, v in zip(labels, values, strict=True)]


def _notes(engine: str, level: float, left_out: int) -> list[str]:
    likelihood = "restricted likelihood" if engine == "REML" else "likelihood"
    percent = f"{100 * level:g} %"
    notes = [
        f"  {engine}: for sd, cor and sigma the values that maximise the {likelihood}; for coefficients generalised",
        "    least squares; for levels the BLUP, b̂ = D Zᵀ V⁻¹ (y − X β̂). Its sd and normal interval take the variance",
        f"    components as known ({percent}); the {likelihood} gives variance components no sd here.",
        f"  Posterior: mean, sd and equal-tailed {percent} interval, over the uncertainty of everything else too.",
        "  No pooling: the level's own data alone, as a deviation from the fixed effects.",
    ]
    if left_out:
        notes.append(f"  {left_out} more levels are in .random_effects.")
    return notes
