"""Estimates word times from the level of the audio, for models that return no times or only starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Word
from schemas.engines import Samples
from serve.engines.asr.token_words import Token, Vocabulary, in_order, words_of

_FRAME: Final = SAMPLE_RATE_HZ * 20 // 1000
_QUIET_DB: Final = 30.0
"""Frames of 20 ms this far below the loudest are pauses."""
_LONGEST_TAIL_SECS: Final = 0.5


def lasting(words: Sequence[Word], samples: Samples) -> tuple[Word, ...]:
    """Ends for the words of a model that returns starts of tokens, but no durations, or durations of at most four frames.

    A word lasts while there is sound, up to the next word's start or half a second.
    """
    quiet = np.flatnonzero(~_is_loud(samples)) * _FRAME / SAMPLE_RATE_HZ
    duration = int(1000 * samples.size / SAMPLE_RATE_HZ) / 1000
    lengthened = []
    for index, word in enumerate(words):
        pause = np.searchsorted(quiet, word.end_secs)
        limit = words[index + 1].start_secs if index + 1 < len(words) else duration
        end = min(limit, word.end_secs + _LONGEST_TAIL_SECS, float(quiet[pause]) if pause < quiet.size else duration)
        lengthened.append(replace(word, end_secs=round(max(word.end_secs, end), 3)))
    return tuple(lengthened)


def spread(tokens: Sequence[Token], vocabulary: Vocabulary, samples: Samples) -> tuple[Word, ...]:
    """The words of tokens without times, spread over the parts without pauses, in proportion to their text."""
    counted = [replace(token, start_frame=place, end_frame=place + 1) for place, token in enumerate(tokens)]
    # First as indices of tokens, then in seconds.
    words = words_of(counted, vocabulary, 1.0, float(len(tokens)))
    if not words:
        return ()
    lengths = [len(vocabulary.piece(token.id)) for token in tokens]
    written = np.concatenate([[0], np.cumsum(lengths)]) / sum(lengths)
    sounded = _sounding(samples)
    # A word that follows a pause starts after it, and one before a pause ends before it.
    starts = (np.searchsorted(sounded, written, "right") - 1) * _FRAME / SAMPLE_RATE_HZ
    ends = np.searchsorted(sounded, written, "left") * _FRAME / SAMPLE_RATE_HZ
    placed = [
        replace(word, start_secs=float(starts[int(word.start_secs)]), end_secs=float(ends[int(word.end_secs)]))
        for word in words
    ]
    return in_order(placed, samples.size / SAMPLE_RATE_HZ)


def _sounding(samples: Samples) -> NDArray[np.float64]:
    """``(num_frames + 1,)``: the share of all loud frames that lies before each edge of a frame of 20 ms."""
    total = np.concatenate([[0.0], np.cumsum(_is_loud(samples))])
    return np.asarray(total / total[-1])


def _is_loud(samples: Samples) -> NDArray[np.bool_]:
    """``(num_frames,)``: which frames of 20 ms are no pause; at least one."""
    count = max(1, samples.size // _FRAME)
    frames = np.resize(samples, (count, _FRAME)) if count == 1 else samples[: count * _FRAME].reshape(count, -1)
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    return np.asarray(level > level.max() - _QUIET_DB)
