"""Write the files that later versions must read: ``python tests/saved/write.py`` where the format is a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import ranef
from _ranef.saved import FORMAT

HERE = Path(__file__).parent


def main() -> None:
    """One file of each kind, with what it should answer beside it."""
    pulp = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    sleep = ranef.Model("Reaction ~ poly(Days, 2) + (Days || Subject)", ranef.datasets.load("sleepstudy"))
    crossed = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("penicillin"))
    drawn = pulp.sample(draws=10, warmup=20, seed=1, progress=False, sampler="nutpie")
    saved = {
        "fit": sleep.fit(),
        "crossed": crossed.fit("ML"),
        "posterior": drawn,
        "comparison": ranef.compare(pulp.fit(), drawn),
        "pooling": ranef.pooling(pulp.fit()),
        "model": sleep,
    }
    for name, what in saved.items():
        what.save(HERE / f"{name}-{FORMAT}.ranef", overwrite=True)
        pd.Series(numbers_of(what)).to_json(HERE / f"{name}-{FORMAT}.json", double_precision=12)


def numbers_of(what: Any) -> list[float]:
    """Estimates of any of them."""
    fit = what.fit() if isinstance(what, ranef.Model) else getattr(what, "eb", what)
    return [*fit.fixef, *fit.varcorr["sdcor"]]


if __name__ == "__main__":
    main()
