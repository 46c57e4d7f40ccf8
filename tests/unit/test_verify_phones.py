"""The phone model's check, on speech of espeak-ng that the tests render with and without faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.verification.checks import check_of
from benchmarks.verification.evaluation import area_under, probabilities, rocs, run
from benchmarks.verification.planted_renders import planted_renders
from benchmarks.verification.speaking import styles
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.engines.tts.espeak import Espeak, Prosody
from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer
from serve.engines.tts.verify.decision import read_decision
from serve.engines.tts.verify.phone_lexicon import PHONES, Lexicon
from serve.engines.tts.verify.phone_verifier import PhoneVerifier
from serve.engines.tts.verify.verdict import UNJUDGED, Expected, Verdict

pytestmark = pytest.mark.unit

TEXT = "The farmer sold his last horse to pay for the new tractor."
EXPECTED = Expected(tuple(TEXT.split()))


@pytest.fixture(scope="module")
def verifier() -> PhoneVerifier:
    return PhoneVerifier()


def said(text: str, voice: str = "en-us+f2") -> Samples:
    import soxr

    pcm, _ = Espeak().synthesize(text, voice, Prosody(rate_wpm=165))
    return np.asarray(soxr.resample(pcm.astype(np.float32) / 32768, 22_050, 16_000), np.float32)


@pytest.mark.parametrize("voice", ["en-us+f2", "en-us+m7", "en-gb-x-rp+m3", "en-us-nyc+m1"])
def test_a_good_render_passes(verifier: PhoneVerifier, voice: str) -> None:
    verdict = verifier.check(said(TEXT, voice), EXPECTED)
    assert verdict.ok
    assert verdict.reasons == ()
    assert verdict.word_error_rate is not None
    assert verdict.word_error_rate <= 1 / len(EXPECTED.words)


@pytest.mark.parametrize(
    "spoken",
    [
        "the farmer sold his horse to pay for the new tractor",
        "the farmer sold his last window to pay for the new tractor",
        "the farmer sold his last horse to pay",
        "good evening and welcome to the theatre",
    ],
)
def test_a_misreading_fails_with_its_reasons(verifier: PhoneVerifier, spoken: str) -> None:
    verdict = verifier.check(said(spoken), EXPECTED)
    assert not verdict.ok
    assert verdict.word_error_rate is not None
    assert verdict.word_error_rate >= 1 / len(EXPECTED.words)
    assert verdict.reasons
    assert not any(word in reason.split() for reason in verdict.reasons for word in ("farmer", "horse", "tractor"))


def test_a_missing_word_is_named_by_its_place(verifier: PhoneVerifier) -> None:
    verdict = verifier.check(said("the farmer sold his last horse to pay for the new"), EXPECTED)
    total = len(EXPECTED.words)
    assert f"word {total} of {total} is not heard" in verdict.reasons


def test_sound_cut_short_fails(verifier: PhoneVerifier) -> None:
    sound = said(TEXT)
    verdict = verifier.check(sound[: int(0.6 * sound.size)], EXPECTED)
    assert not verdict.ok
    too_short = ("the sound is too short for its words",)
    assert verifier.check(sound[:2_000], EXPECTED) == Verdict(False, 1.0, 1.0, too_short)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_silence_and_noise_are_no_speech(verifier: PhoneVerifier, level: float) -> None:
    noise = level * np.random.default_rng(1).standard_normal(48_000)
    assert not verifier.check(noise.astype(np.float32), EXPECTED).ok


def test_level_does_not_matter(verifier: PhoneVerifier) -> None:
    sound = said(TEXT)
    scores = [verifier.check((gain * sound).astype(np.float32), EXPECTED).score for gain in (0.01, 0.3, 1.0)]
    assert max(scores) - min(scores) < 1e-2


def test_a_cue_may_be_any_sound_but_does_not_excuse_a_word(verifier: PhoneVerifier) -> None:
    hum = (0.2 * np.sin(2 * np.pi * 150 * np.arange(8_000) / 16_000)).astype(np.float32)
    with_cue = Expected((None, *EXPECTED.words))
    assert verifier.check(np.concatenate([hum, said(TEXT)]), with_cue).ok
    missing = said("the farmer sold his last horse to pay for the tractor")
    assert not verifier.check(np.concatenate([hum, missing]), with_cue).ok


def test_names_that_no_dictionary_holds_are_checked_too(verifier: PhoneVerifier) -> None:
    expected = Expected(("Please", "give", "the", "letter", "to", "mister", "Xanthrovik", "tomorrow."))
    assert verifier.check(said("please give the letter to mister xanthrovik tomorrow"), expected).ok
    assert not verifier.check(said("please give the letter to mister smith tomorrow"), expected).ok


def test_nothing_expected_is_nothing_to_judge(verifier: PhoneVerifier) -> None:
    assert verifier.check(np.zeros(16_000, np.float32), Expected((None,))) == UNJUDGED


def test_what_cannot_be_checked_is_refused(verifier: PhoneVerifier) -> None:
    with pytest.raises(EngineFailure, match="too long"):
        verifier.check(np.zeros(61 * 16_000, np.float32), EXPECTED)
    with pytest.raises(EngineFailure, match="finite"):
        verifier.check(np.full(16_000, np.nan, np.float32), EXPECTED)


def test_threads_get_the_verdicts_they_would_alone(verifier: PhoneVerifier) -> None:
    sounds = [said(TEXT), said("the farmer sold his horse to pay for the new tractor"), said("good evening to all")]
    alone = [verifier.check(sound, EXPECTED) for sound in sounds]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda sound: verifier.check(sound, EXPECTED), sounds * 3)) == alone * 3


def test_faults_separate_on_held_out_voices_and_sentences() -> None:
    check = check_of("espeak")
    decision = read_decision(check.decision_file, check.features)
    renders = list(planted_renders(EmbeddedSynthesizer(), "espeak", "en", "measuring", 1, seed=21))
    trials = run(renders, PhoneVerifier().evidence, len(check.features))
    assert {trial.voice for trial in trials} == {style.voice.voice_id for style in styles("espeak", "en", "measuring")}
    areas = {roc.defect: roc.area for roc in rocs(trials, decision)}
    assert min(areas["drop"], areas["substitution"]) >= 0.95
    assert areas["truncation"] >= 0.85
    assert areas["confusable"] >= 0.75
    good = probabilities([trial for trial in trials if trial.defect == "none"], decision)
    assert np.mean(good > decision.threshold) <= 0.15


def test_area_under_the_curve_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(2)
    good, bad = np.round(random.normal(0, 1, 50), 1), np.round(random.normal(0.7, 1, 40), 1)
    expected = roc_auc_score([0] * 50 + [1] * 40, np.concatenate([good, bad]))
    assert area_under(good, bad) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("cat", ["K AE T"]),
        ("church", ["CH ER CH"]),
        ("measure", ["M EH ZH ER", "M EH ZH AH"]),
        ("bath", ["B AE TH", "B AA TH"]),
        ("one", ["W AH N"]),
        ("for", ["F AO R", "F ER"]),
        ("to", ["T UW", "T AH"]),
    ],
)
def test_words_are_pronounced_in_american_and_british(word: str, phones: list[str]) -> None:
    found = [" ".join(PHONES[index] for index in one) for one in Lexicon().pronunciations(word)]
    assert set(phones) <= set(found)
    assert len(found) == len(set(found))
