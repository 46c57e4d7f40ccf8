"""Merges neighbouring events, moves events between words, and removes duplicates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from schemas.domain import Seconds, SoundEvent, Word
from serve.engines.events.labels import ENV
from serve.engines.events.rules import by_start

_LEAST_SECS: Final[Seconds] = 0.15
"""An event is moved into a silence between words only if that is at least this long; else it was made while speaking."""
_SLACK_SECS: Final[Seconds] = 1e-6


def merged(events: Sequence[SoundEvent], gap_secs: Seconds) -> list[SoundEvent]:
    """Events of one tag that are at most ``gap_secs`` apart as one, with the highest confidence, sorted by start."""
    found: dict[str, list[SoundEvent]] = {}
    for event in by_start(events):
        mine = found.setdefault(event.tag, [])
        if mine and event.start_secs - mine[-1].end_secs <= gap_secs + _SLACK_SECS:
            last = mine[-1]
            end_secs, confidence = max(last.end_secs, event.end_secs), max(last.confidence, event.confidence)
            mine[-1] = SoundEvent(event.tag, last.start_secs, end_secs, confidence)
        else:
            mine.append(event)
    return by_start([event for mine in found.values() for event in mine])


def together(read: Sequence[SoundEvent], heard: Sequence[SoundEvent], words: Sequence[Word]) -> list[SoundEvent]:
    """``read`` and ``heard`` as one list by start; of two events with one tag at one time the one in ``read`` is kept."""
    ordered = sorted(words, key=lambda w: w.end_secs)
    placed = [event if event.tag == ENV else _between_words(event, ordered) for event in heard]
    new = [event for event in placed if not any(_same_place(event, known) for known in read)]
    return by_start([*read, *new])


def _between_words(event: SoundEvent, words: Sequence[Word]) -> SoundEvent:
    """The event cut down to the longest silence between ``words`` (sorted by end) inside it; unchanged if there is
    none."""
    free: list[tuple[Seconds, Seconds]] = []
    at = event.start_secs
    for word in words[bisect_right(words, event.start_secs, key=lambda w: w.end_secs) :]:
        if word.start_secs >= event.end_secs:
            break
        free.append((at, word.start_secs))
        at = word.end_secs
    free.append((at, event.end_secs))
    start, end = max(free, key=lambda gap: gap[1] - gap[0])
    return SoundEvent(event.tag, start, end, event.confidence) if end - start >= _LEAST_SECS else event


def _same_place(one: SoundEvent, other: SoundEvent) -> bool:
    return one.tag == other.tag and one.start_secs < other.end_secs and other.start_secs < one.end_secs
