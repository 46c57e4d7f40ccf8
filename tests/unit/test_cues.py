"""The six cues, by ear: length, level, brightness, pitch, number of bursts, and all of it in the voice's register."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ
from schemas.speech import Cue
from serve.engines.tts.cues import render_cue
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from serve.engines.tts.pitch import melody
from tests.support.sounds import bursts, centroid_hz, level_dbfs, periodicity

pytestmark = pytest.mark.unit

CUES = get_args(Cue)


@pytest.mark.parametrize("voice", ESPEAK_VOICES, ids=lambda voice: voice.voice_id)
def test_each_cue_sounds_like_itself(voice: object) -> None:
    made = {cue: render_cue(cue, voice) for cue in CUES}  # type: ignore[arg-type]
    secs = {cue: sound.size / SPEECH_RATE_HZ for cue, sound in made.items()}
    bright = {cue: centroid_hz(sound) for cue, sound in made.items()}
    tone = {cue: periodicity(sound) for cue, sound in made.items()}

    assert secs["gasp"] < 0.5 < secs["hesitate"] < secs["laugh"] < secs["sigh"]
    assert bright["sniff"] > 4000 > bright["gasp"] > 1300 > 1000 > bright["sigh"]
    assert bright["hesitate"] < 700
    assert max(tone["sigh"], tone["gasp"], tone["sniff"]) < 0.3 < tone["cough"] < tone["laugh"]
    assert bursts(made["laugh"], gap_secs=0.035) == 5
    assert bursts(made["sniff"]) == 2
    assert bursts(made["hesitate"]) == bursts(made["gasp"]) == 1


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_is_audible_and_closes_without_a_click(cue: Cue) -> None:
    sound = render_cue(cue, ESPEAK_VOICES[0])
    assert -32 < level_dbfs(sound) < -14
    assert np.abs(sound).max() < 0.7
    assert max(abs(sound[0]), abs(sound[-1])) < 1e-3


def test_a_sigh_falls_and_a_gasp_rises() -> None:
    sigh, gasp = render_cue("sigh", ESPEAK_VOICES[0]), render_cue("gasp", ESPEAK_VOICES[0])
    third = sigh.size // 3
    assert level_dbfs(sigh[:third]) > level_dbfs(sigh[-third:]) + 6
    assert centroid_hz(sigh[:third]) > centroid_hz(sigh[-third:])
    third = gasp.size // 3
    assert level_dbfs(gasp[-third:]) > level_dbfs(gasp[:third]) + 4


def test_cues_follow_the_register_of_the_voice() -> None:
    low, high = replace(ESPEAK_VOICES[0], f0_hz=90.0), replace(ESPEAK_VOICES[0], f0_hz=210.0)
    for cue in ("laugh", "hesitate"):
        ratio = melody(render_cue(cue, high)).median_hz / melody(render_cue(cue, low)).median_hz  # type: ignore[arg-type]
        assert ratio == pytest.approx(210 / 90, rel=0.08)
    assert melody(render_cue("laugh", low)).median_hz > 1.2 * 90
    assert melody(render_cue("hesitate", low)).median_hz < 90
    assert centroid_hz(render_cue("sigh", high)) > 1.05 * centroid_hz(render_cue("sigh", low))


def test_a_second_take_is_another_sound_of_the_same_kind() -> None:
    first, second = render_cue("sniff", ESPEAK_VOICES[0]), render_cue("sniff", ESPEAK_VOICES[0], take=1)
    assert first.size == second.size
    assert not np.allclose(first, second, atol=0.01)
    assert level_dbfs(first) == pytest.approx(level_dbfs(second), abs=2)
    assert np.array_equal(first, render_cue("sniff", ESPEAK_VOICES[0]))
