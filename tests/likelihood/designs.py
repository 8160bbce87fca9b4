"""Generated designs of every shape that the elimination treats differently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import ranef

#: formula after the tilde, by name; a is crossed with b, c is nested in a, d in c
SHAPES = {
    "intercept": "1 + (1 | a)",
    "slope": "x + (x | a)",
    "uncorrelated": "x + (x || a)",
    "slope only": "x + (0 + x | a)",
    "diagonal": "x + diag(x + z | a)",
    "identical": "x + ident(0 + x + z | a)",
    "three columns": "x + z + (x + z | a)",
    "factor slope": "f + (f | a)",
    "two terms on one factor": "x + (1 | a) + (0 + x + z | a)",
    "nested": "x + (1 | a / c)",
    "nested three levels": "x + (x | a / c / d)",
    "crossed": "x + (1 | a) + (1 | b)",
    "crossed slopes": "x + (x | a) + (z | b)",
    "crossed three": "x + (1 | a) + (x | b) + (1 | e)",
    "crossed with interaction": "x + (1 | a) + (x | b) + (1 | a:b)",
    "nested and crossed": "x + (x | a / c) + (1 | b)",
    "no fixed effects": "0 + (1 | a) + (1 | b)",
    "no intercept": "0 + f + (x | a)",
    "rank-deficient": "x + I(2 * x) + f + (1 | a)",
}


@dataclass(frozen=True)
class Shape:
    formula: str
    data: pd.DataFrame
    weights: str | None
    sigma: float | None

    def model(self) -> ranef.Model:
        return ranef.Model(self.formula, self.data, weights=self.weights, sigma=self.sigma)


def make_data(seed: int, n: int = 100, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = _codes(rng, n, 7)
    c = rng.integers(0, 3, n)
    d = rng.integers(0, 2, n)
    b = _codes(rng, n, 5)
    e = _codes(rng, n, 4)
    x, z = rng.normal(size=n) + 2.0, rng.normal(size=n)
    f = np.array(["p", "q", "r"])[_codes(rng, n, 3)]
    effects = rng.normal(size=7)[a] + 0.7 * rng.normal(size=5)[b] + 0.5 * rng.normal(size=7)[a] * x
    y = shift + 1.5 * x + effects + rng.normal(size=n)
    return pd.DataFrame(
        {"y": y, "x": x, "z": z, "f": f, "a": a, "b": b, "c": c, "d": d, "e": e, "w": rng.uniform(0.3, 3.0, n)}
    )


def _codes(rng: np.random.Generator, n: int, levels: int) -> np.ndarray:
    """Unbalanced codes in which every level occurs."""
    p = rng.dirichlet(np.full(levels, 2.0))
    return rng.permutation(np.concatenate([np.arange(levels), rng.choice(levels, n - levels, p=p)]))


@st.composite
def shapes(draw, names=tuple(SHAPES)) -> Shape:
    name = draw(st.sampled_from(names))
    weights = draw(st.sampled_from([None, "w"]))
    sigma = draw(st.sampled_from([None, None, 0.8]))
    return Shape(f"y ~ {SHAPES[name]}", make_data(draw(st.integers(0, 10**6))), weights, sigma)


@st.composite
def thetas(draw, n: int) -> np.ndarray:
    """Any θ, zeros and negative entries among them: the criterion depends on λλᵀ alone."""
    value = st.one_of(st.just(0.0), st.floats(-3, 3).filter(lambda v: abs(v) > 1e-3))
    return np.array(draw(st.lists(value, min_size=n, max_size=n)))
