"""Every parameter of a model in one table: its symbol, what it means, and where it stands."""

from __future__ import annotations

import pandas as pd

from _ranef.equations.generalised_rows import response_symbols
from _ranef.equations.legend import meaning
from _ranef.equations.plain import PLAIN
from _ranef.equations.residual_structure import residual_structure, told_of
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Label, Symbol, symbols_in
from _ranef.residuals import told_names, told_places
from _ranef.spec import ModelSpec, Priors, TermSpec, corr_name

__all__ = ["parameter_table"]

COLUMNS = ["symbol", "parameter", "kind", "meaning", "place", "prior"]


def parameter_table(spec: ModelSpec, priors: Priors) -> pd.DataFrame:
    """``symbol, parameter, kind, meaning, place, prior``, one row a parameter.

    ``parameter`` is its name in ``confint()``; ``kind`` is ``"fixed"``, ``"sd"``, ``"cor"`` or ``"residual"``, so that
    all but the fixed ones are the variance components; ``place`` says where it stands in β, D or R.
    """
    s = Symbols(spec)
    known = _prior_words(spec, priors)
    rows = [_row(s, s.coefficient(k), n, "fixed", f"β, entry {k + 1}") for k, n in enumerate(spec.design.fixed_names)]
    for t in spec.terms:
        rows += _of_term(s, t)
    if s.linked:
        rows += [_row(s, p, str(p.key[1]), "residual", "the response") for p in response_symbols(s)]
    else:
        rows.append(_row(s, s.sigma, "sigma", "residual", "R: σ² is a factor of every entry"))
        rows += _of_residuals(s)
    frame = pd.DataFrame(rows, columns=COLUMNS[:-1])
    of_residuals = "; ".join(line for line in spec.residual_prior_words(priors.rho) if not line.startswith("sigma"))
    rest = ["" if priors.flat or kind != "residual" else of_residuals for kind in frame["kind"]]
    names = frame["parameter"]
    return frame.assign(prior=[known.get(name, words) for name, words in zip(names, rest, strict=True)])


def _prior_words(spec: ModelSpec, priors: Priors) -> dict[str, str]:
    """Priors as they are printed, by what they are of; with their coordinates, where these are not the columns."""
    lines = [*priors.lines(spec.family), *spec.residual_prior_words(priors.rho)]
    out = dict(line.split(" ~ ", 1) for line in lines if " ~ " in line)
    out |= {name: str(prior) for name, prior in priors.dispersions.items()}
    if priors.flat:
        return dict.fromkeys((*spec.design.fixed_names, "sigma"), "flat")
    for t in spec.terms:
        own = priors.term(t)
        for i, law in zip(t.structure.own_sds, priors.sds(t), strict=True):
            what = "" if own.names[i] == t.columns[i] and not own.where[i] else f" on sd({own.names[i]}){own.where[i]}"
            out[f"sd({t.columns[i]} | {t.group})"] = f"{law}{what}"
        for j, i in (pair[::-1] for pair in t.structure.own_pairs):
            lkj = priors.corr.get(corr_name(t))
            laws = [str(law) for law in priors.shapes(t)]
            out[f"cor({t.columns[j]}, {t.columns[i]} | {t.group})"] = str(lkj) if lkj else ", ".join(laws)
    return out


def _row(s: Symbols, symbol: Symbol, name: str, kind: str, place: str) -> tuple[str, str, str, str, str]:
    return PLAIN.node(symbol), name, kind, meaning(s, symbol.key), place


def _of_term(s: Symbols, t: TermSpec) -> list[tuple[str, str, str, str, str]]:
    """Standard deviations and correlations of a term; those that several columns share, once."""
    g, block = s.spec.groupings[t.grouping], PLAIN.node(s.block(t)) if len(t.columns) > 1 else ""
    each = f"D: in the block of each of {g.n_levels} levels of {g.name}"
    rows = []
    for i in t.structure.own_sds:
        at = f", {block}[{i + 1}, {i + 1}]" if block else ""
        place = f"{each}, all of the diagonal of {block}" if t.structure.shared else f"{each}{at}"
        rows.append(_row(s, s.sd(t, i), f"sd({t.columns[i]} | {g.name})", "sd", place))
    for i, j in t.structure.own_pairs:
        few = t.structure.correlation(i, j) is not None
        place = f"{each}, {'off the diagonal of ' + block if few else f'{block}[{i + 1}, {j + 1}]'}"
        symbol = s.correlation(t, j, i)[0]
        rows.append(_row(s, symbol, f"cor({t.columns[j]}, {t.columns[i]} | {g.name})", "cor", place))
    return rows


def _of_residuals(s: Symbols) -> list[tuple[str, str, str, str, str]]:
    """Parameters of residual variances and correlations."""
    if not s.spec.structured:
        return []
    told = told_of(s)
    n_variance = 0 if s.spec.variance is None else len(s.spec.variance.told(s.spec.variance.starts[0]))
    n_values = sum(len(part.names) for part in told[:n_variance])
    parts = [part for line in residual_structure(s) for part in line.parts]
    symbols = {symbol.key: symbol for part in parts for symbol in symbols_in(part) if isinstance(symbol, Symbol)}
    names = [name for part in told for name in part.names]

    def symbol(place: int) -> Symbol:
        """That of the formula; where it stands for many strata or occasions, with their name."""
        name = names[place]
        if ("rho", place) in symbols:
            return symbols["rho", place]
        pair = name.startswith("cor(")
        return Symbol("ρ", ("R", Label(name[4:-1]))) if pair else Symbol("δ", (Label(name),))

    return [
        (
            PLAIN.node(symbol(place)),
            name,
            "residual",
            meaning(s, ("rho", place)),
            "R: standard deviations of rows" if place < n_values else "R: correlations of rows",
        )
        for name, place in zip(told_names(told), told_places(told), strict=True)
    ]
