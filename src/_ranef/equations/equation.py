"""The front of the equations: a style is chosen, and the renderings of one tree stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from _ranef.equations.cluster import Chosen, cluster
from _ranef.equations.hierarchical import combined, hierarchical
from _ranef.equations.latex import LATEX
from _ranef.equations.legend import legend_lines
from _ranef.equations.mathml import MATHML
from _ranef.equations.matrix_form import distribution, matrix
from _ranef.equations.numbers import decimals_of
from _ranef.equations.plain import PLAIN
from _ranef.equations.priors import with_priors
from _ranef.equations.scalar import distribution_of_rows, scalar
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Key, Line, Phrase, Words
from _ranef.equations.tree_values import with_numbers
from _ranef.equations.typst import TYPST
from _ranef.spec import ModelSpec, Priors, default_priors
from _ranef.support.argument_remedies import one_of

__all__ = ["STYLES", "Equation", "model_equation"]


@dataclass(frozen=True, eq=False)
class Asked:
    """What an equation is written of besides the model.

    Attributes
    ----------
    chosen : Chosen
        Rows that are written out.
    priors : function, optional
        Gives the priors.
    """

    chosen: Chosen = field(default_factory=Chosen)
    priors: Callable[[], Priors] | None = None


def _priors(s: Symbols, asked: Asked) -> list[Line]:
    return with_priors(s, default_priors(s.spec) if asked.priors is None else asked.priors())


STYLES: Mapping[str, Callable[[Symbols, Asked], list[Line]]] = {
    "scalar": lambda s, _: scalar(s),
    "hierarchical": lambda s, _: hierarchical(s),
    "combined": lambda s, _: combined(s),
    "cluster": lambda s, asked: cluster(s, asked.chosen),
    "matrix": lambda s, _: matrix(s),
    "distribution": lambda s, _: [*distribution_of_rows(s), *([] if s.linked else distribution(s))],
    "priors": _priors,
}


@dataclass(frozen=True, eq=False, repr=False)
class Equation:
    r"""A model equation: ``str()`` is LaTeX, ``text`` Unicode, and a notebook shows it typeset.

    Attributes
    ----------
    lines : tuple of Line
        The tree of symbols.
    style : str
    explained : tuple of Line
        The legend.

    Examples
    --------
    >>> import ranef
    >>> equation = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).equation()
    >>> print(equation.text)
    brightᵢ = β₀ + b[j[i]] + εᵢ
       b[j] ~ N(0, σ²[operator])   for 4 levels j of operator
         εᵢ ~ N(0, σ²)   for 20 rows i
    >>> str(equation).splitlines()[0]
    '\\begin{aligned}'
    >>> print(equation.legend.text.splitlines()[-1])
    bright: variables of the data
    >>> print(equation.typst.splitlines()[0])
    upright("bright")_(i) & = β_(0) + b_(j[i]) + ε_(i) \
    >>> equation.latex == str(equation), equation.mathml[:6]
    (True, '<math ')
    """

    lines: tuple[Line, ...]
    style: str
    explained: tuple[Line, ...] = ()

    @cached_property
    def latex(self) -> str:
        """An ``aligned`` environment, without dollar signs; amsmath, MathJax and KaTeX read it."""
        return LATEX.page(self.lines)

    @cached_property
    def text(self) -> str:
        """Unicode, for a terminal."""
        return PLAIN.page(self.lines)

    @cached_property
    def mathml(self) -> str:
        """A ``math`` element, which browsers typeset by themselves."""
        return MATHML.page(self.lines)

    @cached_property
    def typst(self) -> str:
        """Typst's mathematics, to stand between dollar signs with spaces."""
        return TYPST.page(self.lines)

    @property
    def legend(self) -> Equation:
        """Every symbol with its meaning, in the same renderings."""
        return Equation(self.explained, "legend")

    def __repr__(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.latex

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def _repr_markdown_(self) -> str:
        return f"$$\n{self.latex}\n$$"


def model_equation(
    spec: ModelSpec,
    *,
    style: str = "scalar",
    values: Mapping[str, Mapping[Key, float]] | None = None,
    asked: Asked | None = None,
) -> Equation:
    """Write a model as an equation.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    style : str
        ``"scalar"``: one row with all its effects. ``"hierarchical"``: level by level, each coefficient with what it is
        made of. ``"combined"``: these put into each other, term by term. ``"cluster"``: the matrices of one level
        written out, and multiplied out for one row. ``"matrix"``: all rows as y = Xβ + Zb + ε with the blocks of D and
        the covariance V of y. ``"distribution"``: rows, random effects and y as distributions. ``"priors"``: the
        Bayesian model.
    values : mapping str to mapping, optional
        By engine, numbers to put in place of symbols (:func:`numbers_of`), with four significant digits, and more for
        slopes of large covariates; with several engines each line that has numbers stands once for each.
    asked : Asked, optional
        Which rows, and which priors.

    Raises
    ------
    DesignError
        If `style` is none of these.

    Notes
    -----
    j[i] is the level of row i, and b with an index j the effect of that level; effects of one factor are numbered
    through all its terms. Levels are independent, and so are terms. Level by level, coefficients are γ and effects U;
    a coefficient β of the rows is a fixed part plus random effects; where factors with the same effect cross, it varies
    over both. Where the response has a link there is no covariance of it in closed form: ``"cluster"`` and ``"matrix"``
    have that of the working response of penalised iteratively reweighted least squares, at the conditional mode.

    Examples
    --------
    >>> import ranef
    >>> from _ranef.equations import model_equation
    >>> model = ranef.Model("Reaction ~ Days + (Days || Subject)", ranef.datasets.load("sleepstudy"))
    >>> print(model_equation(model.spec, style="matrix").text.splitlines()[0].strip())
    y = Xβ + Zb + ε   X: 180 × 2, Z: 180 × 36
    """
    one_of("style", style, list(STYLES))
    s = Symbols(spec)
    lines = STYLES[style](s, asked or Asked())
    filled = _filled(lines, values, decimals_of(spec)) if values else lines
    return Equation(tuple(filled), style, tuple(legend_lines(s, filled)))


def _filled(lines: list[Line], values: Mapping[str, Mapping[Key, float]], decimals: Mapping[Key, int]) -> list[Line]:
    """Lines with numbers; where there are several engines, those that differ stand below each other."""
    out = []
    for line in lines:
        found = {name: with_numbers(line, own, decimals) for name, own in values.items()}
        if len(values) == 1 or all(own == line for own in found.values()):
            out.append(next(iter(found.values())))
            continue
        for k, (name, own) in enumerate(found.items()):
            said = () if own.words is None or k else (own.words, Words(" "))
            out.append(Line(own.left, own.relation, own.right, Phrase((*said, Words(f"({name})")))))
    return out
