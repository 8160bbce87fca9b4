"""Models fitted again: by another criterion, or without some of their terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from _ranef.design import independent_columns, levels_of
from _ranef.errors import ConvergenceWarning, warn
from _ranef.formula import Terms
from _ranef.inference.engines import Estimated, Maximum, laplace_at
from _ranef.likelihood import CrossProducts, Likelihood, Method, cross_products, other_columns
from _ranef.reml import Control, fit_generalised, fit_reml, fit_structured
from _ranef.results import RemlEstimates, Status
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Fitted", "by_method", "converged", "fitted", "n_parameters", "random_reductions", "with_columns"]


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """A model with its estimates and the cross-products that they were found from, where the response is Gaussian."""

    spec: ModelSpec
    estimates: RemlEstimates
    held: CrossProducts | None = None

    @classmethod
    def of(cls, fit: Maximum) -> Fitted:
        """What another object holds."""
        return cls(fit.spec, fit.estimates, fit.products if isinstance(fit, Estimated) else None)

    @property
    def ok(self) -> bool:
        """Whether the estimates may be trusted."""
        return self.estimates.optimizer.ok

    @property
    def products(self) -> CrossProducts:
        """Of a Gaussian response."""
        assert self.held is not None
        return self.held

    @property
    def likelihood(self) -> Likelihood:
        """The criterion; of a generalised response that of the Gaussian model of the working response at its mode."""
        if self.held is None:
            return laplace_at(self.spec, self.estimates).working.likelihood
        return Likelihood(self.spec, self.held, self.estimates.method)

    @property
    def n_parameters(self) -> int:
        """Coefficients, all parameters of variances, and dispersions."""
        return n_parameters(self.spec)


def n_parameters(spec: ModelSpec) -> int:
    """Coefficients, all parameters of variances, and dispersions."""
    own = spec.family.dispersions if isinstance(spec.family, Generalised) else ()
    return spec.n_fixed + len(spec.parameter_names) + len(own)


def fitted(
    spec: ModelSpec,
    method: Method,
    *,
    start: Floats | None = None,
    at: Floats | None = None,
    control: Control | None = None,
    products: CrossProducts | None = None,
    points: int = 1,
) -> Fitted:
    """Fit a model, whatever its response and residuals, whose parameters may begin `at` some ρ.

    The likelihood of a generalised response is by so many `points` of quadrature.
    """
    if isinstance(spec.family, Generalised):
        return Fitted(spec, fit_generalised(spec, start=start, control=control, points=points))
    spec = spec.with_family("gaussian")
    if spec.structured:
        rows = fit_structured(spec.with_rho(None), method, start=start, at=at, control=control)
        return Fitted(rows.spec, replace(rows.estimates, rho=rows.spec.rho), rows.products)
    products = cross_products(spec) if products is None else products
    return Fitted(spec, fit_reml(spec, method, start=start, control=control, products=products), products)


def converged(fit: Fitted, without: str) -> Fitted:
    """The same fit, after a warning where the maximum of its likelihood was not found."""
    found = fit.estimates.optimizer
    if found.status is Status.NOT_CONVERGED:
        words = f"The model without {without} did not converge, and its row should not be trusted."
        warn(f"{words} {found.message}", ConvergenceWarning)
    return fit


def by_method(fit: Maximum, method: Method) -> Fitted:
    """The fit, or the same model fitted by the other criterion."""
    own = Fitted.of(fit)
    if fit.estimates.method == method:
        return own
    products = None if fit.spec.structured else own.products
    return fitted(fit.spec, method, start=fit.estimates.theta if fit.spec.n_theta else None, products=products)


def with_columns(fit: Fitted, B: Floats, assign: Sequence[int] | Ints) -> Fitted:
    """The model fitted with columns XB (n, r) for X; `assign` (r,) is 0 for an intercept, which stands first."""
    d = fit.spec.design
    names = tuple(f"column {k + 1}" for k in range(B.shape[1]))
    X = d.X if d.stream is not None else np.ascontiguousarray(d.X @ B)  # of rows elsewhere the products are enough
    own = np.asarray(assign, dtype=np.intp)
    spec = fit.spec.with_design(replace(d, X=X, fixed_names=names, dropped=(), assign=own))
    products = None if spec.structured or fit.held is None else other_columns(fit.held, spec, B)
    start = fit.estimates.theta if spec.n_theta else None
    return fitted(spec, fit.estimates.method, start=start, products=products, points=fit.estimates.nagq)


def random_reductions(spec: ModelSpec) -> list[tuple[str, ModelSpec]]:
    """What each step back from the random effects is called, and the model after it; one step for each term.

    As lmerTest's ``ranova``: ``(1 | g)`` is taken away, ``(x | g)`` and ``(0 + x | g)`` become ``(1 | g)``, and of
    several effects each is taken away in turn, unless an interaction holds it.
    """
    return [step for k in range(len(spec.design.random)) for step in _steps(spec, k)]


def _steps(spec: ModelSpec, k: int) -> list[tuple[str, ModelSpec]]:
    d = spec.design
    random, effects = d.random[k], d.encoding.random[k].effects
    bar = _bar(effects, random.group, random.structure)
    again = any("Intercept" in r.columns for j, r in enumerate(d.random) if j != k and r.group == random.group)
    alone = len(effects.terms) == 1 and not effects.intercept
    if not effects.terms or random.structure != "us" or (alone and again):
        return [(bar, _with_effects(spec, k, None))]
    every, out = levels_of(effects, d.encoding.templates), []
    for i, term in enumerate(effects.terms):
        if any(set(term.factors) < set(other.factors) for other in effects.terms):
            continue
        rest = Terms(effects.intercept or alone, tuple(t for t in effects.terms if t is not term))
        at = np.flatnonzero(every.assign != i + 1)
        B = None if alone else every.K[:, at[independent_columns(every.K[:, at], intercept=False)]]
        out.append((f"{term.name} in {bar}", _with_effects(spec, k, (rest, B))))
    return out


def _with_effects(spec: ModelSpec, k: int, kept: tuple[Terms, Floats | None] | None) -> ModelSpec:
    """The model whose k-th random term, as written, is gone, or has other effects.

    Their columns are combinations (p, r) of those that it has, or the constant (None).
    """
    d = spec.design
    designs, encodings = list(d.random), list(d.encoding.random)
    if kept is None:
        del designs[k], encodings[k]
    else:
        effects, B = kept
        values = np.ones((spec.n_obs, 1)) if B is None else designs[k].values @ B
        names = ("Intercept",) if B is None else tuple(f"column {j + 1}" for j in range(values.shape[1]))
        text = _bar(effects, designs[k].group, "us")
        own = replace(designs[k], columns=names, values=np.ascontiguousarray(values), text=text)
        designs[k], encodings[k] = own, replace(encodings[k], effects=effects)
    encoding = replace(d.encoding, random=tuple(encodings))
    return spec.with_design(replace(d, random=tuple(designs), encoding=encoding))


def _bar(effects: Terms, group: str, structure: str) -> str:
    """R's text of a random term."""
    names = [t.name for t in effects.terms]
    left = " + ".join(names if effects.intercept and names else ["1" if effects.intercept else "0", *names])
    text = f"({left} | {group})"
    return text if structure == "us" else f"{structure}{text}"
