"""The job worker: claims jobs under a lease, carries them out, reports. Needs only the gateway's URL and an operator key.

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
import sys
import tempfile
from pathlib import Path

from audio.decode import Decoder
from audio.vad import VoiceActivity
from flows import steps
from flows.client import ClaimedJob, OperatorClient
from flows.progress import Reporter
from schemas.domain import Seconds
from schemas.errors import Conflict, FluxionsError, InvalidRequest, NotFound
from schemas.settings import Settings

_REPORT_SECS: Seconds = 1.0
"""How often the server hears how far a job is, if there is news."""
_OWN_BUG = "the recording could not be processed; the request was kept and an operator can look into it"

logger = logging.getLogger("fluxions.worker")


class Worker:
    """Has up to ``settings.jobs.worker_jobs`` jobs in hand; each is renewed while it is worked on."""

    def __init__(self, settings: Settings, tools: steps.Tools, scratch: Path) -> None:
        self._settings = settings
        self._tools = tools
        self._scratch = scratch
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._slots = asyncio.Semaphore(settings.jobs.worker_jobs)

    async def run(self) -> None:
        """Claims and works until cancelled; then hands unfinished jobs back."""
        async with asyncio.TaskGroup() as jobs:
            while True:
                await self._slots.acquire()
                try:
                    job = await self._tools.client.claim(self._name, self._settings.jobs.claim_wait_secs)
                except FluxionsError as error:
                    logger.warning("cannot claim: %s", error.message)
                    job = None
                if job is None:
                    self._slots.release()
                    # The first long recording shall not wait for it, and nobody is waiting now.
                    jobs.create_task(steps.load_long_files())
                else:
                    jobs.create_task(self._carry_out(job))

    async def _carry_out(self, job: ClaimedJob) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"job-{job.id}-", dir=self._scratch))
        reporter = Reporter(self._tools.client, job)
        work = asyncio.create_task(self._work(job, folder, reporter))
        beat = asyncio.create_task(self._beat(job, work, reporter))
        try:
            await work
        except asyncio.CancelledError:
            if not _lost(beat):
                await self._hand_back(job)
                raise
            logger.info("job %d: cancelled, deleted, or another worker's now", job.id)
        finally:
            beat.cancel()
            shutil.rmtree(folder, ignore_errors=True)
            self._slots.release()

    async def _work(self, job: ClaimedJob, folder: Path, reporter: Reporter) -> None:
        client = self._tools.client
        try:
            transcript = await steps.transcribe(self._tools, job, folder, reporter)
            await client.complete(job, transcript)
            logger.info("job %d: completed, %.1f s of audio", job.id, transcript.audio_duration_secs)
        except* Conflict:
            logger.info("job %d: another worker finished or holds it", job.id)
        except* InvalidRequest as group:
            await self._give_up(job, _message(group), retryable=False)
            logger.info("job %d: refused, %s", job.id, _code(group))
        except* FluxionsError as group:
            await self._give_up(job, _message(group), retryable=True)
            logger.warning("job %d: %s, to be tried again", job.id, _code(group))
        except* Exception:
            logger.exception("job %d: unexpected failure", job.id)
            await self._give_up(job, _OWN_BUG, retryable=True)

    async def _give_up(self, job: ClaimedJob, message: str, *, retryable: bool) -> None:
        try:
            await self._tools.client.fail(job, message, retryable=retryable)
        except FluxionsError as error:
            # Cancelled or another worker's meanwhile, or the server is away: then its lease runs out.
            logger.info("job %d: its failure was not taken, %s", job.id, error.code)

    async def _beat(self, job: ClaimedJob, work: asyncio.Task[None], reporter: Reporter) -> None:
        """Keeps the lease and tells how far the work is; stops it when the lease is lost, so that nothing is done twice."""
        loop = asyncio.get_running_loop()
        renewal = loop.time() + job.lease_secs / 3
        while not work.done():
            await asyncio.sleep(min(_REPORT_SECS, max(renewal - loop.time(), 0.0)))
            try:
                if loop.time() >= renewal:
                    await self._tools.client.renew(job)
                    renewal = loop.time() + job.lease_secs / 3
                await reporter.flush()
            except (Conflict, NotFound) as error:
                work.cancel()
                raise Conflict(error.message, code="lease_lost") from error
            except FluxionsError as error:
                logger.warning("job %d: cannot renew its lease: %s", job.id, error.message)

    async def _hand_back(self, job: ClaimedJob) -> None:
        with contextlib.suppress(FluxionsError, TimeoutError):
            async with asyncio.timeout(3):
                await self._tools.client.release(job)


def _lost(beat: asyncio.Task[None]) -> bool:
    return beat.done() and not beat.cancelled() and isinstance(beat.exception(), Conflict)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _message(group: BaseExceptionGroup[BaseException]) -> str:
    error = _first(group)
    return error.message if isinstance(error, FluxionsError) else str(error)


def _code(group: BaseExceptionGroup[BaseException]) -> str:
    error = _first(group)
    return error.code if isinstance(error, FluxionsError) else type(error).__name__


async def main() -> None:
    settings = Settings()
    key = (settings.home / "keys" / "operator").read_text().strip()
    scratch = settings.home / "scratch" / f"worker-{os.getpid()}"
    scratch.mkdir(parents=True, exist_ok=True)
    client = OperatorClient(os.environ.get("FLUXIONS_URL", settings.server.url), key)
    voice_activity = await asyncio.to_thread(VoiceActivity)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with Decoder(settings.limits) as decoder:
            kept = settings.home / "blocks"
            at_once = await client.utterances_at_once()
            tools = steps.Tools(client, decoder, voice_activity, settings.engines, at_once, settings.jobs, kept)
            work = asyncio.create_task(Worker(settings, tools, scratch).run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
    finally:
        await client.close()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(main())
