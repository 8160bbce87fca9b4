"""How residuals vary from row to row, and together: the one place that knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from _ranef import residuals
from _ranef.errors import FitError
from _ranef.residuals.fixed_basis import Basis
from _ranef.residuals.on_rows import CorrelationRoot, RowCorrelation, RowVariance, Told, told_names
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import load

__all__ = ["Residual"]


@dataclass(frozen=True, eq=False, repr=False)
class Residual:
    """Residuals with variances σ² exp(2η(ρ))/wᵢ and correlations C(ρ); W is a root of the inverse of all that over σ².

    Attributes
    ----------
    n : int
        Number of rows.
    weights : array (n,) or None
        None where all are one.
    variance : RowVariance, optional
    correlation : RowCorrelation, optional
    rho : array (n_rho,), optional
        Their parameters, first those of the variance; None where they are not known yet, and then neither counts.
    """

    n: int
    weights: Floats | None
    variance: RowVariance | None = None
    correlation: RowCorrelation | None = None
    rho: Floats | None = None

    def taken(self, rows: Ints) -> Residual:
        """The same of some of the rows."""
        return Residual(
            len(rows),
            None if self.weights is None else self.weights[rows],
            None if self.variance is None else self.variance.taken(rows),
            None if self.correlation is None else self.correlation.taken(rows),
            self.rho,
        )

    @property
    def plain(self) -> bool:
        """Whether residuals are independent with the variance σ²."""
        return self.weights is None and self._no_variance and not self.correlated

    @property
    def weighted(self) -> bool:
        """Whether rows have prior weights."""
        return self.weights is not None

    @property
    def calls(self) -> list[str]:
        """The arguments that a user wrote for them, as Python."""
        out = [] if self.variance is None else [f"variance={self.variance.call}"]
        return out if self.correlation is None else [*out, f"correlation=ranef.{self.correlation.function!r}"]

    @property
    def meaning_lines(self) -> list[str]:
        """What the variance and the correlation are, in sentences."""
        out = [] if self.variance is None else [f"the standard deviation of a row over σ is {self.variance.meaning}"]
        return [
            *out,
            *([] if self.correlation is None else [f"the correlation of two rows {self.correlation.meaning}"]),
        ]

    def prior_words(self, given: Collection[str] = ()) -> list[str]:
        """Default priors of the parameters, a line each; without those that are `given` others, by name."""
        lines = []
        for part in (*self._variances, self.correlation):
            if part is None:
                continue
            own = told_names(part.told(part.starts[0]))
            named = {name.partition(" [")[0] for name in given}
            left = [name for name in own if name not in named]
            lines += [line for line in part.prior_words if left and line.partition(" ~")[0] not in named]
        return lines

    @property
    def _variances(self) -> list[RowVariance | None]:
        """The variance, or the parts of a product."""
        return list(getattr(self.variance, "parts", [self.variance]))

    @property
    def correlated(self) -> bool:
        """Whether they are not independent."""
        return self.correlation is not None and self.rho is not None

    @property
    def _no_variance(self) -> bool:
        return self.variance is None or self.rho is None

    @property
    def n_variance(self) -> int:
        """How many of ρ are the variance's."""
        return 0 if self.variance is None else len(self.variance.names)

    @property
    def _own(self) -> tuple[Floats, Floats]:
        rho = np.zeros(0) if self.rho is None else self.rho
        return rho[: self.n_variance], rho[self.n_variance :]

    @cached_property
    def log_sds(self) -> Floats:
        """η − ½ log w (n,): logarithms of standard deviations over σ."""
        own = np.zeros(self.n) if self.weights is None else -0.5 * np.log(self.weights)
        return own if self._no_variance else own + self._eta

    @property
    def _eta(self) -> Floats:
        assert self.variance is not None
        return self.variance.log_sds(self._own[0])

    @cached_property
    def precision(self) -> Floats:
        """σ² over the variance of each row (n,)."""
        own = np.ones(self.n) if self.weights is None else self.weights
        return own if self._no_variance else own * np.exp(-2.0 * self._eta)

    @cached_property
    def root(self) -> Floats:
        """Square roots of :attr:`precision` (n,), by which rows are multiplied."""
        return np.sqrt(self.precision)

    @property
    def log_precision(self) -> Floats:
        """Logarithms of :attr:`precision` (n,), whose sum enters densities of independent rows."""
        return -2.0 * self.log_sds

    @property
    def log_det(self) -> float:
        """Logarithm of |WᵀW|, which enters densities."""
        return 0.0 if self.plain else float(self.log_dets.sum())

    @property
    def log_dets(self) -> Floats:
        """Shares (n,) of the rows in it; those of correlated ones sum to that of all of them."""
        return self.log_precision - self._correlation.log_dets if self.correlated else self.log_precision

    @property
    def log_det_slopes(self) -> Floats:
        """Its derivatives (n_rho,)."""
        own = np.zeros(0) if self.variance is None else -2.0 * self.jacobian.sum(axis=1)
        return np.append(own, -self._correlation.log_det_slopes) if self.correlated else own

    @property
    def jacobian(self) -> Floats:
        """∂η/∂ρ (n_variance, n)."""
        return np.zeros((0, self.n)) if self.variance is None else self.variance.jacobian(self._own[0])

    @cached_property
    def basis(self) -> Basis | None:
        """The inverse covariance by fixed matrices, where ρ are of a variance or of a correlation, and few do."""
        return self._basis(numeric=False)

    @cached_property
    def numeric_basis(self) -> Basis | None:
        """The same, or by coefficients that numpy alone knows and that lose digits where C is nearly singular."""
        return self.basis or self._basis(numeric=True)

    def _basis(self, *, numeric: bool) -> Basis | None:
        variance, weights = self.variance, self.weights
        if variance is not None and not variance.names:  # known
            weights = np.exp(-2.0 * variance.log_sds(np.zeros(0))) * (1.0 if weights is None else weights)
            variance = None
        if (variance is None) == (self.correlation is None):
            return None
        if numeric:
            own = residuals.numeric_basis(variance, self.correlation, self.n)
        else:
            own = variance.basis() if variance is not None else self.correlation.basis() if self.correlation else None
        return None if own is None else own.weighted(weights)

    @property
    def units(self) -> Floats:
        """Sizes of ρ (n_rho,) that matter: those that change sds of rows, beside their mean, by about their size."""
        own = np.zeros(0) if self.variance is None else self.variance.units(self._own[0])
        return np.append(own, np.ones(0 if self.correlation is None else len(self.correlation.names)))

    @cached_property
    def _correlation(self) -> CorrelationRoot:
        assert self.correlation is not None
        return self.correlation.at(self._own[1])

    def scaled(self, values: Floats, rows: slice = slice(None)) -> Floats:
        """Values (..., m) of some rows over their standard deviations; themselves where there is nothing to do."""
        if self.weights is None and self._no_variance:
            return values
        return values * self.root[rows]

    def whitened(self, values: Floats, rows: slice = slice(None)) -> Floats:
        """W values (..., m) of some rows, which must be all where they are correlated."""
        own = self.scaled(values, rows)
        if not self.correlated:
            return own
        assert own.shape[-1] == self.n, "correlated rows are read together"
        return self._correlation.whitened(own)

    def over_covariance(self, values: Floats) -> Floats:
        """WᵀW values (m, n): times the inverse of their covariance over σ²."""
        if not self.correlated:
            return values * self.precision
        solve = load("scipy.sparse.linalg").splu(scipy.sparse.csc_array(self.covariance())).solve
        return np.asarray(solve(np.ascontiguousarray(values.T)).T)

    def changes(self, values: Floats) -> Floats:
        """∂(W values)/∂ρ (n_rho, ..., n) for values (..., n) of all rows."""
        own = self.scaled(values)
        moved = [-own * slope for slope in self.jacobian]
        if not self.correlated:
            return np.stack(moved) if moved else np.zeros((0, *values.shape))
        moved = [self._correlation.whitened(m) for m in moved]
        return np.stack([*moved, *self._correlation.changes(own)])

    def change_along(self, values: Floats, duals: Floats) -> Floats:
        """Σ ∂(W values)/∂ρ · duals (n_rho,), both (m, n)."""
        own = self.scaled(values)
        if not self.correlated:
            return np.asarray(-self.jacobian @ (own * duals).sum(axis=0))
        of_sds = [-(self._correlation.whitened(own * slope) * duals).sum() for slope in self.jacobian]
        return np.append(of_sds, np.einsum("kmn,mn->k", self._correlation.changes(own), duals))

    def noise(self, sigma: float, independent: Floats) -> Floats:
        """Residuals (..., n) of independent values (..., n) of variance one."""
        own = self._correlation.coloured(independent) if self.correlated else independent
        return np.asarray(sigma * own / self.root)

    def covariance(self) -> scipy.sparse.csr_array:
        """Covariance of the rows over σ² (n, n)."""
        sds = scipy.sparse.diags_array(1.0 / self.root)
        if not self.correlated or self.correlation is None:
            return scipy.sparse.csr_array(sds @ sds)
        codes = self.correlation.codes
        order = np.argsort(codes, kind="stable")
        first = np.searchsorted(codes[order], codes[order])
        place = np.empty(self.n, dtype=np.intp)
        place[order] = np.arange(self.n) - first
        rows, columns, entries = [], [], []
        for k in range(int(place.max()) + 1):  # the kth column of the root of every group at once
            column = self._correlation.coloured((place == k).astype(float))
            kept = np.flatnonzero(column)
            held = np.full(int(codes.max()) + 1, -1)
            held[codes[place == k]] = np.flatnonzero(place == k)
            rows.append(kept)
            columns.append(held[codes[kept]])
            entries.append(column[kept])
        at = (np.concatenate(rows), np.concatenate(columns))
        root = sds @ scipy.sparse.csr_array((np.concatenate(entries), at), shape=(self.n, self.n))
        return scipy.sparse.csr_array(root @ root.T)

    def sds(self, sigma: float) -> Floats:
        """Standard deviation of each row (n,)."""
        return np.asarray(sigma / self.root)

    def told(self) -> list[Told]:
        """Parameters as users read them, those of the variance first."""
        rho, own = self._own
        out = [] if self._no_variance or self.variance is None else self.variance.told(rho)
        return [*out, *self.correlation.told(own)] if self.correlated and self.correlation is not None else out

    def refuse_correlated(self, what: str, instead: str) -> None:
        """Raise for what stands on independent rows.

        Raises
        ------
        FitError
            If residuals are correlated.
        """
        if self.correlation is not None:
            own = self.correlation.function
            raise FitError(f"{what} is for independent residuals, and this model has {own!r}. {instead}")
