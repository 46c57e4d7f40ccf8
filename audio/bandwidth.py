"""Whether a recording came over a telephone line: nothing lies above 4 kHz, and whoever speaks is near a microphone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.pcm import PcmFile
from schemas.domain import SAMPLE_RATE_HZ, Span
from schemas.engines import Samples

_FRAME_SAMPLES: Final = 512
_NUM_FRAMES: Final = 400
"""Frames looked at, evenly spread: hours cost what seconds do, some 7 ms."""
_SPEECH_HZ: Final = (300, 3_400)
_ABOVE_HZ: Final = 4_300
_EMPTY_DB: Final = -50.0
"""What lies above a line's band, against what lies in it. Telephone talk measures -79 dB and less, other speech -27 and
more."""


def narrow_band(recording: PcmFile | Samples) -> bool:
    """Of a file, or of ``(num_samples,) float32`` at 16 kHz. Silence is not narrow; its few frames may miss rare sounds."""
    frames = _frames(recording)
    if not len(frames):
        return False
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME_SAMPLES), axis=1))).sum(axis=0)
    hz = np.fft.rfftfreq(_FRAME_SAMPLES, 1 / SAMPLE_RATE_HZ)
    speech = power[(hz >= _SPEECH_HZ[0]) & (hz <= _SPEECH_HZ[1])].sum()
    return bool(speech > 0 and power[hz >= _ABOVE_HZ].sum() < speech * 10 ** (_EMPTY_DB / 10))


def _frames(recording: PcmFile | Samples) -> NDArray[np.float64]:
    """``(at most _NUM_FRAMES, 512)`` samples, evenly spread over the recording."""
    num_samples = recording.num_samples if isinstance(recording, PcmFile) else len(recording)
    count = min(_NUM_FRAMES, num_samples // _FRAME_SAMPLES)
    starts = np.linspace(0, num_samples - _FRAME_SAMPLES, count).astype(np.int64) if count else np.zeros(0, np.int64)
    found = np.zeros((count, _FRAME_SAMPLES))
    for row, start in zip(found, starts.tolist(), strict=True):
        stop = start + _FRAME_SAMPLES
        if isinstance(recording, PcmFile):
            row[:] = recording.read(Span(start / SAMPLE_RATE_HZ, stop / SAMPLE_RATE_HZ))
        else:
            row[:] = recording[start:stop]
    return found
