"""Align an empirical-Bayes fit and a posterior in tidy frames: ``eb_*`` and ``fb_*`` columns stand side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.comparison.shrinkage import shrinkage_frame
from ranef.errors import DesignError
from ranef.results import Fit
from ranef.spec import ModelSpec

__all__ = ["Aligned", "align"]


@dataclass(frozen=True, eq=False)
class Aligned:
    """The frames of a comparison.

    Attributes
    ----------
    variance_components : DataFrame
        ``group, term, eb_estimate, fb_estimate, fb_sd, fb_lower, fb_upper`` on the sd and correlation scale.
    fixed_effects : DataFrame
        ``term, eb_estimate, eb_sd, eb_lower, eb_upper, fb_estimate, fb_sd, fb_lower, fb_upper``.
    random_effects : DataFrame
        ``group, level, term, n, no_pooling``, the same eight, and ``sd_ratio`` = fb_sd / eb_sd.
    shrinkage : DataFrame
        ``group, level, term, n, no_pooling, eb_estimate, fb_estimate, eb_ratio, fb_ratio, eb_shrinkage``: a ratio is
        no pooling over estimate, the shrinkage 1 − reliability (conditional over prior variance).
    """

    variance_components: pd.DataFrame
    fixed_effects: pd.DataFrame
    random_effects: pd.DataFrame
    shrinkage: pd.DataFrame


def align(eb: Fit, fb: Fit, level: float = 0.95) -> Aligned:
    """Tidy frames of two fits of one model.

    Raises
    ------
    DesignError
        If the fits are not of the same model and data.
    """
    _require_same(eb.spec, fb.spec)
    tidy_eb, tidy_fb = (fit.tidy(level) for fit in (eb, fb))
    random = _random_effects(eb, fb, level)
    return Aligned(_variance_components(tidy_eb, tidy_fb), _fixed_effects(tidy_eb, tidy_fb), *random)


def _require_same(first: ModelSpec, second: ModelSpec) -> None:
    if first is second:
        return
    a, b = first.design, second.design
    if a.fixed_names != b.fixed_names or first.theta_names != second.theta_names:
        raise DesignError(
            f"The fits are of different models, {a.formula!r} and {b.formula!r}: compare() sets two fits of one model "
            "side by side. Fit both from the same ranef.Model."
        )
    if a.y.shape != b.y.shape or not np.array_equal(a.y, b.y):
        raise DesignError(
            f"The fits are to different data ({a.y.shape[0]} and {b.y.shape[0]} rows used, or other responses). Fit "
            "both from the same ranef.Model."
        )


def _variance_components(eb: pd.DataFrame, fb: pd.DataFrame) -> pd.DataFrame:
    first, second = (t[t["effect"] == "random"].reset_index(drop=True) for t in (eb, fb))
    out = first[["group", "term"]].copy()
    out["eb_estimate"] = first["estimate"]
    renamed = {"estimate": "fb_estimate", "std_error": "fb_sd", "lower": "fb_lower", "upper": "fb_upper"}
    return pd.concat([out, second[list(renamed)].rename(columns=renamed)], axis=1)


def _fixed_effects(eb: pd.DataFrame, fb: pd.DataFrame) -> pd.DataFrame:
    first, second = (t[(t["effect"] == "fixed") & t["estimate"].notna()].reset_index(drop=True) for t in (eb, fb))
    columns = {"estimate": "estimate", "std_error": "sd", "lower": "lower", "upper": "upper"}
    parts = [
        t[list(columns)].rename(columns={c: f"{prefix}_{name}" for c, name in columns.items()})
        for prefix, t in (("eb", first), ("fb", second))
    ]
    return pd.concat([first[["term"]], *parts], axis=1)


def _random_effects(eb: Fit, fb: Fit, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = ["group", "level", "term"]
    first, second = shrinkage_frame(eb, level), shrinkage_frame(fb, level)
    random = first[[*keys, "n", "no_pooling"]].copy()
    for prefix, frame in (("eb", first), ("fb", second)):
        for column in ("estimate", "sd", "lower", "upper"):
            random[f"{prefix}_{column}"] = frame[column]
    with np.errstate(divide="ignore", invalid="ignore"):
        random["sd_ratio"] = random["fb_sd"] / random["eb_sd"]
    shrinkage = random[[*keys, "n", "no_pooling", "eb_estimate", "fb_estimate"]].copy()
    shrinkage["eb_ratio"], shrinkage["fb_ratio"] = first["ratio"], second["ratio"]
    shrinkage["eb_shrinkage"] = first["shrinkage"]
    return random, shrinkage
