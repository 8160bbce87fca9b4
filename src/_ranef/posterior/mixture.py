"""Mixtures of multivariate t's that are fitted to a density by points and weights of importance.

A fit maximises the weighted likelihood by EM, that is lessens the Kullback–Leibler divergence of the density from the
mixture, which then covers it (Cappé, Douc, Guillin, Marin and Robert 2008, Stat. Comput. 18, 447–459; the t's by Peel
and McLachlan 2000, Stat. Comput. 10, 339–348).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.support.arrays import Floats

__all__ = ["Mixture"]

#: steps of EM
STEPS = 8

#: share of the overall covariance that every component has at least, and of the mass below which one is left out
LEAST_SPREAD, LEAST_MASS = 1e-3, 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class Mixture:
    """K multivariate t's.

    Attributes
    ----------
    shares : array (K,)
    centres : array (K, d)
    roots : array (K, d, d)
        Lower Cholesky factors of their scale matrices.
    df : array (K,)
        Their degrees of freedom.
    """

    shares: Floats
    centres: Floats
    roots: Floats
    df: Floats

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Points (n, d)."""
        d = self.centres.shape[1]
        which = rng.choice(len(self.shares), n, p=self.shares)
        df = self.df[which]
        z = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(df) / df)[:, None]
        return np.asarray(self.centres[which] + np.einsum("nij,nj->ni", self.roots[which], z))

    def log_density(self, x: Floats) -> Floats:
        """At points (n, d)."""
        return np.asarray(np.logaddexp.reduce(self._parts(x)[0], axis=0))

    def _parts(self, x: Floats) -> tuple[Floats, Floats]:
        """Log of share times density (K, n), and squared distances (K, n)."""
        d, df = x.shape[1], self.df
        z = (x - self.centres[:, None]) @ np.swapaxes(np.linalg.inv(self.roots), 1, 2)
        distances = np.einsum("kni,kni->kn", z, z)
        gammaln = scipy.special.gammaln
        constant = gammaln(0.5 * (df + d)) - gammaln(0.5 * df) - 0.5 * d * np.log(df * np.pi)
        constant = constant + np.log(self.shares) - np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        return constant[:, None] - 0.5 * (df + d)[:, None] * np.log1p(distances / df[:, None]), distances

    def fitted(self, x: Floats, weights: Floats) -> Mixture:
        """The same after some steps towards points (n, d) with weights (n,) that sum to one."""
        mixture, d = self, x.shape[1]
        away = x - weights @ x
        least = LEAST_SPREAD * np.diag(weights @ away**2)
        for _ in range(STEPS):
            logs, distances = mixture._parts(x)
            owned = weights * np.exp(logs - np.logaddexp.reduce(logs, axis=0))
            mass = owned.sum(axis=1)
            kept = mass > LEAST_MASS
            owned, distances, mass = owned[kept], distances[kept], mass[kept]
            df = mixture.df[kept]
            pulled = owned * (df + d)[:, None] / (df[:, None] + distances)
            centres = pulled @ x / pulled.sum(axis=1)[:, None]
            away = x - centres[:, None]
            scales = np.swapaxes(pulled[:, :, None] * away, 1, 2) @ away / mass[:, None, None]
            mixture = Mixture(mass / mass.sum(), centres, np.linalg.cholesky(scales + least), df)
        return mixture

    @property
    def moments(self) -> tuple[Floats, Floats]:
        """Mean (d,), and the scale matrix (d, d) of all together about it."""
        centre = self.shares @ self.centres
        away = np.sqrt(self.shares)[:, None] * (self.centres - centre)
        return centre, np.einsum("k,kij,klj->il", self.shares, self.roots, self.roots) + away.T @ away

    def plus(self, centre: Floats, root: Floats, share: float, df: float) -> Mixture:
        """The same with one more."""
        return Mixture(
            np.append((1.0 - share) * self.shares, share),
            np.concatenate([self.centres, centre[None]]),
            np.concatenate([self.roots, root[None]]),
            np.append(self.df, df),
        )
