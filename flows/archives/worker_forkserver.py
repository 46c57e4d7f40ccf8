"""The process that local Dask workers are forked from: it has imported everything a batch needs.

The imports take three seconds, at the same time as the flow imports Prefect; a worker forked from it starts at once.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver

from runtime.priority import lower_priority

_IMPORTED = ["distributed.nanny", "flows.archives.batch", "flows.archives.batch_task", "flows.archives.worker_context"]
_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Values of Dask's ``distributed.nanny.pre-spawn-environ``. They must be set before a worker imports anything. Like Dask,
this sets them permanently in the process that starts workers."""


def start_forkserver() -> None:
    """Start it, unless it runs, and lower the priority of this process permanently.

    Returns before it is ready. It ends with this process.
    """
    lower_priority()
    multiprocessing.set_forkserver_preload(_IMPORTED)
    os.environ.update(_ENVIRONMENT)
    forkserver.ensure_running()
