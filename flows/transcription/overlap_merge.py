"""Merges the words of overlapping pieces of speech to one sequence: none lost, none repeated, all in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.domain import Recognition, Seconds, Span, Word

_OFF_THE_MIDDLE = 0.1
"""Cost of a second between the seam and the middle of the overlap. Costs are in seconds by which two boundaries disagree.
Near an edge of a piece words are cut and the context is short."""
_WORD = 2.0
"""Cost of a word that is lost or repeated."""
_CUT_WORD = 0.6
"""Cost of a lost word that touches an edge of the overlap: it may be a part of a word that the other piece has whole."""
_FRAGMENT = 1.0
"""Cost of a kept word of low confidence that touches the edge of its piece and is missing in the other piece, which has
more context there."""
_DOUBTED = 0.3
"""Confidence below which a word at an edge may be a part of another word."""
_EDGE_SECS: Seconds = 0.1
_SAME_WORD_SECS: Seconds = 0.5
_SAME_EDGE_SECS: Seconds = 0.1
"""Largest difference of the times of one word in two pieces: of the middles if the letters match, else of both edges."""


def merge_overlaps(recognitions: Sequence[Recognition], spans: Sequence[Span]) -> list[Recognition]:
    """The recognitions of ``spans``, with every word in only one of them.

    Times of the given words count from the start of their span, those of the result from the start of the recording. Spans
    are sorted by start, and only neighbours overlap. Two overlapping ones are joined between words at which both agree best
    on a boundary, preferably in the middle. Then times are put in order: a word starts no earlier than the previous one
    ends, and is inside its span.
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
    """(number of words of ``before`` to keep, number of words of ``after`` to drop).

    It is the seam with the least cost of lost words, repeated words, and boundaries that disagree.
    """
    middle = (overlap.start_secs + overlap.end_secs) / 2

    # Words farther away are in one of the pieces only.
    far = sum(1 for word in before if word.end_secs < overlap.start_secs - _SAME_WORD_SECS)
    before = before[far:]
    after = [word for word in after if word.start_secs <= overlap.end_secs + _SAME_WORD_SECS]
    same = _matches(before, after, overlap)

    def cost(i: int, a: Span, j: int, b: Span) -> float:
        low, high = max(a.start_secs, b.start_secs), min(a.end_secs, b.end_secs)
        # Pauses that overlap have all between ``low`` and ``high`` in common; others are ``low - high`` apart.
        nearest = min(max(middle, low), high) if low <= high else (low + high) / 2
        apart = max(0.0, low - high) + _OFF_THE_MIDDLE * abs(nearest - middle)
        lost = sum(_worth(before[n], overlap) for n in range(i, len(before)) if not any(same[n][j:]))
        lost += sum(_worth(after[n], overlap) for n in range(j) if not any(row[n] for row in same[:i]))
        twice = sum(_WORD for n in range(j, len(after)) if any(row[n] for row in same[:i]))
        cut = sum(_FRAGMENT for n in range(i) if not any(same[n]) and _is_fragment(before[n], overlap))
        cut += sum(
            _FRAGMENT for n in range(j, len(after)) if not any(r[n] for r in same) and _is_fragment(after[n], overlap)
        )
        return apart + lost + twice + cut

    places = [(cost(i, a, j, b), i, j) for i, a in _gaps(before, overlap) for j, b in _gaps(after, overlap)]
    _, kept, dropped = min(places)
    return far + kept, dropped


def _worth(word: Word, overlap: Span) -> float:
    """Cost of losing a word: less if it touches an edge, because it may be a part of a word."""
    touches = word.start_secs < overlap.start_secs + _EDGE_SECS or word.end_secs > overlap.end_secs - _EDGE_SECS
    return _CUT_WORD if touches else _WORD


def _is_fragment(word: Word, overlap: Span) -> bool:
    return word.confidence < _DOUBTED and _worth(word, overlap) == _CUT_WORD


def _matches(before: Sequence[Word], after: Sequence[Word], overlap: Span) -> list[list[bool]]:
    """For each word of ``before`` and each of ``after``, whether both are the same word.

    They are if they have the same letters at about the same time; words without such a match, if they have the same time.
    For a word that touches the edge of its piece, which may be cut, half of its time is enough. For others overlapping
    times are no evidence: the first word of a piece often seems to begin with the piece, in the silence before it.
    """
    alike = [[_has_same_letters(a, b) for b in after] for a in before]
    known = [any(row[n] for row in alike) for n in range(len(after))]
    return [
        row if any(row) else [not known[n] and _has_same_time(a, b, overlap) for n, b in enumerate(after)]
        for a, row in zip(before, alike, strict=True)
    ]


def _has_same_letters(before: Word, after: Word) -> bool:
    return abs(_center(before) - _center(after)) <= _SAME_WORD_SECS and _letters(before) == _letters(after) != ""


def _has_same_time(before: Word, after: Word, overlap: Span) -> bool:
    if max(abs(before.start_secs - after.start_secs), abs(before.end_secs - after.end_secs)) <= _SAME_EDGE_SECS:
        return True
    is_cut = before.end_secs > overlap.end_secs - _EDGE_SECS or after.start_secs < overlap.start_secs + _EDGE_SECS
    both = min(before.end_secs, after.end_secs) - max(before.start_secs, after.start_secs)
    shorter = min(before.end_secs - before.start_secs, after.end_secs - after.start_secs)
    return is_cut and both > 0 and both >= shorter / 2


def _letters(word: Word) -> str:
    return "".join(c for c in word.text.lower() if c.isalnum())


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
