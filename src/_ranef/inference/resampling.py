"""Responses and samples of cases that a bootstrap draws, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.design import rows_elsewhere
from _ranef.errors import DesignError, NotAvailableError
from _ranef.inference.engines import dispersions_of
from _ranef.inference.prediction import draw_effects, fitted_values, simulate_new
from _ranef.likelihood import CrossProducts, DrawnSums, Responses, drawn_sums
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, covariance_arrays, with_units
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

__all__ = ["KINDS", "Resampling", "independent_units", "make_resampling"]

#: kinds of bootstrap
KINDS = ("parametric", "residual", "cases")

#: share of the largest eigenvalue that is rounding
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Resampling:
    """How replicates are drawn.

    Attributes
    ----------
    spec : ModelSpec
    estimates : RemlEstimates
    kind : str
        ``"parametric"``: effects and errors normal, at the estimates. ``"residual"``: predicted effects and residuals
        drawn with replacement, first made as variable as their estimates say (Carpenter, Goldstein & Rasbash 2003,
        Appl. Stat. 52, 431-443). ``"cases"``: whole levels of the coarsest factor drawn with replacement.
    re : str
        ``"new"`` or ``"fitted"``: whether effects are drawn too, or stay as predicted.
    sums : DrawnSums, optional
        Where the rows are elsewhere: responses are drawn as their sums.
    """

    spec: ModelSpec
    estimates: RemlEstimates
    kind: str
    re: str
    sums: DrawnSums | None = None

    def draw(self, seed: np.random.SeedSequence) -> Floats | ModelSpec | Responses:
        """One replicate: a response (n,), its sums, or the model of a sample of cases."""
        if self.sums is not None:
            return self._summed(self.sums, [seed])
        rng = np.random.default_rng(seed)
        if self.kind == "cases":
            units = independent_units(self.spec)
            return with_units(self.spec, units, rng.integers(0, int(units.max()) + 1, int(units.max()) + 1))
        return self.response(rng)

    def responses(self, seeds: Sequence[np.random.SeedSequence]) -> Floats | Responses:
        """Replicates (n, B), or their sums."""
        if self.sums is not None:
            return self._summed(self.sums, seeds)
        return np.column_stack([self.response(np.random.default_rng(seed)) for seed in seeds])

    def _summed(self, sums: DrawnSums, seeds: Sequence[np.random.SeedSequence]) -> Responses:
        rngs = [np.random.default_rng(seed) for seed in seeds]
        effects = []
        for g, cov, modes in zip(self.spec.groupings, self._covs, self._modes, strict=True):
            own = [draw_effects(cov, g.n_levels, rng) if self.re == "new" else modes for rng in rngs]
            coloured = g.among is not None and self.re == "new"
            effects.append(np.stack([g.among.coloured(b) if coloured and g.among else b for b in own], axis=2))
        return sums.draw(self.estimates.beta, effects, self.estimates.sigma, rngs)

    def response(self, rng: np.random.Generator) -> Floats:
        """A response (n,)."""
        spec, sigma = self.spec, self.estimates.sigma
        if self.kind == "parametric":
            new, own = self.re == "new", dispersions_of(self.estimates)
            return simulate_new(spec, self._mean, self._covs, sigma, rng, new_effects=new, own=own)
        out = self._mean.copy()
        for g, effects in zip(spec.groupings, self._effects, strict=True):
            if self.re == "new":
                b = effects[rng.integers(0, g.n_levels, g.n_levels)]
                out += np.einsum("np,np->n", g.Z, b[g.codes])
        return np.asarray(out + spec.residual.noise(sigma, rng.choice(self._errors, spec.n_obs)))

    @cached_property
    def _mean(self) -> Floats:
        return fitted_values(self.spec, self.estimates.beta, self._modes, "none" if self.re == "new" else "all")

    @property
    def _modes(self) -> tuple[Floats, ...]:
        return tuple(m.values for m in self.estimates.modes)

    @cached_property
    def _covs(self) -> tuple[Floats, ...]:
        return covariance_arrays(self.spec, self.estimates.theta, np.asarray(self.estimates.sigma))

    @cached_property
    def _effects(self) -> tuple[Floats, ...]:
        """Predicted effects (J, p) by grouping, centred, with Σ̂ as their covariance."""
        return tuple(_as_variable(b - b.mean(axis=0), cov) for b, cov in zip(self._modes, self._covs, strict=True))

    @cached_property
    def _errors(self) -> Floats:
        """Residuals (n,), uncorrelated, centred, of mean square one."""
        spec = self.spec
        left = spec.design.y - fitted_values(spec, self.estimates.beta, self._modes, "all")
        white = spec.residual.whitened(left)
        white = white - white.mean()
        return np.asarray(white / np.sqrt(np.mean(white**2)))


def make_resampling(
    spec: ModelSpec, estimates: RemlEstimates, kind: str, re: str, products: CrossProducts | None = None
) -> Resampling:
    """Check what is asked for; where rows are elsewhere, a parametric bootstrap of their `products` needs none.

    Raises
    ------
    DesignError
        For an unknown kind or `re`, or cases of crossed factors.
    NotAvailableError
        For effects of related levels that are to be drawn as they are.
    """
    one_of("kind", kind, KINDS)
    one_of("re", re, ("new", "fitted"))
    if kind == "parametric" and products is not None and rows_elsewhere(spec.design):
        return Resampling(spec, estimates, kind, re, drawn_sums(products))
    spec = spec.held
    if kind == "residual" and isinstance(spec.family, Generalised):
        raise NotAvailableError(
            f"kind='residual' draws residuals round a mean, and a {spec.family.label} response has none that could be "
            "drawn for another row: kind='parametric' simulates responses, 'cases' draws whole levels."
        )
    if kind == "cases":
        if re == "fitted":
            raise DesignError("re='fitted' keeps the effects of levels, and cases are whole levels. Leave re= out.")
        independent_units(spec)
        spec.residual.refuse_correlated("A sample of cases", "kind='parametric' or 'residual' draws them.")
    if spec.related and kind != "parametric":
        raise NotAvailableError(f"kind={kind!r} draws levels as if independent, and cov= relates some: 'parametric'.")
    return Resampling(spec, estimates, kind, re)


def independent_units(spec: ModelSpec) -> Ints:
    """Which unit (n,) each row belongs to: the levels of the coarsest factor, that must hold those of all others.

    Raises
    ------
    DesignError
        Where factors are crossed, so that no units are independent; or there is no factor.
    """
    if not spec.groupings:
        raise DesignError("There is no grouping factor whose levels are independent cases.")
    coarsest = min(spec.groupings, key=lambda g: g.n_levels)
    for g in spec.groupings:
        both = len(np.unique(g.codes * coarsest.n_levels + coarsest.codes))
        if both > g.n_levels:
            raise DesignError(
                f"{coarsest.name} and {g.name} are crossed, so no levels are independent cases. kind='parametric' or "
                "'residual' draws their effects."
            )
    return coarsest.codes


def _as_variable(values: Floats, cov: Floats) -> Floats:
    """Centred values (J, p) moved as little as may be to those of covariance `cov` (p, p)."""
    own, wanted = values.T @ values / len(values), _root(cov)
    middle = _root(wanted @ own @ wanted)
    return np.asarray(values @ wanted @ np.linalg.pinv(middle, rcond=1e-6, hermitian=True) @ wanted)


def _root(matrix: Floats) -> Floats:
    """The symmetric root of a covariance (p, p)."""
    sizes, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(sizes, ROUNDING * sizes[-1]))) @ vectors.T)
