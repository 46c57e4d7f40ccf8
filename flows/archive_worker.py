"""What a Dask worker keeps between an archive's batches, and how it hears that they are to stop.

It needs the gateway's URL and an operator key, from its own environment, and reach to the source: no Ray, no tables.
Neither is ever part of a task.
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

import distributed
import psutil
from prefect.settings import PREFECT_API_URL

from audio.decode import Decoder, SeriesDecoder
from audio.vad import VoiceActivity
from flows import steps
from flows.archive_client import ArchiveClient
from flows.archive_connecting import connect
from schemas.domain import Seconds
from schemas.settings import LimitSettings, Settings

_STOP_LOOK_SECS: Seconds = 0.5


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
