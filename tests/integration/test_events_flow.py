"""Sounds that are not words, through gateway, worker and Prefect: placed inline, heard once, and only when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.domain import SAMPLE_RATE_HZ, Span
from schemas.engines import Samples
from schemas.settings import EngineSettings
from schemas.speech import Cue
from tests.e2e import recordings
from tests.integration.test_long_files import LONG, flac, instance
from tests.support import scenes, speech

pytestmark = pytest.mark.integration

TINY_AST = Path(__file__).resolve().parents[1] / "data" / "models" / "tiny-ast"
CUES: tuple[Cue, ...] = ("laugh", "cough", "sniff", "gasp")
TAGS = ("laugh", "cough", "sniff", "breath")
_PATIENCE_SECS = 150
"""Prefect's server alone takes half a minute to start where others work too."""


_WORD_ERROR_SECS = 0.08
"""Half of all words begin at most so far from where they were said."""


def recording(count: int) -> tuple[bytes, list[Span]]:
    """A sentence and a cue in turn, and where the cues lie."""
    parts: list[Samples] = []
    for number in range(count):
        said = speech.say(speech.SENTENCES[number], *speech.LOW_VOICE)
        parts += [said, np.float32(0.5) * scenes.cue(CUES[number % 4], 120.0, 2_000_000 + number)]
    samples, spans = speech.sequence(parts)
    return recordings.wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3)[: samples.size]), spans[1::2]


def assert_heard(body: dict[str, Any], planted: list[Span]) -> None:
    """Every planted cue where it was planted, no other sound, inline as in ``events``, and not in the segments."""
    sounds = [e for e in body["events"] if e["tag"] not in ("pause", "hesitation")]
    assert [e["tag"] for e in sounds] == [TAGS[n % 4] for n in range(len(planted))]
    for event, span in zip(sounds, planted, strict=True):
        # Events keep off the words beside them, whose times are off by as much.
        assert event["start"] < span.end_secs + _WORD_ERROR_SECS
        assert event["end"] > span.start_secs - _WORD_ERROR_SECS
        assert event["confidence"] >= 0.5
        assert event["speaker"] is not None
    assert all("[" not in segment["text"] for segment in body["segments"])
    assert [body["text"].count(f"[{tag}]") for tag in TAGS] == [sum(e["tag"] == tag for e in sounds) for tag in TAGS]


async def test_sound_events_are_detected_on_request_and_never_twice(tmp_path: Path) -> None:
    engines = EngineSettings(events_engine="transformers", events_model=str(TINY_AST))
    long, planted = recording(4)
    short, planted_short = recording(2)
    async with instance(tmp_path, engines) as here:
        await here.gateway.services.engines.event_detector()  # loads it: what imports for seconds keeps no lease
        with here.prefect(), here.worker(**LONG):
            plain = await here.completed(await here.submit(long), _PATIENCE_SECS)
            assert "events" not in plain
            assert "[" not in plain["text"]
            assert not here.asked["/operator/events/observe"]
            stored = here.kept

            here.asked.clear()
            body = await here.completed(await here.submit(flac(long), non_speech=True, filename="a.flac"), _PATIENCE_SECS)
            assert_heard(body, planted)
            assert body["segments"] == plain["segments"]
            blocks = here.asked["/operator/events/observe"]
            assert blocks >= 2
            assert stored == 2 * blocks + 1  # words and voices of each block, and the recording's language
            assert not here.asked["/operator/recognize"]
            assert not here.asked["/operator/diarization/observe"]

            here.asked.clear()
            again = await here.completed(await here.submit(long, non_speech=True), _PATIENCE_SECS)
            assert again["events"] == body["events"]
            assert not here.asked["/operator/events/observe"]

            here.asked.clear()
            # Short enough for one go: below 12 s.
            body = await here.completed(await here.submit(short, non_speech=True), _PATIENCE_SECS)
            assert_heard(body, planted_short)
            assert here.asked["/operator/events/observe"] == 1
