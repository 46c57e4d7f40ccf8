"""The check by Whisper, on speech of Kokoro that the tests render with and without faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.verification.planted_renders import say
from benchmarks.verification.speaking import Style, styles
from schemas.engines import Samples
from schemas.errors import EngineFailure, Unavailable
from schemas.settings import Settings
from serve.engines.bundled_weights import find_weights
from serve.engines.registry import build_synthesizer
from serve.engines.tts.verify.listening import WhisperListener, repaired
from serve.engines.tts.verify.verdict import UNJUDGED, Expected
from serve.engines.tts.verify.whisper_verifier import WhisperVerifier
from serve.engines.weights_catalog import WHISPER_BASE

pytestmark = pytest.mark.unit

TEXT = "The farmer sold his last horse to pay for the new tractor."
Say = Callable[[str], Samples]


def expected(text: str = TEXT, language: str = "en-us") -> Expected:
    return Expected(tuple(text.split()), language)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return find_weights(WHISPER_BASE, tmp_path_factory.mktemp("cache")).folder


@pytest.fixture(scope="module")
def verifier(weights: Path) -> WhisperVerifier:
    return WhisperVerifier(lambda: weights)


@pytest.fixture(scope="module")
def kokoro(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Style], Samples]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    chosen = settings.engines.model_copy(update={"tts_engine": "kokoro"})
    synthesizer = build_synthesizer(settings.model_copy(update={"engines": chosen}))
    return cache(lambda text, style: say(synthesizer, text, style))


@pytest.fixture(scope="module")
def said(kokoro: Callable[[str, Style], Samples]) -> Say:
    style = styles("kokoro", "en", "measuring")[1]
    return lambda text: kokoro(text, style)


def test_a_good_render_passes(verifier: WhisperVerifier, said: Say) -> None:
    verdict = verifier.check(said(TEXT), expected())
    assert verdict.ok
    assert (verdict.word_error_rate, verdict.reasons) == (0.0, ())


def test_expected_number_words_match_recognised_figures(verifier: WhisperVerifier, said: Say) -> None:
    text = "On May third, nineteen eighty-seven people paid nine dollars."
    verdict = verifier.check(said(text), expected(text))
    assert verdict.ok
    assert verdict.word_error_rate == 0


@pytest.mark.parametrize(
    ("spoken", "reason"),
    [
        ("The farmer sold his horse to pay for the new tractor.", "word 5 of 12 is not heard"),
        ("The farmer sold his last house to pay for the new tractor.", "word 6 of 12 sounds like another"),
        ("The farmer sold his last horse yesterday to pay for the new tractor.", "other speech before word 7 of 12"),
    ],
)
def test_a_misreading_fails_with_its_reason(verifier: WhisperVerifier, said: Say, spoken: str, reason: str) -> None:
    verdict = verifier.check(said(spoken), expected())
    assert not verdict.ok
    assert verdict.word_error_rate in (1 / 12, 2 / 12)
    assert reason in verdict.reasons


@pytest.mark.parametrize("left", [0.6, 0.75, 0.85])
@pytest.mark.parametrize("silence_secs", [0.0, 0.4])
def test_speech_that_breaks_off_fails(verifier: WhisperVerifier, said: Say, left: float, silence_secs: float) -> None:
    speech = said(TEXT)
    cut = np.concatenate([speech[: int(left * speech.size)], np.zeros(int(silence_secs * 16_000), np.float32)])
    verdict = verifier.check(cut, expected())
    assert not verdict.ok
    assert verdict.reasons


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_silence_and_noise_are_no_speech(verifier: WhisperVerifier, level: float) -> None:
    """In noise the recogniser may take one word of twelve for heard; which one depends on the processor's arithmetic."""
    noise = level * np.random.default_rng(1).standard_normal(48_000)
    verdict = verifier.check(noise.astype(np.float32), expected())
    assert not verdict.ok
    assert verdict.word_error_rate >= 11 / 12


def test_a_cue_may_be_any_sound_but_does_not_excuse_a_word(verifier: WhisperVerifier, said: Say) -> None:
    hum = (0.2 * np.sin(2 * np.pi * 150 * np.arange(8_000) / 16_000)).astype(np.float32)
    with_cue = Expected((None, *TEXT.split()))
    assert verifier.check(np.concatenate([hum, said(TEXT)]), with_cue).ok
    missing = said("The farmer sold his horse to pay for the new tractor.")
    assert not verifier.check(np.concatenate([hum, missing]), with_cue).ok


def test_other_languages_are_recognised_in_their_own(
    verifier: WhisperVerifier, kokoro: Callable[[str, Style], Samples]
) -> None:
    style = styles("kokoro", "es", "measuring")[0]
    text = "Mi hermana vive en una casa pequeña cerca del mar."
    sound = kokoro(text, style)
    assert verifier.check(sound, expected(text, "es")).ok
    assert not verifier.check(sound, expected("Mi hermana vive en una casa pequeña lejos del mar.", "es")).ok


def test_what_cannot_be_judged_passes_without_a_rate(verifier: WhisperVerifier) -> None:
    silence = np.zeros(16_000, np.float32)
    assert verifier.check(silence, Expected((None,))) == UNJUDGED
    assert verifier.check(silence, Expected(("Guten", "Tag"), "xx")) == UNJUDGED
    assert verifier.check(np.zeros(30 * 16_000, np.float32), expected()) == UNJUDGED


def test_samples_that_are_no_numbers_are_refused(verifier: WhisperVerifier) -> None:
    with pytest.raises(EngineFailure, match="finite"):
        verifier.check(np.full(16_000, np.nan, np.float32), expected())


def test_threads_get_the_verdicts_they_would_alone(verifier: WhisperVerifier, said: Say) -> None:
    sounds = [said(TEXT), said("The farmer sold his horse to pay for the new tractor.")]
    alone = [verifier.check(sound, expected()) for sound in sounds]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda sound: verifier.check(sound, expected()), sounds * 2)) == alone * 2


def test_the_weights_are_looked_for_at_the_first_check_only() -> None:
    def missing() -> Path:
        raise Unavailable("the weights whisper-base cannot be used")

    verifier = WhisperVerifier(missing)
    with pytest.raises(Unavailable, match="whisper-base"):
        verifier.check(np.zeros(16_000, np.float32), expected())


def test_words_of_the_alignment_are_the_expected_words_in_order(weights: Path, said: Say) -> None:
    sound = said(TEXT)
    listening = WhisperListener(weights).listen(sound, TEXT.split(), "en")
    assert len(listening.expected) == len(TEXT.split())
    starts = [word.start_secs for word in listening.expected]
    assert starts == sorted(starts)
    assert listening.expected[-1].end_secs <= sound.size / 16_000 + 0.1
    assert min(word.log_probability for word in listening.expected) > -4


def test_a_tokenizer_without_its_first_merge_is_repaired(weights: Path) -> None:
    from tokenizers import Tokenizer

    stored = (weights / "tokenizer.json").read_text("utf-8")
    assert Tokenizer.from_str(stored).encode(" the train", add_special_tokens=False).tokens != ["Ġthe", "Ġtrain"]
    whole = repaired(stored)
    assert Tokenizer.from_str(whole).encode(" the train", add_special_tokens=False).tokens == ["Ġthe", "Ġtrain"]
    assert json.loads(repaired(whole)) == json.loads(whole)
