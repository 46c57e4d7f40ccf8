"""Rendering a passage until it says its text, with espeak-ng and the phone model's check."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.engines import Samples
from schemas.settings import Settings
from schemas.speech import Part, Passage, RenderRequest, VoiceProfile
from serve.engines.tts.espeak import Espeak, Prosody
from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer
from serve.engines.tts.render_stream import rendered
from serve.engines.tts.verify.phone_verifier import PhoneVerifier
from serve.engines.tts.verify.verdict import Expected, expected_of
from serve.engines.tts.verify.verified_render import RETRY_PACES, build_verifier, render_checked
from serve.engines.tts.verify.whisper_verifier import WhisperVerifier

pytestmark = pytest.mark.unit

TEXT = "The farmer sold his last horse to pay for the new tractor."
EXPECTED = Expected(tuple(TEXT.split()))
VOICE = VoiceProfile(voice_id="f2", base="en-us+f2", rate_wpm=165)


@pytest.fixture(scope="module")
def verifier() -> PhoneVerifier:
    return PhoneVerifier()


def said(text: str) -> Samples:
    """At 24 kHz."""
    import soxr

    pcm, _ = Espeak().synthesize(text, "en-us+f2", Prosody(rate_wpm=165))
    return np.asarray(soxr.resample(pcm.astype(np.float32) / 32768, 22_050, 24_000), np.float32)


class Renderer:
    """Speaks its texts one after another, and remembers the paces it was asked for."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.paces: list[float] = []

    def __call__(self, pace: float) -> list[Samples]:
        self.paces.append(pace)
        return np.array_split(said(self.texts.pop(0)), 5)


def test_a_passage_is_rendered_again_at_another_pace_until_it_passes(verifier: PhoneVerifier) -> None:
    render = Renderer("the farmer sold his last window", TEXT, "never asked for")
    checked = render_checked(render, EXPECTED, verifier, max_retries=2)
    assert (checked.verdict.ok, checked.retries, len(render.texts)) == (True, 1, 1)
    assert render.paces == list(RETRY_PACES[:2])
    assert render.paces[0] == 1.0


def test_the_least_wrong_rendering_is_sent_when_none_passes(verifier: PhoneVerifier) -> None:
    wrong, better = "good evening to you all", "the farmer sold his last horse to pay for the tractor"
    checked = render_checked(Renderer(wrong, better, wrong), EXPECTED, verifier, max_retries=2)
    assert (checked.verdict.ok, checked.retries) == (False, 2)
    assert checked.samples.size == pytest.approx(said(better).size, rel=0.01)


def test_no_retries_means_one_rendering(verifier: PhoneVerifier) -> None:
    render = Renderer("good evening to you all", "never asked for")
    assert render_checked(render, EXPECTED, verifier, max_retries=0).retries == 0
    assert len(render.texts) == 1


def test_a_verified_request_carries_its_verdicts(verifier: PhoneVerifier) -> None:
    synthesizer, request = EmbeddedSynthesizer(), RenderRequest(VOICE, f"{TEXT} Thank you for calling.")
    chunks = list(rendered(synthesizer, request, verifier, 2))
    assert [(chunk.ends_passage, chunk.passed) for chunk in chunks] == [(True, True)] * 2
    assert all(chunk.word_error_rate is not None and chunk.word_error_rate < 0.2 for chunk in chunks)
    unverified = list(rendered(synthesizer, replace(request, verify=False), verifier, 2))
    assert {(chunk.passed, chunk.word_error_rate, chunk.retries) for chunk in unverified} == {(None, None, 0)}


def test_expected_words_of_a_passage_with_cues_and_lone_marks() -> None:
    passage = Passage((Part("Well — I"), Part(cue="sigh"), Part("… don't know.")), 20, 0.0)
    assert expected_of(passage, VOICE) == Expected(("Well —", "I", None, "… don't", "know."), "en-us")


@pytest.mark.parametrize(("engine", "kind"), [("espeak", PhoneVerifier), ("kokoro", WhisperVerifier)])
def test_each_synthesiser_is_judged_by_the_check_that_understands_it(
    engine: str, kind: type, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    chosen = settings.engines.model_copy(update={"tts_engine": engine})
    assert isinstance(build_verifier(settings.model_copy(update={"engines": chosen})), kind)
