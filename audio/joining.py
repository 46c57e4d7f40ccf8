"""Words of overlapping pieces of speech made one sequence: none lost, none twice, none before the one ahead of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.domain import Recognition, Seconds, Span, Word

_OFF_THE_MIDDLE = 0.1
"""What a second between a seam and the middle of the overlap counts, in seconds by which two boundaries disagree: near an
edge of a piece its words are cut and its context is short."""


def joined(recognitions: Sequence[Recognition], spans: Sequence[Span]) -> list[Recognition]:
    """What was heard in each of ``spans``, with every word in the one piece that heard it best.

    Words count from the start of their span and are given from where spans count, the start of the recording; spans are
    sorted by start, and only neighbours overlap. Where two do, the seam lies between words of both, where they agree best
    on a boundary, preferably in the middle. Then times are put in order: a word starts no earlier than the one before it
    ends, and lies inside its span.
    """
    heard = [
        [replace(w, start_secs=w.start_secs + span.start_secs, end_secs=w.end_secs + span.start_secs) for w in r.words]
        for r, span in zip(recognitions, spans, strict=True)
    ]
    for place in range(1, len(heard)):
        overlap = Span(spans[place].start_secs, spans[place - 1].end_secs)
        if overlap.duration_secs > 0:
            kept, dropped = _seam(heard[place - 1], heard[place], overlap)
            del heard[place - 1][kept:], heard[place][:dropped]
    ordered, until = [], 0.0
    for recognition, words, span in zip(recognitions, heard, spans, strict=True):
        placed = []
        for word in words:
            start = min(max(word.start_secs, span.start_secs, until), span.end_secs)
            until = max(start, min(word.end_secs, span.end_secs))
            placed.append(replace(word, start_secs=start, end_secs=until))
        ordered.append(replace(recognition, words=tuple(placed)))
    return ordered


def _seam(before: Sequence[Word], after: Sequence[Word], overlap: Span) -> tuple[int, int]:
    """How many words of ``before`` are kept, and how many of ``after`` are dropped."""
    middle = (overlap.start_secs + overlap.end_secs) / 2

    def cost(a: Span, b: Span) -> float:
        low, high = max(a.start_secs, b.start_secs), min(a.end_secs, b.end_secs)
        # Pauses that overlap have all between ``low`` and ``high`` in common; others are ``low - high`` apart.
        nearest = min(max(middle, low), high) if low <= high else (low + high) / 2
        return max(0.0, low - high) + _OFF_THE_MIDDLE * abs(nearest - middle)

    places = [(cost(a, b), i, j) for i, a in _gaps(before, overlap) for j, b in _gaps(after, overlap)]
    _, kept, dropped = min(places)
    return kept, dropped


def _gaps(words: Sequence[Word], overlap: Span) -> list[tuple[int, Span]]:
    """Pauses and boundaries of ``words`` inside ``overlap``, each with the number of words before it."""
    first = sum(1 for w in words if _center(w) < overlap.start_secs)
    last = sum(1 for w in words if _center(w) <= overlap.end_secs)
    gaps = []
    for i in range(first, last + 1):
        start = max(words[i - 1].end_secs, overlap.start_secs) if i else overlap.start_secs
        end = min(words[i].start_secs, overlap.end_secs) if i < len(words) else overlap.end_secs
        gaps.append((i, Span(start, max(start, end))))
    return gaps


def _center(word: Word) -> Seconds:
    return (word.start_secs + word.end_secs) / 2
