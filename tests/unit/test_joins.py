"""Silence is trimmed, ends are closed, and however the sound is cut into blocks the result is the same."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from serve.engines.tts.silence_trimming import Trimmer, fade_in, fade_out, silence
from tests.support.clicks import clicks
from tests.support.speech import say

pytestmark = pytest.mark.unit

TONE = np.asarray(0.4 * np.cos(2 * np.pi * 200 * np.arange(SPEECH_RATE_HZ // 4) / SPEECH_RATE_HZ), np.float32)


def trimmed(sound: Samples, block: int = 2400) -> Samples:
    trimmer = Trimmer(SPEECH_RATE_HZ)
    pieces = [trimmer.feed(sound[i : i + block]) for i in range(0, sound.size, block)]
    return np.concatenate([*pieces, trimmer.finish()])


def test_silence_around_goes_and_silence_inside_stays() -> None:
    sound = np.concatenate((silence(0.3), TONE, silence(0.2), TONE, silence(0.5)))
    kept = trimmed(sound)
    assert kept.size / SPEECH_RATE_HZ == pytest.approx(0.7, abs=0.05)
    assert np.count_nonzero(np.abs(kept) < 1e-6) > 0.19 * SPEECH_RATE_HZ


def test_ends_are_closed_even_where_the_sound_starts_and_stops_at_full_level() -> None:
    kept = trimmed(TONE)
    assert kept[0] == 0
    assert kept[-1] == 0
    assert np.abs(np.diff(kept)).max() < 1.5 * np.abs(np.diff(TONE)).max()
    assert kept.size == TONE.size


@pytest.mark.parametrize("sound", [np.zeros(0, np.float32), silence(1.0)])
def test_nothing_comes_of_silence(sound: Samples) -> None:
    assert trimmed(sound).size == 0


def test_a_sound_shorter_than_a_fade_survives() -> None:
    kept = trimmed(np.concatenate((silence(0.1), TONE[:40], silence(0.1))))
    assert 40 <= kept.size < 0.05 * SPEECH_RATE_HZ
    assert np.abs(kept).max() > 0.1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3000)), min_size=1, max_size=6),
    st.integers(1, 5000),
)
def test_the_size_of_blocks_does_not_matter(stretches: list[tuple[bool, int]], block: int) -> None:
    sound = np.concatenate([TONE[:size] if loud else np.zeros(size, np.float32) for loud, size in stretches])
    assert np.array_equal(trimmed(sound, block), trimmed(sound, sound.size))


def spoken(voice: str) -> Samples:
    said = say("The old man walked slowly along the river, and nobody asked him why.", voice)
    return np.asarray(soxr.resample(said, SAMPLE_RATE_HZ, SPEECH_RATE_HZ), np.float32)


@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "en-gb-x-rp"])
def test_speech_has_no_clicks_and_those_planted_are_found(voice: str) -> None:
    sound = 0.5 * spoken(voice) / np.abs(spoken(voice)).max()
    assert clicks(sound) == []
    loud = np.flatnonzero(np.abs(sound) > 0.1)
    found = {"spike": 0, "dropout": 0, "gap": 0}
    for at in np.random.default_rng(1).choice(loud[(loud > 2400) & (loud < sound.size - 2400)], 20):
        spiked, dropped = sound.copy(), sound.copy()
        spiked[at] -= 0.4 * np.sign(sound[at])
        dropped[at : at + 480] = 0
        gap = np.concatenate((sound[:at], silence(0.1), sound[at:]))
        for kind, spoilt in (("spike", spiked), ("dropout", dropped), ("gap", gap)):
            found[kind] += any(abs(place - at / SPEECH_RATE_HZ) < 0.15 for place in clicks(spoilt))
    assert found["spike"] >= 12
    assert min(found["dropout"], found["gap"]) >= 18


def test_fades_leave_the_middle_alone() -> None:
    faded = fade_out(fade_in(TONE))
    assert faded[0] == faded[-1] == 0
    assert np.array_equal(faded[200:-200], TONE[200:-200])
    assert fade_out(TONE[:3]).size == 3
