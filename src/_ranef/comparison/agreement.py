"""Fits of one model in tidy frames, wide and long, and how far they agree, parameter by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from _ranef.comparison.fits_of_one_model import require_same_model
from _ranef.comparison.generalised_levels import levels_frame
from _ranef.results import ESTIMATING, Fit
from _ranef.support.arrays import Floats

__all__ = [
    "Aligned",
    "agreement_frame",
    "align",
    "estimand",
    "interval_overlap",
    "long_frame",
    "prediction_frames",
    "with_errors",
]

NUMBERS = ["estimate", "sd", "lower", "upper"]

KEYS = ["effect", "group", "level", "term"]


@dataclass(frozen=True, eq=False)
class Aligned:
    """The wide frames of a comparison; ``{fit}`` stands for the name of each fit in turn.

    Attributes
    ----------
    variance_components : DataFrame
        ``group, term, {fit}_estimate, {fit}_sd, {fit}_lower, {fit}_upper`` on the sd and correlation scale. The sd of
        a REML or ML estimate is from the observed information: NaN on the boundary, and where it cannot be one (see
        ``varcorr_se``); it has no interval.
    fixed_effects : DataFrame
        ``term`` and the same four of each fit.
    random_effects : DataFrame
        ``group, level, term, n, no_pooling`` and the same four of each fit; for one REML or ML fit beside one posterior
        ``sd_ratio``, the posterior's sd over the other. ``no_pooling`` is what the rows of the level say about its
        deviation from the fixed effects of the first fit.
    shrinkage : DataFrame
        ``group, level, term, n, no_pooling``; ``{fit}_estimate`` of each; ``{fit}_ratio`` of each, no pooling (from
        that fit's own fixed effects) over estimate; ``{fit}_shrinkage`` of each REML or ML fit, 1 − reliability
        (conditional over prior variance).
    """

    variance_components: pd.DataFrame
    fixed_effects: pd.DataFrame
    random_effects: pd.DataFrame
    shrinkage: pd.DataFrame


def align(fits: Mapping[str, Fit], level: float = 0.95, errors: Mapping[str, Floats] | None = None) -> Aligned:
    """Wide frames of fits of one model.

    Parameters
    ----------
    fits : mapping str to Fit
        Two or more.
    level : float
        Probability of the intervals.
    errors : mapping str to array, optional
        Standard errors of the sds and correlations of fits that have them, in the order of ``varcorr``; without a
        residual one if σ is known.

    Raises
    ------
    DesignError
        If the fits are not of the same model and data, or the level is no probability.
    """
    require_same_model({name: fit.spec for name, fit in fits.items()})
    tidy = {
        name: with_errors(fit.tidy(level), (errors or {}).get(name)).rename(columns={"std_error": "sd"})
        for name, fit in fits.items()
    }
    variances = _wide({n: t[t["effect"] == "random"] for n, t in tidy.items()}, ["group", "term"])
    fixed = _wide({n: t[(t["effect"] == "fixed") & t["estimate"].notna()] for n, t in tidy.items()}, ["term"])
    own = {name: levels_frame(fit, level) for name, fit in fits.items()}
    random = _wide(own, ["group", "level", "term", "n", "no_pooling"])
    _add_sd_ratio(random, fits)
    return Aligned(variances, fixed, random, _shrinkage(own, fits))


def with_errors(tidy: pd.DataFrame, errors: Floats | None) -> pd.DataFrame:
    """``fit.tidy()`` with the ``std_error`` of its variance components, in the order of ``varcorr``, from `errors`."""
    if errors is None:
        return tidy
    found = tidy["std_error"].to_numpy(dtype=float, copy=True)
    found[np.flatnonzero(tidy["effect"] == "random")[: len(errors)]] = errors
    return tidy.assign(std_error=found)


def _wide(frames: Mapping[str, pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Keys of the first frame, then the numbers of every frame; all have the same rows in the same order."""
    first = next(iter(frames.values()))
    parts = [
        frame[NUMBERS].rename(columns={c: f"{name}_{c}" for c in NUMBERS}).reset_index(drop=True)
        for name, frame in frames.items()
    ]
    return pd.concat([first[keys].reset_index(drop=True), *parts], axis=1)


def _add_sd_ratio(random: pd.DataFrame, fits: Mapping[str, Fit]) -> None:
    posterior = [name for name, fit in fits.items() if fit.engine not in ESTIMATING]
    other = [name for name in fits if name not in posterior]
    if len(posterior) == len(other) == 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            random["sd_ratio"] = random[f"{posterior[0]}_sd"] / random[f"{other[0]}_sd"]


def _shrinkage(own: Mapping[str, pd.DataFrame], fits: Mapping[str, Fit]) -> pd.DataFrame:
    first = next(iter(own.values()))
    out = first[["group", "level", "term", "n", "no_pooling"]].copy()
    for name, frame in own.items():
        out[f"{name}_estimate"] = frame["estimate"]
    for name, frame in own.items():
        out[f"{name}_ratio"] = frame["ratio"]
    for name, fit in fits.items():
        if fit.engine in ESTIMATING:
            out[f"{name}_shrinkage"] = own[name]["shrinkage"]
    return out


def long_frame(fits: Mapping[str, Fit], frames: Aligned) -> pd.DataFrame:
    """One row a number: ``fit, effect, group, level, term, estimate, sd, lower, upper, estimand``.

    ``effect`` is ``"variance"`` (sds, correlations and σ), ``"fixed"`` or ``"random"`` (a level's effect); ``estimand``
    says in words what the estimate, sd and interval are of.
    """
    wide = {"variance": frames.variance_components, "fixed": frames.fixed_effects, "random": frames.random_effects}
    parts = []
    for name, fit in fits.items():
        for effect, frame in wide.items():
            columns = {key: frame.get(key, "") for key in KEYS[1:]}
            numbers = {c: frame[f"{name}_{c}"].astype(float) for c in NUMBERS}
            words = estimand(fit.engine, effect)
            index = frame.index
            parts.append(
                pd.DataFrame({"fit": name, "effect": effect, **columns, **numbers, "estimand": words}, index=index)
            )
    return pd.concat([p for p in parts if len(p)], ignore_index=True)


def estimand(engine: str, effect: str) -> str:
    """What an estimate, its sd and its interval are of, in words.

    Parameters
    ----------
    engine : "REML", "ML", "Laplace", "AGQ", "NUTS" or "direct"
    effect : "variance", "fixed" or "random"
    """
    if engine not in ESTIMATING:
        return "posterior mean, sd and equal-tailed interval; marginal over all other parameters"
    likelihood = "restricted likelihood" if engine == "REML" else "likelihood"
    if engine in ("Laplace", "AGQ"):
        how = "approximated likelihood" if engine == "Laplace" else "likelihood, by quadrature,"
        return {
            "variance": f"value at which the {how} is highest",
            "fixed": f"value at which the {how} is highest; sd and normal interval from its curvature there",
            "random": "conditional mode at θ̂ and β̂; sd and normal interval conditional on both",
        }[effect]
    return {
        "variance": f"value at which the {likelihood} is highest; sd from its curvature there",
        "fixed": "generalised least squares at θ̂; sd and normal interval conditional on θ̂",
        "random": "BLUP at θ̂; sd and normal interval conditional on θ̂ and β̂",
    }[effect]


def prediction_frames(
    fits: Mapping[str, Fit], predicted: Mapping[str, pd.Series[float] | pd.DataFrame]
) -> pd.DataFrame:
    """Predictions of every fit side by side: ``{fit}_estimate`` and, where there are intervals, their ends."""
    parts = []
    for name in fits:
        own = predicted[name]
        frame = own.to_frame("estimate") if isinstance(own, pd.Series) else own
        parts.append(frame.add_prefix(f"{name}_"))
    return pd.concat(parts, axis=1)


def agreement_frame(long: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Every fit against a reference.

    Parameters
    ----------
    long : DataFrame
        ``fit, effect, group, level, term, estimate, sd, lower, upper``; every fit has the same parameters in the same
        order.
    reference : str
        One of the fits.

    Returns
    -------
    DataFrame
        ``effect, group, level, term, fit, reference``; ``difference``, estimate minus that of the reference;
        ``difference_in_sd``, the same over the reference's sd; ``overlap``, the length that both intervals cover over
        the length that either does (1 for equal intervals, 0 for disjoint ones); ``width_ratio``, the width of the
        fit's interval over that of the reference's. NaN where there is no such sd or interval, or it has no width.

    Examples
    --------
    >>> import pandas as pd
    >>> from _ranef.comparison import agreement_frame
    >>> rows = [("a", 1.0, 0.5, 0.0, 2.0), ("b", 1.5, 1.0, 0.0, 4.0)]
    >>> long = pd.DataFrame(rows, columns=["fit", "estimate", "sd", "lower", "upper"])
    >>> long = long.assign(effect="fixed", group="", level="", term="x")
    >>> agreement_frame(long, "b")[["difference_in_sd", "overlap", "width_ratio"]].to_numpy().tolist()
    [[-0.5, 0.5, 0.5]]
    """
    own = {str(name): part.reset_index(drop=True) for name, part in long.groupby("fit", sort=False)}
    ref = own[reference]
    parts = []
    for name, frame in own.items():
        if name == reference:
            continue
        out = ref[KEYS].assign(fit=name, reference=reference)
        out["difference"] = frame["estimate"] - ref["estimate"]
        out["difference_in_sd"] = _over(out["difference"].to_numpy(), ref["sd"].to_numpy(dtype=float))
        bounds = [f[b].to_numpy(dtype=float) for f in (frame, ref) for b in ("lower", "upper")]
        out["overlap"] = interval_overlap(*bounds)
        out["width_ratio"] = _over(bounds[1] - bounds[0], bounds[3] - bounds[2])
        parts.append(out)
    return pd.concat(parts, ignore_index=True)


def interval_overlap(lower1: Floats, upper1: Floats, lower2: Floats, upper2: Floats) -> Floats:
    """Length of the intersection of intervals [lower1, upper1] and [lower2, upper2] over that of their union (m,)."""
    common = np.maximum(np.minimum(upper1, upper2) - np.maximum(lower1, lower2), 0.0)
    return _over(common, (upper1 - lower1) + (upper2 - lower2) - common)


def _over(top: Floats, bottom: Floats) -> Floats:
    """Quotients, NaN where the divisor is zero."""
    out = np.full(np.shape(top), np.nan)
    np.divide(top, bottom, out=out, where=np.asarray(bottom) > 0)
    return out
