"""The matrices of models and of fits, as users hold them: what can be shown."""

from __future__ import annotations

from dataclasses import dataclass

from _ranef import equations
from _ranef import inference as inf
from _ranef.spec import ModelMatrices

__all__ = ["FitMatrices", "Matrices"]


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


@dataclass(frozen=True, eq=False, repr=False)
class Matrices(_Shown):
    """The matrices of a model."""


@dataclass(frozen=True, eq=False, repr=False)
class FitMatrices(_Shown, inf.FitMatrices):
    """The matrices of a fit."""
