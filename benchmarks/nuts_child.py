"""One sampler of ranef or bambi in a process of its own: a child of nuts.py, which hands it a folder.

It imports nothing that belongs to neither library before the clock of the import has run.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path


def load(job, folder):
    """The frame that the parent has written, column by column."""
    import numpy as np
    import pandas as pd

    columns = {}
    for column in job["columns"]:
        values = np.fromfile(folder / column["file"])
        columns[column["name"]] = pd.Categorical(values.astype(int)) if column["factor"] else values
    return pd.DataFrame(columns)


def ranef_sampler(job, folder):
    import inspect

    import ranef
    from _ranef.inference import parameter_draws

    imported = time.time()
    model = ranef.Model(job["formula"], load(job, folder))
    assert model.products is not None  # rows are read here, apart from sampling
    options = {"progress": False, **{k: job[k] for k in ("draws", "warmup", "chains")}}
    if "sampler" in inspect.signature(model.sample).parameters:
        options["sampler"] = job["sampler"]
    elif job["sampler"] != "numpyro":
        raise SystemExit("this ranef has no sampler=")

    def run(seed):
        return model.sample(seed=seed, **options)

    def draws_of(fit):
        names = [g.name for g in model.spec.groupings]
        effects = {f"b[{name}]": b for name, b in zip(names, fit.draws.b, strict=True)}
        return {**parameter_draws(model.spec, fit.draws), **effects}

    return imported, run, draws_of


def bambi_sampler(job, folder):
    import logging

    import matplotlib.style

    if not hasattr(matplotlib.style, "core"):  # arviz 0.23 needs it, and matplotlib 3.11 no longer has it
        matplotlib.style.core = matplotlib.style
    import bambi as bmb

    imported = time.time()
    logging.disable(logging.INFO)

    def prior(name, **numbers):
        return bmb.Prior(name, auto_scale=False, **numbers)

    def scale(numbers):
        return prior("HalfStudentT", nu=numbers[0], sigma=numbers[1])

    priors = {name: prior("Normal", mu=loc, sigma=sd) for name, (loc, sd) in job["fixef"].items()}
    for group, column, *numbers in job["sd"]:
        term = f"{'1' if column == 'Intercept' else column}|{group}"
        priors[term] = prior("Normal", mu=0, sigma=scale(numbers))
    priors["sigma"] = scale(job["sigma"])
    model = bmb.Model(job["formula"], load(job, folder), priors=priors)
    options = {"draws": job["draws"], "tune": job["warmup"], "chains": job["chains"], "cores": job["cores"]}
    options |= {"inference_method": job["sampler"], "progressbar": False, "compute_convergence_checks": False}

    def run(seed):
        return model.fit(random_seed=seed, **options)

    def draws_of(fit):
        posterior = fit.posterior.transpose("chain", "draw", ...)
        # nutpie keeps the unconstrained values too
        return {name: x.values for name, x in posterior.data_vars.items() if not name.endswith("__")}

    return imported, run, draws_of


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    warnings.simplefilter("ignore")
    begin = time.time()
    imported, run, draws_of = {"ranef": ranef_sampler, "bambi": bambi_sampler}[job["library"]](job, folder)
    built = time.time()
    for k in range(job["repeats"] + 1):
        start = time.time()
        fit = run(k + 1)
        end = time.time()
        import numpy as np

        np.savez(folder / f"{k}.npz", **draws_of(fit))
        times = {"import": imported - begin, "build": built - imported, "sample": end - start}
        print(json.dumps({**times, "total": end - job["started"]}), flush=True)


if __name__ == "__main__":  # pymc starts processes
    main()
