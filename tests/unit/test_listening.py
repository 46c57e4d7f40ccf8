"""Sounds without speech give no words, words keep their order, and a cut moved about loses and doubles none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from audio.segment import utterances
from audio.vad import VoiceActivity
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from serve.asr.pocketsphinx import PocketsphinxRecognizer
from tests.speech import SENTENCES, noise, say, sequence, silence


@pytest.fixture(scope="module")
def recognizer() -> Iterator[PocketsphinxRecognizer]:
    engine = PocketsphinxRecognizer()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def voice_activity() -> VoiceActivity:
    return VoiceActivity()


def heard(voice_activity: VoiceActivity, engine: PocketsphinxRecognizer, samples: Samples, max_secs: float) -> list[str]:
    duration = samples.size / SAMPLE_RATE_HZ
    words: list[str] = []
    until = 0.0
    for span in utterances(voice_activity.probabilities(samples), duration, max_secs):
        piece = samples[round(span.start_secs * SAMPLE_RATE_HZ) : round(span.end_secs * SAMPLE_RATE_HZ)]
        for word in engine.recognize([piece])[0].words:
            start, end = span.start_secs + word.start_secs, span.start_secs + word.end_secs
            assert until - 1e-3 <= start < end <= span.end_secs + 1e-3
            until = end
            words.append(word.text)
    return words


def brown(duration_secs: float) -> Samples:
    walk = np.cumsum(noise(duration_secs, 1.0))
    walk -= np.convolve(walk, np.ones(1601) / 1601, "same")
    return np.asarray(0.1 * walk / np.abs(walk).max(), np.float32)


def swelling(duration_secs: float) -> Samples:
    sound = noise(duration_secs, 0.1)
    return np.asarray(sound * (1.1 + np.sin(np.arange(sound.size) / 4000)), np.float32)


def hum(duration_secs: float) -> Samples:
    at = np.arange(round(duration_secs * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(0.1 * np.sin(2 * np.pi * 50 * at) + 0.05 * np.sin(2 * np.pi * 150 * at), np.float32)


@pytest.mark.parametrize(
    "sound", [silence(10), noise(10, 0.001), noise(10, 0.3), brown(10), swelling(10), hum(10)],
    ids=["silence", "hiss", "white", "brown", "swelling", "hum"],
)  # fmt: skip
def test_sounds_without_speech_hold_no_words(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer, sound: Samples
) -> None:
    assert heard(voice_activity, recognizer, sound, 30.0) == []


@pytest.mark.parametrize("max_secs", [3.0, 4.1, 5.3, 6.7])
def test_a_cut_that_slides_over_the_pauses_loses_and_doubles_no_word(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer, max_secs: float
) -> None:
    samples, _ = sequence([say(s) for s in SENTENCES[:3]], gap_secs=0.25)
    whole = heard(voice_activity, recognizer, samples, 30.0)
    cut = heard(voice_activity, recognizer, samples, max_secs)
    assert abs(len(cut) - len(whole)) <= 2
    assert all(first != second for first, second in pairwise(cut))
