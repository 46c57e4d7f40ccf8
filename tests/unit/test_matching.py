"""A clip's pitch, pace and colour are measured and matched; clips that are no use are refused with words."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest
import soxr

from audio.pcm import to_int16
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import InvalidAudio
from schemas.settings import EngineSettings, Settings
from serve.engines.registry import choice
from serve.engines.tts.equalizer import BANDS_HZ, band_levels_db
from serve.engines.tts.espeak import Prosody
from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer
from serve.engines.tts.pitch import melody, syllable_rate_hz
from serve.engines.tts.reference_clip import usable
from serve.engines.tts.voice_matching import SpeakerEncoder
from serve.engines.tts.voice_matching_espeak import EspeakMatcher
from serve.engines.tts.voice_matching_process import match_voice
from serve.engines.tts.voice_matching_reference import check_one_voice
from serve.engines.tts.voices import default_voice
from tests.support import speech

pytestmark = pytest.mark.unit

RECORDINGS = Path(os.environ.get("FLUXIONS_TEST_AUDIO", Path(__file__).parents[3] / "shared" / "audio")) / "speech"
OTHER_WORDS = (
    "I will call you tomorrow about the tickets for the evening train.",
    "Nobody at the table knew what she meant.",
)


def at_24k(samples: Samples) -> Samples:
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, SPEECH_RATE_HZ), np.float32)


def clip(voice: str, prosody: Prosody, num_sentences: int = 3) -> Samples:
    return at_24k(np.concatenate([speech.say(text, voice, prosody) for text in speech.SENTENCES[:num_sentences]]))


ESPEAK = choice(Settings(engines=EngineSettings(tts_engine="espeak")), "synthesizer")


@pytest.fixture(scope="module")
def matcher() -> EspeakMatcher:
    return EspeakMatcher(EmbeddedSynthesizer())


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder()


async def test_a_voice_of_the_engine_is_found_again_by_a_process_of_its_own(
    matcher: EspeakMatcher, encoder: SpeakerEncoder
) -> None:
    reference = clip("en-us+f3", Prosody(rate_wpm=140, pitch=70))
    voice, similarity = await match_voice(to_int16(reference).tobytes(), "u-1-abc", ESPEAK, 10)
    heard = matcher.say(voice, OTHER_WORDS)
    assert voice.voice_id == "u-1-abc"
    assert melody(heard).median_hz == pytest.approx(melody(reference).median_hz, rel=0.12)
    assert syllable_rate_hz(heard) == pytest.approx(syllable_rate_hz(reference), rel=0.35)
    default = float(encoder.embed(matcher.say(default_voice("espeak"), OTHER_WORDS)) @ encoder.embed(reference))
    assert similarity > default + 0.05
    assert float(encoder.embed(heard) @ encoder.embed(reference)) > max(0.8, default + 0.05)


async def test_a_silent_clip_is_refused_by_the_process_too() -> None:
    with pytest.raises(InvalidAudio, match="silent") as refused:
        await match_voice(bytes(4 * SPEECH_RATE_HZ), "u-2-def", ESPEAK, 10)
    assert (refused.value.code, refused.value.param) == ("silent_clip", "audio")


def test_a_recorded_reader_is_approached_in_words_that_were_not_tried(
    matcher: EspeakMatcher, encoder: SpeakerEncoder
) -> None:
    path = RECORDINGS / "austen-0870.wav"
    if not path.is_file():
        pytest.skip(f"{path} is absent; set FLUXIONS_TEST_AUDIO")
    with wave.open(str(path)) as recording:
        assert recording.getframerate() == SAMPLE_RATE_HZ
        pcm = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
    reference = at_24k(pcm.astype(np.float32) / 32768)
    voice = matcher.match(reference, "u-1-abc").voice
    heard = matcher.say(voice, OTHER_WORDS)
    assert float(encoder.embed(heard) @ encoder.embed(reference)) >= 0.64
    assert melody(heard).median_hz == pytest.approx(melody(reference).median_hz, rel=0.15)
    assert np.abs(heard).max() < 0.98


@pytest.mark.parametrize(
    ("sound", "code"),
    [
        (speech.say("too short")[: SAMPLE_RATE_HZ // 2], "clip_too_short"),
        (speech.silence(3), "silent_clip"),
        (speech.noise(3, 0.0005), "silent_clip"),
        (speech.noise(3, 0.1), "no_voice"),
        (np.zeros(0, np.float32), "clip_too_short"),
    ],
)
def test_a_useless_clip_is_refused_with_its_reason(sound: Samples, code: str) -> None:
    with pytest.raises(InvalidAudio) as refused:
        usable(at_24k(sound) if sound.size else sound)
    assert refused.value.code == code


def test_a_clip_of_two_people_is_refused_and_one_of_a_single_person_is_not(encoder: SpeakerEncoder) -> None:
    low = clip("en-us+m3", Prosody(rate_wpm=150, pitch=25))
    high = clip("en-us+f3", Prosody(rate_wpm=150, pitch=75))
    check_one_voice(encoder.windows(low))
    check_one_voice(encoder.windows(high))
    with pytest.raises(InvalidAudio, match="two voices") as refused:
        check_one_voice(encoder.windows(np.concatenate((low, high))))
    assert (refused.value.code, refused.value.param) == ("two_voices", "audio")


@pytest.mark.parametrize("f0_hz", [75.0, 110.0, 210.0, 330.0])
def test_pitch_is_measured(f0_hz: float) -> None:
    times = np.arange(SPEECH_RATE_HZ) / SPEECH_RATE_HZ
    tone = sum(np.cos(2 * np.pi * f0_hz * n * times) / n for n in range(1, 12))
    found = melody(np.asarray(0.1 * tone, np.float32))
    assert found.median_hz == pytest.approx(f0_hz, rel=0.01)
    assert found.voiced_share > 0.9
    assert melody(np.zeros(100, np.float32)).median_hz == 0


def test_bands_measure_the_colour_of_a_sound() -> None:
    times = np.arange(SPEECH_RATE_HZ) / SPEECH_RATE_HZ
    levels = band_levels_db(np.asarray(0.1 * np.cos(2 * np.pi * 1400 * times), np.float32))
    assert BANDS_HZ[int(np.argmax(levels))] == 1400
    assert np.sort(levels)[-2] < levels.max() - 20


def test_pace_is_measured() -> None:
    slow, fast = (clip("en-us", Prosody(rate_wpm=rate), 2) for rate in (120, 240))
    assert syllable_rate_hz(fast) > 1.4 * syllable_rate_hz(slow)
