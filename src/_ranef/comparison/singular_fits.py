"""What it means that a likelihood is highest where a variance is zero, or a correlation ±1, and a posterior is not."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from _ranef.likelihood import Likelihood, degeneracy, determined
from _ranef.results import PosteriorDraws, RemlEstimates
from _ranef.spec import ModelSpec, TermSpec, covariance_arrays
from _ranef.support.arrays import Bools, Floats

__all__ = ["Boundary", "EdgeParameter", "boundary", "edge_parameters"]

#: an sd is small if its effect adds less than this share of σ to a typical row
SMALL_SD = 0.1

#: a correlation is near the edge beyond this, and a matrix near a lower rank below one minus it
NEAR_ONE = 0.95

COLUMNS = ["fit", "group", "term", "estimate", "posterior", "mean", "median", "lower", "upper", "near", "p_near"]


@dataclass(frozen=True)
class EdgeParameter:
    """A parameter that a likelihood puts on the boundary.

    Attributes
    ----------
    group, term : str
        As in ``variance_components``: ``sd(Days)``, ``cor(Intercept, Days)``; ``sd(f[a], f[b])`` for columns that share
        one; or ``least eigenvalue of cor`` for a matrix of lower rank of which no correlation is ±1.
    value : float
        0, 1 or −1.
    near : str
        What counts as near it, in words.
    place : int
        Of its term among those of the spec.
    columns : tuple of int
        Its one or two columns there; none for the whole matrix.
    """

    group: str
    term: str
    value: float
    near: str
    place: int
    columns: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Boundary:
    """What is on the boundary, in words and in numbers; false where nothing is.

    Attributes
    ----------
    words : tuple of str
        A paragraph for each parameter, after one for what a likelihood does not determine at all.
    frame : DataFrame
        One row for each parameter, fit that puts it there, and posterior: ``fit, group, term, estimate, posterior,
        mean, median, lower, upper, near, p_near``; ``near`` says in words what ``p_near`` is the posterior probability
        of.
    """

    words: tuple[str, ...]
    frame: pd.DataFrame

    def __bool__(self) -> bool:
        return bool(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return "\n".join(textwrap.fill(w, 110) for w in self.words) or "No fit is on the boundary."

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(w)}</p>" for w in self.words) or f"<p>{self!r}</p>"


def boundary(
    spec: ModelSpec,
    estimates: Mapping[str, tuple[Likelihood, RemlEstimates]],
    posteriors: Mapping[str, PosteriorDraws],
    level: float = 0.95,
) -> Boundary:
    """What singular fits mean beside posteriors.

    Parameters
    ----------
    spec : ModelSpec
    estimates : mapping str to (Likelihood, RemlEstimates)
        Fits by name.
    posteriors : mapping str to PosteriorDraws
    level : float
        Probability of the equal-tailed intervals.
    """
    at: dict[EdgeParameter, list[str]] = {}
    maps: tuple[Floats, ...] = ()
    for name, (likelihood, own) in estimates.items():
        maps = maps or likelihood.maps
        if own.singular:
            for parameter in edge_parameters(likelihood, own.theta, own.optimizer.undetermined):
                at.setdefault(parameter, []).append(name)
    rows, words = [], _flat_paragraphs({name: own for name, (_, own) in estimates.items()}, bool(posteriors))
    for parameter, names in at.items():
        found = {p: _posterior(spec, draws, parameter, maps, level) for p, draws in posteriors.items()}
        methods = {name: estimates[name][1].method for name in names}
        words.append(_paragraph(parameter, methods, found, level))
        for name in names:
            start = {"fit": name, "group": parameter.group, "term": parameter.term, "estimate": parameter.value}
            rows += [start | {"posterior": p, **numbers, "near": parameter.near} for p, numbers in found.items()]
            rows += [start] if not found else []
    return Boundary(tuple(words), pd.DataFrame(rows, columns=COLUMNS))


def _flat_paragraphs(estimates: Mapping[str, RemlEstimates], sampled: bool) -> list[str]:
    """What a likelihood does not determine is at no boundary of it: a paragraph for each set of names."""
    flat: dict[tuple[str, ...], dict[str, str]] = {}
    for name, own in estimates.items():
        if own.optimizer.undetermined:
            flat.setdefault(own.optimizer.undetermined, {})[name] = own.method
    out = []
    for names, methods in flat.items():
        kinds = sorted({_likelihood(m) for m in methods.values()}, reverse=True)
        out.append(
            f"{_and(_shown(methods))} {'does' if len(methods) == 1 else 'do'} not determine {_and(names)}"
            f"{', or only in combination' if len(names) > 1 else ''}: the {' and the '.join(kinds)} "
            f"{'are' if len(kinds) > 1 else 'is'} the same along a whole line of values, and the estimate is arbitrary."
            + (" There the posterior is what the prior says." if sampled else "")
        )
    return out


def _likelihood(method: str) -> str:
    return "restricted likelihood" if method == "REML" else "likelihood"


def edge_parameters(likelihood: Likelihood, theta: Floats, undetermined: Sequence[str] = ()) -> list[EdgeParameter]:
    """The sds that are zero and the correlations that are ±1 at θ (n_theta,), but for what is `undetermined`."""
    spec, roots = likelihood.spec, likelihood.standard(theta)
    # with weights the noise is σ/√w
    share = f"{SMALL_SD:g} σ to" if spec.residual.plain else "a tenth of the noise of"
    little = f"it adds less than {share} a typical row"
    lost = np.array([name in undetermined for name in spec.theta_names], dtype=bool)
    out = []
    for place, t in enumerate(spec.terms):
        at = degeneracy(roots[t.grouping][t.where, t.where], likelihood.maps[t.grouping][t.where, t.where])
        at = determined(t, at, lost)
        for column in _own_sds(t, at.live):
            name = ", ".join(t.columns if t.structure.shared else t.columns[column : column + 1])
            out.append(EdgeParameter(t.group, f"sd({name})", 0.0, little, place, (column,)))
        told = t.structure.own_pairs
        for i, j, sign in (edge for edge in at.perfect if (edge[1], edge[0]) in told or (edge[0], edge[1]) in told):
            near = f"it is above {NEAR_ONE:g}" if sign > 0 else f"it is below −{NEAR_ONE:g}"
            name = f"cor({t.columns[i]}, {t.columns[j]})"
            out.append(EdgeParameter(t.group, name, float(sign), near, place, (i, j)))
        if at.rank < at.live.sum() and not at.perfect:
            near = f"that eigenvalue is below {1 - NEAR_ONE:.2g}"
            out.append(EdgeParameter(t.group, "least eigenvalue of cor", 0.0, near, place, ()))
    return out


def _own_sds(t: TermSpec, live: Bools) -> list[int]:
    """Columns whose sd is zero; the first for all that share one."""
    zero = np.flatnonzero(~live).tolist()
    return [column for column in zero if column in t.structure.own_sds]


def _posterior(
    spec: ModelSpec, draws: PosteriorDraws, parameter: EdgeParameter, maps: Sequence[Floats], level: float
) -> dict[str, float]:
    """Mean, median, interval, and the probability of being near the edge."""
    values, near = _draws_of(spec, draws, parameter, maps)
    lower, median, upper = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return {
        "mean": float(values.mean()),
        "median": float(median),
        "lower": float(lower),
        "upper": float(upper),
        "p_near": float(near.mean()),
    }


def _draws_of(
    spec: ModelSpec, draws: PosteriorDraws, parameter: EdgeParameter, maps: Sequence[Floats]
) -> tuple[Floats, Bools]:
    """Draws (S,) of a parameter, and of whether it is near its edge."""
    sigma, term = draws.sigma.ravel(), spec.terms[parameter.place]
    covs = covariance_arrays(spec, draws.theta.reshape(len(sigma), -1), sigma)
    cov = covs[term.grouping][:, term.where, term.where]
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    if len(parameter.columns) == 1:
        (i,) = parameter.columns
        own = maps[term.grouping][term.where, term.where]
        squares = (np.linalg.inv(own) ** 2).sum(axis=0)  # of a unit sd of each column in a typical row
        signal = np.sqrt(squares.sum() if term.structure.shared else squares[i])
        return sd[:, i], sd[:, i] * signal < SMALL_SD * sigma
    with np.errstate(invalid="ignore", divide="ignore"):
        cor = np.nan_to_num(cov / (sd[:, :, None] * sd[:, None, :]))
    if parameter.columns:
        values = cor[(slice(None), *parameter.columns)]
        return values, parameter.value * values > NEAR_ONE
    every = np.arange(cor.shape[1])
    cor[:, every, every] = 1.0
    values = np.linalg.eigvalsh(cor)[:, 0]
    return values, values < 1 - NEAR_ONE


def _paragraph(
    parameter: EdgeParameter, methods: Mapping[str, str], found: Mapping[str, Mapping[str, float]], level: float
) -> str:
    value = {0.0: "0", 1.0: "+1", -1.0: "−1"}[parameter.value]
    kinds = sorted({_likelihood(m) for m in methods.values()}, reverse=True)
    peaks = f"the {' and the '.join(kinds)} {'are' if len(kinds) > 1 else 'is'} highest"
    puts = "puts" if len(methods) == 1 else "put"
    name = f"{parameter.term} of {parameter.group}"
    zero_sd = parameter.term.startswith("sd(")
    sense = "the effects are absent" if zero_sd else "the effects determine one another"
    words = [f"{_and(_shown(methods))} {puts} {name} at {value}, where {peaks}: that is no finding that {sense}."]
    if zero_sd:
        words.append("Every BLUP of it is 0 then, and its plug-in interval has no width.")
    for posterior, n in found.items():
        words.append(
            f"{'The posterior' if len(found) == 1 else posterior} averages over all values that the data and the prior "
            f"leave possible: median {n['median']:.3g}, {100 * level:g} % interval {n['lower']:.3g} to "
            f"{n['upper']:.3g}, and a probability of {_percent(n['p_near'])} that {parameter.near}."
        )
    words.append(
        "So near the edge the prior counts: try another."
        if found
        else "Model.sample() shows which values the data leave possible."
    )
    return " ".join(words)


def _shown(methods: Mapping[str, str]) -> list[str]:
    """A fit named ``eb`` goes by its method."""
    return [method if name == "eb" else name for name, method in methods.items()]


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _percent(p: float) -> str:
    return "less than 1 %" if p < 0.01 else "more than 99 %" if p > 0.99 else f"{100 * p:.0f} %"
