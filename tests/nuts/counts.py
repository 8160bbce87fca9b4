"""Counts in a few groups, and their posterior tabulated."""

import numpy as np
import pandas as pd
from scipy import stats


def counts(seed=3):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(8), 5)
    y = rng.poisson(np.exp(0.4 + rng.normal(0.0, 0.7, 8)[g]))
    return pd.DataFrame({"y": y, "g": g.astype(str)})


def by_quadrature(data, model):
    """Posterior means and sds of β and sd on a grid, by Gauss-Hermite within levels, with the priors of the model."""
    priors = model.priors()
    location, scale = priors.fixef["Intercept"], priors.sd["g", "Intercept"]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    beta, sd = np.linspace(-1.5, 2.5, 161), np.exp(np.linspace(np.log(0.02), np.log(6.0), 160))
    eta = beta[:, None, None] + sd[None, :, None] * nodes
    log_post = stats.norm.logpdf(beta, location.loc, location.scale)[:, None] + np.log(
        stats.t.pdf(sd / scale.scale, scale.df)
    )
    for _, y in data.groupby("g")["y"]:
        inside = y.sum() * eta - len(y) * np.exp(eta)
        log_post = log_post + np.log(np.exp(inside - inside.max()) @ (weights / np.sqrt(2 * np.pi))) + inside.max()
    mass = np.exp(log_post - log_post.max()) * sd  # the grid of sds is one of logarithms
    mass /= mass.sum()
    out = {}
    for name, values in (("Intercept", beta[:, None]), ("sd(Intercept)", sd[None, :])):
        mean = float((mass * values).sum())
        out[name] = mean, float(np.sqrt((mass * (values - mean) ** 2).sum()))
    return out
