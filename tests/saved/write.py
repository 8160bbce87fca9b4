"""Write the files that later versions must read: ``python tests/saved/write.py`` where the format is a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars

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
        **_of_rows_elsewhere(),
    }
    for name, what in saved.items():
        what.save(HERE / f"{name}-{FORMAT}.ranef", overwrite=True)
        pd.Series(numbers_of(what)).to_json(HERE / f"{name}-{FORMAT}.json", double_precision=12)


def _of_rows_elsewhere() -> dict[str, Any]:
    """Sums, and fits of a model from them and of one whose rows an engine holds."""
    data, formula = ranef.datasets.load("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    here, there = (ranef.sums(formula, data[data["Days"] % 2 == day]) for day in (0, 1))
    return {
        "sums": here,
        "summed": ranef.Model.from_sums(here, there).fit(),
        "engine": ranef.Model(formula, polars.from_pandas(data).lazy()).fit(),
    }


def numbers_of(what: Any) -> list[float]:
    """Estimates of any of them."""
    what = ranef.Model.from_sums(what) if isinstance(what, ranef.RowSums) else what
    fit = what.fit() if isinstance(what, ranef.Model) else getattr(what, "eb", what)
    return [*fit.fixef, *fit.varcorr["sdcor"]]


if __name__ == "__main__":
    main()
