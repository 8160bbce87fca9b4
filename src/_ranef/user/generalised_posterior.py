"""Posteriors of generalised responses: what differs from those of Gaussian ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from _ranef import inference as inf
from _ranef import tables, user
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.remedies import generator, helpful, one_of
from _ranef.user.drawn import Drawn
from _ranef.user.fit_base import ByFields, RandomPart, Shown
from _ranef.user.generalised_fit import INSTEAD, NONE_YET

__all__ = ["GeneralisedPosterior"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedPosterior(Drawn, ByFields, Shown):
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
        **dict.fromkeys(("derive", "icc", "r2", "simulated_residuals", "residuals", "augment"), NONE_YET),
        "sigma": "Generalised responses have no residual standard deviation; draws.extras has their parameters.",
        "posterior": "It is the posterior; its draws are draws, or as a DataTree datatree.",
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", self.spec.with_family(self.draws.response))

    @property
    def ok(self) -> bool:
        """Whether there is nothing to warn about.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("cbpp")
        >>> model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
        >>> model.sample(draws=200, warmup=300, seed=1, progress=False).ok in (True, False)
        True
        """
        return not self.warnings

    def coef(self, group: str | None = None) -> pd.DataFrame:
        """Posterior means of fixed plus random effects of every level of `group` (needed only where there are several).

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("cbpp")
        >>> model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
        >>> model.sample(draws=200, warmup=300, seed=1, progress=False).coef().shape
        (15, 4)
        """
        return inf.coef_frame(self.spec, self._beta, self._modes, inf.only_group(self.spec, group))

    def fitted(self, re: RandomPart = "all") -> pd.Series[float]:
        """Posterior means of the means of the rows used: probabilities, or expected counts.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("cbpp")
        >>> model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
        >>> fitted = model.sample(draws=200, warmup=300, seed=1, progress=False).fitted()
        >>> bool(fitted.between(0, 1).all())
        True
        """
        out = self.predict(re=re)
        assert isinstance(out, pd.Series)
        return out.rename("fitted")

    def predict(
        self,
        data: Any = None,
        *,
        type: str = "response",
        re: RandomPart = "all",
        new_levels: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        seed: int | None = None,
        offset: Any = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the means of the rows used, or of new data: posterior means, of all draws.

        Parameters
        ----------
        data : frame, optional
            New data; it needs no response, nor trials.
        type : "response" or "link"
            Means (probabilities, expected counts), or the linear predictor.
        re : "all", "none" or list of str
            Which random effects to include. A mean with none is that of a typical level, not the mean over levels.
        new_levels : "population", "error" or "sample"
            For levels not in the data: effect zero, an error, or effects drawn with each draw: the mean over levels.
        interval : "confidence", optional
            The equal-tailed posterior interval of the mean.
        level : float
        seed : int, optional
            For ``new_levels="sample"``.
        offset : str, float or array, optional
            For new data, what stands for the model's ``offset=``.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``

        Raises
        ------
        NotAvailableError
            For ``interval="prediction"``: :meth:`posterior_predictive` has responses.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("cbpp")
        >>> model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
        >>> posterior = model.sample(draws=200, warmup=300, seed=1, progress=False)
        >>> posterior.predict({"period": ["1"], "herd": ["another"]}, interval="confidence").columns.tolist()
        ['estimate', 'lower', 'upper']
        """
        one_of("type", type, ("response", "link"))
        options = inf.PredictOptions(re, new_levels, interval, level, offset, None, None)
        rows, chosen = inf.rows_for(self.spec, data, options), inf.chosen_groupings(self.spec, re)
        asked = inf.RowsAsked(rows, chosen, options)
        found = inf.predict_mean_draws(self.spec, self.draws, asked, type, generator(seed))
        if interval is not None:
            return inf.prediction_frame(rows, found, None)
        return pd.Series(found.estimate, index=rows.index, name="prediction")

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

    def _document(self) -> tables.Document:
        return self.summary()

    def __repr__(self) -> str:
        chains, draws = self.draws.sigma.shape
        what = f"{self.draws.family} ({self.draws.link})"
        return f"<GeneralisedPosterior {self.spec.design.formula!r}: {what}, {chains} chains of {draws} draws>"
