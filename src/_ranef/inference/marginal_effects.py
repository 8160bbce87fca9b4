"""A fit as the package marginaleffects asks for one: coefficients, their covariance, and X of any rows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from _ranef.design.table import read_table
from _ranef.design.values import Factor
from _ranef.errors import NotAvailableError
from _ranef.formula import Name, walk
from _ranef.inference.prediction import new_rows
from _ranef.results import Fit
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["marginal_effects_model"]

#: versions of marginaleffects that call what polars 2 has no more
FOR_POLARS_1 = ("0.6.0", "0.6.1")


def marginal_effects_model(fit: Fit, data: Any) -> Any:
    """Wrap a fit in a class of marginaleffects, for its population: random effects are zero.

    Parameters
    ----------
    fit : Fit
    data : frame or mapping
        Rows over which is averaged; those that lack something that the model reads are left out.

    Returns
    -------
    marginaleffects.classes.ModelAbstract

    Raises
    ------
    NotAvailableError
        If the package is not installed, or not with a polars that it works with.
    """
    classes, pl = _required()
    spec = fit.spec

    def matrices(rows: Any) -> tuple[None, Floats]:
        """No response, and X with the offset as a last column."""
        found = new_rows(spec, rows, ())
        return None, np.column_stack([found.X, found.offset])

    def get_predict(_: Any, params: Floats, newdata: Floats) -> Any:
        estimate = newdata[:, :-1] @ params + newdata[:, -1]
        return pl.DataFrame({"rowid": np.arange(len(estimate), dtype=np.int32), "estimate": estimate})

    def get_vcov(_: Any, vcov: bool | str | None = True) -> Floats | None:
        if vcov is None or vcov is False:
            return None
        found = fit.vcov if vcov is True else cast(Any, fit).vcov_robust(vcov)
        return np.asarray(found, dtype=float)

    kind = type("RanefModel", (classes.ModelAbstract,), {f.__name__: f for f in (get_predict, get_vcov)})
    vault = classes.ModelVault(
        coef=fit.fixef.to_numpy(dtype=float),
        coefnames=fit.fixef.index.to_numpy(dtype=object),
        formula=matrices,
        modeldata=_rows_used(spec, data, pl),
        package="ranef",
        variable_names=_variables(spec),
    )
    return kind(fit, vault)


def _required() -> tuple[Any, Any]:
    try:
        classes, pl = load("marginaleffects.classes"), load("polars")
    except ModuleNotFoundError as error:
        raise NotAvailableError(
            "to_marginaleffects() needs the package marginaleffects, which is not installed: "
            "pip install 'ranef[marginaleffects]'. emmeans() and test() need nothing more."
        ) from error
    if int(pl.__version__.split(".")[0]) > 1 and version("marginaleffects") in FOR_POLARS_1:
        raise NotAvailableError(
            f"marginaleffects {version('marginaleffects')} fails with polars {pl.__version__}: "
            "pip install 'ranef[marginaleffects]' brings one that it works with."
        )
    return classes, pl


def _variables(spec: ModelSpec) -> list[str]:
    """A column of the response, then those that the fixed part reads."""
    encoding = spec.design.encoding
    nodes = (factor for term in encoding.fixed.terms for factor in term.factors)
    read = (part.name for node in nodes for part in walk(node) if isinstance(part, Name))
    return list(dict.fromkeys([next(iter(encoding.kinds)), *(name for name in read if name in encoding.kinds)]))


def _rows_used(spec: ModelSpec, data: Any, pl: Any) -> Any:
    """The data in polars, without rows that lack something, and with an Enum of the model's levels for text."""
    held = read_table(data).source
    frame = pl.DataFrame(dict(held)) if isinstance(held, Mapping) else held.to_polars()
    kinds = spec.design.encoding.kinds
    frame = frame.fill_nan(None).drop_nulls([name for name in frame.columns if name in kinds])
    texts = [name for name, kind in frame.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    return frame.with_columns(pl.col(name).cast(pl.Enum(_levels(kinds.get(name), frame[name]))) for name in texts)


def _levels(kind: Any, column: Any) -> list[str]:
    """Those that the model knows in their order, then others."""
    known = list(kind.levels) if isinstance(kind, Factor) else []
    return [*known, *sorted(set(column.cast(str).drop_nulls()) - set(known))]
