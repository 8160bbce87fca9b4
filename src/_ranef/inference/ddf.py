"""Reference distributions of the coefficients: how many degrees of freedom their standard errors have, and joint tests.

Each law has a covariance of β̂, the degrees of freedom of single combinations lᵀβ, and of several at once with what the
F statistic is multiplied by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy

from _ranef.errors import DesignError, FitError, NotAvailableError
from _ranef.inference.engines import Estimated, Maximum, at_estimates
from _ranef.inference.information import VarianceInformation, variance_information, vcov_derivatives
from _ranef.likelihood import adjustment
from _ranef.spec import ModelSpec, TermSpec
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats

__all__ = [
    "CoefficientLaw",
    "CoefficientTests",
    "Joint",
    "check_ddf",
    "coefficient_law",
    "coefficient_tests",
    "joint_test",
    "normal_law",
    "two_sided",
]

#: of combinations in units of their standard errors, the least singular value that is not rounding
DEPENDENT = 1e-9

#: in those units, what is left of an estimate that is zero
CONTRADICTION = 1e-6

#: a contrast's degrees of freedom within this of each other are the same
SAME_DF = 1e-8

#: determinants of parameters' information, scaled to a unit diagonal, below which it has no inverse
SINGULAR = 1e-10


class CoefficientLaw(Protocol):
    """What tests of combinations of coefficients stand on."""

    @property
    def words(self) -> str:
        """The method, as a table says it; empty for normal."""
        ...

    @property
    def vcov(self) -> Floats:
        """Covariance of β̂ (p, p)."""
        ...

    def ddf(self, L: Floats) -> Floats:
        """Degrees of freedom (r,) of each row of L (r, p) alone; infinite for normal."""
        ...

    def joint(self, L: Floats) -> tuple[float, float]:
        """What F of the independent rows L (q, p) is multiplied by, and its denominator degrees of freedom."""
        ...


@dataclass(frozen=True, eq=False)
class Fixed:
    """One number of degrees of freedom for all: infinite (normal, χ²), or of the residuals.

    Attributes
    ----------
    vcov : array (p, p)
    df : float
    words : str
    """

    vcov: Floats
    df: float
    words: str

    def ddf(self, L: Floats) -> Floats:
        """The same for each."""
        return np.full(len(L), self.df)

    def joint(self, L: Floats) -> tuple[float, float]:
        """The same."""
        return 1.0, self.df


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """2 V²/Var(V) of the variance V of a combination, by the delta method from the observed information.

    Giesbrecht & Burns 1985, Biometrics 41, 477-486; for several combinations at once Fai & Cornelius 1996, J. Stat.
    Comput. Simul. 54, 363-378, as lmerTest has it. Principal combinations are of the rows as given, so that of several
    the degrees of freedom, not F, depend on the coding: lmerTest's by the same amounts, Kenward and Roger's not at all.

    Attributes
    ----------
    vcov : array (p, p)
    slopes : array (m, p, p)
        Its derivatives in the variance parameters.
    information : VarianceInformation
    words : str
    """

    vcov: Floats
    slopes: Floats
    information: VarianceInformation
    words: str = "Satterthwaite's method"

    def ddf(self, L: Floats) -> Floats:
        """Of each row."""
        variance = np.einsum("rp,pq,rq->r", L, self.vcov, L)
        moves = np.einsum("rp,mpq,rq->rm", L, self.slopes, L)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / np.array([self.information.covariance([d])[0, 0] for d in moves]))

    def joint(self, L: Floats) -> tuple[float, float]:
        """From those of the principal combinations, whose squared t sum to the statistic."""
        _, vectors = np.linalg.eigh(L @ self.vcov @ L.T)
        return 1.0, _of_sum(self.ddf(vectors.T @ L))


def _of_sum(df: Floats) -> float:
    """Denominator degrees of freedom of a mean of q squared t's: E F = ν/(ν − 2) is the mean of theirs."""
    if np.isnan(df).any() or np.isinf(df).all() or np.ptp(df) < SAME_DF * df.max():
        return float(df.mean())
    if not (df > 2.0).all():
        return 2.0
    return 2.0 + len(df) / float((1.0 / (df - 2.0)).sum())


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """Kenward & Roger 1997, Biometrics 53, 983-997, as pbkrtest has it (Halekoh & Højsgaard 2014, JSS 59(9)).

    Attributes
    ----------
    vcov : array (p, p)
        Adjusted.
    plain : array (p, p)
        σ²(XᵀV⁻¹X)⁻¹.
    slopes : array (m, p, p)
        Its derivatives in variances, which stand in the covariance of the rows as factors.
    W : array (m, m)
        Their covariance, from the expected information.
    words : str
    """

    vcov: Floats
    plain: Floats
    slopes: Floats
    W: Floats
    words: str = "Kenward-Roger's method"

    def ddf(self, L: Floats) -> Floats:
        """Of each row."""
        return np.array([self.joint(row[None])[1] for row in L])

    def joint(self, L: Floats) -> tuple[float, float]:
        """Moments of the statistic matched to those of a multiple of F, exact in balanced designs (§3 of the paper)."""
        q = len(L)
        inner = np.linalg.inv(L @ self.plain @ L.T)
        shares = np.array([inner @ L @ S @ L.T for S in self.slopes]).reshape(-1, q, q)
        traces = np.einsum("maa->m", shares)
        A1 = float(traces @ self.W @ traces)
        A2 = float(np.einsum("mn,mab,nba->", self.W, shares, shares))
        return _matched(q, A1, A2)


def _matched(q: int, A1: float, A2: float) -> tuple[float, float]:
    """λ and the denominator m of λF ~ F(q, m) from A1 and A2 (Kenward & Roger 1997, p. 987)."""
    if A2 <= 0.0:
        return 1.0, np.inf
    B = (A1 + 6.0 * A2) / (2.0 * q)
    g = ((q + 1.0) * A1 - (q + 4.0) * A2) / ((q + 2.0) * A2)
    c1, c2, c3 = (part / (3.0 * q + 2.0 * (1.0 - g)) for part in (g, q - g, q + 2.0 - g))
    V0, V1, V2 = 1.0 + c1 * B, 1.0 - c2 * B, 1.0 - c3 * B
    V0 = 0.0 if abs(V0) < SINGULAR else V0
    if abs(V2) < SINGULAR:  # ρ is infinite
        return 2.0 * (1.0 - A2 / q), 4.0
    rho = ((1.0 - A2 / q) / V1) ** 2 * V0 / V2 / q if abs(V1) > SINGULAR else V0 / V2 / q
    m = 4.0 + (q + 2.0) / (q * rho - 1.0)
    return (1.0 if abs(m - 2.0) < 0.01 else m * (1.0 - A2 / q) / (m - 2.0)), m


def normal_law(vcov: Floats) -> CoefficientLaw:
    """Normal, with a covariance (p, p)."""
    return Fixed(vcov, np.inf, "")


def _normal(fit: Estimated) -> CoefficientLaw:
    return normal_law(fit.estimates.vcov)


def _residual(fit: Estimated) -> CoefficientLaw:
    return Fixed(fit.estimates.vcov, float(fit.spec.n_obs - fit.spec.n_fixed), "n - p degrees of freedom")


def _satterthwaite(fit: Estimated) -> CoefficientLaw:
    at, theta = at_estimates(fit), fit.estimates.theta
    try:
        return Satterthwaite(at.vcov, vcov_derivatives(at, theta), variance_information(at, theta))
    except np.linalg.LinAlgError:
        raise FitError(
            "Satterthwaite's degrees of freedom need the observed information of the variance parameters, and it does "
            "not exist here: a residual parameter stands at its end. Take ddf=None or 'residual'."
        ) from None


def _kenward_roger(fit: Estimated) -> CoefficientLaw:
    _refuse_kenward_roger(fit)
    at = at_estimates(fit)
    own = adjustment(at, [change for t in fit.spec.terms for change in _basis(fit.spec, t)])
    own = own.with_scale(fit.spec.n_obs) if fit.spec.sigma is None else own
    first = own.first
    W = 2.0 * _inverse(own.information)
    U = np.einsum("ij,ijpq->pq", W, own.second - first[:, None] @ first[None, :])
    half = at.sigma * own.root
    vcov = half @ (np.eye(len(half)) + U + U.T) @ half.T
    return KenwardRoger(vcov, half @ half.T, half @ first @ half.T, W)


def _inverse(information: Floats) -> Floats:
    """Of what may be singular, where parameters are not told apart; scaled, so that units do not count."""
    size = np.sqrt(np.maximum(np.diag(information), 0.0))
    size = np.where(size > 0.0, size, 1.0)
    return np.asarray(
        np.linalg.pinv(information / np.outer(size, size), SINGULAR, hermitian=True) / np.outer(size, size)
    )


def _basis(spec: ModelSpec, term: TermSpec) -> list[tuple[int, Floats]]:
    """Changes of which every change of the term's covariance is a combination.

    They are those of standard columns too, whose covariance has the same structure.
    """
    own, unit = term.structure, np.eye(term.structure.size)
    if own.free:
        pairs = [(unit[a], unit[b]) for a in range(own.size) for b in range(a + 1)]
        parts = [np.outer(a, b) + np.outer(b, a) for a, b in pairs]
    else:
        parts = [E @ E.T for E in own.jacobian(np.ones(own.n_theta))]
    whole = np.zeros((len(parts),) + 2 * (len(spec.groupings[term.grouping].columns),))
    whole[:, term.where, term.where] = parts
    return [(term.grouping, G) for G in whole]


def _refuse_kenward_roger(fit: Estimated) -> None:
    spec, instead = fit.spec, "Take ddf='satterthwaite', or test='Satterthwaite' in ranef.anova()."
    if fit.estimates.method == "ML":
        raise DesignError(
            "Kenward and Roger's adjustment is of REML estimates, and this fit is by ML. Fit by REML, model.fit(), or "
            "take ddf='satterthwaite'; ranef.anova(test='KR') refits by itself."
        )
    if spec.rho_names:
        raise NotAvailableError(
            "Kenward and Roger's adjustment is for residuals that are independent with variances known up to a factor, "
            f"and this model has residual {'correlations' if spec.correlation is not None else 'variances'} with "
            f"parameters. {instead}"
        )
    shaped = [t.text for t in spec.terms if t.structure.shapes]
    if shaped:
        raise NotAvailableError(
            f"Kenward and Roger's adjustment is for covariances that are sums of their parameters, and {shaped[0]} is "
            f"not. {instead}"
        )


#: what else names of them may be
SHORT = {"kr": "kenward-roger"}

#: what ``ddf=`` may be
DDF: Mapping[str | None, Callable[[Estimated], CoefficientLaw]] = {
    None: _normal,
    "residual": _residual,
    "satterthwaite": _satterthwaite,
    "kenward-roger": _kenward_roger,
}


def check_ddf(ddf: str | None) -> str | None:
    """The name of a method, whatever its case.

    Raises
    ------
    DesignError
        If there is none of that name.
    """
    name = ddf.lower().replace("_", "-") if isinstance(ddf, str) else ddf
    name = SHORT.get(str(name), name)
    one_of("ddf", name, [*filter(None, DDF), None])
    return name


def coefficient_law(fit: Maximum, ddf: str | None) -> CoefficientLaw:
    """The reference distribution of the coefficients of a fit.

    Parameters
    ----------
    fit : Maximum
    ddf : "satterthwaite", "kenward-roger", "residual" or None
        None alone for generalised responses.

    Raises
    ------
    DesignError
        If there is no such method, or the fit is by ML and the method for REML alone.
    NotAvailableError
        If the method is not for such a model.
    """
    name = check_ddf(ddf)
    if name is None or isinstance(fit, Estimated):
        return DDF[name](fit)  # type: ignore[arg-type]
    raise NotAvailableError(
        f"ddf={ddf!r} is not available for generalised responses, which have no residual degrees of freedom: their "
        "tests are by z and χ² (ddf=None). fit.bootstrap() and ranef.anova(test='bootstrap') are for few groups."
    )


def two_sided(statistic: Floats, df: Floats) -> Floats:
    """P-values (r,) of t, or of z where degrees of freedom are infinite."""
    return np.asarray(2.0 * scipy.special.stdtr(df, -np.abs(statistic)))


@dataclass(frozen=True, eq=False)
class CoefficientTests:
    """Tests of single coefficients.

    Attributes
    ----------
    std_error, statistic, df, p : array (p,)
        t and its p-value, or z where `df` is infinite.
    vcov : array (p, p)
    words : str
        How the degrees of freedom were found; empty for normal.
    """

    std_error: Floats
    statistic: Floats
    df: Floats
    p: Floats
    vcov: Floats
    words: str

    @property
    def columns(self) -> dict[str, Floats]:
        """The columns that a table has where degrees of freedom were asked for."""
        return {"df": self.df, "p_value": self.p} if self.words else {}


def coefficient_tests(law: CoefficientLaw, beta: Floats) -> CoefficientTests:
    """Test every coefficient β (p,) alone."""
    se = np.sqrt(np.diag(law.vcov))
    df = law.ddf(np.eye(len(beta)))
    return CoefficientTests(se, beta / se, df, two_sided(beta / se, df), law.vcov, law.words)


@dataclass(frozen=True)
class Joint:
    """A joint test of q combinations: F with (ndf, ddf), or χ² with ndf where `ddf` is infinite."""

    statistic: float
    ndf: int
    ddf: float
    p: float
    scale: float


def joint_test(law: CoefficientLaw, L: Floats, effect: Floats) -> Joint:
    """Test that rows L (r, p) of β are zero; `effect` (r,) is Lβ̂, less a value. Rows that others make are left out.

    Raises
    ------
    DesignError
        If rows contradict each other.
    FitError
        If a row has no variance.
    """
    half = L @ _root(law.vcov)
    size = np.linalg.norm(half, axis=1)
    if not (size > 0.0).all():
        raise FitError(
            f"Row {int(np.argmin(size))} of L has an estimate without variance: there is nothing to test it by."
        )
    U, s, _ = np.linalg.svd(half / size[:, None])
    s = np.pad(s, (0, len(L) - len(s)))
    kept, standard = s > DEPENDENT * s.max(initial=0.0), U.T @ (effect / size)
    if np.abs(standard[~kept]).max(initial=0.0) > CONTRADICTION * max(1.0, np.abs(effect / size).max(initial=0.0)):
        raise DesignError("The hypotheses contradict each other: one side is the same and the values differ.")
    q, wald = int(kept.sum()), float(((standard[kept] / s[kept]) ** 2).sum())
    scale, df = law.joint(L if kept.all() else U[:, kept].T @ (L / size[:, None]))
    if np.isinf(df):
        return Joint(wald, q, df, float(scipy.special.chdtrc(q, wald)), 1.0)
    F = scale * wald / q
    return Joint(F, q, df, float(scipy.special.fdtrc(q, df, F)), scale)


def _root(vcov: Floats) -> Floats:
    """R (p, p) with RRᵀ = Var β̂."""
    try:
        return np.linalg.cholesky(vcov)
    except np.linalg.LinAlgError:  # of few clusters
        values, vectors = np.linalg.eigh(vcov)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
