"""Planted faults are what they are called."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.verification.planted_renders import broken_off, edits, misread, sentences, spoken
from benchmarks.verification.speaking import LANGUAGES, styles
from serve.engines.tts.verify.pronunciation import Pronouncer, bare

pytestmark = pytest.mark.unit

TEXT = "Seven small boats left port early."


def variants(fault: str, count: int = 20) -> list[list[str]]:
    random = np.random.default_rng(4)
    return [misread(TEXT, fault, "en-us", random).split() for _ in range(count)]  # type: ignore[arg-type]


def test_a_dropped_word_is_gone_and_the_full_stop_stays() -> None:
    for words in variants("drop"):
        assert len(words) == 5
        assert words[-1].endswith(".")
        assert words[0][0].isupper()


def test_a_repeated_word_occurs_twice() -> None:
    for words in variants("repeat"):
        bare_words = [word.lower().strip(".") for word in words]
        assert len(words) == 7
        assert sum(a == b for a, b in pairwise(bare_words)) == 1


@pytest.mark.parametrize("fault", ["substitution", "confusable"])
def test_a_replaced_word_sounds_otherwise(fault: str) -> None:
    english, own = Pronouncer("en-us"), TEXT.lower().rstrip(".").split()
    for words in variants(fault):
        changed = [(a, b) for a, b in zip(own, (word.lower().rstrip(".") for word in words), strict=True) if a != b]
        assert len(changed) == 1
        assert english.phones(changed[0][0]) != english.phones(changed[0][1])


def test_the_confusable_word_is_nearer_than_another() -> None:
    english, own = Pronouncer("en-us"), TEXT.lower().rstrip(".").split()

    def distance(fault: str) -> float:
        pairs = (pair for words in variants(fault) for pair in zip(own, words, strict=True))
        changed = [(english.phones(a), english.phones(bare(b).lower())) for a, b in pairs if a != bare(b).lower()]
        return float(np.mean([edits(a, b) / max(len(a), len(b)) for a, b in changed]))

    assert distance("confusable") < 0.6 < distance("substitution")


def test_a_truncated_render_has_60_to_95_percent_of_the_speech() -> None:
    speech = np.concatenate([np.zeros(8_000), np.ones(16_000), np.zeros(8_000)]).astype(np.float32)
    random = np.random.default_rng(2)
    lengths = [np.flatnonzero(broken_off(speech, random) > 0.99)[-1] - 8_000 for _ in range(60)]
    assert 0.57 * 16_000 <= min(lengths) < 0.7 * 16_000
    assert 0.85 * 16_000 < max(lengths) <= 0.95 * 16_000


def test_numbers_are_words_before_they_are_spoken() -> None:
    assert not any(character.isdigit() for text in sentences("en") for character in spoken(text, "en-us"))


@pytest.mark.parametrize("engine", list(LANGUAGES))
def test_voices_for_fitting_are_not_those_for_measuring(engine: str) -> None:
    fitting, measuring = (
        {style.voice.voice_id for style in styles(engine, "en", split)} for split in ("fitting", "measuring")
    )
    assert fitting
    assert measuring
    assert not fitting & measuring
