"""Posteriors of generalised responses: what differs from those of Gaussian ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from _ranef import equations, user
from _ranef import inference as inf
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.user.fit_base import RandomPart
from _ranef.user.generalised_base import Linked
from _ranef.user.generalised_fit import INSTEAD
from _ranef.user.posterior_base import Drawn

__all__ = ["GeneralisedPosterior"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedPosterior(Drawn, Linked):
    """A posterior of a binomial, Poisson or other generalised response, sampled by NUTS with β and b or drawn directly.

    Made by :meth:`ranef.Model.sample` of a model with ``family=``. Random effects stand on the scale of the link.
    Nothing is approximated, where :class:`ranef.GeneralisedFit` has conditional modes and Laplace's approximation.

    Attributes
    ----------
    spec : ModelSpec
        The model.
    draws : PosteriorDraws
        The engine's record; its ``sigma`` is 1, and ``extras`` hold parameters of the response besides its mean.

    Examples
    --------
    >>> import ranef
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> model = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial")
    >>> posterior = model.sample(draws=200, warmup=300, seed=1, progress=False)
    >>> posterior.varcorr["group"].tolist()
    ['herd']
    """

    spec: ModelSpec
    draws: PosteriorDraws

    _instead: ClassVar[Mapping[str, str]] = {
        **INSTEAD,
        "sigma": "Generalised responses have no residual standard deviation; draws.extras has their parameters.",
        "posterior": "It is the posterior; its draws are draws, or as a DataTree datatree.",
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", self.spec.with_family(self.draws.response))

    def _means(self, asked: inf.RowsAsked, scale: str, rng: np.random.Generator) -> inf.Predicted:
        return inf.predict_mean_draws(self.spec, self.draws, asked, scale, rng)

    def _residuals(self, kind: str, re: RandomPart) -> Floats:
        return inf.posterior_residuals(self.spec, self.draws, kind, re)

    @property
    def matrices(self) -> user.Matrices:
        """Named y, X, Z and, per term, J, Xᵢ, Zᵢ; of a binomial response y are proportions.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("cbpp")
        >>> model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
        >>> model.sample(draws=200, warmup=300, seed=1, progress=False).matrices.X.shape
        (56, 4)
        """
        return user.Matrices(self.spec)

    @property
    def _more_numbers(self) -> dict[equations.Key, float]:
        return {("dispersion", name): float(np.mean(drawn)) for name, drawn in self.draws.extras.items()}

    def __repr__(self) -> str:
        what = f"{self.draws.family} ({self.draws.link})"
        return f"<GeneralisedPosterior {self.spec.design.formula!r}: {what}, {self._run}{self._mark}>"
