"""Fixed effects within the collapsed model: which are integrated out, which are sampled, and their normal priors.

Coefficients are looked at as c = Cβ, the coordinates that have independent priors (``Priors.coordinates``): that of
``Intercept`` is the mean response at the means of the other columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.spec import Flat, ModelSpec, Normal, Priors
from _ranef.support.arrays import Floats, Ints

__all__ = ["FixedPart", "fixed_part"]


@dataclass(frozen=True, eq=False, repr=False)
class FixedPart:
    """The coefficients of one model under its priors; g are integrated out and s sampled.

    Attributes
    ----------
    integrated, sampled : array of int (g,), (s,)
        Places of the coefficients.
    columns : array (p + 1, p + 1)
        Makes columns [integrated, sampled, y] of the internal [X y].
    K : array (p + 1, p + 1)
        −2 log density of the normal priors is wᵀKw + `log_scale`, with w in those columns (of minus the coefficients,
        and 1).
    log_scale : float
        q log 2π + log |V₀| of the q normal priors, in the user's units.
    rows : array (q₂, p + 1)
        Coefficients that R2D2 governs: K gains rowsᵀ diag(1/variance) rows.
    spreads : array (q₂,)
        Root mean squares of their columns, by which their variances are divided.
    constant : float
        What −2 log p(y | θ, σ) adds at any (θ, σ).
    centre : array (p, p)
        C.
    pilot : array (p,)
        c of what was taken out of y.
    root : array (g, g)
        Internal coefficients are root (c − pilot) / unit.
    unit : float
        Unit of y.
    """

    integrated: Ints
    sampled: Ints
    columns: Floats
    K: Floats
    log_scale: float
    rows: Floats
    spreads: Floats
    constant: float
    centre: Floats
    pilot: Floats
    root: Floats
    unit: float

    def contrast(self, sampled: Floats) -> Floats:
        """V (..., s + 1): what the sampled coefficients (..., s) take out of the response, with 1 for the response."""
        away = -(sampled - self.pilot[self.sampled]) / self.unit
        return np.concatenate([away, np.ones((*away.shape[:-1], 1))], axis=-1)

    def under_global_scale(self, R2: Floats, phi: Floats, sigma: Floats) -> Floats:
        """K (S, p + 1, p + 1) where coefficients have the variances σ² φ R²/(1 − R²)/spread², at S draws.

        R2D2 (Zhang, Naughton, Bondell & Reich 2022): `R2` (S,), `phi` (S, q₂) and `sigma` (S,).
        """
        precision = self.spreads**2 * ((1.0 - R2) / R2 / sigma**2)[:, None] / phi
        return np.asarray(self.K + np.einsum("ni,ix,iy->nxy", precision, self.rows, self.rows))

    def beta(self, internal: Floats, sampled: Floats) -> Floats:
        """β (..., p) of internal coefficients (..., g) and sampled ones (..., s)."""
        c = np.empty((*internal.shape[:-1], len(self.pilot)))
        own = np.linalg.solve(self.root, internal[..., None])[..., 0] if internal.shape[-1] else internal
        c[..., self.integrated] = self.pilot[self.integrated] + self.unit * own
        c[..., self.sampled] = sampled
        return np.asarray(np.linalg.solve(self.centre, c[..., None])[..., 0])


def fixed_part(spec: ModelSpec, products: CrossProducts, priors: Priors) -> FixedPart:
    """Part the coefficients by their priors."""
    d, scale, p = spec.design, products.scaling, spec.n_fixed
    centre, kinds = priors.coordinates(d.fixed_names)
    pilot = centre @ scale.pilot
    of_r2d2 = np.array([priors.r2d2 is not None and name != "Intercept" for name in d.fixed_names], dtype=bool)
    free = np.array([isinstance(k, Flat | Normal) or priors.flat for k in kinds], dtype=bool) | of_r2d2
    G, S = np.flatnonzero(free), np.flatnonzero(~free)
    maps = np.linalg.solve(scale.X, np.linalg.inv(centre)) if p else np.zeros((0, 0))
    basis, root = np.linalg.qr(maps[:, G]) if S.size else (np.eye(p), maps)
    columns = np.eye(p + 1)
    columns[:p, :p] = np.hstack([basis, maps[:, S]])
    halves = np.column_stack([scale.y * (centre @ scale.X), -pilot]) @ columns  # of c, as rows
    proper = [i for i in G if isinstance(kinds[i], Normal) and not priors.flat and not of_r2d2[i]]
    loc, sd = (np.array([getattr(kinds[i], name) for i in proper]) for name in ("loc", "scale"))
    half = halves[proper]
    half[:, -1] += loc
    half = half / sd[:, None]
    constant = 2.0 * float(np.linalg.slogdet(root)[1]) - products.log_weights
    return FixedPart(
        integrated=G,
        sampled=S,
        columns=columns,
        K=half.T @ half,
        log_scale=float(len(proper) * np.log(2.0 * np.pi) + 2.0 * np.log(sd).sum()),
        rows=halves[of_r2d2],
        spreads=np.array(
            [priors.spreads[n] for n, own in zip(d.fixed_names, of_r2d2, strict=True) if own], dtype=float
        ),
        constant=constant,
        centre=centre,
        pilot=pilot,
        root=root,
        unit=scale.y,
    )
