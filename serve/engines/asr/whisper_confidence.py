"""Calibrates Whisper's token probabilities to word confidences: the probability that a word is right.

A logistic function of features of the word, its neighbours and the utterance, fitted by
`benchmarks.quality.tuning.word_confidence` on rendered readings with noise. ``whisper_confidence.json`` holds the weights
of each model, the data they were fitted on, and their errors on held-out voices and sentences.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FILE: Final = Path(__file__).with_name("whisper_confidence.json")
FEATURES: Final = ("mean_probability", "least_probability", "neighbours", "log_prob", "no_speech")
_USUAL: Final = "whisper-base"
"""The model whose weights are used for models without fitted ones."""
_FLOOR: Final = 1e-4

Calibration = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Features, ``(num_words, num_features)``, to confidences in (0, 1), ``(num_words,)``."""


def evidence(probabilities: Sequence[NDArray[np.float64]], log_prob: float, no_speech: float) -> NDArray[np.float64]:
    """``(num_words, num_features)`` of the words of one utterance, as `FEATURES` names the columns.

    ``probabilities``: those of each word's tokens. ``log_prob`` and ``no_speech`` are the utterance's.
    """
    means = _log_odds([float(np.mean(word)) for word in probabilities])
    least = _log_odds([float(np.min(word)) for word in probabilities])
    beside = np.pad(least, 1, mode="edge")
    utterance = np.tile([log_prob, _log_odds([no_speech])[0]], (len(probabilities), 1))
    return np.column_stack((means, least, (beside[:-2] + beside[2:]) / 2, utterance))


def calibration_of(model: str) -> Calibration:
    """The calibration of a model of the catalogue, or that of Whisper base."""
    fitted: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["models"]
    chosen = fitted.get(model, fitted[_USUAL])
    return logistic(chosen["weights"], chosen["bias"])


def logistic(weights: Sequence[float], bias: float) -> Calibration:
    """The logistic function of a weighted sum of the features."""

    def confidences(found: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(found @ np.asarray(weights, np.float64) + bias))))

    return confidences


def _log_odds(probabilities: Sequence[float]) -> NDArray[np.float64]:
    clipped = np.clip(probabilities, _FLOOR, 1 - _FLOOR)
    return np.asarray(np.log(clipped / (1 - clipped)))
