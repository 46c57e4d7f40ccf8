"""Fits the confidence of Whisper's words on rendered readings, and measures it on held-out voices and sentences.

    python -m benchmarks.quality.tuning.word_confidence FOLDER MODEL...

FOLDER is what `benchmarks.quality.tuning.rendered_readings` made; MODEL is one of the catalogue (whisper-base,
whisper-tiny.en). Every reading is recognised clean and with white noise at 30 to 0 dB. A word is right if an alignment
pairs it with the same word of the text, both normalised. Weights and errors are written to
``serve/engines/asr/whisper_confidence.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jiwer
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.quality.scores import normalized
from benchmarks.quality.tuning.rendered_readings import Reading, load, with_noise
from schemas.domain import RecognizeOptions, Word
from schemas.settings import EngineSettings, Settings
from serve.engines.asr.whisper import load_model
from serve.engines.asr.whisper_confidence import FEATURES, FILE, logistic
from serve.engines.asr.whisper_listener import WhisperListener
from serve.engines.registry import choice

SNRS_DB: Final = (None, 30.0, 20.0, 10.0, 5.0, 0.0)
BINS: Final = 10


@dataclass(frozen=True, slots=True)
class ReadingWords:
    """``found``: ``(num_words, num_features)``. ``right``: ``(num_words,) bool``."""

    found: NDArray[np.float64]
    right: NDArray[np.bool_]


class _Recorder:
    """A calibration that records the features it is called with."""

    def __init__(self) -> None:
        self.rows: list[NDArray[np.float64]] = []

    def __call__(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        self.rows.append(found)
        return np.full(len(found), 0.5)


def features_of(model: str, readings: Sequence[Reading]) -> ReadingWords:
    """Features of every word that ``model`` recognises in the readings, at all noise levels, and whether it is right."""
    recorder = _Recorder()
    settings = Settings(engines=EngineSettings(asr_engine="whisper", asr_model=model, device="cpu"))
    listener = WhisperListener(load_model(choice(settings, "recognizer")), recorder)
    right: list[bool] = []
    for seed, reading in enumerate(readings):
        for snr_db in SNRS_DB:
            samples = reading.samples if snr_db is None else with_noise(reading.samples, snr_db, seed)
            (recognition,) = listener([samples], RecognizeOptions("en"))
            right += are_right(reading.text, recognition.words)
    return ReadingWords(np.concatenate(recorder.rows), np.asarray(right))


def are_right(text: str, words: Sequence[Word]) -> list[bool]:
    """Whether each word is paired with the same word of ``text``, by an alignment of both, normalised word by word."""
    if not words:
        return []
    spelt = [normalized(word.text).split() for word in words]
    owners = [number for number, tokens in enumerate(spelt) for _ in tokens]
    joined = [token for tokens in spelt for token in tokens]
    aligned = jiwer.process_words(normalized(text), " ".join(joined)).alignments[0]
    wrong = {
        owners[place]
        for chunk in aligned
        if chunk.type in ("substitute", "insert")
        for place in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
    }
    return [number not in wrong for number in range(len(words))]


def calibration_error(chances: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean distance of confidence from the share of right words, over equal bins of [0, 1]."""
    places = np.minimum((chances * BINS).astype(int), BINS - 1)
    errors = [
        np.mean(places == place) * abs(chances[places == place].mean() - right[places == place].mean())
        for place in range(BINS)
        if (places == place).any()
    ]
    return float(np.sum(errors))


def measure(chances: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, float]:
    return {
        "words": len(right),
        "right": round(float(right.mean()), 4),
        "calibration_error": round(calibration_error(chances, right), 4),
        "auc": round(float(roc_auc_score(right, chances)), 4),
    }


def fit(model: str, folder: Path) -> dict[str, Any]:
    """Weights, and the errors on the fitted and on the held-out words."""
    sets = {name: features_of(model, load(folder, name)) for name in ("fit", "check")}
    regression = LogisticRegression(max_iter=1000).fit(sets["fit"].found, sets["fit"].right)
    weights, bias = [round(float(w), 4) for w in regression.coef_[0]], round(float(regression.intercept_[0]), 4)
    errors = {name: measure(logistic(weights, bias)(one.found), one.right) for name, one in sets.items()}
    raw = 1 / (1 + np.exp(-sets["check"].found[:, 0]))
    errors["check_mean_probability"] = measure(raw, sets["check"].right)
    return {"weights": weights, "bias": bias, "errors": errors}


def main(folder: Path, models: Sequence[str]) -> None:
    fitted = {model: fit(model, folder) for model in models}
    about = (
        "Kokoro readings of benchmarks/quality/tuning/rendered_readings.py, clean and with white noise at 30, 20, 10, 5 "
        "and 0 dB; fit and check share no voice and no sentence; 10 bins"
    )
    FILE.write_text(json.dumps({"features": FEATURES, "fitted_on": about, "models": fitted}, indent=2) + "\n", "utf-8")
    print(json.dumps(fitted, indent=2), file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
