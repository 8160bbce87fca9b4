"""What was saved answers, loaded, what it did before: to the last bit, and without the data frame."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ranef
from ranef.priors import Exponential, HalfNormal, StudentT
from saved.write import numbers_of

#: runs here are as short as will do
pytestmark = pytest.mark.filterwarnings("ignore::ranef.ConvergenceWarning")

HERE = Path(__file__).parent

rng = np.random.default_rng(11)
N = 90
DATA = pd.DataFrame(
    {
        "y": rng.normal(size=N) + 10,
        "x": rng.normal(size=N),
        "z": rng.uniform(1, 5, N),
        "f": pd.Categorical(rng.permutation(np.arange(N) % 3).astype(str), categories=["2", "0", "1"]),
        "o": pd.Categorical(rng.permutation(np.arange(N) % 3).astype(str), ordered=True),
        "g": rng.permutation(np.arange(N) % 9).astype(str),
        "h": rng.permutation(np.arange(N) % 6),
        "w": rng.uniform(0.5, 2, N),
        "b": rng.permutation(np.arange(N) % 2).astype(bool),
    },
    index=pd.date_range("2020-01-01", periods=N, tz="Europe/Paris", name="when"),
)
DATA["y"] += 2 * rng.normal(size=9)[DATA["g"].astype(int)] + rng.normal(size=6)[DATA["h"]] + DATA["x"]
DATA.loc[DATA.index[3], "x"] = np.nan

#: formula and options of models of every kind
MODELS = {
    "slopes": ("y ~ x + (x | g)", {}),
    "crossed": ("y ~ x + f + (x | g) + (1 | h)", {}),
    "nested": ("y ~ x + (1 | g/b)", {}),
    "interaction": ("y ~ f:x + (1 | g:h)", {}),
    "diagonal": ("y ~ x + diag(x | g) + ident(0 + f | h)", {}),
    "double bar": ("y ~ x + (x || g)", {}),
    "poly": ("y ~ poly(z, 3) + (poly(x, 2) | g)", {}),
    "splines": ("y ~ bs(z, df=5) + cr(x, df=4) + (1 | g)", {}),
    "scaled": ("y ~ scale(x) + center(z) + log(z) + I(z^2) + mean(z):x + (1 | g)", {}),
    "factors": ("y ~ factor(h) + o + C(f, contr.sum) + relevel(f, '1'):x + b + (1 | g)", {}),
    "weights": ("y ~ x + (1 | g)", {"weights": "w"}),
    "weights by array": ("y ~ x + (1 | g)", {"weights": DATA["w"].to_numpy()}),
    "offset": ("y ~ x + offset(z) + (1 | g)", {"offset": "w"}),
    "known sigma": ("y ~ x + (1 | g)", {"sigma": 1.5}),
    "no fixed effects": ("y ~ 0 + (1 | g)", {}),
    "aliased": ("y ~ x + I(2 * x) + (1 | g)", {}),
    "no random effects": ("y ~ x + z", {}),
}
NEW = DATA.assign(g=lambda d: d["g"].where(d["g"] != "3", "new")).iloc[10:40]


def model_of(name):
    formula, options = MODELS[name]
    return ranef.Model(formula, DATA, **options)


def again(saved, tmp_path, **options):
    """Saved, loaded in this process, from a copy under another name."""
    path = saved.save(tmp_path / "first.ranef")
    return ranef.load(path.rename(tmp_path / "copy"), **options)


def same(a, b):
    if isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    else:
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::ranef.RanefWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_fit_answers_as_before(name, tmp_path):
    fit = model_of(name).fit()
    loaded = again(fit, tmp_path)
    assert type(loaded) is ranef.EmpiricalBayesFit
    assert str(loaded.summary()) == str(fit.summary())
    for answer in ("fixef", "vcov", "varcorr", "theta"):
        same(getattr(fit, answer), getattr(loaded, answer))
    for answer in ("ranef", "fitted", "residuals", "tidy", "glance", "augment", "r2", "icc", "hatvalues"):
        same(getattr(fit, answer)(), getattr(loaded, answer)())
    same(fit.predict(NEW), loaded.predict(NEW))
    same(fit.predict(NEW, interval="prediction"), loaded.predict(NEW, interval="prediction"))
    same(fit.simulate(3, seed=1), loaded.simulate(3, seed=1))
    assert loaded.equation(values=True).latex == fit.equation(values=True).latex
    y = fit.simulate(2, seed=2)
    same(fit.refit(y).frame, loaded.refit(y).frame)
    once_more = ranef.Model.of(loaded).fit("ML")
    same(model_of(name).fit("ML").fixef, once_more.fixef)
    assert ranef.Model.of(loaded).describe().to_markdown() == ranef.Model.of(fit).describe().to_markdown()


@pytest.fixture(scope="module")
def sleep():
    return ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def fb(sleep):
    return sleep.sample(draws=150, seed=1, progress=False, sampler="nutpie")


@pytest.fixture(scope="module")
def eb(sleep):
    return sleep.fit()


def test_a_posterior_is_the_same_to_the_last_bit(fb, tmp_path):
    loaded = again(fb, tmp_path)
    assert type(loaded) is ranef.PosteriorFit
    assert loaded.datatree.equals(fb.datatree)
    for name in ("theta", "sigma", "beta"):
        assert getattr(loaded.draws, name).tobytes() == getattr(fb.draws, name).tobytes()
    assert str(loaded.summary()) == str(fb.summary())
    new = {"Days": [3, 12], "Subject": ["308", "new"]}
    for options in ({}, {"interval": "confidence"}, {"interval": "prediction", "seed": 3, "new_levels": "sample"}):
        same(fb.predict(new, **options), loaded.predict(new, **options))
    same(fb.simulate(3, seed=1), loaded.simulate(3, seed=1))
    same(fb.derive("rank").frame(), loaded.derive("rank").frame())
    with pytest.warns(ranef.RanefWarning, match="Pareto"):
        first = fb.loo()
    with pytest.warns(ranef.RanefWarning, match="Pareto"):
        second = loaded.loo()
    same(first.elpd_i, second.elpd_i)


def test_the_same_seed_gives_the_same_draws(eb, fb, sleep, tmp_path):
    sleep.save(tmp_path / "model")
    eb.save(tmp_path / "eb")
    fb.save(tmp_path / "fb")
    models = [ranef.load(tmp_path / "model"), *(ranef.Model.of(ranef.load(tmp_path / n)) for n in ("eb", "fb"))]
    for model in models:
        drawn = model.sample(draws=150, seed=1, progress=False, sampler="nutpie")
        same(drawn.draws.theta, fb.draws.theta)
        same(drawn.draws.b[0], fb.draws.b[0])
        assert model.describe().to_markdown() == sleep.describe().to_markdown()


def test_a_comparison_and_a_pooling(eb, fb, tmp_path):
    both = ranef.compare(eb, fb)
    loaded = again(both, tmp_path)
    assert type(loaded) is ranef.Comparison
    assert list(loaded.fits) == ["eb", "fb"]
    assert loaded.eb.spec is loaded.fb.spec  # one model, as before
    assert str(loaded) == str(both)
    same(both.tidy(), loaded.tidy())
    same(both.predictions({"Days": [3], "Subject": ["308"]}), loaded.predictions({"Days": [3], "Subject": ["308"]}))
    with pytest.raises(TypeError, match="does not support item assignment"):
        loaded.fits["eb"] = eb
    pooled = ranef.pooling(eb, fb, level=0.9)
    other = again(pooled, tmp_path)
    assert (type(other), other.level) == (ranef.Pooling, 0.9)
    same(pooled.frame, other.frame)
    same(pooled.path(n=3), other.path(n=3))
    same(pooled.reliability_draws(), other.reliability_draws())
    assert str(ranef.compare(loaded.eb, loaded.fb)) == str(both)


def test_figures_of_what_was_loaded(eb, tmp_path):
    loaded = again(eb, tmp_path)
    assert len(loaded.plot.lines().axes) == len(eb.plot.lines().axes)


@pytest.mark.slow
def test_page_of_what_was_loaded(eb, fb, tmp_path):
    loaded = again(ranef.compare(eb, fb), tmp_path)
    assert loaded.report(tmp_path / "page.html").stat().st_size > 1_000_000


def test_sizes(eb, fb, tmp_path):
    """A fit by REML takes what its rows take; a posterior its draws, which do not compress."""
    draws = sum(a.nbytes for a in (fb.draws.theta, fb.draws.sigma, fb.draws.beta, *fb.draws.b))
    stats = sum(a.nbytes for a in fb.draws.sample_stats.values())
    assert eb.save(tmp_path / "eb").stat().st_size < 15_000
    assert fb.save(tmp_path / "fb").stat().st_size < draws + stats + 15_000


# -- what a file cannot hold ---------------------------------------------------------------------------------------


def cube(x):
    return x**3


def test_functions_of_the_user_are_asked_for_where_they_are_needed(tmp_path):
    fit = ranef.Model("y ~ cube(x) + (1 | g)", DATA, transforms={"cube": cube}).fit()
    path = fit.save(tmp_path / "fit")
    loaded = ranef.load(path)
    assert str(loaded.summary()) == str(fit.summary())
    same(fit.fitted(), loaded.fitted())
    with pytest.raises(ranef.DesignError, match=r"calls 'cube'.*ranef\.load\(path, transforms=\{'cube': \.\.\.\}\)"):
        loaded.predict(NEW)
    twice = again(loaded, tmp_path, transforms={"cube": cube})
    for given in (ranef.load(path, transforms={"cube": cube}), twice):
        same(fit.predict(NEW), given.predict(NEW))
    with pytest.raises(ranef.DesignError, match=r"'cub', which .* not call\. Did you mean 'cube'\? It calls: cube"):
        ranef.load(path, transforms={"cub": cube})


def test_models_from_chunks(tmp_path):
    data = DATA.dropna()
    model = ranef.Model("y ~ x + scale(z) + (x | g)", [data[:40], data[40:]])
    fit = model.fit()
    loaded = again(fit, tmp_path)
    assert str(loaded.summary()) == str(fit.summary())
    same(fit.ranef(), loaded.ranef())
    same(fit.predict(NEW, interval="prediction"), loaded.predict(NEW, interval="prediction"))
    pooled = again(ranef.pooling(fit), tmp_path)
    for ours in (ranef.pooling(loaded), pooled):  # from its sums
        pd.testing.assert_frame_equal(ours.frame, ranef.pooling(fit).frame)
    for ask in (loaded.fitted, loaded.augment, loaded.hatvalues):
        with pytest.raises(ranef.DesignError, match="in chunks or from an engine, holds their sums alone"):
            ask()
    with pytest.raises(ranef.DesignError, match="holds their sums alone"):
        loaded.refit(data["y"])
    options = {"draws": 20, "warmup": 20, "seed": 1, "progress": False, "sampler": "nutpie"}
    drawn, later = model.sample(**options), again(model, tmp_path).sample(**options)
    same(drawn.draws.theta, later.draws.theta)
    posterior = again(later, tmp_path)
    assert str(posterior.summary()) == str(drawn.summary())
    with pytest.raises(ranef.DesignError, match="holds their sums alone"):  # and that of a posterior not even these
        ranef.pooling(posterior)


def test_priors(sleep, tmp_path):
    changes = {"Days": StudentT(3, 0, 5), "sd": Exponential(0.1), "sigma": HalfNormal(30)}
    fb = sleep.sample(draws=20, warmup=20, seed=1, progress=False, sampler="nutpie", priors=changes)
    loaded = again(fb, tmp_path)
    for part in ("fixef", "sd", "corr", "sigma"):
        assert getattr(loaded.draws.priors, part) == getattr(fb.draws.priors, part)
    assert loaded.draws.priors.lines() == fb.draws.priors.lines()
    same(
        sleep.sample(draws=20, warmup=20, seed=1, progress=False, sampler="nutpie", priors=loaded.draws.priors).sigma,
        fb.sigma,
    )


def test_priors_of_numpyro(tmp_path):
    """Those that are a class and numbers are kept; for others stands how they print, and sampling asks for them."""
    dist = pytest.importorskip("numpyro.distributions")
    model = ranef.Model("y ~ x + (1 | g)", DATA)
    fb = model.sample(draws=20, warmup=20, seed=1, progress=False, sampler="nutpie")
    halved = dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform())
    changes = {"sd": dist.LogNormal(0.0, 0.5), "sigma": dist.TruncatedNormal(1.0, 2.0, low=0.5), "x": halved}
    held = replace(fb, draws=replace(fb.draws, priors=model.priors(changes)))
    loaded = again(held, tmp_path)
    kept = loaded.draws.priors
    assert kept.lines()[2:] == held.draws.priors.lines()[2:]
    assert type(kept.sd["g", "Intercept"].distribution) is dist.LogNormal
    assert float(kept.sigma.distribution.low) == 0.5
    assert str(loaded.summary()).count("TransformedDistribution") == 1
    with pytest.raises(ranef.DesignError, match="distribution of numpyro that has no numbers to store"):
        kept.fixef["x"].distribution.log_prob(0.3)


# -- files that are not whole, or not ours -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(eb, tmp_path_factory):
    return eb.save(tmp_path_factory.mktemp("saved") / "fit.ranef")


def test_an_existing_file_is_left_alone(eb, tmp_path):
    path = tmp_path / "fit.ranef"
    path.write_text("mine")
    with pytest.raises(ranef.DesignError, match=r"exists and is left as it is.*overwrite=True"):
        eb.save(path)
    assert path.read_text() == "mine"
    path.chmod(0o640)
    eb.save(str(path), overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert ranef.load(path).criterion == eb.criterion
    assert [p.name for p in tmp_path.iterdir()] == ["fit.ranef"]
    for wrong in (tmp_path, tmp_path / "none" / "fit.ranef"):
        with pytest.raises(ranef.DesignError, match=r"is a directory|does not exist"):
            eb.save(wrong)


def test_a_full_disk_leaves_what_was_there(eb, tmp_path):
    """A limit on the size of files stands for it."""
    path = eb.save(tmp_path / "fit.ranef")
    before = path.read_bytes()
    code = f"""
import resource, signal, ranef
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fit = ranef.load({str(path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    fit.save({str(path)!r}, overwrite=True)
except ranef.RanefError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "could not be written: File too large" in out.stdout
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["fit.ranef"]


def test_no_link_is_written_through(eb, tmp_path):
    """The unfinished file has a name that nobody can have guessed, and is readable by nobody else meanwhile."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".fit.ranef.partial").symlink_to(victim)
    eb.save(tmp_path / "fit.ranef")
    assert victim.read_text() == "mine"
    assert (tmp_path / ".fit.ranef.partial").is_symlink()


def test_cut_anywhere(file, tmp_path):
    whole = file.read_bytes()
    path = tmp_path / "cut"
    for length in [0, 1, 3, 4, 30, *range(100, len(whole), 400), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ranef.SavedFileError, match=r"is empty|not written by ranef|is damaged"):
            ranef.load(path)


def test_bytes_lost_anywhere(file, tmp_path):
    whole, path = file.read_bytes(), tmp_path / "lost"
    for place in range(50, len(whole), 300):
        path.write_bytes(whole[:place] + whole[place + 5 :])
        with pytest.raises(ranef.SavedFileError, match="is damaged"):
            ranef.load(path)


def test_bytes_changed_anywhere_are_noticed_or_harmless(file, eb, tmp_path):
    whole, path = file.read_bytes(), tmp_path / "changed"
    noticed, shown = 0, str(eb.summary())
    places = np.random.default_rng(1).integers(0, len(whole), 300)
    for place, flip in zip(places, np.random.default_rng(2).integers(1, 256, 300), strict=True):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            assert str(ranef.load(path).summary()) == shown
        except ranef.SavedFileError:
            noticed += 1
    assert noticed > 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"a": 1}), "looks like a pickle, which ranef does not read"),
        (b"\x89HDF\r\n\x1a\n", r"xarray\.open_datatree"),
        (b"PAR1", "Parquet"),
        (b"y,x\n1,2\n", r"ranef\.load\(\) reads what fit\.save\(path\) wrote\.$"),
    ],
)
def test_files_of_others(content, words, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ranef.SavedFileError, match=words):
        ranef.load(path)


def test_names_that_are_no_file(file, tmp_path):
    with pytest.raises(ranef.SavedFileError, match=r"There is no file .*fit\.ranf'\. Did you mean 'fit\.ranef'\?"):
        ranef.load(file.with_name("fit.ranf"))
    with pytest.raises(ranef.SavedFileError, match="is a directory"):
        ranef.load(tmp_path)
    np.savez(tmp_path / "a.npz", a=[1])
    with pytest.raises(ranef.SavedFileError, match=r"a zip archive, but not one that ranef wrote: it has no manifest"):
        ranef.load(tmp_path / "a.npz")


def rewritten(file, path, change):
    """The file with its manifest changed as text."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content.decode()).encode() if name == "manifest.json" else content)
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"version":3', '"version":99', r"written by ranef .*, which ranef .* cannot read: its format is 99"),
        ('"version":3', '"version":"1"', "not a file that ranef wrote"),
        ('"format":"ranef"', '"format":"other"', "not a file that ranef wrote"),
        ('"record":"spec.ModelSpec"', '"record":"spec.Model2"', r"it holds a record called 'spec\.Model2'"),
        ('"record":"spec.ModelSpec"', '"record":"os.system"', r"cannot read: it holds a record called 'os\.system'"),
        ('"sigma":', '"sigma2":', "cannot read: a .* in it has sigma2 besides"),
        ('{"enum":"results.Status","member":"CONVERGED"}', '{"eval":"1+1"}', "something called 'eval'"),
        ('"n_obs":180', '"n_obs":{"array":99}', "is damaged"),
        ('"value":{', '"value":{"tuple":[],"x":{', "is damaged|Expecting"),
    ],
)  # fmt: skip
def test_manifests_that_this_version_cannot_read(file, tmp_path, old, new, words):
    path = rewritten(file, tmp_path / "changed", lambda text: text.replace(old, new, 1))
    with pytest.raises(ranef.SavedFileError, match=words):
        ranef.load(path)


def test_objects_in_arrays_are_never_unpickled(file, tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(ran),))

    path = tmp_path / "evil"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name == "manifest.json":
                new.writestr(name, old.read(name))
                continue
            with new.open(name, "w") as member:
                np.lib.format.write_array(member, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ranef.SavedFileError, match="Object arrays cannot be loaded"):
        ranef.load(path)
    assert not ran.exists()


def test_what_is_asked_for_is_what_comes(file):
    assert ranef.load(file, ranef.EmpiricalBayesFit).engine == "REML"
    with pytest.raises(ranef.DesignError, match="holds a EmpiricalBayesFit, not a PosteriorFit"):
        ranef.load(file, ranef.PosteriorFit)
    with pytest.raises(ranef.DesignError, match=r"Model\.of\(\) takes a fit"):
        ranef.Model.of("fit")


@pytest.mark.parametrize("path", sorted(HERE.glob("*.ranef")), ids=lambda p: p.stem)
def test_files_of_earlier_versions(path):
    """Written by ``write.py`` beside them; a change of records that breaks them needs a new format and its upgrade."""
    expected = pd.read_json(path.with_suffix(".json"), typ="series")
    np.testing.assert_allclose(numbers_of(ranef.load(path)), expected, rtol=1e-6)
