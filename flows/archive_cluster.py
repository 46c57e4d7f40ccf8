"""The Dask side of an archive: where its batches run, what a worker process keeps between them, and how all are stopped.

A Dask worker needs the gateway's URL and an operator key, from its own environment, and reach to the source: no Ray, no
tables. Neither is ever part of a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import psutil
from prefect.settings import PREFECT_API_URL
from prefect_dask.task_runners import DaskTaskRunner

from audio.decode import Decoder, SeriesDecoder
from audio.vad import VoiceActivity
from flows import steps
from flows.archive_client import ArchiveClient
from flows.archive_connecting import connect
from schemas.domain import Seconds
from schemas.priority import step_back
from schemas.settings import ArchiveSettings, LimitSettings, Settings

_ALLOWED_DEATHS = 10
"""Workers that may die with a batch in hand until it is taken for the culprit."""
_STOP_LOOK_SECS: Seconds = 0.5

_DASK = {
    "distributed.scheduler.allowed-failures": _ALLOWED_DEATHS,
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
    step_back()  # Its workers start at the priority of this thread.
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


@contextlib.asynccontextmanager
async def tools(settings: Settings, accounts: set[str]) -> AsyncIterator[tuple[steps.Tools, ArchiveClient]]:
    """What a batch works with; the client is made once a batch, for it belongs to its event loop.

    Where the recordings are of several ``accounts`` none is decoded by a child that has seen another.
    """
    client, decoder = connect(settings), _decoder(settings.limits)
    series = SeriesDecoder(decoder)
    try:
        yield (
            steps.Tools(
                client=client,
                decoder=series if len(accounts) == 1 else decoder,
                voice_activity=await asyncio.to_thread(_voice_activity),
                engines=settings.engines,
                utterances_at_once=settings.archives.archive_files_at_once,
                jobs=settings.jobs,
                kept=settings.home / "blocks",
            ),
            client,
        )
    finally:
        await series.close()
        await client.close()


@contextlib.contextmanager
def scratch(settings: Settings) -> Iterator[Path]:
    """A folder for copies of recordings while they are worked on; those of processes that were killed are removed."""
    parent = settings.home / "scratch"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    host = socket.gethostname()
    for left in parent.glob(f"archive-{host}-*"):
        if not psutil.pid_exists(int(left.name.rpartition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    folder = parent / f"archive-{host}-{os.getpid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def know_prefect() -> None:
    """Long files ask for Prefect's address in the environment; a worker elsewhere has it from the flow only."""
    if url := PREFECT_API_URL.value():
        os.environ.setdefault("PREFECT_API_URL", url)


def stop_batches(client: distributed.Client, run: str) -> None:
    """Ask every batch of a run to let go of what it has, wherever it is."""
    distributed.Event(f"stop {run}", client=client).set()  # type: ignore[no-untyped-call]


async def stopped(run: str) -> None:
    """Returns when `stop_batches` was called; to be awaited in a Dask worker."""
    event = distributed.Event(f"stop {run}", client=distributed.get_client())  # type: ignore[no-untyped-call]
    while not await asyncio.to_thread(event.is_set):  # noqa: ASYNC110 - it is set in another process
        await asyncio.sleep(_STOP_LOOK_SECS)


@functools.cache
def _decoder(limits: LimitSettings) -> Decoder:
    """One for all batches: it ends with this process."""
    return Decoder(limits)


@functools.cache
def _voice_activity() -> VoiceActivity:
    return VoiceActivity()
