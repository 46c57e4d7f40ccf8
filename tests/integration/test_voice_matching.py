"""Kokoro's styles searched for a clip's voice, through the engine, the encoder and the process that are used for real."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr

from audio.pcm import to_int16
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import EngineChoice, Samples
from schemas.settings import EngineSettings, Settings
from schemas.speech import VoiceProfile
from serve.engines.registry import choice
from serve.engines.tts.kokoro import build
from serve.engines.tts.kokoro_styles import StyleBook
from serve.engines.tts.kokoro_synthesizer import KokoroSynthesizer
from serve.engines.tts.pitch import melody
from serve.engines.tts.voice_matching import SpeakerEncoder
from serve.engines.tts.voice_matching_kokoro import KokoroMatcher, known_voices, spoken
from serve.engines.tts.voice_matching_process import match_voice

pytestmark = pytest.mark.integration

READER = (
    Path(os.environ.get("FLUXIONS_TEST_AUDIO", Path(__file__).parents[3] / "shared" / "audio"))
    / "speech"
    / "austen-0870.wav"
)
CLIP = ("The rain had stopped by the time we reached the station.", "He asked for a glass of water and a piece of bread.")
OTHER_WORDS = ("I will call you tomorrow about the tickets.", "Nobody at the table knew what she meant.")
STRANGER = "am_michael"
SHIFT = 1.08
"""The clip is played so much faster: higher, and from a shorter throat, than the voice that spoke it."""


@pytest.fixture(scope="module")
def kokoro() -> EngineChoice:
    return choice(Settings(engines=EngineSettings(tts_engine="kokoro")), "synthesizer")


@pytest.fixture(scope="module")
def synthesizer(kokoro: EngineChoice) -> Iterator[KokoroSynthesizer]:
    engine = build(kokoro)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder()


def say(synthesizer: KokoroSynthesizer, style: str, sentences: tuple[str, ...] = OTHER_WORDS) -> Samples:
    return spoken(synthesizer, VoiceProfile(voice_id=style, base="", style=((style, 1.0),)), sentences)


@pytest.fixture(scope="module")
def stranger(synthesizer: KokoroSynthesizer) -> Samples:
    """A person who is none of the voices that may be mixed."""
    shifted = soxr.resample(say(synthesizer, STRANGER, CLIP), SPEECH_RATE_HZ * SHIFT, SPEECH_RATE_HZ)
    return np.asarray(shifted, np.float32)


def test_a_stranger_is_approached_beyond_the_nearest_voice(
    synthesizer: KokoroSynthesizer, encoder: SpeakerEncoder, stranger: Samples
) -> None:
    book = StyleBook()
    styles = {name: book.style(name) for name in book.names if name != STRANGER and name[0] in "ab"}
    seen: list[tuple[float, float]] = []
    matcher = KokoroMatcher(synthesizer, styles, search_secs=300, num_trials=12)
    match = matcher.match(stranger, "u-1-abc", lambda *progress: seen.append(progress))
    wanted = encoder.embed(stranger)
    found = spoken(synthesizer, match.voice, OTHER_WORDS)
    names = sorted(styles)
    nearest = names[int(np.argmax(known_voices(names)[:, :-1] @ wanted))]
    assert float(encoder.embed(found) @ wanted) > float(encoder.embed(say(synthesizer, nearest)) @ wanted)
    assert melody(found).median_hz == pytest.approx(melody(stranger).median_hz, rel=0.15)
    assert match.voice.f0_hz == pytest.approx(melody(found).median_hz, rel=0.15)
    assert np.abs(found).max() < 0.98
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


async def test_a_process_of_its_own_stops_in_time_and_gives_a_voice_that_survives_json(
    synthesizer: KokoroSynthesizer, encoder: SpeakerEncoder, stranger: Samples, kokoro: EngineChoice
) -> None:
    voice, similarity = await match_voice(to_int16(stranger).tobytes(), "u-1-abc", kokoro, search_secs=1)
    assert voice.voice_id == "u-1-abc"
    assert VoiceProfile.from_json(voice.to_json()) == voice
    assert similarity > 0.6
    assert float(encoder.embed(spoken(synthesizer, voice, OTHER_WORDS)) @ encoder.embed(stranger)) > 0.6
    assert voice.style


def test_a_recorded_reader_is_approached_in_words_that_were_not_tried(
    synthesizer: KokoroSynthesizer, encoder: SpeakerEncoder
) -> None:
    if not READER.is_file():
        pytest.skip(f"{READER} is absent; set FLUXIONS_TEST_AUDIO")
    with wave.open(str(READER)) as recording:
        pcm = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
        rate_hz = recording.getframerate()
    reference = np.asarray(soxr.resample(pcm.astype(np.float32) / 32768, rate_hz, SPEECH_RATE_HZ), np.float32)
    book = StyleBook()
    matcher = KokoroMatcher(synthesizer, {name: book.style(name) for name in book.names}, search_secs=300, num_trials=12)
    voice = matcher.match(reference, "u-1-abc").voice
    assert float(encoder.embed(spoken(synthesizer, voice, OTHER_WORDS)) @ encoder.embed(reference)) >= 0.68
