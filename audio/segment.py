"""Where anybody talks, and cutting it into utterances a recogniser takes: none longer than it can hear."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from audio.vad import FRAME_SECS, Probabilities, regions
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span

THRESHOLD = 0.5
PAD_SECS: Seconds = 0.3
MIN_SILENCE_SECS: Seconds = 0.3
"""Threshold, pad and silence with the lowest word error rate of those measured with the embedded recogniser (0.289)."""

OVERLAP_SECS: Seconds = 1.0
"""How much of running speech both pieces hear where it must be cut: longer than nearly every word."""

VOICED_THRESHOLD = 0.3
VOICED_MIN_SILENCE_SECS: Seconds = 0.5

FAR_THRESHOLD = 0.12
FAR_MIN_SILENCE_SECS: Seconds = 1.0
NEAR_THRESHOLD = 0.5
NEAR_MIN_SILENCE_SECS: Seconds = 0.3
"""For who speaks when. Of a near microphone the model is sure, and silences between turns are as it says. Of speech across
a room it is unsure: its probabilities jump about, and only what they say together, as log odds over `STEADY_FRAMES`, tells
faint speech from noise. Length and threshold lie where readers put into made-up rooms and meetings agree."""
STEADY_FRAMES = 9
"""0.29 s."""
SURE = 0.9
HEARD = 0.2
"""A near microphone: so large a share, `SURE`, of the frames that are `HEARD` at all has so high a probability. Readers and
telephone talk measure .86 to .97, meeting rooms .0 to .88."""
SURE_NARROW = 0.8
"""The same where the recording is a telephone's, of which one side may be much the softer."""
_LEAST = 1e-5
"""Probabilities nearer to 0 or 1 count as this: one frame must not outweigh all others."""


def talk(probabilities: Probabilities, duration_secs: Seconds, *, narrow: bool = False) -> list[Span]:
    """Stretches in which anybody talks, for a diariser: sorted, not overlapping, inside the recording.

    ``narrow`` says that the recording came over a telephone line (`audio.bandwidth`).
    """
    speech = probabilities[probabilities >= HEARD]
    if speech.size and float(np.mean(speech >= SURE)) >= (SURE_NARROW if narrow else SURE):
        return regions(
            probabilities,
            duration_secs=duration_secs,
            threshold=NEAR_THRESHOLD,
            min_silence_secs=NEAR_MIN_SILENCE_SECS,
        )
    heard = steadied(probabilities) >= FAR_THRESHOLD
    return regions(heard.astype(np.float32), duration_secs=duration_secs, min_silence_secs=FAR_MIN_SILENCE_SECS)


def steadied(probabilities: Probabilities) -> Probabilities:
    """``(num_frames,) float32``: what the `STEADY_FRAMES` around each frame say together, the mean of their log odds."""
    if not probabilities.size:
        return probabilities
    certain = np.clip(probabilities.astype(np.float64), _LEAST, 1 - _LEAST)
    odds = np.pad(np.log(certain / (1 - certain)), STEADY_FRAMES // 2, "symmetric")
    mean = np.convolve(odds, np.full(STEADY_FRAMES, 1 / STEADY_FRAMES), "valid")
    return np.asarray(1 / (1 + np.exp(-mean)), np.float32)


def voiced(probabilities: Probabilities, duration_secs: Seconds) -> list[Span]:
    """Stretches of speech between which silences are long enough to mean something: what pauses are found in."""
    return regions(
        probabilities,
        duration_secs=duration_secs,
        threshold=VOICED_THRESHOLD,
        min_silence_secs=VOICED_MIN_SILENCE_SECS,
    )


def utterances(probabilities: Probabilities, duration_secs: Seconds, max_secs: Seconds) -> list[Span]:
    """Spans sorted by start and inside the recording; none is longer than ``max_secs``.

    Every frame with a probability of at least `THRESHOLD` lies in one of them. A stretch of speech that is too long is cut
    where it is quietest within the last third of what may be taken, and its two pieces overlap by up to `OVERLAP_SECS`
    around that place, so that every word is whole in one of them; `audio.joining` makes one of what is heard twice. Other
    spans do not overlap. Raises ValueError if ``max_secs`` is under one second.
    """
    if max_secs < 1.0:
        raise ValueError(f"max_secs is {max_secs}; a recogniser must take at least 1 s")
    padded = regions(
        probabilities,
        duration_secs=duration_secs,
        threshold=THRESHOLD,
        min_silence_secs=MIN_SILENCE_SECS,
        pad_secs=PAD_SECS,
    )
    return [part for span in padded for part in _cut(probabilities, span, max_secs)]


def _cut(probabilities: Probabilities, span: Span, max_secs: Seconds) -> Iterator[Span]:
    half = min(OVERLAP_SECS, max_secs / 4) / 2
    start = span.start_secs
    # Half a sample absorbs the rounding of seconds.
    while span.end_secs - start > max_secs + 0.5 / SAMPLE_RATE_HZ:
        reach = max_secs - half
        first = math.ceil((start + reach * 2 / 3) / FRAME_SECS)
        last = math.floor((start + reach) / FRAME_SECS)
        # One frame alone may be the closure of a consonant.
        around = np.convolve(probabilities[first - 1 : last + 2], np.full(3, 1 / 3), "valid")
        middle = (first + int(np.argmin(around))) * FRAME_SECS
        yield Span(start, middle + half)
        start = middle - half
    yield Span(start, span.end_secs)
