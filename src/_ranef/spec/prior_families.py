"""Prior families as data: their numbers, how they print, and draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.errors import DesignError
from _ranef.support.argument_remedies import helpful

__all__ = [
    "LKJ",
    "R2D2",
    "Cauchy",
    "Custom",
    "Exponential",
    "Flat",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Location",
    "Normal",
    "Scale",
    "ShapePrior",
    "StudentT",
    "Uniform",
    "from_numpyro",
    "is_numpyro",
]


class _Family:
    """What prior families share: which numbers they take, printing and draws."""

    def __post_init__(self) -> None:
        """Refuse what is no number; all but a place must be positive."""
        for name, value in vars(self).items():
            place = name in ("loc", "low", "high")
            if not (isinstance(value, int | float | np.number) and np.isfinite(value) and (place or value > 0)):
                what = "finite" if place else "positive finite"
                raise DesignError(f"{type(self).__name__}({name}={value!r}): {name} must be a {what} number.")

    def __str__(self) -> str:
        numbers = ", ".join(f"{v:.4g}" for v in vars(self).values())
        return f"{type(self).__name__}({numbers})"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        raise DesignError(f"There are no draws from the prior {self}: it is no proper distribution of one number.")


@helpful
@dataclass(frozen=True)
class Flat(_Family):
    """Improper uniform prior.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"Days": ranef.priors.Flat()}).lines() if "Days ~" in line]
    ['Days ~ flat']
    """

    def __str__(self) -> str:
        return "flat"


@helpful
@dataclass(frozen=True)
class Normal(_Family):
    """Normal prior with mean `loc` and standard deviation `scale`, in the units of the coefficient.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"Days": ranef.priors.Normal(0, 20)}).lines() if "Days ~" in line]
    ['Days ~ Normal(0, 20)']
    """

    loc: float
    scale: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return rng.normal(self.loc, self.scale, shape)


@helpful
@dataclass(frozen=True)
class StudentT(_Family):
    """Student t prior with `df` degrees of freedom, centre `loc` and scale `scale`.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"Days": ranef.priors.StudentT(3, 0, 5)}).lines() if "Days ~" in line]
    ['Days ~ StudentT(3, 0, 5)']
    """

    df: float
    loc: float = 0.0
    scale: float = 1.0

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return self.loc + self.scale * rng.standard_t(self.df, shape)


@helpful
@dataclass(frozen=True)
class Cauchy(_Family):
    """Cauchy prior: Student t with one degree of freedom.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"Days": ranef.priors.Cauchy(0, 5)}).lines() if "Days ~" in line]
    ['Days ~ Cauchy(0, 5)']
    """

    loc: float
    scale: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return self.loc + self.scale * rng.standard_cauchy(shape)


@helpful
@dataclass(frozen=True)
class HalfStudentT(_Family):
    """Half Student t prior for a standard deviation, in the units of the response.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"sigma": ranef.priors.HalfStudentT(3, 50)}).lines() if "sigma ~" in line]
    ['sigma ~ HalfStudentT(3, 50)']
    """

    df: float
    scale: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return np.abs(self.scale * rng.standard_t(self.df, shape))


@helpful
@dataclass(frozen=True)
class HalfNormal(_Family):
    """Half normal prior for a standard deviation.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"sigma": ranef.priors.HalfNormal(50)}).lines() if "sigma ~" in line]
    ['sigma ~ HalfNormal(50)']
    """

    scale: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return np.abs(rng.normal(0.0, self.scale, shape))


@helpful
@dataclass(frozen=True)
class HalfCauchy(_Family):
    """Half Cauchy prior for a standard deviation.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"sigma": ranef.priors.HalfCauchy(25)}).lines() if "sigma ~" in line]
    ['sigma ~ HalfCauchy(25)']
    """

    scale: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return np.abs(self.scale * rng.standard_cauchy(shape))


@helpful
@dataclass(frozen=True)
class Exponential(_Family):
    """Exponential prior for a standard deviation, with mean ``1 / rate``.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"sigma": ranef.priors.Exponential(0.02)}).lines() if "sigma ~" in line]
    ['sigma ~ Exponential(0.02)']
    """

    rate: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return rng.exponential(1.0 / self.rate, shape)


@helpful
@dataclass(frozen=True)
class Gamma(_Family):
    """Gamma prior for a standard deviation, with mean ``shape / rate``.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"sigma": ranef.priors.Gamma(2, 0.1)}).lines() if "sigma ~" in line]
    ['sigma ~ Gamma(2, 0.1)']
    """

    shape: float
    rate: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return rng.gamma(self.shape, 1.0 / self.rate, shape)


@helpful
@dataclass(frozen=True)
class LKJ(_Family):
    """LKJ prior for a correlation matrix; ``eta=1`` is uniform (Lewandowski, Kurowicka and Joe, 2009).

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"cor": ranef.priors.LKJ(2)}).lines() if "cor(" in line]
    ['cor(Intercept, Days | Subject) ~ LKJ(2)']
    """

    eta: float


@helpful
@dataclass(frozen=True)
class R2D2(_Family):
    """One global scale for all coefficients but the intercept (after Zhang et al., 2022, JASA 117, 862-874).

    R² ~ Beta with mean `mean` and precision `precision` (the sum of its two shapes), τ² = R²/(1 − R²),
    φ ~ Dirichlet(`concentration`, ...), and each coefficient ~ Normal(0, σ τ √φ / sd of its column). R² is the share
    of the fixed effects in their own and the residual variance, for uncorrelated columns.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> [line for line in model.priors({"fixef": ranef.priors.R2D2(mean=0.3)}).lines() if "Days ~" in line]
    ['Days ~ R2D2(0.3, 2, 0.5)']
    """

    mean: float = 0.5
    precision: float = 2.0
    concentration: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mean >= 1:
            raise DesignError(f"R2D2(mean={self.mean!r}): mean must lie between 0 and 1.")

    @property
    def shapes(self) -> tuple[float, float]:
        """Both shapes of the Beta distribution of R²."""
        return self.mean * self.precision, (1.0 - self.mean) * self.precision


@dataclass(frozen=True)
class Uniform(_Family):
    """Uniform prior between the bounds of a parameter, the default of one that has both; `Flat()` stands for it."""

    low: float
    high: float

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent draws."""
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Custom(_Family):
    """A distribution of ``numpyro.distributions`` that has no family here."""

    distribution: Any

    def __post_init__(self) -> None:
        """It has looked at its numbers itself."""

    def __str__(self) -> str:
        numbers = (f"{name}={getattr(self.distribution, name)}" for name in self.distribution.arg_constraints)
        return f"numpyro {type(self.distribution).__name__}({', '.join(numbers)})"


#: families for a coefficient, for a standard deviation, and for another parameter of a covariance structure
Location = Flat | Normal | StudentT | Cauchy | Custom
Scale = Flat | HalfStudentT | HalfNormal | HalfCauchy | Exponential | Gamma | Custom
ShapePrior = Flat | Uniform | Normal | StudentT | Cauchy | HalfStudentT | HalfNormal | HalfCauchy | Exponential | Gamma

#: arguments of the families that numpyro and this module both have
SHARED: dict[str, tuple[type[Any], Sequence[str]]] = {
    "Normal": (Normal, ("loc", "scale")),
    "StudentT": (StudentT, ("df", "loc", "scale")),
    "Cauchy": (Cauchy, ("loc", "scale")),
    "HalfNormal": (HalfNormal, ("scale",)),
    "HalfCauchy": (HalfCauchy, ("scale",)),
    "Exponential": (Exponential, ("rate",)),
    "Gamma": (Gamma, ("concentration", "rate")),
    "LKJ": (LKJ, ("concentration",)),
    "LKJCholesky": (LKJ, ("concentration",)),
}


def is_numpyro(prior: object) -> bool:
    """Whether `prior` is a numpyro distribution; numpyro is not imported to find out."""
    own = prior if isinstance(prior, type) else type(prior)
    return any(t.__module__.startswith("numpyro.distributions") for t in own.__mro__)


def from_numpyro(name: str, prior: Any) -> Any:
    """The family that a numpyro distribution of one number belongs to, or the distribution itself as `Custom`.

    Raises
    ------
    DesignError
        If it is a distribution of several numbers.
    """
    if isinstance(prior, type):
        raise DesignError(f"The prior of {name!r} is the class {prior.__name__}; call it with its numbers.")
    kind = type(prior).__name__
    if kind == "Delta" or getattr(prior.support, "is_discrete", False):
        raise DesignError(
            f"The prior of {name!r} is numpyro's {kind}, which has no density. A known residual standard deviation is "
            "given as Model(..., sigma=); other parameters cannot be fixed."
        )
    correlations = kind.startswith("LKJ")
    if not correlations and (tuple(prior.batch_shape) or tuple(prior.event_shape)):
        raise DesignError(
            f"The prior of {name!r} is a numpyro {kind} of batch shape {tuple(prior.batch_shape)} and event shape "
            f"{tuple(prior.event_shape)}; it must be a distribution of one number."
        )
    if kind in SHARED and type(prior).__module__.startswith("numpyro.distributions"):
        family, names = SHARED[kind]
        return family(*(float(getattr(prior, n)) for n in names))
    return Custom(prior)
