"""``ranef.compare``: one table and one figure for the two fits of one model; posteriors of several, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from ranef import inference as inf
from ranef.comparison import Aligned, align, elpd_frame, require_same_rows
from ranef.errors import DesignError
from ranef.fits import EmpiricalBayesFit, PosteriorFit
from ranef.likelihood import RowGroups
from ranef.plots import comparison_figure
from ranef.tables import Document, comparison_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "check_output", "compare"]

FIGURE_ENDINGS = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Two fits of one model, aligned.

    Attributes
    ----------
    eb : EmpiricalBayesFit
    fb : PosteriorFit
    level : float
        Probability of the intervals.
    """

    eb: EmpiricalBayesFit
    fb: PosteriorFit
    level: float = 0.95

    @cached_property
    def frames(self) -> Aligned:
        """All aligned frames."""
        return align(self.eb, self.fb, self.level)

    @property
    def variance_components(self) -> pd.DataFrame:
        """Standard deviations and correlations: estimate beside posterior."""
        return self.frames.variance_components

    @property
    def fixed_effects(self) -> pd.DataFrame:
        """Coefficients with both intervals."""
        return self.frames.fixed_effects

    @property
    def random_effects(self) -> pd.DataFrame:
        """Every level: no pooling, BLUP and posterior, with both intervals."""
        return self.frames.random_effects

    @property
    def shrinkage(self) -> pd.DataFrame:
        """How far every level is pulled towards the fixed effects."""
        return self.frames.shrinkage

    def table(self, max_levels: int = 10) -> Document:
        """The side-by-side table, with at most `max_levels` levels of each factor and term."""
        return comparison_table(self.eb.spec, self.frames, self.eb.engine, self.level, max_levels)

    def plot(self) -> Figure:
        """One figure: no pooling, BLUP and posterior interval of every level."""
        return comparison_figure(self.random_effects, level=self.level)

    def save_figure(self, path: str | Path) -> Path:
        """Write :meth:`plot` to a file, whole or not at all; the ending chooses the format."""
        return write_figure(self.plot(), Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain data of all frames, ready for JSON; missing numbers are None."""
        frames = vars(self.frames)
        return {
            "formula": self.eb.spec.design.formula,
            "method": self.eb.engine,
            "level": self.level,
            "n_obs": self.eb.spec.n_obs,
            "criterion": self.eb.criterion,
            "status": self.eb.status,
            "seed": self.fb.draws.seed,
            **{name: _records(frame) for name, frame in frames.items()},
        }

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@overload
def compare(first: EmpiricalBayesFit, second: PosteriorFit, /, *, level: float = 0.95) -> Comparison: ...
@overload
def compare(first: PosteriorFit, second: EmpiricalBayesFit, /, *, level: float = 0.95) -> Comparison: ...
@overload
def compare(
    *fits: PosteriorFit | Mapping[str, PosteriorFit], kind: str = "conditional", group: str | None = None
) -> pd.DataFrame: ...
@overload
def compare(*fits: Any, level: float = 0.95, kind: str = "conditional", group: str | None = None) -> Any: ...
def compare(*fits: Any, level: float = 0.95, kind: str = "conditional", group: str | None = None) -> Any:
    """Set an empirical-Bayes fit and a posterior of one model side by side, or rank posteriors of several models.

    Parameters
    ----------
    *fits : EmpiricalBayesFit and PosteriorFit, or two or more PosteriorFit
        One fit from :meth:`ranef.Model.fit` and one from :meth:`ranef.Model.sample` of the same model, in either
        order; or posteriors of different models of the same rows, or one mapping of names to them.
    level : float
        Probability of the intervals of a side-by-side comparison.
    kind : "conditional" or "group"
        For posteriors, whether elpd leaves out rows or whole levels of `group`, as :meth:`PosteriorFit.loo`.
    group : str, optional
        A grouping factor of one of the models; needed only where they have several.

    Returns
    -------
    Comparison, or DataFrame of posteriors by model
        ``rank, elpd, p, elpd_diff, weight, se, dse, warning``, best first, as ``arviz_stats.compare``. Models are
        named by their formulas unless a mapping names them.

    Raises
    ------
    DesignError
        If the fits are not of these kinds, or not of the same data.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, progress=False)
    >>> ranef.compare(model.fit(), fb).shrinkage["eb_ratio"].round(5).tolist()
    [1.31212, 1.31212, 1.31212, 1.31212]
    >>> again = model.sample(draws=200, warmup=200, seed=2, progress=False, priors="flat")
    >>> ranef.compare({"default priors": fb, "flat priors": again})["rank"].tolist()
    [0, 1]
    """
    named = _named(fits)
    if len(named) > 1 and all(isinstance(fit, PosteriorFit) for fit in named.values()):
        return _ranked(named, kind, group)
    if len(fits) == 2 and isinstance(fits[0], PosteriorFit):
        fits = (fits[1], fits[0])
    if not (len(fits) == 2 and isinstance(fits[0], EmpiricalBayesFit) and isinstance(fits[1], PosteriorFit)):
        got = " and ".join(type(fit).__name__ for fit in fits) or "nothing"
        raise DesignError(
            f"compare() takes one fit from Model.fit() and one from Model.sample(), or two or more from "
            f"Model.sample(); got {got}."
        )
    out = Comparison(*fits, level)
    align(*fits, level)
    return out


def _named(fits: Sequence[Any]) -> dict[str, Any]:
    """Fits by name: as a mapping gives them, or by formula, numbered where it occurs twice."""
    if len(fits) == 1 and isinstance(fits[0], Mapping):
        return dict(fits[0])
    formulas = [fit.spec.design.formula if isinstance(fit, PosteriorFit) else "" for fit in fits]
    return {
        formula if formulas.count(formula) == 1 else f"{formula} [{i + 1}]": fit
        for i, (formula, fit) in enumerate(zip(formulas, fits, strict=True))
    }


def _ranked(named: Mapping[str, PosteriorFit], kind: str, group: str | None) -> pd.DataFrame:
    require_same_rows({name: fit.spec for name, fit in named.items()})
    if inf.loo_kind(kind) == "conditional":
        return elpd_frame({name: inf.loo_rows(fit.spec, fit.draws) for name, fit in named.items()})
    groups = _common_groups(named, group)
    return elpd_frame({name: inf.loo_groups(fit.spec, fit.draws, groups) for name, fit in named.items()})


def _common_groups(named: Mapping[str, PosteriorFit], group: str | None) -> RowGroups:
    """The rows by a factor that some of the models have; the others are scored on the same groups."""
    known = {g.name: (fit.spec, k) for fit in named.values() for k, g in enumerate(fit.spec.groupings)}
    if group is None and len(known) == 1:
        (group,) = known
    if group not in known:
        asked = f"group={group!r} is not one of" if group is not None else "Name the factor to leave out by: group= is"
        raise DesignError(f"{asked} {', '.join(map(repr, known)) or 'none: no model has a grouping factor'}.")
    return inf.row_groups(*known[group])


def check_output(path: Path, endings: Sequence[str] = FIGURE_ENDINGS) -> None:
    """Refuse a path that could not be written, before the long work is done.

    Raises
    ------
    DesignError
        If the folder does not exist or the ending is not one of `endings` (any ending, if that is empty).
    """
    if path.is_dir():
        raise DesignError(f"{str(path)!r} is a directory; give the name of a file in it.")
    if endings and path.suffix.lower() not in endings:
        raise DesignError(f"{str(path)!r} must end in one of {', '.join(endings)}.")
    if not path.parent.is_dir():
        raise DesignError(f"The folder {str(path.parent)!r} does not exist; make it first.")
    probe = path.with_name(f".{path.name}.partial")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DesignError(f"Nothing can be written to {str(path.parent)!r}: {error.strerror}.") from None


def write_figure(figure: Figure, path: Path) -> Path:
    """Write a figure beside its destination first, so that no half-written file is left behind."""
    check_output(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format=path.suffix[1:].lower(), dpi=150, bbox_inches="tight")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    as_objects = frame.astype(object)
    return as_objects.where(as_objects.notna(), None).to_dict("records")  # type: ignore[return-value]
