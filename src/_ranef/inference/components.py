"""Principal components of the covariance of random effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["random_pca"]


def random_pca(spec: ModelSpec, covariances: Sequence[Floats], sigma: float) -> pd.DataFrame:
    """Eigenvalues and eigenvectors of Σ_k (p_k, p_k) of every grouping factor.

    A component without variance is a dimension that the data do not need: how far a maximal model may be reduced
    (Bates, Kliegl, Vasishth & Baayen 2015, arXiv:1506.04967). The components depend on the units of the covariates.
    """
    frames = []
    for g, covariance in zip(spec.groupings, covariances, strict=True):
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), range(len(values))] < 0, -1.0, 1.0)
        share = values / (values.sum() or 1.0)
        out = pd.DataFrame({"group": g.name, "component": np.arange(1, len(values) + 1), "sd": np.sqrt(values)})
        out = out.assign(relative_sd=out["sd"] / sigma, proportion=share, cumulative=share.cumsum())
        frames.append(out.join(pd.DataFrame(vectors.T, columns=list(g.columns))))
    columns = ["group", "component", "sd", "relative_sd", "proportion", "cumulative"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
