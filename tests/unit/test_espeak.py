"""The espeak-ng binding speaks what it is told, says where each word is, and can be stopped and shared."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from schemas.errors import EngineFailure
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody
from tests.support.processes import python

pytestmark = pytest.mark.unit

TEXT = "Well, the naïve café owner saw two dogs."


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def test_words_point_into_the_text_and_follow_in_time(espeak: Espeak) -> None:
    samples, words = espeak.synthesize(TEXT)
    spoken = [TEXT[w.text_position : w.text_position + w.length] for w in words]
    assert spoken[0] == "Well"
    assert {"naïve", "café", "owner", "dogs"} <= set(spoken)
    starts = [w.start_secs for w in words]
    assert starts == sorted(starts)
    assert starts[-1] < samples.size / ESPEAK_RATE_HZ


def test_samples_are_audible_speech_of_plausible_length(espeak: Espeak) -> None:
    samples, _ = espeak.synthesize(TEXT)
    assert samples.dtype == np.int16
    assert 1.5 < samples.size / ESPEAK_RATE_HZ < 6
    assert np.abs(samples.astype(np.int32)).max() > 5000


def test_chunks_come_as_they_are_made_and_add_up(espeak: Espeak) -> None:
    chunks = list(espeak.render(TEXT))
    whole, words = espeak.synthesize(TEXT)
    assert len(chunks) > 5
    assert max(c.samples.size for c in chunks) <= ESPEAK_RATE_HZ * 0.11
    assert sum(c.samples.size for c in chunks) == pytest.approx(whole.size, rel=0.02)
    assert [w.text_position for c in chunks for w in c.words] == [w.text_position for w in words]


def test_closing_the_iterator_stops_the_synthesis(espeak: Espeak) -> None:
    chunks = espeak.render(TEXT * 2000)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "espeak"]
    samples, _ = espeak.synthesize("short")  # the library is free again
    assert samples.size / ESPEAK_RATE_HZ < 2


def test_rate_pitch_and_volume_are_obeyed(espeak: Espeak) -> None:
    slow, _ = espeak.synthesize(TEXT, prosody=Prosody(rate_wpm=90))
    fast, _ = espeak.synthesize(TEXT, prosody=Prosody(rate_wpm=300))
    assert slow.size > 1.8 * fast.size
    soft, _ = espeak.synthesize(TEXT, prosody=Prosody(volume=20))
    loud, _ = espeak.synthesize(TEXT, prosody=Prosody(volume=100))
    assert np.std(loud) > 2 * np.std(soft)
    spaced, _ = espeak.synthesize(TEXT, prosody=Prosody(word_gap=30))
    close, _ = espeak.synthesize(TEXT, prosody=Prosody(word_gap=0))
    assert spaced.size > close.size + ESPEAK_RATE_HZ


def test_settings_of_one_render_do_not_leak_into_the_next(espeak: Espeak) -> None:
    before, _ = espeak.synthesize(TEXT)
    espeak.synthesize(TEXT, "en-us+f3", Prosody(rate_wpm=400, pitch=99, volume=10))
    after, _ = espeak.synthesize(TEXT)
    assert after.size == pytest.approx(before.size, rel=0.02)
    assert np.std(after) == pytest.approx(np.std(before), rel=0.05)


def test_many_threads_share_the_library(espeak: Espeak) -> None:
    texts = ["one", "one two three", "one two three four five six"] * 4
    alone = [espeak.synthesize(text)[0].size for text in texts]
    with ThreadPoolExecutor(6) as pool:
        together = [samples.size for samples, _ in pool.map(espeak.synthesize, texts)]
    assert together == pytest.approx(alone, rel=0.05)


@pytest.mark.parametrize("voice", ["nobody", "", "../en", "en-gb"])
def test_an_unknown_voice_is_refused_by_name(espeak: Espeak, voice: str) -> None:
    with pytest.raises(EngineFailure) as refused:
        espeak.synthesize("hello", voice)
    assert refused.value.code == "unknown_voice"
    with pytest.raises(EngineFailure):
        list(espeak.render("hello", voice))


@pytest.mark.parametrize("text", ["", "   ", "?!"])
def test_text_without_words_is_silence(espeak: Espeak, text: str) -> None:
    samples, words = espeak.synthesize(text)
    assert words == ()
    assert np.abs(samples.astype(np.int32)).max(initial=0) < 100


def test_text_with_a_nul_is_refused_not_cut(espeak: Espeak) -> None:
    with pytest.raises(EngineFailure, match="NUL"):
        espeak.synthesize("before\0after")


def test_a_breathy_voice_sounds_the_same_in_every_process() -> None:
    program = (
        "from serve.engines.tts.espeak import Espeak; print(hash(Espeak().synthesize('hello', 'en-us+f2')[0].tobytes()))"
    )
    heard = set()
    for _ in range(2):
        second = int(time.time())
        done = python(program, env={"PYTHONHASHSEED": "0"})
        heard.add(done.stdout)
        while int(time.time()) == second:  # the library would be seeded by the second
            time.sleep(0.02)
    assert len(heard) == 1
