"""Bootstrap, power and calibration wherever joblib's backends are: the same numbers for a seed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

#: a script whose first argument is a backend: what it does there is what it does here
WORK = """
import sys
from contextlib import contextmanager

import joblib, numpy, os, pandas, ranef
from _ranef.support.parallel import finished

@contextmanager
def dask():
    import distributed
    own = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with own, distributed.Client(own), joblib.parallel_config("dask"):
        yield

@contextmanager
def ray():
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray as module
    from ray.util.joblib import register_ray
    register_ray()
    module.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    with joblib.parallel_config("ray", n_jobs=2):
        yield
    module.shutdown()

def rank(seed):
    "One simulation of a calibration: where the drawn sigma lies among those of the posterior."
    rng, data = numpy.random.default_rng(seed), ranef.datasets.load("pulp")
    sigma, b = numpy.exp(rng.normal()), rng.normal(size=4)
    y = b[data["operator"].astype("category").cat.codes] + sigma * rng.normal(size=len(data))
    model = ranef.Model("bright ~ 1 + (1 | operator)", data.assign(bright=y))
    draws = model.sample(40, seed=seed, sampler="direct", progress=False).draws
    return float((draws.sigma < sigma).mean())

def work():
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    slopes = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy")).fit()
    return (
        fit.bootstrap(600, seed=1).replicates,
        fit.bootstrap(12, lambda own: own.sigma, seed=1).replicates,
        ranef.power(slopes, "Days", 501, extend={"Subject": 5}, effect={"Days": 2.0}, seed=1).frame,
        pandas.Series(dict(finished(rank, range(4)))).sort_index().to_frame(),
    )

if __name__ == "__main__":
    here = work()
    with globals()[sys.argv[1]]():
        there = work()
    for ours, theirs in zip(there, here, strict=True):
        pandas.testing.assert_frame_equal(ours, theirs, rtol=1e-9)
    assert here[2]["power"].between(0.05, 0.95).all() and here[3][0].nunique() > 1
    print("alike")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_the_same_numbers_for_a_seed(backend, package, tmp_path):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; no extra of this package brings Ray: pip install ray")
    script = tmp_path / "work.py"
    script.write_text(WORK)
    command = [sys.executable, str(script), backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.stdout.endswith("alike\n"), done.stderr
