"""``ranef.load``: what ``save()`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any, TypeAlias, TypeVar, cast, overload

from _ranef.errors import DesignError
from _ranef.saved import Prepared, read_saved
from _ranef.support.argument_remedies import helpful
from _ranef.user.comparison import Comparison
from _ranef.user.comparison_base import Compared
from _ranef.user.fit_base import Answers, told
from _ranef.user.generalised_comparison import GeneralisedComparison
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_pooled import GeneralisedPooling
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.model import Model
from _ranef.user.pooled import Pooling
from _ranef.user.pooled_base import Pooled
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit
from _ranef.user.row_sums import RowSums

__all__ = ["load"]

Saved: TypeAlias = (
    EmpiricalBayesFit
    | GeneralisedFit
    | PosteriorFit
    | GeneralisedPosterior
    | Comparison
    | GeneralisedComparison
    | Pooling
    | GeneralisedPooling
    | Model
    | RowSums
)
Kind = TypeVar(
    "Kind",
    EmpiricalBayesFit,
    GeneralisedFit,
    PosteriorFit,
    GeneralisedPosterior,
    Comparison,
    GeneralisedComparison,
    Pooling,
    GeneralisedPooling,
    Model,
    RowSums,
)
Functions: TypeAlias = Mapping[str, Callable[..., Any]]

#: what a file may hold
KINDS = (
    EmpiricalBayesFit,
    GeneralisedFit,
    PosteriorFit,
    GeneralisedPosterior,
    Comparison,
    GeneralisedComparison,
    Pooling,
    GeneralisedPooling,
    Prepared,
    RowSums,
)


@overload
def load(path: str | PathLike[str], kind: type[Kind], *, transforms: Functions | None = None) -> Kind: ...
@overload
def load(path: str | PathLike[str], kind: None = None, *, transforms: Functions | None = None) -> Saved: ...
@helpful
def load(
    path: str | PathLike[str], kind: type[Kind] | None = None, *, transforms: Functions | None = None
) -> Kind | Saved:
    """Read what ``save()`` of a fit, a posterior, a comparison, a pooling, a model or sums wrote.

    Nothing in a file is run, so a file of a stranger is safe to load. What is loaded answers what it did before it was
    saved, bit for bit; ``ranef.Model.of(fit).sample(seed=...)`` samples its model again.

    Parameters
    ----------
    path : str or Path
    kind : class, optional
        What the file should hold, as ``ranef.PosteriorFit``: anything else is an error, and type checkers know what
        comes back.
    transforms : mapping str to function, optional
        Functions that the formula calls and that were given to :class:`ranef.Model`: a file holds none. Only predicting
        for new data needs them, and says so.

    Returns
    -------
    EmpiricalBayesFit, GeneralisedFit, PosteriorFit, Comparison, Pooling, Model or RowSums

    Warns
    -----
    ConvergenceWarning, SingularFitWarning
        If a fit in it should not be trusted, or is singular, as when it was made.

    Raises
    ------
    SavedFileError
        If there is no such file, ranef did not write it, it is damaged, or a later version wrote it.
    DesignError
        If it holds something else than `kind`, or `transforms` has a function that the formula does not call.

    Examples
    --------
    >>> import tempfile, pathlib, ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = model.fit().save(pathlib.Path(folder) / "sleep.ranef")
    ...     fit = ranef.load(path, ranef.EmpiricalBayesFit)
    >>> fit.predict({"Days": [10], "Subject": ["308"]}).round(2).tolist()
    [450.33]
    >>> ranef.Model.of(fit)
    <Model 'Reaction ~ Days + (Days | Subject)': 180 rows, groups: Subject (18)>
    """
    found = read_saved(path, KINDS, transforms)
    held = Model.of(found) if isinstance(found, Prepared) else cast(Saved, found)
    if kind is not None and not isinstance(held, kind):
        raise DesignError(
            f"{str(path)!r} holds a {type(held).__name__}, not a {kind.__name__}. Leave kind= out, or name that class."
        )
    for fit in _fits_in(held):
        told(fit)
    return held


def _fits_in(held: Any) -> Iterator[Answers]:
    """The fits in what was loaded."""
    if isinstance(held, Answers):
        yield held
    elif isinstance(held, Compared):
        yield from held.fits.values()
    elif isinstance(held, Pooled):
        yield from (fit for fit in (held.eb, held.fb) if fit is not None)
