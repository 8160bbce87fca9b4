"""Posteriors of small models tabulated over the variance parameters: an oracle that shares no code with ranef.

y = Xβ + Zb + ε with b = Λu, u ~ N(0, I). At a point of the grid, β and u given y are Gaussian with precision
WᵀR⁻¹W + diag(prior of β, I), W = [X, ZΛ], whose determinant also gives p(y | Λ, σ). The grid is a tensor product in
coordinates on the whole line (log sd, log σ, atanh ρ), on which the trapezoidal rule converges geometrically, so a
step of about half a posterior sd is enough. Marginals of β and b are mixtures of normals over the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy import interpolate, optimize, stats

#: log density below its maximum, at which the grid ends
DEPTH = 17.0

#: most entries of matrices held at once
CHUNK = 4_000_000

Scale = tuple[str, float, float]  #: ("t", df, scale) or ("normal", 0, scale), on the positive half-line


@dataclass(frozen=True)
class Oracle:
    """A model as dense arrays.

    Attributes
    ----------
    y, X, weights
        Rows.
    blocks
        For every random-effects term (n, J, p): row i's columns in the place of its level, else zero; p is 1 or 2.
    at_means, loc, scale
        at_means @ β ~ N(loc, scale²), independently; infinite scales are flat.
    sd_priors, sigma_prior
        One for each column of each term; the prior of σ is its value where it is known.
    eta
        LKJ's parameter for terms of two columns.
    """

    y: np.ndarray
    X: np.ndarray
    weights: np.ndarray
    blocks: tuple[np.ndarray, ...]
    at_means: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    sd_priors: tuple[Scale, ...]
    sigma_prior: Scale | float
    eta: float = 1.0

    @property
    def names(self) -> list[str]:
        """Coordinates: sds by term and column, correlations, σ."""
        sizes = [Z.shape[2] for Z in self.blocks]
        out = [f"sd{t}{i}" for t, p in enumerate(sizes) for i in range(p)]
        out += [f"cor{t}" for t, p in enumerate(sizes) if p == 2]
        return out if isinstance(self.sigma_prior, float) else [*out, "sigma"]

    def natural(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Sds, correlations and σ at rows of coordinates."""
        out = {n: (np.tanh if n.startswith("cor") else np.exp)(q) for n, q in zip(self.names, points.T, strict=True)}
        return out if "sigma" in out else out | {"sigma": np.full(len(points), float(self.sigma_prior))}

    def log_prior(self, points: np.ndarray) -> np.ndarray:
        """In the coordinates of the grid, Jacobians included."""
        at, out = self.natural(points), np.zeros(len(points))
        scales = dict(zip([n for n in self.names if n.startswith("sd")], self.sd_priors, strict=True))
        if not isinstance(self.sigma_prior, float):
            scales["sigma"] = self.sigma_prior
        for name, (family, df, scale) in scales.items():
            density, shape = (stats.t, (df,)) if family == "t" else (stats.norm, ())
            out += density.logpdf(at[name], *shape, scale=scale) + np.log(at[name])  # frozen ones take longer to make
        for name in self.names:
            if name.startswith("cor"):  # LKJ of two columns is (1 − ρ²)^(η − 1), and dρ = (1 − ρ²) d atanh ρ
                out += self.eta * np.log1p(-(at[name] ** 2))
        return out

    def roots(self, points: np.ndarray) -> list[np.ndarray]:
        """Λ's template (N, p, p) of every term."""
        at, out = self.natural(points), []
        for t, Z in enumerate(self.blocks):
            L = np.zeros((len(points), Z.shape[2], Z.shape[2]))
            L[:, 0, 0] = at[f"sd{t}0"]
            if Z.shape[2] == 2:
                L[:, 1, 0] = at[f"sd{t}1"] * at[f"cor{t}"]
                L[:, 1, 1] = at[f"sd{t}1"] * np.sqrt(1.0 - at[f"cor{t}"] ** 2)
            out.append(L)
        return out

    @cached_property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """WᵀR⁻¹W and WᵀR⁻¹y of the columns of X and Z, for σ = 1."""
        W = np.hstack([self.X, *(Z.reshape(len(self.y), -1) for Z in self.blocks)])
        return W.T @ (W * self.weights[:, None]), W.T @ (self.weights * self.y)

    def conditional(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log density, and means and sds (N, p + q) of β and b (term by term, level by level)."""
        (n, p), (S, s) = self.X.shape, self.sums
        T = np.zeros((len(points), *S.shape))
        T[:, range(p), range(p)] = 1.0
        start = p
        for Z, L in zip(self.blocks, self.roots(points), strict=True):
            for _ in range(Z.shape[1]):
                T[:, start : start + L.shape[1], start : start + L.shape[1]] = L
                start += L.shape[1]
        Tt, sigma = np.swapaxes(T, 1, 2), self.natural(points)["sigma"]
        K = self.at_means / self.scale[:, None]
        m = self.loc / self.scale
        P = Tt @ S @ T / sigma[:, None, None] ** 2
        P[:, :p, :p] += K.T @ K
        P[:, range(p, len(S)), range(p, len(S))] += 1.0
        rhs = (Tt @ s) / sigma[:, None] ** 2
        rhs[:, :p] += K.T @ m
        C = np.linalg.inv(np.linalg.cholesky(P))
        half = (C @ rhs[:, :, None])[:, :, 0]
        quadratic = (self.weights * self.y**2).sum() / sigma**2 + m @ m - (half**2).sum(axis=1)
        log_det = -2.0 * np.log(np.diagonal(C, axis1=1, axis2=2)).sum(axis=1)
        logs = self.log_prior(points) - 0.5 * (2 * n * np.log(sigma) + log_det + quadratic)
        B = C @ Tt  # covariance of (β, b) is BᵀB
        return logs, (half[:, None] @ B)[:, 0], np.sqrt((B**2).sum(axis=1))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Of the variance parameters given y, up to a constant, in the coordinates of the grid."""
        parts = np.array_split(points, max(1, len(points) * (sum(Z[0].size for Z in self.blocks) + 8) ** 2 // CHUNK))
        return np.concatenate([self.conditional(part)[0] for part in parts])


@dataclass(frozen=True)
class Posterior:
    """A tabulated posterior.

    Attributes
    ----------
    oracle
    axes
        The grid's coordinates by axis.
    weights
        Probabilities on the grid.
    mean, sd
        Of β and b at the points of weight.
    kept
        Probabilities of those points.
    """

    oracle: Oracle
    axes: list[np.ndarray]
    weights: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    kept: np.ndarray

    def coordinate(self, name: str) -> Marginal:
        """Marginal of log sd, log σ or atanh ρ."""
        i = self.oracle.names.index(name)
        other = tuple(a for a in range(len(self.axes)) if a != i)
        x, density = self.axes[i], self.weights.sum(axis=other)
        mean = density @ x
        fine = np.linspace(x[0], x[-1], 20_001)
        log_density = interpolate.CubicSpline(x, np.log(density))(fine)
        cdf = np.cumsum(np.exp(log_density))
        return Marginal(mean, np.sqrt(density @ (x - mean) ** 2), lambda p: np.interp(p, cdf / cdf[-1], fine))

    def expectation(self, function: Callable[[dict[str, np.ndarray]], np.ndarray]) -> float:
        """Of a function of sds, correlations and σ."""
        points = np.array(list(product(*self.axes)))
        return float(self.weights.ravel() @ function(self.oracle.natural(points)))

    def effect(self, i: int) -> Marginal:
        """Marginal of entry i of (β, b): a mixture of normals."""
        mean, sd = self.mean[:, i], self.sd[:, i]
        centre = self.kept @ mean
        spread = np.sqrt(self.kept @ (sd**2 + (mean - centre) ** 2))

        def quantile(p: float) -> float:
            bounds = centre - 40 * spread, centre + 40 * spread
            return optimize.brentq(lambda x: self.kept @ stats.norm.cdf(x, mean, sd) - p, *bounds, xtol=1e-9 * spread)

        return Marginal(centre, spread, quantile)


@dataclass(frozen=True)
class Marginal:
    """Mean, sd and quantile function."""

    mean: float
    sd: float
    quantile: Callable[[float], float]


def tabulate(oracle: Oracle, start: list[float], points: int = 31) -> Posterior:
    """The posterior on a grid that ends where its profile is exp(−17) of the mode's.

    A coordinate's profile is followed outwards from the mode, the others maximised: a zero variance makes a long tail
    exp(log sd), which is covered to a probability below 1e-6.
    """

    def minus(q: np.ndarray) -> float:
        return -float(oracle.conditional(np.asarray(q)[None])[0][0])

    mode = optimize.minimize(minus, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x
    axes = [_axis(minus, mode, i, points) for i in range(len(mode))]
    grid = np.array(list(product(*axes)))
    logs = oracle.log_density(grid)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    keep = weights > 1e-9
    kept = weights[keep] / weights[keep].sum()
    at = grid[keep]
    parts = [oracle.conditional(part)[1:] for part in np.array_split(at, max(1, len(at) // 2000))]
    mean, sd = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return Posterior(oracle, axes, weights.reshape([len(a) for a in axes]), mean, sd, kept)


def _axis(minus: Callable[[np.ndarray], float], mode: np.ndarray, i: int, points: int) -> np.ndarray:
    """Evenly spaced values; more of them where the range is long against the curvature at the mode."""
    lowest = minus(mode)
    others = [j for j in range(len(mode)) if j != i]

    def depth(x: float) -> float:
        def fixed(rest: np.ndarray) -> float:
            q = mode.copy()
            q[i], q[others] = x, rest
            return minus(q)

        if not others:
            return fixed(np.zeros(0)) - lowest
        options = {"xatol": 1e-2, "fatol": 1e-2}
        return optimize.minimize(fixed, mode[others], method="Nelder-Mead", options=options).fun - lowest

    ends = []
    for sign in (-1.0, 1.0):
        step = 0.05
        while depth(mode[i] + sign * step) < DEPTH:
            step *= 1.3
        ends.append(mode[i] + sign * step)
    h = 0.05
    bend = (depth(mode[i] + h) + depth(mode[i] - h)) / h**2
    width = 1.0 / np.sqrt(max(bend, 1.0 / (ends[1] - ends[0]) ** 2))
    return np.linspace(*ends, max(points, int(np.ceil((ends[1] - ends[0]) / (0.6 * width)))))
