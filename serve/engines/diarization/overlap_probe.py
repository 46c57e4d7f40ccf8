"""The probability of overlapped speech: a linear probe of the speaker encoder's embeddings.

A logistic regression on the embeddings of a window and its two neighbours detects overlapped speech of any two voices with
an area under the curve of .8. Distances to the voices of the recording hardly detect it. Fitted on simulated meetings by
`benchmarks.quality.tuning.overlap_probe`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds
from serve.engines.diarization.resegmentation import Overlap
from serve.engines.diarization.speaker_counting import Embeddings

PROBE_PATH: Final = Path(__file__).with_name("overlap_probe.npz")
_BESIDE_SECS: Final[Seconds] = 0.3
"""Windows at most this far apart are neighbours; a window without one is its own neighbour."""


class OverlapProbe:
    """Only for the embedded encoder, with windows of 1.2 s every 0.2 s."""

    def __init__(self, path: Path = PROBE_PATH) -> None:
        with np.load(path) as stored:
            self._weights, self._bias = stored["weights"].astype(np.float64), float(stored["bias"])

    def __call__(self, embeddings: Embeddings, centers: NDArray[np.float64]) -> Overlap:
        """``(num_windows, 256)`` unit vectors and ``(num_windows,)`` seconds, sorted, to ``(num_windows,)`` in [0, 1]."""
        logits = with_those_beside(embeddings, centers) @ self._weights + self._bias
        return np.asarray(1 / (1 + np.exp(-logits)), np.float64)


def with_those_beside(embeddings: Embeddings, centers: NDArray[np.float64]) -> Embeddings:
    """``(num_windows, 768)``: each window, the one before and the one after."""
    beside = np.diff(centers) <= _BESIDE_SECS
    before, after = embeddings.copy(), embeddings.copy()
    before[1:][beside] = embeddings[:-1][beside]
    after[:-1][beside] = embeddings[1:][beside]
    return np.concatenate((embeddings, before, after), axis=1)
