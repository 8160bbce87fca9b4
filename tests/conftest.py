from __future__ import annotations

import os

import matplotlib
from hypothesis import HealthCheck, settings

matplotlib.use("Agg")  # no screen

# pytest-xdist starts a process for each core, which inherits this
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

settings.register_profile("default", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), derandomize=False, max_examples=1000)
settings.load_profile("default")
