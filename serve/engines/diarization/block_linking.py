"""Joins the local speakers of a recording's blocks to persons, block by block, in linear time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SpeakerHint

SAME_VOICE: Final = 0.75
"""Cosine above which two voiceprints of some seconds count as one person's. Of voiceprints of two seconds and more in
meetings and readings, 5 of 6 pairs of one person are above it, and 77 of 83 pairs of people in different rooms below."""
_STRICTER: Final = (0.8, 0.85, 0.9, 0.95, 1.01)
"""Thresholds that are tried in turn if the client requires more speakers; with a threshold above 1 no two are joined."""


@dataclass(frozen=True, slots=True)
class LocalSpeakers:
    """``prints``: ``(num_speakers, dim) float32``, L2-normalised; ``talk_secs``: length of each one's speech."""

    prints: NDArray[np.float32]
    talk_secs: NDArray[np.float64]


def link(blocks: Sequence[LocalSpeakers], most: int, hint: SpeakerHint | None = None) -> list[list[int]]:
    """The number of each local speaker in the whole recording, block by block in order of time.

    Speakers of one block are different people, except where ``most`` or the hint does not allow so many.
    """
    hint = hint or SpeakerHint()
    most = min(most, hint.most or most)
    for same_voice in (SAME_VOICE, *_STRICTER):
        found = _linked(blocks, most, same_voice)
        if len({speaker for block in found for speaker in block}) >= min(hint.least, most):
            break
    return found


def _linked(blocks: Sequence[LocalSpeakers], most: int, same_voice: float) -> list[list[int]]:
    sums: list[NDArray[np.float64]] = []
    found = []
    for block in blocks:
        known = len(sums)
        numbers = _assigned(block, sums, same_voice)
        # Speakers with the most speech become separate persons first.
        for local in np.argsort(-block.talk_secs, kind="stable").tolist():
            if numbers[local] < 0 and len(sums) < most:
                numbers[local] = len(sums)
                sums.append(np.zeros(block.prints.shape[1]))
            elif numbers[local] < 0:
                numbers[local] = _nearest(block.prints[local], sums, known, taken={n for n in numbers if n >= 0})
            sums[numbers[local]] += block.prints[local] * block.talk_secs[local]
        found.append(numbers)
    return found


def _assigned(block: LocalSpeakers, sums: Sequence[NDArray[np.float64]], same_voice: float) -> list[int]:
    """A block's speakers matched one to one with known ones, most similar first; -1 for one that matches none."""
    numbers = [-1] * len(block.prints)
    if not sums:
        return numbers
    alike = block.prints @ _directions(sums).T
    for pair in np.argsort(-alike, axis=None, kind="stable").tolist():
        local, known = divmod(pair, len(sums))
        if alike[local, known] >= same_voice and numbers[local] < 0 and known not in numbers:
            numbers[local] = known
    return numbers


def _nearest(voiceprint: NDArray[np.float32], sums: Sequence[NDArray[np.float64]], known: int, taken: set[int]) -> int:
    """The most similar of the speakers known before this block and not yet assigned in it; of all if none is left."""
    alike = _directions(sums) @ voiceprint
    free = [number for number in range(known) if number not in taken]
    return max(free or range(len(sums)), key=lambda number: float(alike[number]))


def _directions(sums: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(sums)
    return np.asarray(stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-9))
