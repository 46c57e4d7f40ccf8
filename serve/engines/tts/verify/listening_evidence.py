"""Compares recognised with expected words: the features of the decision, and the words that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.engines import Samples
from serve.engines.tts.verify.listening import AlignedWord, Listening
from serve.engines.tts.verify.pronunciation import Comparison
from serve.engines.tts.verify.sound_end import end_level_db

_LEAST_LOG_PROBABILITY: Final = -15.0
_MOST_PHONES: Final = 4.0
_MOST_DIFFERING, _ANY_PHONE = 2, 0.2
_LEAST_WORD_SECS: Final = 0.02
_WRONG_SHARE, _MISSING_SHARE = 0.25, 0.8
"""A word of which a larger share of phones differs counts as replaced or missing."""
_SAME_SHARE: Final = 0.15
"""A word of which a smaller share of phones differs counts as spoken as expected."""
_ADDED_PHONES: Final = 1.5
"""More phones than this between two words count as an added word."""


@dataclass(frozen=True, slots=True)
class ListeningFeatures:
    """Costs are in phones (`pronunciation.Comparison`), probabilities in nats, durations as logarithms of ratios."""

    worst_word_phones: float
    worst_word_share: float
    share: float
    """Cost of all words divided by the number of expected phones."""
    differing_words: float
    """Number of words with any different phone, at most two: Whisper writes an unlikely word only if it is clear."""
    added_phones: float
    """Largest cost of phones between two words."""
    worst_word: float
    """Log-probability of the least probable word."""
    second_worst_word: float
    mean_word: float
    last_word: float
    loss: float
    """Log-probability of the words minus that of as many freely decoded tokens; 0 where the words fit better."""
    squeezed: float
    """Log duration of the word with the least time for its phones, relative to the passage's rate."""
    last_word_time: float
    end_level_db: float
    """See `sound_end.end_level_db`."""

    def vector(self) -> NDArray[np.float64]:
        return np.asarray(astuple(self), np.float64)


LISTENING_DIRECTIONS: Final = {
    **dict.fromkeys(("worst_word_phones", "worst_word_share", "share", "differing_words", "added_phones"), 1),
    **dict.fromkeys(("worst_word", "second_worst_word", "mean_word", "last_word", "loss"), -1),
    **dict.fromkeys(("squeezed", "last_word_time"), -1),
    "end_level_db": 1,
}
"""Sign of the weight of each of `ListeningFeatures`, in their order; see `decision.fit`."""

LISTENING_FEATURES: Final = tuple(LISTENING_DIRECTIONS)


@dataclass(frozen=True, slots=True)
class ListeningEvidence:
    """Numbers of words count expected words and cues from 0; ``added_before`` may be their total number.

    ``worst`` is the least probable word.
    """

    features: ListeningFeatures
    worst: int
    wrong: tuple[int, ...]
    missing: tuple[int, ...]
    added_before: tuple[int, ...]

    @property
    def num_errors(self) -> int:
        return len(self.wrong) + len(self.missing) + len(self.added_before)


def weigh_listening(
    samples: Samples, listening: Listening, comparison: Comparison, as_written: NDArray[np.bool_]
) -> ListeningEvidence:
    """Features of a passage in which at least one word has phones.

    ``comparison`` and ``as_written``, ``(num_expected,)``, cover words and cues; ``listening.expected`` covers words.
    ``as_written``: whether Whisper writes the word in the same way. A word that sounds as expected but is written
    differently ("9" for nine) has a low probability without any error, so its probability is not used.
    """
    found = [number for number, count in enumerate(comparison.num_phones) if count]
    costs, num_phones = comparison.word_costs[found], comparison.num_phones[found]
    words = listening.expected
    telling = as_written[found] | (costs / num_phones > _SAME_SHARE)
    found_probabilities = np.asarray([word.log_probability for word in words])
    probabilities = np.where(telling, np.maximum(found_probabilities, _LEAST_LOG_PROBABILITY), 0.0)
    num_tokens = np.asarray([word.num_tokens for word in words])
    ranked = np.sort(probabilities)
    times = _relative_times(words, num_phones)
    features = ListeningFeatures(
        worst_word_phones=min(_MOST_PHONES, float(costs.max())),
        worst_word_share=float(min(1.0, (costs / num_phones).max())),
        share=float(min(1.0, costs.sum() / num_phones.sum())),
        differing_words=float(min(_MOST_DIFFERING, (costs > _ANY_PHONE).sum())),
        added_phones=min(_MOST_PHONES, float(comparison.gap_costs.max())),
        worst_word=float(ranked[0]),
        second_worst_word=float(ranked[min(1, len(ranked) - 1)]),
        mean_word=float(probabilities.mean()),
        last_word=float(probabilities[-1]),
        loss=float(np.clip((found_probabilities - listening.score * num_tokens)[telling].sum(), -20.0, 0.0)),
        squeezed=float(max(-3.0, times.min())),
        last_word_time=float(np.clip(times[-1], -3.0, 2.0)),
        end_level_db=end_level_db(samples),
    )
    return ListeningEvidence(features, found[int(np.argmin(probabilities))], *_errors(comparison))


def _relative_times(words: Sequence[AlignedWord], num_phones: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of each word's time per phone over the passage's median."""
    secs = np.maximum([word.end_secs - word.start_secs for word in words], _LEAST_WORD_SECS) / num_phones
    return np.asarray(np.log(secs / np.median(secs)))


def _errors(comparison: Comparison) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    shares = comparison.word_costs / np.maximum(1, comparison.num_phones)
    missing = tuple(int(n) for n in np.flatnonzero(shares > _MISSING_SHARE))
    wrong = tuple(int(n) for n in np.flatnonzero((shares > _WRONG_SHARE) & (shares <= _MISSING_SHARE)))
    added = tuple(int(n) for n in np.flatnonzero(comparison.gap_costs > _ADDED_PHONES))
    return wrong, missing, added
