"""The recordings that production models are tested with, and a gateway with a worker over such models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from audio.decoding.decoder import Decoder
from audio.vad import VoiceActivity
from clients.operator import OperatorClient
from flows.transcription.context import ListeningContext, PipelineContext
from flows.worker import RefusedKey, Worker
from lakehouse.tables.row_mapping import job_from_row
from schemas.domain import SAMPLE_RATE_HZ, Recognition, RecognizeOptions, Span
from schemas.engines import Recognizer, Samples
from schemas.settings import Settings
from scripts.word_speech import SpokenUtterance
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.contract.speaking import served, until
from tests.e2e import recordings
from tests.support import scenes, speech
from tests.support.spoken_words import SENTENCES, one_after_another, spoken

CUE_GAP_SECS = 0.5
SAID = {f"{voice} {number}": (text, voice) for number, text in enumerate(SENTENCES) for voice in ("en-us", "en-us+f2")}
"""What is said in each recording of one voice, and by which."""


def cue_between() -> tuple[SpokenUtterance, Span]:
    """Two sentences with a gasp between them, and where it lies."""
    before, after = spoken(SENTENCES[0], SENTENCES[3])
    gasp = np.float32(0.5) * scenes.cue("gasp", 120.0, 2_000_000)
    start = before.samples.size / SAMPLE_RATE_HZ + CUE_GAP_SECS
    span = Span(start, start + gasp.size / SAMPLE_RATE_HZ)
    return one_after_another([before, SpokenUtterance(gasp, (), ()), after], CUE_GAP_SECS), span


def sent() -> dict[str, tuple[SpokenUtterance, dict[str, Any]]]:
    """Every recording by name, and what is asked about it."""
    found: dict[str, tuple[SpokenUtterance, dict[str, Any]]] = {
        name: (spoken(text, voice=voice)[0], {"num_speakers": 1}) for name, (text, voice) in SAID.items()
    }
    turns = [spoken(SENTENCES[0])[0], spoken(SENTENCES[2], voice="en-us+f2")[0]]
    found["two voices"] = (one_after_another(turns, 0.8), {"num_speakers": 2})
    found["gasp"] = (cue_between()[0], {"num_speakers": 1, "non_speech": True})
    return found


def floored(samples: Samples) -> Samples:
    """With the noise of a room at -60 dBFS under it."""
    return samples + speech.noise(samples.size / SAMPLE_RATE_HZ + 1, 1e-3)[: samples.size]


class Overheard:
    """Before a replica's recogniser: notes how many utterances each call has, and holds the calls back until let go."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognize: Callable[[Sequence[Samples], RecognizeOptions], list[Recognition]] = recognizer.recognize
        self.sizes: list[int] = []
        self.go = threading.Event()
        recognizer.recognize = self  # type: ignore[method-assign]

    def __call__(self, utterances: Sequence[Samples], options: RecognizeOptions) -> list[Recognition]:
        self.go.wait(60)
        self.sizes.append(len(utterances))
        return self._recognize(utterances, options)


@dataclass(frozen=True)
class Platform:
    """Gateway, worker and replicas in this process; ``client`` speaks to it over HTTP."""

    gateway: Running
    client: httpx.AsyncClient
    overheard: Overheard
    recognizer: Any
    """The recogniser's replica."""

    @property
    def waiting(self) -> int:
        """Utterances in the recogniser's queue."""
        return len(self.recognizer._loaded.engine.admission._lanes)

    async def submit(self, name: str, **changes: Any) -> dict[str, Any]:
        recording, params = sent()[name]
        body = recordings.wav(floored(recording.samples))
        answer = await self.client.post("/submit", content=body, params={"filename": f"{name}.wav", **params, **changes})
        return dict(answer.raise_for_status().json())

    async def completed(self, job_id: int) -> dict[str, Any]:
        await self.client.get(f"/transcriptions/{job_id}/events")  # ends when the job does
        answer = await self.client.get(f"/transcriptions/{job_id}", params={"word_level_timestamps": True})
        body = dict(answer.raise_for_status().json())
        assert body["status"] == "completed", body
        return body

    async def revision_of(self, job_id: int) -> str | None:
        row = await self.gateway.services.history.get("transcriptions", "default", job_id)
        assert row is not None
        return job_from_row(row).engine_revision


@asynccontextmanager
async def platform(home: Path, settings: Settings) -> AsyncIterator[Platform]:
    scratch = home / "scratch"
    scratch.mkdir(exist_ok=True)
    headers = {"Authorization": USER_KEY}
    async with running(home, settings) as gateway, served(gateway) as address, Decoder(settings.limits) as decoder:
        engines: Any = gateway.services.engines
        # All loaded before the first job: what imports for seconds keeps no lease.
        await engines.recognize(bytes(SAMPLE_RATE_HZ))
        await engines.event_detector()
        await engines.observe(bytes(2 * SAMPLE_RATE_HZ), [Span(0.0, 1.0)], 0.0, "interactive")
        replica = await engines.recognizer_replica()
        overheard = Overheard(replica._loaded.engine.recognizer)
        operator = OperatorClient(f"http://{address}", OPERATOR_KEY)
        at_once = await operator.utterances_at_once()
        voice_activity = VoiceActivity()
        listening = ListeningContext(operator, voice_activity, settings.engines.utterance_max_secs, at_once)
        context = PipelineContext(listening, operator, decoder, settings.jobs, home / "blocks")
        working = asyncio.create_task(
            Worker(settings, context, operator, scratch, RefusedKey(settings.home / "key", operator)).run()
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers, timeout=60) as client:
                yield Platform(gateway, client, overheard, replica)
        finally:
            overheard.go.set()
            working.cancel()
            await asyncio.wait([working])
            await operator.close()


@dataclass(frozen=True)
class Found:
    """What one model made of all recordings: transcripts by name, and what the platform says of them."""

    bodies: dict[str, dict[str, Any]]
    submitted: dict[str, dict[str, Any]]
    """Answers to the first submission of each."""
    revisions: dict[str, str | None]
    batches: list[int]
    models: dict[str, dict[str, Any]]
    ready: dict[str, Any]


async def all_at_once(here: Platform, names: Sequence[str]) -> Found:
    """Sends these recordings, lets the recogniser begin when an utterance of each has come, and waits for the ends."""
    answers = dict(zip(names, await asyncio.gather(*(here.submit(name) for name in names)), strict=True))
    new = [name for name in names if not answers[name]["cached"]]
    await until(lambda: here.waiting >= len(new) - 1, 60)  # one more may be in the recogniser's hands
    here.overheard.go.set()
    bodies = {name: await here.completed(answers[name]["id"]) for name in names}
    return Found(
        bodies=bodies,
        submitted=answers,
        revisions={name: await here.revision_of(answers[name]["id"]) for name in names},
        batches=list(here.overheard.sizes),
        models={model["slot"]: model for model in (await here.client.get("/v1/models")).json()["data"]},
        ready=(await here.client.get("/ready")).json(),
    )
