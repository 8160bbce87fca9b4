"""Public functions that are announced but not built: each says what to use meanwhile, whatever it is called with."""

from __future__ import annotations

from typing import Any, NoReturn

from _ranef.errors import NotAvailableError

__all__ = ["emmeans"]


def _later(name: str, meanwhile: str) -> NoReturn:
    raise NotAvailableError(f"ranef.{name}() is not available yet. Meanwhile: {meanwhile}")


def emmeans(*fit_and_factors: Any, **options: Any) -> NoReturn:
    """Estimate marginal means. Not available yet.

    Raises
    ------
    NotAvailableError
        With what to use meanwhile: predictions without random effects over a grid, as in the example.

    Examples
    --------
    >>> import pandas as pd
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> grid = pd.DataFrame({"Days": [0, 9]})
    >>> fit.predict(grid, re="none", interval="confidence").round(1).to_numpy().tolist()
    [[251.4, 238.0, 264.8], [345.6, 316.9, 374.3]]
    """
    _later(
        "emmeans",
        "fit.predict(grid, re='none', interval='confidence') over a grid of the factors, "
        "pandas.MultiIndex.from_product([...], names=[...]).to_frame(index=False).",
    )
