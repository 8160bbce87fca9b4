"""Tests of coefficients and of models as R prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from _ranef.spec import Generalised
from _ranef.tables.model import Block, Document, Grid, Text
from _ranef.tables.numbers import share
from _ranef.tables.result import ResultFrame, grid, result_frame

__all__ = [
    "contrasts_table",
    "drop_table",
    "hypothesis_table",
    "means_table",
    "models_table",
    "ranova_table",
    "sign_table",
    "term_table",
]

ROWS = {
    "hypothesis": "",
    "estimate": "Estimate",
    "std_error": "Std. Error",
    "df": "df",
    "statistic": "t value",
    "p": "Pr(>|t|)",
}
MEANS = {"estimate": "emmean", "std_error": "SE", "df": "df", "lower": "lower.CL", "upper": "upper.CL"}
#: what emmeans calls means of families
PER_FAMILY = {"binomial": "prob", "ordinal": "prob", "poisson": "rate"}
CONTRASTS = {"estimate": "estimate", "std_error": "SE", "df": "df", "statistic": "t.ratio", "p_value": "p.value"}
SIGNS = {"hypothesis": "", "estimate": "Estimate", "sd": "Est.Error", "probability": "P(> 0)"}
F = {"statistic": "F value", "ndf": "NumDF", "ddf": "DenDF", "p": "Pr(>F)"}
TERMS = {"term": "", "sum_sq": "Sum Sq", "mean_sq": "Mean Sq"}
DROPPED = {"term": "", "npar": "npar", "aic": "AIC", "statistic": "LRT", "p": "Pr(Chi)"}
REDUCED = {
    "term": "",
    "npar": "npar",
    "loglik": "logLik",
    "aic": "AIC",
    "statistic": "LRT",
    "df": "Df",
    "p": "Pr(>Chisq)",
    "p_mixture": "Pr(>mix)",
}
MIXTURE = "mix: mixture of χ² of fewer degrees of freedom, for a variance cannot be below zero."
MODELS = {
    "label": "",
    "npar": "npar",
    "aic": "AIC",
    "bic": "BIC",
    "loglik": "logLik",
    "deviance": "-2*log(L)",
    "statistic": "Chisq",
    "df": "Df",
    "p_chi2": "Pr(>Chisq)",
    "p": "Pr(>Chisq)",
    "p_mixture": "Pr(>mix)",
}
F_MODELS = {"label": "", "npar": "npar", "statistic": "F value", "ndf": "NumDF", "ddf": "DenDF", "p": "Pr(>F)"}
F_LAST = {"ndf": "NumDF", "ddf": "DenDF", "statistic": "F value", "p": "Pr(>F)"}
CHI2 = {"statistic": "Chisq", "ndf": "Df", "p": "Pr(>Chisq)"}


def hypothesis_table(joint: pd.DataFrame, rows: pd.DataFrame, words: str) -> ResultFrame:
    """A test of linear hypotheses: every one alone, and all of them together."""
    title = f"Linear hypotheses. Tests use {words}" if words else "Linear hypotheses"
    normal = {**ROWS, "statistic": "z value", "p": "Pr(>|z|)"}
    each = normal if np.isinf(rows["df"]).all() else ROWS
    shown = rows.drop(columns="df") if each is normal else rows
    together = CHI2 if np.isinf(joint["ddf"]).all() else F
    blocks: list[Block] = [Text((title,)), grid(shown, each), grid(joint, together, "Together:")]
    return result_frame(joint, blocks if len(rows) > 1 else blocks[:2], rows)


def means_table(
    frame: pd.DataFrame,
    cells: Sequence[str],
    trend: str | None,
    words: str | None,
    level: float,
    family: Generalised | None = None,
    *,
    back: bool = False,
) -> Document:
    """Marginal means, or slopes in a covariate, as emmeans prints them; `words` are None of a posterior.

    Of a generalised response they are on the scale of its link, or `back` on its own.
    """
    called = PER_FAMILY.get(family.word, "response") if family is not None and back else "emmean"
    headers = {name: name for name in cells} | MEANS | {"estimate": called if trend is None else f"{trend}.trend"}
    shown = frame if np.isfinite(frame["df"]).any() else frame.drop(columns="df")
    title, percent = "Marginal means" if trend is None else f"Slopes in {trend}", f"intervals of {100 * level:g} %"
    note = f"Degrees of freedom by {words}; {percent}."
    if words is None or not words:
        note = f"Of a posterior, equal-tailed {percent}." if words is None else f"Normal {percent}; ddf= has others."
    if family is not None:
        note = note.replace("; ddf= has others", "")
        way = "Averaged as probabilities" if family.classes else f"Back-transformed from the {family.link} scale"
        note += f" {way if back else f'They are on the {family.link} scale'}."
    return Document((grid(shown.assign(**{name: frame[name].map(_word) for name in cells}), headers, title, (note,)),))


def contrasts_table(
    frame: pd.DataFrame, by: Sequence[str], adjust: str, family: int, *, called: str = "estimate", note: str = ""
) -> ResultFrame:
    """Contrasts as emmeans prints them, adjusted for a family of so many means (Tukey's) or tests."""
    headers = {"contrast": "", **{name: name for name in by}, **CONTRASTS, "estimate": called}
    shown = frame
    if frame["df"].isna().all():
        shown = frame.drop(columns=["df", "statistic"])
    elif np.isinf(frame["df"]).all():
        shown, headers["statistic"] = frame.drop(columns="df"), "z.ratio"
    names = {
        "tukey": "Tukey's",
        "holm": "Holm's",
        "bonferroni": "Bonferroni's",
        "sidak": "Šidák's",
        "fdr": "Benjamini and Hochberg's",
    }
    least, what = (3, f"a family of {family}") if adjust == "tukey" else (2, f"{family} tests")
    notes = (f"P-values: {names[adjust]}, of {what}.",) if adjust in names and family >= least else ()
    notes = (*notes, note) if note else notes
    own = shown.assign(**{name: frame[name].map(_word) for name in by})
    return result_frame(frame, [grid(own, headers, "Contrasts", notes)])


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sign_table(frame: pd.DataFrame, fit: str) -> Grid:
    """Coefficients of a posterior, with the probability that each is above zero."""
    shown = frame.assign(probability=[f"{p:.3f}" for p in frame["probability"]])
    return grid(shown, SIGNS, f"Coefficients of {fit}: posterior probability of a sign")


def term_table(frame: pd.DataFrame, kind: int | str, words: str) -> ResultFrame:
    """Tests of terms as lmerTest prints them; χ² as car does."""
    roman = {"1": "I", "2": "II", "3": "III"}.get(str(kind), str(kind))
    if np.isinf(frame["ddf"]).any():
        title = f"Type {roman} Wald chi-square tests{f' with {words}' if words else ''}"
        columns = {"term": "", **CHI2}
    else:
        title, columns = f"Type {roman} Analysis of Variance Table with {words}", {**TERMS, **F_LAST}
    return result_frame(frame, [grid(frame, columns, title)])


def drop_table(frame: pd.DataFrame, formula: str) -> ResultFrame:
    """Single term deletions as R prints them."""
    about = Text((f"Model: {formula}",), "Single term deletions, by maximum likelihood")
    return result_frame(frame, [about, grid(frame, DROPPED)])


def ranova_table(frame: pd.DataFrame, formula: str, method: str) -> ResultFrame:
    """Reductions of the random effects as lmerTest prints them."""
    about = Text((f"Model: {formula}",), f"ANOVA-like table for random effects: single term deletions by {method}")
    mixed = frame["p_mixture"].notna().any()
    columns = REDUCED if mixed else {k: v for k, v in REDUCED.items() if k != "p_mixture"}
    return result_frame(frame, [about, grid(frame, columns, notes=(MIXTURE,) if mixed else ())])


def models_table(
    frame: pd.DataFrame, described: Sequence[str], words: str, note: str, ratios: pd.DataFrame | None = None
) -> ResultFrame:
    """Nested models, each `described`, in R's layout of ``anova``; simulated `ratios` stand behind a bootstrap."""
    names = [str(n) for n in frame["model"]]
    labels = names if names != list(described) else [f"M{k + 1}" for k in range(len(names))]
    models = Text(tuple(f" {label}: {model}" for label, model in zip(labels, described, strict=True)), "Models:")
    shown = frame.assign(label=pd.Series(labels, dtype=object, index=frame.index))
    headers = dict(F_MODELS if "ddf" in frame else MODELS)
    notes = [MIXTURE] if "p_mixture" in frame and frame["p_mixture"].notna().any() else []
    if not notes:
        headers.pop("p_mixture", None)
    if ratios is not None:
        headers["p"] = "Pr(boot)"
        shown["p"] = ["", *(share(p, len(ratios)) for p in frame["p"][1:])]
        notes += [_of_bootstrap(labels[k], frame.iloc[k], len(ratios)) for k in range(1, len(frame))]
    title = Text((f"{words}. {note}".rstrip(" ") if note else words,))
    return result_frame(frame, [title, models, grid(shown, headers, notes=notes)], ratios)


def _of_bootstrap(label: str, row: pd.Series[Any], n: int) -> str:
    error = f" (standard error {row['p_se']:.2g})" if row["p"] > 0 else ""
    failed = f"; {row['failed']:.0f} fits failed" if row["failed"] else ""
    return (
        f"{label}: {n} simulations, p {share(row['p'], n)}{error}; share of ratios at zero {row['zeros']:.3g}{failed}."
    )
