"""Changes the tempo of speech at constant pitch, by waveform-similarity overlap-add (WSOLA).

Windows of the audio are overlapped at another distance, each shifted so that it continues the previous one (Verhelst and
Roelands, ICASSP 1993). FFmpeg's ``atempo`` does the same, but aborts the process on some inputs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.pcm import to_float, to_int16
from schemas.domain import Seconds

_WINDOW_SECS: Final[Seconds] = 0.03
_SEARCH_SECS: Final[Seconds] = 0.01
"""Largest shift of a window: more than half a period of the lowest voices."""
_SILENCE: Final = 1e-6


class Tempo:
    """A stream: `feed` it ``(num_samples,) int16`` mono and use what each call returns; `finish` returns the rest."""

    def __init__(self, factor: float, rate_hz: int) -> None:
        """``factor``: 2 is twice as fast. ``rate_hz``: sample rate of the audio."""
        self._factor = factor
        self._hop = round(_WINDOW_SECS * rate_hz / 2)
        self._search = round(_SEARCH_SECS * rate_hz)
        self._fade = np.hanning(2 * self._hop + 1)[:-1].astype(np.float32)
        self._sound = np.zeros(0, np.float32)
        """The part of the input that is still needed."""
        self._start = 0
        """Position of the first sample of `_sound` in the whole input."""
        self._fed = 0
        self._windows = 0
        self._last = 0
        """Position of the latest window."""
        self._overlap = np.zeros(self._hop, np.float32)
        self._sent = 0

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """The output that is complete after these samples."""
        self._sound = np.concatenate((self._sound, to_float(samples)))
        self._fed += samples.size
        return self._made(self._fed)

    def finish(self) -> NDArray[np.int16]:
        """The remaining samples; the whole output is as long as the input divided by the factor."""
        length = round(self._fed / self._factor)
        windows = length // self._hop + 2
        reach = self._position(windows) + 4 * self._hop + self._search
        self._sound = np.concatenate((self._sound, np.zeros(max(0, reach - self._fed), np.float32)))
        sent = self._sent
        return self._made(reach)[: max(0, length - sent)]

    def _position(self, window: int) -> int:
        return round(window * self._hop * self._factor)

    def _made(self, available: int) -> NDArray[np.int16]:
        pieces: list[NDArray[np.float32]] = []
        while True:
            wanted = self._position(self._windows)
            follows = self._last + self._hop
            if max(wanted + self._search, follows) + 2 * self._hop > available:
                break
            begin = self._nearest(wanted, follows) if self._windows else 0
            window = self._sound[begin - self._start : begin - self._start + 2 * self._hop] * self._fade
            if not self._windows:
                # Nothing precedes the first window, so it has its full level from the start.
                window[: self._hop] = self._sound[: self._hop]
            pieces.append(self._overlap + window[: self._hop])
            self._overlap = window[self._hop :]
            self._last = begin
            self._windows += 1
            self._forget(min(begin + self._hop, max(0, self._position(self._windows) - self._search)))
        made = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        self._sent += made.size
        return to_int16(made)

    def _nearest(self, wanted: int, follows: int) -> int:
        """The position around ``wanted`` at which the audio is most similar to the continuation of the latest window."""
        size = 2 * self._hop
        first = max(wanted - self._search, self._start)
        around = self._sound[first - self._start : wanted + self._search + size - self._start]
        natural = self._sound[follows - self._start : follows - self._start + size]
        likeness = np.correlate(around, natural, "valid")
        squares = np.concatenate(([0.0], np.cumsum(np.square(around, dtype=np.float64))))
        energy = squares[size:] - squares[:-size]
        return first + int(np.argmax(likeness / np.sqrt(energy + _SILENCE)))

    def _forget(self, position: int) -> None:
        """Drop the input before ``position``."""
        used = min(max(0, position - self._start), self._sound.size)
        self._sound = self._sound[used:]
        self._start += used
