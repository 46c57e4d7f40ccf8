"""Voiceprints of the speakers that an engine separates itself, from where only one of them speaks."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds
from schemas.engines import Samples
from serve.engines.diarization.turns import Activity
from serve.engines.diarization.voiceprint import (
    DIM,
    FRAME_RATE_HZ,
    NUM_MELS,
    WINDOW_FRAMES,
    Mel,
    Voiceprint,
    mel_power,
    raise_volume,
)

_MOST_WINDOWS: Final = 16
"""Most windows of 1.6 s in the mean of a voiceprint; more do not improve it."""


class SpeakerPrints:
    """Makes voiceprints; safe to call from several threads."""

    def __init__(self) -> None:
        """Loads and warms the encoder. Raises Unavailable where its weights are not installed."""
        self._voiceprint = Voiceprint()

    def of(self, samples: Samples, active: Activity, frame_secs: Seconds) -> NDArray[np.float32]:
        """``(num_speakers, 256) float32``, L2-normalised. A speaker who is never alone gets a voiceprint with overlap."""
        if not active.shape[1]:
            return np.zeros((0, DIM), np.float32)
        mels = mel_power(raise_volume(samples))
        talks = np.repeat(active, round(frame_secs * FRAME_RATE_HZ), axis=0)[: len(mels)]
        alone = talks & (talks.sum(axis=1, keepdims=True) == 1)
        mels = mels[: len(talks)]
        return np.stack([self._print(mels[a if a.any() else t]) for a, t in zip(alone.T, talks.T, strict=True)])

    def _print(self, mels: Mel) -> NDArray[np.float32]:
        count = max(1, len(mels) // WINDOW_FRAMES)
        windows = np.resize(mels, (count, WINDOW_FRAMES, NUM_MELS))
        chosen = np.linspace(0, count - 1, min(count, _MOST_WINDOWS)).round().astype(np.int64)
        mean = self._voiceprint.embed(windows[chosen]).mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)
