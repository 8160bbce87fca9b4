"""Groups whose effects are integrated from their rows, whitened anew for every draw.

So it is where residuals have parameters ρ, or levels are related.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from _ranef.likelihood.group_problem import Common, GroupProblem, own_root
from _ranef.linalg.blocks import transpose
from _ranef.support.arrays import Floats, Ints

__all__ = ["by_rows"]


@dataclass(frozen=True, eq=False)
class _Group:
    """The rows (n_j,) of a group, and by grouping the levels (m_k,) whose effects it integrates."""

    rows: Ints
    levels: list[Ints]


@dataclass(frozen=True, eq=False)
class _White:
    """W times X̃, e and the columns of every grouping, for some draws: (S, n, p), (S, n), each (S, n, p_k)."""

    X: Floats
    e: Floats
    Z: list[Floats]


@dataclass(frozen=True, eq=False)
class _ByRows(GroupProblem):
    """With ρ (S, n_rho), where there is any; correlated rows are of one group."""

    common: Common
    rho: Floats | None
    members: list[_Group]

    def numbers(self, m: int) -> int:
        """Of whitened rows, and of the largest group."""
        spec = self.common.spec
        sizes = [
            (len(g.rows), sum(len(own) * z for own, z in zip(g.levels, self._widths, strict=True)))
            for g in self.members
        ]
        return spec.n_obs * (spec.n_fixed + sum(self._widths) + 1) + max(n * (q + m) + q * q for n, q in sizes)

    @property
    def _widths(self) -> list[int]:
        return [len(g.columns) for g in self.common.spec.groupings]

    def log_weights(self, some: slice) -> Floats:
        """By the ρ of each draw."""
        return self.common.within(np.stack([residual.log_dets for residual in self._residuals(some)], axis=1))

    def given(self, some: slice) -> tuple[Floats, Floats]:
        """Of one column."""
        white = self._whitened(some)
        e = white.e - np.einsum("snp,sp->sn", white.X, self.common.delta[some])
        log_det, gram = self._integrated(some, white, e[..., None])
        return log_det, gram[..., 0, 0]

    def open(self, some: slice) -> tuple[Floats, Floats]:
        """Of [X̃ e]."""
        white = self._whitened(some)
        return self._integrated(some, white, np.concatenate([white.X, white.e[..., None]], axis=-1))

    def _residuals(self, some: slice) -> list[Any]:
        spec = self.common.spec
        if self.rho is None:
            return [spec.residual] * self.common.sigma[some].size
        return [spec.with_rho(rho).residual for rho in self.rho[some]]

    def _whitened(self, some: slice) -> _White:
        own, residuals = self.common, self._residuals(some)
        e = np.broadcast_to(own.rows(some), (own.spec.n_obs, len(residuals)))
        fixed = np.concatenate([own.X, *(g.Z for g in own.spec.groupings)], axis=1).T
        white = np.stack([r.whitened(np.vstack([e[:, s], fixed])) for s, r in enumerate(residuals)])
        ends = 1 + np.cumsum([own.spec.n_fixed, *self._widths])
        return _White(
            np.moveaxis(white[:, 1 : ends[0]], 1, 2),
            white[:, 0],
            [np.moveaxis(white[:, a:b], 1, 2) for a, b in pairwise(ends)],
        )

    def _integrated(self, some: slice, white: _White, columns: Floats) -> tuple[Floats, Floats]:
        """Log |I + ΛᵀZᵀZΛ| (J, S) and EᵀV⁻¹E (J, S, m, m) of whitened rows and columns E (S, n, m)."""
        S, m = len(columns), columns.shape[-1]
        log_det, gram = np.zeros((len(self.members), S)), np.empty((len(self.members), S, m, m))
        for j, group in enumerate(self.members):
            E = columns[:, group.rows]
            gram[j] = transpose(E) @ E
            ZL = self._effects(some, white, group)
            if ZL.shape[-1]:
                root = np.linalg.cholesky(np.eye(ZL.shape[-1]) + transpose(ZL) @ ZL)
                C = np.linalg.solve(root, transpose(ZL) @ E)
                log_det[j] = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
                gram[j] -= transpose(C) @ C
        return log_det, gram

    def _effects(self, some: slice, white: _White, group: _Group) -> Floats:
        """ZΛ (S, n_j, q) of the effects that a group integrates."""
        parts = [np.zeros((len(white.e), len(group.rows), 0))]
        for k, levels in enumerate(group.levels):
            g = self.common.spec.groupings[k]
            own = white.Z[k][:, group.rows] @ self.common.lambdas[k][some]  # (S, n_j, p)
            root = np.eye(len(levels)) if g.among is None else own_root(g.among, levels)
            of_rows = (g.codes[group.rows, None] == levels) @ root  # (n_j, m)
            parts.append((own[:, :, None, :] * of_rows[:, :, None]).reshape(*own.shape[:2], -1))
        return np.concatenate(parts, axis=-1)


def by_rows(own: Common, rho: Floats | None) -> GroupProblem:
    """Sort rows and levels by group; ρ (chains, draws, n_rho)."""
    members = [
        _Group(np.flatnonzero(own.groups.codes == j), [np.flatnonzero(home == j) for home in own.homes])
        for j in range(own.groups.size)
    ]
    return _ByRows(own, None if rho is None else np.reshape(rho, (own.sigma.size, -1)), members)
