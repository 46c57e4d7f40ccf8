"""Where each lexeme stands in one account's rows of a part: an inverted index, immutable like the part.

The lexemes of all rows stand in one line, oldest row first. The postings of a lexeme are its places in that line,
ascending: the newest rows of a word are the end of its postings, and the words of a phrase stand at places that follow
each other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.search.websearch import Query, Term

FIRST_STRETCH = 64
MAX_STRETCH = 65_536
_DICT_ENTRY_BYTES = 100

Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Stretch:
    """``found``: ranks that match, ascending, among those from ``oldest`` on that no stretch before had."""

    oldest: int
    found: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """An index of ``n`` rows; a rank counts from the oldest, an offset from the first as they lie in their part.

    ``vocabulary``: numbers of lexemes. ``line``: postings, those of lexeme ``i`` from ``bounds[i]`` to ``bounds[i + 1]``.
    ``starts``: ``(n + 1,) int32``, where in the line each row's lexemes begin. ``offsets``: ``(n,)``, of each rank, or None
    when rows lie in order of time. ``rows``: by offset, without lexemes, as hits show them.
    """

    vocabulary: dict[str, int]
    bounds: NDArray[np.int64]
    line: Places
    starts: Places
    offsets: NDArray[np.int64] | None
    rows: pl.DataFrame

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def num_bytes(self) -> int:
        """Memory, about."""
        arrays = (self.bounds, self.line, self.starts, self.offsets)
        words = sum(map(sys.getsizeof, self.vocabulary)) + len(self.vocabulary) * _DICT_ENTRY_BYTES
        return sum(a.nbytes for a in arrays if a is not None) + words + int(self.rows.estimated_size())

    def offsets_of(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        return ranks if self.offsets is None else self.offsets[ranks]

    def search(self, query: Query) -> list[Iterator[Stretch]]:
        """For each alternative of ``query`` its matches, newest stretch first; one rank may match several."""
        return [self._alternative(terms) for terms in query.alternatives]

    def _alternative(self, terms: Sequence[Term]) -> Iterator[Stretch]:
        wanted = sorted((term for term in terms if not term.negated), key=self._frequency)
        if wanted and not self._frequency(wanted[0]):
            return
        unwanted = [term for term in terms if term.negated and self._frequency(term)]
        # All candidates hold the first term, if it is one word.
        tested = wanted[1:] if wanted and len(wanted[0].lexemes) == 1 else wanted
        for ranks in self._holding(self._rarest(wanted[0])[1]) if wanted else self._all():
            found = ranks
            for term in (*tested, *unwanted):
                found = found[self._holds(term, found) != term.negated]
            yield Stretch(int(ranks[0]), found)

    def _all(self) -> Iterator[NDArray[np.int64]]:
        end, length = len(self), FIRST_STRETCH
        while end:
            start = max(0, end - length)
            yield np.arange(start, end)
            end, length = start, min(4 * length, MAX_STRETCH)

    def _holding(self, postings: Places) -> Iterator[NDArray[np.int64]]:
        """Ranks of the rows at ``postings``, each once, ascending, in stretches from the newest on."""
        end, length = len(postings), FIRST_STRETCH
        while end:
            ranks = self.starts.searchsorted(postings[max(0, end - length) : end], "right") - 1
            yield ranks[np.concatenate(([True], ranks[1:] != ranks[:-1]))]
            # A row's earlier places may lie before the stretch; the next one begins before the row.
            end, length = int(postings.searchsorted(self.starts[ranks[0]])), min(4 * length, MAX_STRETCH)

    def _holds(self, term: Term, ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows have the term."""
        firsts, lasts = self.starts[ranks], self.starts[ranks + 1]
        before, postings = self._rarest(term)
        low = postings.searchsorted(firsts)
        if len(term.lexemes) == 1:
            return (low < len(postings)) & (postings[np.minimum(low, len(postings) - 1)] < lasts)
        counts = postings.searchsorted(lasts) - low
        rows = np.repeat(np.arange(len(ranks)), counts)
        inside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        at = postings[np.repeat(low, counts) + inside] - np.int32(before)
        kept = (at >= firsts[rows]) & (at + np.int32(len(term.lexemes)) <= lasts[rows])
        at, rows = at[kept], rows[kept]
        for step, lexeme in enumerate(term.lexemes):
            if lexeme is not None and step != before:
                follows = _has(self._of(lexeme), at + np.int32(step))
                at, rows = at[follows], rows[follows]
        holds = np.zeros(len(ranks), bool)
        holds[rows] = True
        return holds

    def _of(self, lexeme: str) -> Places:
        number = self.vocabulary.get(lexeme)
        return self.line[:0] if number is None else self.line[self.bounds[number] : self.bounds[number + 1]]

    def _rarest(self, term: Term) -> tuple[int, Places]:
        """Of the term's lexemes the one with the fewest postings: its place in the term, and its postings."""
        known = [(step, self._of(lexeme)) for step, lexeme in enumerate(term.lexemes) if lexeme is not None]
        return min(known, key=lambda pair: len(pair[1]))

    def _frequency(self, term: Term) -> int:
        return len(self._rarest(term)[1])


def _has(postings: Places, places: Places) -> NDArray[np.bool_]:
    """Which of ``places`` are among ``postings``, of which there are some."""
    at = postings.searchsorted(places)
    found: NDArray[np.bool_] = postings[np.minimum(at, len(postings) - 1)] == places
    return found
