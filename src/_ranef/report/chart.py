"""The explorer's picture as a Vega-Lite specification; altair, which knows the grammar, is loaded when one is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.support.arrays import Floats
from _ranef.support.escapes import vega_key, vega_string
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
    """Vega, Vega-Lite and vega-embed as one script, from the package that keeps them."""
    script: str = load("vl_convert").javascript_bundle()
    return script.replace("</script", "<\\/script")


def chart(
    *,
    slider: str,
    names: tuple[str, str],
    moved: str,
    records: Sequence[Record],
    motions: Sequence[Motion],
    start: int,
    estimate: tuple[float, str],
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
    """
    alt: Any = load("altair")
    group, term = names
    several = len(motions) > 1
    label = f"{moved}, from zero (left) to infinity (right)" if several else f"{moved}: {motions[0].words}"
    bound = alt.binding_range(min=0, max=len(motions[0].told) - 1, step=1, name=label, element=slider)
    params = [alt.param(name="k", value=start, bind=bound)]
    if several:
        words = [m.words for m in motions]
        choice = alt.binding_select(options=list(range(len(motions))), labels=words, name="What moves", element=slider)
        params.append(alt.param(name=CHOICE, value=0, bind=choice))
    else:
        params.append(alt.param(name=CHOICE, value=0))
    parts = _Parts(alt, group, term, records, motions)
    whole = alt.vconcat(_headline(alt, motions), _strip(alt, motions, estimate), parts.levels(), spacing=14).add_params(
        *params
    )
    view = alt.ViewConfig(stroke="transparent")
    whole = whole.configure(font="system-ui, sans-serif", background="white", view=view)
    # thousands of levels would take minutes through altair's checks of every number
    return {**whole.to_dict(), "datasets": {LEVELS: list(records)}}


def _headline(alt: Any, motions: Sequence[Motion]) -> Any:
    return (
        alt.Chart(alt.Data(values=[{"told": [list(m.told) for m in motions]}]))
        .transform_calculate(text=f"datum.told[{CHOICE}][k]")
        .mark_text(align="left", fontSize=14, fontWeight="bold")
        .encode(x=alt.value(0), text="text:N", description="text:N")
        .properties(width=WIDTH, height=20)
    )


def _strip(alt: Any, motions: Sequence[Motion], estimate: tuple[float, str]) -> Any:
    """The scale of the slider, with the posterior of the ratio, the estimate, and where the slider stands."""
    last = len(motions[0].labels) - 1
    ticks = sorted({*range(0, last - 1, max(1, last // 8)), last})
    labels = ", ".join(_literal(m.labels) for m in motions)
    axis = alt.Axis(values=ticks, labelExpr=f"[{labels}][{CHOICE}][datum.value]", title="sd/σ", grid=False)
    x = alt.X("at:Q", scale=alt.Scale(domain=[0, last], nice=False), axis=axis)
    layers = []
    if bars := [bar for i, m in enumerate(motions) for bar in _bars(i, m.posterior, last)]:
        layers.append(
            alt.Chart(alt.Data(values=bars))
            .transform_filter(f"datum.motion == {CHOICE}")
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
    caption = "The slider (blue), the estimate (dashed)" + (" and the posterior of sd/σ (shaded)" if bars else "")
    title = alt.TitleParams(caption, anchor="start", fontSize=11, fontWeight="normal", color=GREY, offset=16)
    return alt.layer(*layers).properties(width=WIDTH, height=60, title=title)


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

    alt: Any
    group: str
    term: str
    records: Sequence[Record]
    motions: Sequence[Motion]

    @property
    def named(self) -> bool:
        return len(self.records) <= NAMED

    def levels(self) -> Any:
        alt = self.alt
        shown = [s for s in SERIES if s != POSTERIOR or any(r["posterior"] is not None for r in self.records)]
        # only of what moves all together is the reliability the share that a level keeps
        now = {
            "now": f"datum.path[{CHOICE}][k]",
            "share": f"{CHOICE} ? '–' : format(datum.reliability[k], '.3~f')",
            **{s: vega_string(s) for s in shown},
        }
        base = alt.Chart(alt.NamedData(name=LEVELS)).transform_calculate(**now)
        told = f"datum.level + ': ' + format(datum.now, '.6~g') + ({CHOICE} ? '' : ', reliability ' + datum.share)"
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
        values = [
            {
                "population": [
                    [float(f"{v:.6g}") if np.isfinite(v) else None for v in m.population] for m in self.motions
                ]
            }
        ]
        line = self.alt.Chart(self.alt.Data(values=values)).transform_calculate(at=f"datum.population[{CHOICE}][k]")
        return line.mark_rule(color=BLACK, strokeWidth=1, aria=False).encode(x=self._x("at"))

    def _tooltip(self, shown: Sequence[str]) -> list[Any]:
        alt = self.alt
        facts = [
            alt.Tooltip("level:N", title=vega_key(self.group)),
            alt.Tooltip("n:Q", title="rows"),
            alt.Tooltip("share:N", title="reliability"),
        ]
        return facts + [alt.Tooltip(f"{SERIES[s][0]}:Q", title=s, format=".5~g") for s in shown]
