"""The check of rendered speech, on speech the tests render with and without defects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from schemas.domain import Recognition, Word
from schemas.engines import Part, Passage, RenderRequest, Samples
from schemas.errors import EngineFailure
from serve.tts.embedded import EmbeddedSynthesizer
from serve.tts.espeak import Espeak, Prosody
from serve.tts.rendering import rendered
from serve.tts.verify.acoustics import load_model
from serve.tts.verify.corpus import MEASURING_VOICES, Speaking, most_alike, planted, speak
from serve.tts.verify.decision import load_decision
from serve.tts.verify.evidence import FEATURES
from serve.tts.verify.lexicon import load_lexicon, words_of
from serve.tts.verify.measuring import area_under, held_out_renders, probabilities, rocs, run
from serve.tts.verify.phonetic import PhoneVerifier
from serve.tts.verify.recognized import RecognizerVerifier
from serve.tts.verify.retrying import render_checked
from serve.tts.verify.verdict import Verdict, edits, expected_of
from serve.tts.voices import DEFAULT_VOICE

TEXT = "the farmer sold his last horse to pay for the new tractor"
WORDS = words_of(TEXT)
VOICE = Speaking("en-us+f2", Prosody(rate_wpm=165))


@pytest.fixture(scope="module")
def verifier() -> PhoneVerifier:
    return PhoneVerifier()


def said(text: str, speaking: Speaking = VOICE) -> Samples:
    return speak(Espeak(), text, speaking)[0]


@pytest.mark.parametrize("voice", ["en-us+f2", "en-us+m7", "en-gb-x-rp+m3", "en-us-nyc+m1"])
def test_a_good_render_passes(verifier: PhoneVerifier, voice: str) -> None:
    verdict = verifier.check(said(TEXT, Speaking(voice, Prosody(rate_wpm=165))), WORDS)
    assert verdict.ok
    assert verdict.reasons == ()
    assert verdict.word_error_rate is not None
    assert verdict.word_error_rate <= 1 / len(WORDS)


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
    verdict = verifier.check(said(spoken), WORDS)
    assert not verdict.ok
    assert verdict.score > 0.9
    assert verdict.word_error_rate is not None
    assert verdict.word_error_rate >= 1 / len(WORDS)
    assert verdict.reasons
    assert not any(word in reason.split() for reason in verdict.reasons for word in ("farmer", "horse", "tractor"))


def test_a_missing_word_is_named_by_its_place(verifier: PhoneVerifier) -> None:
    verdict = verifier.check(said("the farmer sold his last horse to pay for the new"), WORDS)
    assert f"word {len(WORDS)} of {len(WORDS)} is not heard" in verdict.reasons


def test_sound_cut_short_fails(verifier: PhoneVerifier) -> None:
    sound = said(TEXT)
    assert not verifier.check(sound[: int(0.6 * sound.size)], WORDS).ok
    assert verifier.check(sound[:2_000], WORDS) == Verdict(False, 1.0, 1.0, ("the sound is too short for its words",))


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_silence_and_noise_are_no_speech(verifier: PhoneVerifier, level: float) -> None:
    noise = level * np.random.default_rng(1).standard_normal(48_000)
    assert not verifier.check(noise.astype(np.float32), WORDS).ok


def test_level_does_not_matter(verifier: PhoneVerifier) -> None:
    sound = said(TEXT)
    scores = [verifier.check((gain * sound).astype(np.float32), WORDS).score for gain in (0.01, 0.3, 1.0)]
    assert max(scores) - min(scores) < 1e-3


def test_a_cue_may_be_any_sound_but_does_not_excuse_a_word(verifier: PhoneVerifier) -> None:
    hum = (0.2 * np.sin(2 * np.pi * 150 * np.arange(8_000) / 16_000)).astype(np.float32)
    assert verifier.check(np.concatenate([hum, said(TEXT)]), (None, *WORDS)).ok
    missing = said("the farmer sold his last horse to pay for the tractor")
    assert not verifier.check(np.concatenate([hum, missing]), (None, *WORDS)).ok


def test_words_outside_the_lexicon_are_satisfied_by_speech(verifier: PhoneVerifier) -> None:
    words = words_of("please give the letter to mister xanthrovik tomorrow")
    assert "xanthrovik" not in load_lexicon()
    assert verifier.check(said("please give the letter to mister xanthrovik tomorrow"), words).ok
    assert verifier.check(said("xanthrovik"), ("xanthrovik",)) == Verdict(True, None, 0.0)


def test_nothing_expected_is_nothing_to_judge(verifier: PhoneVerifier) -> None:
    assert verifier.check(np.zeros(16_000, np.float32), (None,)) == Verdict(True, None, 0.0)


def test_what_cannot_be_checked_is_refused(verifier: PhoneVerifier) -> None:
    with pytest.raises(EngineFailure, match="too long"):
        verifier.check(np.zeros(61 * 16_000, np.float32), WORDS)
    with pytest.raises(EngineFailure, match="finite"):
        verifier.check(np.full(16_000, np.nan, np.float32), WORDS)


def test_threads_get_the_verdicts_they_would_alone(verifier: PhoneVerifier) -> None:
    sounds = [said(TEXT), said("the farmer sold his horse to pay for the new tractor"), said("good evening to all")]
    alone = [verifier.check(sound, WORDS) for sound in sounds]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda sound: verifier.check(sound, WORDS), sounds * 3)) == alone * 3


def test_defects_separate_on_held_out_voices_and_sentences() -> None:
    trials = run(held_out_renders(1, seed=21), load_model())
    assert {trial.voice for trial in trials} == set(MEASURING_VOICES)
    areas = {roc.defect: roc.area for roc in rocs(trials, load_decision())}
    assert min(areas["drop"], areas["substitution"], areas["truncation"]) >= 0.95
    assert areas["confusable"] >= 0.8
    good = probabilities([trial for trial in trials if trial.defect == "none"], load_decision())
    assert np.mean(good > load_decision().threshold) <= 0.2


def test_the_decision_is_that_of_this_code() -> None:
    assert len(load_decision().weights) == len(FEATURES)


def test_area_under_the_curve_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(2)
    good, bad = np.round(random.normal(0, 1, 50), 1), np.round(random.normal(0.7, 1, 40), 1)
    expected = roc_auc_score([0] * 50 + [1] * 40, np.concatenate([good, bad]))
    assert area_under(good, bad) == pytest.approx(expected)


def test_planted_defects_are_what_they_are_called() -> None:
    # The synthesiser runs some small words together ("for the"); it does not in these.
    words = words_of("seven small boats left port early")

    def spoken(defect: str) -> float:
        render = planted(Espeak(), words, VOICE, defect, ["house"], np.random.default_rng(4))  # type: ignore[arg-type]
        assert render.words == words
        return len(render.word_starts_secs) if defect != "truncation" else -render.samples.size

    assert spoken("none") == len(words)
    assert spoken("drop") == len(words) - 1
    assert spoken("repeat") == len(words) + 1
    assert -spoken("truncation") < 0.86 * said(" ".join(words)).size
    assert most_alike("cat", ["house", "cap", "window"], load_lexicon()) == "cap"
    assert most_alike("two", ["too", "do", "window"], load_lexicon()) == "do"


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("", "", 0), ("abc", "", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_edits(a: str, b: str, distance: int) -> None:
    assert edits(a, b) == distance


def test_expected_words_of_a_passage_with_a_cue() -> None:
    passage = Passage((Part("Well, I"), Part(cue="sigh"), Part("don't know.")), 20, 0.0)
    assert expected_of(passage) == ("well", "i", None, "don't", "know")


def transcriber(text: str) -> RecognizerVerifier:
    words = tuple(Word(word, i / 2, i / 2 + 0.4) for i, word in enumerate(text.split()))
    return RecognizerVerifier(lambda utterances: [Recognition(words, "en") for _ in utterances])


def test_a_recogniser_judges_by_word_error_rate() -> None:
    sound = np.zeros(16_000, np.float32)
    assert transcriber("The farmer sold, his last horse").check(sound, words_of("the farmer sold his last horse")).ok
    verdict = transcriber("the former told his horse").check(sound, words_of("the farmer sold his last horse"))
    assert (verdict.ok, verdict.word_error_rate) == (False, pytest.approx(0.5))
    assert transcriber("anything").check(sound, ("good", "old", "horse")) == Verdict(True, None, 0.0)


class Renderer:
    """Speaks its texts one after another, at 24 kHz."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def __call__(self) -> list[Samples]:
        import soxr

        return np.array_split(soxr.resample(said(self.texts.pop(0)), 16_000, 24_000), 5)


PASSAGE = Passage((Part(TEXT),), len(TEXT), 0.0)


def test_a_passage_is_rendered_again_until_it_passes(verifier: PhoneVerifier) -> None:
    render = Renderer("the farmer sold his last window", TEXT, "never asked for")
    checked = render_checked(render, PASSAGE, verifier, max_retries=2)
    assert (checked.verdict.ok, checked.retries, len(render.texts)) == (True, 1, 1)


def test_the_least_wrong_rendering_is_kept_when_none_passes(verifier: PhoneVerifier) -> None:
    wrong, better = "good evening to you all", "the farmer sold his last horse to pay for the tractor"
    checked = render_checked(Renderer(wrong, better, wrong), PASSAGE, verifier, max_retries=2)
    assert (checked.verdict.ok, checked.retries) == (False, 2)
    assert checked.samples.size == pytest.approx(1.5 * said(better).size, rel=0.02)


def test_no_retries_means_one_rendering(verifier: PhoneVerifier) -> None:
    render = Renderer("good evening to you all", "never asked for")
    assert render_checked(render, PASSAGE, verifier, max_retries=0).retries == 0
    assert len(render.texts) == 1


def test_a_verified_request_carries_its_verdicts(verifier: PhoneVerifier) -> None:
    synthesizer, request = (
        EmbeddedSynthesizer(),
        RenderRequest(DEFAULT_VOICE, f"{TEXT.capitalize()}. Thank you for calling."),
    )
    chunks = list(rendered(synthesizer, request, verifier, 2))
    assert [(chunk.ends_passage, chunk.passed) for chunk in chunks] == [(True, True)] * 2
    assert all(chunk.word_error_rate is not None and chunk.word_error_rate < 0.2 for chunk in chunks)
    unverified = list(rendered(synthesizer, replace(request, verify=False), verifier, 2))
    assert {(chunk.passed, chunk.word_error_rate, chunk.retries) for chunk in unverified} == {(None, None, 0)}
