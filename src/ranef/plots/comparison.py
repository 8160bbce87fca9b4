"""One figure that sets BLUPs beside posterior means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ranef.errors import DesignError
from ranef.inference import normal_quantile
from ranef.plots.drawing import BLUE, GREY, VERMILLION, Mark, draw_panels, returned_figure
from ranef.plots.panels import comparison_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["comparison_figure"]

NEEDED = ["group", "level", "term", "no_pooling"]
NEEDED += [f"{engine}_{what}" for engine in ("eb", "fb") for what in ("estimate", "lower", "upper")]


def comparison_figure(frame: pd.DataFrame, max_levels: int = 40, level: float = 0.95) -> Figure:
    """Draw what each level says alone, its BLUP and its posterior mean, one panel for each random effect.

    Parameters
    ----------
    frame : DataFrame
        ``group, level, term, no_pooling, eb_estimate, eb_lower, eb_upper, fb_estimate, fb_lower, fb_upper``.
    max_levels : int
        Levels shown in a panel; of more, evenly spaced ones in the order of the BLUPs.
    level : float
        Probability of the intervals in the frame.

    Raises
    ------
    DesignError
        If a column is missing or there are no rows.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import pandas as pd
    >>> from ranef.plots import comparison_figure
    >>> numbers = {"no_pooling": [-1.0, 1.0], "eb_estimate": [-0.5, 0.5], "fb_estimate": [-0.4, 0.4]}
    >>> bounds = {f"{e}_{b}": [-0.9, 0.9] for e in ("eb", "fb") for b in ("lower", "upper")}
    >>> frame = pd.DataFrame({"group": "g", "level": ["a", "b"], "term": "Intercept", **numbers, **bounds})
    >>> [ax.get_title() for ax in comparison_figure(frame).axes]
    ['g: Intercept']
    """
    if missing := [c for c in NEEDED if c not in frame]:
        raise DesignError(f"The frame of a comparison lacks the columns {', '.join(missing)}.")
    marks = [
        Mark("no pooling: each level alone", GREY, hollow=True, offset=0.26),
        Mark(rf"BLUP ± {normal_quantile(level):.2f} sd, given $\hat{{\theta}}$", BLUE),
        Mark(rf"posterior mean, {100 * level:g} % equal-tailed, $\theta$ integrated", VERMILLION, "s", offset=-0.26),
    ]
    return returned_figure(draw_panels(comparison_panels(frame, max_levels), marks, None))
