"""Fits of one generalised response side by side: what Laplace's approximation leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from _ranef import comparison as cmp
from _ranef.errors import DesignError
from _ranef.support.argument_remedies import helpful
from _ranef.user.comparison_base import Compared
from _ranef.user.fits_alike import alike
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior

__all__ = ["GeneralisedComparison", "generalised_comparison"]

GeneralisedFits = GeneralisedFit | GeneralisedPosterior


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedComparison(Compared[GeneralisedFit, GeneralisedPosterior]):
    """Fits of one model of a generalised response, aligned, on the scale of the link.

    Made by :func:`ranef.compare`. It has what :class:`ranef.Comparison` has but for ``boundary``.

    Attributes
    ----------
    fits : mapping str to GeneralisedFit or GeneralisedPosterior
        By name, in the order of the columns; read-only.
    level : float
        Probability of the intervals.

    Examples
    --------
    >>> import ranef
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> model = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial")
    >>> both = ranef.compare(model.fit(), model.fit(nagq=9))
    >>> both.variance_components[["Laplace_estimate", "AGQ_estimate"]].round(3).to_numpy().tolist()
    [[0.642, 0.648]]
    """

    fits: Mapping[str, GeneralisedFits]
    level: float = 0.95

    _instead: ClassVar[Mapping[str, str]] = {
        "boundary": "A variance of zero is told by the warnings and the status of its fit.",
    }

    def _predicting(self, weights: Any, n: int) -> dict[str, Any]:
        return {}

    def _split(self, posterior: Any, draws: int | None) -> Sequence[cmp.VarianceSplit]:
        return cmp.split_linked(posterior.spec, posterior.draws, draws)


def generalised_comparison(fits: Mapping[str, Any], level: float) -> GeneralisedComparison:
    """Fits of one model side by side.

    Raises
    ------
    DesignError
        If some are not of a generalised response, or of another one, or of another model.
    """
    families = {getattr(fit.spec, "family", None) for fit in fits.values()}
    if len(families) > 1 or not all(isinstance(fit, GeneralisedFit | GeneralisedPosterior) for fit in fits.values()):
        words = ", ".join(f"{name}: {fit.spec.family.label}" for name, fit in fits.items())
        raise DesignError(f"The fits are of different responses and cannot stand side by side ({words}).")
    return GeneralisedComparison(alike(fits), level)
