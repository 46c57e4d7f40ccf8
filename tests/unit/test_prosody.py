"""Length, loudness, height and held sounds, measured on sounds of which they are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from audio.pcm import PcmFile, to_int16
from audio.prosody import Prosody, expected_secs, measure
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Word
from schemas.engines import Samples
from tests.support.speech import noise

pytestmark = pytest.mark.unit


def buzz(duration_secs: Seconds, pitch_hz: float, level: float = 0.1) -> Samples:
    """Harmonics of one pitch, as a held vowel has them."""
    at = np.arange(round(duration_secs * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound = sum(np.sin(2 * np.pi * pitch_hz * k * at) / k for k in range(1, 20))
    return np.asarray(level * sound, np.float32)


def changing(duration_secs: Seconds) -> Samples:
    """Another timbre every 40 ms, as running speech has."""
    random = np.random.default_rng(3)
    pieces = []
    for _ in range(round(duration_secs / 0.04)):
        spectrum = np.fft.rfft(random.standard_normal(640)) * np.exp(random.uniform(-4, 4, 321))
        pieces.append(np.fft.irfft(spectrum))
    return np.asarray(np.concatenate(pieces) * 0.01, np.float32)


def measured(folder: Path, samples: Samples, *words: Word) -> list[Prosody]:
    path = folder / "sound.s16"
    path.write_bytes(to_int16(samples).tobytes())
    return measure(PcmFile(path), words)


@pytest.mark.parametrize("pitch_hz", [85.0, 120.0, 200.0, 330.0])
def test_the_height_of_a_voice(tmp_path: Path, pitch_hz: float) -> None:
    (found,) = measured(tmp_path, buzz(0.4, pitch_hz), Word("oh", 0.0, 0.4))
    assert found.pitch_semitones == pytest.approx(12 * math.log2(pitch_hz), abs=0.3)


def test_noise_has_no_height(tmp_path: Path) -> None:
    (found,) = measured(tmp_path, noise(0.5, 0.1), Word("shh", 0.0, 0.5))
    assert math.isnan(found.pitch_semitones)


def test_loudness_is_relative_to_full_scale(tmp_path: Path) -> None:
    quiet, loud = measured(
        tmp_path,
        np.concatenate((buzz(0.4, 120, 0.01), buzz(0.4, 120, 0.1))),
        Word("a", 0.0, 0.4), Word("a", 0.4, 0.8),
    )  # fmt: skip
    assert loud.level_db - quiet.level_db == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize("held_secs", [0.2, 0.4, 0.8])
def test_a_held_sound_is_as_long_as_it_is(tmp_path: Path, held_secs: Seconds) -> None:
    sound = np.concatenate((changing(0.2), buzz(held_secs, 150), changing(0.2)))
    (found,) = measured(tmp_path, sound, Word("so", 0.0, held_secs + 0.4))
    assert found.held_secs == pytest.approx(held_secs, abs=0.07)


def test_what_changes_is_not_held(tmp_path: Path) -> None:
    (found,) = measured(tmp_path, changing(0.8), Word("statistics", 0.0, 0.8))
    assert found.held_secs < 0.1


def test_words_of_no_length_and_beyond_the_recording_can_be_measured(tmp_path: Path) -> None:
    found = measured(tmp_path, buzz(1.0, 120), Word("a", 0.5, 0.5), Word("b", 0.99, 1.0), Word("c", 3.0, 3.5))
    assert found[0].stretch == 0.0
    assert found[2].held_secs == 0.0
    assert math.isnan(found[2].pitch_semitones)


def test_longer_spellings_take_longer() -> None:
    assert expected_secs("a") < expected_secs("so") < expected_secs("river") < expected_secs("understanding")
    assert expected_secs("") > 0
    assert expected_secs("été") > expected_secs("t")
