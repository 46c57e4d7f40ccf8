"""From how probable it is that each speaker talks in each frame to turns, those that overlap among them.

A speaker begins where the probability reaches a threshold and ends where it falls below a lower one, short silences belong
to the turn and shorter sounds to nobody. Where several talk, the one who is more probable around the frame is prominent;
what the others say there is marked as overlap, so that the turns without it are an exclusive view.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds, Turn

Probabilities = NDArray[np.float32]
"""``(num_frames, num_speakers) float32`` in [0, 1]."""
Activity = NDArray[np.bool_]
"""``(num_frames, num_speakers)``: who talks when."""

ONSET: Final = 0.5
OFFSET: Final = 0.4
FILL_SECS: Final[Seconds] = 0.25
"""A shorter silence of a speaker is part of the turn."""
LEAST_SECS: Final[Seconds] = 0.15
"""What is shorter is no turn."""
_PROMINENCE_SECS: Final[Seconds] = 0.5
"""Over how long it is judged who is prominent: words last about as long, and nobody changes within one."""


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
    """Turns of one speaker, both prominent or both not, with less than `FILL_SECS` between them as one, by start."""
    found: dict[tuple[int, bool], list[Turn]] = {}
    for turn in by_start(turns):
        mine = found.setdefault((turn.speaker, turn.overlap), [])
        if mine and turn.start_secs - mine[-1].end_secs < FILL_SECS and not _interrupted(mine[-1], turn, found):
            mine[-1] = Turn(turn.speaker, mine[-1].start_secs, max(mine[-1].end_secs, turn.end_secs), turn.overlap)
        else:
            mine.append(turn)
    return by_start([turn for mine in found.values() for turn in mine])


def by_start(turns: Sequence[Turn]) -> list[Turn]:
    """Of two that start together the longer one first."""
    return sorted(turns, key=lambda t: (t.start_secs, -t.end_secs))


def activity_of(probabilities: Probabilities, frame_secs: Seconds) -> Activity:
    """Who talks when: thresholds with hysteresis, short silences filled, short sounds left out."""
    active = np.zeros(probabilities.shape, np.bool_)
    for speaker in range(probabilities.shape[1]):
        mine = _hysteresis(probabilities[:, speaker])
        _flip_short_runs(mine, False, FILL_SECS / frame_secs)
        _flip_short_runs(mine, True, LEAST_SECS / frame_secs)
        active[:, speaker] = mine
    return active


def _hysteresis(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Each frame is as the last one that was clear: at the onset or above, or below the offset; silent before any."""
    clear = (probabilities >= ONSET) | (probabilities < OFFSET)
    last = np.maximum.accumulate(np.where(clear, np.arange(len(probabilities)), -1))
    return np.asarray((last >= 0) & (probabilities[last] >= ONSET), np.bool_)


def _flip_short_runs(mine: NDArray[np.bool_], value: bool, least: float) -> None:
    """Runs of ``value`` shorter than ``least`` frames become the other, in place; a silence at an edge stays one."""
    for first, last in _runs(mine):
        at_edge = first == 0 or last == len(mine)
        if mine[first] == value and last - first < least and (value or not at_edge):
            mine[first:last] = not value


def _prominent(probabilities: Probabilities, active: Activity, frame_secs: Seconds) -> NDArray[np.int64]:
    """``(num_frames,)``: of those who talk in a frame, who is most probable around it; anybody where nobody talks."""
    if not probabilities.size:
        return np.zeros(len(probabilities), np.int64)
    width = max(1, round(_PROMINENCE_SECS / frame_secs) | 1)
    padded = np.pad(probabilities.astype(np.float64), ((width // 2 + 1, width // 2), (0, 0)), "edge")
    sums = np.cumsum(padded, axis=0)
    around = sums[width:] - sums[:-width]
    return np.asarray(np.where(active, around, -1.0).argmax(axis=1), np.int64)


def _runs(values: NDArray[np.generic]) -> list[tuple[int, int]]:
    """First and past-the-last index of each stretch of equal values."""
    if not len(values):
        return []
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return list(pairwise(edges))


def _interrupted(last: Turn, turn: Turn, found: dict[tuple[int, bool], list[Turn]]) -> bool:
    """Whether joining a prominent turn would run over another speaker's prominent one."""
    if turn.overlap:
        return False
    others = (mine[-1] for (speaker, overlap), mine in found.items() if speaker != turn.speaker and not overlap)
    return any(other.end_secs > last.end_secs for other in others)
