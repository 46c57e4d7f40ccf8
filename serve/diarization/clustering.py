"""The embedded diariser: speaker embeddings of sliding windows, clustered once the whole recording has been heard.

Each window is embedded at two lengths: 1.6 s, on which the encoder was trained, tells voices apart best, and 0.8 s follows
quick changes. Their weighted sum is what is clustered.

Its limits are known: at most eight speakers, at most two at once, and in a meeting room the number of speakers is seldom
right: those who say little are overlooked. Telephone calls and interviews fare better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, SpeakerHint, Turn
from schemas.engines import EngineInfo, Samples, VoiceWindows
from serve.diarization.voiceprint import (
    DIM,
    FRAME_RATE_HZ,
    NUM_MELS,
    WINDOW_FRAMES,
    Mel,
    Voiceprint,
    mel_power,
    raise_volume,
)
from serve.diarization.voices import Labels, find_voices
from serve.diarization.weights import describe

_HOP_SECS: Final = 0.2
_SCALES: Final = ((0.8, 0.4), (WINDOW_FRAMES / FRAME_RATE_HZ, 0.6))
"""Length of a window, s, and its weight in the sum."""
_MIN_FRAMES: Final = 40
"""Least evidence of a short span, 0.4 s: a shorter one borrows frames around it."""
_MERGE_GAP_SECS: Final = 0.3
"""Silence that does not end a turn while the same voice goes on."""


class EmbeddingDiarizer:
    """A `schemas.engines.Diarizer` on one CPU thread. Holds nothing of a recording; safe to call from several threads."""

    def __init__(self) -> None:
        """Loads and warms the encoder. Raises Unavailable where its weights are not installed."""
        self._voiceprint = Voiceprint()

    @property
    def info(self) -> EngineInfo:
        return describe()

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """One embedding each 0.2 s of speech, at least one a span; see `schemas.engines.Diarizer.observe`."""
        duration = len(samples) / SAMPLE_RATE_HZ
        inside = [Span(max(0.0, s.start_secs), min(duration, s.end_secs)) for s in speech]
        inside = [span for span in inside if span.duration_secs > 0]
        if not inside:
            return VoiceWindows(np.zeros(0), np.zeros((0, DIM), np.float32))
        mels = mel_power(raise_volume(samples))
        centers = [_window_centers(span) for span in inside]
        total = np.zeros((sum(map(len, centers)), DIM), np.float32)
        for length_secs, weight in _SCALES:
            windows = [
                _window(mels, center, span, length_secs)
                for span, found in zip(inside, centers, strict=True)
                for center in found.tolist()
            ]
            total += np.float32(weight) * self._voiceprint.embed(np.stack(windows))
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
        return VoiceWindows(np.concatenate(centers) + offset_secs, total)

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns, of two speakers at once at most, numbered by first speech. No speech or no windows: no turns."""
        if not speech or not any(len(w.centers_secs) for w in windows):
            return []
        centers = np.concatenate([w.centers_secs for w in windows])
        order = np.argsort(centers, kind="stable")
        embeddings = np.concatenate([w.embeddings for w in windows])[order]
        voices = find_voices(embeddings, hint)
        spans = sorted(speech, key=lambda s: s.start_secs)
        turns = [turn for span in spans for turn in _turns_of(span, centers[order], voices.first)]
        over = [turn for span in spans for turn in _turns_of(span, centers[order], voices.second) if turn.speaker >= 0]
        return _renumbered(_joined([*turns, *over]))


def _window_centers(span: Span) -> NDArray[np.float64]:
    """Middles of the windows of one span, evenly about 0.2 s apart, at least one."""
    count = max(1, round(span.duration_secs / _HOP_SECS))
    return np.asarray(span.start_secs + (np.arange(count) + 0.5) * span.duration_secs / count)


def _window(mels: Mel, center_secs: Seconds, span: Span, length_secs: Seconds) -> Mel:
    """``(160, 40)`` frames of ``length_secs`` around ``center_secs``, within the span; what is shorter is repeated."""
    start = max(span.start_secs, min(center_secs - length_secs / 2, span.end_secs - length_secs))
    length = min(length_secs, span.end_secs - start)
    frames = min(len(mels), max(_MIN_FRAMES, int(length * FRAME_RATE_HZ)))
    first = min(int(start * FRAME_RATE_HZ), len(mels) - frames)
    return np.resize(mels[first : first + frames], (WINDOW_FRAMES, NUM_MELS))


def _turns_of(span: Span, centers: NDArray[np.float64], labels: Labels) -> list[Turn]:
    """Cuts one span half way between neighbouring windows of different voices."""
    first, last = np.searchsorted(centers, (span.start_secs, span.end_secs))
    if first == last:  # cut off from any window of its own: the nearest speaks for it
        middle = (span.start_secs + span.end_secs) / 2
        nearest = int(np.argmin(np.abs(centers - middle)))
        return [Turn(int(labels[nearest]), span.start_secs, span.end_secs)]
    inside = labels[first:last]
    changes = np.flatnonzero(np.diff(inside)) + 1
    cuts = (centers[first + changes - 1] + centers[first + changes]) / 2
    starts = [span.start_secs, *cuts.tolist()]
    ends = [*cuts.tolist(), span.end_secs]
    speakers = inside[np.concatenate(([0], changes))]
    return [Turn(int(who), start, end) for who, start, end in zip(speakers, starts, ends, strict=True)]


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of each voice joined over short silences, by start; of two that start together the longer one first."""
    joined: dict[int, list[Turn]] = {}
    for turn in sorted(turns, key=lambda t: t.start_secs):
        mine = joined.setdefault(turn.speaker, [])
        if mine and turn.start_secs - mine[-1].end_secs <= _MERGE_GAP_SECS:
            mine[-1] = Turn(turn.speaker, mine[-1].start_secs, max(mine[-1].end_secs, turn.end_secs))
        else:
            mine.append(turn)
    return sorted((t for mine in joined.values() for t in mine), key=lambda t: (t.start_secs, -t.end_secs))


def _renumbered(turns: Sequence[Turn]) -> list[Turn]:
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers))
    return [Turn(numbers[turn.speaker], turn.start_secs, turn.end_secs) for turn in turns]
