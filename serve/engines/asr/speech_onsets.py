"""Moves starts of words out of the pause before them, to where the sound begins.

A decoder's attention moves to a word while the speaker still pauses, up to 300 ms early. The level shows the pause in
recordings with little noise; in noisy ones nothing is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Word
from schemas.engines import Samples

_FRAME: Final = SAMPLE_RATE_HZ // 100
_FRAME_SECS: Final = _FRAME / SAMPLE_RATE_HZ
_QUIET_DB: Final = 30.0
"""A frame this far below the loud ones is quiet if it is also within `_ABOVE_FLOOR_DB` of the faintest frames."""
_ABOVE_FLOOR_DB: Final = 6.0
_PAUSE_FRAMES: Final = 8
"""Shorter silences are closures of consonants."""
_SEARCHED_FRAMES: Final = 25
_LEAST_SECS: Final = 0.03
"""Least length of a word after the move."""


def begin_after_pauses(words: Sequence[Word], samples: Samples) -> list[Word]:
    """The words of an utterance; one with a pause of 80 ms or more in its first 250 ms begins at the pause's end.

    ``samples``: ``(num_samples,) float32`` at 16 kHz mono, which the words' times count from the start of.
    """
    if samples.size < _FRAME * _PAUSE_FRAMES:
        return list(words)
    quiet = _quiet_frames(samples)
    return [replace(word, start_secs=_onset(word, quiet)) for word in words]


def _quiet_frames(samples: Samples) -> NDArray[np.bool_]:
    """``(num_frames,)`` of 10 ms."""
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = np.convolve(np.mean(np.square(frames, dtype=np.float64), axis=1), np.full(3, 1 / 3), "same")
    levels = 10 * np.log10(power + 1e-10)
    floor, loud = np.percentile(levels, (5, 95))
    return np.asarray(levels < max(floor + _ABOVE_FLOOR_DB, loud - _QUIET_DB))


def _onset(word: Word, quiet: NDArray[np.bool_]) -> Seconds:
    """End of the last pause that begins in the first 250 ms of the word, or the word's own start."""
    first = max(0, int(word.start_secs / _FRAME_SECS))
    last = int((word.end_secs - _LEAST_SECS) / _FRAME_SECS)
    onset, length = word.start_secs, 0
    for frame, is_quiet in enumerate(quiet[first:last]):
        if is_quiet:
            length += 1
            continue
        if length >= _PAUSE_FRAMES:
            onset = (first + frame) * _FRAME_SECS
        if frame > _SEARCHED_FRAMES:
            break
        length = 0
    return onset
