"""Fits of one generalised response side by side: what Laplace's approximation leaves out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pandas as pd

from _ranef import comparison as cmp
from _ranef import plots, tables
from _ranef.errors import DesignError
from _ranef.support.interrupts import deferred
from _ranef.support.output import FIGURES, check_output, write_whole
from _ranef.support.remedies import file_path, helpful
from _ranef.user.fit_base import ByFields, Shown
from _ranef.user.generalised_fit import NONE_YET, GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.page import closed

__all__ = ["GeneralisedComparison", "generalised_comparison"]

GeneralisedFits = GeneralisedFit | GeneralisedPosterior


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedComparison(ByFields, Shown):
    """Fits of one model of a generalised response, aligned, on the scale of the link.

    Made by :func:`ranef.compare`.

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
        "report": f"{NONE_YET} print() shows the table, save_figure() writes the figure.",
        "plot": f"{NONE_YET} save_figure() writes random effects with the intervals of all fits.",
        "shrinkage": "What a level's rows say alone is infinite where they are all 0 or all 1: there is no ratio.",
        **dict.fromkeys(("decomposition", "decompose", "elpd", "equation", "parameters", "intervals"), NONE_YET),
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "fits", MappingProxyType(dict(self.fits)))

    @property
    def reference(self) -> str:
        """The fit that the others are measured against: the first posterior, else the first fit.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).reference
        'Laplace_1'
        """
        posteriors = (n for n, f in self.fits.items() if isinstance(f, GeneralisedPosterior))
        return next(posteriors, next(iter(self.fits)))

    @cached_property
    def frames(self) -> cmp.Aligned:
        """All wide frames.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).frames.fixed_effects.columns.tolist()[:3]
        ['term', 'Laplace_1_estimate', 'Laplace_1_sd']
        """
        return cmp.align(self.fits, self.level)  # type: ignore[arg-type]  # it asks for what these have

    @property
    def variance_components(self) -> pd.DataFrame:
        """Standard deviations and correlations: ``group, term``, and of each fit estimate, sd and interval.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).variance_components["term"].tolist()
        ['sd(Intercept)']
        """
        return self.frames.variance_components

    @property
    def fixed_effects(self) -> pd.DataFrame:
        """Coefficients: ``term``, and of each fit estimate, sd and interval.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).fixed_effects["term"].tolist()
        ['Intercept', 'YEAR[T.96]', 'YEAR[T.97]']
        """
        return self.frames.fixed_effects

    @property
    def random_effects(self) -> pd.DataFrame:
        """Every level: ``group, level, term, n``, and of each fit estimate, sd and interval.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).random_effects.shape[0]
        118
        """
        return self.frames.random_effects.drop(columns="no_pooling")

    def tidy(self) -> pd.DataFrame:
        """One row a number: ``fit, effect, group, level, term, estimate, sd, lower, upper, estimand``.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).tidy()["effect"].unique().tolist()
        ['variance', 'fixed', 'random']
        """
        return cmp.long_frame(self.fits, self.frames)  # type: ignore[arg-type]

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """Every parameter of every fit against :attr:`reference`, as :attr:`Comparison.agreement`.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> float(ranef.compare(fit, fit).agreement["difference"].abs().max())
        0.0
        """
        return cmp.agreement_frame(self.tidy(), self.reference)

    def table(self, max_levels: int = 10) -> tables.Document:
        """The side-by-side table, with at most `max_levels` levels of each factor and term.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> print(str(ranef.compare(fit, fit).table(2)).splitlines()[0])
        Estimates of one model, side by side
        """
        columns = []
        for name, fit in self.fits.items():
            heading = {"eb": fit.engine, "fb": "Posterior"}.get(name, name)
            columns.append(tables.FitColumns(name, heading, fit.engine, (), tuple(fit.warnings)))
        return tables.comparison_table(
            next(iter(self.fits.values())).spec.design.formula,
            self.frames,
            columns,
            self.level,
            max_levels=max_levels,
            agreement=tables.agreement_lines(self.agreement, columns),
            doubts=tables.doubt_lines(columns),
        )

    def save_figure(self, path: str | Path) -> Path:
        """Write random effects with the intervals of all fits to a file, in place of one of that name, whole or not.

        Examples
        --------
        >>> import pathlib, tempfile, ranef
        >>> data = ranef.datasets.load("cbpp")
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, data, family="binomial").fit()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ranef.compare(fit, fit).save_figure(pathlib.Path(folder) / "herds.png")
        """
        path = file_path(path)
        check_output(path, FIGURES)
        with deferred():  # drawing loads modules
            drawn = plots.ComparisonPlots(dict(self.fits), self.level).ranef()  # type: ignore[arg-type]
            figure, kind = closed(getattr(drawn, "figure", drawn)), path.suffix[1:].lower()
        return write_whole(path, lambda partial: figure.savefig(partial, format=kind, dpi=150, bbox_inches="tight"))

    def to_dict(self) -> dict[str, Any]:
        """Plain data of all frames, ready for JSON; missing numbers are None.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("grouseticks")
        >>> fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
        >>> ranef.compare(fit, fit).to_dict()["fits"]["Laplace_1"]["family"]
        'poisson'
        """
        first = next(iter(self.fits.values()))
        frames = {
            "variance_components": self.variance_components,
            "fixed_effects": self.fixed_effects,
            "random_effects": self.random_effects,
            "agreement": self.agreement,
        }
        described = {name: {"engine": fit.engine, "family": fit.spec.family.word} for name, fit in self.fits.items()}
        records = {name: frame.to_json(orient="records", double_precision=15) for name, frame in frames.items()}
        return {
            "formula": first.spec.design.formula,
            "level": self.level,
            "n_obs": first.spec.n_obs,
            "fits": described,
            **{name: json.loads(text) for name, text in records.items()},
        }

    def __repr__(self) -> str:
        return str(self.table())

    def _document(self) -> tables.Document:
        return self.table()


def generalised_comparison(fits: Mapping[str, Any], level: float) -> GeneralisedComparison:
    """Fits of one model side by side.

    Raises
    ------
    DesignError
        If some are not of a generalised response, or of another one; or if the model is written in several ways.
    """
    families = {getattr(fit.spec, "family", None) for fit in fits.values()}
    if len(families) > 1 or not all(isinstance(fit, GeneralisedFit | GeneralisedPosterior) for fit in fits.values()):
        words = ", ".join(f"{name}: {fit.spec.family.label}" for name, fit in fits.items())
        raise DesignError(f"The fits are of different responses and cannot stand side by side ({words}).")
    first = next(iter(fits))
    for name, found in cmp.require_same_model({name: fit.spec for name, fit in fits.items()}).items():
        if not found.alike:
            raise DesignError(
                f"{first!r} and {name!r} are fits of one model with its terms, levels or contrasts in another order, "
                "which is not put right for generalised responses. Make both fits from the same ranef.Model."
            )
    return GeneralisedComparison(fits, level)
