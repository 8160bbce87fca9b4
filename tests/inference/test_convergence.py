"""R-hat and effective sample sizes beside ArviZ's."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from _ranef.inference.convergence import effective_of_bulk, effective_of_tail, rank_rhat

RNG = np.random.default_rng(3)


def chains(slope, shape, *, whole=False):
    """Draws (chains, draws) of an autoregression; `whole` ones have ties."""
    noise = RNG.normal(size=shape)
    for t in range(1, shape[1]):
        noise[:, t] += slope * noise[:, t - 1]
    return np.round(noise) if whole else noise


CASES = {
    "independent": chains(0.0, (4, 1000)),
    "slow": chains(0.97, (4, 801)),
    "antithetic": chains(-0.7, (4, 500)),
    "apart": chains(0.3, (3, 200)) + np.arange(3.0)[:, None],
    "ties": chains(0.5, (2, 301), whole=True),
    "one chain": chains(0.8, (1, 400)),
    "few": chains(0.2, (4, 5)),
    "fewest": chains(0.0, (2, 4)),
    "of two values": (chains(0.9, (4, 300)) > 2.0).astype(float),
}


@pytest.mark.parametrize("name", CASES)
def test_they_are_those_of_arviz(name):
    x, along = CASES[name], {"chain_axis": 0, "draw_axis": 1}
    found = [rank_rhat(x), effective_of_bulk(x), effective_of_tail(x)]
    tail = array_stats.ess(x, method="tail", prob=(0.05, 0.95), **along)
    # of other lengths of the Fourier transform there is rounding alone between them
    np.testing.assert_allclose(found, [array_stats.rhat(x, **along), array_stats.ess(x, **along), tail], rtol=1e-9)


def test_what_is_no_number_has_none():
    x = CASES["few"].copy()
    x[1, 2] = np.nan
    assert np.isnan([rank_rhat(x), effective_of_bulk(x), effective_of_tail(x)]).all()
