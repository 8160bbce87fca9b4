"""The explorer's picture as a Vega-Lite specification: plain data, of which the page makes JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from _ranef.support import compiled_store
from _ranef.support.arrays import Floats
from _ranef.support.escaped_names import vega_key, vega_string
from _ranef.support.interrupts import load

__all__ = ["CHOICE", "Motion", "chart", "vega_script"]

# Okabe and Ito's palette, as in the figures
BLUE, VERMILLION, GREY, BLACK = "#0072B2", "#D55E00", "#6E6E6E", "#000000"

ALONE, NOW, ESTIMATE, POSTERIOR = "the level alone", "BLUP at the slider", "BLUP at the estimate", "posterior mean"

#: series: column of the records, colour, shape
SERIES = {
    ALONE: ("alone", GREY, "circle"),
    POSTERIOR: ("posterior", VERMILLION, "diamond"),
    ESTIMATE: ("estimate", BLACK, "stroke"),
    NOW: ("now", BLUE, "circle"),
}

#: levels up to which each has a line and its name
NAMED = 60

#: bars of the posterior of the ratio
BARS = 40

WIDTH = 620

#: the grammar
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

#: the kind of file in which the script is kept
BUNDLE = "vega"

#: of marks that screen readers pass over
UNTOLD = {"aria": False}

#: name of the data of the levels
LEVELS = "levels"

#: name of the parameter that says which motion the slider makes
CHOICE = "motion"

Record = dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Motion:
    """What happens as the slider moves.

    Attributes
    ----------
    words : str
        What moves.
    told, labels : sequence of str (K,)
        Every position in words, and on the axis.
    population : array (K,)
        The fixed effect; NaN where it has no limit.
    posterior : array or None
        Where the draws of the ratio stand.
    estimates : array (J, K)
        Of every level.
    reliability : array (J, K) or None
    """

    words: str
    told: Sequence[str]
    labels: Sequence[str]
    population: Floats
    posterior: Floats | None
    estimates: Floats
    reliability: Floats | None


def vega_script() -> str:
    """Vega, Vega-Lite and vega-embed as one script, from the package that has them: kept, as it takes two seconds."""
    key = f"vega by vl-convert {version('vl-convert-python')}"
    if (known := compiled_store.read(BUNDLE, key)) is not None:
        return known.decode()
    script: str = load("vl_convert").javascript_bundle().replace("</script", "<\\/script")
    compiled_store.write(BUNDLE, key, script.encode())
    return script


def chart(
    *,
    slider: str,
    names: tuple[str, str],
    moved: str,
    records: Sequence[Record],
    motions: Sequence[Motion],
    start: int,
    estimate: tuple[float, str],
    linked: bool = False,
) -> Record:
    """A specification with the parameter ``k``, the position of the slider, and one for the choice of several motions.

    Parameters
    ----------
    slider : str
        Selector of the element that the controls are put into.
    names : (str, str)
        Group and term.
    moved : str
        What the slider moves, in words.
    records : sequence of dict
        ``rank, level, n, alone, estimate, posterior, path, reliability``: the last holds K numbers, ``path`` as many
        for each motion.
    motions : sequence of Motion
        The first is the default.
    start : int
    estimate : (float, str)
        Where it stands, and what is written there.
    linked : bool
        Whether the response is a generalised one: without σ, and with conditional modes.
    """
    group, term = names
    several = len(motions) > 1
    label = f"{moved}, from zero (left) to infinity (right)" if several else f"{moved}: {motions[0].words}"
    bound = {"input": "range", "element": slider, "name": label, "min": 0, "max": len(motions[0].told) - 1, "step": 1}
    which: Record = {"name": CHOICE, "value": 0}
    if several:
        options, labels = list(range(len(motions))), [m.words for m in motions]
        which["bind"] = {
            "input": "select",
            "element": slider,
            "name": "What moves",
            "options": options,
            "labels": labels,
        }
    return {
        "$schema": SCHEMA,
        "config": {"background": "white", "font": "system-ui, sans-serif", "view": {"stroke": "transparent"}},
        "params": [{"name": "k", "value": start, "bind": bound}, which],
        "spacing": 14,
        "vconcat": [
            _headline(motions),
            _strip(motions, estimate, "sd" if linked else "sd/σ"),
            _Parts(group, term, records, motions, linked).levels(),
        ],
        "datasets": {LEVELS: list(records)},
    }


def _layer(mark: Record, encoding: Record, values: Sequence[Record] | None = None, **more: Any) -> Record:
    """One layer; without values of its own its data are the levels."""
    data: Record = {"name": LEVELS} if values is None else {"values": values}
    return {"data": data, "mark": mark, "encoding": encoding, **more}


def _calculated(**formulas: str) -> list[Record]:
    return [{"calculate": formula, "as": name} for name, formula in formulas.items()]


def _quantity(field: str, **more: Any) -> Record:
    return {"field": field, "type": "quantitative", **more}


def _name(field: str, **more: Any) -> Record:
    return {"field": field, "type": "nominal", **more}


def _headline(motions: Sequence[Motion]) -> Record:
    return _layer(
        {"type": "text", "align": "left", "fontSize": 14, "fontWeight": "bold"},
        {"x": {"value": 0}, "text": _name("text"), "description": _name("text")},
        [{"told": [list(m.told) for m in motions]}],
        transform=_calculated(text=f"datum.told[{CHOICE}][k]"),
        width=WIDTH,
        height=20,
    )


def _strip(motions: Sequence[Motion], estimate: tuple[float, str], unit: str) -> Record:
    """The scale of the slider, with the posterior of the ratio, the estimate, and where the slider stands."""
    last = len(motions[0].labels) - 1
    ticks = sorted({*range(0, last - 1, max(1, last // 8)), last})
    labels = ", ".join(_literal(m.labels) for m in motions)
    axis = {"values": ticks, "labelExpr": f"[{labels}][{CHOICE}][datum.value]", "title": unit, "grid": False}
    x = _quantity("at", scale={"domain": [0, last], "nice": False}, axis=axis)
    layers = []
    if bars := [bar for i, m in enumerate(motions) for bar in _bars(i, m.posterior, last)]:
        share = {"x": x, "x2": {"field": "to"}, "y": _quantity("share", axis=None), "y2": {"datum": 0.0}}
        chosen = [{"filter": f"datum.motion == {CHOICE}"}]
        layers.append(
            _layer({"type": "rect", "color": VERMILLION, "opacity": 0.45, **UNTOLD}, share, bars, transform=chosen)
        )
    marked, right = [{"at": estimate[0], "text": estimate[1]}], estimate[0] > 0.75 * last
    side = {"align": "right", "dx": -5} if right else {"align": "left", "dx": 5}
    layers += [
        _layer({"type": "rule", "color": BLACK, "strokeDash": [4, 3], "strokeWidth": 1.5}, {"x": x}, marked),
        _layer(
            {"type": "text", "baseline": "bottom", **side}, {"x": x, "y": {"value": -2}, "text": _name("text")}, marked
        ),
        _layer({"type": "rule", "color": BLUE, "strokeWidth": 3}, {"x": x}, [{}], transform=_calculated(at="k")),
    ]
    caption = "The slider (blue), the estimate (dashed)" + (f" and the posterior of {unit} (shaded)" if bars else "")
    title = {"text": caption, "anchor": "start", "fontSize": 11, "fontWeight": "normal", "color": GREY, "offset": 16}
    return {"layer": layers, "width": WIDTH, "height": 60, "title": title}


def _bars(motion: int, posterior: Floats | None, last: int) -> list[Record]:
    """A histogram of the draws along the slider."""
    if posterior is None:
        return []
    edges = np.linspace(0.0, last, BARS + 1)
    share = np.histogram(posterior, edges)[0] / len(posterior)
    return [
        {"motion": motion, "at": float(a), "to": float(b), "share": float(s)}
        for a, b, s in zip(edges, edges[1:], share, strict=False)
    ]


def _literal(values: Sequence[str]) -> str:
    """An array in Vega's expression language."""
    return f"[{', '.join(map(vega_string, values))}]"


@dataclass(frozen=True, eq=False, repr=False)
class _Parts:
    """The lower panel: a line for each level."""

    group: str
    term: str
    records: Sequence[Record]
    motions: Sequence[Motion]
    linked: bool

    @property
    def named(self) -> bool:
        return len(self.records) <= NAMED

    def levels(self) -> Record:
        shown = [s for s in SERIES if s != POSTERIOR or any(r["posterior"] is not None for r in self.records)]
        # only of what moves all together is the reliability the share that a level keeps
        now = {
            "now": f"datum.path[{CHOICE}][k]",
            "share": f"{CHOICE} ? '–' : format(datum.reliability[k], '.3~f')",
            **{s: vega_string(s) for s in shown},
        }
        parts = [self._population()]
        if self.named:
            share = f"({CHOICE} ? '' : ', reliability ' + datum.share)"
            now["told"] = f"datum.level + ': ' + format(datum.now, '.6~g') + {share}"
            line = {"x": self._x("alone"), "x2": {"field": "now"}, "y": self._y()}
            mark = {"type": "rule", "color": GREY, "opacity": 0.6, **UNTOLD}
            parts.append(_layer(mark, line, transform=_calculated(**now)))
        parts += [self._points(series, shown, _calculated(**now)) for series in shown]
        height = max(80, 18 * len(self.records) + 10) if self.named else 420
        return {"layer": parts, "width": WIDTH, "height": height}

    def _points(self, series: str, shown: Sequence[str], transform: Sequence[Record]) -> Record:
        moving = series == NOW
        colours, shapes = ([SERIES[s][i] for s in shown] for i in (1, 2))
        fills = ["white" if s == ALONE else c for s, c in zip(shown, colours, strict=True)]
        legend: Record = {"orient": "top", "title": None, "columns": len(shown), "labelLimit": 200}
        if self.linked:
            legend["labelExpr"] = "replace(datum.label, 'BLUP', 'conditional mode')"
        looks = {
            channel: _name(series, scale={"domain": list(shown), "range": values}, legend=legend)
            for channel, values in (("stroke", colours), ("fill", fills), ("shape", shapes))
        }
        described = {"description": _name("told")} if moving and self.named else {}
        mark = {
            "type": "point",
            "size": 60 if self.named else 12,
            "angle": 90 if series == ESTIMATE else 0,
            "opacity": 1.0 if moving else 0.9 if self.named else 0.4,
            "aria": moving and self.named,
        }
        place = {"x": self._x(SERIES[series][0]), "y": self._y(), "tooltip": self._tooltip(shown)}
        return _layer(mark, {**place, **looks, **described}, transform=transform)

    def _x(self, column: str) -> Record:
        axis = {"tickCount": 8, "gridOpacity": 0.6}
        return _quantity(column, title=f"{self.term} of the level", scale={"zero": False}, axis=axis)

    def _y(self) -> Record:
        n = len(self.records)
        axis = {
            "values": list(range(n)) if self.named else [],
            "labelExpr": f"{_literal([r['level'] for r in self.records])}[datum.value]" if self.named else "''",
            "title": self.group if self.named else f"{n} levels of {self.group}, in the order of the levels alone",
            "grid": False,
            "ticks": False,
            "domain": False,
            "labelOverlap": False,
        }
        return _quantity("rank", scale={"domain": [-0.7, n - 0.3], "nice": False}, axis=axis)

    def _population(self) -> Record:
        """A line at the fixed effect, which moves a little too."""
        values = [[float(f"{v:.6g}") if np.isfinite(v) else None for v in m.population] for m in self.motions]
        at = _calculated(at=f"datum.population[{CHOICE}][k]")
        mark = {"type": "rule", "color": BLACK, "strokeWidth": 1, **UNTOLD}
        return _layer(mark, {"x": self._x("at")}, [{"population": values}], transform=at)

    def _tooltip(self, shown: Sequence[str]) -> list[Record]:
        facts = [
            _name("level", title=vega_key(self.group)),
            _quantity("n", title="rows"),
            _name("share", title="reliability"),
        ]
        titles = {s: s.replace("BLUP", "conditional mode") if self.linked else s for s in shown}
        return facts + [_quantity(SERIES[s][0], title=title, format=".5~g") for s, title in titles.items()]
