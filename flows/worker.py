"""The job worker: claims jobs under a lease, transcribes them, and reports. Needs the gateway's URL and an operator key.

Run as ``python -m flows.worker``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from audio.decoding.decoder import Decoder
from audio.vad import VoiceActivity
from clients.connection import worker_key_file
from clients.operator import ClaimedJob, OperatorClient, is_lease_over
from flows.progress import Reporter
from flows.transcription import pipeline
from flows.transcription.context import ListeningContext, PipelineContext
from runtime.scratch import WORKER, scratch_folder
from schemas.domain import Seconds, Transcript
from schemas.errors import (
    DamagedObject,
    FluxionsError,
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    Unauthenticated,
    Unavailable,
    first_error,
)
from schemas.settings import ServerSettings, Settings
from telemetry import traces
from telemetry.log_lines import configure, within_request
from telemetry.traces import span

_REPORT_SECS: Seconds = 1.0
"""Time between two progress reports of a job."""
_FIRST_CLAIM_SECS: Seconds = 1.0
"""Time that the first claim waits. A worker without a job then loads what long recordings need, before one is sent."""
_OWN_BUG = "the recording could not be processed; the request was kept and an operator can look into it"

_REFUSED_PAUSES_SECS: tuple[Seconds, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

logger = logging.getLogger("fluxions.worker")


class RefusedKey:
    """Waiting while the gateway refuses the worker's key: said once, with growing pauses, until the file has another."""

    def __init__(self, key_file: Path, client: OperatorClient) -> None:
        self._key_file = key_file
        self._client = client
        self._refusals = 0

    async def wait(self, error: FluxionsError) -> None:
        """Pause after a refusal, then take the key that the file has by now."""
        if not self._refusals:
            logger.error("the gateway refuses this worker's key (%s); put another into %s", error.code, self._key_file)
        pause = _REFUSED_PAUSES_SECS[min(self._refusals, len(_REFUSED_PAUSES_SECS) - 1)]
        self._refusals += 1
        await asyncio.sleep(pause)
        with contextlib.suppress(OSError):
            self._client.use_key(self._key_file.read_text().strip())

    def taken(self) -> None:
        """The key was taken."""
        self._refusals = 0


class Worker:
    """Works on up to ``settings.jobs.worker_jobs`` jobs at once, and renews the lease of each."""

    def __init__(
        self, settings: Settings, context: PipelineContext, client: OperatorClient, scratch: Path, refused: RefusedKey
    ) -> None:
        self._refused = refused
        self._settings = settings
        self._context = context
        self._client = client
        self._scratch = scratch
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._slots = asyncio.Semaphore(settings.jobs.worker_jobs)

    async def run(self) -> None:
        """Claim and work on jobs until cancelled; then release unfinished ones."""
        wait_secs = min(_FIRST_CLAIM_SECS, self._settings.jobs.claim_wait_secs)
        async with asyncio.TaskGroup() as jobs:
            while True:
                await self._slots.acquire()
                try:
                    job = await self._client.claim(self._name, wait_secs)
                    self._refused.taken()
                except (Unauthenticated, Forbidden) as error:
                    await self._refused.wait(error)
                    job = None
                except FluxionsError as error:
                    logger.warning("cannot claim: %s", error.message)
                    job = None
                wait_secs = self._settings.jobs.claim_wait_secs
                if job is None:
                    self._slots.release()
                    # An idle worker imports Prefect now, so that the first long recording does not wait for it.
                    jobs.create_task(pipeline.load_long_files())
                else:
                    jobs.create_task(self._process(job))

    async def _process(self, job: ClaimedJob) -> None:
        with within_request(f"job_{job.id}_{job.attempt}"), span("job", job=job.id, attempt=job.attempt):
            await self._processed(job)

    async def _processed(self, job: ClaimedJob) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"job-{job.id}-", dir=self._scratch))
        reporter = Reporter(self._client, job)
        work = asyncio.create_task(self._work(job, folder, reporter))
        heartbeat = asyncio.create_task(self._heartbeat(job, work, reporter))
        try:
            await work
        except asyncio.CancelledError:
            if not _lease_lost(heartbeat):
                await self._release(job)
                raise
            logger.info("job %d: cancelled, deleted, or another worker's now", job.id)
        finally:
            heartbeat.cancel()
            shutil.rmtree(folder, ignore_errors=True)
            self._slots.release()

    async def _work(self, job: ClaimedJob, folder: Path, reporter: Reporter) -> None:
        try:
            transcript = await pipeline.transcribe(self._context, job, folder, reporter)
            await self._deliver(job, transcript)
            logger.info("job %d: completed, %.1f s of audio", job.id, transcript.audio_duration_secs)
        except* FluxionsError as group:
            await self._end(job, first_error(group))
        except* Exception:
            logger.exception("job %d: unexpected failure", job.id)
            await self._report_failure(job, FluxionsError(_OWN_BUG), retryable=True)

    async def _deliver(self, job: ClaimedJob, transcript: Transcript) -> None:
        """Hand the transcript over, however long the server is away; `_heartbeat` cancels this when the lease is lost."""
        while True:
            try:
                return await self._client.complete(job, transcript)
            except Unavailable as error:
                logger.warning("job %d: its transcript was not taken yet, %s", job.id, error.code)
                await asyncio.sleep(_REPORT_SECS)

    async def _end(self, job: ClaimedJob, error: FluxionsError) -> None:
        if is_lease_over(error):
            logger.info("job %d: cancelled, deleted, or another worker's now", job.id)
        elif isinstance(error, InvalidRequest | InvalidParameter | DamagedObject):
            await self._report_failure(job, error, retryable=False)
            logger.info("job %d: refused, %s", job.id, error.code)
        else:
            await self._report_failure(job, error, retryable=True)
            logger.warning("job %d: %s, to be tried again", job.id, error.code)

    async def _report_failure(self, job: ClaimedJob, why: FluxionsError, *, retryable: bool) -> None:
        try:
            await self._client.fail(job, why.message, why.code, retryable=retryable)
        except FluxionsError as error:
            # The job was cancelled, or belongs to another worker, or the server is away and the lease will expire.
            logger.info("job %d: its failure was not taken, %s", job.id, error.code)

    async def _heartbeat(self, job: ClaimedJob, work: asyncio.Task[None], reporter: Reporter) -> None:
        """Renew the lease and report progress; cancel the work when the lease is lost."""
        loop = asyncio.get_running_loop()
        # A recording that came with the claim is not fetched, which would be the first use of the lease and so the begin of
        # the attempt: the first renewal is.
        renewal = loop.time() + (0.0 if job.recording else job.lease_secs / 3)
        while not work.done():
            await asyncio.sleep(min(_REPORT_SECS, max(renewal - loop.time(), 0.0)))
            try:
                if loop.time() >= renewal:
                    await self._client.renew(job)
                    renewal = loop.time() + job.lease_secs / 3
                await reporter.flush()
            except FluxionsError as error:
                if is_lease_over(error):
                    work.cancel()
                    raise
                logger.warning("job %d: cannot renew its lease: %s", job.id, error.message)

    async def _release(self, job: ClaimedJob) -> None:
        with contextlib.suppress(FluxionsError, TimeoutError):
            async with asyncio.timeout(3):
                await self._client.release(job)


def _lease_lost(heartbeat: asyncio.Task[None]) -> bool:
    return heartbeat.done() and not heartbeat.cancelled() and isinstance(heartbeat.exception(), FluxionsError)


async def main() -> None:
    """Claim and work on jobs until SIGINT or SIGTERM; then release what is not finished."""
    settings = Settings()
    key_file = worker_key_file(settings.home)
    client = OperatorClient(os.environ.get("FLUXIONS_URL", settings.server.url), key_file.read_text().strip())
    refused = RefusedKey(key_file, client)
    voice_activity = await asyncio.to_thread(VoiceActivity)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        # A worker that was killed leaves decoded recordings behind: this removes them.
        with scratch_folder(settings.scratch, WORKER) as scratch:
            await _work_until(stop, settings, client, voice_activity, scratch, refused)
    finally:
        await client.close()


async def _utterances_at_once(stop: asyncio.Event, client: OperatorClient, refused: RefusedKey) -> int:
    while True:
        try:
            return await client.utterances_at_once()
        except (Unauthenticated, Forbidden) as error:
            if stop.is_set():
                raise
            await refused.wait(error)


async def _work_until(
    stop: asyncio.Event,
    settings: Settings,
    client: OperatorClient,
    voice_activity: VoiceActivity,
    scratch: Path,
    refused: RefusedKey,
) -> None:
    async with Decoder(settings.limits, forks_ahead=True) as decoder:
        at_once = await _utterances_at_once(stop, client, refused)
        listening = ListeningContext(client, voice_activity, settings.engines.utterance_max_secs, at_once)
        context = PipelineContext(listening, client, decoder, settings.jobs, settings.home / "blocks")
        work = asyncio.create_task(Worker(settings, context, client, scratch, refused).run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


if __name__ == "__main__":
    configure(ServerSettings().log_format)
    traces.configure(ServerSettings().traces_share, "fluxions-worker")
    asyncio.run(main())
