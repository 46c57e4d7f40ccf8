"""The cluster an archive's batches run on, as its flow sees it: where the scheduler is, and how all batches are stopped.

Local workers are forked from a process that has imported what a batch needs. It starts before the flow has imported
Prefect, and the two take their seconds side by side.
"""

from __future__ import annotations

from typing import Any

import dask
import distributed
from prefect_dask.task_runners import DaskTaskRunner

from flows.archive_template import start_template
from schemas.settings import ArchiveSettings, Settings

_ALLOWED_DEATHS = 10
"""Workers that may die with a batch in hand until it is taken for the culprit."""

_DASK = {
    "distributed.scheduler.allowed-failures": _ALLOWED_DEATHS,
    "distributed.worker.multiprocessing-method": "forkserver",
    # A worker samples its threads' stacks a hundred times a second for a dashboard, and sees fifty times whether its loop
    # turns: a quarter of its time where recordings are short.
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
    start_template()
    # On loopback, and with certificates of its own: who reaches a scheduler's port may run anything.
    return distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=ArchiveSettings().archive_workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        security=True,
        local_directory=str(Settings().home / "scratch"),
        silence_logs=False,
    )


def stop_batches(client: distributed.Client, run: str) -> None:
    """Ask every batch of a run to let go of what it has, wherever it is."""
    distributed.Event(f"stop {run}", client=client).set()  # type: ignore[no-untyped-call]
