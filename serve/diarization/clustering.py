"""The embedded diariser: speaker embeddings of sliding windows, clustered once the whole recording has been heard.

Its limits are known: one speaker at a time, at most eight, and the number of speakers is right for under half of
30-second meeting excerpts with much overlap. Telephone calls and interviews fare better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, Turn
from schemas.engines import EngineInfo, Samples, VoiceWindows
from serve.diarization.spectral import Labels, cluster
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
from serve.diarization.weights import describe

_WINDOW_SECS: Final = WINDOW_FRAMES / FRAME_RATE_HZ
_HOP_SECS: Final = 0.25
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
        """One embedding each 0.25 s of speech, at least one a span; see `schemas.engines.Diarizer.observe`."""
        duration = len(samples) / SAMPLE_RATE_HZ
        inside = [Span(max(0.0, s.start_secs), min(duration, s.end_secs)) for s in speech]
        inside = [span for span in inside if span.duration_secs > 0]
        if not inside:
            return VoiceWindows(np.zeros(0), np.zeros((0, DIM), np.float32))
        mels = mel_power(raise_volume(samples))
        centers = [_window_centers(span) for span in inside]
        windows = np.stack(
            [_window(mels, center, span) for span, found in zip(inside, centers, strict=True) for center in found]
        )
        return VoiceWindows(np.concatenate(centers) + offset_secs, self._voiceprint.embed(windows))

    def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span]) -> list[Turn]:
        """Turns of one speaker at a time, speakers numbered by first speech. No speech or no windows: no turns."""
        if not speech or not any(len(w.centers_secs) for w in windows):
            return []
        centers = np.concatenate([w.centers_secs for w in windows])
        order = np.argsort(centers, kind="stable")
        embeddings = np.concatenate([w.embeddings for w in windows])[order]
        labels = cluster(embeddings)
        pieces = [
            turn for span in sorted(speech, key=lambda s: s.start_secs) for turn in _turns_of(span, centers[order], labels)
        ]
        return _renumbered(_joined(pieces))


def _window_centers(span: Span) -> NDArray[np.float64]:
    """Middles of the windows of one span: each 0.25 s while a window fits, the last flush with the span's end."""
    if span.duration_secs < _WINDOW_SECS:
        return np.array([(span.start_secs + span.end_secs) / 2])
    half = _WINDOW_SECS / 2
    centers = np.arange(span.start_secs + half, span.end_secs - half + 1e-6, _HOP_SECS)
    if centers[-1] < span.end_secs - half - _HOP_SECS / 4:
        centers = np.append(centers, span.end_secs - half)
    return centers


def _window(mels: Mel, center_secs: Seconds, span: Span) -> Mel:
    """``(160, 40)`` frames around ``center_secs``; a span shorter than a window is repeated until it fills one."""
    frames = min(WINDOW_FRAMES, max(_MIN_FRAMES, int(span.duration_secs * FRAME_RATE_HZ)), len(mels))
    first = min(max(0, int(center_secs * FRAME_RATE_HZ) - frames // 2), len(mels) - frames)
    piece = mels[first : first + frames]
    if frames == WINDOW_FRAMES:
        return piece
    return np.resize(piece, (WINDOW_FRAMES, NUM_MELS))


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
    joined: list[Turn] = []
    for turn in turns:
        before = joined[-1] if joined else None
        if before and before.speaker == turn.speaker and turn.start_secs - before.end_secs <= _MERGE_GAP_SECS:
            joined[-1] = Turn(turn.speaker, before.start_secs, max(before.end_secs, turn.end_secs))
        else:
            joined.append(turn)
    return joined


def _renumbered(turns: Sequence[Turn]) -> list[Turn]:
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers))
    return [Turn(numbers[turn.speaker], turn.start_secs, turn.end_secs) for turn in turns]
