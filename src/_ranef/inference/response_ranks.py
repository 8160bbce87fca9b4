"""Residuals as ranks of the response among simulated ones, with tests of what they should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from _ranef.errors import DesignError
from _ranef.results import Doubtable
from _ranef.support.arrays import Floats

__all__ = ["SimulatedResiduals", "simulated_residuals"]

#: simulations below which a p-value of 0.05 cannot be told
FEWEST = 50


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedResiduals(Doubtable):
    """How the responses lie among those that the fit simulates.

    Attributes
    ----------
    residuals : Series (n_obs,)
        Share of simulated responses below each response: uniform on (0, 1) where the model holds.
    tests : DataFrame
        ``statistic, expected, p`` of ``uniformity``, ``dispersion`` and ``outliers``; ``expected`` is the mean over the
        simulated data sets.
    n : int
        Simulated data sets.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> found = fit.simulated_residuals(100, seed=1)
    >>> found.residuals.between(0, 1).all().item(), found.n
    (True, 100)
    >>> found.tests.columns.tolist()
    ['statistic', 'expected', 'p']
    """

    residuals: pd.Series[float]
    tests: pd.DataFrame
    n: int

    def _printed(self) -> str:
        return f"{self.n} simulated data sets\n{self.tests.to_string(float_format=lambda v: f'{v:.4g}')}"


def simulated_residuals(y: pd.Series[float], simulated: Floats) -> SimulatedResiduals:
    """Ranks of responses y (n_obs,) among simulated ones (n_obs, n), and tests of them.

    If the model holds, y is exchangeable with the n simulated data sets. So every statistic is computed of each of the
    n + 1 from the ranks of, and deviations from, all of them, and its p-value is the share that is as extreme as that
    of y: dependence among rows, by random effects or correlated residuals, changes nothing (Besag & Clifford 1989,
    Biometrika 76, 633-642).

    Raises
    ------
    DesignError
        For fewer than 50 simulated data sets.
    """
    n = simulated.shape[1]
    if n < FEWEST:
        raise DesignError(f"n={n} simulated data sets are too few for a test; give {FEWEST} or more.")
    every = np.column_stack([y.to_numpy(dtype=float), simulated])
    ranks = every.argsort(axis=1).argsort(axis=1)
    shares = (ranks + 0.5) / (n + 1)
    deviations = every - every.mean(axis=1, keepdims=True)
    squares = (deviations**2).mean(axis=0)
    outside = ((ranks == 0) | (ranks == n)).sum(axis=0)
    statistics = {
        "uniformity": _distances(shares),
        "dispersion": squares / squares.mean(),
        "outliers": outside.astype(float),
    }
    rows = {name: (t[0], t[1:].mean(), _p_value(t, both=name == "dispersion")) for name, t in statistics.items()}
    tests = pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "expected", "p"])
    return SimulatedResiduals(pd.Series(shares[:, 0], index=y.index, name="residual"), tests, n)


def _distances(shares: Floats) -> Floats:
    """Kolmogorov's distance (m,) of the shares (n_obs, m) from a uniform distribution."""
    ordered, steps = np.sort(shares, axis=0), np.arange(len(shares) + 1)[:, None] / len(shares)
    return np.asarray(np.maximum(np.abs(ordered - steps[:-1]), np.abs(ordered - steps[1:])).max(axis=0))


def _p_value(t: Floats, *, both: bool) -> float:
    """Share of statistics (m,) that are as large as the first of them; of the nearer end, twice, for `both`."""
    upper, lower = (t >= t[0]).mean(), (t <= t[0]).mean()
    return float(min(1.0, 2.0 * min(upper, lower)) if both else upper)
