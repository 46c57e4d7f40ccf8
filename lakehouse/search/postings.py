"""An inverted index of successive rows of a part of a table, immutable like the part. Its arrays may be mapped.

The lexemes of all rows are concatenated into one line, account by account and oldest row first. The postings of a lexeme
are its positions in that line, ascending. So an account's postings are contiguous, its newest rows are at their end, and
the words of a phrase are at consecutive positions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.search.shown_rows import ShownRows
from lakehouse.search.terms import Terms
from lakehouse.search.websearch import Query, Term
from lakehouse.storage.array_file import Record
from lakehouse.storage.derived_files import Form

FIRST_STRETCH = 64
"""Postings in the first stretch of a query of one term; each further stretch has four times as many."""
LONGER_FIRST_STRETCH = 512
"""The same for a query of several terms, where fewer postings match."""
MAX_STRETCH = 65_536

Positions = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """An index of ``n`` rows. Offsets count them as the part has them; ranks by account, then time, then id."""

    first: int
    """Position in the part of the row of offset 0."""
    terms: Terms
    bounds: NDArray[np.int64]
    """Postings of lexeme ``i`` are ``line[bounds[i]:bounds[i + 1]]``."""
    line: Positions
    """All postings, lexeme by lexeme."""
    starts: Positions
    """``(n + 1,)`` positions at which the lexemes of each row begin, by rank."""
    order: NDArray[np.int32] | None
    """``(n,)`` offset of each rank, or None if they are equal."""
    rows: ShownRows

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def num_bytes(self) -> int:
        """Size of the arrays."""
        return sum(array.nbytes for array in _pack(self).arrays.values())

    def offsets_of(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Offsets of the rows of ``ranks``."""
        return ranks if self.order is None else self.order[ranks].astype(np.int64)

    def rank_of(self, time: int, low: int, high: int, created: NDArray[np.int64]) -> int:
        """The first of the ranks ``low`` to ``high``, of one account, that is not older than ``time`` (microseconds).

        ``created``: times of the part's rows.
        """
        return bisect_left(range(high), time, low, high, key=lambda rank: created[self.first + self._offset(rank)])

    def of(self, lexeme: str) -> Positions:
        """All postings of ``lexeme``."""
        number = self.terms.number(lexeme)
        return self.line[:0] if number is None else self.line[self.bounds[number] : self.bounds[number + 1]]

    def _offset(self, rank: int) -> int:
        return rank if self.order is None else int(self.order[rank])


def _pack(postings: Postings) -> Record:
    arrays: dict[str, NDArray[Any]] = {**postings.terms.arrays, **postings.rows.arrays}
    arrays |= {"bounds": postings.bounds, "line": postings.line, "starts": postings.starts}
    if postings.order is not None:
        arrays["order"] = postings.order
    return Record({"first": postings.first, "columns": postings.rows.columns}, arrays)


def _unpack(record: Record) -> Postings:
    arrays = record.arrays
    rows = ShownRows(tuple(record.values["columns"]), arrays)
    terms, order = Terms.from_arrays(arrays), arrays.get("order")
    return Postings(record.values["first"], terms, arrays["bounds"], arrays["line"], arrays["starts"], order, rows)


SEARCH_INDEX = Form("search index 2", ".words", _pack, _unpack)


@dataclass(frozen=True, slots=True)
class Stretch:
    """``found``: matching ranks, ascending, from rank ``oldest`` to the beginning of the newer stretch."""

    oldest: int
    found: NDArray[np.int64]


class RankSpan:
    """Ranks ``low`` to ``high`` of an index, of one account, as one query searches them."""

    def __init__(self, postings: Postings, low: int, high: int) -> None:
        self._low, self._high = low, high
        self._postings = postings
        self._starts = postings.starts
        self._line = postings.starts[[low, high]]
        self._known: dict[str, Positions] = {}

    def search(self, query: Query) -> list[Iterator[Stretch]]:
        """For each alternative of ``query`` its matches, newest stretch first. A rank may match several alternatives."""
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
        end = self._high
        while end > self._low:
            start = max(self._low, end - length)
            yield Stretch(start, np.arange(start, end))
            end, length = start, min(4 * length, MAX_STRETCH)

    def _holding(self, term: Term, length: int) -> Iterator[Stretch]:
        """The rows that have the term, each once, in stretches of postings of its rarest lexeme."""
        before, postings = self._rarest(term)
        end = len(postings)
        while end:
            positions = postings[max(0, end - length) : end]
            oldest = int(self._starts.searchsorted(positions[0], "right")) - 1
            ranks = self._ranks(self._whole(term, before, positions))
            yield Stretch(oldest, ranks[np.flatnonzero(np.diff(ranks, prepend=-1))])
            # The oldest row may have more postings before this stretch, so the next stretch ends before that row.
            end, length = int(postings.searchsorted(self._starts[oldest])), min(4 * length, MAX_STRETCH)

    def _holds(self, term: Term, ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``(n,) bool``: which of the rows of ``ranks``, which must ascend, have the term."""
        before, postings = self._rarest(term)
        low, lasts = postings.searchsorted(self._starts[ranks]), self._starts[ranks + 1]
        if len(term.lexemes) == 1:
            found: NDArray[np.bool_] = (low < len(postings)) & (postings[np.minimum(low, len(postings) - 1)] < lasts)
            return found
        counts = postings.searchsorted(lasts) - low
        inside = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        positions = self._whole(term, before, postings[np.repeat(low, counts) + inside])
        holds = np.zeros(len(ranks), bool)
        holds[ranks.searchsorted(self._ranks(positions))] = True
        return holds

    def _whole(self, term: Term, before: int, positions: Positions) -> Positions:
        """Those of ``positions``, of the term's lexeme number ``before``, at which the whole term is within one row."""
        if len(term.lexemes) == 1:
            return positions
        for step, lexeme in enumerate(term.lexemes):
            if lexeme is not None and step != before:
                positions = positions[_has(self._of(lexeme), positions + np.int32(step - before))]
        ranks, begins = self._ranks(positions), positions - np.int32(before)
        ends = begins + np.int32(len(term.lexemes))
        return positions[(begins >= self._starts[ranks]) & (ends <= self._starts[ranks + 1])]

    def _ranks(self, positions: Positions) -> NDArray[np.int64]:
        return self._starts.searchsorted(positions, "right") - 1

    def _of(self, lexeme: str) -> Positions:
        found = self._known.get(lexeme)
        if found is None:
            every = self._postings.of(lexeme)
            first, last = every.searchsorted(self._line)
            found = self._known[lexeme] = every[first:last]
        return found

    def _rarest(self, term: Term) -> tuple[int, Positions]:
        """(number in the term, postings) of the term's lexeme with the fewest postings."""
        known = [(step, self._of(lexeme)) for step, lexeme in enumerate(term.lexemes) if lexeme is not None]
        return min(known, key=lambda pair: len(pair[1]))

    def _frequency(self, term: Term) -> int:
        return len(self._rarest(term)[1])


def _has(postings: Positions, positions: Positions) -> NDArray[np.bool_]:
    """``(n,) bool``: which of ``positions`` are among ``postings``, which must not be empty."""
    at = postings.searchsorted(positions)
    found: NDArray[np.bool_] = postings[np.minimum(at, len(postings) - 1)] == positions
    return found
