"""Units of effects in words."""

from __future__ import annotations

import re
import textwrap

from ranef.plots.names import cut_words

__all__ = ["effect_on", "per_unit"]

#: characters of a line of a label
WIDTH = 48

#: a factor of a column's name: up to a colon outside brackets and quotes
FACTOR = re.compile(r"(?:[^:\[(`]|\[[^\]]*\]|\([^)]*\)|`[^`]*`)+")


def per_unit(column: str) -> str:
    """What the effect of a column is per: a unit of the covariates in it; nothing where it has indicators alone.

    Examples
    --------
    >>> per_unit("Days"), per_unit("Machine[B]"), per_unit("Machine[B]:speed")
    (' per unit of Days', '', ' per unit of speed')
    """
    numeric = [factor for factor in FACTOR.findall(column) if factor != "Intercept" and not factor.endswith("]")]
    return f" per unit of {':'.join(numeric)}" if numeric else ""


def effect_on(response: str, column: str, what: str = "random effect") -> str:
    """The label of an axis that an effect runs along, with its unit.

    Examples
    --------
    >>> effect_on("Reaction", "Days")
    'random effect on Reaction per unit of Days'
    """
    words = f"{what} on {response}{per_unit(column)}" if response else f"{what}{per_unit(column)}"
    return textwrap.fill(cut_words(words), WIDTH)
