"""Word posteriors of pocketsphinx turned into what they are taken for: the chance that the word is right.

A posterior over the decoder's own lattice ranks words well but speaks of a world with no other words in it. A logistic
function of its log-odds, of those of the words beside it and of the utterance's mean was fitted on 821 words of rendered
speech (24 sentences, 4 voices, noise at 40, 25 and 15 dB). On recorded readers, of which it has seen nothing, the mean
distance from the share of right words (five equal bins, 120 words) falls from .12 to .05.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from schemas.domain import Word

_FLOOR: Final = 1e-4
_CEILING: Final = 1 - 1e-3
"""Posteriors beyond these say no more: the decoder reaches 0 and 1 by pruning."""

_OWN: Final = 0.360
_NEIGHBOURS: Final = 0.197
_UTTERANCE: Final = 0.066
_BIAS: Final = 0.235


def calibrated(words: Sequence[Word]) -> tuple[Word, ...]:
    """The words of one utterance with confidences in (0, 1) for posteriors in [0, 1]."""
    if not words:
        return ()
    posterior = np.clip([word.confidence for word in words], _FLOOR, _CEILING)
    odds = np.log(posterior / (1 - posterior))
    beside = np.pad(odds, 1, mode="edge")
    neighbours = (beside[:-2] + beside[2:]) / 2
    score = _OWN * odds + _NEIGHBOURS * neighbours + _UTTERANCE * odds.mean() + _BIAS
    return tuple(
        replace(word, confidence=float(chance)) for word, chance in zip(words, 1 / (1 + np.exp(-score)), strict=True)
    )
