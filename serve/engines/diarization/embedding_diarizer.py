"""The embedded diariser: speaker embeddings of sliding windows, clustered over the whole recording at its end.

Each window is normalised to the level of the encoder's training data. Across a room, voices differ much in level, and the
encoder, whose input is power and not its logarithm, would separate levels instead of voices. Embeddings are then smoothed
over neighbouring windows.

Its limits: at most eight speakers, at most two at once, and a speaker of less than about two seconds in a meeting is often
missed. Telephone calls and interviews are more accurate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.telephone_band import narrow_band
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, SpeakerHint, Turn
from schemas.engines import EngineInfo, Samples, VoiceWindows
from serve.engines.diarization.overlap_probe import OverlapProbe
from serve.engines.diarization.speaker_counting import Embeddings
from serve.engines.diarization.voiceprint import DIM, FRAME_RATE_HZ, HOP, NUM_MELS, Mel, Voiceprint, mel_power
from serve.engines.diarization.weights import describe
from serve.engines.diarization.window_choice import Choose, Indices, embedded
from serve.engines.diarization.window_turns import turns_of_windows

_HOP_SECS: Final = 0.2
"""Distance of window centres. Twice this distance halves the work with the same error rate, but miscounts one more
meeting in nine.
"""
_WINDOW_FRAMES: Final = 120
"""1.2 s. The encoder was trained on 1.6 s but takes any length; shorter windows are faster and follow quick changes."""
_WINDOW_SECS: Final = _WINDOW_FRAMES / FRAME_RATE_HZ
_LEVEL: Final = 10 ** (-30 / 20)
"""RMS of the windows the encoder was trained on, -30 dBFS."""
_FAINTEST: Final = 1e-5
"""RMS below which windows are not amplified, -100 dBFS."""
_MIN_FRAMES: Final = 40
"""Least length of a window, 0.4 s: a shorter span is extended by the frames around it."""


class EmbeddingDiarizer:
    """A `schemas.engines.Diarizer` on one CPU thread, without state. Safe to call from several threads."""

    def __init__(self, choose: Choose = embedded) -> None:
        """Loads and warms the encoder. Raises Unavailable where its weights are not installed."""
        self._choose = choose
        self._voiceprint = Voiceprint()
        self._overlap = OverlapProbe()

    @property
    def info(self) -> EngineInfo:
        return describe()

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """One window each 0.2 s of speech, at least one a span; see `schemas.engines.Diarizer.observe`."""
        duration = len(samples) / SAMPLE_RATE_HZ
        inside = [Span(max(0.0, s.start_secs), min(duration, s.end_secs)) for s in speech]
        inside = [span for span in inside if span.duration_secs > 0]
        if not inside:
            return VoiceWindows(np.zeros(0), np.zeros((0, DIM), np.float32))
        mels = mel_power(samples)
        centers = [_window_centers(span) for span in inside]
        spans = [span for span, found in zip(inside, centers, strict=True) for _ in found]
        middles = np.concatenate(centers)

        def embed(wanted: Indices) -> Embeddings:
            windows = [_window(samples, mels, float(middles[i]), spans[i]) for i in wanted.tolist()]
            return self._voiceprint.embed(np.stack(windows))

        embeddings = self._choose([len(found) for found in centers], embed)
        return VoiceWindows(middles + offset_secs, embeddings, narrow=narrow_band(samples))

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns, of two speakers at once at most, numbered by first speech. No speech or no windows: no turns."""
        return turns_of_windows(windows, speech, hint, self._overlap)


def _window_centers(span: Span) -> NDArray[np.float64]:
    """Middles of the windows of one span, evenly about 0.2 s apart, at least one."""
    count = max(1, round(span.duration_secs / _HOP_SECS))
    return np.asarray(span.start_secs + (np.arange(count) + 0.5) * span.duration_secs / count)


def _window(samples: Samples, mels: Mel, center_secs: Seconds, span: Span) -> Mel:
    """``(120, 40)`` frames of 1.2 s around ``center_secs``, within the span, at `_LEVEL`; what is shorter is repeated."""
    start = max(span.start_secs, min(center_secs - _WINDOW_SECS / 2, span.end_secs - _WINDOW_SECS))
    length = min(_WINDOW_SECS, span.end_secs - start)
    frames = min(len(mels), max(_MIN_FRAMES, int(length * FRAME_RATE_HZ)))
    first = min(int(start * FRAME_RATE_HZ), len(mels) - frames)
    inside = samples[first * HOP : (first + frames) * HOP]
    rms = float(np.sqrt(np.mean(np.square(inside, dtype=np.float64)))) if inside.size else 0.0
    gain = (_LEVEL / rms) ** 2 if rms > _FAINTEST else 1.0
    return np.resize(mels[first : first + frames], (_WINDOW_FRAMES, NUM_MELS)) * np.float32(gain)
