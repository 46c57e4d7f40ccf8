"""The gateway with a worker and real engines, on a thread of its own, so that tests may drive a browser synchronously."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from audio.decoding.decoder import Decoder
from audio.vad import VoiceActivity
from clients.operator import OperatorClient
from flows.transcription.context import ListeningContext, PipelineContext
from flows.worker import RefusedKey, Worker
from schemas.domain import SAMPLE_RATE_HZ, Span
from schemas.settings import WebhookSettings
from tests.contract.gateway import OPERATOR_KEY, Running, quick_settings, running
from tests.contract.speaking import served
from tests.support.realtime_kit import ScriptedEngines

T = TypeVar("T")
START_SECS = 300
USER = ("transcribe", "speak", "history", "realtime")
PREFIX = "/speech"
"""A path below which the same platform is served, as by a proxy that removes it."""


class BelowPath:
    """Serves an application at its own paths and below `PREFIX`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path", "").startswith(f"{PREFIX}/"):
            raw = scope.get("raw_path") or scope["path"].encode()
            scope = {**scope, "path": scope["path"][len(PREFIX) :], "raw_path": raw[len(PREFIX) :]}
        await self._app(scope, receive, send)


@dataclass(frozen=True)
class Studio:
    """A running platform. ``model`` is the language model, scripted; all other engines are the embedded ones."""

    gateway: Running
    address: str
    model: ScriptedEngines
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives that runs beside the gateway."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_SECS)

    @property
    def url(self) -> str:
        return f"http://{self.address}/studio/"

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.address}", headers={"Authorization": key}, timeout=300)

    def key(self, account: str, *more_scopes: str) -> str:
        """A new key of an account, with the scopes of a user and ``more_scopes``."""
        with self.client(OPERATOR_KEY) as client:
            made = client.post("/operator/keys", json={"account": account, "scopes": [*USER, *more_scopes]})
            return str(made.raise_for_status().json()["key"])

    def transcribed(self, wav: bytes, filename: str, key: str, **params: Any) -> int:
        """The id of a completed transcription of this recording."""
        with self.client(key) as client:
            sent = client.post("/submit", content=wav, params={"filename": filename, **params})
            job_id = int(sent.raise_for_status().json()["id"])
            client.get(f"/transcriptions/{job_id}/events").raise_for_status()  # ends when the job does
            assert client.get(f"/transcriptions/{job_id}").json()["status"] == "completed"
        return job_id


@contextmanager
def studio(home: Path) -> Iterator[Studio]:
    """A platform in ``home`` until the block ends."""
    ready: Future[tuple[Studio, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(home, ready)), name="studio")
    thread.start()
    try:
        started, stop = ready.result(START_SECS)
        yield started
        started.loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(60)


def below(gateway: Running) -> Running:
    app: Any = BelowPath(gateway.app)
    return replace(gateway, app=app)


async def _serve(home: Path, ready: Future[tuple[Studio, asyncio.Event]]) -> None:
    try:
        settings = quick_settings(home)
        jobs = settings.jobs.model_copy(update={"claim_wait_secs": 1.0})
        webhooks = WebhookSettings(webhook_private_addresses=True)
        settings = settings.model_copy(update={"jobs": jobs, "webhooks": webhooks})
        scratch = home / "scratch"
        scratch.mkdir(parents=True)
        async with (
            running(home, settings) as gateway,
            served(below(gateway)) as address,
            Decoder(settings.limits) as decoder,
        ):
            model = ScriptedEngines()
            engines: Any = gateway.services.engines
            engines.chat, engines.language_model = model.chat, model.language_model
            # Loaded before the first job: what imports for seconds keeps no lease.
            await engines.recognize(bytes(SAMPLE_RATE_HZ))
            await engines.event_detector()
            await engines.observe(bytes(2 * SAMPLE_RATE_HZ), [Span(0.0, 1.0)], 0.0, "interactive")
            operator = OperatorClient(f"http://{address}", OPERATOR_KEY)
            at_once = await operator.utterances_at_once()
            listening = ListeningContext(operator, VoiceActivity(), settings.engines.utterance_max_secs, at_once)
            context = PipelineContext(listening, operator, decoder, settings.jobs, home / "blocks")
            worker = Worker(settings, context, operator, scratch, RefusedKey(settings.home / "key", operator))
            working = asyncio.create_task(worker.run())
            stop = asyncio.Event()
            ready.set_result((Studio(gateway, address, model, asyncio.get_running_loop()), stop))
            await stop.wait()
            working.cancel()
            await asyncio.wait([working], timeout=30)
            await operator.close()
    except BaseException as error:
        if not ready.done():
            ready.set_exception(error)
        raise
