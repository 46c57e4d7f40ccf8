"""Builds the inverted index of a part of a table, in segments of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.search.lexeme_column import STOP_MARK
from lakehouse.search.postings import Postings
from lakehouse.search.protocols import RowKeys, RowPart
from lakehouse.search.shown_rows import ShownRows
from lakehouse.search.terms import Terms

BUILD_ROWS = 16_384
"""Rows that are split into words at once: about 10 MB of words."""
SEGMENT_WORDS = 8_000_000
"""A segment ends with the block of rows that reaches this number: at most 150 MB are sorted at once."""


def build(part: RowPart, columns: tuple[str, ...]) -> Iterator[Postings]:
    """The index of all rows of ``part``, with ``columns`` to show; at least one segment, in order of position.

    Blocks, about 4 s for a million short texts. Raises as ``part.read`` does.
    """
    num_rows = len(part.index.ids)
    segment = _Segment(0)
    for start in range(0, num_rows, BUILD_ROWS):
        segment.add(part.read(np.arange(start, min(num_rows, start + BUILD_ROWS)), [*columns, "lexemes"]))
        if segment.num_words >= SEGMENT_WORDS:
            yield segment.postings(part.index)
            segment = _Segment(segment.first + segment.num_rows)
    if segment.num_rows or not num_rows:
        yield segment.postings(part.index)


@dataclass(slots=True)
class _Segment:
    """Rows from position ``first`` on, to be indexed."""

    first: int
    num_rows: int = 0
    num_words: int = 0
    _vocabulary: dict[str, int] = field(default_factory=dict)
    _words: list[NDArray[np.int32]] = field(default_factory=list)
    _lengths: list[NDArray[np.int64]] = field(default_factory=list)
    _rows: list[pl.DataFrame] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        texts = frame["lexemes"].fill_null("").str.strip_chars(" ").str.split(" ")
        self._words.append(_numbered(texts.explode(), self._vocabulary))
        self._lengths.append(texts.list.len().to_numpy().astype(np.int64))
        self._rows.append(frame.drop("lexemes"))
        self.num_rows += frame.height
        self.num_words += len(self._words[-1])

    def postings(self, keys: RowKeys) -> Postings:
        if not self.num_rows:
            nothing = np.empty(0, np.int32)
            return Postings(self.first, Terms.of([]), np.zeros(1, np.int64), nothing, np.zeros(1, np.int32), None, _NO_ROWS)
        order = _order(keys, self.first, self.num_rows)
        lexemes = sorted(self._vocabulary)
        numbers = np.empty(len(lexemes), np.int32)
        numbers[[self._vocabulary[lexeme] for lexeme in lexemes]] = np.arange(len(lexemes), dtype=np.int32)
        line, starts = _lined(numbers[np.concatenate(self._words)], np.concatenate(self._lengths), order)
        terms = Terms.of(lexemes)
        stop = [number for mark in ("", STOP_MARK) if (number := terms.number(mark)) is not None]
        bounds, postings = _inverted(line, stop, len(lexemes))
        return Postings(self.first, terms, bounds, postings, starts, order, ShownRows.of(pl.concat(self._rows)))


_NO_ROWS = ShownRows((), {})


def _numbered(words: pl.Series, vocabulary: dict[str, int]) -> NDArray[np.int32]:
    """``(m,) int32``: the number of each word in ``vocabulary``, to which new words are added."""
    different = words.unique()
    numbers = np.array([vocabulary.setdefault(word, len(vocabulary)) for word in different], np.int32)
    codes: NDArray[np.unsignedinteger[Any]] = words.cast(pl.Enum(different)).to_physical().to_numpy()
    return np.take(numbers, codes)


def _order(keys: RowKeys, first: int, count: int) -> NDArray[np.int32] | None:
    """``(count,)`` offsets from ``first`` in order of (account, time, id); None if that is the order of positions.

    Positions are in order of (account, id), and a stable sort keeps that order among equal times.
    """
    created = keys.created[first : first + count]
    accounts = keys.starts.searchsorted(np.arange(first, first + count), "right")
    if np.all((created[:-1] <= created[1:]) | (accounts[:-1] < accounts[1:])):
        return None
    return np.lexsort((created, accounts)).astype(np.int32)


def _lined(
    words: NDArray[np.int32], lengths: NDArray[np.int64], order: NDArray[np.int32] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(words in order of rank, start of each rank) from ``words`` in order of offset and their number in each row."""
    if order is not None:
        begins = (np.cumsum(lengths) - lengths)[order]
        lengths = lengths[order]
        inside = np.arange(len(words)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        words = words[np.repeat(begins, lengths) + inside]
    return words, np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


def _inverted(line: NDArray[np.int32], stop: list[int], num_words: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(bounds, postings) of the words of ``line`` without those in ``stop``, as `Postings` has them."""
    positions = np.flatnonzero(~np.isin(line, np.array(stop, np.int32)))
    # Word number and position are packed into one integer, which sorts several times faster than two keys.
    keys = (line[positions].astype(np.int64) << 32) | positions
    keys.sort()
    bounds = keys.searchsorted(np.arange(num_words + 1, dtype=np.int64) << 32)
    return bounds.astype(np.int64), (keys & 0x7FFFFFFF).astype(np.int32)
