"""The bootstrap: replicates of any statistic, and the intervals that they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, RanefError, RanefWarning, unwarned, warn
from _ranef.inference.effect_frames import check_level, normal_quantile
from _ranef.inference.engines import Estimated, Maximum, dispersions_of, marks_of
from _ranef.inference.generalised_refits import Together, make_together, refitted_values
from _ranef.inference.held_parameter import held_parameters
from _ranef.inference.resampling import Resampling, independent_units, make_resampling
from _ranef.inference.residual_parameters import values_of
from _ranef.likelihood import CrossProducts, Responses
from _ranef.reml import refit_many, slice_size
from _ranef.residuals import told_names, told_places
from _ranef.results import Doubtable, Method, RemlEstimates, Status
from _ranef.spec import ModelSpec, sdcor_arrays, without_rows
from _ranef.support.argument_remedies import entropy_of, one_of, whole_number
from _ranef.support.arrays import Bools, Floats
from _ranef.support.checkpoints import Checkpoint, open_checkpoint
from _ranef.support.interrupts import deferred
from _ranef.support.parallel import finished
from _ranef.support.progress import LateBar

__all__ = ["INTERVALS", "Bootstrap", "bootstrap", "parameter_values"]

#: kinds of intervals
INTERVALS = ("percentile", "basic", "normal", "bca", "shortest")

#: replicates that one task makes: of all parameters together, and of a statistic
TOGETHER, ALONE = 250, 10

#: why a replicate has no statistic
NOT_CONVERGED = "the refit did not converge"

#: of a fit, or of what stands for one
Statistic: TypeAlias = Callable[[Any], Any]

#: a fit to another response (n,) or its sums, or of another model
Again: TypeAlias = Callable[[Floats | ModelSpec | Responses], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Doubtable):
    """Replicates of a statistic.

    Attributes
    ----------
    kind, re : str
        How replicates were drawn.
    method : str
        ``"REML"`` or ``"ML"``.
    estimates : Series
        The statistic of the fit, by name.
    replicates : DataFrame (n, k)
        One row a replicate; NaN where it failed, or was not made.
    asked : int
        Replicates that were asked for.
    failures : mapping of str to int
        Why replicates failed, and how many.
    seed : int
        That gives the same replicates again.
    bounds : mapping of str to (float, float)
        Of parameters that have any; intervals end there.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> found = fit.bootstrap(50, seed=1)
    >>> found.frame.index.tolist(), found.frame.columns.tolist()
    (['Intercept', 'sd(Intercept | operator)', 'sigma'], ['estimate', 'bias', 'std_error', 'n'])
    >>> found.confint(0.9, "percentile").columns.tolist(), found.failed
    (['lower', 'upper'], 0)
    >>> found.jackknife.shape
    (4, 3)
    """

    kind: str
    re: str
    method: Method
    estimates: pd.Series[float]
    replicates: pd.DataFrame
    asked: int
    failures: Mapping[str, int]
    seed: int
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    deleted: Callable[[], pd.DataFrame] | None = None

    @property
    def failed(self) -> int:
        """How many replicates have no statistic."""
        return sum(self.failures.values())

    @property
    def frame(self) -> pd.DataFrame:
        """``estimate, bias, std_error, n``: by name, n the replicates in which it is a number."""
        r = self.replicates
        out = pd.DataFrame({"estimate": self.estimates, "bias": r.mean() - self.estimates})
        return out.assign(std_error=r.std(ddof=1), n=r.notna().sum())

    @cached_property
    def jackknife(self) -> pd.DataFrame:
        """The statistic without each level of the coarsest factor, which BCa intervals read; made when first asked."""
        return pd.DataFrame(columns=list(self.estimates.index)) if self.deleted is None else self.deleted()

    def confint(self, level: float = 0.95, interval: str = "percentile") -> pd.DataFrame:
        """Intervals ``lower, upper`` by name.

        Parameters
        ----------
        level : float
        interval : str
            ``"percentile"``; ``"basic"``: 2θ̂ less the quantiles; ``"normal"``: less the bias, ± the standard error;
            ``"bca"``: percentiles corrected for bias and acceleration (Efron 1987, J. Am. Stat. Assoc. 82, 171-185),
            the latter by deleting levels of the coarsest factor; ``"shortest"``: that holds so many replicates.
            (Davison & Hinkley 1997, *Bootstrap Methods and their Application*, ch. 5.)

        Returns
        -------
        DataFrame
            Ends of parameters lie within their bounds.

        Raises
        ------
        DesignError
            For another kind of interval.
        """
        check_level(level)
        one_of("interval", interval, INTERVALS)
        ends = [self._interval(name, level, interval) for name in self.estimates.index]
        return pd.DataFrame(ends, index=self.estimates.index, columns=["lower", "upper"], dtype=float)

    def _interval(self, name: str, level: float, interval: str) -> tuple[float, float]:
        values, estimate = self.replicates[name].dropna().to_numpy(), float(self.estimates[name])
        low, high = self.bounds.get(name, (-np.inf, np.inf))
        if len(values) < 2:
            return np.nan, np.nan
        jackknife = self.jackknife[name].dropna().to_numpy() if interval == "bca" else np.empty(0)
        lower, upper = _ends(values, estimate, level, interval, jackknife)
        return float(np.clip(lower, low, high)), float(np.clip(upper, low, high))

    def _printed(self) -> str:
        done = int(self.replicates.notna().any(axis=1).sum())
        words = "".join(f"\n{n} failed: {why}" for why, n in self.failures.items())
        short = "" if done + self.failed == self.asked else f" of {self.asked} asked for"
        table = self.frame.join(self.confint()).to_string()
        return f"<Bootstrap ({self.kind}, re={self.re!r}) by {self.method}: {done} replicates{short}>\n{table}{words}"


def _ends(values: Floats, estimate: float, level: float, interval: str, jackknife: Floats) -> tuple[float, float]:
    tails = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    if interval == "shortest":
        ordered, within = np.sort(values), int(np.ceil(level * len(values)))
        first = int(np.argmin(ordered[within - 1 :] - ordered[: len(ordered) - within + 1]))
        return float(ordered[first]), float(ordered[first + within - 1])
    if interval == "normal":
        half = normal_quantile(level) * values.std(ddof=1)
        return 2.0 * estimate - values.mean() - half, 2.0 * estimate - values.mean() + half
    if interval == "bca":
        tails = _corrected(values, estimate, tails, jackknife)
    lower, upper = np.quantile(values, tails).tolist()
    return (2.0 * estimate - upper, 2.0 * estimate - lower) if interval == "basic" else (lower, upper)


def _corrected(values: Floats, estimate: float, tails: Floats, jackknife: Floats) -> Floats:
    """Tails Φ(z₀ + (z₀ + z)/(1 − a(z₀ + z))) with z₀ the bias, and a the acceleration, of BCa."""
    n = len(values)
    below = ((values < estimate).sum() + 0.5 * (values == estimate).sum()) / n
    bias = scipy.special.ndtri(np.clip(below, 0.5 / n, 1.0 - 0.5 / n))
    away = jackknife.mean() - jackknife if jackknife.size else np.zeros(1)
    squares = float((away**2).sum())
    acceleration = float((away**3).sum()) / (6.0 * squares**1.5) if squares > 0 else 0.0
    moved = bias + scipy.special.ndtri(tails)
    return np.asarray(scipy.special.ndtr(bias + moved / (1.0 - acceleration * moved)))


def parameter_values(spec: ModelSpec, estimates: RemlEstimates) -> dict[str, float]:
    """Coefficients, sds, correlations, parameters of residuals, dispersions and σ, by the names of ``confint``."""
    out = dict(zip(spec.design.fixed_names, estimates.beta.tolist(), strict=True))
    others = {k: float(v) for k, v in sdcor_arrays(spec, estimates.theta, np.asarray(estimates.sigma)).items()}
    sigma = others.pop("sigma", None)
    told = spec.residual.told() if spec.rho_names else []
    values = values_of(told)
    own = {name: values[k] for name, k in zip(told_names(told), told_places(told), strict=True)}
    last = {"sigma": sigma} if spec.sigma is None and sigma is not None else {}
    return out | others | own | dispersions_of(estimates) | last


def bootstrap(
    fit: Maximum,
    again: Again,
    n: int = 1000,
    statistic: Statistic | None = None,
    kind: str = "parametric",
    re: str = "new",
    *,
    seed: int | None = None,
    n_jobs: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Bootstrap:
    """Draw replicates, fit each, and keep a statistic of it.

    Every replicate has a seed of its own, spawned from `seed`, so that it is the same whoever makes it. All parameters
    together are refitted in batches; a `statistic` is asked of one fit after another.

    Parameters
    ----------
    fit : Maximum
    again : callable
        The fit to another response, or of another model.
    n : int
    statistic : callable, optional
        Of a fit: a number, an array, a Series or a mapping; all parameters by default.
    kind : "parametric", "residual" or "cases"
    re : "new" or "fitted"
    seed : int, optional
    n_jobs : int, optional
        As :func:`_ranef.support.parallel.finished`.
    checkpoint : str or path, optional
        A file in which finished replicates are kept, and from which the same call goes on.

    Warns
    -----
    RanefWarning
        Where it was interrupted, or a worker was killed, with the replicates that are finished kept.
    """
    n = whole_number("n", n, 1)
    products = fit.products if isinstance(fit, Estimated) and not fit.spec.structured else None
    resampling = make_resampling(fit.spec, fit.estimates, kind, re, products)
    if not (statistic is None or callable(statistic)):
        raise DesignError(f"statistic={statistic!r} must be a function of a fit, as lambda fit: fit.fixef.")
    own = _estimated if statistic is None else statistic
    estimates, entropy = _named(own(fit)), entropy_of(seed)
    about: dict[str, Any] = {"what": "bootstrap()", "formula": fit.spec.design.formula, "method": fit.estimates.method}
    about |= {"n": n, "kind": kind, "re": re, "statistic": ", ".join(estimates)}
    kept = _Kept(np.full((n, len(estimates)), np.nan), [""] * n, np.zeros(n, dtype=bool))
    if checkpoint is not None:
        numbers = np.concatenate([marks_of(fit), list(estimates.values())])
        kept.checkpoint = open_checkpoint(checkpoint, about, numbers, seed)
        entropy = kept.checkpoint.seed
        kept.go_on()
    together = kind != "cases" and statistic is None
    if together and isinstance(fit, Estimated) and not fit.spec.structured:
        size, task = slice_size(fit.spec), partial(_refits, resampling, fit.products, tuple(estimates))
    elif together and (linked := make_together(fit.spec, fit.estimates)) is not None:
        size, task = linked.size, partial(_linked_refits, resampling, linked, again, tuple(estimates))
    else:
        size, task = ALONE, partial(_fits, resampling, again, own, tuple(estimates))
    _replicated(kept, task, min(TOGETHER, size), np.random.SeedSequence(entropy).spawn(n), n_jobs)
    replicates, failures = kept.replicates, Counter(why for why in kept.failures if why)
    frame = pd.DataFrame(replicates, columns=list(estimates))
    bounds = {one.name: one.ends for one in held_parameters(fit.spec)[0]} if statistic is None else {}
    series = pd.Series(estimates, dtype=float)
    deleted = partial(_deleted, fit.spec, again, own, tuple(estimates))
    return Bootstrap(kind, re, fit.estimates.method, series, frame, n, failures, entropy, bounds, deleted)


def _replicated(
    kept: _Kept,
    task: Callable[[list[np.random.SeedSequence]], list[_Replicate]],
    size: int,
    seeds: Sequence[np.random.SeedSequence],
    n_jobs: int | None,
) -> None:
    """Do what is not finished yet, so many replicates at once, and keep it."""
    n = len(seeds)
    parts = [range(first, min(n, first + size)) for first in range(0, n, size)]
    parts = [part for part in parts if not kept.finished[part].all()]
    try:
        with LateBar("Bootstrapping", "replicate", n) as bar:
            bar.update(int(kept.finished.sum()))
            for part, found in finished(task, [[seeds[k] for k in part] for part in parts], n_jobs):
                with deferred():  # a replicate is kept with the reason for its failure
                    kept.add(parts[part], found)
                bar.update(len(found))
    except (KeyboardInterrupt, BrokenExecutor) as error:
        if not kept.finished.any():
            raise
        what = "Interrupted" if isinstance(error, KeyboardInterrupt) else "A worker process was killed"
        warn(f"{what}: {kept.finished.sum()} of {n} replicates are finished, and kept.", RanefWarning)


@dataclass(eq=False, repr=False)
class _Kept:
    """What is finished.

    Attributes
    ----------
    replicates : array (n, k)
    failures : list of str (n,)
    finished : array of bool (n,)
    checkpoint : Checkpoint, optional
    """

    replicates: Floats
    failures: list[str]
    finished: Bools
    checkpoint: Checkpoint | None = None

    def go_on(self) -> None:
        """Take over what the checkpoint has."""
        held = {} if self.checkpoint is None else self.checkpoint.done
        if held:
            self.replicates, self.finished = held["replicates"], held["finished"]
            self.failures = held["failures"].tolist()

    def add(self, places: Sequence[int], found: Sequence[_Replicate]) -> None:
        """Keep replicates with the reasons for their failures, in the checkpoint too."""
        for k, one in zip(places, found, strict=True):
            self.replicates[k], self.failures[k], self.finished[k] = one.values, one.failure, True
        if self.checkpoint is not None:
            self.checkpoint.keep(self._arrays, last=bool(self.finished.all()))

    def _arrays(self) -> dict[str, Any]:
        return {"replicates": self.replicates, "finished": self.finished, "failures": np.array(self.failures)}


@dataclass(frozen=True, eq=False)
class _Replicate:
    """The statistic (k,), NaN where it failed, and why."""

    values: Floats
    failure: str = ""


def _refits(
    resampling: Resampling, products: CrossProducts, names: Sequence[str], seeds: Sequence[np.random.SeedSequence]
) -> list[_Replicate]:
    """All parameters of a batch of responses."""
    Y, estimates = resampling.responses(seeds), resampling.estimates
    found = refit_many(resampling.spec, products, Y, estimates.method, estimates.theta, tell=False)
    frame = found.frame
    values, converged = frame[list(names)].to_numpy(dtype=float), frame["converged"].to_numpy(dtype=bool)
    lost = np.full(len(names), np.nan)
    return [_Replicate(v) if ok else _Replicate(lost, NOT_CONVERGED) for v, ok in zip(values, converged, strict=True)]


def _linked_refits(
    resampling: Resampling,
    together: Together,
    again: Again,
    names: Sequence[str],
    seeds: Sequence[np.random.SeedSequence],
) -> list[_Replicate]:
    """All parameters of a batch of generalised responses; those not found together are fitted by themselves."""
    Y = resampling.responses(seeds)
    assert isinstance(Y, np.ndarray)
    found = together.refits(Y)
    values = refitted_values(resampling.spec, found)
    return [
        _Replicate(values[b]) if found.found[b] else _replicate(partial(again, Y[:, b]), _estimated, names)
        for b in range(len(seeds))
    ]


def _fits(
    resampling: Resampling,
    again: Again,
    statistic: Statistic,
    names: Sequence[str],
    seeds: Sequence[np.random.SeedSequence],
) -> list[_Replicate]:
    """A statistic of one fit after another."""
    return [_replicate(partial(_drawn, resampling, again, seed), statistic, names) for seed in seeds]


def _drawn(resampling: Resampling, again: Again, seed: np.random.SeedSequence) -> Any:
    return again(resampling.draw(seed))


def _replicate(fitted: Callable[[], Any], statistic: Statistic, names: Sequence[str]) -> _Replicate:
    lost = np.full(len(names), np.nan)
    try:
        with unwarned():
            fit = fitted()
            if fit.estimates.optimizer.status is Status.NOT_CONVERGED:
                return _Replicate(lost, NOT_CONVERGED)
            found = _named(statistic(fit))
    except (RanefError, np.linalg.LinAlgError, ArithmeticError) as error:
        return _Replicate(lost, f"{type(error).__name__}: {error}")
    missing = [name for name in names if name not in found]
    values = np.array([found.get(name, np.nan) for name in names])
    return _Replicate(values, f"no {missing[0]}" if missing else "")


def _deleted(spec: ModelSpec, again: Again, statistic: Statistic, names: Sequence[str]) -> pd.DataFrame:
    """The statistic (J, k) without each level of the coarsest factor; none where no units are independent."""
    try:
        units = independent_units(spec)
    except DesignError:
        return pd.DataFrame(columns=list(names), dtype=float)
    rows = []
    for unit in range(int(units.max()) + 1):
        fitted = partial(_without, spec, again, units != unit)
        rows.append(_replicate(fitted, statistic, names).values)
    return pd.DataFrame(rows, columns=list(names))


def _without(spec: ModelSpec, again: Again, keep: Any) -> Any:
    return again(without_rows(spec, keep))


def _estimated(fit: Maximum) -> dict[str, float]:
    return parameter_values(fit.spec, fit.estimates)


def _named(found: Any) -> dict[str, float]:
    """What a statistic returns, by name.

    Raises
    ------
    DesignError
        If it holds no numbers.
    """
    try:
        if isinstance(found, Mapping | pd.Series):
            return {str(k): float(v) for k, v in found.items()}
        values = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise DesignError(
            f"The statistic returned {type(found).__name__}; it must be a number, an array, a Series or a mapping of "
            "names to numbers, as lambda fit: fit.fixef."
        ) from None
    if values.ndim == 0:
        return {"statistic": float(values)}
    return {f"statistic[{k}]": float(v) for k, v in enumerate(values.ravel())}
