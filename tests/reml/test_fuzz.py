"""Random designs: no competitor with several starts ends lower, and nothing but a justified FitError is raised."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import ranef
from oracle import dense
from reml.fuzz_designs import Contest, DenseCriterion, fuzzed

#: margin, in deviance units, by which the competitor must be lower to have won
MATTERS = 1e-3


def contest(seed: int, starts: int) -> tuple[str, float]:
    """How a design was answered, and the margin of the competitor; none where no residual variance is left."""
    design = fuzzed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        try:
            fit = design.model().fit(design.method)
        except ranef.FitError as error:
            refused = str(error)
        else:
            refused = ""
    if refused:
        assert "residual variance" in refused, f"seed {seed}: {design}: {refused}"
        return "exact", 0.0
    duel = Contest(fit, design.method, seed, starts)
    assert abs(fit.criterion - duel.own) <= 1e-7 * max(1.0, abs(duel.own)), f"seed {seed}: {design}"
    return fit.status, duel.verdict().margin


@pytest.mark.parametrize("seed", range(20))
def test_few_designs(seed):
    status, margin = contest(seed, starts=3)
    assert margin < MATTERS
    assert status != "not converged"


@pytest.mark.slow
def test_two_thousand_designs():
    """At most one in a thousand is beaten; where it is, a basin was missed by some twenty starts."""
    answers = {seed: contest(seed, starts=6) for seed in range(10_000, 12_000)}
    beaten = {seed: margin for seed, (_, margin) in answers.items() if margin > MATTERS}
    statuses = [status for status, _ in answers.values()]
    assert len(beaten) <= 2, {seed: (margin, str(fuzzed(seed))) for seed, margin in beaten.items()}
    # a known sigma some 1e-7 of the response leaves the criterion, of 1e14, no digits to converge in; and it is said
    lost = [seed for seed, (status, _) in answers.items() if status == "not converged"]
    assert len(lost) <= 20
    assert all(fuzzed(seed).sigma for seed in lost)
    assert statuses.count("exact") <= 100


@pytest.mark.parametrize("seed", [3, 5, 14])
def test_the_two_oracles_agree(seed):
    """The criterion in forty digits is that of tests/likelihood/dense.py."""
    design = fuzzed(seed)
    spec = design.model().spec
    theta = np.random.default_rng(seed).normal(size=spec.n_theta)
    ours = DenseCriterion(spec, design.method)
    plain = dense(spec, theta, design.method, spec.sigma).criterion
    assert ours.value(ours.from_user(theta)) == pytest.approx(plain, rel=1e-9)
