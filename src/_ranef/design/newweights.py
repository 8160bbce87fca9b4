"""Weights of new data: named as the model's own, or given beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from _ranef.design.checks import check_positive
from _ranef.design.expression_values import Array
from _ranef.design.records import Encoding
from _ranef.design.table import read_table
from _ranef.design.usable_rows import read_extra

__all__ = ["new_weights"]


def new_weights(encoding: Encoding, data: Any, given: Any = None) -> Array | None:
    """Weights (m,) of the rows of new data.

    Parameters
    ----------
    encoding : Encoding
        What the design remembers.
    data : Any
        The new data.
    given : number, str or array (m,), optional
        One weight for all rows, a column of `data`, or one entry for each row. By default the column of the name that
        the model's weights have, if `data` hold it.

    Returns
    -------
    ndarray of float64, or None
        NaN where a weight is missing; None where nothing says what the weights are.

    Raises
    ------
    DesignError
        For a weight that is not positive, an unknown column, a wrong length, or what is not numbers.
    """
    table = read_table(data)
    if given is None:
        if encoding.weights_column is None or encoding.weights_column not in table:
            return None
        given = encoding.weights_column
    if np.ndim(given) == 0 and not isinstance(given, str):
        given = np.full(table.n, given)
    values = read_extra("weights", given, data, table).values
    check_positive(values, table, np.arange(table.n))
    return values
