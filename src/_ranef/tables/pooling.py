"""No pooling, partial pooling, complete pooling and the posterior in one table."""

from __future__ import annotations

import pandas as pd

from _ranef.tables.model import Document, Grid, Text
from _ranef.tables.numbers import decimals_for, with_decimals

__all__ = ["pooling_table"]

ESTIMATES = ("no_pooling", "partial", "complete", "posterior")

SHARES = ("reliability", "reliability_mean", "reliability_lower", "reliability_upper")

HEADER = ("Group", "Term", "Level", "n", "No pooling", "Partial", "Complete", "Reliability")


def pooling_table(
    frame: pd.DataFrame, *, formula: str, engine: str, level: float | None, without_shares: str, max_levels: int
) -> Document:
    """One row a level and effect, the fixed effects added.

    Parameters
    ----------
    frame : DataFrame
        ``group, level, term, n, no_pooling, partial, complete, posterior`` and the four of reliability.
    level : float or None
        Probability of the posterior's intervals; None without a posterior.
    without_shares : str
        Why reliabilities of the posterior are left out, after these words; empty where they are not.
    max_levels : int
        Of each factor and effect; the rest are counted.
    """
    rows: list[tuple[str, ...]] = []
    left_out = 0
    estimates = ESTIMATES if level is not None else ESTIMATES[:3]
    shares = SHARES if level is not None and not without_shares else SHARES[:1]
    for (group, term), part in frame.groupby(["group", "term"], sort=False):
        shown = part.head(max_levels)
        left_out += len(part) - len(shown)
        apart = (shown["partial"] - shown["complete"]).abs()
        decimals, spread = decimals_for(shown["partial"].tolist(), apart.tolist()), float(apart.median())
        for r in shown.to_dict("records"):
            numbers = with_decimals([float(r[c]) for c in estimates], decimals, [spread] * len(estimates))
            kept = with_decimals([float(r[c]) for c in shares], 3)
            rows.append((str(group), str(term), str(r["level"]), str(r["n"]), *numbers, *kept))
    header = HEADER[:7] + ("Posterior",) * (len(estimates) - 3) + HEADER[7:]
    header += ("its mean", "lower", "upper") if len(shares) > 1 else ()
    notes = _notes(engine, level, without_shares, left_out, several=frame["group"].nunique() > 1)
    title = Text(("Pooling: from each level alone to all levels alike", f"Formula: {formula}"))
    return Document((title, Grid(header, tuple(rows), labels=3), Text(notes, "What each column estimates:")))


_GAUSSIAN = (
    "  No pooling: the level's own least squares, all other fixed effects kept at their estimates; empty where its",
    "    rows do not determine it.",
    "  Partial: the BLUP with the variance components of the fit taken as known. Complete: the fixed effect.",
    "  Reliability: λ = τ²/(τ² + v), the share of the variance of the levels' own estimates that is between levels",
    "    (v is the sampling variance of the own estimate): 0 is complete pooling, 1 none.",
)

_LINKED = (
    "  All stand on the scale of the link.",
    "  No pooling: the largest likelihood of the level's own rows, all other fixed effects kept at their estimates;",
    "    ∞ or -∞ where all its rows are at one end (zeros, or ones), empty where they do not determine it.",
    "  Partial: the conditional mode at the estimates. Complete: the fixed effect.",
    "  Reliability: λ = τ²/(τ² + v), with 1/v the curvature of the level's own rows at the mode: 1 less Laplace's",
    "    conditional variance over τ², where a level has one effect. 0 is complete pooling, 1 none.",
)


def _notes(engine: str, level: float | None, without_shares: str, left_out: int, *, several: bool) -> tuple[str, ...]:
    notes = [
        "  All are coefficients: the fixed effect of that name plus the level's deviation.",
        *(_LINKED if engine in ("Laplace", "AGQ") else _GAUSSIAN),
    ]
    if several:
        notes.append("  No pooling and reliability take the effects of the other grouping factors at their BLUPs.")
    if level is not None:
        notes.append("  Posterior: posterior mean, over the uncertainty of everything else too.")
        notes.append(
            f"    Reliabilities of this posterior{', ' if without_shares.startswith('in ') else ' '}{without_shares}."
            if without_shares
            else f"    Of the reliability: mean and equal-tailed {100 * level:g} % interval."
        )
    if left_out:
        notes.append(f"  {left_out} more rows are in .frame and .coef.")
    return tuple(notes)
