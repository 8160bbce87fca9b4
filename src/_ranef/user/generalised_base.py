"""What fits of generalised responses by either engine answer: means behind a link, of rows used or new."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef.errors import DesignError
from _ranef.results import Fit
from _ranef.spec import Generalised
from _ranef.support.argument_remedies import generator, helpful, one_of, whole_number
from _ranef.support.arrays import Floats
from _ranef.user.fit_base import Answers, RandomPart

__all__ = ["Linked"]


@helpful
class Linked(Answers):
    """A fit whose random effects stand on the scale of a link."""

    @abstractmethod
    def _means(self, asked: inf.RowsAsked, scale: str, rng: np.random.Generator) -> inf.Predicted:
        """Means of rows, or their linear predictors, with intervals where they are asked for."""

    @abstractmethod
    def _residuals(self, kind: str, re: RandomPart) -> Floats:
        """Residuals (n,) of the rows used."""

    @property
    def _classes(self) -> tuple[str, ...]:
        """Of an ordinal response."""
        return self.spec.family.classes if isinstance(self.spec.family, Generalised) else ()

    def fitted(self, re: RandomPart = "all") -> Any:
        """Means of the rows used: probabilities, or expected counts; with all random effects, none, or some groups'.

        Of an ordinal response they are a frame with a column for each class.

        Of a posterior they are means over its draws.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.fitted().round(3).head(2).tolist()
        [0.308, 0.142]
        """
        out = self.predict(re=re)
        return out.rename("fitted") if isinstance(out, pd.Series) else out

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
        weights: Any = None,
        uncertainty: str | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the means of the rows used, or of new data.

        Parameters
        ----------
        data : frame, optional
            New data; it needs no response, nor trials.
        type : "response" or "link"
            Means (probabilities, expected counts), or the linear predictor.
        re : "all", "none" or list of str
            Which random effects to include. A mean with none is that of a typical level, not the mean over levels.
        new_levels : "population", "error" or "sample"
            For levels not in the data: effect zero, an error, or a draw from N(0, Σ̂); of a posterior one with each
            draw, so that its mean is that over levels.
        interval : "confidence" or "prediction", optional
            Of the mean, given the random effects included; made on the scale of the link, of a posterior equal-tailed.
            Or of a new response, by draws: equal-tailed, its ends being values that a response can have, so that it
            holds more than `level` where they are few. Effects of unseen levels add to it. Of an ordinal response it
            is one of classes, and the estimate the median class.
        level : float
        seed : int, optional
            For ``new_levels="sample"``, and prediction intervals.
        offset : str, float or array, optional
            For new data, what stands for the model's ``offset=``.
        weights : number, str or array, optional
            Of new data, for ``interval="prediction"``: trials of a binomial response, of which it is the proportion;
            by default the column that the model's weights are named by.
        uncertainty : "plugin", "fixef" or "corrected", optional
            What the interval of a maximum counts: the random effects, and coefficients (the default), or all
            parameters by the delta method. The frame then has a column of the standard deviation, on the scale asked
            for.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``; of an ordinal response a column for each class, or with an
        interval ``class, estimate, lower, upper`` with a row for each class

        Raises
        ------
        DesignError
            For a prediction interval on the scale of the link, or of rows whose trials nothing tells.
        NotAvailableError
            For another uncertainty.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> new = {"period": ["1", "4"], "herd": ["1", "another"]}
        >>> fit.predict(new).round(3).tolist()
        [0.308, 0.048]
        >>> fit.predict(new, type="link", re="none", interval="confidence").round(2).to_numpy().tolist()
        [[-1.4, -1.85, -0.95], [-2.98, -3.83, -2.13]]
        >>> fit.predict(new, interval="prediction", weights=10, seed=1)[["lower", "upper"]].to_numpy().tolist()
        [[0.0, 0.7], [0.0, 0.3]]
        """
        one_of("type", type, ("response", "link"))
        classes = self._classes
        options = inf.PredictOptions(re, new_levels, interval, level, offset, weights, uncertainty)
        if options.new_response and type == "link":
            raise DesignError("interval='prediction' is of responses, which have no link: leave type='link' out.")
        rows, chosen = inf.rows_for(self.spec, data, options), inf.chosen_groupings(self.spec, re)
        found = self._means(inf.RowsAsked(rows, chosen, options), type, generator(seed))
        if interval is not None:
            return inf.prediction_frame(rows, found, uncertainty, classes if type == "response" else ())
        if found.estimate.ndim == 2:
            return pd.DataFrame(found.estimate, index=rows.index, columns=list(classes))
        return pd.Series(found.estimate, index=rows.index, name="prediction")

    def residuals(self, kind: str = "deviance", re: RandomPart = "all") -> pd.Series[float]:
        """Residuals: ``deviance``, ``pearson``, ``response`` (of a binomial response of proportions) or ``working``.

        Of a posterior they are means over its draws, each of which has residuals from its own parameters.

        Examples
        --------
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> fit.residuals("pearson").round(3).head(2).tolist()
        [-1.34, 1.075]
        """
        return pd.Series(self._residuals(kind, re), index=self.spec.design.index, name="residual")

    def augment(self) -> pd.DataFrame:
        """The rows used with response, levels, ``fitted``, ``fixed`` (no random effects) and response ``residual``.

        Of an ordinal response ``fitted[class]`` and ``fixed[class]`` are probabilities, and the residual is the place
        of the class less its mean.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> fit.augment().columns.tolist()
        ['TICKS', 'BROOD', 'fitted', 'fixed', 'residual']
        """
        fitted, fixed = self.fitted(), self.fitted("none")
        classes = self._classes
        if classes:
            return inf.augment_classes(self.spec, classes, fitted, fixed, self.residuals("response"))
        return inf.augment_frame(self.spec, fitted.to_numpy(), fixed.to_numpy())

    def simulated_residuals(self, n: int = 250, *, re: str = "new", seed: int | None = None) -> inf.SimulatedResiduals:
        """Where each response lies among those simulated by the fit, and tests of uniformity, dispersion and outliers.

        As :meth:`ranef.EmpiricalBayesFit.simulated_residuals`; ties, of which counts have many, are broken at random
        (Dunn & Smyth 1996, J. Comput. Graph. Stat. 5, 236-244).

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> bool(fit.simulated_residuals(seed=1, re="fitted").tests.loc["dispersion", "p"] < 0.01)
        True
        """
        simulated = cast(Fit, self).simulate(whole_number("n", n), re=re, seed=seed)
        return inf.untied_residuals(self.spec, simulated, generator(seed))
