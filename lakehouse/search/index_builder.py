"""Builds the inverted index of one account's rows in a part of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.search.lexeme_column import STOP_MARK
from lakehouse.search.postings import Postings
from lakehouse.search.protocols import RowPart

BUILD_ROWS = 65_536
"""Rows that are split into words at once: about 40 MB of words."""
MAX_LINE = 2**31 - 1


def build(part: RowPart, low: int, high: int, max_bytes: int) -> Postings | None:
    """The index of positions ``low`` to ``high``; None if it would take more than ``max_bytes``.

    Blocks, about 4 s for a million short texts. Raises as ``part.read`` does.
    """
    vocabulary: dict[str, int] = {}
    words: list[NDArray[np.int32]] = []
    lengths: list[NDArray[np.int64]] = []
    rows: list[pl.DataFrame] = []
    num_bytes = 0
    for start in range(low, high, BUILD_ROWS):
        frame = part.read(np.arange(start, min(high, start + BUILD_ROWS)))
        texts = frame["lexemes"].fill_null("").str.strip_chars(" ").str.split(" ")
        words.append(_numbered(texts.explode(), vocabulary))
        lengths.append(texts.list.len().to_numpy().astype(np.int64))
        rows.append(frame.drop("lexemes"))
        num_bytes += words[-1].nbytes + int(rows[-1].estimated_size())
        if num_bytes > min(max_bytes, MAX_LINE):
            return None
    offsets = _by_time(part.index.created[low:high])
    line, starts = _lined(np.concatenate(words), np.concatenate(lengths), offsets)
    stop = [vocabulary[mark] for mark in ("", STOP_MARK) if mark in vocabulary]
    bounds, postings = _inverted(line, stop, len(vocabulary))
    return Postings(vocabulary, bounds, postings, starts, offsets, pl.concat(rows, rechunk=True))


def _numbered(words: pl.Series, vocabulary: dict[str, int]) -> NDArray[np.int32]:
    """``(m,) int32``: the number of each word in ``vocabulary``, to which new words are added."""
    different = words.unique()
    numbers = np.array([vocabulary.setdefault(word, len(vocabulary)) for word in different], np.int32)
    codes: NDArray[np.unsignedinteger[Any]] = words.cast(pl.Enum(different)).to_physical().to_numpy()
    return np.take(numbers, codes)


def _by_time(created: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """``(n,)`` offsets of rows, which are in order of id, in order of (time, id); None if that is the same order."""
    return None if np.all(created[:-1] <= created[1:]) else np.argsort(created, kind="stable")


def _lined(
    words: NDArray[np.int32], lengths: NDArray[np.int64], offsets: NDArray[np.int64] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(words in order of rank, start of each rank) from ``words`` in order of offset and their number in each row."""
    if offsets is not None:
        begins = (np.cumsum(lengths) - lengths)[offsets]
        lengths = lengths[offsets]
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
    return bounds, (keys & 0x7FFFFFFF).astype(np.int32)
