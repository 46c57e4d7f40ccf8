"""Resegmentation: assigns windows to the voices of a clustering in a second pass over time.

A change of voice has a cost (Viterbi). A voice with little speech must fit a window better than one with much, because
noise and overlapped speech collect in small clusters. A window that fits two voices almost equally is assigned to both:
in meetings such windows have overlapped speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Likeness = NDArray[np.float32]
"""``(num_windows, num_voices) float32``: cosine of each window, in order of time, with each voice."""
Overlap = NDArray[np.float64]
"""``(num_windows,)`` in [0, 1]: probability of overlapped speech in each window."""

_CHANGE_COST: Final = 0.05
"""Cost of a change of voice, as a cosine."""
_PRIOR_WEIGHT: Final = 0.04
"""Advantage of a voice that is e times as frequent as another, as a cosine."""
_STRETCH: Final = 5
"""Number of windows, a second of speech, that are assigned to a voice which the client requires but which wins no
window.
"""
_BOTH_WITHIN: Final = 0.05
"""Without probabilities of overlap, a window has two voices if the cosine of the second is at most this much lower."""
_OVERLAPPED: Final = 0.65
"""Probability from which a window has two voices. It is above .5 because the second voice may be wrong."""


@dataclass(frozen=True, slots=True)
class Voices:
    """``first``: ``(num_windows,) int64``, the voice of each window, numbered 0, 1, ... by first window.

    ``second``: the same for a voice that overlaps the first, or -1.
    """

    first: Labels
    second: Labels


def resegment(likeness: Likeness, sizes: NDArray[np.int64], least: int = 1, overlap: Overlap | None = None) -> Voices:
    """The voices of each window; ``sizes``, ``(num_voices,)``, are windows that clustering gave to each, all above 0.

    A voice without any window is dropped, unless fewer than ``least`` would be left. Linear in the number of windows.
    No windows: empty labels.
    """
    if not len(likeness):
        return Voices(np.zeros(0, np.int64), np.zeros(0, np.int64))
    score = likeness + _PRIOR_WEIGHT * np.log(sizes / sizes.sum())
    first = _with_at_least(score, _path(score), least)
    return _by_first_window(Voices(first, _second(score, first, overlap)))


def _path(score: NDArray[np.float64]) -> Labels:
    """The voice of each window, ``(n,)``, by the path of greatest score that pays `_CHANGE_COST` at each change."""
    count, voices = score.shape
    came_from = np.zeros((count, voices), np.int64)
    best_to = score[0].copy()
    stay = np.arange(voices)
    for i in range(1, count):
        best = int(best_to.argmax())
        changed = best_to[best] - _CHANGE_COST
        came_from[i] = np.where(best_to >= changed, stay, best)
        best_to = np.maximum(best_to, changed) + score[i]
    path = np.zeros(count, np.int64)
    path[-1] = int(best_to.argmax())
    for i in range(count - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def _with_at_least(score: NDArray[np.float64], first: Labels, least: int) -> Labels:
    """``first`` with `_STRETCH` consecutive windows, or one window, for each of the largest voices that it lacks.

    Each gets the windows with the smallest loss of score, among those that leave every other voice a window.
    """
    first = first.copy()
    count, voices = score.shape
    for voice in range(voices):
        windows = np.bincount(first, minlength=voices)
        if np.count_nonzero(windows) >= least:
            break
        if windows[voice]:
            continue
        behind = score[np.arange(count), first] - score[:, voice]
        for length in (_STRETCH, 1):
            starts = np.arange(count - length + 1)
            free = [
                start
                for start in starts.tolist()
                if (windows - np.bincount(first[start : start + length], minlength=voices))[windows > 0].min() > 0
            ]
            if free:
                total = np.convolve(behind, np.ones(length), "valid")
                best = min(free, key=lambda start: float(total[start]))
                first[best : best + length] = voice
                break
    return first


def _second(score: NDArray[np.float64], first: Labels, overlap: Overlap | None) -> Labels:
    count, voices = score.shape
    none = np.full(count, -1, np.int64)
    if voices < 2:
        return none
    rows = np.arange(count)
    others = score.copy()
    others[rows, first] = -np.inf
    best = others.argmax(axis=1)
    both = others[rows, best] > score[rows, first] - _BOTH_WITHIN if overlap is None else overlap >= _OVERLAPPED
    return np.where(both, best, none)


def _by_first_window(voices: Voices) -> Voices:
    found, first = np.unique(voices.first, return_index=True)
    rank = np.full(int(max(voices.first.max(), voices.second.max())) + 1, -1, np.int64)
    rank[found[np.argsort(first)]] = np.arange(len(found))
    # A voice that only ever overlaps others is not a separate speaker.
    second = np.where(voices.second >= 0, rank[voices.second], -1)
    return Voices(rank[voices.first], second)
