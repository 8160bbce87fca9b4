"""Models ranked by their expected log predictive density."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from _ranef.errors import ConvergenceWarning, DesignError, warn
from _ranef.inference import Loo, Sampled, loo_groups, loo_kind, loo_rows, row_groups
from _ranef.likelihood import RowGroups
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

#: how words for families begin whose responses have probabilities
OF_COUNTS = ("binomial", "poisson", "negative binomial", "ordinal")

__all__ = ["elpd_frame", "ranked", "require_same_rows", "stacking_weights"]


class Judged(Sampled, Protocol):
    """A posterior that says whether it may be trusted."""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to warn about."""
        ...


def ranked(named: Mapping[str, Judged], kind: str, group: str | None) -> pd.DataFrame:
    """Frame of posteriors, best first: by rows, or by levels of a factor.

    Raises
    ------
    DesignError
        If they are not of the same rows and response, or no model has the factor.
    """
    require_same_rows({name: fit.spec for name, fit in named.items()})
    if doubtful := [name for name, fit in named.items() if not fit.ok]:
        warn(
            f"Posteriors that should not be trusted are ranked here: {', '.join(map(repr, doubtful))} (fit.warnings "
            "says why). Sample them longer first.",
            ConvergenceWarning,
        )
    if loo_kind(kind) == "conditional":
        return elpd_frame({name: loo_rows(fit.spec, fit.draws) for name, fit in named.items()})
    groups = _common_groups(named, group)
    return elpd_frame({name: loo_groups(fit.spec, fit.draws, groups) for name, fit in named.items()})


def _common_groups(named: Mapping[str, Judged], group: str | None) -> RowGroups:
    """The rows by a factor that some of the models have; the others are scored on the same groups."""
    known = {g.name: (fit.spec, k) for fit in named.values() for k, g in enumerate(fit.spec.groupings)}
    if group is None and len(known) == 1:
        (group,) = known
    if group not in known:
        asked = f"group={group!r} is not one of" if group is not None else "Name the factor to leave out by: group= is"
        raise DesignError(f"{asked} {', '.join(map(repr, known)) or 'none: no model has a grouping factor'}.")
    return row_groups(*known[group])


def elpd_frame(estimates: Mapping[str, Loo]) -> pd.DataFrame:
    """Rank models by elpd, in the columns of ``arviz_stats.compare``.

    Parameters
    ----------
    estimates : mapping str to Loo
        Of the same rows or groups.

    Returns
    -------
    DataFrame
        By model, best first: ``rank``; ``elpd``; ``p``, effective number of parameters; ``elpd_diff``, how much worse
        than the best; ``weight`` by stacking; ``se`` of elpd; ``dse`` of the difference, √(n var) of the pointwise
        ones; ``warning``, whether some Pareto k is too large.
    """
    pointwise = np.column_stack([loo.elpd_i.to_numpy() for loo in estimates.values()])
    weights = stacking_weights(pointwise)
    best = int(np.argmax([loo.elpd for loo in estimates.values()]))
    differences = pointwise[:, [best]] - pointwise
    out = pd.DataFrame(
        {
            "elpd": [loo.elpd for loo in estimates.values()],
            "p": [loo.p for loo in estimates.values()],
            "elpd_diff": differences.sum(axis=0),
            "weight": weights,
            "se": [loo.se for loo in estimates.values()],
            "dse": np.sqrt(len(pointwise) * differences.var(axis=0)),
            "warning": [loo.warning for loo in estimates.values()],
        },
        index=list(estimates),
    ).sort_values("elpd", ascending=False, kind="stable")
    out.insert(0, "rank", np.arange(len(out)))
    return out


def stacking_weights(pointwise: Floats) -> Floats:
    """Weights (K,) of a mixture that maximise the sum of its log densities, from those of K models (n, K).

    Yao, Vehtari, Simpson & Gelman (2018, Bayesian Analysis 13, 917-1007). Each row is scaled by its largest density,
    so that log densities of whole groups, in the minus hundreds, do not vanish.
    """
    K = pointwise.shape[1]
    density = np.exp(pointwise - pointwise.max(axis=1, keepdims=True))

    def minus_score(w: Floats) -> tuple[float, Floats]:
        mixed = density @ w
        return -float(np.log(mixed).mean()), -(density / mixed[:, None]).mean(axis=0)

    optimize = load("scipy.optimize")
    found = optimize.minimize(
        minus_score,
        np.full(K, 1.0 / K),
        jac=True,
        method="SLSQP",
        bounds=[(1e-12, 1.0)] * K,
        constraints=optimize.LinearConstraint(np.ones((1, K)), 1.0, 1.0),
        options={"ftol": 1e-12, "maxiter": 500},
    )
    w = np.clip(found.x, 0.0, None)
    w[w < 1e-9] = 0.0
    return np.asarray(w / w.sum())


def require_same_rows(named: Mapping[str, ModelSpec]) -> None:
    """Refuse models whose elpd is not of the same numbers.

    Raises
    ------
    DesignError
        If rows or responses differ.
    """
    (first, a), *others = named.items()
    for name, b in others:
        if not np.array_equal(a.design.rows, b.design.rows):
            raise DesignError(
                f"{first!r} and {name!r} are fitted to different rows ({a.n_obs} and {b.n_obs} of them used): their "
                "elpd are sums over different data. Missing values of a predictor that one model lacks are the usual "
                "cause: drop those rows from the data of both."
            )
        if _discrete(a) != _discrete(b):
            raise DesignError(
                f"{first!r} has a response that is {a.family.label}, {name!r} one that is {b.family.label}: "
                "probabilities of counts and densities of measurements cannot be compared. Rank models of one kind."
            )
        if not np.array_equal(a.design.y, b.design.y):
            raise DesignError(
                f"{first!r} and {name!r} have different responses, {a.design.response!r} and {b.design.response!r}: "
                "densities of different quantities cannot be compared. Fit both to one response."
            )


def _discrete(spec: ModelSpec) -> bool:
    return spec.family.word.startswith(OF_COUNTS)
