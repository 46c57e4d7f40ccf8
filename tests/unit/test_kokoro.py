"""What Kokoro says, measured: level, pace, marks, cues, joins, and that nothing but the request decides how it sounds."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import InvalidParameter
from schemas.speech import RenderRequest
from serve.engines.tts.cues import render_cue
from serve.engines.tts.espeak import Espeak
from serve.engines.tts.kokoro_phonemes import MAX_TOKENS
from serve.engines.tts.kokoro_script import script_of
from serve.engines.tts.kokoro_sound import LEVEL_DBFS, leveled, without_dc
from serve.engines.tts.pitch import melody
from serve.engines.tts.render_stream import Stopped, rendered
from tests.support.clicks import clicks
from tests.support.kokoro import kokoro, passage, read, say, voice
from tests.support.sounds import level_dbfs

pytestmark = pytest.mark.unit

TEXT = "The old man walked slowly along the river."


def active_level(sound: Samples) -> float:
    """Level of the audible frames of 20 ms, dBFS."""
    frames = sound[: sound.size // 480 * 480].reshape(-1, 480)
    rms = np.sqrt(np.square(frames).mean(axis=1))
    return float(20 * np.log10(np.sqrt(np.square(rms[rms > 0.06 * rms.max()]).mean())))


def secs(sound: Samples) -> float:
    return sound.size / SPEECH_RATE_HZ


@pytest.mark.parametrize("name", ["maeve", "abraham", "harry", "siwis", "sara", "alpha"])
def test_voices_are_equally_loud_and_at_the_pitch_that_is_stored(name: str) -> None:
    speaker = voice(name)
    sound = say(speaker.preview_text, name)
    assert active_level(sound) == pytest.approx(LEVEL_DBFS, abs=1.0)
    assert np.abs(sound).max() <= 0.951
    assert abs(float(sound.mean())) < 1e-3
    assert melody(sound).median_hz == pytest.approx(speaker.f0_hz, rel=0.05)
    assert max(abs(sound[0]), abs(sound[-1])) < 2e-3


def test_speed_changes_pace_and_neither_pitch_nor_level() -> None:
    usual = say(TEXT)
    for speed in (0.5, 1.6):
        sound = say(TEXT, speed=speed)
        assert secs(sound) == pytest.approx(secs(usual) / speed, rel=0.12)
        assert melody(sound).median_hz == pytest.approx(melody(usual).median_hz, rel=0.12)
        assert active_level(sound) == pytest.approx(active_level(usual), abs=1.0)


@pytest.mark.parametrize("name", ["maeve", "abraham"])
def test_emphasis_is_louder_and_slower(name: str) -> None:
    plain, stressed = say("I really mean it.", name), say("I *really* mean it.", name)
    assert active_level(stressed) > active_level(plain) + 1.5
    assert secs(stressed) > 1.05 * secs(plain)


def test_drawn_out_words_are_longer() -> None:
    assert secs(say("It was sooo good.")) > 1.2 * secs(say("It was so good."))
    assert secs(say("Well, um... yes.")) > 1.3 * secs(say("Well, um, yes."))


def test_temperature_changes_nothing_and_the_same_request_gives_the_same_sound() -> None:
    speaker, said = voice("maeve"), passage("Of course.")
    first, second = (np.concatenate(list(kokoro().render(said, speaker, t))) for t in (0.0, 2.0))
    assert np.array_equal(first, second)


def test_renders_at_once_never_mix() -> None:
    asked = [("Of course.", "maeve"), ("Not at all.", "abraham"), ("Bonjour !", "siwis")] * 2
    alone = [say(*one) for one in asked[:3]] * 2
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda one: say(*one), asked))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_passages_join_without_clicks_jumps_or_steps_in_level() -> None:
    sound = read(
        "It rained. [cough] The garden was wet; the house was dry! And, well [sigh], nobody minded, or so they say."
    )
    quiet = np.abs(sound) < 1e-4
    edges, at = [], 0
    for is_quiet, run in groupby(quiet):
        size = len(list(run))
        if is_quiet and size > 0.04 * SPEECH_RATE_HZ:
            edges += [at, at + size]
        at += size
    assert len(edges) >= 8
    for edge in edges:
        around = sound[max(0, edge - 24) : edge + 24]  # 1 ms to either side
        assert np.abs(np.diff(around)).max(initial=0) < 0.03
        assert abs(float(around.mean())) < 0.01
    levels = [active_level(say(text)) for text in ("Oh!", "The garden was wet.", "Nobody minded, or so they say.")]
    assert max(levels) - min(levels) < 1.5


@pytest.mark.parametrize("name", ["lewis", "nicole", "harry"])
def test_no_voice_clicks(name: str) -> None:
    """Lewis and Nicole have the steepest glottal pulses of all."""
    assert clicks(read("The old man walked along the river. [sigh] He was tired; his dog was not.", name)) == []


def test_level_is_bounded_and_dc_goes() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(SPEECH_RATE_HZ) / SPEECH_RATE_HZ).astype(np.float32)
    assert active_level(leveled(0.1 * tone)) == pytest.approx(LEVEL_DBFS, abs=0.1)
    assert level_dbfs(leveled(1e-3 * tone)) == pytest.approx(level_dbfs(1e-3 * tone) + 9, abs=0.1)
    assert np.array_equal(leveled(np.zeros(1000, np.float32)), np.zeros(1000, np.float32))
    assert abs(float(without_dc(tone + np.float32(0.2))[4800:].mean())) < 1e-3


@pytest.mark.parametrize("name", ["maeve", "onyx"])
def test_cues_are_in_the_voices_own_register_and_at_its_level(name: str) -> None:
    speaker = voice(name)
    laugh = say("[laugh]", name)
    assert np.array_equal(laugh[: laugh.size - round(0.12 * SPEECH_RATE_HZ)], render_cue("laugh", speaker))
    assert 1.2 < melody(laugh).median_hz / speaker.f0_hz < 1.6
    assert 0.7 < melody(say("[hesitate]", name)).median_hz / speaker.f0_hz < 1.0
    assert abs(active_level(laugh) - active_level(say("Of course.", name))) < 6


@pytest.mark.parametrize("text", ["😀🎉", "?!...", "—", "👍 !", "***"])
def test_emoji_and_punctuation_alone_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParameter, match="emoji or punctuation") as refused:
        read(text)
    assert (refused.value.code, refused.value.param) == ("nothing_to_say", "input")


def test_a_text_far_over_the_models_tokens_is_given_to_it_in_pieces() -> None:
    text = "1234567890123456789012345678901234567890 " * 3
    script = script_of(Espeak(), passage(text).parts, "en-us")
    pieces = list(script.pieces())
    assert len(script.symbols) > MAX_TOKENS
    assert "".join(piece.symbols for piece in pieces) == script.symbols
    assert all(len(piece.symbols) == piece.pace.size == piece.emphasis.size <= MAX_TOKENS for piece in pieces)


def test_the_pace_of_marked_words_is_theirs_alone() -> None:
    script = script_of(Espeak(), passage("We walked [pace:50%] very slowly, [pace:100%] and then ran.").parts, "en-us")
    paces = [(float(pace), len(list(run))) for pace, run in groupby(script.pace)]
    assert [pace for pace, _ in paces] == [1.0, 0.5, 1.0]
    assert min(count for _, count in paces) > 5


def test_a_render_is_stopped_inside_a_passage() -> None:
    stop = threading.Event()
    text = "The garden was wet and the house was dry and nobody minded it at all " * 2
    chunks = rendered(kokoro(), RenderRequest(voice(), text, verify=False), stop=stop)
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    began = time.process_time()
    with pytest.raises(Stopped):
        list(chunks)
    timer.join(60)
    assert time.process_time() - began < 3.0
    assert secs(say("Still here.")) > 0.4
