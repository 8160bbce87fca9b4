"""What the symbols of an equation mean, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from _ranef.equations.residual_structure import told_of
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Atom, Key, Line, Of, Run, Symbol, Variable, Words, said, symbols_in
from _ranef.spec import TermSpec

__all__ = ["legend_lines", "meaning"]

#: what symbols mean that are the same in every model
WORDS = {
    "offset": "offset of row i, known",
    "offsets": "offsets, known",
    "weight": "prior weight of row i",
    "weights": "prior weight of a row",
    "row": "row of the data",
    "row sd": "standard deviation of the residual of row i, over σ",
    "row sds": "standard deviation of the residual of a row, over σ",
    "mean": "mean of row i, given the random effects",
    "trials": "trials of row i",
    "means": "means of all rows, given the random effects",
    "predictor": "linear predictor of row i",
    "predictors": "linear predictor of all rows",
    "u": "random effects in units of their standard deviations, independent",
    "slope": "derivative of the log density of row i in η",
    "working weight": "weight of row i at the conditional mode",
    "working weights": "weight of a row at the conditional mode",
    "working response": "working response of row i: a step of Newton from η",
    "working responses": "working responses of all rows",
    "working W": "weights of all rows at the conditional mode",
    "class": "class by its place",
    "threshold": "threshold between class k and the next, on the scale of η",
    "dispersion": "parameter of the response besides its mean",
    "fitted": "fitted value of row i",
    "distance": "distance of two rows",
    "place": "place of row i in its group",
    "residual": "residual of row i",
    "residual at": "residual at a time",
    "innovation": "what is new at a time: independent, with one variance",
    "response": "response of row i",
    "R entry": "covariance of the residuals of two rows",
    "nu": "degrees of freedom",
    "y": "responses of all rows",
    "X": "columns of the fixed effects",
    "beta": "coefficients of the fixed effects",
    "Z": "columns of the random effects",
    "b": "random effects",
    "epsilon": "residuals",
    "D": "covariance of the random effects",
    "R": "covariance of the residuals",
    "V": "covariance of the responses",
    "Lambda": "relative root of D, of the parameters θ",
    "H": "standard deviations of the rows over σ, on the diagonal",
    "C": "correlations of the residuals",
    "W": "prior weights, on the diagonal",
    "W root": "roots of the prior weights, on the diagonal",
    "Z of term": "columns of a term of random effects",
    "b of term": "random effects of a term",
    "Z of level": "rows of Z of one level, with the columns of its effects",
    "R of level": "block of R of one level",
    "V of level": "block of V of one level",
    "all effects": "random effects of all levels of a term",
    "occasions": "correlation of the residuals of two occasions v",
    "strata": "ratios of the residual standard deviations of strata to that of the first",
    "all occasions": "correlations of the residuals of all occasions",
    "stratum": "ratio of the residual standard deviation of a stratum s to the first, which is 1",
    "known entry": "known covariance of two levels",
}

#: matrices of a cluster, by their letters
OF_CLUSTER = {
    "y": "responses",
    "X": "columns of the fixed effects",
    "Z": "columns of the random effects",
    "b": "random effects",
    "o": "offsets",
    "ε": "residuals",
    "D": "covariance of the random effects",
    "R": "covariance of the residuals",
    "V": "covariance of the responses",
    "p": "probabilities",
    "μ": "means",
    "η": "linear predictors",
    "n": "trials",
    "z": "working responses",
    "W": "weights at the conditional mode",
}


def legend_lines(s: Symbols, lines: Sequence[Line]) -> list[Line]:
    """Every symbol of an equation once, with its meaning; then the variables of the data."""
    found: dict[tuple[str, tuple[Atom, ...]], Line] = {}
    variables: dict[str, None] = {}
    for part in (part for line in lines for part in line.parts):
        for symbol in symbols_in(part):
            if isinstance(symbol, Variable):
                variables[symbol.name] = None
            else:
                own = _general(s, symbol)
                if own.key:
                    found.setdefault((own.letter, own.below), Line(own, ":", Words(meaning(s, own.key))))
                _indices(s, own, found)
    out = list(found.values())
    if variables:
        out += said(f"{', '.join(variables)}: variables of the data")
    return out


def _general(s: Symbols, symbol: Symbol | Run) -> Symbol:
    """The symbol of any row or level, of which this is one."""
    if isinstance(symbol, Run):
        own = symbol.symbol
        index = s.letter(int(own.key[1])) if len(own.key) > 1 else "i"
        return replace(own, below=(*own.below, index))
    kind = symbol.key[0] if symbol.key else ""
    if kind == "threshold":
        return Symbol(symbol.letter, ("k",), (kind,))
    if kind in ("residual", "response", "mean", "predictor", "working weight", "working response"):
        return Symbol(symbol.letter, ("i",), (kind,))
    if kind == "R entry":
        return Symbol("R", ("i", "i′"), (kind,))
    return replace(symbol, below=tuple(a.letter if isinstance(a, Of) else a for a in symbol.below))


def _indices(s: Symbols, symbol: Symbol, found: dict[tuple[str, tuple[Atom, ...]], Line]) -> None:
    """The letters that stand below a symbol, as j and i."""
    letters = {s.letter(k): ("level", k) for k in range(len(s.spec.groupings))} | {"i": ("row",)}
    for atom in symbol.below:
        if isinstance(atom, str) and atom in letters:
            key: Key = letters[atom]
            found.setdefault((atom, ()), Line(Symbol(atom, (), key), ":", Words(meaning(s, key))))


def meaning(s: Symbols, key: Key) -> str:
    """What a symbol is, by what it is of."""
    spec = s.spec
    match key:
        case ("fixef", int(k)):
            name = spec.design.fixed_names[k]
            return "intercept" if s.fixed[k].is_intercept else f"coefficient of {name}"
        case ("ranef", int(g), int(c), *level):
            own = spec.groupings[g]
            which = f"{own.name} {own.levels[int(level[0])]}" if level else f"level {s.letter(g)} of {own.name}"
            return f"random effect of {which}: {own.columns[c]}"
        case ("level", int(g)):
            own = spec.groupings[g]
            return f"level of {own.name}, 1 to {own.n_levels}; {s.letter(g)}[i] is that of row i"
        case ("row",):
            return f"row of the data, 1 to {spec.n_obs}"
        case ("sd",):
            return "residual standard deviation" + (f", known: {spec.sigma:g}" if spec.sigma is not None else "")
        case ("sd", int(g), int(c)):
            own = spec.groupings[g]
            term = _term_of(s, g, c)
            names = ", ".join(term.columns) if term.structure.shared else own.columns[c]
            return f"standard deviation of the effects of {names} between levels of {own.name}"
        case ("cor", int(g), int(a), int(b)):
            own, term = spec.groupings[g], _term_of(s, g, a)
            if not term.structure.shapes:
                return f"correlation of the effects of {own.columns[a]} and {own.columns[b]} in a level of {own.name}"
            return f"correlation of effects in a level of {own.name}, which are {term.structure.meaning}"
        case ("block", int(t)):
            own_term = spec.terms[t]
            return f"covariance of the effects of {', '.join(own_term.columns)} in a level of {own_term.group}"
        case ("known", int(g)):
            size = spec.groupings[g].n_levels
            return f"known covariance among levels of {spec.groupings[g].name}, {size} × {size}"
        case ("rho", int(place)):
            flat = [(part, name) for part in told_of(s) for name in part.names]
            part, name = flat[place]
            ratio = f"ratio of the residual standard deviation of {part.form} {name} to that of {part.names[0]}"
            return ratio if part.sds else f"{part.title}: {name}"
        case ("coefficient", int(_), int(_), str(words)):
            return words
        case ("dispersion", str(name)) if name.startswith("gap"):
            return f"step from threshold {int(name[3:]) - 1} to {name[3:]}"
        case ("nu of", int(g)):
            return f"degrees of freedom of the random effects of {spec.groupings[g].name}"
        case ("row sd", str(words)):
            return words
        case (str(kind), int(g)) if kind.endswith("of cluster"):
            whose = f"of the rows of one {spec.groupings[g].name}" if g >= 0 else "of all rows"
            return f"{OF_CLUSTER[kind[0]]} {whose}"
        case ("J of term", int(t)):
            return f"indicators of the levels of {spec.terms[t].group}, a 1 in each row"
        case ("X of term", int(t)):
            return f"columns {', '.join(spec.terms[t].columns)}, one for each effect of a level"
        case (str(kind), int(t)) if kind.endswith("of term"):
            return WORDS[kind].replace("a term", spec.terms[t].text or "a term")
    return WORDS[str(key[0])]


def _term_of(s: Symbols, grouping: int, c: int) -> TermSpec:
    return next(t for t in s.spec.terms if t.grouping == grouping and t.where.start <= c < t.where.stop)
