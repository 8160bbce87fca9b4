"""Random small designs with residual structures, and the lowest dense criterion that general searches find on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

import ranef
from _ranef.reml import fit_structured
from _ranef.reml.structured import StructuredFit
from _ranef.spec import ModelSpec
from oracle import dense

VARIANCES = {
    "-": None,
    "ident": ranef.VarIdent("s"),
    "power": ranef.VarPower("z"),
    "exp": ranef.VarExp("z"),
    "const": ranef.VarConstPower("z"),
    "ident*power": ranef.VarIdent("s") * ranef.VarPower("z"),
}
CORRELATIONS = {
    "-": None,
    "ar1": ranef.AR1("t", group="g"),
    "car1": ranef.CAR1("u", group="g"),
    "cs": ranef.CompSymm(group="g"),
    "ar2": ranef.ARMA(2, 0, "t", group="g"),
    "ma1": ranef.ARMA(0, 1, "t", group="g"),
    "arma11": ranef.ARMA(1, 1, "t", group="g"),
    "symm": ranef.Symm("visit", group="g"),
    "expo": ranef.Exponential("u", group="g"),
    "expo+n": ranef.Exponential(["u", "v"], group="g", nugget=True),
    "gauss": ranef.Gaussian(["u", "v"], group="g"),
    "gauss+n": ranef.Gaussian("u", group="g", nugget=True),
    "spher": ranef.Spherical("u", group="g"),
    "spher+n": ranef.Spherical(["u", "v"], group="g", nugget=True),
}
PAIRS = [(v, c) for v in VARIANCES for c in CORRELATIONS if (v, c) != ("-", "-")]

#: how far from where ρ starts the searches may go, in units that matter: as far as ours
FAR = 15.0


@dataclass(frozen=True)
class Design:
    """One random design.

    Attributes
    ----------
    name : str
    spec : ModelSpec
    method : "REML" or "ML"
    """

    name: str
    spec: ModelSpec
    method: str


def design(k: int) -> Design:
    """Number k, each pair of structures in its turn; its data follow the model or half of the time something near."""
    rng = np.random.default_rng([7, k])
    variance, correlation = PAIRS[k % len(PAIRS)]
    n, groups = int(rng.integers(20, 61)), int(rng.integers(4, 13))
    symm = correlation == "symm"
    g = np.sort(rng.integers(0, groups, n))
    g[:2] = g[0]
    place = pd.Series(g).groupby(g).cumcount().to_numpy()
    if symm:  # four visits at the most, and some of them missed
        g = np.repeat(np.arange(max(groups, 6)), 4)
        place = np.tile(np.arange(4), max(groups, 6))
        kept = rng.random(len(g)) > 0.15
        g, place = g[kept], place[kept]
    n = len(g)
    data = pd.DataFrame({"g": g, "visit": place, "t": place + (place > 2) * rng.integers(0, 2)})
    data["u"] = data["t"] + rng.uniform(-0.4, 0.4, n)
    data["v"] = rng.uniform(0, 3, n)
    data["x"] = rng.normal(size=n)
    data["z"] = rng.uniform(0.3, 4.0, n)
    data["s"] = rng.permutation(np.resize(list("abc"), n))
    # whole groups share an intercept, rows an autocorrelation of either sign
    phi, sd = rng.choice([-0.5, 0.0, 0.4, 0.85]), rng.choice([0.0, 0.5, 1.5])
    noise = rng.normal(size=n)
    for i in range(1, n):
        if g[i] == g[i - 1]:
            noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    sds = data["z"] ** rng.choice([-0.7, 0.0, 0.8]) * data["s"].map({"a": 1.0, "b": rng.uniform(0.4, 2), "c": 1.0})
    data["y"] = 1 + 0.5 * data["x"] + sd * rng.normal(size=groups + 10)[g] + sds * noise
    mixed = rng.random() < 0.6 and correlation != "cs"  # which says the same as (1 | g), and beside it is refused
    formula = "y ~ x + (1 | g)" if mixed else "y ~ x"
    given = {"variance": VARIANCES[variance], "correlation": CORRELATIONS[correlation]}
    method = str(rng.choice(["REML", "ML"]))
    name = f"{k}: {variance} {correlation} {formula} {method} n={n}"
    return Design(name, ranef.Model(formula, data.astype({"g": str}), **given).spec, method)


def fitted(own: Design) -> StructuredFit:
    """By ours."""
    return fit_structured(own.spec, own.method)


def has_no_minimum(own: Design, values: np.ndarray) -> bool:
    """Whether a search ended where some rows have no variance left, or residuals are the same but for rounding."""
    k, units = own.spec.n_theta, own.spec.with_rho(own.spec.rho_start).residual.units
    try:
        R = own.spec.with_rho(own.spec.rho_start + units * np.clip(values[k:], -FAR, FAR)).residual.covariance()
    except np.linalg.LinAlgError:
        return True
    sds = np.sqrt(R.diagonal())
    correlations = R.toarray() / np.outer(sds, sds)
    return bool(sds.min() < 1e-3 * np.median(sds) or np.linalg.eigvalsh(correlations)[0] < 1e-5)


def lowest(own: Design, seed: int, starts: int, at: StructuredFit | None = None) -> tuple[float, np.ndarray]:
    """The least criterion by L-BFGS and then Nelder and Mead from random starts and, if given, from a fit."""
    spec, k = own.spec, own.spec.n_theta
    centre, units = spec.rho_start, spec.with_rho(spec.rho_start).residual.units

    def criterion(values):
        inside = np.clip(values[k:], -FAR, FAR)
        try:
            value = dense(spec.with_rho(centre + units * inside), np.abs(values[:k]), own.method).criterion
        except (np.linalg.LinAlgError, FloatingPointError):
            return 1e8
        return value if np.isfinite(value) else 1e8

    rng = np.random.default_rng(seed)
    first = [np.r_[rng.uniform(0.05, 1.5, k), rng.normal(0, 1.2, len(centre))] for _ in range(starts)]
    if at is not None:
        first.append(np.r_[at.estimates.theta, (at.spec.rho - centre) / units])
    best = (np.inf, first[0])
    with np.errstate(all="ignore"):
        for x in first:
            one = minimize(criterion, x, method="L-BFGS-B", options={"maxiter": 200})
            options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 600}
            two = minimize(criterion, one.x, method="Nelder-Mead", options=options)
            best = min(best, (float(two.fun), two.x), key=lambda b: b[0])
    return best
