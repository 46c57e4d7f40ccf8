"""Makes turns, which may overlap, from the probability of each speaker in each frame.

A turn begins where the probability reaches a threshold and ends where it falls below a lower one. Short silences belong to
the turn, and very short sounds are dropped. Where several people speak, the one with the highest probability around the
frame is prominent. The others' turns are marked as overlap there, so that the turns without overlap are exclusive.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds, Turn

Probabilities = NDArray[np.float32]
"""``(num_frames, num_speakers) float32`` in [0, 1]."""
Activity = NDArray[np.bool_]
"""``(num_frames, num_speakers)``: whether each speaker speaks in each frame."""

ONSET: Final = 0.5
OFFSET: Final = 0.4
FILL_SECS: Final[Seconds] = 0.25
"""A shorter silence of a speaker is part of the turn."""
LEAST_SECS: Final[Seconds] = 0.15
"""Least length of a turn."""
_PROMINENCE_SECS: Final[Seconds] = 0.5
"""Window in which the prominent speaker is determined: about the length of a word, within which no speaker changes."""


def turns_of(probabilities: Probabilities, frame_secs: Seconds, start_secs: Seconds = 0.0) -> list[Turn]:
    """Turns sorted by start; frame 0 starts at ``start_secs``. Linear in the number of frames."""
    active = activity_of(probabilities, frame_secs)
    prominent = _prominent(probabilities, active, frame_secs)
    turns = []
    for speaker in range(active.shape[1]):
        mine = active[:, speaker]
        # 0: silent, 1: prominent, 2: overlapped.
        state = np.where(mine, np.where(prominent == speaker, 1, 2), 0)
        for first, last in _runs(state):
            if state[first]:
                start, end = start_secs + first * frame_secs, start_secs + last * frame_secs
                turns.append(Turn(speaker, start, end, overlap=bool(state[first] == 2)))
    return by_start(turns)


def joined(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of one speaker with equal ``overlap`` and less than `FILL_SECS` between them joined, by start."""
    found: dict[tuple[int, bool], list[Turn]] = {}
    for turn in by_start(turns):
        mine = found.setdefault((turn.speaker, turn.overlap), [])
        if mine and turn.start_secs - mine[-1].end_secs < FILL_SECS and not _interrupted(mine[-1], turn, found):
            mine[-1] = Turn(turn.speaker, mine[-1].start_secs, max(mine[-1].end_secs, turn.end_secs), turn.overlap)
        else:
            mine.append(turn)
    return by_start([turn for mine in found.values() for turn in mine])


def with_overlap(turns: Sequence[Turn], prominent: Sequence[Turn]) -> list[Turn]:
    """``turns``, each split into parts under another speaker's ``prominent`` turn, marked as overlap, and the rest.

    ``prominent`` turns are sorted and do not overlap.
    """
    ends = [turn.end_secs for turn in prominent]
    found: list[Turn] = []
    for turn in turns:
        at = turn.start_secs
        for number in range(bisect_right(ends, turn.start_secs), len(prominent)):
            other = prominent[number]
            if other.start_secs >= turn.end_secs:
                break
            if other.speaker != turn.speaker:
                start, end = max(other.start_secs, at), min(other.end_secs, turn.end_secs)
                found += [Turn(turn.speaker, at, start)] if start > at else []
                found.append(Turn(turn.speaker, start, end, overlap=True))
                at = end
        found += [Turn(turn.speaker, at, turn.end_secs)] if turn.end_secs > at else []
    return by_start(_adjoined(found))


def _adjoined(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of one speaker with equal ``overlap``, joined where one begins at the end of the other."""
    found: list[Turn] = []
    for turn in turns:
        last = found[-1] if found else None
        if last and (last.speaker, last.overlap, last.end_secs) == (turn.speaker, turn.overlap, turn.start_secs):
            found[-1] = replace(last, end_secs=turn.end_secs)
        else:
            found.append(turn)
    return found


def by_start(turns: Sequence[Turn]) -> list[Turn]:
    """Turns by start; of two with the same start the longer one first."""
    return sorted(turns, key=lambda t: (t.start_secs, -t.end_secs))


def activity_of(probabilities: Probabilities, frame_secs: Seconds) -> Activity:
    """The activity of each speaker: thresholds with hysteresis, short silences filled, short sounds dropped."""
    active = np.zeros(probabilities.shape, np.bool_)
    for speaker in range(probabilities.shape[1]):
        mine = _hysteresis(probabilities[:, speaker])
        _flip_short_runs(mine, False, FILL_SECS / frame_secs)
        _flip_short_runs(mine, True, LEAST_SECS / frame_secs)
        active[:, speaker] = mine
    return active


def _hysteresis(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """A frame between the two thresholds has the state of the last frame outside them; silent before any."""
    clear = (probabilities >= ONSET) | (probabilities < OFFSET)
    last = np.maximum.accumulate(np.where(clear, np.arange(len(probabilities)), -1))
    return np.asarray((last >= 0) & (probabilities[last] >= ONSET), np.bool_)


def _flip_short_runs(mine: NDArray[np.bool_], value: bool, least: float) -> None:
    """Invert runs of ``value`` shorter than ``least`` frames, in place; silence at the edges stays."""
    for first, last in _runs(mine):
        at_edge = first == 0 or last == len(mine)
        if mine[first] == value and last - first < least and (value or not at_edge):
            mine[first:last] = not value


def _prominent(probabilities: Probabilities, active: Activity, frame_secs: Seconds) -> NDArray[np.int64]:
    """``(num_frames,)``: of the speakers active in a frame, the most probable one around it; arbitrary if none is."""
    if not probabilities.size:
        return np.zeros(len(probabilities), np.int64)
    width = max(1, round(_PROMINENCE_SECS / frame_secs) | 1)
    padded = np.pad(probabilities.astype(np.float64), ((width // 2 + 1, width // 2), (0, 0)), "edge")
    sums = np.cumsum(padded, axis=0)
    around = sums[width:] - sums[:-width]
    return np.asarray(np.where(active, around, -1.0).argmax(axis=1), np.int64)


def _runs(values: NDArray[np.generic]) -> list[tuple[int, int]]:
    """First and past-the-last index of each run of equal values."""
    if not len(values):
        return []
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return list(pairwise(edges))


def _interrupted(last: Turn, turn: Turn, found: dict[tuple[int, bool], list[Turn]]) -> bool:
    """Whether a joined prominent turn would overlap another speaker's prominent one."""
    if turn.overlap:
        return False
    others = (mine[-1] for (speaker, overlap), mine in found.items() if speaker != turn.speaker and not overlap)
    return any(other.end_secs > last.end_secs for other in others)
