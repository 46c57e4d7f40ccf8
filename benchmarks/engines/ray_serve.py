"""Ray Serve for one benchmark, without HTTP."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import ray
from ray import serve

_ROOT: Final = Path(__file__).resolve().parents[2]


@contextmanager
def ray_serve() -> Iterator[float]:
    """Ray and Serve on this machine until the end; gives the number of GPUs."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    os.environ["RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = "2"  # as in `fluxions up`
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="fx-") as folder:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=folder)
        try:
            serve.start(proxy_location="Disabled")
            yield ray.cluster_resources().get("GPU", 0.0)  # type: ignore[no-untyped-call]
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()
