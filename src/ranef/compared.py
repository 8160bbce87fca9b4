"""``ranef.compare``: one table and one figure for the two fits of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ranef.comparison import Aligned, align
from ranef.errors import DesignError
from ranef.fits import EmpiricalBayesFit, PosteriorFit
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


def compare(eb: EmpiricalBayesFit, fb: PosteriorFit, *, level: float = 0.95) -> Comparison:
    """Set an empirical-Bayes fit and a posterior of the same model side by side.

    Parameters
    ----------
    eb : EmpiricalBayesFit
        From :meth:`ranef.Model.fit`.
    fb : PosteriorFit
        From :meth:`ranef.Model.sample`. The two may stand in either order.
    level : float
        Probability of the intervals.

    Raises
    ------
    DesignError
        If the two are not one fit of each kind, of the same model and data.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> both = ranef.compare(model.fit(), model.sample(draws=200, warmup=200, seed=1, progress=False))
    >>> both.shrinkage["eb_ratio"].round(5).tolist()
    [1.31212, 1.31212, 1.31212, 1.31212]
    """
    if isinstance(eb, PosteriorFit) and isinstance(fb, EmpiricalBayesFit):
        eb, fb = fb, eb
    if not (isinstance(eb, EmpiricalBayesFit) and isinstance(fb, PosteriorFit)):
        raise DesignError(
            f"compare() takes one fit from Model.fit() and one from Model.sample(); got {type(eb).__name__} and "
            f"{type(fb).__name__}."
        )
    out = Comparison(eb, fb, level)
    align(eb, fb, level)
    return out


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
