"""Small designs with a clear signal, for tests that change the data in ways that must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: formula after the tilde, by name; c is nested in a, b crossed with a, and a and e have equally many levels
FORMULAS = {
    "slope": "x + (x | a)",
    "diagonal slope": "x + (x || a)",
    "nested": "x + (x | a) + (1 | a:c)",
    "crossed": "x + (1 | a) + (1 | b)",
    "crossed slopes": "x + f + (x | a) + (x | b)",
    "two terms": "x + (0 + x | a) + (1 | e)",
}


def made(seed: int, n: int = 96) -> pd.DataFrame:
    """Eight levels of a and of e, six of b, two of c within a; effects about as large as the noise, y near 10."""
    rng = np.random.default_rng(seed)
    a, b, c, e = (rng.permutation(np.arange(n) % levels) for levels in (8, 6, 2, 8))
    x, f = rng.normal(size=n), rng.permutation(np.arange(n) % 3)
    y = 10 + 2 * x + (f == 1) + rng.normal(size=(8, 2))[a, c] + rng.normal(size=8)[a] * (1 + 0.5 * x)
    y = y + rng.normal(size=8)[a] * x + rng.normal(size=6)[b] * (1 + x) + rng.normal(size=8)[e]
    data = {"x": x, "f": f, "a": a, "b": b, "c": c, "e": e}
    labels = {name: [f"{name}{code}" for code in data[name]] for name in "fabce"}
    return pd.DataFrame({"y": y + 0.8 * rng.normal(size=n), "x": x, **labels})
