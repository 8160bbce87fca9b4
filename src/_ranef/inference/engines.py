"""What one engine's fits hold beyond what every fit answers, and what is computed where no fit holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from _ranef.errors import DesignError, NotAvailableError
from _ranef.likelihood import At, CrossProducts, LaplaceAt, Likelihood, cross_products, fit_pilot, make_laplace
from _ranef.reml import fit_generalised, fit_reml
from _ranef.results import Fit, PosteriorDraws, RemlEstimates
from _ranef.spec import Generalised, ModelSpec, response_family
from _ranef.support.arrays import Floats

__all__ = [
    "Estimated",
    "Maximum",
    "Sampled",
    "at_estimates",
    "dispersions_of",
    "draws_of",
    "estimates_of",
    "estimates_to_mark",
    "family_of_estimates",
    "first_fit",
    "laplace_at",
    "marks_of",
    "modes_of",
    "posteriors_of",
    "products_of",
    "require_gaussian",
]


@runtime_checkable
class Maximum(Protocol):
    """A fit that maximises a likelihood, of any response, or a REML criterion."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        ...

    @property
    def estimates(self) -> RemlEstimates:
        """θ̂, σ̂, β̂ and conditional modes."""
        ...


@runtime_checkable
class Estimated(Maximum, Protocol):
    """A fit of a Gaussian response by REML or ML."""

    @property
    def products(self) -> CrossProducts:
        """What the criterion reads."""
        ...


@runtime_checkable
class Sampled(Protocol):
    """A posterior."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        ...

    @property
    def draws(self) -> PosteriorDraws:
        """Draws of θ, σ, β and b."""
        ...


def at_estimates(fit: Estimated) -> At:
    """Everything at θ̂."""
    return Likelihood(fit.spec, fit.products, fit.estimates.method).at(fit.estimates.theta)


def draws_of(fit: Fit) -> PosteriorDraws | None:
    """The posterior draws of a fit that has them."""
    return fit.draws if isinstance(fit, Sampled) else None


def posteriors_of(fits: Mapping[str, Fit]) -> dict[str, Sampled]:
    """The fits that hold draws, by name."""
    return {name: fit for name, fit in fits.items() if isinstance(fit, Sampled)}


def estimates_of(fits: Mapping[str, Fit]) -> dict[str, Estimated]:
    """The fits by REML and ML, by name."""
    return {name: fit for name, fit in fits.items() if isinstance(fit, Estimated)}


def modes_of(fits: Mapping[str, Fit]) -> dict[str, Maximum]:
    """The fits by REML and ML of any response, by name."""
    return {name: fit for name, fit in fits.items() if isinstance(fit, Maximum)}


def products_of(fits: Mapping[str, Fit]) -> CrossProducts:
    """The cross-products that some fit holds already, or those of the model."""
    held = estimates_of(fits)
    return next(iter(held.values())).products if held else cross_products(first_fit(fits).spec)


def first_fit(fits: Mapping[str, Fit]) -> Fit:
    """Any of several fits of one model.

    Raises
    ------
    DesignError
        If there is none.
    """
    if not fits:
        raise DesignError("There is no fit to draw: fits= is empty. Give a mapping of names to fits.")
    return next(iter(fits.values()))


def estimates_to_mark(fits: Mapping[str, Fit]) -> dict[str, RemlEstimates]:
    """The estimates to mark beside posteriors, by label: those of the fits, and REML and ML of the model.

    A criterion that no fit was made by is minimised here. Where no fit is by REML or ML and the model sampled is not
    Gaussian (Student t effects or response), there is no REML or ML estimate of it, and nothing is marked. Of
    generalised responses Laplace's and those by quadrature are marked.
    """
    if isinstance(first_fit(fits).spec.family, Generalised):
        return _linked_to_mark(fits)
    own = {name: fit.estimates for name, fit in estimates_of(fits).items()}
    labels: dict[str, RemlEstimates] = {}
    for name, e in own.items():
        only = sum(o.method == e.method for o in own.values()) == 1
        labels[e.method if only else f"{name}: {e.method}"] = e
    if not own and any(p.draws.not_normal for p in posteriors_of(fits).values()):
        return {}
    spec, products = first_fit(fits).spec, products_of(fits)
    methods = {e.method for e in own.values()}
    if "REML" not in methods:
        labels["REML"] = fit_reml(spec, "REML", products=products)
    if "ML" not in methods:
        labels["ML"] = fit_reml(spec, "ML", products=products)
    return dict(sorted(labels.items(), key=lambda item: item[1].method == "ML"))


def family_of_estimates(estimates: RemlEstimates) -> Generalised:
    """The family that estimates are of."""
    family = response_family(estimates.family, estimates.link, estimates.classes)
    assert isinstance(family, Generalised)
    return family


def dispersions_of(estimates: RemlEstimates) -> dict[str, float]:
    """Dispersions by name: none of Gaussian responses."""
    if estimates.dispersion is None:
        return {}
    return dict(zip(family_of_estimates(estimates).dispersions, estimates.dispersion.tolist(), strict=True))


def marks_of(fit: Maximum) -> Floats:
    """Numbers (m,) by which the rows of a fit are known again."""
    held = fit if isinstance(fit, Estimated) else laplace_at(fit.spec, fit.estimates).laplace
    return held.products.marks


def laplace_at(spec: ModelSpec, estimates: RemlEstimates) -> LaplaceAt:
    """Everything at the estimates."""
    family = family_of_estimates(estimates)
    model = make_laplace(spec, fit_pilot(spec, family))
    roots = model.gaussian.standard(estimates.theta)
    logs = np.log(np.array(list(dispersions_of(estimates).values())))
    return model.at(roots, model.inward(estimates.beta), logs)


def require_gaussian(spec: ModelSpec, what: str, instead: str) -> None:
    """Refuse what generalised responses do not have.

    Raises
    ------
    NotAvailableError
        That says what to do `instead`.
    """
    if isinstance(spec.family, Generalised):
        raise NotAvailableError(f"{what} is for Gaussian responses, and this one is {spec.family.label}. {instead}")


def _linked_to_mark(fits: Mapping[str, Fit]) -> dict[str, RemlEstimates]:
    own = modes_of(fits)
    words = {name: "Laplace" if fit.estimates.nagq == 1 else "AGQ" for name, fit in own.items()}
    labels = {
        words[name] if list(words.values()).count(words[name]) == 1 else f"{name}: {words[name]}": fit.estimates
        for name, fit in own.items()
    }
    return labels or {"Laplace": fit_generalised(first_fit(fits).spec)}
