"""A user's script, which type checkers understand: mypy reads it in test_typing.py, nobody runs it."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ranef
from _ranef.results import Refits
from ranef.priors import HalfNormal, StudentT

data = ranef.datasets.load("sleepstudy")
model = ranef.Model("Reaction ~ Days + (Days | Subject)", data, weights="w")
eb = model.fit("ML", control=ranef.Control(em_steps=1))
fb = model.sample(seed=1, priors={"Days": StudentT(3, 0, 5), "sd": HalfNormal(10)})
assert_type(eb, ranef.EmpiricalBayesFit)
assert_type(fb, ranef.PosteriorFit)

for fit in (eb, fb):
    assert_type(fit.predict(), "pd.Series[float]")
    assert_type(fit.predict(data, re="none"), "pd.Series[float]")
    assert_type(fit.predict(data, re=["Subject"], interval="confidence"), pd.DataFrame)
    assert_type(fit.fixef, "pd.Series[float]")
    assert_type(fit.ranef(), pd.DataFrame)
    assert_type(fit.sigma, float)
    assert_type(fit.plot.residuals(), Axes)
    assert_type(fit.plot.diagnostics(), Figure)
    assert_type(fit.plot.ranef(), Axes | Figure)
    assert_type(fit.plot.ranef(term="Days", ax=Figure().subplots()), Axes)
    assert_type(fit.plot.lines(levels=["308"]), Axes | Figure)


def predictions(fit: ranef.Fit, interval: str | None) -> pd.DataFrame:
    """What is not known before is either."""
    assert_type(fit.predict(data), "pd.Series[float]")
    assert_type(fit.predict(data, interval="prediction"), pd.DataFrame)
    found = fit.predict(data, interval=interval)
    return found if isinstance(found, pd.DataFrame) else found.to_frame()


predictions(eb, None)
predictions(fb, "confidence")

y = data["Reaction"]
assert_type(eb.refit(y), ranef.EmpiricalBayesFit)
assert_type(eb.refit(np.zeros(180)), ranef.EmpiricalBayesFit)
assert_type(eb.refit(np.random.default_rng(1).normal(size=180)), ranef.EmpiricalBayesFit | Refits)
many = np.zeros((180, 3))
assert_type(eb.refit(many), Refits)
assert_type(eb.refit(eb.simulate(100)).frame, pd.DataFrame)
assert_type(eb.refit(pd.DataFrame({"a": y, "b": y})).frame, pd.DataFrame)

both = ranef.compare(eb, fb)
assert_type(both, ranef.Comparison)
assert_type(both.eb, ranef.EmpiricalBayesFit)
assert_type(both.plot(), Figure)
assert_type(both.plot.varcorr(ax=Figure().subplots()), Axes)
assert_type(both.plot.lines(ax=Figure().subplots(), level=0.5), Axes)

assert_type(both.predictions(data), pd.DataFrame)
assert_type(ranef.compare({"REML": eb, "ML": eb}), ranef.Comparison)
assert_type(ranef.compare(fb, fb, kind="conditional"), pd.DataFrame)
assert_type(ranef.compare({"a": fb, "b": fb}, group="Subject"), pd.DataFrame)
assert_type(ranef.compare(fb, fb), ranef.Comparison | pd.DataFrame)
assert_type(ranef.compare({"a": eb, "b": fb}), ranef.Comparison | pd.DataFrame)
assert_type(ranef.pooling(eb, fb).frame, pd.DataFrame)

path = eb.save("fit.ranef", overwrite=True)
assert_type(ranef.load(path, ranef.EmpiricalBayesFit), ranef.EmpiricalBayesFit)
assert_type(ranef.load(path, ranef.Comparison), ranef.Comparison)
assert_type(ranef.Model.of(fb), ranef.Model)
loaded = ranef.load(path)
if isinstance(loaded, ranef.PosteriorFit):
    assert_type(loaded.ok, bool)

# what should not pass
model.fit(REML=False)  # type: ignore[call-arg]
eb.predict(newdata=data)  # type: ignore[call-overload]
eb.loo()  # type: ignore[attr-defined]
