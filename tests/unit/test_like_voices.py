"""Two men of one height of voice are two speakers, and each of them alone is one."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from audio.segmentation import speech_for_diarization
from audio.vad import VoiceActivity
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Turn
from schemas.engines import Samples
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer
from tests.support.kokoro import say, voice
from tests.support.speech import SENTENCES, noise, sequence

pytestmark = pytest.mark.unit

MEN = ("abraham", "puck")
"""Both have a median of 106 Hz."""


@pytest.fixture(scope="module")
def said() -> list[list[Samples]]:
    """Some twenty seconds of each man, sentence by sentence, at 16 kHz."""
    return [
        [np.asarray(soxr.resample(say(text, man), SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32) for text in SENTENCES]
        for man in MEN
    ]


def turns_of(samples: Samples) -> list[Turn]:
    heard = samples + noise(samples.size / SAMPLE_RATE_HZ, 1e-3)
    speech = speech_for_diarization(VoiceActivity().probabilities(heard), heard.size / SAMPLE_RATE_HZ)
    diarizer = EmbeddingDiarizer()
    return diarizer.resolve([diarizer.observe(heard, speech)], speech)


@pytest.mark.parametrize(("gap_secs", "least"), [(0.6, 0.8), (0.0, 0.7)])
def test_two_male_voices_of_one_pitch_are_distinguished(said: list[list[Samples]], gap_secs: float, least: float) -> None:
    """Without pauses, sentences of two seconds may lose a third of one at either end: a window lasts 1.2 s."""
    assert abs(np.log2(voice(MEN[0]).f0_hz / voice(MEN[1]).f0_hz)) < 1 / 12
    samples, spans = sequence([part for pair in zip(*said, strict=True) for part in pair], gap_secs)
    turns = turns_of(samples)
    assert {turn.speaker for turn in turns} == {0, 1}
    for number, span in enumerate(spans):
        heard = [0.0, 0.0]
        for turn in turns:
            heard[turn.speaker] += max(0.0, min(turn.end_secs, span.end_secs) - max(turn.start_secs, span.start_secs))
        assert heard[number % 2] > least * sum(heard), (number, heard)


@pytest.mark.parametrize("man", range(len(MEN)))
def test_a_man_who_talks_alone_is_one_speaker(said: list[list[Samples]], man: int) -> None:
    samples, _ = sequence(said[man])
    assert {turn.speaker for turn in turns_of(samples)} == {0}
