"""Checkpoints of sampling: what a run is of, by which another one is refused."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from _ranef.posterior.problem import Problem
from _ranef.posterior.settings import Settings
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised
from _ranef.support.checkpoints import Checkpoint, open_checkpoint

__all__ = ["checkpoint_of"]

#: settings that do not change the draws, and that are said otherwise
OTHERS = ("progress", "checkpoint", "seed", "device", "parameterization")


def checkpoint_of(problem: Problem, settings: Settings, kind: str, start: RemlEstimates | None) -> Checkpoint:
    """The checkpoint of a run.

    Raises
    ------
    DesignError
        If the file is of another run.
    SavedFileError
        If it is no checkpoint.
    """
    assert settings.checkpoint is not None
    spec, family = problem.spec, problem.spec.family
    about = {
        "what": "sample()",
        "formula": spec.design.formula,
        "family": f"{family.word} ({family.link})" if isinstance(family, Generalised) else family.word,
        "parameterization": kind,
        **{f"the prior {line.partition(' ~ ')[0]}": line for line in problem.priors.lines(family)},
        **{f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in OTHERS},
    }
    own = problem.products.marks
    numbers = own if start is None else np.concatenate([own, start.theta])
    return open_checkpoint(settings.checkpoint, about, numbers, settings.seed)
