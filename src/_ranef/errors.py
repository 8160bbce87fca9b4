"""Every error and warning that ranef raises on purpose."""

from __future__ import annotations

import contextlib
import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from unicodedata import normalize

__all__ = [
    "ArgumentError",
    "ConvergenceWarning",
    "DataWarning",
    "DesignError",
    "FitError",
    "FormulaError",
    "NotAvailableError",
    "RanefError",
    "RanefWarning",
    "RowsNotHeld",
    "SavedFileError",
    "SingularFitWarning",
    "same_looks",
    "suggestion",
    "told_apart",
    "unwarned",
    "warn",
]


class RanefError(Exception):
    """Base class of all errors that ranef raises.

    Examples
    --------
    >>> import ranef
    >>> try:
    ...     ranef.Model("bright ~ 1 + (1 | operater)", ranef.datasets.load("pulp"))
    ... except ranef.RanefError as error:
    ...     print(type(error).__name__)
    FormulaError
    """


class FormulaError(RanefError, ValueError):
    """A formula that cannot be read, with the place underlined.

    Parameters
    ----------
    message : str
        What is wrong and what was expected.
    source : str, optional
        The whole formula.
    start, end : int, optional
        The offending half-open range of characters in `source`.

    Examples
    --------
    >>> import ranef
    >>> try:
    ...     ranef.Model("bright ~ 1 + (1 | operater)", ranef.datasets.load("pulp"))
    ... except ranef.FormulaError as error:
    ...     print(error)
    'operater' is not a column of the data. Did you mean 'operator'? Columns: bright, operator.
        bright ~ 1 + (1 | operater)
                          ^^^^^^^^
    """

    def __init__(self, message: str, source: str | None = None, start: int = 0, end: int = 0) -> None:
        self.message, self.source, self.start, self.end = message, source, start, end
        super().__init__(message if source is None else f"{message}\n{underline(source, start, end)}")

    def __reduce__(self) -> tuple[type[FormulaError], tuple[str, str | None, int, int]]:
        """Made again from its parts when it is copied or sent to another process."""
        return type(self), (self.message, self.source, self.start, self.end)


class DesignError(RanefError, ValueError):
    """Data that do not fit the formula, or that no model can be built from.

    Examples
    --------
    >>> import ranef
    >>> try:
    ...     ranef.datasets.load("sleep_study")
    ... except ranef.DesignError as error:
    ...     print("Did you mean 'sleepstudy'?" in str(error))
    True
    """


class RowsNotHeld(DesignError):
    """What needs all rows at once, of a model whose rows are elsewhere or too many; it is a :class:`DesignError`."""


class FitError(RanefError, ValueError):
    """A fit that is impossible: the message says why and what to do next.

    Examples
    --------
    >>> import ranef
    >>> try:
    ...     ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit("reml")
    ... except ranef.FitError as error:
    ...     print(error)
    method='reml' must be 'REML' or 'ML'. Did you mean 'REML'?
    """


class ArgumentError(RanefError, TypeError):
    """An argument that a function does not take, with the one that does it.

    Examples
    --------
    >>> import ranef
    >>> try:
    ...     ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit(REML=False)
    ... except ranef.ArgumentError as error:
    ...     print(error)
    Model.fit() has no argument REML=. Write fit('ML') for REML=False; fit() is REML.
    """


class NotAvailableError(RanefError, NotImplementedError):
    """Something that this model or fit cannot have: the message says what to use in its place.

    Examples
    --------
    >>> import ranef
    >>> chunks = [ranef.datasets.load("sleepstudy")]
    >>> try:
    ...     ranef.Model("Reaction ~ Days + (1 | Subject)", chunks, variance=ranef.VarExp("Days"))
    ... except ranef.NotAvailableError as error:
    ...     print(error)  # doctest: +ELLIPSIS
    VarExp('Days') in a model from chunks is not available: VarIdent() is, or CompSymm(group=). Build the model ...
    """


class SavedFileError(RanefError, ValueError):
    """A file that :func:`ranef.load` cannot read: the message says what it looks like and what to do next.

    Examples
    --------
    >>> import ranef
    >>> try:
    ...     ranef.load("nowhere.ranef")
    ... except ranef.SavedFileError as error:
    ...     print(error)
    There is no file 'nowhere.ranef'. ranef.load() reads what fit.save(path) wrote.
    """


class RanefWarning(UserWarning):
    """Base class of all warnings that ranef gives.

    Examples
    --------
    >>> import warnings
    >>> import ranef
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", ranef.RanefWarning)  # stops at the first one
    ...     fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    """


class DataWarning(RanefWarning):
    """Data that can be used, and may well not say what their user thinks they say.

    Examples
    --------
    >>> import warnings
    >>> import ranef
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = ranef.Model("Reaction ~ Days + I(2 * Days) + (1 | Subject)", ranef.datasets.load("sleepstudy"))
    >>> caught[0].category.__name__
    'DataWarning'
    """


class SingularFitWarning(RanefWarning):
    """The estimated covariance of the random effects is on its boundary.

    Examples
    --------
    >>> import warnings
    >>> import ranef
    >>> data = ranef.datasets.load("pulp").assign(part=lambda d: d.index % 3)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ranef.SingularFitWarning)  # who expects it may switch it off
    ...     ranef.Model("bright ~ 1 + (1 | part)", data).fit().is_singular
    True
    """


class ConvergenceWarning(RanefWarning):
    """An optimiser or a sampler stopped before it was done.

    Examples
    --------
    >>> import warnings
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     fit = model.fit(control=ranef.Control(max_iterations=1, em_steps=0))
    >>> caught[0].category.__name__, fit.status
    ('ConvergenceWarning', 'not converged')
    """


for _class in (RanefError, *RanefError.__subclasses__(), RanefWarning, *RanefWarning.__subclasses__()):
    _class.__module__ = "ranef"  # by this name they are caught, and the last line of a traceback says it


_silent: ContextVar[bool] = ContextVar("_silent", default=False)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Say nothing of what goes on within; of this thread alone, as filters of warnings are not."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def warn(message: str, category: type[RanefWarning] = RanefWarning) -> None:
    """Warn at the line outside this package that led here, however many calls lie between."""
    if _silent.get():
        return
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("ranef", "_ranef"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)


def underline(source: str, start: int, end: int) -> str:
    """Show the line of `source` that holds ``start``, with ``start:end`` underlined by carets."""
    line_start = source.rfind("\n", 0, start) + 1
    line_end = source.find("\n", start)
    line_end = len(source) if line_end < 0 else line_end
    width = max(1, min(end, line_end) - start)
    return f"    {source[line_start:line_end]}\n    {' ' * (start - line_start)}{'^' * width}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Give ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    names = list(known)
    by_folded = {k.casefold(): k for k in reversed(names)}
    folded = name.casefold()
    near = difflib.get_close_matches(folded, list(by_folded), n=1, cutoff=0.6)
    near = near or [k for k in by_folded if len(folded) > 2 and k.startswith(folded)]
    if not near:
        return ""
    other = by_folded[near[0]]
    if same_looks(name, other):
        return (
            f" {other!a} looks the same, but its accents are coded in another way, as in names that a Mac wrote: "
            f"make both alike by unicodedata.normalize('NFC', ...)."
        )
    return f" Did you mean {other!r}?"


def same_looks(first: str, second: str) -> bool:
    """Whether two texts that differ look the same, for an accent may be part of its letter or follow it."""
    return first != second and normalize("NFC", first) == normalize("NFC", second)


def told_apart(first: str, second: str) -> tuple[str, str]:
    """Two texts in quotes, by codes where they look the same."""
    return (ascii(first), ascii(second)) if same_looks(first, second) else (repr(first), repr(second))
