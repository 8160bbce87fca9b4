"""Tests of coefficients and of models as R prints them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from _ranef.tables.model import Block, Text
from _ranef.tables.result import ResultFrame, grid, result_frame

__all__ = ["drop_table", "hypothesis_table", "ranova_table", "term_table"]

ROWS = {
    "hypothesis": "",
    "estimate": "Estimate",
    "std_error": "Std. Error",
    "df": "df",
    "statistic": "t value",
    "p": "Pr(>|t|)",
}
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
MIXTURE = "mix: half χ² with one degree of freedom less, for the variance that is gone cannot be below zero."
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


def term_table(frame: pd.DataFrame, kind: int | str, words: str) -> ResultFrame:
    """Tests of terms as lmerTest prints them; χ² as car does."""
    roman = {"1": "I", "2": "II", "3": "III"}.get(str(kind), str(kind))
    if np.isinf(frame["ddf"]).any():
        title, columns = f"Type {roman} Wald chi-square tests", {"term": "", **CHI2}
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
