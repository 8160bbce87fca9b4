"""Whether two specs are one model of the same data, and what fits of it are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from _ranef.comparison.same_model import Correspondence, correspondence, same_as_itself
from _ranef.errors import DesignError
from _ranef.spec import ModelSpec

__all__ = ["check_names", "default_names", "difference", "formula_names", "require_same_model"]

#: what fits of each engine are called where there is one of either kind
PAIR = {"REML": "eb", "ML": "eb", "Laplace": "eb", "AGQ": "eb", "NUTS": "fb", "direct": "fb"}


def difference(first: ModelSpec, second: ModelSpec) -> str | None:
    """Why two specs are not the same model of the same data: a sentence, its likely cause and a next step; or None.

    See :func:`correspondence`, which finds what is the same in other words.
    """
    found = correspondence(first, second)
    return found if isinstance(found, str) else None


def require_same_model(specs: Mapping[str, ModelSpec]) -> dict[str, Correspondence]:
    """How each spec is the first one.

    Raises
    ------
    DesignError
        If one is of another model or of other data, with the reason.
    """
    (name, first), *others = specs.items()
    out = {name: same_as_itself(first)}
    for other, spec in others:
        found = correspondence(first, spec)
        if isinstance(found, str):
            raise DesignError(f"{name!r} and {other!r} cannot stand side by side. {found}")
        out[other] = found
    return out


def default_names(engines: Sequence[str]) -> tuple[str, ...]:
    """Names of fits by their engines: ``eb`` and ``fb`` for one of each kind, else the engines, numbered if repeated.

    Examples
    --------
    >>> from _ranef.comparison import default_names
    >>> default_names(["NUTS", "REML"])
    ('fb', 'eb')
    >>> default_names(["REML", "NUTS", "NUTS"])
    ('REML', 'NUTS_1', 'NUTS_2')
    """
    if len(engines) == 2 and len({PAIR[e] for e in engines}) == 2:
        return tuple(PAIR[e] for e in engines)
    counts, seen = Counter(engines), Counter[str]()
    out = []
    for engine in engines:
        seen[engine] += 1
        out.append(engine if counts[engine] == 1 else f"{engine}_{seen[engine]}")
    return tuple(out)


def formula_names(specs: Sequence[ModelSpec]) -> list[str]:
    """Names of models by their formulas and residual structures, with their number where one occurs twice."""
    names = [", ".join([spec.design.formula, *spec.residual.calls]) for spec in specs]
    return [name if names.count(name) == 1 else f"{name} [{i}]" for i, name in enumerate(names, 1)]


def check_names(names: Sequence[object]) -> None:
    """Refuse names of fits that could not head columns.

    Raises
    ------
    DesignError
        If a name is no text, or empty.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DesignError(
                f"The fits of a mapping are named by its keys, and {name!r} is not a name: it must be a string that is "
                "not empty, as in compare({'default priors': fb, 'wide priors': wide})."
            )
