"""Families of responses by the words that users, files and other packages have for them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from _ranef.errors import FitError
from _ranef.spec.count_responses import NegativeBinomial, NegativeBinomial1, Poisson
from _ranef.spec.generalised_response import Generalised
from _ranef.spec.measured_responses import Gamma, InverseGaussian
from _ranef.spec.measured_responses import Gaussian as LinkedGaussian
from _ranef.spec.measured_responses import Student as LinkedStudent
from _ranef.spec.ordinal_responses import Ordinal
from _ranef.spec.response import Family, Gaussian
from _ranef.spec.share_responses import Beta, Binomial
from _ranef.support.argument_remedies import one_of

__all__ = ["GENERALISED", "response_family"]

#: by the words that users have for them; a normal response without a link of its own is none of these
GENERALISED: Mapping[str, type[Generalised]] = {
    kind.word: kind
    for kind in (
        Binomial,
        Poisson,
        NegativeBinomial,
        NegativeBinomial1,
        Gamma,
        InverseGaussian,
        Beta,
        LinkedGaussian,
        LinkedStudent,
        Ordinal,
    )
}

#: what other packages call them
ALIASES = {
    "nbinom2": "negative binomial",
    "nb2": "negative binomial",
    "negativebinomial": "negative binomial",
    "negbinomial": "negative binomial",
    "nbinom1": "negative binomial 1",
    "nb1": "negative binomial 1",
    "bernoulli": "binomial",
    "inverse.gaussian": "inverse gaussian",
    "inverse_gaussian": "inverse gaussian",
    "wald": "inverse gaussian",
    "beta_family": "beta",
    "student": "t",
    "student_t": "t",
    "t_family": "t",
    "normal": "gaussian",
    "cumulative": "ordinal",
    "ordered": "ordinal",
}


#: parts of names of responses that there are not, and what is nearest
ELSEWHERE = {
    "zero zip zinb hurdle": "Zero-inflated and hurdle models are for glmmTMB or brms.",
    "quasi": "Counts of a larger variance are 'negative binomial 1' (a multiple of μ) or 'negative binomial', and "
    "proportions have an effect of every row, (1 | row).",
    "trunc cens": "Truncated and censored responses are for glmmTMB or brms.",
    "multinom categorical nominal": "Classes without an order are for brms; those with one are 'ordinal'.",
    "tweedie compois genpois": "It is for glmmTMB.",
}


def _refuse_elsewhere(word: str) -> None:
    for parts, instead in ELSEWHERE.items():
        if any(part in word.lower() for part in parts.split()):
            raise FitError(f"family={word!r} is not available. {instead}")
    near = get_close_matches(word, [*ALIASES, *GENERALISED], 1)
    if near and near[0] in ALIASES:
        raise FitError(f"family={word!r} is none. Did you mean {ALIASES[near[0]]!r} (also called {near[0]!r})?")


def response_family(family: Any, link: Any = None, classes: tuple[str, ...] = ()) -> Family:
    """The distribution of a model's response by its word and link (and classes, of one that is fitted), or one itself.

    Raises
    ------
    FitError
        If there is no such family, or it has no such link.
    """
    if isinstance(family, type) and issubclass(family, Generalised):
        raise FitError(f"family={family.__name__} is a class; call it: ranef.families.{family.__name__}().")
    if isinstance(family, Generalised):
        if link not in (None, family.link):
            raise FitError(f"family={family!r} has its link already; leave link={link!r} out.")
        return family
    if isinstance(family, Gaussian):
        family = family.word
    word = ALIASES.get(family.lower(), family.lower()) if isinstance(family, str) else family
    if isinstance(word, str) and word not in GENERALISED:
        _refuse_elsewhere(word)
    one_of("family", word, list(GENERALISED), FitError, but="one of ranef.families")
    if word == "gaussian" and link in (None, "identity"):
        return Gaussian()
    if classes:
        return Ordinal(link, classes)
    return GENERALISED[word]() if link is None else GENERALISED[word](link)  # type: ignore[call-arg]
