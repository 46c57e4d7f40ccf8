"""Forms batches of utterances for a model, and cuts long ones into overlapping windows.

Two windows are joined at a word that both recognised at about the same time, the one nearest to the middle of their
overlap. So a word that is cut by a window's edge is taken from the window that has all of it, and no word is lost or
repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds, Word
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.engines.asr.silence_guard import is_speechless

OVERLAP_SECS: Final = 4.0
_MIN_SECS: Final = 0.1
"""Shorter utterances have no words."""
_SAME_WORD_SECS: Final = 0.5
"""Largest difference of the times of one word in two windows."""

RecognizeBatch = Callable[[Sequence[Samples]], list[Recognition]]


@dataclass(frozen=True, slots=True)
class _Window:
    utterance: int
    start_secs: Seconds
    samples: Samples


def recognize_in_windows(
    utterances: Sequence[Samples], recognize_batch: RecognizeBatch, window_secs: Seconds, max_batch: int
) -> list[Recognition]:
    """One Recognition an utterance, in order. ``recognize_batch`` gets at most ``max_batch`` windows of similar lengths.

    Utterances under 0.1 s, silence and steady noise get no words and are not recognised, because a model may find words in
    them. Raises EngineFailure for samples that are not finite.
    """
    for samples in utterances:
        if not np.isfinite(samples).all():
            raise EngineFailure("the utterance holds samples that are not finite numbers")
    windows = [w for index, samples in enumerate(utterances) for w in _windows(index, samples, window_secs)]
    windows.sort(key=lambda window: window.samples.size)
    found: dict[int, list[tuple[Seconds, Recognition]]] = {}
    for first in range(0, len(windows), max_batch):
        batch = windows[first : first + max_batch]
        for window, recognition in zip(batch, recognize_batch([w.samples for w in batch]), strict=True):
            found.setdefault(window.utterance, []).append((window.start_secs, recognition))
    return [_joined(found.get(index, [])) for index in range(len(utterances))]


def join(before: Sequence[Word], after: Sequence[Word], start_secs: Seconds, end_secs: Seconds) -> list[Word]:
    """The words of two windows that overlap from ``start_secs`` to ``end_secs``; all times from one origin."""
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
    # A long utterance has the language of most of its windows, with the highest of their probabilities.
    spoken = [part for _, part in parts if part.language]
    codes = [part.language for part in spoken]
    language = max(dict.fromkeys(codes), key=codes.count) if codes else None
    chances = [p.language_probability for p in spoken if p.language == language and p.language_probability is not None]
    punctuated = any(part.punctuated for _, part in parts)
    return Recognition(tuple(words), language, punctuated, max(chances, default=None))


def _common(
    before: Sequence[Word], early: Sequence[int], after: Sequence[Word], late: Sequence[int]
) -> list[tuple[int, int]]:
    """The longest common subsequence of the words of both, as pairs of indices."""
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
