"""Names that mean something in mathtext, LaTeX, HTML, JavaScript, JSON, Vega or Jinja, or that are hard to see."""

from __future__ import annotations

import numpy as np
import pandas as pd

FEW = (
    *("$10% to $20%", "a#b_c^d", "trail\\", 'q\\"q', "line\nbreak", "u\u2028v", "<!--<script>", "</script>", "]]>"),
    *("{{ x }}", "\u202eevil", ""),
)
MANY = (
    *FEW,
    *("$x_1$", "$$", "\\$", "$\\frac{a$", "\\frac{a", "back\\slash", "para\n\ngraph", "tab\tbed", "car\rret"),
    *("u\u2029v", "&amp;<b>", 'it\'s "q" “u” «v»', "{% raw %}", "${x}", "%s %d {0}", "datum.level", "[a][b]", "a|b"),
    *("a,b", "-1", "~^_#%&", "😀🇺🇳", "עברית", "日本", "zero\u200bwidth", "\u200b", "nul\x00l", "bell\x07", " lead "),
    "x" * 300,
)


def rows_of(levels, group="g", x="x", y="y"):
    """Six rows of each level, with an intercept and a slope of its own."""
    rng, n = np.random.default_rng(1), len(levels)
    g, at = np.repeat(np.arange(n), 6), np.tile(np.arange(6.0), n)
    response = 2 + 0.5 * at + rng.normal(size=n)[g] + 0.4 * rng.normal(size=n)[g] * at + 0.5 * rng.normal(size=6 * n)
    return pd.DataFrame({y: response, x: at, group: np.array(levels, dtype=object)[g]})
