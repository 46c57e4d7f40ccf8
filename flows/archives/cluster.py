"""The Dask cluster that an archive's batches run on: which scheduler to use, and how to stop all batches of a run."""

from __future__ import annotations

from typing import Any

import dask
import distributed
from prefect_dask.task_runners import DaskTaskRunner

from flows.archives.worker_forkserver import start_forkserver
from schemas.settings import ArchiveSettings, Settings

_ALLOWED_DEATHS = 10
"""Worker deaths tolerated before Dask fails the batch."""

_DASK = {
    "distributed.scheduler.allowed-failures": _ALLOWED_DEATHS,
    "distributed.worker.multiprocessing-method": "forkserver",
    # By default a worker samples its threads' stacks 100 times a second, and checks its event loop 50 times. With short
    # recordings that took a quarter of its time.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
}


def task_runner() -> Any:
    """The scheduler of FLUXIONS_DASK_ADDRESS, or a cluster of this machine's processes, one thread each."""
    settings = ArchiveSettings()
    if settings.dask_address:
        return DaskTaskRunner(address=settings.dask_address)
    return DaskTaskRunner(cluster_class=_local_cluster)


def _local_cluster() -> distributed.LocalCluster:
    dask.config.set(_DASK)
    start_forkserver()
    # On loopback, and with certificates of its own: whoever reaches a scheduler's port can run any code.
    return distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=ArchiveSettings().archive_workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        security=True,
        local_directory=str(Settings().scratch),
        silence_logs=False,
    )


def stop_batches(client: distributed.Client, run: str) -> None:
    """Ask every batch of a run, on every worker, to release its files and end."""
    distributed.Event(f"stop {run}", client=client).set()  # type: ignore[no-untyped-call]
