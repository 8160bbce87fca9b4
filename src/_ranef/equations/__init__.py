"""The model as an equation: LaTeX for a page, Unicode for a terminal."""

from _ranef.equations.equation import Equation, model_equation
from _ranef.equations.styles import STYLES

__all__ = ["STYLES", "Equation", "model_equation"]
