"""Speech intervals for the diariser and for finding pauses, from the probabilities of `audio.vad`.

Windows for the recogniser are made in `audio.speech_windows`, with a far lower threshold.
"""

from __future__ import annotations

import numpy as np

from audio.vad import Probabilities, regions
from schemas.domain import Seconds, Span

PAUSE_THRESHOLD = 0.3
PAUSE_MIN_SILENCE_SECS: Seconds = 0.5

FAR_THRESHOLD = 0.08
FAR_MIN_SILENCE_SECS: Seconds = 0.8
NEAR_THRESHOLD = 0.5
NEAR_MIN_SILENCE_SECS: Seconds = 0.3
"""For the diariser. With a near microphone the model's probabilities are high and its silences right. Across a room they
vary from frame to frame, and only the mean of their log odds over `SMOOTHING_FRAMES` separates faint speech from noise.
Number of frames, threshold and silence are those with the least missed plus false speech in simulated meetings, telephone
calls and readings (docs/quality.md)."""
SMOOTHING_FRAMES = 7
"""0.22 s."""
CONFIDENT = 0.9
ANY_SPEECH = 0.2
"""A microphone is near if a share of at least `CONFIDENT` of the frames above `ANY_SPEECH` have a probability of at least
`CONFIDENT`. Readers and telephone talk measure .86 to .97, meeting rooms .0 to .88."""
CONFIDENT_NARROW = 0.8
"""The share for a telephone line, where one side may be much quieter."""
_LEAST = 1e-5
"""Probabilities are clipped to this distance from 0 and 1, so that one frame does not outweigh all others."""


def speech_for_diarization(probabilities: Probabilities, duration_secs: Seconds, *, narrow: bool = False) -> list[Span]:
    """Speech intervals of all speakers, for a diariser: sorted, not overlapping, inside the recording.

    ``narrow``: the recording came over a telephone line (`audio.telephone_band`).
    """
    speech = probabilities[probabilities >= ANY_SPEECH]
    if speech.size and float(np.mean(speech >= CONFIDENT)) >= (CONFIDENT_NARROW if narrow else CONFIDENT):
        return regions(
            probabilities,
            duration_secs=duration_secs,
            threshold=NEAR_THRESHOLD,
            min_silence_secs=NEAR_MIN_SILENCE_SECS,
        )
    active = smoothed(probabilities) >= FAR_THRESHOLD
    return regions(active.astype(np.float32), duration_secs=duration_secs, min_silence_secs=FAR_MIN_SILENCE_SECS)


def smoothed(probabilities: Probabilities) -> Probabilities:
    """``(num_frames,) float32``: the mean log odds of the `SMOOTHING_FRAMES` around each frame, as a probability."""
    if not probabilities.size:
        return probabilities
    bounded = np.clip(probabilities.astype(np.float64), _LEAST, 1 - _LEAST)
    odds = np.pad(np.log(bounded / (1 - bounded)), SMOOTHING_FRAMES // 2, "symmetric")
    mean = np.convolve(odds, np.full(SMOOTHING_FRAMES, 1 / SMOOTHING_FRAMES), "valid")
    return np.asarray(1 / (1 + np.exp(-mean)), np.float32)


def speech_for_pauses(probabilities: Probabilities, duration_secs: Seconds) -> list[Span]:
    """Speech intervals, separated by silences that are long enough to count as pauses."""
    return regions(
        probabilities,
        duration_secs=duration_secs,
        threshold=PAUSE_THRESHOLD,
        min_silence_secs=PAUSE_MIN_SILENCE_SECS,
    )
