"""Random small designs of every kind, the criterion by dense algebra in forty digits, and a generic optimiser.

:func:`fuzzed` makes a design from a seed; :func:`beaten_by` says how far below ranef's criterion the competitor comes.
Nothing here reads ranef's cross-products: V is built whole from the columns that the design encodes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import optimize

import ranef

#: seeds of one design that are tried before a formula is given up as refused
TRIES = 40

#: a criterion lower by no more than this share of itself is the same but for rounding
ROUNDING = 1e-11


@dataclass(frozen=True)
class Fuzzed:
    """A formula, its data, and how it is to be fitted."""

    formula: str
    data: pd.DataFrame
    weights: str | None
    sigma: float | None
    method: str

    def model(self) -> ranef.Model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ranef.RanefWarning)
            return ranef.Model(self.formula, self.data, weights=self.weights, sigma=self.sigma)

    def __str__(self) -> str:
        known = "" if self.sigma is None else f", sigma={self.sigma:.3g}"
        return f"{self.formula} [{self.method}, {len(self.data)} rows{known}{', weights' if self.weights else ''}]"


def fuzzed(seed: int) -> Fuzzed:
    """The design of a seed: the first of its sequence that ranef does not refuse with a DesignError."""
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        candidate = _candidate(rng)
        try:
            candidate.model()
        except (ranef.DesignError, ranef.FitError):
            continue
        return candidate
    raise AssertionError(f"{TRIES} designs of seed {seed} were all refused")


def _candidate(rng: np.random.Generator) -> Fuzzed:
    n = int(rng.integers(10, 61))
    data = _columns(rng, n)
    groups = _groups(rng)
    bars = [_bar(rng, group) for group in groups]
    fixed = _fixed(rng, groups)
    data["y"] = _response(rng, data, groups)
    sigma = None if rng.random() < 0.8 else float(data["y"].std() * 10 ** rng.choice([-7.0, -3.0, -1.0, -0.5, 0.0]))
    weights = "w" if rng.random() < 0.35 else None
    return Fuzzed(f"y ~ {fixed} + {' + '.join(bars)}", data, weights, sigma, str(rng.choice(["REML", "ML"])))


def _columns(rng: np.random.Generator, n: int) -> pd.DataFrame:
    data = {}
    for name in ("g1", "g2", "g3"):
        levels = int(rng.integers(2, max(3, min(n // 2, 14))))
        codes = rng.permutation(np.arange(n) % levels) if rng.random() < 0.6 else rng.integers(0, levels, n)
        data[name] = [f"{name}{c}" for c in codes]
    if rng.random() < 0.2:  # one name for the other's partition
        data["g3"] = [f"again {c}" for c in data["g1"]]
    for name in ("x", "z"):
        scale = 10 ** rng.uniform(-6, 6) if rng.random() < 0.15 else 1.0
        shift = 10 ** rng.uniform(0, 4) if rng.random() < 0.25 else 0.0
        values = rng.normal(size=n) if rng.random() < 0.7 else rng.integers(0, 3, n).astype(float)
        if rng.random() < 0.15:  # constant within the groups of g1
            values = rng.normal(size=14)[pd.factorize(pd.Series(data["g1"]))[0]]
        data[name] = (values + shift) * scale
    data["f"] = np.array(["p", "q", "r"])[rng.permutation(np.arange(n) % int(rng.integers(2, 4)))]
    spread = rng.uniform(0.2, 2.5)
    return pd.DataFrame(data).assign(w=10 ** rng.uniform(-spread, spread, n))


def _groups(rng: np.random.Generator) -> list[str]:
    kind = rng.random()
    if kind < 0.35:
        return ["g1"]
    if kind < 0.6:
        return ["g1", "g2"]
    if kind < 0.75:
        return ["g1", "g2", "g3"]
    if kind < 0.85:
        return ["g1", "g1:g2"]
    return ["g1:f"] if kind < 0.92 else ["g1", "g2", "g1:f"]


def _bar(rng: np.random.Generator, group: str) -> str:
    shapes = ("1", "1", "1", "x", "x", "x + z", "0 + x", "f", "0 + f", "x:f", "x * f")
    shape = str(rng.choice(shapes, p=[0.25, 0.15, 0.1, 0.15, 0.1, 0.05, 0.05, 0.06, 0.05, 0.02, 0.02]))
    kind = rng.random()
    if shape == "1" or kind < 0.65:
        return f"({shape} | {group})"
    if kind < 0.8:
        return f"({shape} || {group})"
    return f"{'diag' if kind < 0.92 else 'ident'}({shape} | {group})"


def _fixed(rng: np.random.Generator, groups: list[str]) -> str:
    parts = [term for term in ("x", "z", "f") if rng.random() < 0.4]
    if rng.random() < 0.06:
        parts.append(groups[0].replace(":", " * ") if rng.random() < 0.5 else groups[0])
    return " + ".join(["1" if rng.random() < 0.92 else "0", *parts])


def _response(rng: np.random.Generator, data: pd.DataFrame, groups: list[str]) -> np.ndarray:
    n = len(data)
    y = rng.normal() + rng.normal() * standard(data["x"])
    for name in ("g1", "g2", "g3"):
        if rng.random() < 0.7:
            codes, size = pd.factorize(data[name])[0], 10 ** rng.uniform(-1.5, 1.5)
            y = y + size * (rng.normal(size=n)[codes] + rng.normal(size=n)[codes] * standard(data["x"]) * rng.uniform())
    noise = 10 ** rng.uniform(-7, -3) if rng.random() < 0.06 else 1.0
    y = y + noise * rng.normal(size=n) / np.sqrt(data["w"] if rng.random() < 0.3 else 1.0)
    return np.asarray(y) * (10 ** rng.uniform(-6, 6) if rng.random() < 0.1 else 1.0)


def standard(values: pd.Series) -> np.ndarray:
    """Values of mean zero and standard deviation one."""
    centred = np.asarray(values - values.mean())
    return np.asarray(centred / (centred.std() or 1.0))


# -- the criterion ---------------------------------------------------------------------------------------------------


class DenseCriterion:
    """The criterion of a spec at λ, V built whole; in double for the competitor, in forty digits for the verdict.

    The competitor's parameters are lower triangles λ on columns scaled to the noise of a row, and centred where an
    intercept stands beside them, which changes no model and makes its search easier.
    """

    def __init__(self, spec, method: str) -> None:
        self.spec, self.method = spec, method
        d, n = spec.design, spec.n_obs
        root_w = np.ones(n) if d.weights is None else np.sqrt(d.weights)
        y = d.y if d.offset is None else d.y - d.offset
        self.log_weights = 2.0 * float(np.log(root_w).sum())
        X = d.X * root_w[:, None]
        self.X_size = np.sqrt((X**2).mean(axis=0))
        self.X, self.y_size = X / self.X_size, float(np.abs(y * root_w).max())
        self.y = y * root_w / self.y_size
        self.nu = n - (X.shape[1] if method == "REML" else 0)
        self.sigma = None if spec.sigma is None else spec.sigma / self.y_size
        self.Z, self.maps = [], []
        for t in spec.terms:
            g = spec.groupings[t.grouping]
            columns = g.Z[:, t.where].copy()
            T = np.eye(t.structure.size)
            if t.structure.word == "us" and np.ptp(columns[:, 0]) == 0 and columns[0, 0] == 1:
                T[0, 1:] = -columns[:, 1:].mean(axis=0)
            size = np.sqrt((((columns @ T) * root_w[:, None]) ** 2).mean(axis=0))
            size = np.full(len(size), np.sqrt((size**2).mean())) if t.structure.word == "ident" else size
            T = T / np.where(size > 0, size, 1.0)
            rows = (columns @ T) * root_w[:, None]
            self.Z.append((np.eye(g.n_levels)[g.codes], rows))
            self.maps.append(T)

    def V(self, lambdas, number=np.float64):
        out = numbers(np.eye(len(self.y)), number)
        for (levels, rows), lam in zip(self.Z, lambdas, strict=True):
            half = numbers(rows, number) @ numbers(lam, number)
            out = out + numbers(levels @ levels.T, number) * (half @ half.T)
        return out

    def lambdas(self, theta):
        return [t.structure.root(theta[t.theta]) for t in self.spec.terms]

    def from_user(self, theta):
        """The λ of θ on the user's scale; no triangles, which the criterion does not need."""
        pairs = zip(self.spec.terms, self.maps, strict=True)
        return [np.linalg.solve(T, t.structure.root(theta[t.theta])) for t, T in pairs]

    def value(self, lambdas) -> float:
        """The criterion in forty digits; infinite where V or XᵀV⁻¹X is singular."""
        with localcontext() as context:
            context.prec = 40
            L = cholesky(self.V(lambdas, Decimal))
            if L is None:
                return np.inf
            columns = solve_lower(L, numbers(np.column_stack([self.X, self.y]), Decimal))
            R = cholesky(columns.T @ columns)
            if R is None:
                return np.inf
            logs_V, logs_X = ([float(pivot.ln()) for pivot in np.diag(triangle)] for triangle in (L, R[:-1, :-1]))
            return self._assemble(2 * sum(logs_V), 2 * sum(logs_X), float(R[-1, -1]) ** 2)

    def _assemble(self, log_V, log_X, rss) -> float:
        if not rss > 0:
            return np.inf
        log_det = log_V - self.log_weights
        if self.method == "REML":
            log_det = log_det + log_X + 2 * np.log(self.X_size).sum()
        if self.sigma is None:
            s2, spread = rss / self.nu, self.nu
        else:
            s2, spread = self.sigma**2, rss / self.sigma**2
        return float(log_det + self.nu * (np.log(2 * np.pi * s2) + 2 * np.log(self.y_size)) + spread)

    def value_and_gradient(self, theta):
        """In double, for the competitor."""
        lambdas = self.lambdas(theta)
        V = self.V(lambdas)
        try:
            inverse = np.linalg.inv(V)
            information = self.X.T @ inverse @ self.X
            half = np.linalg.solve(information, self.X.T @ inverse)
            P = inverse - inverse @ self.X @ half
            signs = np.linalg.slogdet(V), np.linalg.slogdet(information) if len(information) else (1.0, 0.0)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(len(theta))
        Py = P @ self.y
        rss = float(self.y @ Py)
        value = self._assemble(signs[0][1], signs[1][1], rss) if min(s[0] for s in signs) > 0 else np.inf
        if not np.isfinite(value):
            return 1e10, np.zeros(len(theta))
        s2 = rss / self.nu if self.sigma is None else self.sigma**2
        middle = (P if self.method == "REML" else inverse) - np.outer(Py, Py) / s2
        gradient = np.empty(len(theta))
        for t, (levels, rows), lam in zip(self.spec.terms, self.Z, lambdas, strict=True):
            slope = 2 * rows.T @ ((levels @ levels.T) * middle) @ rows @ lam
            gradient[t.theta] = t.structure.pull_back(theta[t.theta], slope)
        return value, gradient


def numbers(values, number):
    """An array of floats as one of the numbers that exact sums are made with."""
    return values if number is np.float64 else np.vectorize(number, otypes=[object])(values)


def cholesky(A):
    """Lower factor in the arithmetic of `A`, or None."""
    L = np.array(A)
    for j in range(len(L)):
        if not L[j, j] > 0:
            return None
        L[j:, j] = L[j:, j] / np.sqrt(L[j, j])
        L[j + 1 :, j + 1 :] -= np.outer(L[j + 1 :, j], L[j + 1 :, j])
    return L


def solve_lower(L, B):
    """L⁻¹B in the arithmetic of L, whose entries above the diagonal are not read."""
    out = np.array(B)
    for i in range(len(L)):
        out[i] = (out[i] - (L[i, :i] @ out[:i] if i else 0)) / L[i, i]
    return out


# -- the verdict -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """How a fit compares: `margin` is by how much the competitor is lower, in deviance units."""

    margin: float
    theta: np.ndarray


class Contest:
    """A fit and its competitor on one dense criterion."""

    def __init__(self, fit, method: str, seed: int, starts: int) -> None:
        self.fit, self.dense = fit, DenseCriterion(fit.spec, method)
        self.rng, self.starts = np.random.default_rng(seed), starts

    @cached_property
    def own(self) -> float:
        """The criterion at the fit's θ, in forty digits."""
        return self.dense.value(self.dense.from_user(self.fit.estimates.theta))

    def verdict(self) -> Verdict:
        spec = self.fit.spec
        diagonal = np.concatenate([t.structure.on_diagonal for t in spec.terms])
        found = []
        for i in range(self.starts):
            sizes = 10 ** self.rng.uniform(-1.5, 1.5 if i % 3 else 4, len(diagonal))
            start = np.where(diagonal, sizes, sizes * self.rng.normal(size=len(sizes)) * 0.5)
            with np.errstate(all="ignore"):
                ended = optimize.minimize(self.dense.value_and_gradient, start, jac=True, method="L-BFGS-B")
            found.append((ended.fun, ended.x))
        best = min(found, key=lambda pair: pair[0])[1]
        lower = self.dense.value(self.dense.lambdas(best))
        return Verdict(self.own - lower - ROUNDING * abs(self.own), best)
