"""Which windows are whose, once the voices are known: a second pass that walks the windows in time.

A change of voice costs something (Viterbi), and a voice that holds little of the recording must fit a window better than
one that holds much: small clusters are where noise and overlapped speech gather. A window that fits two voices nearly alike
is both: in a meeting that is where people talk at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Likeness = NDArray[np.float32]
"""``(num_windows, num_voices) float32``: cosine of each window, in order of time, with each voice."""

_CHANGE_COST: Final = 0.05
"""Cosine a window must gain before the voice changes for it."""
_PRIOR_WEIGHT: Final = 0.04
"""Cosine that a voice e times as frequent as another is ahead of it."""
_BOTH_WITHIN: Final = 0.05
"""A window whose second voice is at most so much behind its first holds both."""


@dataclass(frozen=True, slots=True)
class Voices:
    """``first``: ``(num_windows,) int64``, the voice of each window, numbered 0, 1, ... by first window.

    ``second``: the same, a voice heard over the first, or -1.
    """

    first: Labels
    second: Labels


def resegment(likeness: Likeness, sizes: NDArray[np.int64]) -> Voices:
    """The voices of each window; ``sizes``, ``(num_voices,)``, are windows that clustering gave to each, all above 0.

    Linear in the number of windows. No windows: empty labels.
    """
    if not len(likeness):
        return Voices(np.zeros(0, np.int64), np.zeros(0, np.int64))
    score = likeness + _PRIOR_WEIGHT * np.log(sizes / sizes.sum())
    first = _path(score)
    return _by_first_window(Voices(first, _second(score, first)))


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


def _second(score: NDArray[np.float64], first: Labels) -> Labels:
    count, voices = score.shape
    none = np.full(count, -1, np.int64)
    if voices < 2:
        return none
    rows = np.arange(count)
    others = score.copy()
    others[rows, first] = -np.inf
    best = others.argmax(axis=1)
    return np.where(others[rows, best] > score[rows, first] - _BOTH_WITHIN, best, none)


def _by_first_window(voices: Voices) -> Voices:
    found, first = np.unique(voices.first, return_index=True)
    rank = np.full(int(max(voices.first.max(), voices.second.max())) + 1, -1, np.int64)
    rank[found[np.argsort(first)]] = np.arange(len(found))
    # A voice heard only ever over others is no speaker of its own.
    second = np.where(voices.second >= 0, rank[voices.second], -1)
    return Voices(rank[voices.first], second)
