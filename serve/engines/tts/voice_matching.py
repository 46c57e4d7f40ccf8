"""Voice matching: adapts a synthesiser's own voices to resemble a reference clip. It does not clone a person.

Common parts of all engines' matchers: the similarity of two recordings, and equalising the long-term spectrum of one to
that of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.speech import VoiceProfile
from serve.engines.diarization.voiceprint import WINDOW_FRAMES, Voiceprint, mel_power, raise_volume
from serve.engines.tts.equalizer import BANDS_HZ, band_levels_db

LONGEST_SECS: Final = 30.0
"""Longest part of a clip that is used."""
_WINDOW_HOP_FRAMES: Final = 80
_DYNAMIC_DB: Final = 65.0
_PEAK: Final = 0.9

Progress = Callable[[float, float], None]
"""Called with the finished share of the search, in [0, 1], and the best similarity so far."""


@dataclass(frozen=True, slots=True)
class Match:
    """``similarity``: cosine of the voiceprints of clip and rendering. It was maximised, so it is slightly optimistic."""

    voice: VoiceProfile
    similarity: float


class VoiceMatcher(Protocol):
    """Holds an engine and the speaker encoder. Not thread-safe."""

    def match(self, reference: Samples, voice_id: str, progress: Progress | None = None) -> Match:
        """The voice most similar to ``reference``, ``(num_samples,) float32`` at 24 kHz of one person.

        Raises InvalidAudio for a clip that is too short, silent, or without a voice.
        """
        ...


class SpeakerEncoder:
    """Resemblyzer's voiceprints of audio at 24 kHz."""

    def __init__(self) -> None:
        """Raises Unavailable where the encoder's weights are missing."""
        self._voiceprint = Voiceprint()

    def windows(self, samples: Samples) -> NDArray[np.float32]:
        """``(num_windows, 256) float32``, L2-normalised: a voiceprint of each 1.6 s, 0.8 s apart."""
        mels = mel_power(raise_volume(np.asarray(soxr.resample(samples, SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32)))
        if len(mels) < WINDOW_FRAMES:
            mels = np.pad(mels, ((0, WINDOW_FRAMES - len(mels)), (0, 0)), mode="wrap")
        starts = range(0, len(mels) - WINDOW_FRAMES + 1, _WINDOW_HOP_FRAMES)
        return self._voiceprint.embed(np.stack([mels[i : i + WINDOW_FRAMES] for i in starts]))

    def embed(self, samples: Samples) -> NDArray[np.float32]:
        """``(256,) float32``, L2-normalised: the mean voiceprint of ``samples``."""
        mean = self.windows(samples).mean(axis=0)
        normalised: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return normalised


def spectrum_difference_db(reference: Samples, own: Samples, limit_db: float) -> NDArray[np.float64]:
    """``(num_bands,)`` gains, at most ``limit_db`` either way, that bring the long-term spectrum of ``own`` to that of
    ``reference``, both at 24 kHz; smooth over neighbouring bands."""
    levels = band_levels_db(reference)
    difference = levels - band_levels_db(own)
    # A clip that was sampled at 16 kHz has nothing above 8 kHz.
    audible = levels > levels.max() - _DYNAMIC_DB
    difference = np.interp(np.arange(levels.size), np.flatnonzero(audible), difference[audible])
    smooth = np.convolve(np.pad(difference, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    gains: NDArray[np.float64] = np.clip(smooth - np.median(smooth), -limit_db, limit_db)
    return gains


def with_equal_level(gains_db: NDArray[np.float64], own: Samples, colored: Samples) -> tuple[float, ...]:
    """``gains_db`` shifted so that ``colored``, which is ``own`` with them, is as loud as ``own`` and does not clip."""
    gain = min(own.std() / colored.std(), _PEAK / np.abs(colored).max())
    return rounded(gains_db + 20 * np.log10(gain))


def rounded(gains_db: NDArray[np.float64]) -> tuple[float, ...]:
    """Gains rounded for a profile. Raises ValueError unless there is one for each band of the equaliser."""
    if len(gains_db) != len(BANDS_HZ):
        raise ValueError(f"{len(gains_db)} gains for the {len(BANDS_HZ)} bands of the equaliser")
    return tuple(round(float(gain), 2) for gain in gains_db)
