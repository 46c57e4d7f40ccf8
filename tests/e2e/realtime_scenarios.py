"""Plays the scenarios of `realtime_scenarios.yaml` to a running platform, in real time, and collects what it sends."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import yaml
from websockets.asyncio.client import ClientConnection, connect

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from tests.support.realtime_kit import server_events
from tests.support.speech import noise, say

_CHUNK_SECS = 0.02
_CHUNK_BYTES = 2 * round(_CHUNK_SECS * SPEECH_RATE_HZ)
_DEADLINE_SECS = 40.0
_VOICES = ("en-us", "en-us+f3")


@dataclass(frozen=True)
class Scenario:
    """See the file."""

    name: str
    steps: list[dict[str, Any]]
    until: dict[str, Any]
    expect: dict[str, Any]
    session: dict[str, Any] = field(default_factory=dict)
    story: bool = False
    """Whether the answers are to be long."""


def scenarios() -> list[Scenario]:
    file = Path(__file__).with_suffix(".yaml")
    return [Scenario(**one) for one in yaml.safe_load(file.read_text())]


def _sound(step: dict[str, Any]) -> Samples:
    if "say" in step:
        texts = step["say"] if isinstance(step["say"], list) else [step["say"]]
        parts = [say(text, voice) for text, voice in zip(texts, _VOICES, strict=False)]
        mixed = np.zeros(max(map(len, parts)), np.float32)
        for part in parts:
            mixed[: len(part)] += part
        return mixed
    if "noise" in step:
        return noise(step["noise"], 0.2)
    times = np.arange(round(step.get("music", 0.0) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    chords = np.array([[262, 330, 392], [294, 370, 440], [247, 311, 370]])[(times // 0.5).astype(int) % 3]
    return np.asarray(0.1 * np.sin(2 * np.pi * chords * times[:, None]).sum(1), np.float32)


class Played:
    """One scenario in one session."""

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws
        self._waiting = bytearray()
        self._changed = asyncio.Event()
        self._seen = 0
        self.events: list[dict[str, Any]] = []

    async def microphone(self) -> None:
        """Silence, or what is queued, in real time."""
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while True:
            chunk = bytes(self._waiting[:_CHUNK_BYTES])
            del self._waiting[: len(chunk)]
            self._changed.set()
            audio = base64.b64encode(chunk + bytes(_CHUNK_BYTES - len(chunk))).decode()
            await self._ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            sent += 1
            await asyncio.sleep(max(0.0, began + sent * _CHUNK_SECS - loop.time()))

    async def follow(self) -> None:
        async for message in self._ws:
            event = json.loads(message)
            server_events().validate_python(event)
            self.events.append(event)
            self._changed.set()

    async def step(self, step: dict[str, Any]) -> None:
        if "after" in step:
            await self._until(lambda: any(event["type"] == step["after"] for event in self.events[self._seen :]))
        self._seen = len(self.events)
        samples = np.concatenate((np.zeros(round(step.get("pause", 0.0) * SAMPLE_RATE_HZ), np.float32), _sound(step)))
        resampled = soxr.resample(samples, SAMPLE_RATE_HZ, SPEECH_RATE_HZ)
        self._waiting += (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
        await self._until(lambda: not self._waiting)

    async def end(self, until: dict[str, Any]) -> None:
        if "secs" in until:
            await self.step({"pause": until["secs"]})
            return
        ((kind, count),) = until.items()
        await self._until(lambda: self.count(kind) >= count)

    def count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.events)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(_DEADLINE_SECS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def play(url: str, key: str, scenario: Scenario) -> Played:
    """All that was sent up to the scenario's end."""
    headers = {"Authorization": key}
    async with connect(f"{url}/v1/realtime?model=x", additional_headers=headers, max_size=None) as ws:
        turns = {"type": "server_vad", **scenario.session}
        wishes = "Tell a long story." if scenario.story else "Answer in one short sentence."
        session = {
            "type": "realtime",
            "instructions": wishes,
            "max_output_tokens": 150 if scenario.story else 40,
            "audio": {"input": {"transcription": {"model": "x", "language": "en"}, "turn_detection": turns}},
        }
        await ws.send(json.dumps({"type": "session.update", "session": session}))
        played = Played(ws)
        working = [asyncio.create_task(played.follow()), asyncio.create_task(played.microphone())]
        try:
            for step in scenario.steps:
                await played.step(step)
            await played.end(scenario.until)
        finally:
            for task in working:
                task.cancel()
            with suppress(Exception):
                await asyncio.gather(*working, return_exceptions=True)
    return played
