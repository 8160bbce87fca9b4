"""How the estimates of a fit look, and what the legend calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ranef.inference import check_level
from ranef.plots.names import as_drawn

__all__ = ["BLACK", "BLUE", "GREY", "VERMILLION", "Mark", "fit_marks", "overlaid_marks"]

# Okabe and Ito's palette, which colour-blind readers tell apart
BLUE, VERMILLION, GREY, BLACK = "#0072B2", "#D55E00", "#6E6E6E", "#000000"
GREEN, PURPLE = "#009E73", "#AA4499"

#: colours and markers of further fits, by engine
CONDITIONAL = ((BLUE, "o"), (GREEN, "^"))
POSTERIOR = ((VERMILLION, "s"), (PURPLE, "D"))

#: names that ``ranef.compare`` gives where the user gave none: they say no more than the kind of estimate
PLAIN_NAMES = ("eb", "fb")


@dataclass(frozen=True)
class Mark:
    """How one series looks.

    Attributes
    ----------
    label : str
        In the legend: what the point is, and what its interval.
    colour, marker : str
    hollow : bool
    offset : float
        Above the middle of its level, in levels.
    width, alpha : float
        Of the stroke of its interval: points, and opacity.
    size : float
        Of the marker, in points.
    """

    label: str
    colour: str
    marker: str = "o"
    hollow: bool = False
    offset: float = 0.0
    width: float = 2.6
    alpha: float = 0.45
    size: float = 6.0


def fit_marks(engines: Mapping[str, str], level: float) -> list[Mark]:
    """One mark for each fit, one beside the other.

    Parameters
    ----------
    engines : mapping str to str
        Engine of each fit, by the name of the fit.
    level : float
        Probability of the intervals.
    """
    check_level(level)
    seen = {False: 0, True: 0}
    out = []
    for name, engine in engines.items():
        posterior = engine not in ("REML", "ML")
        colour, marker = (POSTERIOR if posterior else CONDITIONAL)[seen[posterior] % 2]
        seen[posterior] += 1
        what = f"posterior mean, {100 * level:g} %" if posterior else rf"BLUP, {100 * level:g} % given $\hat{{\theta}}$"
        label = what if name in PLAIN_NAMES else f"{as_drawn(name)}: {what}"
        out.append(Mark(label, colour, marker))
    return out


def overlaid_marks(engines: Mapping[str, str], level: float) -> list[Mark]:
    """Marks of a BLUP on a posterior: a thin dark line on a broad light bar. Other sets of fits stand side by side."""
    marks = fit_marks(engines, level)
    posterior = [engine not in ("REML", "ML") for engine in engines.values()]
    if sorted(posterior) == [False, True]:
        return [
            replace(m, width=8.0, alpha=0.35, marker="|", size=9.0) if p else replace(m, width=1.6, alpha=1.0, size=5.0)
            for m, p in zip(marks, posterior, strict=True)
        ]
    return dodged(marks)


def dodged(marks: list[Mark], room: float = 0.52) -> list[Mark]:
    """Marks moved apart within `room` of the height of a level, the first one uppermost."""
    n = len(marks)
    return [replace(m, offset=room * (0.5 - i / (n - 1)) if n > 1 else 0.0) for i, m in enumerate(marks)]
