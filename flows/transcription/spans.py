"""Spans of a recording: cutting into blocks, clipping, union. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from schemas.domain import Seconds, Span

BLOCK_SECS: Final[Seconds] = 300.0
"""Length of audio in one request to the diariser; bounds the request's size."""


def block_spans(duration_secs: Seconds, length_secs: Seconds = BLOCK_SECS) -> list[Span]:
    """The recording cut into spans of ``length_secs``; the last may be shorter."""
    count = max(1, -int(-duration_secs // length_secs))
    return [Span(i * length_secs, min((i + 1) * length_secs, duration_secs)) for i in range(count)]


def clip_spans(spans: Sequence[Span], block: Span) -> list[Span]:
    """The parts of ``spans`` inside ``block``, counted from the block's start."""
    return [
        Span(max(s.start_secs, block.start_secs) - block.start_secs, min(s.end_secs, block.end_secs) - block.start_secs)
        for s in spans
        if s.end_secs > block.start_secs and s.start_secs < block.end_secs
    ]


def union(spans: Iterable[Span]) -> list[Span]:
    """The union of ``spans``: sorted, not touching, without empty ones."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: s.start_secs):
        if span.end_secs <= span.start_secs:
            continue
        if found and span.start_secs <= found[-1].end_secs:
            found[-1] = Span(found[-1].start_secs, max(found[-1].end_secs, span.end_secs))
        else:
            found.append(span)
    return found
