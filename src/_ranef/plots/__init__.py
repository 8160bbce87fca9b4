"""Figures of any fit; matplotlib is loaded when one is drawn.

A figure stands in the module of its name: ``plot.ranef()`` in ``ranef.py``, ``plot.qq()`` and ``plot.qq_ranef()`` in
``qq.py``, those of residuals in ``residuals.py`` and, of their strata and autocorrelations, in
``residual_structure.py``. Each is a record of arrays, made by a function, and a function that
draws it. The methods are in ``fit_plots.py`` and ``comparison_plots.py``, and those of both in ``shared_plots.py``;
``selection.py``, ``names.py``, ``fonts.py`` and ``drawing.py`` serve all of them.
"""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.plots.comparison_plots import ComparisonPlots
    from _ranef.plots.fit_plots import FitPlots

__all__ = ["ComparisonPlots", "FitPlots"]
