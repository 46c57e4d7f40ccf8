"""Makes turns from the embedded windows of a recording: counts voices, assigns windows to them, and cuts spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds, Span, SpeakerHint, Turn
from schemas.engines import VoiceWindows
from serve.engines.diarization.resegmentation import Labels, Overlap
from serve.engines.diarization.speaker_counting import Embeddings, find_voices
from serve.engines.diarization.turns import with_overlap

Centers = NDArray[np.float64]
"""``(num_windows,)`` middles of windows in seconds, sorted."""

NEIGHBOUR_SECS: Final[Seconds] = 0.3
"""Windows at most this far apart are neighbours."""
_NEIGHBOUR_WEIGHT: Final = 0.5
"""Weight of the windows right before and after one."""
_MERGE_GAP_SECS: Final = 0.6
"""Silence that does not end a turn of the same speaker. References of meetings bridge 0.8 s."""


def turns_of_windows(
    windows: Sequence[VoiceWindows],
    speech: Sequence[Span],
    hint: SpeakerHint | None = None,
    overlap: Callable[[Embeddings, Centers], Overlap] | None = None,
) -> list[Turn]:
    """Turns, of at most two speakers at once, numbered by first speech. No speech or no windows: no turns.

    ``overlap`` returns the probability of overlapped speech in each window. Without it, a window that fits two voices
    almost equally has both.
    """
    if not speech or not any(len(w.centers_secs) for w in windows):
        return []
    spans = sorted(speech, key=lambda s: s.start_secs)
    centers, embeddings = windows_in(windows, spans)
    overlapped = overlap(embeddings, centers) if overlap else None
    voices = find_voices(_smoothed(embeddings, centers), hint, overlapped, narrow=_narrow(windows))
    prominent = [turn for span in spans for turn in _turns_of(span, centers, voices.first)]
    over = [turn for span in spans for turn in _turns_of(span, centers, voices.second) if turn.speaker >= 0]
    return _renumbered(with_overlap(_joined([*prominent, *over]), prominent))


def _narrow(windows: Sequence[VoiceWindows]) -> bool:
    """Whether most windows came over a telephone line."""
    return 2 * sum(len(w.centers_secs) for w in windows if w.narrow) > sum(len(w.centers_secs) for w in windows)


def windows_in(windows: Sequence[VoiceWindows], spans: Sequence[Span]) -> tuple[NDArray[np.float64], Embeddings]:
    """Middles and embeddings of the windows in ``spans``, sorted; of all windows if none is in any span.

    Windows outside of speech must not count as voices. ``spans`` are sorted.
    """
    centers = np.concatenate([w.centers_secs for w in windows])
    order = np.argsort(centers, kind="stable")
    centers, embeddings = centers[order], np.concatenate([w.embeddings for w in windows])[order]
    ends = np.maximum.accumulate([span.end_secs for span in spans])
    begun = np.searchsorted([span.start_secs for span in spans], centers, "right")
    inside = (begun > 0) & (centers < ends[begun - 1])
    return (centers[inside], embeddings[inside]) if inside.any() else (centers, embeddings)


def _smoothed(embeddings: Embeddings, centers: NDArray[np.float64]) -> Embeddings:
    """Each embedding plus a share of those right before and after it, L2-normalised; ``centers`` are sorted."""
    beside = np.diff(centers) <= NEIGHBOUR_SECS
    smoothed = embeddings.copy()
    smoothed[1:][beside] += np.float32(_NEIGHBOUR_WEIGHT) * embeddings[:-1][beside]
    smoothed[:-1][beside] += np.float32(_NEIGHBOUR_WEIGHT) * embeddings[1:][beside]
    return np.asarray(smoothed / np.maximum(np.linalg.norm(smoothed, axis=1, keepdims=True), 1e-9), np.float32)


def _turns_of(span: Span, centers: NDArray[np.float64], labels: Labels) -> list[Turn]:
    """The turns of one span, which is cut halfway between neighbouring windows of different voices."""
    first, last = np.searchsorted(centers, (span.start_secs, span.end_secs))
    if first == last:  # no window is in the span: the nearest one counts
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
    """Turns of each voice, joined over short silences, by start; of two with the same start the longer one first."""
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
    return [replace(turn, speaker=numbers[turn.speaker]) for turn in turns]
