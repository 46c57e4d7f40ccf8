"""Snippets: the part of a text that best shows the matches of a query."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from lakehouse.search.stemming import lexeme
from lakehouse.search.tokenizer import MAX_TOKEN_BYTES, is_prose, lexemes_with_spans
from lakehouse.search.websearch import Query, Term

WINDOW_CHARACTERS = 200
# Only the beginning of a longer text is searched, so that twenty long hits stay cheap.
MAX_TEXT_CHARACTERS = 50_000

Span = tuple[int, int, int]
"""(start, end, number of the matching term), in characters."""

_WORD = re.compile("[A-Za-z]+")

MARK, END_MARK = "<mark>", "</mark>"
ELLIPSIS = "…"


def snippet(text: str, query: Query) -> str:
    """About 200 characters of ``text`` as HTML: matched words in ``<mark>``, all else escaped, ``…`` where it is cut.

    Words match by stem, a phrase only as a whole. The window with the most different terms is chosen, then the one with the
    most matches, then the first; without a match (a query of negations) the beginning of the text.
    """
    return snippets(query)(text)


def snippets(query: Query) -> Callable[[str], str]:
    """`snippet` for many texts and one query."""
    wanted = query.wanted
    begins, terms = _beginnings(wanted)

    def shown(text: str) -> str:
        if len(text) <= MAX_TOKEN_BYTES and is_prose(text):
            return excerpt(text, _in_prose(text, begins, terms))
        return excerpt(text, _matches(text[:MAX_TEXT_CHARACTERS], wanted))

    return shown


def excerpt(text: str, spans: list[Span]) -> str:
    """As `snippet`, with the matches given, ordered by start."""
    chosen, start, end = _window(text, spans)
    parts = [ELLIPSIS if start else ""]
    at = start
    for low, high, _ in chosen:
        # Overlapping phrases: what is marked already is not marked again.
        low = max(low, at)
        if low < high:
            parts += [html.escape(text[at:low]), MARK, html.escape(text[low:high]), END_MARK]
            at = high
    parts += [html.escape(text[at:end]), ELLIPSIS if end < len(text) else ""]
    return "".join(parts)


def _window(text: str, spans: list[Span]) -> tuple[list[Span], int, int]:
    """(spans to mark, start, end) of the window to show."""
    if len(text) <= WINDOW_CHARACTERS:
        return spans, 0, len(text)
    first, last = _best_window(spans)
    chosen = spans[first:last]
    left = chosen[0][0] if chosen else 0
    right = max((end for _, end, _ in chosen), default=0)
    spare = max(0, WINDOW_CHARACTERS - (right - left))
    start = _word_start(text, max(0, min(left - spare // 2, len(text) - WINDOW_CHARACTERS)), left)
    end = _word_end(text, max(right, start + WINDOW_CHARACTERS), right)
    return chosen, start, end


def _matches(text: str, wanted: tuple[Term, ...]) -> list[Span]:
    """Matches of each word of the terms in ``text``, ordered by start."""
    lexemes, spans = lexemes_with_spans(text)
    matches: set[Span] = set()
    for number, term in enumerate(wanted):
        for first in _begins(lexemes, term.lexemes):
            found = zip(term.lexemes, spans[first : first + len(term.lexemes)], strict=True)
            matches.update((start, end, number) for word, (start, end) in found if word is not None)
    return sorted(matches)


def _in_prose(text: str, begins: re.Pattern[str], terms: Mapping[str | None, Sequence[tuple[int, Term]]]) -> list[Span]:
    """As `_matches`, testing only words with the first letter of a term: stemming never changes a first letter."""
    matches: list[Span] = []
    for match in begins.finditer(text):
        for number, term in terms.get(lexeme(match.group().lower()), ()):
            matches.append((*match.span(), number))
            if len(term.lexemes) > 1:
                following = islice(_WORD.finditer(text, match.end()), len(term.lexemes) - 1)
                matches[-1:] = _phrase([match, *following], number, term)
    return sorted(set(matches)) if len(terms) > 1 or len(matches) > 1 else matches


def _phrase(words: Sequence[re.Match[str]], number: int, term: Term) -> list[Span]:
    """Spans of ``words`` that are lexemes of the term, if all of the term matches; else none."""
    if len(words) < len(term.lexemes):
        return []
    pairs = [(word, wanted) for word, wanted in zip(words, term.lexemes, strict=True) if wanted is not None]
    if any(lexeme(word.group().lower()) != wanted for word, wanted in pairs):
        return []
    return [(*word.span(), number) for word, _ in pairs]


def _beginnings(wanted: tuple[Term, ...]) -> tuple[re.Pattern[str], dict[str | None, list[tuple[int, Term]]]]:
    """(pattern of words with a first letter of ``wanted``, numbered terms by their first lexeme)."""
    terms: dict[str | None, list[tuple[int, Term]]] = {}
    for number, term in enumerate(wanted):
        terms.setdefault(term.lexemes[0], []).append((number, term))
    letters = "".join(sorted({first[0] for first in terms if first and "a" <= first[0] <= "z"}))
    if not letters:
        return re.compile(r"(?!)"), terms
    # The letter is matched before the look-behind, so the regex engine skips quickly to possible letters.
    return re.compile(rf"[{letters}{letters.upper()}](?<![A-Za-z].)[A-Za-z]*"), terms


def _begins(lexemes: list[str | None], wanted: tuple[str | None, ...]) -> Iterator[int]:
    """Positions in ``lexemes`` at which ``wanted``, whose first item is not None, begins."""
    at, last = -1, len(lexemes) - len(wanted) + 1
    for _ in range(lexemes.count(wanted[0])):
        at = lexemes.index(wanted[0], at + 1)
        if at < last and all(word is None or word == lexemes[at + i] for i, word in enumerate(wanted)):
            yield at


def _best_window(spans: list[Span]) -> tuple[int, int]:
    """[first, last) spans of the best window; a single span if it alone is wider than a window."""
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
    """The next start of a word at or after ``start``, at most ``limit``; ``start`` itself if there is none."""
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
