"""Tests of coefficients and of models as R prints them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from _ranef.tables.model import Block, Text
from _ranef.tables.result import ResultFrame, grid, result_frame

__all__ = ["hypothesis_table"]

ROWS = {
    "hypothesis": "",
    "estimate": "Estimate",
    "std_error": "Std. Error",
    "df": "df",
    "statistic": "t value",
    "p": "Pr(>|t|)",
}
F = {"statistic": "F value", "ndf": "NumDF", "ddf": "DenDF", "p": "Pr(>F)"}
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
