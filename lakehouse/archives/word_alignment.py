"""Aligning two transcripts of one recording word by word, with the fewest substitutions, insertions and deletions.

Levenshtein's algorithm, one row of its matrix at a time. The matrix grows with the square of the length, so long
transcripts are first cut into parts at pauses that both have. Within a part the alignment is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Word

STRETCH_WORDS = 1000
"""Approximate length of a part in words. The matrix of a thousand words takes 4 MB."""


@dataclass(frozen=True, slots=True)
class Step:
    """Positions of two aligned words; None where one side has no word."""

    old: int | None
    new: int | None
    is_error: bool


def align(old: Sequence[Word], new: Sequence[Word]) -> list[Step]:
    """All words of both transcripts, aligned, in order. Two words are equal if their texts are equal."""
    numbers: dict[str, int] = {}
    codes = [np.array([numbers.setdefault(word.text, len(numbers)) for word in some], np.int32) for some in (old, new)]
    steps: list[Step] = []
    for (a, b), (c, d) in _stretches(old, new):
        steps += _exact(codes[0][a:b], codes[1][c:d], a, c)
    return steps


def _stretches(old: Sequence[Word], new: Sequence[Word]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Corresponding ranges of positions in both transcripts, cut at the longest pause in the second half of a part."""
    starts = np.array([word.start_secs for word in new])
    first = begin = 0
    while len(old) - first > STRETCH_WORDS:
        middle, last = first + STRETCH_WORDS // 2, first + STRETCH_WORDS
        pauses = np.array([old[i].start_secs - old[i - 1].end_secs for i in range(middle, last)])
        cut = middle + int(pauses.argmax())
        end = max(begin, int(starts.searchsorted((old[cut - 1].end_secs + old[cut].start_secs) / 2)))
        yield (first, cut), (begin, end)
        first, begin = cut, end
    yield (first, len(old)), (begin, len(new))


def _exact(old: NDArray[np.int32], new: NDArray[np.int32], first: int, begin: int) -> list[Step]:
    """The alignment of two parts that start at positions ``first`` and ``begin``."""
    costs = _matrix(old, new)
    steps: list[Step] = []
    i, j = len(old), len(new)
    while i or j:
        if i and j and costs[i, j] == costs[i - 1, j - 1] + (old[i - 1] != new[j - 1]):
            i, j = i - 1, j - 1
            steps.append(Step(first + i, begin + j, bool(old[i] != new[j])))
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            steps.append(Step(first + i, None, is_error=True))
        else:
            j -= 1
            steps.append(Step(None, begin + j, is_error=True))
    return steps[::-1]


def _matrix(old: NDArray[np.int32], new: NDArray[np.int32]) -> NDArray[np.int32]:
    """``(len(old) + 1, len(new) + 1)``: the fewest errors between the first words of both."""
    positions = np.arange(len(new) + 1, dtype=np.int32)
    costs = np.empty((len(old) + 1, len(new) + 1), np.int32)
    costs[0] = positions
    for i, code in enumerate(old):
        above = costs[i]
        row = above + 1
        np.minimum(row[1:], above[:-1] + (new != code), out=row[1:])
        # An insertion costs one more than its left neighbour: the minimum of all to the left, each plus its distance.
        costs[i + 1] = np.minimum.accumulate(row - positions) + positions
    return costs
