"""Post-processing of the model's audio: louder emphasised words, equal level of all passages, trimming, fades."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from serve.engines.tts.equalizer import Equalizer
from serve.engines.tts.kokoro_model import FRAME_SAMPLES, Spoken
from serve.engines.tts.silence_trimming import Trimmer

LEVEL_DBFS: Final = -21.0
"""Level of the audible parts of every passage."""
_EMPHASIS_DB: Final = 4.0
_ONSET_LEAD_SAMPLES: Final = round(0.075 * SPEECH_RATE_HZ)
"""A token's audio starts this much earlier than its durations say; measured at the ends of the silence before passages."""
_RAMP_SAMPLES: Final = round(0.03 * SPEECH_RATE_HZ)
_MOST_GAIN_DB: Final = 9.0
_PEAK: Final = 0.95
_LEVEL_FRAME: Final = SPEECH_RATE_HZ // 50
_AUDIBLE_SHARE: Final = 10 ** (-25 / 20)
_DC_POLE: Final = 0.997
"""Pole of the high-pass filter at about 10 Hz."""


def finished(spoken: Spoken, emphasis: NDArray[np.bool_], equalizer_db: tuple[float, ...]) -> Samples:
    """``(num_samples,) float32`` at 24 kHz: the processed audio of a call, ready to be joined with others.

    ``emphasis``: ``(num_tokens,) bool``. Empty where the model returned silence.
    """
    samples = without_dc(spoken.samples)
    if equalizer_db:
        equalizer = Equalizer(equalizer_db)
        samples = np.concatenate((equalizer.feed(samples), equalizer.finish()))
    samples = leveled(samples)
    if emphasis.any():
        samples = limited(samples * emphasis_gain(spoken.durations, emphasis, samples.size))
    trimmer = Trimmer(SPEECH_RATE_HZ)
    return np.concatenate((trimmer.feed(samples), trimmer.finish()))


def leveled(samples: Samples) -> Samples:
    """``samples`` with their audible parts at `LEVEL_DBFS`, changed by 9 dB at most and below clipping."""
    frames = samples[: samples.size // _LEVEL_FRAME * _LEVEL_FRAME].reshape(-1, _LEVEL_FRAME)
    if not frames.size:
        return samples
    rms = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
    audible = rms[rms > _AUDIBLE_SHARE * rms.max()]
    if not audible.size:
        return samples
    gain_db = LEVEL_DBFS - 10 * np.log10(np.square(audible).mean())
    gain = np.float32(10 ** (np.clip(gain_db, -_MOST_GAIN_DB, _MOST_GAIN_DB) / 20))
    return limited(samples * gain)


def limited(samples: Samples) -> Samples:
    """``samples``, attenuated as a whole if their peak would clip."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(_PEAK / peak) if peak > _PEAK else samples


def emphasis_gain(durations: NDArray[np.int64], emphasis: NDArray[np.bool_], num_samples: int) -> Samples:
    """``(num_samples,) float32``: 1, and 4 dB over emphasised tokens, with ramps of 30 ms."""
    ends = np.cumsum(durations)[1:-1] * FRAME_SAMPLES - _ONSET_LEAD_SAMPLES
    starts = ends - durations[1:-1] * FRAME_SAMPLES
    raised = np.zeros(num_samples, np.float32)
    for start, end in zip(starts[emphasis], ends[emphasis], strict=True):
        raised[max(0, start) : max(0, end)] = 1
    window = np.hanning(_RAMP_SAMPLES).astype(np.float32)
    smooth = np.convolve(raised, window / window.sum(), "same")
    gain: Samples = np.float32(10) ** (np.float32(_EMPHASIS_DB / 20) * smooth)
    return gain


def without_dc(samples: Samples) -> Samples:
    """``samples`` without their mean and frequencies below 10 Hz, which would cause steps at joins of passages."""
    filtered = lfilter([1.0, -1.0], [1.0, -_DC_POLE], samples)
    return np.asarray(filtered, np.float32)
