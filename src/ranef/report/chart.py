"""The explorer's picture as a Vega-Lite specification; altair, which knows the grammar, is loaded when one is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranef.arrays import Floats
from ranef.interrupts import load

__all__ = ["chart", "vega_script"]

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

#: name of the data of the levels
LEVELS = "levels"

Record = dict[str, Any]


def vega_script() -> str:
    """Vega, Vega-Lite and vega-embed as one script, from the package that keeps them."""
    script: str = load("vl_convert").javascript_bundle()
    return script.replace("</script", "<\\/script")


def chart(
    *,
    slider: str,
    names: tuple[str, str],
    moved: str,
    records: Sequence[Record],
    told: Sequence[str],
    labels: Sequence[str],
    population: Sequence[float | None],
    start: int,
    estimate: tuple[float, str],
    posterior: Floats | None,
) -> Record:
    """A specification with one parameter, ``k``, the position of the slider.

    Parameters
    ----------
    slider : str
        Selector of the element that the slider is put into.
    names : (str, str)
        Group and term.
    moved : str
        What the slider moves, in words.
    records : sequence of dict
        ``rank, level, n, alone, estimate, posterior, path, reliability``: the last two hold K numbers.
    told, labels : sequence of str (K,)
        Every position in words, and on the axis.
    population : sequence of float (K,)
        The fixed effect.
    start : int
    estimate : (float, str)
        Where it stands, and what is written there.
    posterior : array or None
        Where the draws of the ratio stand.
    """
    alt: Any = load("altair")
    group, term = names
    label = f"{moved}: complete pooling (left) to no pooling (right)"
    bound = alt.binding_range(min=0, max=len(told) - 1, step=1, name=label, element=slider)
    parts = _Parts(alt, group, term, records, population)
    whole = alt.vconcat(
        _headline(alt, told), _strip(alt, labels, estimate, posterior), parts.levels(), spacing=14
    ).add_params(alt.param(name="k", value=start, bind=bound))
    view = alt.ViewConfig(stroke="transparent")
    whole = whole.configure(font="system-ui, sans-serif", background="white", view=view)
    # thousands of levels would take minutes through altair's checks of every number
    return {**whole.to_dict(), "datasets": {LEVELS: list(records)}}


def _headline(alt: Any, told: Sequence[str]) -> Any:
    return (
        alt.Chart(alt.Data(values=[{"told": list(told)}]))
        .transform_calculate(text="datum.told[k]")
        .mark_text(align="left", fontSize=14, fontWeight="bold")
        .encode(x=alt.value(0), text="text:N", description="text:N")
        .properties(width=WIDTH, height=20)
    )


def _strip(alt: Any, labels: Sequence[str], estimate: tuple[float, str], posterior: Floats | None) -> Any:
    """The scale of the slider, with the posterior of the ratio, the estimate, and where the slider stands."""
    last = len(labels) - 1
    ticks = sorted({*range(0, last - 1, max(1, last // 8)), last})
    axis = alt.Axis(values=ticks, labelExpr=f"{_literal(labels)}[datum.value]", title="sd/σ", grid=False)
    x = alt.X("at:Q", scale=alt.Scale(domain=[0, last], nice=False), axis=axis)
    layers = []
    if posterior is not None:
        edges = np.linspace(0.0, last, BARS + 1)
        share = np.histogram(posterior, edges)[0] / len(posterior)
        bars = [
            {"at": float(a), "to": float(b), "share": float(s)}
            for a, b, s in zip(edges, edges[1:], share, strict=False)
        ]
        layers.append(
            alt.Chart(alt.Data(values=bars))
            .mark_rect(color=VERMILLION, opacity=0.45, aria=False)
            .encode(x=x, x2="to:Q", y=alt.Y("share:Q", axis=None), y2=alt.datum(0.0))
        )
    marked = alt.Chart(alt.Data(values=[{"at": estimate[0], "text": estimate[1]}])).encode(x=x)
    right = estimate[0] > 0.75 * last
    layers += [
        marked.mark_rule(color=BLACK, strokeDash=[4, 3], strokeWidth=1.5),
        marked.mark_text(align="right" if right else "left", dx=-5 if right else 5, baseline="bottom").encode(
            y=alt.value(-2), text="text:N"
        ),
        alt.Chart(alt.Data(values=[{}])).transform_calculate(at="k").mark_rule(color=BLUE, strokeWidth=3).encode(x=x),
    ]
    caption = "The slider (blue), the estimate (dashed)" + (
        " and the posterior of sd/σ (shaded)" if posterior is not None else ""
    )
    title = alt.TitleParams(caption, anchor="start", fontSize=11, fontWeight="normal", color=GREY, offset=16)
    return alt.layer(*layers).properties(width=WIDTH, height=60, title=title)


def _literal(values: Sequence[str]) -> str:
    """An array in Vega's expression language."""
    return json.dumps(list(values), ensure_ascii=False)


@dataclass(frozen=True, eq=False, repr=False)
class _Parts:
    """The lower panel: a line for each level."""

    alt: Any
    group: str
    term: str
    records: Sequence[Record]
    population: Sequence[float | None]

    @property
    def named(self) -> bool:
        return len(self.records) <= NAMED

    def levels(self) -> Any:
        alt = self.alt
        shown = [s for s in SERIES if s != POSTERIOR or any(r["posterior"] is not None for r in self.records)]
        now = {"now": "datum.path[k]", "share": "datum.reliability[k]", **{s: json.dumps(s) for s in shown}}
        base = alt.Chart(alt.NamedData(name=LEVELS)).transform_calculate(**now)
        told = "datum.level + ': ' + format(datum.now, '.6~g') + ', reliability ' + format(datum.share, '.3~f')"
        parts = [self._population()]
        if self.named:
            base = base.transform_calculate(told=told)
            line = base.mark_rule(color=GREY, opacity=0.6, aria=False)
            parts.append(line.encode(x=self._x("alone"), x2="now:Q", y=self._y()))
        parts += [self._points(base, series, shown) for series in shown]
        height = max(80, 18 * len(self.records) + 10) if self.named else 420
        return alt.layer(*parts).properties(width=WIDTH, height=height)

    def _points(self, base: Any, series: str, shown: Sequence[str]) -> Any:
        alt, moving = self.alt, series == NOW
        colours, shapes = ([SERIES[s][i] for s in shown] for i in (1, 2))
        legend = alt.Legend(orient="top", title=None, columns=len(shown), labelLimit=200)
        opacity = 1.0 if moving else 0.9 if self.named else 0.4
        mark = {"opacity": opacity, "aria": moving and self.named}
        fills = ["white" if s == ALONE else c for s, c in zip(shown, colours, strict=True)]
        return base.mark_point(size=60 if self.named else 12, angle=90 if series == ESTIMATE else 0, **mark).encode(
            x=self._x(SERIES[series][0]),
            y=self._y(),
            stroke=alt.Stroke(f"{series}:N", scale=alt.Scale(domain=list(shown), range=colours), legend=legend),
            fill=alt.Fill(f"{series}:N", scale=alt.Scale(domain=list(shown), range=fills), legend=legend),
            shape=alt.Shape(f"{series}:N", scale=alt.Scale(domain=list(shown), range=shapes), legend=legend),
            tooltip=self._tooltip(shown),
            **({"description": "told:N"} if moving and self.named else {}),
        )

    def _x(self, column: str) -> Any:
        alt, title = self.alt, f"{self.term} of the level"
        axis = alt.Axis(tickCount=8, gridOpacity=0.6)
        return alt.X(f"{column}:Q", title=title, scale=alt.Scale(zero=False), axis=axis)

    def _y(self) -> Any:
        alt, n = self.alt, len(self.records)
        axis = alt.Axis(
            values=list(range(n)) if self.named else [],
            labelExpr=f"{_literal([r['level'] for r in self.records])}[datum.value]" if self.named else "''",
            title=self.group if self.named else f"{n} levels of {self.group}, in the order of the levels alone",
            grid=False,
            ticks=False,
            domain=False,
            labelOverlap=False,
        )
        return alt.Y("rank:Q", scale=alt.Scale(domain=[-0.7, n - 0.3], nice=False), axis=axis)

    def _population(self) -> Any:
        """A line at the fixed effect, which moves a little too."""
        values = [{"population": list(self.population)}]
        line = self.alt.Chart(self.alt.Data(values=values)).transform_calculate(at="datum.population[k]")
        return line.mark_rule(color=BLACK, strokeWidth=1, aria=False).encode(x=self._x("at"))

    def _tooltip(self, shown: Sequence[str]) -> list[Any]:
        alt = self.alt
        facts = [
            alt.Tooltip("level:N", title=self.group),
            alt.Tooltip("n:Q", title="rows"),
            alt.Tooltip("share:Q", title="reliability", format=".3f"),
        ]
        return facts + [alt.Tooltip(f"{SERIES[s][0]}:Q", title=s, format=".5~g") for s in shown]
