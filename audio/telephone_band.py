"""Detects recordings of telephone lines, which have no energy above 4 kHz and whose speakers are near a microphone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.pcm import FULL_SCALE, PcmFile
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples

_FRAME_SAMPLES: Final = 512
_NUM_FRAMES: Final = 400
"""Frames analysed, evenly spread, so that the time does not depend on the length: about 3 ms."""
_SPEECH_HZ: Final = (300, 3_400)
_ABOVE_HZ: Final = 4_300
_EMPTY_DB: Final = -50.0
"""Energy above the band of a telephone line relative to the energy within it, dB. Telephone speech measures -79 dB and
less, other speech -27 dB and more.
"""


def narrow_band(recording: PcmFile | Samples) -> bool:
    """Whether a file, or ``(num_samples,) float32`` at 16 kHz, is of telephone bandwidth. Silence is not. Only
    `_NUM_FRAMES` frames are analysed, so rare sounds may be missed."""
    frames = _frames(recording)
    if not len(frames):
        return False
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME_SAMPLES), axis=1))).sum(axis=0)
    hz = np.fft.rfftfreq(_FRAME_SAMPLES, 1 / SAMPLE_RATE_HZ)
    speech = power[(hz >= _SPEECH_HZ[0]) & (hz <= _SPEECH_HZ[1])].sum()
    return bool(speech > 0 and power[hz >= _ABOVE_HZ].sum() < speech * 10 ** (_EMPTY_DB / 10))


def _frames(recording: PcmFile | Samples) -> NDArray[np.float64]:
    """``(at most _NUM_FRAMES, 512)`` samples, evenly spread over the recording."""
    samples = recording.as_int16() if isinstance(recording, PcmFile) else recording
    count = min(_NUM_FRAMES, len(samples) // _FRAME_SAMPLES)
    starts = np.linspace(0, len(samples) - _FRAME_SAMPLES, count).astype(np.int64) if count else np.zeros(0, np.int64)
    frames: NDArray[np.float64] = samples[starts[:, None] + np.arange(_FRAME_SAMPLES)].astype(np.float64)
    return frames / FULL_SCALE if isinstance(recording, PcmFile) else frames
