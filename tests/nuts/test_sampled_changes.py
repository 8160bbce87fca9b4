"""What posteriors answer under changes that must not matter, to Monte-Carlo error; as densities they are exact."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import ranef
from _ranef.inference import covariance_draws
from nuts.test_changes import case_of
from transformations import CHANGES

#: means of 3000 effective draws and more, in posterior standard deviations: two differ by 0.03 sds, maxima by more
CLOSE = 0.15

CASES = ["year", "factor and slope", "sleep_rs", "machines_factor"]
QUICK = ("year", "sleep_rs")  # by independent draws


#: how a posterior is drawn
WAYS = {"nutpie": {"sampler": "nutpie", "target_accept": 0.95}, "direct": {"sampler": "direct"}}


@cache
def sampled(name: str, way: str) -> ranef.PosteriorFit:
    return case_of(name).model().sample(seed=1, progress=False, **WAYS[way])


def answers(fit, back) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means and sds of draws on the plain scale, and what functions of the fit give."""
    d = fit.draws
    covs = back.covariances(covariance_draws(fit.spec, d))
    sds = [np.sqrt(np.diagonal(c, axis1=-2, axis2=-1)) for c in covs]
    drawn = {"beta": back.beta(d.beta), "sigma": back.sigma(d.sigma)[..., None], "sd": np.concatenate(sds, axis=-1)}
    drawn |= {f"b{k}": b.reshape(*b.shape[:2], -1) for k, b in enumerate(back.effects(d.b))}
    return {name: (x.mean(axis=(0, 1)), x.std(axis=(0, 1))) for name, x in drawn.items()}


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, marks=[] if way == "direct" and name in QUICK else pytest.mark.slow)
        for name in CASES
        for way in WAYS
    ],
)
def test_answers_of_the_posterior_do_not_change(name, change, way):
    case = case_of(name)
    changed = change.apply(case)
    back = None if changed is None else change.back(case, changed)
    if back is None:
        pytest.skip("there is nothing to change, or it is another model")
    same = next(c for c in CHANGES if c.name == "order of rows")
    plain = sampled(name, way)
    other = changed.model().sample(seed=2, progress=False, **WAYS[way])
    ours, theirs = answers(plain, same.back(case, case)), answers(other, back)
    for what, (mean, sd) in ours.items():
        np.testing.assert_allclose(theirs[what][0] / sd, mean / sd, atol=CLOSE, err_msg=what)
        np.testing.assert_allclose(theirs[what][1] / sd, 1.0, atol=0.1, err_msg=what)
    np.testing.assert_allclose(other.r2(), plain.r2(), atol=0.02)
    np.testing.assert_allclose(other.icc()["adjusted"].sum(), plain.icc()["adjusted"].sum(), atol=0.02)
    np.testing.assert_allclose(back.response(other.fitted()), plain.fitted(), atol=CLOSE * plain.sigma)
