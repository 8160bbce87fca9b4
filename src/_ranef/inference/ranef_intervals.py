"""Intervals of random effects, from what is taken as known least to most: θ̂ and β̂, θ̂ alone, neither, or normality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import NotAvailableError
from _ranef.inference.effect_frames import check_level, normal_quantile, ranef_frame
from _ranef.inference.estimate_draws import Moved, estimate_draws, mixture_quantile
from _ranef.inference.information import VarianceInformation
from _ranef.likelihood import At
from _ranef.results import RemlEstimates
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats

__all__ = [
    "EFFECT_INTERVALS",
    "EffectIntervals",
    "effect_intervals",
    "mixed_intervals",
    "normal_intervals",
    "robust_critical_value",
]

#: kinds of intervals, and what the column of their standard deviations is called
EFFECT_INTERVALS = {
    "conditional": "sd",
    "henderson": "sd_given_theta",
    "corrected": "sd_corrected",
    "bootstrap": "sd_bootstrap",
    "robust": "sd_given_effect",
}


@dataclass(frozen=True, eq=False)
class EffectIntervals:
    """Standard deviations and ends (J, p) by grouping."""

    sds: Sequence[Floats]
    bounds: Sequence[tuple[Floats, Floats]]


def effect_intervals(
    at: At,
    estimates: RemlEstimates,
    information: Callable[[], VarianceInformation],
    kind: str = "conditional",
    level: float = 0.95,
    group: str | None = None,
    n: int = 400,
    seed: int | None = None,
) -> pd.DataFrame:
    """Random effects with intervals.

    ``"conditional"`` takes θ̂ and β̂ as known (lme4's condVar), ``"henderson"`` θ̂ alone (Henderson 1975, Biometrics 31,
    423-447). ``"corrected"`` adds 2 g₃, g₃ = (∂b̂/∂θ) Var(θ̂) (∂b̂/∂θ)ᵀ: once for b̂ that moves with θ̂ (Kass & Steffey
    1989, J. Am. Stat. Assoc. 84, 717-726, their first-order approximation), and once for Henderson's variance, which
    is too small at θ̂ by as much (Prasad & Rao 1990, J. Am. Stat. Assoc. 85, 163-171). ``"bootstrap"``: quantiles of
    the mixture of Henderson's normal distributions at θ, σ refitted to simulated responses (Laird & Louis 1987, J. Am.
    Stat. Assoc. 82, 739-750), all by estimates that stay off the boundary (:func:`estimate_draws`). ``"robust"``:
    b̂ ± cva(s²/τ²) w s of an effect that is w times its least-squares estimate with error s; they cover on average over
    levels whatever the distribution of effects with variance τ² (Armstrong, Kolesár & Plagborg-Møller 2022,
    Econometrica 90, 2567-2602).

    Parameters
    ----------
    at : At
        At the estimates.
    estimates : RemlEstimates
    information : callable
        The observed information, which ``"corrected"`` reads.
    kind : str
        One of ``EFFECT_INTERVALS``.
    level : float
    group : str, optional
    n : int
        Replicates of a bootstrap.
    seed : int, optional

    Raises
    ------
    DesignError
        For another kind.
    NotAvailableError
        For a bootstrap of structured residuals, and robust intervals of several effects in a level.
    """
    check_level(level)
    one_of("interval", kind, list(EFFECT_INTERVALS))
    if kind == "bootstrap":
        found = _bootstrapped(at, estimates, level, n, seed)
    elif kind == "robust":
        found = _robust(at, estimates, level)
    else:
        found = normal_intervals(estimates, level, _variances(at, estimates, information, kind))
    values = [m.values for m in estimates.modes]
    out = ranef_frame(at.likelihood.spec, values, found.sds, found.bounds, group)
    return out.rename(columns={"sd": EFFECT_INTERVALS[kind]})


def _variances(
    at: At, estimates: RemlEstimates, information: Callable[[], VarianceInformation], kind: str
) -> list[Floats]:
    """Variances (J, p) by grouping."""
    covs = [m.cov if kind == "conditional" else m.cov_prediction for m in estimates.modes]
    own = [np.diagonal(cov, axis1=1, axis2=2) for cov in covs]
    if kind != "corrected":
        return own
    return [v + 2.0 * more for v, more in zip(own, _by_estimation(at, estimates, information()), strict=True)]


def normal_intervals(estimates: RemlEstimates, level: float, variances: Sequence[Floats]) -> EffectIntervals:
    """Round conditional modes, of variances (J, p) by grouping."""
    z = normal_quantile(level)
    sds = [np.sqrt(np.maximum(v, 0.0)) for v in variances]
    values = [m.values for m in estimates.modes]
    return EffectIntervals(sds, [(b - z * s, b + z * s) for b, s in zip(values, sds, strict=True)])


def _by_estimation(at: At, estimates: RemlEstimates, information: VarianceInformation) -> list[Floats]:
    """g₃ (J, p) by grouping: the variance of b̂ that comes of that of θ̂ (and ρ̂), by the delta method."""
    if not estimates.modes:
        return []
    moved = Moved(at, estimates.theta, information)
    shapes = [m.values.shape for m in estimates.modes]
    flat = moved.variance(moved.slopes(lambda there: np.concatenate([b.ravel() for b in there.effects])))
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]


def _bootstrapped(at: At, estimates: RemlEstimates, level: float, n: int, seed: int | None) -> EffectIntervals:
    ends = [there.modes for there in estimate_draws(at.likelihood, estimates, n, seed).points()]
    covs = [[modes[k].cov_prediction for modes in ends] for k in range(len(at.likelihood.spec.groupings))]
    return mixed_intervals([[modes[k].values for modes in ends] for k in range(len(covs))], covs, level)


def mixed_intervals(
    means: Sequence[Sequence[Floats]], covs: Sequence[Sequence[Floats]], level: float
) -> EffectIntervals:
    """Of mixtures of normal distributions, by grouping and draw means (J, p) and covariances (J, p, p)."""
    sds, bounds, tails = [], [], (0.5 - 0.5 * level, 0.5 + 0.5 * level)
    for of, own in zip(map(np.stack, means), covs, strict=True):
        variances = np.maximum([np.diagonal(cov, axis1=1, axis2=2) for cov in own], 0.0)
        sds.append(np.sqrt(variances.mean(axis=0) + of.var(axis=0)))
        ends = [mixture_quantile(of, np.sqrt(variances), tail) for tail in tails]
        bounds.append((ends[0], ends[1]))
    return EffectIntervals(sds, bounds)


def _robust(at: At, estimates: RemlEstimates, level: float) -> EffectIntervals:
    likelihood = at.likelihood
    spec = likelihood.spec
    if spec.related or any(len(g.columns) > 1 for g in spec.groupings):
        what = "relates its levels (cov=)" if spec.related else "has several"
        raise NotAvailableError(
            f"interval='robust' is for one effect in each level, independent; this model {what}. 'corrected' takes any."
        )
    sds, bounds = [], []
    parts = zip(at.information, likelihood.maps, at.roots, estimates.modes, strict=True)
    for information, T, root, modes in parts:
        error = estimates.sigma * abs(float(T[0, 0])) / np.sqrt(information[:, :, 0])
        effect = estimates.sigma * abs(float(T[0, 0] * root[0, 0]))
        shrinkage = effect**2 / (effect**2 + error**2)
        ratios = error**2 / effect**2 if effect else np.zeros_like(error)
        distinct, which = np.unique(ratios, return_inverse=True)
        critical = np.array([robust_critical_value(m2, level) for m2 in distinct])[which].reshape(error.shape)
        sds.append(shrinkage * error)
        bounds.append((modes.values - critical * sds[-1], modes.values + critical * sds[-1]))
    return EffectIntervals(sds, bounds)


def robust_critical_value(m2: float, level: float = 0.95) -> float:
    """The critical value cva of an estimate whose bias over its standard deviation has the mean square `m2`.

    The smallest χ with sup P(|Z + b| > χ) ≤ 1 − level over all distributions of b with E b² = m₂ (Armstrong, Kolesár &
    Plagborg-Møller 2022, Econometrica 90, 2567-2602): r(t) = Φ(√t − χ) + Φ(−√t − χ) of t = b² is convex and then
    concave, so that the supremum is on the chord from zero that touches it, or on the curve beyond.

    Examples
    --------
    >>> round(robust_critical_value(0.0), 4), round(robust_critical_value(1.0), 4)
    (1.96, 3.2592)
    """
    alpha = 1.0 - level
    low, high = normal_quantile(level), np.sqrt(1.0 / alpha) * np.sqrt(1.0 + m2) + 1.0
    return float(scipy.optimize.brentq(lambda chi: _worst(m2, chi) - alpha, low - 1e-9, high, xtol=1e-10))


def _worst(m2: float, chi: float) -> float:
    """The largest probability to miss."""

    def missed(t: float) -> float:
        root = np.sqrt(t)
        return float(scipy.special.ndtr(root - chi) + scipy.special.ndtr(-root - chi))

    def short_of_chord(t: float) -> float:
        root = np.sqrt(t)
        density = np.exp(-0.5 * (root - chi) ** 2) - np.exp(-0.5 * (root + chi) ** 2)
        return missed(t) - missed(0.0) - t * float(density / (np.sqrt(8.0 * np.pi) * root))

    if chi <= np.sqrt(3.0):
        return missed(m2)
    # up to there the curve bends up, and its tangents begin below it; far beyond they begin above
    touch = float(scipy.optimize.brentq(short_of_chord, (chi - 1.6) ** 2 if chi > 1.7 else 1e-4, (chi + 6.0) ** 2))
    if m2 >= touch:
        return missed(m2)
    return missed(0.0) + m2 / touch * (missed(touch) - missed(0.0))
