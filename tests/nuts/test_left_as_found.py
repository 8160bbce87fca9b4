"""Sampling leaves the settings of the process as they were, and does not depend on them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

#: settings with which users of JAX look for faults in code of their own
STRICT = {
    "jax_disable_jit": True,
    "jax_transfer_guard": "disallow",
    "jax_debug_nans": True,
    "jax_debug_infs": True,
    "jax_check_tracer_leaks": True,
    "jax_default_matmul_precision": "bfloat16",
    "jax_no_tracing": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_enable_checks": True,
    "jax_default_prng_impl": "rbg",
    "jax_legacy_prng_key": "error",
    "jax_enable_custom_prng": True,
    "jax_threefry_partitionable": False,
}


def run_python(work, **variables):
    script = f"STRICT = {STRICT}\n{textwrap.dedent(work)}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | variables)


@pytest.mark.slow
def test_settings_of_a_program(folder_with_loops):
    """The strictest settings of JAX, in threads: each draws what it draws elsewhere, and nothing is changed."""
    done = run_python(
        """
        import warnings
        import numpy as np, ranef, _ranef.nuts.run
        from threading import Thread
        np.random.seed(1)
        _ranef.nuts.run._engine()
        assert np.random.uniform() == np.random.RandomState(1).uniform()

        import jax
        usual = {name: jax.config.values[name] for name in STRICT}
        for name, value in STRICT.items():
            jax.config.update(name, value)
        filters, settings = list(warnings.filters), dict(jax.config.values)
        model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        def sample(into, sampler="numpyro"):
            into.append(model.sample(20, 20, 2, seed=1, progress=False, sampler=sampler).draws.sigma)
        first, by_numpyro, by_nutpie = [], [], []
        sample(first)  # which compiles
        threads = [Thread(target=sample, args=(by_numpyro,)) for _ in range(3)]
        threads += [Thread(target=sample, args=(by_nutpie, "nutpie")) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == filters and jax.config.values == settings

        for name, value in usual.items():
            jax.config.update(name, value)
        sample(by_numpyro)
        assert len(by_numpyro) == 4 and len(by_nutpie) == 3
        assert all((sigma == first[0]).all() for sigma in by_numpyro)
        assert all((sigma == by_nutpie[0]).all() for sigma in by_nutpie)
        print("well")
        """,
        RANEF_CACHE_DIR=str(folder_with_loops),
    )
    assert done.stdout == "well\n", done.stderr


def test_a_device_that_is_not_there():
    done = run_python(
        """
        import ranef
        model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        try:
            model.sample(5, 5, 1, seed=1, progress=False)
        except ranef.FitError as error:
            print(error)
        """,
        JAX_PLATFORMS="nonsense",
    )
    assert "JAX_PLATFORMS is 'nonsense'" in done.stdout, done.stderr
    assert "nutpie" in done.stdout
