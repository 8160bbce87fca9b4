"""Characters beyond ASCII in words that pdflatex understands."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["escaped", "from_unicode", "guarded"]

GREEK_LETTERS = "αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΥΦΨΩϵϑϕ"
GREEK_NAMES = """
    alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon varphi
    chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega epsilon vartheta phi
"""
GREEK = dict(zip(GREEK_LETTERS, GREEK_NAMES.split(), strict=True))

SYMBOLS = {
    "−": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "±": r"\pm ",
    "≤": r"\leq ",
    "≥": r"\geq ",
    "≠": r"\neq ",
    "≈": r"\approx ",
    "∼": r"\sim ",
    "∞": r"\infty ",
    "→": r"\rightarrow ",
    "←": r"\leftarrow ",
    "√": r"\surd ",
    "∑": r"\sum ",
    "∈": r"\in ",
    "∝": r"\propto ",
    "µ": r"\mu ",
    "°": r"^{\circ}",
    "½": r"\frac{1}{2}",
    **{letter: rf"\{name} " for letter, name in GREEK.items()},
    # the other Greek capitals are drawn as Latin ones
    **{chr(0x391 + i): rf"\mathrm{{{c}}}" for i, c in enumerate("AB  EZH IK MN O P  T  X") if c != " "},
}

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True)) | {"ᵀ": r"\top "}
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₕₖₗₘₙₚₛₜᵢⱼᵣᵤᵥ", "0123456789+-=()aeoxhklmnpstijruv", strict=True))
ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0307": "dot"}

WORDS = {
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "\u00a0": "~",
    # as wide as a digit, and as a point: they align decimals
    "\u2007": r"\hphantom{0}",
    "\u2008": r"\hphantom{.}",
}

#: ASCII that TeX's old fonts draw as something else, or too high; stands as a private character while great_tables
#: escapes the rest, and so does the empty group that ends a row before a bracket or star
GUARDS = {"|": "\ue000", '"': "\ue001", "`": "\ue002", "~": "\ue003"}
GUARDED = {
    "\ue000": r"\textbar{}",
    "\ue001": "''",
    "\ue002": r"\textasciigrave{}",
    "\ue003": r"\ensuremath{\sim}",
    "\ue004": "{}",
}

#: what great_tables does to cells, for words that stand in no table
ESCAPES = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}

_ACCENTED = rf"[A-Za-z{''.join(GREEK)}][{''.join(ACCENTS)}]"
_RAISED = f"[{re.escape(''.join(RAISED))}]+"
_LOWERED = f"[{re.escape(''.join(LOWERED))}]+"
_TOKEN = re.compile(f"{_ACCENTED}|{_RAISED}|{_LOWERED}|[{''.join(SYMBOLS)}]")
_MATHEMATICS = re.compile(f"(?:{_TOKEN.pattern})+")


def guarded(text: str) -> str:
    """Text whose awkward ASCII stands as private characters until :func:`from_unicode`."""
    first = "\ue004" if text.lstrip().startswith(("[", "*")) else ""
    return first + "".join(GUARDS.get(c, c) for c in text)


def escaped(text: str) -> str:
    """Text with LaTeX's own characters escaped, ready for :func:`from_unicode`."""
    return guarded("".join(ESCAPES.get(c, c) for c in text))


def from_unicode(source: str) -> str:
    r"""LaTeX source with Greek letters, hats, superscripts and the like as mathematics.

    What is not known here is left: letters with accents are read by LaTeX itself, other scripts by XeLaTeX and
    LuaLaTeX.

    Examples
    --------
    >>> print(from_unicode("b̂ = D Zᵀ V⁻¹ (y − X β̂)"))
    \ensuremath{\hat{b}} = D Z\ensuremath{^{\top}} V\ensuremath{^{-1}} (y \ensuremath{-} X \ensuremath{\hat{\beta}})
    """
    source = _MATHEMATICS.sub(_mathematics, unicodedata.normalize("NFC", source))
    return "".join(WORDS.get(c) or GUARDED.get(c, c) for c in source)


def _mathematics(match: re.Match[str]) -> str:
    inside = "".join(_token(token) for token in _TOKEN.findall(match.group()))
    return rf"\ensuremath{{{re.sub(r' (?=[_^]|$)', '', inside)}}}"


def _token(token: str) -> str:
    if token[-1] in ACCENTS:
        return rf"\{ACCENTS[token[-1]]}{{{SYMBOLS.get(token[0], token[0]).strip()}}}"
    if token[0] in RAISED:
        return f"^{{{''.join(RAISED[c] for c in token).strip()}}}"
    if token[0] in LOWERED:
        return f"_{{{''.join(LOWERED[c] for c in token)}}}"
    return SYMBOLS[token]
