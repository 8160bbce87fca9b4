"""How far fits of one model agree, parameter by parameter."""

from __future__ import annotations

import numpy as np
import pandas as pd

from _ranef.support.arrays import Floats

__all__ = ["agreement_frame", "interval_overlap"]

KEYS = ["effect", "group", "level", "term"]


def agreement_frame(long: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Every fit against a reference.

    Parameters
    ----------
    long : DataFrame
        ``fit, effect, group, level, term, estimate, sd, lower, upper``; every fit has the same parameters in the same
        order.
    reference : str
        One of the fits.

    Returns
    -------
    DataFrame
        ``effect, group, level, term, fit, reference``; ``difference``, estimate minus that of the reference;
        ``difference_in_sd``, the same over the reference's sd; ``overlap``, the length that both intervals cover over
        the length that either does (1 for equal intervals, 0 for disjoint ones); ``width_ratio``, the width of the
        fit's interval over that of the reference's. NaN where there is no such sd or interval, or it has no width.

    Examples
    --------
    >>> import pandas as pd
    >>> from _ranef.comparison import agreement_frame
    >>> rows = [("a", 1.0, 0.5, 0.0, 2.0), ("b", 1.5, 1.0, 0.0, 4.0)]
    >>> long = pd.DataFrame(rows, columns=["fit", "estimate", "sd", "lower", "upper"])
    >>> long = long.assign(effect="fixed", group="", level="", term="x")
    >>> agreement_frame(long, "b")[["difference_in_sd", "overlap", "width_ratio"]].to_numpy().tolist()
    [[-0.5, 0.5, 0.5]]
    """
    own = {str(name): part.reset_index(drop=True) for name, part in long.groupby("fit", sort=False)}
    ref = own[reference]
    parts = []
    for name, frame in own.items():
        if name == reference:
            continue
        out = ref[KEYS].assign(fit=name, reference=reference)
        out["difference"] = frame["estimate"] - ref["estimate"]
        out["difference_in_sd"] = _over(out["difference"].to_numpy(), ref["sd"].to_numpy(dtype=float))
        bounds = [f[b].to_numpy(dtype=float) for f in (frame, ref) for b in ("lower", "upper")]
        out["overlap"] = interval_overlap(*bounds)
        out["width_ratio"] = _over(bounds[1] - bounds[0], bounds[3] - bounds[2])
        parts.append(out)
    return pd.concat(parts, ignore_index=True)


def interval_overlap(lower1: Floats, upper1: Floats, lower2: Floats, upper2: Floats) -> Floats:
    """Length of the intersection of intervals [lower1, upper1] and [lower2, upper2] over that of their union (m,)."""
    common = np.maximum(np.minimum(upper1, upper2) - np.maximum(lower1, lower2), 0.0)
    return _over(common, (upper1 - lower1) + (upper2 - lower2) - common)


def _over(top: Floats, bottom: Floats) -> Floats:
    """Quotients, NaN where the divisor is zero."""
    out = np.full(np.shape(top), np.nan)
    np.divide(top, bottom, out=out, where=np.asarray(bottom) > 0)
    return out
