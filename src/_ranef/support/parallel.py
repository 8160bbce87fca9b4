"""Independent tasks, here or by joblib, whose results arrive as they are finished."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from _ranef.support.interrupts import load

__all__ = ["finished"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def finished(
    function: Callable[[Task], Result], tasks: Sequence[Task], n_jobs: int | None = None
) -> Iterator[tuple[int, Result]]:
    """Places of the tasks with their results, in the order in which they are finished.

    One job is this process. More are those of joblib, in whatever backend ``joblib.parallel_config`` has chosen (Dask,
    Ray, threads); without one, processes.

    Parameters
    ----------
    function : callable
        Of one task; it and the tasks are pickled where other processes do the work.
    tasks : sequence
    n_jobs : int, optional
        As joblib counts: -1 is all cores. By default what ``joblib.parallel_config`` says, or one.

    Examples
    --------
    >>> dict(finished(abs, [-1, 2]))
    {0: 1, 1: 2}
    """
    here = n_jobs in (None, 1) and "joblib" not in sys.modules  # nobody has chosen a backend
    if here or len(tasks) == 1 or load("joblib").effective_n_jobs(n_jobs) == 1:
        yield from ((k, function(task)) for k, task in enumerate(tasks))
        return
    joblib = load("joblib")
    run = joblib.delayed(_numbered)
    calls = (run(function, k, task) for k, task in enumerate(tasks))
    try:
        yield from joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)
    except ValueError as error:  # a backend that hands back all results at once
        if "return_as" not in str(error):
            raise
        yield from joblib.Parallel(n_jobs=n_jobs)(run(function, k, task) for k, task in enumerate(tasks))


def _numbered(function: Callable[[Any], Any], k: int, task: Any) -> tuple[int, Any]:
    return k, function(task)
