"""Two notations of the same mathematics: LaTeX, and Unicode for a terminal."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from _ranef.support.escapes import printable

__all__ = ["LATEX", "PLAIN", "Line", "Notation"]

#: visible characters of the right-hand side before a line of an equation is broken
WIDTH = 84


@dataclass(frozen=True)
class Line:
    """One line of a system of equations.

    Attributes
    ----------
    left : str
        Left-hand side; empty for a line of words.
    relation : str
        ``"="``, ``"~"`` or empty.
    summands : tuple of str
        Right-hand side; one that begins with a minus sign is subtracted.
    words : str
        What stands after the formula, or alone.
    """

    left: str
    relation: str
    summands: tuple[str, ...]
    words: str = ""


@dataclass(frozen=True)
class Notation(ABC):
    """What the styles say of a model, in one notation; every method gives a finished piece of text.

    Attributes
    ----------
    unit : str
        Grouping factor whose levels variables are indexed by; empty for rows i.
    """

    cross: ClassVar[str]
    dots: ClassVar[str]
    unit: str = ""

    @abstractmethod
    def prose(self, text: str) -> str:
        """Words of our own."""

    def words(self, text: str) -> str:
        """A sentence that holds names of the data."""
        return self.prose(printable(text))

    @abstractmethod
    def name(self, text: str) -> str:
        """A name from the data, upright, whatever characters it has."""

    @abstractmethod
    def row(self, text: str) -> str:
        """The value of the variable `text` in row i, or for a level of the unit."""

    @abstractmethod
    def symbol(self, letter: str, index: str = "", groups: Sequence[str] = (), *, of_row: bool = False) -> str:
        """A Greek or Latin letter with an index and grouping factors: all their levels, or with `of_row` row i's."""

    @abstractmethod
    def squared(self, letter: str, index: str = "", groups: Sequence[str] = ()) -> str:
        """Square of a symbol."""

    @abstractmethod
    def power(self, base: str, exponent: str) -> str:
        """Base to a power."""

    @abstractmethod
    def call(self, function: str, argument: str) -> str:
        """A function of one argument."""

    @abstractmethod
    def indicator(self, factor: str, level: str) -> str:
        """One where a factor, already rendered, has this level."""

    @abstractmethod
    def number(self, value: float) -> str:
        """A number with four significant digits."""

    @abstractmethod
    def times(self, parts: Sequence[str]) -> str:
        """Product."""

    @abstractmethod
    def column(self, entries: Sequence[str]) -> str:
        """Column vector."""

    @abstractmethod
    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        """Matrix."""

    @abstractmethod
    def diagonal(self, entries: Sequence[str]) -> str:
        """Diagonal or block-diagonal matrix."""

    @abstractmethod
    def identity(self, size: int) -> str:
        """Identity matrix."""

    @abstractmethod
    def kronecker(self, left: str, right: str) -> str:
        """Kronecker product."""

    @abstractmethod
    def normal(self, mean: str, variance: str) -> str:
        """Normal distribution."""

    @abstractmethod
    def transposed(self, text: str) -> str:
        """Transpose."""

    @abstractmethod
    def inverse(self, text: str) -> str:
        """Inverse."""

    @abstractmethod
    def page(self, lines: Sequence[Line]) -> str:
        """All lines, aligned at their relations."""


_GREEK = {"α": r"\alpha", "β": r"\beta", "ε": r"\varepsilon", "Λ": r"\Lambda", "λ": r"\lambda", "ρ": r"\rho"}
_GREEK |= {"σ": r"\sigma", "Σ": r"\Sigma"}

# a hyphen, colon or comma of a name must get neither the shape nor the spacing that mathematics gives it
_ESCAPES = {c: rf"\{c}" for c in "#$%&_{}"} | {c: f"{{{c}}}" for c in ".:,;=<>+*!?()[]/|"}
_ESCAPES |= {"\\": r"{\backslash}", "^": r"{\wedge}", "~": r"{\sim}", " ": r"\ "}
_ESCAPES |= {"-": r"\text{-}", "'": r"\text{'}", '"': r"\text{''}", "`": r"\text{`}"}

_FUNCTIONS = {f: rf"\{f}" for f in ("log", "exp", "sin", "cos", "tan")} | {"log2": r"\log_{2}", "log10": r"\log_{10}"}


#: characters that are commands in LaTeX's text
SPECIAL = r"[&%$#_{}~^\\]"


def _escaped(found: re.Match[str]) -> str:
    own = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    return own.get(found[0], rf"\{found[0]}")


@dataclass(frozen=True)
class _Latex(Notation):
    """LaTeX that MathJax, KaTeX and a LaTeX with amsmath and amssymb all read."""

    cross: ClassVar[str] = r"\times"
    dots: ClassVar[str] = r"\ldots"

    def prose(self, text: str) -> str:
        return rf"\text{{{text}}}"

    def words(self, text: str) -> str:
        return rf"\text{{{re.sub(SPECIAL, _escaped, printable(text))}}}"

    def name(self, text: str) -> str:
        runs = re.findall(r"[ -~]+|[^ -~]+", printable(text))
        return rf"\mathrm{{{''.join(map(_latex_run, runs))}}}"

    def row(self, text: str) -> str:
        return f"{self.name(text)}_{{{self.name(self.unit) if self.unit else 'i'}}}"

    def symbol(self, letter: str, index: str = "", groups: Sequence[str] = (), *, of_row: bool = False) -> str:
        base = _GREEK.get(letter, letter)
        names = [f"{self.name(g)}[i]" if of_row else self.name(g) for g in groups]
        below = ",".join([*([index] if index else []), *names])
        return f"{base}_{{{below}}}" if below else base

    def squared(self, letter: str, index: str = "", groups: Sequence[str] = ()) -> str:
        return f"{self.symbol(letter, index, groups)}^{{2}}"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def call(self, function: str, argument: str) -> str:
        if function == "sqrt":
            return rf"\sqrt{{{argument}}}"
        head = _FUNCTIONS.get(function, rf"\operatorname{{{function}}}")
        return f"{head}({argument})"

    def indicator(self, factor: str, level: str) -> str:
        return rf"\mathbf{{1}}[{factor} = {self.name(level)}]"

    def number(self, value: float) -> str:
        mantissa, _, exponent = _four_digits(value).partition("e")
        return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa

    def times(self, parts: Sequence[str]) -> str:
        return r" \, ".join(parts)

    def column(self, entries: Sequence[str]) -> str:
        return self.matrix([[e] for e in entries])

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        body = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"

    def diagonal(self, entries: Sequence[str]) -> str:
        return rf"\operatorname{{diag}}\left({', '.join(entries)}\right)"

    def identity(self, size: int) -> str:
        return f"I_{{{size}}}"

    def kronecker(self, left: str, right: str) -> str:
        return rf"{left} \otimes {right}"

    def normal(self, mean: str, variance: str) -> str:
        return rf"\mathcal{{N}}\left({mean},\ {variance}\right)"

    def transposed(self, text: str) -> str:
        return rf"{text}^{{\top}}"

    def inverse(self, text: str) -> str:
        return f"{text}^{{-1}}"

    def page(self, lines: Sequence[Line]) -> str:
        body = " \\\\\n".join(map(_latex_line, lines))
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


@dataclass(frozen=True)
class _Plain(Notation):
    """Unicode text: indices as small digits, grouping factors in brackets."""

    cross: ClassVar[str] = "×"
    dots: ClassVar[str] = "…"

    def prose(self, text: str) -> str:
        return text

    def name(self, text: str) -> str:
        clean = re.sub(r"\s", " ", printable(text))
        return f"`{clean}`" if " " in clean else clean

    def row(self, text: str) -> str:
        return f"{self.name(text)}[{self.name(self.unit)}]" if self.unit else f"{self.name(text)}ᵢ"

    def symbol(self, letter: str, index: str = "", groups: Sequence[str] = (), *, of_row: bool = False) -> str:
        return f"{letter}{_small(index)}{self._groups(groups, of_row)}"

    def squared(self, letter: str, index: str = "", groups: Sequence[str] = ()) -> str:
        return f"{letter}{_small(index)}²{self._groups(groups, False)}"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{exponent}"

    def call(self, function: str, argument: str) -> str:
        return f"{function}({argument})"

    def indicator(self, factor: str, level: str) -> str:
        return f"1[{factor} = {self.name(level)}]"

    def number(self, value: float) -> str:
        return _four_digits(value)

    def times(self, parts: Sequence[str]) -> str:
        return "·".join(parts)

    def column(self, entries: Sequence[str]) -> str:
        return f"({', '.join(entries)})"

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        return f"[{'; '.join(', '.join(row) for row in rows)}]"

    def diagonal(self, entries: Sequence[str]) -> str:
        return f"diag({', '.join(entries)})"

    def identity(self, size: int) -> str:
        return f"I{_small(str(size))}"

    def kronecker(self, left: str, right: str) -> str:
        return f"{left} ⊗ {right}"

    def normal(self, mean: str, variance: str) -> str:
        return f"N({mean}, {variance})"

    def transposed(self, text: str) -> str:
        return f"{text}ᵀ"

    def inverse(self, text: str) -> str:
        return f"{text}⁻¹"

    def page(self, lines: Sequence[Line]) -> str:
        indent = max((len(line.left) for line in lines if line.relation), default=0)
        return "\n".join(_plain_line(line, indent) for line in lines)

    def _groups(self, groups: Sequence[str], of_row: bool) -> str:
        names = [f"{self.name(g)}{'ᵢ' if of_row else ''}" for g in groups]
        return f"[{', '.join(names)}]" if names else ""


LATEX: Notation = _Latex()
PLAIN: Notation = _Plain()


def _latex_run(run: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in run) if run.isascii() else rf"\text{{{run}}}"


def _latex_line(line: Line) -> str:
    if not line.relation:
        return f"&{line.words}"
    relation = r"\sim" if line.relation == "~" else line.relation
    body = " \\\\\n&\\quad {} ".join(_broken(line.summands, _visible))
    return f"{line.left} &{relation} {body}" + (rf" \quad {line.words}" if line.words else "")


def _visible(latex: str) -> int:
    """About how many characters a reader sees."""
    return len(re.sub(r"\\(begin|end)\{\w+\}|\\[A-Za-z]+|[{}\\ ]", "", latex))


def _plain_line(line: Line, indent: int) -> str:
    if not line.relation:
        return line.words
    head = f"{line.left:>{indent}} {line.relation} "
    body = f"\n{' ' * len(head)}".join(_broken(line.summands, len))
    return f"{head}{body}" + (f"   {line.words}" if line.words else "")


def _broken(summands: Sequence[str], width: Callable[[str], int]) -> list[str]:
    """Join summands by their signs, in rows of limited width."""
    rows, filled = [summands[0]], width(summands[0])
    for summand in summands[1:]:
        signed = f"- {summand[1:]}" if summand.startswith("-") else f"+ {summand}"
        if filled + width(signed) > WIDTH:
            rows.append(signed)
            filled = width(signed)
        else:
            rows[-1] += f" {signed}"
            filled += width(signed) + 1
    return rows


def _small(index: str) -> str:
    return index.translate(str.maketrans("0123456789,ijn", "₀₁₂₃₄₅₆₇₈₉,ᵢⱼₙ"))


def _four_digits(value: float) -> str:
    """Four significant digits, all digits before the point, no exponent between 1e-4 and 1e7."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-0", "0")
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    return f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"
