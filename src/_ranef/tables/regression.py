"""A fit as packages of regression tables ask for one: cells of coefficients, and lines below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Regression", "regression_column"]

#: what lines are called that maketables has no name for
LABELS = {"engine": "Engine", "family": "Family", "r2_marginal": "R² (marginal)", "r2_conditional": "R² (conditional)"}


@dataclass(frozen=True, eq=False)
class Regression:
    """One column of a regression table.

    Attributes
    ----------
    coefficients : DataFrame (p rows)
        ``b, se, t, p, ci95l, ci95u`` by name of coefficient.
    statistics : dict str to str, int or float
        What may stand below: standard deviations and correlations of random effects and residuals, as text
        ``estimate (standard error)``; numbers of rows and levels; criteria.
    shown : list of str
        Those that do unless others are asked for.
    labels : dict str to str
        What they are called where that is not their name.
    """

    coefficients: pd.DataFrame
    statistics: dict[str, object]
    shown: list[str]
    labels: dict[str, str]


def regression_column(
    tidy: pd.DataFrame, glance: pd.DataFrame, r2: pd.Series[float], levels: Mapping[str, int]
) -> Regression:
    """Make one column of a regression table.

    Parameters
    ----------
    tidy : DataFrame
        ``fit.tidy()`` with the standard errors of variance components where there are some, and ``p_value`` of the
        coefficients where they are tested, with ``df`` by t; those of a posterior are not.
    glance : DataFrame
        ``fit.glance()``.
    r2 : Series
    levels : mapping str to int
        How many levels each grouping factor has.
    """
    fixed = tidy[tidy["effect"] == "fixed"].set_index("term")
    names = {"estimate": "b", "std_error": "se", "statistic": "t", "p_value": "p", "lower": "ci95l", "upper": "ci95u"}
    components = {_named(row): _cell(row) for _, row in tidy[tidy["effect"] == "random"].iterrows()}
    numbers = {str(name): value for name, value in glance.iloc[0].items()}
    counts = {f"Levels of {group}": n for group, n in levels.items()}
    counted = {"engine": numbers.pop("engine"), "N": numbers.pop("nobs"), **counts}
    if "family" in numbers:
        counted = {"family": f"{numbers.pop('family')} ({numbers['link']})", **counted}
    shares = {f"r2_{name}": value for name, value in r2.items()}
    errors = "Satterthwaite" if "df" in tidy else "Hessian" if "p_value" in tidy else "posterior"
    known = {**numbers, "ll": numbers.get("loglik"), "se_type": errors, **counted, **shares, **components}
    shown = [*components, *counted, *shares, *(["aic"] if "aic" in numbers else [])]
    return Regression(fixed.reindex(columns=list(names)).rename(columns=names), known, shown, LABELS)


def _named(row: pd.Series[str]) -> str:
    return row["term"] if row["group"] == "Residual" else f"{row['term'][:-1]} | {row['group']})"


def _cell(row: pd.Series[float]) -> str:
    error = row["std_error"]
    return f"{row['estimate']:.3f}" + ("" if np.isnan(error) else f" ({error:.3f})")
