"""Assigns a speaker to each word, from the diariser's turns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from schemas.domain import Seconds, Turn, Word

EDGE_SECS: Seconds = 0.5
"""Error of a turn's boundary: a diariser's windows are about this long."""

PAUSE_SECS: Seconds = 0.15
"""Shortest silence between two words to which a change of speaker is moved."""


def assign_speakers(words: Sequence[Word], turns: Sequence[Turn]) -> list[int]:
    """The speaker of each word: that of the turn it overlaps most, else of the nearest turn; 0 if there are no turns.
    Turns marked as overlap are ignored, because a recogniser transcribes the more prominent voice.

    Then changes of speaker move to the longest silence between words within `EDGE_SECS`, because people change at pauses,
    and turn boundaries are less exact than word times.
    """
    ordered = sorted((t for t in turns if not t.overlap), key=lambda t: t.start_secs)
    starts = [t.start_secs for t in ordered]
    longest = max((t.end_secs - t.start_secs for t in ordered), default=0.0)
    speakers = []
    for word in words:
        first = bisect_left(starts, word.start_secs - longest)
        last = bisect_left(starts, word.end_secs)
        near = ordered[max(0, first - 1) : last + 1]
        speakers.append(max(near, key=lambda t: _closeness(word, t)).speaker if near else 0)
    return _moved_to_pauses(words, speakers)


def _closeness(word: Word, turn: Turn) -> tuple[float, float]:
    overlap = min(word.end_secs, turn.end_secs) - max(word.start_secs, turn.start_secs)
    # Of two turns that cover the word alike, the shorter is the one about it (an interjection inside a long turn).
    return overlap, -(turn.end_secs - turn.start_secs)


def _moved_to_pauses(words: Sequence[Word], speakers: Sequence[int]) -> list[int]:
    moved = list(speakers)
    changes = [i for i in range(1, len(words)) if speakers[i] != speakers[i - 1]]
    floor = 1
    for place, change in enumerate(changes):
        # Never past the neighbouring changes, so that every run has at least one word.
        ceiling = changes[place + 1] - 1 if place + 1 < len(changes) else len(words) - 1
        best = _best_change(words, change, floor, ceiling)
        for i in range(change, best):
            moved[i] = speakers[change - 1]
        for i in range(best, change):
            moved[i] = speakers[change]
        floor = best + 1
    return moved


def _best_change(words: Sequence[Word], change: int, floor: int, ceiling: int) -> int:
    """Index of the first word of the later speaker: ``change`` itself unless a clear pause is near."""
    if _gap(words, change) >= PAUSE_SECS:
        return change
    at = words[change].start_secs
    near = [i for i in range(floor, ceiling + 1) if abs(words[i].start_secs - at) <= EDGE_SECS]
    best = max(near, key=lambda i: _gap(words, i), default=change)
    return best if _gap(words, best) >= PAUSE_SECS else change


def _gap(words: Sequence[Word], index: int) -> Seconds:
    return words[index].start_secs - words[index - 1].end_secs
