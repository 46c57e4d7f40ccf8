"""The piece of a text that shows best why it was found."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from lakehouse.search.tokens import tokens
from lakehouse.search.websearch import Query

WINDOW_CHARACTERS = 200
# A longer text is looked at up to here, so that twenty long hits stay cheap.
MAX_TEXT_CHARACTERS = 50_000

MARK, END_MARK = "<mark>", "</mark>"
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class _Match:
    """``text[start:end]`` matches term number ``term``."""

    start: int
    end: int
    term: int


def snippet(text: str, query: Query) -> str:
    """About 200 characters of ``text`` as HTML: matched words in ``<mark>``, all else escaped, ``…`` where it was cut.

    Words match by stem, a phrase only as a whole. Of all windows the one with the most different terms is taken, then the
    one with the most matches, then the first; without a match (a query of negations) the beginning.
    """
    return excerpt(text, [(match.start, match.end, match.term) for match in _matches(text[:MAX_TEXT_CHARACTERS], query)])


def excerpt(text: str, spans: list[tuple[int, int, int]]) -> str:
    """As ``snippet``, with the (start, end, term) that match given, by start."""
    first, last = _best_window(spans)
    chosen = spans[first:last]
    left = chosen[0][0] if chosen else 0
    right = max((end for _, end, _ in chosen), default=0)
    spare = max(0, WINDOW_CHARACTERS - (right - left))
    start = _word_start(text, max(0, min(left - spare // 2, len(text) - WINDOW_CHARACTERS)), left)
    end = _word_end(text, max(right, start + WINDOW_CHARACTERS), right)
    parts = [ELLIPSIS if start else ""]
    at = start
    for low, high, _ in chosen:
        # Spans of overlapping phrases: what is marked already is not marked again.
        low = max(low, at)
        if low < high:
            parts += [html.escape(text[at:low]), MARK, html.escape(text[low:high]), END_MARK]
            at = high
    parts += [html.escape(text[at:end]), ELLIPSIS if end < len(text) else ""]
    return "".join(parts)


def _matches(text: str, query: Query) -> list[_Match]:
    """Where the terms of ``query`` that are not negated occur in ``text``, word by word, by start."""
    found = list(tokens(text))
    places = [(lexeme, token.start, token.end) for token in found for lexeme in token.lexemes]
    at: dict[str, list[int]] = {}
    for place, (lexeme, _, _) in enumerate(places):
        if lexeme is not None:
            at.setdefault(lexeme, []).append(place)
    matches: set[tuple[int, int, int]] = set()
    for number, term in enumerate(query.wanted):
        for first in at.get(term.lexemes[0] or "", ()):
            if _follows(places, first, term.lexemes):
                found_at = zip(term.lexemes, places[first : first + len(term.lexemes)], strict=True)
                matches.update((start, end, number) for wanted, (_, start, end) in found_at if wanted is not None)
    return [_Match(*match) for match in sorted(matches)]


def _follows(places: list[tuple[str | None, int, int]], first: int, lexemes: tuple[str | None, ...]) -> bool:
    if first + len(lexemes) > len(places):
        return False
    return all(wanted is None or wanted == places[first + i][0] for i, wanted in enumerate(lexemes))


def _best_window(spans: list[tuple[int, int, int]]) -> tuple[int, int]:
    """The range of spans that fit one window and tell most; one alone where even that is wider."""
    best, chosen, last = (0, 0), (0, 0), 0
    inside: dict[int, int] = {}
    for first in range(len(spans)):
        while last < len(spans) and (last == first or spans[last][1] - spans[first][0] <= WINDOW_CHARACTERS):
            inside[spans[last][2]] = inside.get(spans[last][2], 0) + 1
            last += 1
        worth = (len(inside), last - first)
        if worth > best:
            best, chosen = worth, (first, last)
        term = spans[first][2]
        inside[term] -= 1
        if not inside[term]:
            del inside[term]
    return chosen


def _word_start(text: str, start: int, limit: int) -> int:
    """The next beginning of a word at or after ``start``, at most ``limit``; ``start`` itself if there is none."""
    if start == 0:
        return 0
    return next((at for at in _range(start, min(limit, start + 30)) if text[at - 1].isspace()), min(start, limit))


def _word_end(text: str, end: int, limit: int) -> int:
    """The last end of a word at or before ``end``, at least ``limit``; ``end`` itself if there is none."""
    if end >= len(text):
        return len(text)
    return next((at for at in _range(end, max(limit, end - 30)) if text[at].isspace()), max(end, limit))


def _range(start: int, stop: int) -> Iterator[int]:
    """From ``start`` to ``stop``, both included, in either direction."""
    step = 1 if stop >= start else -1
    yield from range(start, stop + step, step)
