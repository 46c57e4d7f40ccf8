"""Utterances made ready for a model that works on batches, and long ones cut into windows that overlap.

The words of two windows are joined at a word both heard at about the same time, the one nearest to the middle of what
they share: so a word at a window's edge, heard there by half, is taken from the window that heard all of it, and none is
lost or told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds, Word
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.asr.conditioning import is_speechless

OVERLAP_SECS: Final = 4.0
_MIN_SECS: Final = 0.1
"""Shorter utterances hold no word."""
_SAME_WORD_SECS: Final = 0.5
"""How far apart two windows may hear one word."""

Hear = Callable[[Sequence[Samples]], list[Recognition]]


@dataclass(frozen=True, slots=True)
class _Window:
    utterance: int
    start_secs: Seconds
    samples: Samples


def recognize_in_windows(
    utterances: Sequence[Samples], hear: Hear, window_secs: Seconds, max_batch: int
) -> list[Recognition]:
    """One Recognition an utterance, in order, from ``hear``, which gets at most ``max_batch`` windows of similar lengths.

    Utterances under 0.1 s and those that hold silence or steady noise only come back without words and are never heard:
    models with a language model inside find words in those. Raises EngineFailure for samples that are not finite.
    """
    for samples in utterances:
        if not np.isfinite(samples).all():
            raise EngineFailure("the utterance holds samples that are not finite numbers")
    windows = [w for index, samples in enumerate(utterances) for w in _windows(index, samples, window_secs)]
    windows.sort(key=lambda window: window.samples.size)
    heard: dict[int, list[tuple[Seconds, Recognition]]] = {}
    for first in range(0, len(windows), max_batch):
        batch = windows[first : first + max_batch]
        for window, recognition in zip(batch, hear([w.samples for w in batch]), strict=True):
            heard.setdefault(window.utterance, []).append((window.start_secs, recognition))
    return [_joined(heard.get(index, [])) for index in range(len(utterances))]


def join(before: Sequence[Word], after: Sequence[Word], start_secs: Seconds, end_secs: Seconds) -> list[Word]:
    """The words of two windows that share ``start_secs`` to ``end_secs``; all times from one origin."""
    middle = (start_secs + end_secs) / 2
    early = [i for i, word in enumerate(before) if _center(word) > start_secs]
    late = [i for i, word in enumerate(after) if _center(word) < end_secs]
    pairs = _common(before, early, after, late)
    if pairs:
        left, right = min(pairs, key=lambda pair: abs(_center(before[pair[0]]) - middle))
        return [*before[: left + 1], *after[right + 1 :]]
    kept = [word for word in before if _center(word) < middle]
    free_from = kept[-1].end_secs if kept else 0.0
    return [*kept, *(word for word in after if _center(word) >= max(middle, free_from))]


def _windows(utterance: int, samples: Samples, window_secs: Seconds) -> list[_Window]:
    if samples.size < _MIN_SECS * SAMPLE_RATE_HZ or is_speechless(samples):
        return []
    size, step = (round(secs * SAMPLE_RATE_HZ) for secs in (window_secs, window_secs - OVERLAP_SECS))
    count = 1 + max(0, -(-(samples.size - size) // step))
    return [_Window(utterance, i * step / SAMPLE_RATE_HZ, samples[i * step : i * step + size]) for i in range(count)]


def _joined(parts: list[tuple[Seconds, Recognition]]) -> Recognition:
    words: list[Word] = []
    for start_secs, part in sorted(parts, key=lambda found: found[0]):
        moved = [
            replace(word, start_secs=word.start_secs + start_secs, end_secs=word.end_secs + start_secs)
            for word in part.words
        ]
        words = join(words, moved, start_secs, start_secs + OVERLAP_SECS) if start_secs else moved
    languages = [part.language for _, part in parts if part.language]
    return Recognition(tuple(words), max(set(languages), key=languages.count) if languages else None)


def _common(
    before: Sequence[Word], early: Sequence[int], after: Sequence[Word], late: Sequence[int]
) -> list[tuple[int, int]]:
    """The longest run of words heard by both, in order, as pairs of places: a longest common subsequence."""
    lengths = np.zeros((len(early) + 1, len(late) + 1), np.int64)
    for row in reversed(range(len(early))):
        for column in reversed(range(len(late))):
            if _is_same(before[early[row]], after[late[column]]):
                lengths[row, column] = 1 + lengths[row + 1, column + 1]
            else:
                lengths[row, column] = max(lengths[row + 1, column], lengths[row, column + 1])
    pairs, row, column = [], 0, 0
    while row < len(early) and column < len(late):
        if _is_same(before[early[row]], after[late[column]]):
            pairs.append((early[row], late[column]))
            row, column = row + 1, column + 1
        elif lengths[row + 1, column] >= lengths[row, column + 1]:
            row += 1
        else:
            column += 1
    return pairs


def _is_same(one: Word, other: Word) -> bool:
    return _plain(one.text) == _plain(other.text) and abs(_center(one) - _center(other)) < _SAME_WORD_SECS


def _plain(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _center(word: Word) -> Seconds:
    return (word.start_secs + word.end_secs) / 2
