"""What poolings of all responses answer."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from _ranef import comparison as cmp
from _ranef.errors import DesignError, suggestion
from _ranef.inference import grouping_named
from _ranef.results import marked
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats
from _ranef.tables import Document, pooling_table
from _ranef.user.fit_base import ByFields, Shown

__all__ = ["Pooled"]


@helpful
class Pooled(ByFields, Shown):
    """Every level between complete pooling and none: frames, ratios of the posterior, and the table."""

    eb: Any
    fb: Any
    group: str | None
    level: float

    @property
    @abstractmethod
    def _base(self) -> cmp.PoolingBase | cmp.LinkedBase:
        """The model at the estimates."""

    @property
    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """All estimates of every random effect, as deviations from the fixed effects."""

    @property
    def _without_shares(self) -> str:
        """Why the posterior's reliabilities are left out of the table, if they are."""
        return ""

    @property
    def spec(self) -> ModelSpec:
        """The model.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> pooled.spec.n_obs
        20
        """
        spec: ModelSpec = self.eb.spec
        return spec

    @cached_property
    def coef(self) -> pd.DataFrame:
        """``group, level, term, n, no_pooling, partial, complete, posterior`` with the fixed effects added.

        Where X and Zⱼ have the same columns, ``no_pooling`` is the regression of the level alone, and ``complete`` the
        population's line. An effect without a fixed effect of its name is a deviation still.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> pooled.coef[["no_pooling", "partial", "complete"]].round(2).head(2).to_numpy().tolist()
        [[60.24, 60.28, 60.4], [60.06, 60.14, 60.4]]
        """
        beta = self.eb.estimates.beta
        mean = beta if self.fb is None else self.fb.fixef.to_numpy(dtype=float)
        return cmp.coefficient_frame(self._base, self.frame, beta, mean)

    def reliability_matrix(self, group: str, level: str) -> pd.DataFrame:
        """Λⱼ = DAⱼ(I + DAⱼ)⁻¹ (p, p) of one level at θ̂, with D relative to σ² and Aⱼ = ZⱼᵀWZⱼ.

        It is D(D + Aⱼ⁻¹)⁻¹ where Aⱼ is regular, and defined where it is not. With one grouping factor the BLUPs of the
        level are Λⱼ times its own coefficients.

        Raises
        ------
        DesignError
            If there is no such factor or level.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")))
        >>> pooled.reliability_matrix("Subject", "308").round(3).to_numpy().tolist()
        [[0.751, 0.68], [0.038, 0.838]]
        """
        k, g = grouping_named(self.spec, group)
        own, j = self._base.own[k], self._level(group, level)
        one = cmp.OwnData(own.A[[j]], own.T, own.inverse[[j]], own.variances[[j]])
        matrix = cmp.reliability_matrices(one, self.spec.lambdas(self._base.theta)[k])[0]
        return pd.DataFrame(matrix, index=list(g.columns), columns=list(g.columns))

    @cached_property
    def ratios(self) -> pd.DataFrame:
        """``group, term, estimate, mean, lower, upper`` of each effect's standard deviation over σ.

        ``estimate`` is that of θ̂, the others are of the posterior and NaN without one.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> pooled.ratios[["term", "estimate"]].round(3).to_numpy().tolist()
        [['Intercept', 0.8]]
        """
        return self._only(cmp.ratio_frame(self._base, None if self.fb is None else self.fb.draws, self.level))

    def ratio_draws(self, group: str | None = None, term: str | None = None) -> Floats:
        """Posterior draws (chains, draws) of one effect's standard deviation over σ.

        Raises
        ------
        DesignError
            If there is no posterior, or the effect has to be named.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> pooled = ranef.pooling(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> pooled.ratio_draws().shape
        (4, 200)
        """
        k, q = cmp.one_column(self.spec, group or self.group, term)
        fb = self._posterior("ratio_draws()")
        return np.asarray(cmp.relative_sds(self.spec, fb.draws.theta)[k][..., q])

    def table(self, max_levels: int = 10) -> Document:
        """The estimates with the fixed effects added, at most `max_levels` levels of each factor and effect.

        Examples
        --------
        >>> import ranef
        >>> pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
        >>> print(str(pooled.table(max_levels=2)).splitlines()[4])
         operator Intercept a     5     60.240  60.278   60.400       0.762
        """
        columns = [c for c in self.frame if str(c).startswith("reliability")]
        out = pooling_table(
            self.coef.assign(**{str(c): self.frame[c] for c in columns}),
            formula=self.spec.design.formula,
            engine=self.eb.engine,
            level=None if self.fb is None else self.level,
            without_shares=self._without_shares,
            max_levels=max_levels,
        )
        return marked(out, [fit for fit in (self.eb, self.fb) if fit is not None])

    def __repr__(self) -> str:
        return str(self.table())

    def _document(self) -> Document:
        return self.table()

    def _only(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame if self.group is None else frame[frame["group"] == self.group].reset_index(drop=True)

    def _groups(self, group: str | None) -> list[int]:
        """Places of the grouping factors asked for."""
        group = group or self.group
        return list(range(len(self.spec.groupings))) if group is None else [grouping_named(self.spec, group)[0]]

    def _posterior(self, what: str) -> Any:
        if self.fb is None:
            raise DesignError(f"{what} needs a posterior: ranef.pooling(model.fit(), model.sample()).")
        return self.fb

    def _level(self, group: str, level: str) -> int:
        known = [str(name) for name in grouping_named(self.spec, group)[1].levels]
        if str(level) not in known:
            raise DesignError(f"{group} has no level {level!r}.{suggestion(str(level), known)}")
        return known.index(str(level))
