"""The front of the equations: a style is chosen, and the two renderings stand side by side."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from _ranef.equations.notation import LATEX, PLAIN
from _ranef.equations.parts import Parts
from _ranef.equations.styles import STYLES
from _ranef.spec import ModelSpec
from _ranef.support.remedies import one_of

__all__ = ["Equation", "model_equation"]


@dataclass(frozen=True, repr=False)
class Equation:
    r"""A model equation: ``str()`` is LaTeX, ``text`` Unicode, and a notebook shows it typeset.

    Attributes
    ----------
    latex : str
        An ``aligned`` environment, without dollar signs; amsmath, MathJax and KaTeX read it.
    style : str
        ``"scalar"``, ``"matrix"`` or ``"hierarchical"``.
    text : str
        The same for a terminal.

    Examples
    --------
    >>> import ranef
    >>> equation = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).equation()
    >>> print(equation.text)
        brightᵢ = β₀ + b[operatorᵢ] + εᵢ
    b[operator] ~ N(0, σ²[operator])   for 4 levels of operator
             εᵢ ~ N(0, σ²)   for 20 rows i
    >>> str(equation).splitlines()[0]
    '\\begin{aligned}'
    """

    latex: str
    style: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.latex

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def _repr_markdown_(self) -> str:
        return f"$$\n{self.latex}\n$$"


def model_equation(
    spec: ModelSpec, *, style: str = "scalar", values: tuple[pd.Series[float], pd.DataFrame] | None = None
) -> Equation:
    """Write a model as an equation.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    style : "scalar", "matrix" or "hierarchical"
        One row with all its effects; all rows as y = Xβ + Zb + ε with the blocks of D and the covariance V of y; or
        level by level, each coefficient with what it is made of.
    values : (Series, DataFrame), optional
        Coefficients and variance components (``fit.fixef, fit.varcorr``) to put in place of the symbols, with four
        significant digits.

    Raises
    ------
    DesignError
        If `style` is not one of the three.

    Notes
    -----
    b with an index in brackets or after a comma is the effect of that grouping factor's level; effects of one factor
    are numbered through all its terms. Levels are independent, and so are terms. In the hierarchical style a
    coefficient α is a fixed part plus random effects; where factors with the same effect cross, it varies over both.

    Examples
    --------
    >>> import ranef
    >>> from _ranef.equations import model_equation
    >>> model = ranef.Model("Reaction ~ Days + (Days || Subject)", ranef.datasets.load("sleepstudy"))
    >>> print(model_equation(model.spec, style="matrix").text.splitlines()[0].strip())
    y = Xβ + Zb + ε   X: 180 × 2, Z: 180 × 36
    """
    one_of("style", style, list(STYLES))
    write = STYLES[style]
    latex, text = (n.page(write(Parts(spec, n, values))) for n in (LATEX, PLAIN))
    return Equation(latex, style, text)
