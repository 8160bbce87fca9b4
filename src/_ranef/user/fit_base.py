"""What users hold, and what both kinds of fit answer alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, TypeVar, cast, overload

import numpy as np
import pandas as pd

from _ranef import inference as inf
from _ranef import saved, tables
from _ranef.errors import NotAvailableError, RanefWarning, warn
from _ranef.results import Fit, marked
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import Answering, generator, helpful, whole_number
from _ranef.support.arrays import Floats
from _ranef.user.fit_descriptions import Described

__all__ = ["Answers", "BaseFit", "ByFields", "RandomPart", "Shown", "Simulated", "told"]

RandomPart: TypeAlias = str | Sequence[str]

#: responses by columns
Simulated: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float64]]


class Telling(Protocol):
    """What has something to say when it is made."""

    def _told(self) -> Iterator[tuple[str, type[RanefWarning]]]: ...


AnyFit = TypeVar("AnyFit", bound=Telling)


class ByFields:
    """A dataclass that is copied and pickled by its fields: what it has worked out meanwhile stays behind."""

    def __reduce__(self) -> tuple[type[Any], tuple[Any, ...]]:
        held = (getattr(self, f.name) for f in fields(self) if f.init)  # type: ignore[arg-type]
        return type(self), tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in held)


@helpful
class Shown(Answering):
    """What prints as a document, renders in notebooks as one, and is saved whole."""

    @abstractmethod
    def _document(self) -> tables.Document: ...

    def _stored(self) -> Any:
        """What a file holds of it."""
        return self

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write this with its model to one file, which :func:`ranef.load` reads.

        The file is a zip of JSON and of arrays, without pickle. Loaded, it answers all that it does now, bit for bit
        and without the data frame; ``ranef.Model.of(...)`` is its model again.
        Functions given as ``transforms=`` are not in it (give them to :func:`ranef.load`), nor rows read in chunks.

        Parameters
        ----------
        path : str or Path
            As ``"fit.ranef"``; any ending will do.
        overwrite : bool
            Whether an existing file is replaced; it is, or stays, whole.

        Returns
        -------
        Path

        Raises
        ------
        DesignError
            If the file exists and `overwrite` is false, or it cannot be written.

        Examples
        --------
        >>> import tempfile, pathlib, ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.fit("ML"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = ranef.load(both.save(pathlib.Path(folder) / "both.ranef"))
        >>> again.eb.criterion == both.eb.criterion
        True
        """
        return saved.save(self._stored(), path, overwrite=overwrite)

    def __str__(self) -> str:
        return str(self._document())

    def _repr_html_(self) -> str:
        return self._document()._repr_html_()


@helpful
class Answers(Described, ByFields, Shown):
    """What fits by either engine, of all responses, answer from β and b as they have them: estimates, or means."""

    spec: ModelSpec

    @property
    @abstractmethod
    def engine(self) -> str:
        """What made the fit."""

    @property
    @abstractmethod
    def fixef(self) -> pd.Series[float]:
        """Fixed effects by coefficient name."""

    @property
    @abstractmethod
    def varcorr(self) -> pd.DataFrame:
        """Variance components."""

    @property
    @abstractmethod
    def warnings(self) -> list[str]:
        """Sentences on why the fit should not be trusted."""

    @abstractmethod
    def _told(self) -> Iterator[tuple[str, type[RanefWarning]]]:
        """What is said when the fit is made."""

    @abstractmethod
    def _whole_tidy(self) -> pd.DataFrame:
        """``tidy()`` with the standard errors of variance components, and p-values of coefficients where tested."""

    @abstractmethod
    def summary(self) -> tables.Document:
        """The printed fit."""

    def _document(self) -> tables.Document:
        return self.summary()

    @property
    def ok(self) -> bool:
        """Whether there is nothing to warn about.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.ok
        True
        """
        return not self.warnings

    @property
    def _mark(self) -> str:
        """What is said in one line."""
        return "" if self.ok else ", not to be trusted"

    def coef(self, group: str | None = None) -> pd.DataFrame:
        """Fixed plus random effects of every level of `group` (needed only where there are several).

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.coef().round(1).loc["308"].to_dict()
        {'Intercept': 253.7, 'Days': 19.7}
        """
        return inf.coef_frame(self.spec, self._beta, self._modes, inf.only_group(self.spec, group))

    def to_marginaleffects(self, data: Any, *, type: str = "response") -> Any:
        """The fit as the package marginaleffects takes models, for its predictions, comparisons, slopes and hypotheses.

        They are of the population: random effects are zero, as in ``predict(re="none")``. Standard errors are by the
        delta method, through the link, from :attr:`vcov`; of a posterior this is its covariance, and estimates are at
        its mean. :func:`ranef.emmeans` has degrees of freedom, and intervals of draws.

        Parameters
        ----------
        data : frame or mapping
            Rows over which is averaged, as those that the model was made of. Rows that lack something are left out.
        type : "response" or "link"
            Of a generalised response: means, of an ordinal one the probabilities of its classes, with thresholds that
            are estimated; or linear predictors.

        Returns
        -------
        marginaleffects.classes.ModelAbstract
            The first argument of ``marginaleffects.avg_slopes`` and others, which take ``vcov="CR2"`` besides for the
            cluster-robust covariance of a REML or ML fit.

        Raises
        ------
        NotAvailableError
            If marginaleffects is not installed: ``pip install 'ranef[marginaleffects]'``.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("sleepstudy")
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> import marginaleffects as me  # doctest: +SKIP
        >>> me.avg_slopes(fit.to_marginaleffects(data))["std_error"].round(3).to_list()  # doctest: +SKIP
        [1.546]
        """
        return inf.marginal_effects_model(cast(Fit, self), data, type)

    @cached_property
    def _regression(self) -> tables.Regression:
        counts = {g.name: g.n_levels for g in self.spec.groupings}
        fit, shares = cast(Fit, self), pd.Series(dtype=float)
        if hasattr(self, "r2"):
            with suppress(NotAvailableError):  # of a link on whose scale rows have no variance
                shares = fit.r2()
        return tables.regression_column(self._whole_tidy(), fit.glance(), shares, counts)

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        return self._regression.coefficients

    @property
    def __maketables_depvar__(self) -> str:
        return self.spec.design.response

    def __maketables_stat__(self, key: str) -> object:
        return self._regression.statistics.get(key)

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        return self._regression.labels

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        return self._regression.shown


@helpful
class BaseFit(Answers):
    """What fits of Gaussian responses by either engine answer, from Σ and σ besides."""

    @property
    @abstractmethod
    def sigma(self) -> float:
        """Residual standard deviation."""

    @abstractmethod
    def _one_covariance(self, rng: np.random.Generator) -> tuple[Floats, ...]:
        """Σ (p, p) by grouping, of which effects of new levels are drawn."""

    @abstractmethod
    def _predicted(
        self, rows: inf.Rows, chosen: Sequence[int], options: inf.PredictOptions, rng: np.random.Generator
    ) -> inf.Predicted:
        """Estimates of rows with the ends of their intervals."""

    def fitted(self, re: RandomPart = "all") -> pd.Series[float]:
        """Fitted values: with all random effects, with none, or with those of the groups listed.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.fitted().round(1).head(2).tolist(), fit.fitted(re="none").round(1).head(2).tolist()
        ([253.7, 273.3], [251.4, 261.9])
        """
        return inf.row_series(self.spec, lambda rows: self._fitted(re, rows), "fitted")

    def residuals(self, kind: str = "response", re: RandomPart = "all") -> pd.Series[float]:
        """Residuals: ``response``, ``pearson`` (divided by their standard deviation) or ``normalized``.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.residuals("pearson").round(2).head(3).tolist()
        [-0.16, -0.57, -1.65]
        """
        return inf.row_series(
            self.spec, lambda rows: inf.residual_rows(rows, self._fitted(re, rows), self.sigma, kind), "residual"
        )

    def simulated_residuals(self, n: int = 250, *, re: str = "new", seed: int | None = None) -> inf.SimulatedResiduals:
        """Where each response lies among those simulated by the fit, and tests of uniformity, dispersion and outliers.

        As R's DHARMa, with p-values from the simulated data sets themselves, so that rows of one group may depend on
        each other. At estimates from the same data these are a little large. Of a posterior every data set has
        parameters of its own, and the tests are posterior predictive ones.

        Parameters
        ----------
        n : int
            Simulated data sets, 50 at least.
        re : "new", "fitted"
            Random effects are drawn anew, or kept; as in ``simulate``.
        seed : int, optional

        Returns
        -------
        SimulatedResiduals
            ``.residuals`` (n_obs,), uniform on (0, 1) where the model holds, and ``.tests``, with ``statistic,
            expected, p``.

        Raises
        ------
        DesignError
            For fewer than 50 data sets.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> found = fit.simulated_residuals(seed=1)
        >>> found.tests.index.tolist(), bool(found.residuals.between(0, 1).all())
        (['uniformity', 'dispersion', 'outliers'], True)
        """
        y = inf.row_series(self.spec, lambda rows: rows.design.y, "response")
        found = inf.simulated_residuals(y, cast(Fit, self).simulate(whole_number("n", n), re=re, seed=seed))
        return marked(found, [self])

    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
        uncertainty: str | None = ...,
        n: int = ...,
    ) -> pd.Series[float]: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: str,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
        uncertainty: str | None = ...,
        n: int = ...,
    ) -> pd.DataFrame: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = ...,
        new_levels: str = ...,
        interval: str | None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
        uncertainty: str | None = ...,
        n: int = ...,
    ) -> pd.Series[float] | pd.DataFrame: ...
    def predict(
        self,
        data: Any = None,
        *,
        re: RandomPart = "all",
        new_levels: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        seed: int | None = None,
        offset: Any = None,
        weights: Any = None,
        uncertainty: str | None = None,
        n: int = 400,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the rows used, or new data.

        Parameters
        ----------
        data : frame, optional
            New data; it needs no response.
        re : "all", "none" or list of str
            Which random effects to include.
        new_levels : "population", "error" or "sample"
            For levels not in the data (a missing one counts as such): effect zero, an error, or a draw from N(0, Σ̂).
        interval : "confidence" or "prediction", optional
            For the mean given the random effects included, or for a new response, to which residuals add σ²/w.
            Estimates are then population values for unseen levels; they add zᵀΣz to prediction intervals, and with
            ``new_levels="sample"`` to both kinds.
        level : float
        seed : int, optional
            For ``new_levels="sample"``, and a bootstrap.
        offset : str, float or array, optional
            For new data, what stands for the model's ``offset=``: needed where that was an array. A column that it
            named is found in the new data.
        weights : number, str or array, optional
            Prior weights of the new responses, for ``interval="prediction"``: their residual variance is σ̂²/w. By
            default those of the rows used, or of new data the column that the model's weights are named by. Without
            one the interval is for rows of the mean residual variance of the rows used.
        uncertainty : str, optional
            What the interval counts as uncertain; the frame then has a column of its standard deviation.

            ============  ======================  =================================================================
            uncertainty   column                  counts
            ============  ======================  =================================================================
            "plugin"      sd_given_theta_fixef    the random effects; θ and β are taken as known
            "fixef"       sd_given_theta          and β: the default of fits by REML or ML
            "corrected"   sd_corrected            and θ̂, by the delta method (Prasad & Rao 1990), with
                                                  Satterthwaite's degrees of freedom; a variance of zero stays so
            "bootstrap"   sd_bootstrap            and θ̂, by refits of simulated responses (Laird & Louis 1987) that
                                                  are kept off the boundary; holds with few groups
            "posterior"   sd                      everything: the default of posteriors
            ============  ======================  =================================================================

            A posterior has the first two as means over its draws of θ; the next two are of estimates.
        n : int
            Replicates of a bootstrap, or draws of θ.

        Returns
        -------
        Series, or DataFrame ``estimate, lower, upper``
            Rows with missing predictors are NaN.

        Warns
        -----
        RanefWarning
            If predictors are missing, or for prediction intervals of new data whose weights nothing tells.

        Raises
        ------
        DesignError
            If the new data lack a column, or hold a level of a predictor that is not known; if an offset is needed; if
            a weight is not positive; if an uncertainty is not of this kind of fit.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> new = {"operator": ["a", "somebody else"]}
        >>> fit.predict(new, interval="prediction").round(1).to_numpy().tolist()
        [[60.3, 59.6, 61.0], [60.4, 59.5, 61.3]]
        >>> fit.predict(new, interval="prediction", uncertainty="corrected").round(1)["lower"].tolist()
        [59.5, 59.4]
        """
        options = inf.PredictOptions(re, new_levels, interval, level, offset, weights, uncertainty, n)
        rows, chosen = inf.rows_for(self.spec, data, options), inf.chosen_groupings(self.spec, re)
        rng = generator(seed)
        if interval is not None:
            return inf.prediction_frame(rows, self._predicted(rows, chosen, options, rng), uncertainty)
        effects = inf.effects_for(rows, self._modes, self._one_covariance(rng), options, rng)
        estimate = inf.linear_predictor(rows, self._beta, effects, chosen)
        return pd.Series(estimate, index=rows.index, name="prediction")

    def augment(self) -> pd.DataFrame:
        """The rows used with response, levels, ``fitted``, ``fixed`` (no random effects) and ``residual``.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.augment().round(1).head(2)
           Reaction Subject  fitted  fixed  residual
        0     249.6     308   253.7  251.4      -4.1
        1     258.7     308   273.3  261.9     -14.6
        """
        parts = self.spec.parts()
        return pd.concat([inf.augment_frame(p, self._fitted("all", p), self._fitted("none", p)) for p in parts])

    def _fitted(self, re: RandomPart, rows: ModelSpec | None = None) -> Floats:
        return inf.fitted_values(self.spec if rows is None else rows, self._beta, self._modes, re)


def told(fit: AnyFit) -> AnyFit:
    """The same, after a warning where it should not be trusted, or is singular."""
    for words, kind in fit._told():
        warn(words, kind)
    return fit
