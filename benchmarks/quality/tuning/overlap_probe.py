"""Fit the diariser's overlap probe on simulated meetings, and measure it on other voices.

    .venv/bin/python -m benchmarks.quality.tuning.overlap_probe VOICES CACHE

fits a logistic regression on the split ``dev`` of `benchmarks.quality.simulation.measure`, writes it as package data of the
diariser, and prints areas under the curve and average precision on the split ``test``, by kind of recording. A window
counts as overlapped where two or more talk for more than half of the .2 s around its middle. The recording of half an hour
is left out, because it would weigh as much as all meetings of thirty seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.quality.simulation.measure import Observed, observed
from serve.engines.diarization.overlap_probe import PROBE_PATH, OverlapProbe, with_those_beside
from serve.engines.diarization.speaker_counting import Embeddings
from serve.engines.diarization.window_turns import Centers, windows_in

_HALF_HOP_SECS: Final = 0.1
_REGULARISATION: Final = 0.003
"""Inverse strength, on standardised embeddings."""
_LEFT_OUT: Final = "half an hour"


def examples(recordings: Iterable[Observed]) -> tuple[list[tuple[str, Embeddings, Centers]], list[NDArray[np.bool_]]]:
    """Kind, embeddings and middles of the windows in each recording's speech, and which of them are overlapped."""
    heard, overlapped = [], []
    for one in recordings:
        if one.kind == _LEFT_OUT or not one.speech:
            continue
        centers, embeddings = windows_in(one.windows, one.speech)
        talking = np.zeros(len(centers))
        for turn in one.turns:
            last = np.minimum(centers + _HALF_HOP_SECS, turn.end_secs)
            talking += np.maximum(0.0, last - np.maximum(centers - _HALF_HOP_SECS, turn.start_secs))
        heard.append((one.kind, embeddings, centers))
        overlapped.append(talking >= 1.5 * 2 * _HALF_HOP_SECS)
    return heard, overlapped


def fit(features: Embeddings, overlapped: NDArray[np.bool_]) -> tuple[NDArray[np.float32], float]:
    """Weights of the embeddings as they come, and the bias."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-4
    found = LogisticRegression(C=_REGULARISATION, max_iter=500).fit((features - mean) / spread, overlapped)
    weights = found.coef_[0] / spread
    return np.asarray(weights, np.float32), float(found.intercept_[0] - weights @ mean)


def main(voices: Path, cache: Path) -> None:
    heard, overlapped = examples(observed(voices, "dev", cache))
    weights, bias = fit(np.concatenate([with_those_beside(e, c) for _, e, c in heard]), np.concatenate(overlapped))
    np.savez(PROBE_PATH, weights=weights, bias=np.float32(bias))
    print(f"written to {PROBE_PATH}")
    probe = OverlapProbe()
    heard, overlapped = examples(observed(voices, "test", cache))
    found = [probe(embeddings, centers) for _, embeddings, centers in heard]
    for kind in [*dict.fromkeys(kind for kind, _, _ in heard), None]:
        of = [i for i, (name, _, _) in enumerate(heard) if kind in (name, None)]
        truth, guess = np.concatenate([overlapped[i] for i in of]), np.concatenate([found[i] for i in of])
        if truth.any():
            area, precision = roc_auc_score(truth, guess), average_precision_score(truth, guess)
            print(f"{kind or 'all'}: {area:.3f}, average precision {precision:.3f} where {truth.mean():.3f} is overlapped")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
