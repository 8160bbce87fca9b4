"""Figures of any fit; matplotlib is loaded when one is drawn."""

from ranef.plots.comparison import ComparisonPlots, comparison_figure
from ranef.plots.fit_plots import FitPlots

__all__ = ["ComparisonPlots", "FitPlots", "comparison_figure"]
