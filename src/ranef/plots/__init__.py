"""Figures of any fit; matplotlib is loaded when one is drawn."""

from ranef.plots.comparison_plots import ComparisonPlots
from ranef.plots.fit_plots import FitPlots
from ranef.plots.ranef import comparison_figure

__all__ = ["ComparisonPlots", "FitPlots", "comparison_figure"]
