"""Text of a recording reaches those who follow it while the rest is still to be recognised."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI

from schemas.domain import SAMPLE_RATE_HZ, Recognition, RecognizeOptions
from schemas.engines import Samples
from tests.clients.test_openai_audio import client as client
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.support import speech

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]

SECS = 120
"""Longest wait for what must come; the recogniser is held back for longer."""
SOFT, LOUD = 0.3, 0.9
"""Peaks of what is said first, and of what is said last."""


def talk() -> bytes:
    """A minute of sentences, and after a silence a louder one, which is a window of its own."""
    said = [speech.say(speech.SENTENCES[n % len(speech.SENTENCES)]) for n in range(18)]
    parts = [np.asarray(SOFT * one / np.abs(one).max(), np.float32) for one in said]
    soft, _ = speech.sequence(parts, 0.6)
    last = np.asarray(LOUD * said[3] / np.abs(said[3]).max(), np.float32)
    samples, _ = speech.sequence([soft, last], 7.0)
    return recordings.wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3, 3)[: samples.size])


async def test_deltas_come_before_the_last_words_are_recognised(
    here: Platform, client: AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, recognizer = threading.Event(), here.recognizer._loaded.engine.recognizer
    recognize = recognizer.recognize

    def held_back(utterances: Sequence[Samples], options: RecognizeOptions) -> list[Recognition]:
        if any(np.abs(samples).max() > (SOFT + LOUD) / 2 for samples in utterances):
            assert released.wait(2 * SECS)
        return list(recognize(utterances, options))

    monkeypatch.setattr(recognizer, "recognize", held_back)
    try:
        answer = await client.audio.transcriptions.with_raw_response.create(
            file=("long.wav", talk(), "audio/wav"), model="gpt-4o-transcribe", language="en", stream=True
        )
        events = aiter(answer.parse())
        first: Any = await asyncio.wait_for(anext(events), SECS)
        shown = await asyncio.wait_for(first_block(here, int(answer.headers["x-transcription-id"])), SECS)
        assert not released.is_set()
    finally:
        released.set()
    rest: list[Any] = [event async for event in events]
    assert first.type == "transcript.text.delta"
    assert first.delta.startswith(shown)
    assert rest[-1].type == "transcript.text.done"
    assert first.delta + "".join(event.delta for event in rest[:-1]) == rest[-1].text
    assert len(rest[-1].text) > len(first.delta)


async def first_block(here: Platform, job_id: int) -> str:
    """The text of the first `block` of a job's events."""
    async with here.client.stream("GET", f"/transcriptions/{job_id}/events") as answer:
        name = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif name == "block" and line.startswith("data: "):
                return " ".join(one["text"] for one in json.loads(line.removeprefix("data: "))["segments"])
    raise AssertionError("the events ended without a block")


async def test_what_is_to_be_redacted_is_not_shown_before_the_end(here: Platform) -> None:
    params = {"filename": "long.wav", "language": "en", "redact": "pii", "cache": False}
    sent = await here.client.post("/submit", content=recordings.long(30, 4), params=params)
    events = await here.client.get(f"/transcriptions/{sent.raise_for_status().json()['id']}/events")
    assert "event: segment\n" in events.text
    assert "event: block\n" not in events.text
