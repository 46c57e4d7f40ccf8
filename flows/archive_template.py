"""The process that local Dask workers are forked from: it has imported all that a batch needs.

It takes three seconds for that, beside the flow, which imports Prefect meanwhile; a worker forked from it takes none.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver

from schemas.priority import step_back

_IMPORTED = ["distributed.nanny", "flows.archive_batch", "flows.archive_task", "flows.archive_worker"]
_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Dask's own ``distributed.nanny.pre-spawn-environ``: what must be set before a worker imports anything. Dask, too, sets it
in the process that starts workers, for good."""


def start_template() -> None:
    """Start it, unless it runs; returns before it is ready. It ends with this process, which from here on steps back."""
    step_back()
    multiprocessing.set_forkserver_preload(_IMPORTED)
    os.environ.update(_ENVIRONMENT)
    forkserver.ensure_running()
