"""Posteriors of several models ranked by expected log predictive density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from _ranef import comparison as cmp
from _ranef import inference as inf
from _ranef.errors import ConvergenceWarning, DesignError, warn
from _ranef.likelihood import RowGroups
from _ranef.user.posterior import PosteriorFit

__all__ = ["by_formula", "ranked"]


def by_formula(fits: Sequence[PosteriorFit]) -> dict[str, PosteriorFit]:
    """Posteriors by formula, numbered where it occurs twice."""
    formulas = [fit.spec.design.formula for fit in fits]
    return {
        formula if formulas.count(formula) == 1 else f"{formula} [{i + 1}]": fit
        for i, (formula, fit) in enumerate(zip(formulas, fits, strict=True))
    }


def ranked(named: Mapping[str, PosteriorFit], kind: str, group: str | None) -> pd.DataFrame:
    """Frame of models, best first: by rows, or by levels of a factor."""
    cmp.require_same_rows({name: fit.spec for name, fit in named.items()})
    if doubtful := [name for name, fit in named.items() if not fit.ok]:
        warn(
            f"Posteriors that should not be trusted are ranked here: {', '.join(map(repr, doubtful))} (fit.warnings "
            "says why). Sample them longer first.",
            ConvergenceWarning,
        )
    if inf.loo_kind(kind) == "conditional":
        return cmp.elpd_frame({name: inf.loo_rows(fit.spec, fit.draws) for name, fit in named.items()})
    groups = _common_groups(named, group)
    return cmp.elpd_frame({name: inf.loo_groups(fit.spec, fit.draws, groups) for name, fit in named.items()})


def _common_groups(named: Mapping[str, PosteriorFit], group: str | None) -> RowGroups:
    """The rows by a factor that some of the models have; the others are scored on the same groups."""
    known = {g.name: (fit.spec, k) for fit in named.values() for k, g in enumerate(fit.spec.groupings)}
    if group is None and len(known) == 1:
        (group,) = known
    if group not in known:
        asked = f"group={group!r} is not one of" if group is not None else "Name the factor to leave out by: group= is"
        raise DesignError(f"{asked} {', '.join(map(repr, known)) or 'none: no model has a grouping factor'}.")
    return inf.row_groups(*known[group])
