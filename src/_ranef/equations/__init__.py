"""The model as an equation: one tree of symbols, written as LaTeX, MathML, Typst and Unicode text."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.equations.cluster import Chosen
    from _ranef.equations.equation import STYLES, Asked, Equation, model_equation
    from _ranef.equations.matrix_view import MatrixView, shown
    from _ranef.equations.numbers import numbers_of, row_numbers
    from _ranef.equations.parameters import parameter_table
    from _ranef.equations.tree import Key

__all__ = [
    "STYLES",
    "Asked",
    "Chosen",
    "Equation",
    "Key",
    "MatrixView",
    "model_equation",
    "numbers_of",
    "parameter_table",
    "row_numbers",
    "shown",
]
