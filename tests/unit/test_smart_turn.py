"""Smart Turn tells the end of a turn from a pause, on features equal to those of its training."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soxr

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.settings import ServerSettings, Settings
from schemas.turn_taking import EndOfTurnDetector
from serve.engines.end_of_turn.smart_turn import SmartTurn, build
from serve.engines.end_of_turn.whisper_features import log_mel
from tests.support.kokoro import say

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> SmartTurn:
    return build(Settings(server=ServerSettings(home=tmp_path_factory.mktemp("home"))))


@pytest.mark.parametrize("loudness", [0.01, 1.0])
def test_the_features_are_those_of_the_reference(loudness: float) -> None:
    transformers = pytest.importorskip("transformers")
    oracle = transformers.WhisperFeatureExtractor(chunk_length=8)
    random = np.random.default_rng(3)
    sound = np.zeros(8 * SAMPLE_RATE_HZ, np.float32)
    times = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sweep = np.sin(2 * np.pi * (100 + 700 * times) * times) * (times % 1 < 0.7)
    sound[3 * SAMPLE_RATE_HZ :] = loudness * (sweep + 0.01 * random.standard_normal(times.size))
    expected = oracle(sound, sampling_rate=SAMPLE_RATE_HZ, return_tensors="np", do_normalize=True, max_length=sound.size)
    found = log_mel(sound)
    assert found.shape == (80, 800)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected["input_features"][0], atol=2e-3)


def test_silence_and_nothing_have_an_answer(detector: EndOfTurnDetector) -> None:
    assert detector.probability(np.zeros(0, np.float32)) == 0.0
    assert 0.0 <= detector.probability(np.zeros(SAMPLE_RATE_HZ, np.float32)) <= 1.0
    assert detector.info.engine == "smart-turn"
    assert detector.info.revision.startswith("smart-turn-")


SENTENCES = (
    "I would like to book a table for two people tomorrow evening.",
    "Could you tell me when the next train to Berlin leaves?",
    "The weather was so nice that we stayed in the garden until midnight.",
    "She opened the window and looked out over the garden.",
    "We should leave now because the road is going to be busy.",
    "The doctor said that he has to stay in bed for a week.",
)
"""None of them could end at .6 or .8 of its length."""


def heard(text: str, share: float) -> Samples:
    """The first ``share`` of a sentence and .2 s of a quiet room, 16 kHz."""
    spoken = np.asarray(soxr.resample(say(text), SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
    part = spoken[: round(share * spoken.size)]
    room = 1e-4 * np.random.default_rng(0).standard_normal(part.size + round(0.2 * SAMPLE_RATE_HZ))
    room[: part.size] += part
    return room.astype(np.float32)


def test_ends_of_sentences_are_distinguished_from_their_middles(detector: EndOfTurnDetector) -> None:
    ends = [detector.probability(heard(text, 1.0)) for text in SENTENCES]
    middles = [detector.probability(heard(text, share)) for text in SENTENCES for share in (0.6, 0.8)]
    assert sum(one > 0.5 for one in ends) >= 5, ends
    assert sum(one < 0.5 for one in middles) >= 9, middles
    assert np.mean(ends) - np.mean(middles) > 0.4


def test_only_the_last_eight_seconds_count_and_calls_do_not_disturb_each_other(detector: EndOfTurnDetector) -> None:
    turns = [heard(text, share) for text in SENTENCES for share in (0.5, 1.0)]
    alone = [detector.probability(turn) for turn in turns]
    before = np.random.default_rng(1).standard_normal(9 * SAMPLE_RATE_HZ).astype(np.float32)
    window = np.concatenate((before[: 8 * SAMPLE_RATE_HZ - turns[0].size], turns[0]))
    assert detector.probability(np.concatenate((before, window))) == pytest.approx(detector.probability(window), abs=1e-6)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(detector.probability, turns * 2))
    np.testing.assert_allclose(together, alone * 2, atol=1e-6)
