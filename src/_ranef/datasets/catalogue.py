"""The three questions one asks of a collection of data: what is there, what is it, give it to me."""

from __future__ import annotations

import json

import pandas as pd

from _ranef.datasets.files import Entry, available, digest, find
from _ranef.datasets.info import DatasetInfo, info_from_frame, info_from_meta
from _ranef.datasets.reading import read_guessed, read_typed
from _ranef.errors import DesignError
from _ranef.support.argument_remedies import helpful

__all__ = ["describe", "load", "names"]


@helpful
def names() -> list[str]:
    """List the data sets that `load` knows, sorted without regard to case.

    Besides the bundled ones these are the csv files of the folder that the environment variable ``RANEF_DATA``
    names, if it is set.

    Returns
    -------
    list of str
        Canonical names.

    Examples
    --------
    >>> from ranef import datasets
    >>> "sleepstudy" in datasets.names()
    True
    """
    return available()


@helpful
def load(name: str) -> pd.DataFrame:
    """Read a data set into a new frame.

    Parameters
    ----------
    name : str
        Name of a bundled data set, or of one in the folder that the environment variable ``RANEF_DATA`` names:
        ``NAME.csv`` or ``NAME.csv.gz``, with ``NAME.meta.json`` for the column types; without a meta file pandas
        guesses them. Case does not matter, and a bundled name wins.

    Returns
    -------
    pandas.DataFrame
        numeric columns are float64; integer ones int64 (float64 where values are missing); factors are
        categorical with the levels in the order of the source, ordered ones ordered.

    Raises
    ------
    DesignError
        If there is no such data set, if a bundled file has been changed, or if the data and their meta file
        disagree.

    Examples
    --------
    >>> from ranef import datasets
    >>> pulp = datasets.load("pulp")
    >>> pulp.shape
    (20, 2)
    >>> list(pulp["operator"].cat.categories)
    ['a', 'b', 'c', 'd']
    """
    entry = find(name)
    content = entry.read_csv()
    info = _stated(entry, content)
    return read_guessed(content, entry.csv.name) if info is None else read_typed(content, entry.csv.name, info)


@helpful
def describe(name: str) -> DatasetInfo:
    """Say where a data set comes from and what its columns mean.

    Parameters
    ----------
    name : str
        As for `load`.

    Returns
    -------
    DatasetInfo
        Its ``print`` is a readable page.

    Raises
    ------
    DesignError
        As for `load`.

    Examples
    --------
    >>> from ranef import datasets
    >>> print(datasets.describe("pulp"))  # doctest: +ELLIPSIS
    pulp: 20 rows, 2 columns
    about      Brightness of paper pulp by shift operator; 4 operators x 5.
    reference  Sheldon (1960) Industrial and Engineering Chemistry 52, 507-509; Faraway (2016) sec. 8.1
    source     Python package faraway 0.0.6 on PyPI
    licence    MIT (package licence)
    sha256     ...
      bright    numeric                        brightness by reflectance meter
      operator  factor, 4 levels (a, b, c, d)  shift operator
    """
    entry = find(name)
    content = entry.read_csv()
    info = _stated(entry, content)
    if info is None:
        frame = read_guessed(content, entry.csv.name)
        return info_from_frame(frame, entry.name, str(entry.csv), digest(content))
    return info


def _stated(entry: Entry, content: bytes) -> DatasetInfo | None:
    text = entry.read_meta()
    if text is None:
        return None
    try:
        meta = json.loads(text)
    except ValueError as error:
        raise DesignError(
            f"{entry.meta} is not a JSON file ({error}). Correct it, or delete it to have {entry.csv.name} read with "
            "pandas' defaults."
        ) from error
    return info_from_meta(meta, entry.name, digest(content))
