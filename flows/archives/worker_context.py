"""State that a Dask worker holds between an archive's batches, and the event that stops them.

A worker needs access to the source, and the gateway's URL and an operator key from its own environment: a task never
contains either. It needs no Ray and no tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator

import distributed
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

from audio.decoding.decoder import Decoder, SeriesDecoder
from audio.vad import VoiceActivity
from clients.archives import ArchiveClient
from clients.connection import connect
from flows.transcription.context import ListeningContext, PipelineContext
from schemas.domain import Seconds
from schemas.settings import LimitSettings, Settings

_STOP_POLL_SECS: Seconds = 0.5


@contextlib.asynccontextmanager
async def pipeline_context(settings: Settings, accounts: set[str]) -> AsyncIterator[tuple[PipelineContext, ArchiveClient]]:
    """The pipeline's context and the client of one batch; the client belongs to the batch's event loop.

    If the recordings belong to several ``accounts``, each is decoded by a child process of its own.
    """
    client, decoder = connect(settings), _decoder(settings.limits)
    series = SeriesDecoder(decoder)
    try:
        listening = ListeningContext(
            engines=client,
            voice_activity=await asyncio.to_thread(_voice_activity),
            window_max_secs=settings.engines.utterance_max_secs,
            windows_at_once=settings.archives.archive_files_at_once,
            lane="archive",
        )
        found = series if len(accounts) == 1 else decoder
        yield PipelineContext(listening, client, found, settings.jobs, settings.home / "blocks"), client
    finally:
        await series.close()
        await client.close()


def export_prefect_url() -> None:
    """Set PREFECT_API_URL and credentials, which long files read, from the settings that the flow sent with the task."""
    if url := PREFECT_API_URL.value():
        os.environ.setdefault("PREFECT_API_URL", url)
    if credentials := PREFECT_API_AUTH_STRING.value():
        os.environ.setdefault("PREFECT_API_AUTH_STRING", credentials)


async def stopped(run: str) -> None:
    """Returns when `stop_batches` was called; to be awaited in a Dask worker."""
    event = distributed.Event(f"stop {run}", client=distributed.get_client())  # type: ignore[no-untyped-call]
    while not await asyncio.to_thread(event.is_set):  # noqa: ASYNC110 - it is set in another process
        await asyncio.sleep(_STOP_POLL_SECS)


@functools.cache
def _decoder(limits: LimitSettings) -> Decoder:
    """One decoder for all batches; it ends with this process."""
    return Decoder(limits)


@functools.cache
def _voice_activity() -> VoiceActivity:
    return VoiceActivity()
