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

from lakehouse.search.rows import Row
from lakehouse.search.websearch import Query, Term

FIRST_STRETCH = 64
"""Postings looked at first for one word alone, each a row or part of one; then ever four times as many."""
LONGER_FIRST_STRETCH = 512
"""The same where other terms will thin them out."""
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

    def rows_at(self, offsets: NDArray[np.int64]) -> list[Row]:
        """Rows in that order. One by one: for a handful, waking the threads of Polars costs more than it saves."""
        names = self.rows.columns
        return [dict(zip(names, self.rows.row(offset), strict=True)) for offset in offsets.tolist()]

    def search(self, query: Query) -> list[Iterator[Stretch]]:
        """For each alternative of ``query`` its matches, newest stretch first; one rank may match several."""
        return [self._alternative(terms) for terms in query.alternatives]

    def _alternative(self, terms: Sequence[Term]) -> Iterator[Stretch]:
        wanted = sorted((term for term in terms if not term.negated), key=self._frequency)
        if wanted and not self._frequency(wanted[0]):
            return
        tested = [*wanted[1:], *(term for term in terms if term.negated and self._frequency(term))]
        length = FIRST_STRETCH if not tested else LONGER_FIRST_STRETCH
        for stretch in self._holding(wanted[0], length) if wanted else self._all(length):
            found = stretch.found
            for term in tested:
                found = found[self._holds(term, found) != term.negated]
            yield Stretch(stretch.oldest, found)

    def _all(self, length: int) -> Iterator[Stretch]:
        end = len(self)
        while end:
            start = max(0, end - length)
            yield Stretch(start, np.arange(start, end))
            end, length = start, min(4 * length, MAX_STRETCH)

    def _holding(self, term: Term, length: int) -> Iterator[Stretch]:
        """The rows that have the term, each once; stretches by postings of its rarest lexeme."""
        before, postings = self._rarest(term)
        end = len(postings)
        while end:
            places = postings[max(0, end - length) : end]
            oldest = int(self.starts.searchsorted(places[0], "right")) - 1
            ranks = self._ranks(self._whole(term, before, places))
            yield Stretch(oldest, ranks[np.flatnonzero(np.diff(ranks, prepend=-1))])
            # A row's earlier places may lie before the stretch; the next one begins before the row.
            end, length = int(postings.searchsorted(self.starts[oldest])), min(4 * length, MAX_STRETCH)

    def _holds(self, term: Term, ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the rows, which ascend, have the term."""
        before, postings = self._rarest(term)
        low, lasts = postings.searchsorted(self.starts[ranks]), self.starts[ranks + 1]
        if len(term.lexemes) == 1:
            found: NDArray[np.bool_] = (low < len(postings)) & (postings[np.minimum(low, len(postings) - 1)] < lasts)
            return found
        counts = postings.searchsorted(lasts) - low
        inside = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        places = self._whole(term, before, postings[np.repeat(low, counts) + inside])
        holds = np.zeros(len(ranks), bool)
        holds[ranks.searchsorted(self._ranks(places))] = True
        return holds

    def _whole(self, term: Term, before: int, places: Places) -> Places:
        """Those of ``places``, of the term's lexeme number ``before``, around which the whole term stands in one row."""
        if len(term.lexemes) == 1:
            return places
        for step, lexeme in enumerate(term.lexemes):
            if lexeme is not None and step != before:
                places = places[_has(self._of(lexeme), places + np.int32(step - before))]
        ranks, begins = self._ranks(places), places - np.int32(before)
        ends = begins + np.int32(len(term.lexemes))
        return places[(begins >= self.starts[ranks]) & (ends <= self.starts[ranks + 1])]

    def _ranks(self, places: Places) -> NDArray[np.int64]:
        return self.starts.searchsorted(places, "right") - 1

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
