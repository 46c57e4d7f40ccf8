"""The espeak engine by ear: voices, joins, emphasis, resonances, ceilings, and long texts in little memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import InvalidParameter
from schemas.speech import RenderedChunk, RenderRequest, VoiceProfile
from serve.engines.tts.equalizer import BANDS_HZ, band_levels_db
from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from serve.engines.tts.passages import passages
from serve.engines.tts.pitch import melody
from serve.engines.tts.render_stream import rendered
from serve.engines.tts.text.letter_names import letter_names
from tests.support.sounds import centroid_hz, level_dbfs

pytestmark = pytest.mark.unit

MAEVE, ABRAHAM, HARRY = ESPEAK_VOICES[:3]
TEXT = "The old man walked slowly along the river, and the children played in the garden until the evening."


@pytest.fixture(scope="module")
def engine() -> EmbeddedSynthesizer:
    return EmbeddedSynthesizer()


def chunks_of(engine: EmbeddedSynthesizer, text: str, voice: VoiceProfile = MAEVE, **fields: object) -> list[RenderedChunk]:
    return list(rendered(engine, RenderRequest(voice, text, **fields)))  # type: ignore[arg-type]


def heard(chunks: list[RenderedChunk]) -> Samples:
    return np.frombuffer(b"".join(c.pcm for c in chunks), "<i2").astype(np.float32) / 32768


def say(engine: EmbeddedSynthesizer, text: str, voice: VoiceProfile = MAEVE) -> Samples:
    return heard(chunks_of(engine, text, voice))


@pytest.mark.parametrize("voice", ESPEAK_VOICES, ids=lambda voice: voice.voice_id)
def test_every_voice_says_its_preview_at_its_pitch(engine: EmbeddedSynthesizer, voice: VoiceProfile) -> None:
    sound = say(engine, voice.preview_text, voice)
    assert 3 < sound.size / SPEECH_RATE_HZ < 9
    assert -26 < level_dbfs(sound) < -18
    assert np.abs(sound).max() < 0.98
    assert melody(sound).median_hz == pytest.approx(voice.f0_hz, rel=0.12)


def test_voices_differ_clearly_in_pitch_pace_or_colour(engine: EmbeddedSynthesizer) -> None:
    measures = []
    for voice in ESPEAK_VOICES:
        sound = say(engine, TEXT, voice)
        colour = band_levels_db(sound)
        measures.append((np.log2(melody(sound).median_hz), sound.size / SPEECH_RATE_HZ, colour - colour.mean()))
    for i, one in enumerate(measures):
        for other in measures[:i]:
            pitch, pace, colour = abs(one[0] - other[0]) * 12, abs(one[1] - other[1]), np.abs(one[2] - other[2]).mean()
            # 2 semitones, 0.4 s of 6, 2 dB: one of them is noticed, two of their worth are clear.
            assert pitch / 2 + pace / 0.4 + colour / 2 > 2, (pitch, pace, colour)


def test_a_marked_pace_is_heard(engine: EmbeddedSynthesizer) -> None:
    usual, slow, fast = (say(engine, f"{mark} {TEXT}").size for mark in ("", "[pace:60%]", "[pace:150%]"))
    assert slow / usual == pytest.approx(1 / 0.6, rel=0.15)
    assert fast / usual == pytest.approx(1 / 1.5, rel=0.15)


def test_a_profile_survives_json() -> None:
    voice = replace(MAEVE, equalizer_db=tuple(float(i) for i in range(len(BANDS_HZ))), formant_scale=1.1)
    assert VoiceProfile.from_json(voice.to_json()) == voice


def test_joins_do_not_click_and_the_level_continues(engine: EmbeddedSynthesizer) -> None:
    text = "One day, it rained. [cough] The garden was wet; the house was dry! And, well [sigh], nobody minded. " * 3
    sound = say(engine, text)
    is_silent = np.abs(sound) < 1e-4
    edges = []
    at = 0
    for silent, run in groupby(is_silent):
        size = len(list(run))
        if silent and size > 0.04 * SPEECH_RATE_HZ:
            edges += [at, at + size]
        at += size
    assert len(edges) > 30
    for edge in edges:
        around = sound[max(0, edge - 24) : edge + 24]  # 1 ms to either side
        assert np.abs(np.diff(around)).max(initial=0) < 0.03
    levels = [level_dbfs(say(engine, s)) for s in ("The garden was wet.", "The house was dry.", "Nobody minded it.")]
    assert max(levels) - min(levels) < 4


def test_emphasis_is_louder_slower_and_higher(engine: EmbeddedSynthesizer) -> None:
    for voice in (MAEVE, ABRAHAM, HARRY):
        plain, stressed = say(engine, "really", voice), say(engine, "*really*", voice)
        assert level_dbfs(stressed) > level_dbfs(plain) + 2
        assert stressed.size > 1.15 * plain.size
        assert melody(stressed).median_hz > 1.04 * melody(plain).median_hz
        assert np.abs(stressed).max() < 0.98


def test_emphasis_ends_with_its_word(engine: EmbeddedSynthesizer) -> None:
    plain, stressed = say(engine, "stop, really, go on home now"), say(engine, "*stop*, really, go on home now")
    tail = -round(1.2 * SPEECH_RATE_HZ)
    assert level_dbfs(stressed[tail:]) == pytest.approx(level_dbfs(plain[tail:]), abs=1)
    assert melody(stressed[tail:]).median_hz == pytest.approx(melody(plain[tail:]).median_hz, rel=0.05)


def test_drawn_out_words_are_longer(engine: EmbeddedSynthesizer) -> None:
    assert say(engine, "sooo").size > 1.4 * say(engine, "so").size
    assert say(engine, "um... yes").size > 1.3 * say(engine, "um yes").size


def test_the_letter_a_is_named_and_the_article_is_not() -> None:
    assert letter_names("A T and T saw a man at nine A M") == "ay T and T saw a man at nine ay M"
    assert letter_names("A man, U S A") == "A man, U S ay"


def test_resonances_move_without_pitch_or_pace(engine: EmbeddedSynthesizer) -> None:
    plain, short = say(engine, TEXT), say(engine, TEXT, replace(MAEVE, formant_scale=1.2, pitch=32))
    assert short.size == pytest.approx(plain.size, rel=0.06)
    assert melody(short).median_hz == pytest.approx(melody(plain).median_hz, rel=0.06)
    assert centroid_hz(short) > 1.04 * centroid_hz(plain)


def test_the_equaliser_has_the_declared_response(engine: EmbeddedSynthesizer) -> None:
    gains = tuple(6.0 if 1000 < band < 3000 else -6.0 if band > 5000 else 0.0 for band in BANDS_HZ)
    change = band_levels_db(say(engine, TEXT, replace(MAEVE, equalizer_db=gains))) - band_levels_db(say(engine, TEXT))
    for band, wanted, got in zip(BANDS_HZ, gains, change, strict=True):
        if band in (420, 560, 720, 1400, 1750, 2200, 6500, 8200):
            assert got == pytest.approx(wanted, abs=2), band


def test_cues_stand_where_they_are_written(engine: EmbeddedSynthesizer) -> None:
    alone = say(engine, "[laugh]")
    assert 0.7 < alone.size / SPEECH_RATE_HZ < 1.2
    plain, inside = say(engine, "fine, I will go"), say(engine, "fine, [laugh], I will go")
    assert inside.size - plain.size == pytest.approx(alone.size, abs=0.2 * SPEECH_RATE_HZ)


def test_max_secs_is_a_hard_ceiling_and_ends_softly(engine: EmbeddedSynthesizer) -> None:
    for verify in (True, False):
        chunks = chunks_of(engine, TEXT * 3, max_secs=2.5, verify=verify)
        sound = heard(chunks)
        assert sound.size == 2.5 * SPEECH_RATE_HZ
        assert abs(sound[-1]) < 1e-3
        assert chunks[-1].ends_passage
        assert chunks[-1].next_start is None
    assert heard(chunks_of(engine, "Hello.", max_secs=0)).size > 0.3 * SPEECH_RATE_HZ


def test_passages_say_what_is_in_them_and_windows_where_to_go_on(engine: EmbeddedSynthesizer) -> None:
    text = "First sentence here. Second one. " * 12
    whole = [chunk for chunk in chunks_of(engine, text) if chunk.ends_passage]
    assert [" ".join(chunk.words) for chunk in whole[:2]] == ["first sentence here", "second one"]
    start: int | None = 0
    ends: list[RenderedChunk] = []
    while start is not None:
        window = chunks_of(engine, text, start=start, window_secs=5.0)
        ends += window
        start = window[-1].next_start
        assert start is None or 5 <= sum(chunk.duration_secs for chunk in window) < 8
    assert [chunk.words for chunk in ends] == [chunk.words for chunk in whole]
    assert sum(c.duration_secs for c in ends) == pytest.approx(sum(c.duration_secs for c in whole), rel=0.03)


def test_streaming_says_the_same_sooner(engine: EmbeddedSynthesizer) -> None:
    at_once, streamed = chunks_of(engine, TEXT, verify=True), chunks_of(engine, TEXT, verify=False)
    assert heard(at_once).size == pytest.approx(heard(streamed).size, rel=0.03)
    assert streamed[0].duration_secs < 0.25 < at_once[0].duration_secs
    assert np.abs(heard(streamed[:1])).max() > 0.01
    assert max(chunk.duration_secs for chunk in streamed) < 1.6


@pytest.mark.parametrize("text", ["", "   ", "?!...", "\n\n---\n"])
def test_a_text_with_nothing_to_say_is_refused(engine: EmbeddedSynthesizer, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        chunks_of(engine, text)
    assert (refused.value.code, refused.value.param) == ("nothing_to_say", "input")


def test_a_hundred_thousand_characters_need_little_memory(engine: EmbeddedSynthesizer) -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it rests. " * 1600
    hasty = replace(MAEVE, rate_wpm=450)
    start: int | None = 0
    secs = 0.0
    tracemalloc.start()
    try:
        # A sample of windows over the whole of it: rendering all would take half a minute.
        for start in range(0, len(text), len(text) // 8):
            for chunk in rendered(engine, RenderRequest(hasty, text, start=start, window_secs=20.0, verify=False)):
                secs += chunk.duration_secs
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(text) > 100_000
    assert secs > 150
    assert peak < 24e6
    assert sum(1 for _ in passages(text)) > 1600
