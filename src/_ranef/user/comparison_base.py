"""What fits of one model side by side answer, whatever their response."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import pandas as pd

from _ranef import comparison as cmp
from _ranef.equations import Asked, Chosen, Equation, model_equation
from _ranef.errors import DesignError, suggestion
from _ranef.plots import ComparisonPlots
from _ranef.report import page_html
from _ranef.spec import Generalised
from _ranef.support.argument_remedies import file_path, helpful
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import deferred
from _ranef.support.output import FIGURES, PAGES, check_output, write_whole
from _ranef.support.progress import LateBar
from _ranef.tables import Document, FitColumns, agreement_lines, comparison_table, doubt_lines
from _ranef.user.fit_base import ByFields, Shown
from _ranef.user.page import Source, closed, page_of
from _ranef.user.posterior_base import Drawn

__all__ = ["Compared"]

Estimate = TypeVar("Estimate")
Posterior = TypeVar("Posterior")

#: priors of one posterior that are listed under the table
LISTED_PRIORS = 4


@helpful
class Compared(ByFields, Shown, Generic[Estimate, Posterior]):
    """Frames, table, figures, equations and page of fits of one model, by name."""

    fits: Mapping[str, Any]
    level: float

    #: methods of intervals where none is asked for
    _usual: ClassVar[Sequence[str]] = ("profile",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fits", MappingProxyType(dict(self.fits)))

    @property
    def _variance_errors(self) -> Mapping[str, Floats]:
        """Standard errors of the variance components of fits that have them."""
        return {}

    def _predicting(self, weights: Any, n: int) -> dict[str, Any]:
        """Arguments of predict() that fits of this response take."""
        return {"weights": weights, "n": n}

    @abstractmethod
    def _split(self, posterior: Any, draws: int | None) -> Sequence[cmp.VarianceSplit]:
        """The posterior variance of random effects, by grouping."""

    def _decomposed(self, columns: Sequence[FitColumns]) -> list[str]:
        """What the table says of the decomposition, where it is at hand."""
        return []

    @property
    def _at_boundary(self) -> Sequence[str]:
        """What the table says of fits on the boundary."""
        return ()

    @property
    def _further(self) -> Mapping[str, pd.DataFrame]:
        """Frames of :meth:`to_dict` besides those that all comparisons have."""
        return {}

    @property
    def eb(self) -> Estimate:
        """The first fit that is not a posterior.

        Raises
        ------
        DesignError
            If there is none.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.eb.engine
        'REML'
        """
        return cast(Estimate, self._named(False, None))

    @property
    def fb(self) -> Posterior:
        """The first posterior.

        Raises
        ------
        DesignError
            If there is none.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.fb.engine
        'NUTS'
        """
        return cast(Posterior, self._named(True, None))

    @property
    def reference(self) -> str:
        """The fit that the others are measured against: the first posterior, else the first fit.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.reference
        'fb'
        """
        return next((n for n, f in self.fits.items() if isinstance(f, Drawn)), next(iter(self.fits)))

    @cached_property
    def frames(self) -> cmp.Aligned:
        """All wide frames.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.frames.random_effects.columns.tolist()[:5]
        ['group', 'level', 'term', 'n', 'no_pooling']
        """
        return cmp.align(self.fits, self.level, self._variance_errors)

    @property
    def variance_components(self) -> pd.DataFrame:
        """Standard deviations and correlations: ``group, term``, and of each fit estimate, sd and interval.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.variance_components[["term", "eb_estimate"]].round(3).to_numpy().tolist()
        [['sd(Intercept)', 0.261], ['sigma', 0.326]]
        """
        return self.frames.variance_components

    @property
    def fixed_effects(self) -> pd.DataFrame:
        """Coefficients: ``term``, and of each fit estimate, sd and interval.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.fixed_effects.columns.tolist()
        ['term', 'eb_estimate', 'eb_sd', 'eb_lower', 'eb_upper', 'fb_estimate', 'fb_sd', 'fb_lower', 'fb_upper']
        """
        return self.frames.fixed_effects

    @property
    def random_effects(self) -> pd.DataFrame:
        """Every level: ``group, level, term, n, no_pooling``, and of each fit estimate, sd and interval.

        ``no_pooling`` is the deviation of the level's own data from the fixed effects of the first fit.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.random_effects[["level", "no_pooling", "eb_estimate"]].round(3).head(2).to_numpy().tolist()
        [['a', -0.16, -0.122], ['b', -0.34, -0.259]]
        """
        return self.frames.random_effects

    @property
    def shrinkage(self) -> pd.DataFrame:
        """How far every level is pulled towards the fixed effects, by each fit.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.shrinkage["eb_ratio"].round(3).tolist()
        [1.312, 1.312, 1.312, 1.312]
        """
        return self.frames.shrinkage

    def tidy(self) -> pd.DataFrame:
        """One row a number: ``fit, effect, group, level, term, estimate, sd, lower, upper, estimand``.

        ``effect`` is ``"variance"``, ``"fixed"`` or ``"random"``; ``estimand`` says what is estimated, and what the sd
        and the interval are conditional on.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.tidy().groupby("fit").size().to_dict()
        {'eb': 7, 'fb': 7}
        """
        return cmp.long_frame(self.fits, self.frames)

    def intervals(
        self, *methods: str, level: float | None = None, n: int = 1000, seed: int | None = None
    ) -> pd.DataFrame:
        """Intervals of every parameter by every method, beside each other.

        Parameters
        ----------
        *methods : "wald", "profile", "bootstrap"
            Of fits by REML or ML, as :meth:`EmpiricalBayesFit.confint` has them; profile by default.
        level : float, optional
            That of the comparison by default.
        n, seed : int
            Of the bootstrap.

        Returns
        -------
        DataFrame
            ``fit, method, parameter, estimate, lower, upper``; of a posterior the mean and the equal-tailed interval
            (``method`` is ``"posterior"``).

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.intervals("wald", "profile").groupby(["fit", "method"]).size().to_dict()
        {('eb', 'profile'): 3, ('eb', 'wald'): 1, ('fb', 'posterior'): 3}
        """
        level = self.level if level is None else level
        return cmp.interval_frame(self.fits, methods or self._usual, level, n, seed)

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """Every parameter of every fit against :attr:`reference`.

        ``effect, group, level, term, fit, reference, difference, difference_in_sd`` (of the reference), ``overlap``
        (the length that both intervals cover over what either does) and ``width_ratio`` (over the reference's). NaN
        where a fit has no such interval.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> bool((both.agreement["width_ratio"].dropna() < 1).all())
        True
        """
        return cmp.agreement_frame(self.tidy(), self.reference)

    @cached_property
    def decomposition(self) -> pd.DataFrame:
        """Where the posterior variance of every level comes from: :meth:`decompose` of the first posterior.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> parts = both.decomposition
        >>> bool((parts["plug_in"] < parts["total"]).all())
        True
        """
        return self.decompose()

    def decompose(
        self, posterior: str | None = None, plug_in: str | None = None, draws: int | None = None
    ) -> pd.DataFrame:
        """Split the posterior variance of every level, and set the plug-in beside it.

        Var(b | y) = E[Var(b | y, β, θ, σ)] + E[Var due to β | θ, σ] + Var(E[b | y, θ, σ]), each inner moment exact at
        draws of (θ, σ). Coefficients whose priors are not normal are sampled, and count with θ.

        Parameters
        ----------
        posterior, plug_in : str, optional
            Names of a posterior and of a fit by REML or ML; the first ones by default. Without such a fit the columns
            of the plug-in are NaN.
        draws : int, optional
            Draws of (θ, σ) to use, evenly spaced; all, if there are fewer. By default 200, which give each part within
            10 % or so, and with one grouping factor as many as take no time. Each takes one factorisation.

        Returns
        -------
        DataFrame
            ``group, level, term, total, given_theta_beta, beta, theta``; ``plug_in``, the conditional variance at θ̂
            (condVar), and ``plug_in_beta``, the same with β̂ estimated; ``left_out`` = 1 − √(plug_in/total), the share
            of the posterior's width that plug-in intervals lack; ``beta_share`` = beta/(beta + theta).

        Raises
        ------
        DesignError
            If there is no posterior, or no fit of that name.
        FitError
            If the effects or the response are Student t.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> parts = both.decompose(draws=100)
        >>> bool((parts["plug_in"] < parts["total"]).all())
        True
        """
        fb, eb = self._named(True, posterior), None
        if plug_in is not None or not all(isinstance(f, Drawn) for f in self.fits.values()):
            eb = self._named(False, plug_in)
        return cmp.decomposition_frame(fb.spec, self._split(fb, draws), None if eb is None else eb.estimates.modes)

    def predictions(
        self,
        data: Any = None,
        *,
        re: str | Sequence[str] = "all",
        interval: str | None = "confidence",
        new_levels: str = "population",
        seed: int | None = None,
        offset: Any = None,
        weights: Any = None,
        uncertainty: str | None = None,
        n: int = 400,
    ) -> pd.DataFrame:
        """Predictions of every fit, side by side.

        Parameters
        ----------
        data, re, interval, new_levels, seed, offset, weights, n
            As for :meth:`EmpiricalBayesFit.predict`.
        uncertainty : str, optional
            What intervals of fits by REML or ML count as uncertain; those of posteriors count everything.

        Returns
        -------
        DataFrame
            ``{fit}_estimate`` and, with an interval, ``{fit}_lower, {fit}_upper`` by row.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.predictions({"operator": ["a", "new"]}, interval="prediction").columns.tolist()
        ['eb_estimate', 'eb_lower', 'eb_upper', 'fb_estimate', 'fb_lower', 'fb_upper']
        """
        options: dict[str, Any] = {"re": re, "interval": interval, "new_levels": new_levels, "seed": seed}
        options |= {"offset": offset, "level": self.level} | self._predicting(weights, n)
        own = {
            name: fit.predict(data, **options, **({} if isinstance(fit, Drawn) else {"uncertainty": uncertainty}))
            for name, fit in self.fits.items()
        }
        return cmp.prediction_frames(self.fits, own)

    def elpd(self, kind: str = "conditional", group: str | None = None) -> pd.DataFrame:
        """The posteriors ranked by expected log predictive density, as :func:`compare` ranks those of several models.

        Raises
        ------
        DesignError
            If there are not two posteriors.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fits = [model.sample(draws=500, seed=seed, progress=False) for seed in (3, 4)]
        >>> sorted(ranef.compare(*fits).elpd().index)
        ['NUTS_1', 'NUTS_2']
        """
        posteriors: dict[str, Any] = {n: f for n, f in self.fits.items() if isinstance(f, Drawn)}
        if len(posteriors) < 2:
            raise DesignError(
                f"Ranking by elpd takes two posteriors or more; this comparison has {len(posteriors)}. One alone has "
                "fit.loo()."
            )
        return cmp.ranked(posteriors, kind, group)

    def table(self, max_levels: int = 10) -> Document:
        """The side-by-side table, with at most `max_levels` levels of each factor and term.

        It opens with what is wrong with fits that should not be trusted, and then interprets none of those.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.fit("ML"))
        >>> print(str(both.table(max_levels=2)).splitlines()[4].rstrip())
         operator sd(Intercept)                   0.2609 0.1405                  0.2139 0.1121
        """
        columns = self._columns
        agreement = agreement_lines(self.agreement, columns)
        if all(fit.ok for fit in self.fits.values()):
            agreement += self._decomposed(columns)
        agreement += [f"{f.heading}: {words.removeprefix('The posterior of ')}" for f in columns for words in f.owed]
        formula = next(iter(self.fits.values())).spec.design.formula
        return comparison_table(
            formula,
            self.frames,
            columns,
            self.level,
            max_levels=max_levels,
            agreement=agreement,
            boundary=self._at_boundary,
            doubts=doubt_lines(columns),
        )

    @property
    def _columns(self) -> list[FitColumns]:
        """The fits as the table shows them: ``eb`` goes by its method, and ``fb`` as Posterior."""
        out: list[FitColumns] = []
        reference = self.fits[self.reference]
        for name, fit in self.fits.items():
            heading = {"eb": fit.engine, "fb": "Posterior"}.get(name, name)
            remarks = _remarks(fit, reference) if isinstance(fit, Drawn) else ()
            owed = fit._owed if isinstance(fit, Drawn) and not fit.warnings else []
            out.append(FitColumns(name, heading, fit.engine, remarks, tuple(fit.warnings), tuple(owed)))
        return out

    @property
    def plot(self) -> ComparisonPlots:
        """Figures: ``plot()`` sets no pooling and every fit side by side; others are methods, as ``plot.ranef()``.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.fit("ML"))
        >>> both.plot.ranef().get_xlabel()
        'random effect on bright'
        """
        return ComparisonPlots(dict(self.fits), self.level)

    def save_figure(self, path: str | Path) -> Path:
        """Write ``plot()`` to a file, in place of one of that name, whole or not at all; its ending is the format.

        Examples
        --------
        >>> import tempfile, pathlib, ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.fit("ML"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = both.save_figure(pathlib.Path(folder) / "shrinkage.png")
        """
        path = file_path(path)
        check_output(path, FIGURES)
        with deferred():  # drawing loads modules
            figure, kind = closed(self.plot()), path.suffix[1:].lower()
        return write_whole(path, lambda partial: figure.savefig(partial, format=kind, dpi=150, bbox_inches="tight"))

    @property
    def parameters(self) -> pd.DataFrame:
        """Every parameter with its symbol, meaning, place and prior, and of each fit estimate and 95 % interval.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=100, seed=1, sampler="nutpie", progress=False))
        >>> both.parameters.columns[6:].tolist()
        ['eb_estimate', 'eb_lower', 'eb_upper', 'fb_estimate', 'fb_lower', 'fb_upper']
        """
        tables: dict[str, pd.DataFrame] = {name: fit.parameters for name, fit in self.fits.items()}
        numbers = [own[["estimate", "lower", "upper"]].add_prefix(f"{name}_") for name, own in tables.items()]
        said: pd.DataFrame = tables[self.reference].drop(columns=["estimate", "lower", "upper"])
        return pd.concat([said, *numbers], axis=1)

    def equation(
        self,
        style: str = "scalar",
        *,
        level: str | None = None,
        group: str | None = None,
        entries: str = "numbers",
    ) -> Equation:
        """The model with the numbers of every fit, each line that has numbers once for each fit.

        Parameters
        ----------
        style, level, group, entries
            As for :meth:`ranef.Model.equation`.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> print(ranef.compare(model.fit(), model.fit("ML")).equation().text)
        brightᵢ = 60.400 + b[j[i]] + εᵢ   (REML)
        brightᵢ = 60.400 + b[j[i]] + εᵢ   (ML)
           b[j] ~ N(0, 0.06808)   for 4 levels j of operator (REML)
           b[j] ~ N(0, 0.04575)   (ML)
             εᵢ ~ N(0, 0.1063)   for 20 rows i (REML)
             εᵢ ~ N(0, 0.1063)   (ML)
        """
        first = next(iter(self.fits.values()))
        engines = [fit.engine for fit in self.fits.values()]
        names = engines if len(set(engines)) == len(engines) else list(self.fits)
        numbers = {name: fit._numbers(style) for name, fit in zip(names, self.fits.values(), strict=True)}
        of_priors = next((fit for fit in self.fits.values() if isinstance(fit, Drawn)), first)
        asked = Asked(Chosen(level, group, entries), of_priors._priors)
        return model_equation(first.spec, style=style, values=numbers, asked=asked)

    def report(
        self,
        path: str | Path = "page.html",
        *,
        title: str | None = None,
        data: str | None = None,
        overwrite: bool = False,
        command: str = "",
    ) -> Path:
        """Write a page to send to a colleague: one HTML file that needs no network.

        It holds the model in words and as equations, what the data are, the side-by-side table, a shrinkage explorer
        (a slider for each standard deviation over σ, from complete pooling to none), figures, how the fits went, all
        summaries, and the calls that make it again.

        Parameters
        ----------
        path : str or Path
            Ending in ``.html`` or ``.htm``.
        title : str, optional
        data : str, optional
            Python that reads the data, for the calls on the page, as ``'pd.read_csv("mine.csv")'``.
        overwrite : bool
            Whether an existing file is replaced; it is, or stays, whole.
        command : str
            The command line that asks for the page, if one does.

        Returns
        -------
        Path

        Raises
        ------
        DesignError
            If the file exists and `overwrite` is false, or it cannot be written, or the model was built from chunks.

        Examples
        --------
        >>> import tempfile, pathlib, ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = both.report(pathlib.Path(folder) / "page.html")
        ...     page.stat().st_size > 1_000_000
        True
        """
        path = file_path(path)
        check_output(path, PAGES, overwrite=overwrite)
        spec = next(iter(self.fits.values())).spec
        heading = title or f"{spec.design.response}: fits side by side"
        with LateBar("Writing the page", "figure"):
            page = page_of(self.fits, self.level, self.table(), heading, Source(path.name, data, command))
            html = page_html(page)
            return write_whole(path, lambda partial: partial.write_text(html, encoding="utf-8"))

    def to_dict(self) -> dict[str, Any]:
        """Plain data of all frames but the decomposition, ready for JSON; missing numbers are None.

        ``fits`` describes every fit; ``method, criterion, status`` are of the first by REML or ML and ``seed`` of the
        first posterior, where there are such.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.fit("ML"))
        >>> both.to_dict()["formula"], sorted(both.to_dict())[:3]
        ('bright ~ 1 + (1 | operator)', ['agreement', 'boundary', 'criterion'])
        """
        first = next(iter(self.fits.values()))
        described = {name: _description(fit) for name, fit in self.fits.items()}
        common: dict[str, Any] = {}
        for name in ("method", "criterion", "status", "seed"):
            common |= next(({name: d[name]} for d in described.values() if name in d), {})
        frames = {**vars(self.frames), "agreement": self.agreement, **self._further}
        return {
            "formula": first.spec.design.formula,
            "level": self.level,
            "n_obs": first.spec.n_obs,
            **common,
            "fits": described,
            **{name: _records(frame) for name, frame in frames.items()},
        }

    def _named(self, drawn: bool, name: str | None) -> Any:
        """The posterior (`drawn`) or estimate of that name; the first without one."""
        own = {n: fit for n, fit in self.fits.items() if isinstance(fit, Drawn) == drawn}
        made_by = "Model.sample()" if drawn else "Model.fit()"
        if name is None and not own:
            raise DesignError(
                f"This comparison has no fit from {made_by}: its fits are {', '.join(map(repr, self.fits))}."
            )
        if name is not None and name not in own:
            raise DesignError(
                f"{name!r} is not a fit from {made_by} in this comparison.{suggestion(str(name), list(own))} "
                f"It has: {', '.join(own) or 'none'}."
            )
        return next(iter(own.values())) if name is None else own[name]

    def __repr__(self) -> str:
        return str(self.table())

    def _document(self) -> Document:
        return self.table()


def _remarks(fit: Any, reference: Any) -> tuple[str, ...]:
    """What makes a posterior another one than the reference."""
    out = []
    if not fit.spec.family.collapses and not isinstance(fit.spec.family, Generalised):
        out.append(f"the response is {fit.spec.family.label}, and sigma its scale.")
    if isinstance(reference, Drawn) and fit is not reference:
        if fit.draws.parameterization != reference.draws.parameterization:
            out.append(f"sampled in the {fit.draws.parameterization} parameterization.")
        theirs = set(reference.draws.priors.lines(reference.draws.response))
        own = [line for line in fit.draws.priors.lines(fit.draws.response) if line not in theirs]
        more = f" and {len(own) - LISTED_PRIORS} more" if len(own) > LISTED_PRIORS else ""
        out += [f"has priors of its own, {'; '.join(own[:LISTED_PRIORS])}{more}."] if own else []
    return tuple(out)


def _description(fit: Any) -> dict[str, Any]:
    if not isinstance(fit, Drawn):
        return {
            "engine": fit.engine,
            "method": fit.engine,
            "family": fit.spec.family.word,
            "criterion": fit.criterion,
            "status": fit.status,
        }
    draws = fit.draws
    return {
        "engine": fit.engine,
        "seed": draws.seed,
        "chains": draws.sigma.shape[0],
        "draws": draws.sigma.shape[1],
        "parameterization": draws.parameterization,
        "family": draws.family,
        "sampler": draws.sampler,
        "priors": draws.priors.lines(draws.response),
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    as_objects = frame.astype(object).replace([np.inf, -np.inf], None)  # JSON knows no infinity
    return as_objects.where(as_objects.notna(), None).to_dict("records")  # type: ignore[return-value]
