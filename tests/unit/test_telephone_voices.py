"""On a telephone line, where voices are more alike, a smaller difference makes two speakers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.simulation.rooms import over_telephone
from schemas.domain import Span
from schemas.engines import VoiceWindows
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer
from serve.engines.diarization.window_turns import turns_of_windows
from tests.support.speech import LOW_VOICE, SENTENCES, say, sequence

pytestmark = pytest.mark.unit

COSINE = 0.7
"""Of two voices: between the limits for lines and for everything else."""


def heard(*, narrow: bool) -> VoiceWindows:
    """Two voices in turn for 25 s, each for 4 s, with a pause of 1 s between."""
    voices = np.zeros((2, 256), np.float32)
    voices[0, 0], voices[1, 0], voices[1, 1] = 1.0, COSINE, np.sqrt(1 - COSINE**2)
    turns = np.arange(100) // 20
    return VoiceWindows(np.arange(100) / 5 + 0.1 + turns, voices[turns % 2], narrow=narrow)


def number_of(windows: list[VoiceWindows]) -> int:
    return len({turn.speaker for turn in turns_of_windows(windows, [Span(0.0, 25.0 * len(windows))])})


def test_like_voices_are_two_on_a_line_and_one_elsewhere() -> None:
    assert number_of([heard(narrow=True)]) == 2
    assert number_of([heard(narrow=False)]) == 1


@pytest.mark.parametrize(("narrow", "expected"), [((True, True, False), 2), ((True, False, False), 1)])
def test_a_recording_is_of_a_line_if_most_of_its_windows_are(narrow: tuple[bool, ...], expected: int) -> None:
    assert number_of([heard(narrow=one).shifted(25.0 * number) for number, one in enumerate(narrow)]) == expected


def test_the_diariser_hears_which_audio_came_over_a_line() -> None:
    samples, spans = sequence([say(text, *LOW_VOICE) for text in SENTENCES[:2]])
    diarizer = EmbeddingDiarizer()
    assert not diarizer.observe(samples, spans).narrow
    windows = diarizer.observe(over_telephone(samples), spans)
    assert windows.narrow
    assert {turn.speaker for turn in diarizer.resolve([windows], spans)} == {0}
