"""Log densities of whole groups of rows with the random effects of the group integrated out, for all draws.

A group integrates every effect whose rows all lie within it: those of its own level, of levels nested in it, and of
levels of other factors that happen to occur there alone. Effects that it shares with other groups keep their drawn
values, and so do relatives of its own in other groups, given which these are normal. With Z, D the columns and
variances (over σ²) of the effects integrated, V = W⁻¹ + ZDZᵀ and

    log p(y_j | β, b_shared, θ, σ) = −½[n_j log 2πσ² − Σ log w + log|I + ΛᵀZᵀWZΛ| + rᵀV⁻¹r/σ²],

r the rows without Xβ and the shared effects. V⁻¹ is never formed (``group_sums.py``, and ``group_rows.py`` where W has
parameters or levels are related).
"""

from __future__ import annotations

import numpy as np

from _ranef.likelihood.group_problem import GroupProblem, RowGroups, common, homes_of
from _ranef.likelihood.group_rows import by_rows
from _ranef.likelihood.group_sums import by_sums
from _ranef.linalg.blocks import cholesky, forward_substitute
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["group_log_densities", "has_shared_effects", "left_out_log_densities"]


def _problem(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups) -> GroupProblem:
    own = common(spec, draws, groups)
    rho = draws.extras.get("rho")
    return by_sums(own) if rho is None and not spec.related else by_rows(own, rho)


def group_log_densities(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups) -> Floats:
    """Log density (chains, draws, J) of each group's rows given β, σ, θ and the effects that it shares with others.

    Raises
    ------
    FitError
        If the response is not Gaussian: then no closed form exists.
    """
    problem = _problem(spec, draws, groups)
    parts = []
    for some in problem.blocks(1):
        log_det, squares = problem.given(some)
        parts.append(problem.constant(some, log_det) - 0.5 * squares / problem.common.sigma[some] ** 2)
    return problem.as_draws(parts)


def left_out_log_densities(
    spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups, precision: Floats, shift: Floats
) -> Floats:
    """Log density (chains, draws, J) of each group's rows given all other rows, θ, σ and shared effects.

    β is integrated, too: its posterior from the other rows is that from all rows with the group's information taken
    out. With G_j = [X e]ᵀV_j⁻¹[X e], P = K + Σ_j G_XX,j/σ² and h = s + Σ_j G_Xe,j/σ²,

        log p(y_j | y_-j) = const_j − ½ G_ee,j/σ² − ½(log|P| − log|P_-j|) + ½(hᵀP⁻¹h − h_-jᵀP_-j⁻¹h_-j).

    Parameters
    ----------
    spec, draws, groups
        As for :func:`group_log_densities`.
    precision : array (p, p)
        K, prior precision of β; zero in flat directions.
    shift : array (p,)
        K times the prior mean.

    Raises
    ------
    FitError
        If the response is not Gaussian, or flat priors leave a coefficient undetermined without some group.
    """
    problem = _problem(spec, draws, groups)
    own = problem.common
    inverse = np.linalg.inv(own.R)
    K = inverse.T @ precision @ inverse
    s = inverse.T @ (shift - precision @ own.centre)
    problem.require_determined(K)
    p, parts = spec.n_fixed, []
    for some in problem.blocks(p + 1):
        log_det, gram = problem.open(some)
        gram = gram / own.sigma[some][:, None, None] ** 2
        total = gram.sum(axis=0)
        without = total - gram
        log_all, square_all = _integral(total[None, :, :p, :p] + K, total[None, :, :p, p] + s)
        log_rest, square_rest = _integral(without[..., :p, :p] + K, without[..., :p, p] + s)
        change = 0.5 * (log_rest - log_all) + 0.5 * (square_all - square_rest)
        parts.append(problem.constant(some, log_det) - 0.5 * gram[..., p, p] + change)
    return problem.as_draws(parts)


def has_shared_effects(spec: ModelSpec, groups: RowGroups) -> bool:
    """Whether some random effects reach over several groups, or are related to those of others."""
    return spec.related or any(bool((home < 0).any()) for home in homes_of(spec, groups))


def _integral(P: Floats, h: Floats) -> tuple[Floats, Floats]:
    """Log |P| and hᵀP⁻¹h for positive definite P (J, S, p, p) and h (J, S, p)."""
    J, S, p = h.shape
    if p == 0:
        return np.zeros((J, S)), np.zeros((J, S))
    root = cholesky(P.reshape(J * S, p, p))
    z = forward_substitute(root, h.reshape(J * S, p, 1))
    log_det = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    return log_det.reshape(J, S), (z[..., 0] ** 2).sum(axis=1).reshape(J, S)
