"""Linear hypotheses Lβ = c: what users write, as rows of L, and the frames of what is found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from _ranef.errors import DesignError, suggestion
from _ranef.inference.ddf import CoefficientLaw, joint_test, two_sided
from _ranef.inference.effect_frames import check_level, wald_intervals
from _ranef.support.arrays import Floats

__all__ = ["Hypotheses", "hypotheses", "hypothesis_draws", "joint_frame", "row_frame"]

NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """Lβ = c.

    Attributes
    ----------
    L : array (r, p)
    value : array (r,)
    texts : tuple of str
        Each as an equation.
    """

    L: Floats
    value: Floats
    texts: tuple[str, ...]


def hypotheses(given: Any, names: Sequence[str], dropped: Sequence[str] = (), value: Any = 0.0) -> Hypotheses:
    """Read hypotheses on the coefficients `names`.

    Parameters
    ----------
    given : str, sequence of str, or array (p,) or (r, p)
        Equations separated by commas, in which coefficients stand by name, as ``"Days - 2*Intercept = 1"``; what has no
        equals sign is zero. A sequence of such texts, or rows of L. Names are read before anything else, so that those
        with brackets, commas and blanks need no quotes; backquotes are allowed.
    names, dropped : sequence of str
        Coefficients, and those left out because others determine them.
    value : float or array (r,)
        What rows of numbers are equal to.

    Raises
    ------
    DesignError
        If a text cannot be read or names no coefficient, or L has another number of columns.
    """
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Sequence) and given and all(isinstance(part, str) for part in given):
        _refuse_value(value)
        return _stacked([row for text in given for row in _Reader(text, names, dropped).equations()], len(names))
    if isinstance(given, pd.DataFrame):
        given = _columns_in_order(given, names)
    return _of_matrix(given, names, value)


def _stacked(rows: Sequence[tuple[Floats, float, str]], p: int) -> Hypotheses:
    L = np.array([row for row, _, _ in rows]).reshape(len(rows), p)
    for row, _, text in rows:
        if not row.any():
            raise DesignError(f"{text!r} is on no coefficient: nothing is left of either side.")
    return Hypotheses(L, np.array([c for _, c, _ in rows]), tuple(text for _, _, text in rows))


def _refuse_value(value: Any) -> None:
    if np.any(np.asarray(value) != 0):
        raise DesignError("value= is for rows of numbers; in a text write the value after the equals sign.")


def _columns_in_order(given: pd.DataFrame, names: Sequence[str]) -> Floats:
    strange = [str(c) for c in given.columns if c not in names]
    if strange:
        raise DesignError(f"The column {strange[0]!r} of L is no coefficient. Coefficients: {', '.join(names)}.")
    try:
        return given.reindex(columns=list(names), fill_value=0.0).to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise DesignError("L holds what is no number; its columns are coefficients, a row is a hypothesis.") from None


def _of_matrix(given: Any, names: Sequence[str], value: Any) -> Hypotheses:
    try:
        L = np.atleast_2d(np.asarray(given, dtype=float))
        c = np.broadcast_to(np.asarray(value, dtype=float), (len(L),))
    except (TypeError, ValueError, OverflowError):
        raise DesignError(
            f"L={given!r} must be equations as text, names of coefficients, or rows of {len(names)} numbers, and "
            "value= one number, or one a row."
        ) from None
    if L.ndim != 2 or L.shape[1] != len(names) or not np.isfinite(L).all() or not np.isfinite(c).all():
        raise DesignError(f"L has the shape {L.shape}; it must have {len(names)} finite columns: {', '.join(names)}.")
    if not L.any(axis=1).all():
        raise DesignError(f"Row {int(np.argmin(L.any(axis=1)))} of L is zero: it is on no coefficient.")
    return Hypotheses(L, np.array(c), tuple(_text(row, v, names) for row, v in zip(L, c, strict=True)))


def _text(row: Floats, value: float, names: Sequence[str]) -> str:
    signed = [(x, name) for x, name in zip(row.tolist(), names, strict=True) if x]
    parts = [f"{'-' if x < 0 else '+'} {'' if abs(x) == 1 else f'{abs(x):g}*'}{name}" for x, name in signed]
    left = " ".join(parts).removeprefix("+ ")
    return f"{left.replace('- ', '-', 1) if left.startswith('-') else left or '0'} = {value:g}"


class _Reader:
    """Reads one text from left to right: sums of products, linear in the coefficients."""

    def __init__(self, text: str, names: Sequence[str], dropped: Sequence[str]) -> None:
        self.text, self.at, self.names = text, 0, list(names)
        self.dropped = set(dropped)
        self.longest_first = sorted([*names, *dropped], key=len, reverse=True)

    def equations(self) -> list[tuple[Floats, float, str]]:
        """Rows with their values: of ``a = b = c`` two."""
        out: list[tuple[Floats, float, str]] = []
        while True:
            start = self.at
            sides = [self._sum()]
            while self._take("==") or self._take("="):
                sides.append(self._sum())
            text = self.text[start : self.at].strip()
            if len(sides) == 1:
                sides, text = [*sides, (np.zeros(len(self.names)), 0.0)], f"{text} = 0"
            out += [
                (a[0] - b[0], b[1] - a[1], text if len(sides) == 2 else f"{text} ({i + 1})")
                for i, (a, b) in enumerate(pairwise(sides))
            ]
            if not self._take(","):
                break
        if self._rest():
            self._fail()
        return out

    def _sum(self) -> tuple[Floats, float]:
        row, constant = self._product()
        while sign := self._take("+") or self._take("-"):
            more, number = self._product()
            row, constant = (row + more, constant + number) if sign == "+" else (row - more, constant - number)
        return row, constant

    def _product(self) -> tuple[Floats, float]:
        row, constant = self._factor()
        while sign := self._take("*") or self._take("/"):
            other, number = self._factor()
            if (other.any() and (row.any() or sign == "/")) or (sign == "/" and number == 0.0):
                raise DesignError(f"{self.text!r} is not linear in the coefficients.")
            if sign == "/":
                row, constant = row / number, constant / number
            else:
                row, constant = row * number + other * constant, constant * number
        return row, constant

    def _factor(self) -> tuple[Floats, float]:
        if self._take("-"):
            row, constant = self._factor()
            return -row, -constant
        if self._take("+"):
            return self._factor()
        name = self._name()
        if name is not None:
            return np.array([float(own == name) for own in self.names]), 0.0
        if self._take("("):
            inner = self._sum()
            if not self._take(")"):
                self._fail("a closing bracket")
            return inner
        self._rest()
        number = NUMBER.match(self.text, self.at)
        if number is None:
            self._fail()
        assert number is not None
        self.at = number.end()
        return np.zeros(len(self.names)), float(number[0])

    def _name(self) -> str | None:
        rest = self._rest()
        if rest.startswith("`") and "`" in rest[1:]:
            name = rest[1 : rest.index("`", 1)]
            found, length = (name if name in self.longest_first else None), len(name) + 2
        else:
            found = next((n for n in self.longest_first if rest.startswith(n) and self._ends(n, rest)), None)
            length = len(found or "")
        if found is None:
            return None
        if found in self.dropped:
            raise DesignError(
                f"The coefficient {found!r} is not estimated: other columns of X determine it. Test another one."
            )
        self.at += length
        return found

    @staticmethod
    def _ends(name: str, rest: str) -> bool:
        """Whether no longer word begins with the name."""
        after = rest[len(name) : len(name) + 1]
        return not (name[-1].isidentifier() or name[-1].isdigit()) or not (after.isidentifier() or after.isdigit())

    def _take(self, token: str) -> str:
        if not self._rest().startswith(token):
            return ""
        self.at += len(token)
        return token

    def _rest(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at :]

    def _fail(self, expected: str = "the name of a coefficient or a number") -> None:
        rest = self._rest()
        word = re.match(r"[^\s=,+*/-]*", rest)
        near = suggestion(word[0], self.names) if word and word[0] else ""
        shown = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
        where = f"at {rest!r}" if rest else "at its end"
        raise DesignError(f"In {self.text!r} {expected} is expected {where}.{near} Coefficients: {shown}.")


def row_frame(law: CoefficientLaw, beta: Floats, asked: Hypotheses, level: float) -> pd.DataFrame:
    """Each row alone: ``hypothesis, estimate, std_error, statistic, df, p, lower, upper``, the interval that of Lβ."""
    estimate = asked.L @ beta
    se = np.sqrt(np.maximum(np.einsum("rp,pq,rq->r", asked.L, law.vcov, asked.L), 0.0))
    df = law.ddf(asked.L)
    t = (estimate - asked.value) / se
    bounds = wald_intervals(pd.Series(estimate), se, df, level)
    columns = {"estimate": estimate, "std_error": se, "statistic": t, "df": df, "p": two_sided(t, df)}
    return pd.DataFrame({"hypothesis": asked.texts, **columns}).assign(**bounds)


def joint_frame(law: CoefficientLaw, beta: Floats, asked: Hypotheses) -> pd.DataFrame:
    """All rows together, in one row ``statistic, ndf, ddf, p``: F, or χ² where `ddf` is infinite."""
    found = joint_test(law, asked.L, asked.L @ beta - asked.value)
    return pd.DataFrame([{"statistic": found.statistic, "ndf": found.ndf, "ddf": found.ddf, "p": found.p}])


def hypothesis_draws(beta: Floats, asked: Hypotheses, level: float) -> pd.DataFrame:
    """Each row of Lβ by draws β (draws, p): ``hypothesis, estimate, sd, lower, upper, probability`` (of above c)."""
    check_level(level)
    draws = beta @ asked.L.T
    lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame(
        {
            "hypothesis": asked.texts,
            "estimate": draws.mean(axis=0),
            "sd": draws.std(axis=0, ddof=1),
            "lower": lower,
            "upper": upper,
            "probability": (draws > asked.value).mean(axis=0),
        }
    )
