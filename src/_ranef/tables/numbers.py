"""Numbers as text, for all tables.

A table gives a column, or the numbers of one parameter, one number of decimals. A number that would vanish in them,
losing what its own standard error tells of it, is written with digits of its own: an estimate of 9.7e-10 with a
standard error of 4e-11 is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["aligned", "decimals_for", "p_values", "share", "with_decimals"]

#: decimals that a row has at most for all its numbers, and that a number has of its own
MOST_DECIMALS, ALL_DECIMALS = 8, 10

#: the unit of the last decimal must not be more of a number's size than this
COARSEST = 0.1

#: sizes from which on, and below which, a number is written with an exponent
LARGE, SMALL = 1e9, 1e-4

#: below this size all digits before the point count, however many
WHOLE = 100.0

#: p-values below it are not told apart
LEAST_P = 2.2e-16

#: significant digits of a number with an exponent, and the most that a float holds
DIGITS, ALL_DIGITS = 4, 15


def with_decimals(values: Sequence[float], decimals: int, errors: Sequence[float] | None = None) -> list[str]:
    """Numbers with `decimals` decimals, those to which they do no justice with an exponent; NaN is empty.

    Parameters
    ----------
    values : sequence of float
    decimals : int
    errors : sequence of float, optional
        The size that digits must tell of: of an estimate its standard error, of a standard error itself, and the number
        where none is known (NaN or zero). With infinity the decimals are kept.

    Examples
    --------
    >>> with_decimals([251.4, 9.7e-10, 3e-9, float("nan")], 2, [6.8, 3.6e-11, 0.5, 1.0])
    ['251.40', '9.700e-10', '0.00', '']
    """
    sizes = [math.nan] * len(values) if errors is None else errors
    return [_cell(float(v), decimals, float(s)) for v, s in zip(values, sizes, strict=True)]


def decimals_for(estimates: Sequence[float], sds: Sequence[float]) -> int:
    """Decimals that show four digits of a typical estimate and three of a typical standard deviation."""
    wanted = [digits - 1 - e for values, digits in ((estimates, 4), (sds, 3)) if (e := _exponent(values)) is not None]
    return max(0, min(MOST_DECIMALS, max(wanted, default=4)))


def aligned(values: Sequence[float], errors: Sequence[float] | None = None, significant: int = DIGITS) -> list[str]:
    """Numbers of one column with a common number of decimals, as R's format does: `significant` digits at least.

    Numbers below 1e-7 and from 1e9 on do not count for the decimals.
    """
    plain = [1e-7 <= abs(v) < LARGE for v in values]
    decimals = max((_decimals(v, significant) for v, own in zip(values, plain, strict=True) if own), default=0)
    if errors is None:  # the digits of plain numbers count already
        errors = [math.inf if own else math.nan for own in plain]
    return with_decimals(values, decimals, errors)


def p_values(values: Sequence[float]) -> list[str]:
    """P-values as R prints them: three digits, those below the precision of a double as such; NaN is empty."""
    return ["" if p != p else "<2e-16" if p < LEAST_P else f"{p:.2e}" if p < SMALL else f"{p:.4f}" for p in values]


def share(p: float, n: int) -> str:
    """A share of n simulations; below one of them where there is none."""
    return f"{p:.4g}" if p > 0 else f"<{1 / n:.2g}"


def _cell(value: float, decimals: int, size: float) -> str:
    if value != value:
        return ""
    if math.isinf(value) or value == 0.0:
        return f"{value:g}" if value else f"{0.0:.{decimals}f}"
    size = size if size > 0.0 else abs(value)
    if 10.0**-decimals <= COARSEST * size and (abs(value) < LARGE or size < WHOLE):
        text = f"{value:.{decimals}f}"
    else:
        text = _with_own_digits(value, size)
    return text.removeprefix("-") if float(text) == 0.0 else text


def _with_own_digits(value: float, size: float) -> str:
    """Down to the third digit of its size: in full where that is short enough, else with an exponent."""
    size = abs(value) if math.isinf(size) else size
    decimals = max(0, 2 - math.floor(math.log10(size)))
    readable = SMALL <= abs(value) < LARGE and decimals <= ALL_DECIMALS
    if readable or (size >= SMALL and abs(value) < LARGE):
        return f"{value:.{decimals}f}"
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(size)) + 3
    return f"{value:.{max(DIGITS, min(ALL_DIGITS, digits)) - 1}e}"


def _exponent(values: Sequence[float]) -> int | None:
    """Power of ten of the middle one of the absolute values, NaN and zero left out."""
    sizes = sorted(abs(v) for v in values if math.isfinite(v) and v != 0.0)
    return int(f"{sizes[len(sizes) // 2]:e}".split("e")[1]) if sizes else None


def _decimals(value: float, significant: int) -> int:
    text = f"{value:.{significant - 1}e}"
    mantissa, exponent = text.split("e")
    digits = len(mantissa.rstrip("0").replace(".", ""))
    return max(0, min(10, digits - 1 - int(exponent)))
