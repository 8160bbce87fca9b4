"""LaTeX that MathJax, KaTeX and a LaTeX with amsmath and amssymb all read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from _ranef.equations.plain import PLAIN
from _ranef.equations.tree import Atom, Label, Line, Node, Of
from _ranef.equations.writing import Writer, four_digits
from _ranef.support.escaped_names import printable

__all__ = ["LATEX"]

_GREEK = {
    "α": r"\alpha",
    "β": r"\beta",
    "γ": r"\gamma",
    "δ": r"\delta",
    "∞": r"\infty",
    "ε": r"\varepsilon",
    "θ": r"\theta",
    "ω": r"\omega",
}
_GREEK |= {"λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "φ": r"\phi"}
_GREEK |= {
    "Λ": r"\Lambda",
    "Σ": r"\Sigma",
    "κ": r"\kappa",
    "η": r"\eta",
    "τ": r"\tau",
    "ŷ": r"\hat{y}",
    "ỹ": r"\tilde{y}",
}
_SIGNS = {"⊗": r"\otimes", "⊙": r"\odot", "~": r"\sim", "×": r"\times", "∈": r"\in", "≤": r"\le"}
_DOTS = {"…": r"\ldots", "⋯": r"\cdots", "⋮": r"\vdots", "⋱": r"\ddots"}

# a hyphen, colon or comma of a name must get neither the shape nor the spacing that mathematics gives it
_ESCAPES = {c: rf"\{c}" for c in "#$%&_{}"} | {c: f"{{{c}}}" for c in ".:,;=<>+*!?()[]/|"}
_ESCAPES |= {"\\": r"{\backslash}", "^": r"{\wedge}", "~": r"{\sim}", " ": r"\ "}
_ESCAPES |= {"-": r"\text{-}", "'": r"\text{'}", '"': r"\text{''}", "`": r"\text{`}"}

_FUNCTIONS = {f: rf"\{f}" for f in ("log", "exp", "sin", "cos", "tan")} | {"log2": r"\log_{2}", "log10": r"\log_{10}"}

#: characters of sentences that are commands in LaTeX's text, or mathematics
_TEXT = {c: rf"\{c}" for c in "&%$#_{}"}
_TEXT |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_MATHEMATICS = {c: t for c, t in (_GREEK | _SIGNS).items() if c != "~"}
_MATHEMATICS |= {"′": "'", "…": r"\ldots", "²": "^{2}", "−": "-", "⊤": r"\top"}
_ASCII = str.maketrans({"′": "'", "−": "-", "½": "1/2"})
_RUNS = rf"[{''.join(_MATHEMATICS)}]+|[^{''.join(_MATHEMATICS)}]+"


class _Latex(Writer):
    def plain_width(self, node: Node) -> int:
        return PLAIN.plain_width(node)

    def literal(self, text: str) -> str:
        return text

    def number(self, value: float, decimals: int = 0) -> str:
        mantissa, _, exponent = four_digits(value, decimals).partition("e")
        if mantissa.lstrip("-") in ("inf", "nan"):
            return mantissa.replace("inf", r"\infty").replace("nan", r"\mathrm{NaN}")
        return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa

    def symbol(self, letter: str, below: Sequence[Atom] = ()) -> str:
        base = _GREEK.get(letter, letter)
        return f"{base}_{{{self._indices(below)}}}" if below else base

    def _indices(self, below: Sequence[Atom]) -> str:
        atoms = [self._atom(a) for a in below]
        digits = all(len(a) == 1 and a.isdigit() for a in atoms)
        return ("" if digits else ",").join(atoms)

    def _atom(self, atom: Atom) -> str:
        match atom:
            case Label(text):
                return self.name(text)
            case Of(letter, row):
                return f"{letter}[{row.translate(_ASCII)}]"
        return str(atom).translate(_ASCII)

    def variable(self, name: str, at: Atom) -> str:
        return f"{self.name(name)}_{{{self._atom(at)}}}"

    def name(self, text: str) -> str:
        runs = re.findall(r"[ -~]+|[^ -~]+", printable(text))
        return rf"\mathrm{{{''.join(map(_latex_run, runs))}}}"

    def words(self, text: str) -> str:
        return "".join(map(_latex_words, re.findall(_RUNS, printable(text))))

    def joined(self, parts: Sequence[tuple[str, str]], *, leading: bool = False) -> str:
        return PLAIN.joined(parts, leading=leading)

    def product(self, parts: Sequence[str], dotted: bool) -> str:
        return (r" \cdot " if dotted else r" \, ").join(parts)

    def times(self, parts: Sequence[str]) -> str:
        return r" \, ".join(parts) if any("begin" in p for p in parts) else " ".join(parts)

    def quotient(self, above: str, below: str) -> str:
        return f"{above} / {below}"

    def between(self, sign: str, parts: Sequence[str]) -> str:
        return f" {_SIGNS.get(sign, sign)} ".join(parts)

    def raised_to(self, base: str, exponent: str) -> str:
        mark = r"\top" if exponent == "⊤" else exponent
        return f"{base}^{{{mark}}}"

    def bracketed(self, text: str) -> str:
        return rf"\left({text}\right)" if "begin" in text else f"({text})"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        inside = ", ".join(arguments)
        if function == "sqrt":
            return rf"\sqrt{{{inside}}}"
        head = _FUNCTIONS.get(function, rf"\operatorname{{{function}}}")
        return rf"{head}\left({inside}\right)" if function not in _FUNCTIONS else f"{head}({inside})"

    def absolute(self, text: str) -> str:
        return rf"\lvert {text} \rvert"

    def indicator(self, condition: str) -> str:
        return rf"\mathbf{{1}}[{condition}]"

    def law(self, name: str, arguments: Sequence[str]) -> str:
        head = r"\mathcal{N}" if name == "N" else rf"\operatorname{{{name}}}"
        inside = r",\ ".join(arguments)
        return rf"{head}\left({inside}\right)"

    def phrase(self, parts: Sequence[str]) -> str:
        return "".join(parts)

    def dots(self, kind: str) -> str:
        return _DOTS[kind]

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        body = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"

    def listed(self, entries: Sequence[str]) -> str:
        return f"({', '.join(entries)})"

    def page(self, lines: Sequence[Line]) -> str:
        body = " \\\\\n".join(map(self._line, lines))
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def _line(self, line: Line) -> str:
        return self.aligned(line, _SIGNS, at="&", gap=r"\quad", newline=" \\\\\n")


def _latex_run(run: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in run) if run.isascii() else rf"\text{{{run}}}"


def _latex_words(run: str) -> str:
    """Words in text, signs and Greek letters among them in mathematics."""
    if run[0] in _MATHEMATICS:
        return "".join(f"{{{_MATHEMATICS[c]}}}" for c in run)
    return rf"\text{{{''.join(_TEXT.get(c, c) for c in run)}}}"


LATEX: Writer = _Latex()
