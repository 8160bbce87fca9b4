"""The matrices of models and of fits, as users hold them: what can be shown."""

from __future__ import annotations

from dataclasses import dataclass, fields

from _ranef import equations
from _ranef import inference as inf
from _ranef.spec import KhatriRao, ModelMatrices

__all__ = ["FitMatrices", "LinkedMatrices", "Matrices"]


@dataclass(frozen=True, eq=False, repr=False)
class ShownProduct(KhatriRao):
    """J and X of a term, and Z of which each row is the Kronecker product of theirs; printed with names."""

    @property
    def _views(self) -> list[equations.MatrixView]:
        return [equations.shown(getattr(self, f.name)) for f in fields(self)]

    def __repr__(self) -> str:
        return "\n\n".join(view.text for view in self._views)

    def _repr_html_(self) -> str:
        return "".join(view._repr_html_() for view in self._views)


class _Shown(ModelMatrices):
    def show(self, name: str, group: str | None = None, most: int = 8) -> equations.MatrixView:
        """A matrix to look at, with the names of its rows and columns, and dots where it is long.

        Parameters
        ----------
        name : str
            One of ``names``, as ``"Z"``, ``"X"``, ``"J"``, and of a fit ``"D"``, ``"V"``, ``"Lambda"``, ``"L"``.
        group : str, optional
            Of ``"J"``, ``"X_i"``, ``"Z_i"`` and ``"template"``: the grouping factor, or the term as written.
        most : int
            Rows and columns up to which all are shown.

        Returns
        -------
        MatrixView
            ``.text``, ``.latex``, ``.mathml``, ``.typst``, ``.frame``; a notebook shows a table.

        Raises
        ------
        DesignError
            If there is no such matrix.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> print(fit.matrices.show("D", most=4))
        D: 36 × 36
                                Subject[308].Intercept  Subject[308].Days  …  Subject[372].Days
        Subject[308].Intercept                   612.1              9.604  …                  .
             Subject[308].Days                   9.604              35.07  …                  .
                             ⋮                       ⋮                  ⋮  ⋱                  ⋮
             Subject[372].Days                       .                  .  …              35.07
        """
        return equations.shown(self.named(name, group), most)

    def khatri_rao(self, group: str | None = None) -> ShownProduct:
        """Zᵢ = (Jᵢᵀ ⊙ Xᵢᵀ)ᵀ of a term: each row of Zᵢ is the Kronecker product of those of Jᵢ and Xᵢ.

        Parameters
        ----------
        group : str, optional
            The grouping factor, or the term as written; the first by default.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        >>> product = model.matrices.khatri_rao("Subject")  # print it to see them
        >>> product.J.values.shape, product.X.values.shape, product.Z.values.shape
        ((180, 18), (180, 2), (180, 36))
        """
        return ShownProduct(*(self.named(name, group) for name in ("J", "X_i", "Z_i")))


@dataclass(frozen=True, eq=False, repr=False)
class Matrices(_Shown):
    """The matrices of a model."""


@dataclass(frozen=True, eq=False, repr=False)
class FitMatrices(_Shown, inf.FitMatrices):
    """The matrices of a fit."""


@dataclass(frozen=True, eq=False, repr=False)
class LinkedMatrices(_Shown, inf.LinkedMatrices):
    """The matrices of a fit of a response with a link."""
