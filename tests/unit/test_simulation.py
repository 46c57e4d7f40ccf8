"""Simulated recordings: the same each time, with the people and the length asked for, from voices no other split has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.scores import SpeakerErrors
from benchmarks.quality.simulation.measure import Scored, table
from benchmarks.quality.simulation.meeting import Voice
from benchmarks.quality.simulation.recordings import made, recipes
from benchmarks.quality.simulation.render_voices import splits
from benchmarks.quality.simulation.voice_bank import load_voices
from schemas.domain import SAMPLE_RATE_HZ
from serve.engines.tts.voices import built_in

pytestmark = pytest.mark.unit

MEN = ("am_adam", "am_echo", "am_eric")


@pytest.fixture(scope="module")
def voices() -> list[Voice]:
    """Noise of .5 to 3 s takes the place of what they say."""
    random = np.random.default_rng(0)
    lengths = (SAMPLE_RATE_HZ * np.array([0.5, 0.8, 2.0, 3.0])).astype(int)
    names = [*MEN, "af_alloy", "af_bella", "bf_emma", "bm_lewis"]
    return [Voice(f"dev-{name}", [random.uniform(-1, 1, n).astype(np.float32) for n in lengths]) for name in names]


def test_no_voice_is_in_two_splits() -> None:
    names = {split: [voice.style[0][0] for voice in found] for split, found in splits().items()}
    assert not set(names["dev"]) & set(names["test"])
    assert sorted(names["dev"] + names["test"]) == sorted(voice.style[0][0] for voice in built_in("kokoro"))
    assert {voice.language for found in splits().values() for voice in found} == {"en-us", "en-gb"}


def test_every_recording_has_its_own_name_and_every_kind_of_room_its_share() -> None:
    names = [recipe.name for recipe in recipes()]
    assert len(set(names)) == len(names)
    meetings = [(r.room, r.num_voices) for r in recipes() if r.kind == "meeting"]
    assert len(set(meetings)) == 15
    assert all(meetings.count(one) == 4 for one in set(meetings))


def test_a_recording_is_the_same_each_time_and_has_who_was_asked_for(voices: list[Voice]) -> None:
    recipe = next(r for r in recipes() if r.kind == "meeting" and r.num_voices == 3)
    first, second = made(recipe, voices), made(recipe, voices)
    assert np.array_equal(first.samples, second.samples)
    assert first.turns == second.turns
    assert first.duration_secs == recipe.duration_secs
    assert 2 <= first.num_speakers <= 3
    assert all(0 <= t.start_secs < t.end_secs <= first.duration_secs for t in first.turns)
    other = made(replace(recipe, seed=recipe.seed + 1), voices)
    assert not np.array_equal(first.samples, other.samples)


def test_stored_voices_are_loaded_by_split(tmp_path: Path) -> None:
    for split in ("dev", "test"):
        np.savez(tmp_path / f"{split}-am_adam.npz", np.array([16384, -32768], np.int16))
    (voice,) = load_voices(tmp_path, "test")
    assert (voice.name, [u.tolist() for u in voice.utterances]) == ("test-am_adam", [[0.5, -1.0]])


def test_the_table_sums_errors_and_counts_speakers() -> None:
    scores = [
        Scored("reader", SpeakerErrors(1.0, 0.0, 0.0, 10.0), 1, 1),
        Scored("meeting", SpeakerErrors(2.0, 1.0, 1.0, 10.0), 3, 2),
        Scored("meeting", SpeakerErrors(0.0, 0.0, 2.0, 10.0), 2, 4),
    ]
    lines = table(scores).splitlines()
    assert lines[2] == "| reader | 0.100 | 0.100 | 0.000 | 0.000 | 1 of 1 | 0, 0 |"
    assert lines[3] == "| meeting | 0.300 | 0.100 | 0.050 | 0.150 | 0 of 2 | 1, 1 |"
    assert lines[4] == "| all | 0.233 | 0.100 | 0.033 | 0.100 | 1 of 3 | 1, 1 |"
