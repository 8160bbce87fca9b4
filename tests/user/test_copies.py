"""Everything that users hold can be copied, pickled and sent to another process."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.plots import ComparisonPlots, FitPlots
from ranef import priors

#: runs here are as short as will do
pytestmark = pytest.mark.filterwarnings("ignore::ranef.ConvergenceWarning")

SLEEP, TICKS = ranef.datasets.load("sleepstudy"), ranef.datasets.load("grouseticks")
#: copied by tests of their own, or no class of results
OTHERS = {
    ranef.Fit,
    ranef.RowSums,
    ranef.GeneralisedPosterior,
    ranef.GeneralisedComparison,
    ranef.GeneralisedPooling,
}
WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


def _worked_out(held):
    """The same after all its properties were asked for, so that it remembers what it can."""
    for name in dir(type(held)):
        if not name.startswith("__") and not inspect.isfunction(inspect.getattr_static(held, name)):
            try:
                getattr(held, name)
            except ranef.RanefError:
                continue
    return held


def _caught(call):
    with pytest.raises(ranef.RanefError) as caught:
        call()
    return caught.value


@pytest.fixture(scope="module")
def public():
    """One of everything, by name."""
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", SLEEP)
    eb = model.fit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.ConvergenceWarning)
        fb = model.sample(draws=40, warmup=40, seed=1, progress=False, sampler="nutpie")
    both, pooled = ranef.compare(eb, fb), ranef.pooling(eb, fb)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        loo = {"loo": fb.loo(), "loo by groups": fb.loo("group")}
        ranking = ranef.compare({"a": fb, "b": copy.copy(fb)}, kind="conditional")
        for held in (model, eb, fb, both, pooled):
            _worked_out(held)
    families = [getattr(priors, name) for name in priors.__all__ if name != "Priors"]
    raised = [getattr(ranef, name) for name in ranef.__all__]
    raised = [kind for kind in raised if isinstance(kind, type) and issubclass(kind, Exception)]
    return {
        "model": model,
        "fit": eb,
        "generalised": ranef.Model("TICKS ~ 1 + (1 | BROOD)", TICKS, family="poisson").fit(),
        "posterior": fb,
        "comparison": both,
        "pooling": pooled,
        "ranking": ranking,
        **loo,
        "refits": eb.refit(eb.simulate(3, seed=1)),
        "influence": eb.influence("Subject", refit=False),
        "derived": fb.derive("rank"),
        "pooled at": pooled.at(),
        "sweep": pooled.sweep(term="Days", n=3),
        "path": pooled.path(n=3),
        "boundary": both.boundary,
        "frames": both.frames,
        "summary": eb.summary(),
        "posterior summary": fb.summary(),
        "table": both.table(),
        "description": model.describe(),
        "equation": eb.equation(),
        "matrices": model.matrices,
        "matrices of a fit": eb.matrices,
        "cluster": model.matrices.cluster("308"),
        "figures": eb.plot,
        "figures of a comparison": both.plot,
        "priors": model.priors({"Days": priors.StudentT(3, 0, 5)}),
        "optimizer": eb.optimizer,
        "control": ranef.Control(em_steps=1),
        "data set": ranef.datasets.describe("pulp"),
        "data": SLEEP,
        "model from chunks": ranef.Model("Reaction ~ Days + (Days | Subject)", [SLEEP[:90], SLEEP[90:]]),
        **{f"prior {cls.__name__}": cls(*[0.5] * len(inspect.signature(cls).parameters)) for cls in families},
        **{f"raised {cls.__name__}": cls("words") for cls in raised},
        **{f"residuals {given!r}": given for given in RESIDUALS},
        "power": ranef.power(eb, "Days", 20, seed=1),
        "profile": eb.profile(),
        "bootstrap": eb.bootstrap(20, seed=1),
        "exact test": ranef.exact_rlrt(ranef.Model("Reaction ~ Days + (1 | Subject)", SLEEP).fit(), nsim=100, seed=1),
        "expected mean squares": ranef.anova_components("Reaction ~ 1 + (1 | Subject)", SLEEP),
        "fits by group": ranef.lm_list("Reaction ~ Days | Subject", SLEEP),
        "marginal means": ranef.emmeans(eb, "Days", at={"Days": [0, 9]}),
        "hypotheses": eb.test("Days", ddf="satterthwaite"),
        "tests of terms": eb.anova(),
        "nested fits": ranef.anova(eb, ranef.Model("Reaction ~ 1 + (Days | Subject)", SLEEP).fit()),
        "precision among levels": ranef.Precision(np.eye(2), ["a", "b"]),
        "error in a formula": _caught(lambda: ranef.Model("Reaction ~ Dys + (1 | Subject)", SLEEP)),
        "error in grammar": _caught(lambda: ranef.Model("Reaction ~ (Days", SLEEP)),
    }


RESIDUALS = (
    *(kind("x") for kind in (ranef.VarIdent, ranef.VarPower, ranef.VarExp, ranef.VarConstPower, ranef.VarFixed)),
    *(kind("t", "g") for kind in (ranef.AR1, ranef.CAR1, ranef.Symm)),
    *(kind("t", group="g", nugget=True) for kind in (ranef.Exponential, ranef.Gaussian, ranef.Spherical)),
    ranef.ARMA(1, 1, "t", "g"),
    ranef.CompSymm("g"),
)


def _shown(held):
    """What tells one from another: text, or all attributes where the text is an address."""
    return [text for text in (repr(held), str(held)) if " object at 0x" not in text]


@pytest.mark.parametrize("how", WAYS)
def test_copies_are_what_they_were(public, how):
    for name, held in public.items():
        made = WAYS[how](held)
        assert type(made) is type(held), name
        assert _shown(made) == _shown(held), name
        if isinstance(held, Exception):
            assert vars(made) == vars(held), name
        if isinstance(held, pd.DataFrame):
            pd.testing.assert_frame_equal(made, held)


def test_the_registry_has_every_public_class(public):
    """A class that users may hold and that is not copied here belongs there."""
    classes = [getattr(ranef, name) for name in ranef.__all__ if isinstance(getattr(ranef, name), type)]
    held = {type(value) for value in public.values()} | {ComparisonPlots, FitPlots}
    assert {cls for cls in classes if cls not in held} <= OTHERS


def test_what_was_worked_out_stays_behind(public):
    fb = public["posterior"]
    assert "datatree" in vars(fb)
    assert "datatree" not in vars(copy.deepcopy(fb))
    draws = sum(a.nbytes for a in (fb.draws.theta, fb.draws.sigma, fb.draws.beta, *fb.draws.b))
    assert len(pickle.dumps(fb)) < 2 * draws + 60_000


def test_copies_work_in_another_process(public, tmp_path):
    asked = {"Days": [3, 12], "Subject": ["308", "new"]}
    for name in ("fit", "posterior", "comparison", "model from chunks"):
        (tmp_path / name).write_bytes(pickle.dumps(public[name]))
    code = f"""
import pickle, pathlib
fit, posterior, both, chunks = (pickle.loads(pathlib.Path({str(tmp_path)!r}, name).read_bytes())
                                for name in ("fit", "posterior", "comparison", "model from chunks"))
print(fit.predict({asked}).tolist(), posterior.predict({asked}, interval="confidence").to_numpy().tolist())
print(both.random_effects.iloc[5, 4:].tolist(), chunks.fit().fitted().tolist()[:3])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    fit, posterior, both = public["fit"], public["posterior"], public["comparison"]
    new = fit.predict(asked).tolist(), posterior.predict(asked, interval="confidence").to_numpy().tolist()
    assert out[0] == f"{new[0]} {new[1]}"
    fitted = public["model from chunks"].fit().fitted().tolist()[:3]
    assert out[1] == f"{both.random_effects.iloc[5, 4:].tolist()} {fitted}"


def test_a_function_of_a_module_travels_with_its_model():
    model = ranef.Model("Reaction ~ root(Days) + (1 | Subject)", SLEEP, transforms={"root": np.sqrt})
    made = pickle.loads(pickle.dumps(model.fit()))
    assert made.predict({"Days": [4], "Subject": ["308"]}).notna().all()
