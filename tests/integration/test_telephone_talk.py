"""Two recorded readers on the telephone: both are found, told apart, and neither is two people when alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from audio.segmentation import speech_for_diarization
from audio.telephone_band import narrow_band
from audio.vad import VoiceActivity
from benchmarks.quality.local_pipeline import decode_all
from benchmarks.quality.scores import speaker_errors, speaker_rate
from schemas.domain import SAMPLE_RATE_HZ, Turn
from schemas.engines import Samples
from schemas.settings import Settings
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer
from tests.support.telephone import CODECS, over_the_line, pieces_of, talk_of

pytestmark = pytest.mark.integration

RECORDINGS = Path(os.environ.get("FLUXIONS_TEST_AUDIO", Path(__file__).parents[3] / "shared" / "audio")) / "speech"
READERS = (
    ("austen-0870.wav", "austen-0880.wav", "austen-0890.wav"),
    ("libri-2412-0000.flac", "libri-2412-0001.flac"),
)
LOUD_DB = -25.0
SOFTER_DB = (0.0, 6.0, 12.0)
"""How far one side's line is below the other's."""


class Ear:
    """Voice activity and the embedded diariser, as the worker puts them together."""

    def __init__(self) -> None:
        self.voice_activity = VoiceActivity()
        self._diarizer = EmbeddingDiarizer()

    def turns(self, samples: Samples) -> list[Turn]:
        duration_secs = samples.size / SAMPLE_RATE_HZ
        speech = speech_for_diarization(
            self.voice_activity.probabilities(samples), duration_secs, narrow=narrow_band(samples)
        )
        return self._diarizer.resolve([self._diarizer.observe(samples, speech)], speech)


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear()


@pytest.fixture(scope="module")
def sides(ear: Ear) -> list[list[Samples]]:
    """What each of two readers says, piece by piece."""
    paths = [RECORDINGS / name for names in READERS for name in names]
    if not all(path.exists() for path in paths):
        pytest.skip(f"{RECORDINGS} is absent; set FLUXIONS_TEST_AUDIO")
    readings = iter(decode_all(Settings(), paths))
    return [[piece for _ in names for piece in pieces_of(ear.voice_activity, next(readings))] for names in READERS]


@pytest.mark.parametrize("codec", CODECS)
def test_two_people_on_the_telephone_are_separated(ear: Ear, sides: list[list[Samples]], codec: str) -> None:
    errors, counts = [], []
    for seed, softer_db in enumerate(SOFTER_DB * 2):
        levels = (LOUD_DB, LOUD_DB - softer_db) if seed % 2 else (LOUD_DB - softer_db, LOUD_DB)
        made = talk_of(sides, codec, levels, seed)
        found = ear.turns(made.samples)
        counts.append(len({turn.speaker for turn in found}))
        errors.append(speaker_errors(made.turns, found, made.duration_secs, 0.0))
    assert speaker_rate(errors) <= 0.20
    # A mobile line can make a third voice of a few windows.
    assert counts.count(2) >= len(counts) - 1, counts


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("side", [0, 1])
def test_one_reader_on_the_telephone_is_one_person(ear: Ear, sides: list[list[Samples]], side: int, codec: str) -> None:
    heard = over_the_line(np.concatenate(sides[side]), codec, LOUD_DB, np.random.default_rng(side))
    assert {turn.speaker for turn in ear.turns(heard)} == {0}
