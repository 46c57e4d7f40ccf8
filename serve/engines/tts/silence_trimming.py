"""Trims silence off a stream of rendered speech, and fades its ends so that joins do not click."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples

_AUDIBLE: Final = 10 ** (-50 / 20)
_KEEP_HEAD_SECS: Final = 0.005
_KEEP_TAIL_SECS: Final = 0.030
_FADE_SECS: Final = 0.004


class Trimmer:
    """Streams one rendering without the silence around it and with its ends faded to zero.

    Silence is held back until sound follows, so a pause in the middle of the rendering is kept.
    """

    def __init__(self, rate_hz: int) -> None:
        self._keep_head = round(_KEEP_HEAD_SECS * rate_hz)
        self._keep_tail = round(_KEEP_TAIL_SECS * rate_hz)
        self._fade = round(_FADE_SECS * rate_hz)
        self._held = np.zeros(0, np.float32)
        self._started = False

    def feed(self, samples: Samples) -> Samples:
        """``(num_samples,) float32``; returns the samples that are certain to be kept, which may be none."""
        held = np.concatenate((self._held, samples))
        audible = np.flatnonzero(np.abs(held) > _AUDIBLE)
        if audible.size == 0:
            # Before the first sound only the samples that may become its attack are kept.
            self._held = held if self._started else held[max(0, held.size - self._keep_head) :]
            return held[:0]
        first, end = int(audible[0]), int(audible[-1]) + 1
        if not self._started:
            held = held[max(0, first - self._keep_head) :]
            end -= max(0, first - self._keep_head)
        # The last samples are held back: if they are the end, they are faded.
        end = max(0, end - self._fade)
        ready, self._held = held[:end], held[end:]
        if not self._started and ready.size >= self._fade:
            ready = ready * _ramp(self._fade, ready.size)
            self._started = True
        elif not self._started:
            self._held, ready = held, held[:0]
        return ready

    def finish(self) -> Samples:
        """The end of the rendering, faded out. Nothing if all of it was silence."""
        audible = np.flatnonzero(np.abs(self._held) > _AUDIBLE)
        if audible.size == 0 and not self._started:
            return np.zeros(0, np.float32)
        end = (int(audible[-1]) + 1 if audible.size else 0) + self._keep_tail
        tail = np.asarray(self._held[:end], np.float32)
        if not self._started:
            tail = tail * _ramp(min(self._fade, tail.size), tail.size)
        return tail * _ramp(min(self._fade, tail.size), tail.size)[::-1]


def silence(secs: Seconds, rate_hz: int = SPEECH_RATE_HZ) -> Samples:
    return np.zeros(round(secs * rate_hz), np.float32)


def fade_out(samples: Samples, rate_hz: int = SPEECH_RATE_HZ) -> Samples:
    """``samples`` with their end faded to zero."""
    fade = min(round(_FADE_SECS * rate_hz), samples.size)
    return samples * _ramp(fade, samples.size)[::-1]


def fade_in(samples: Samples, rate_hz: int = SPEECH_RATE_HZ) -> Samples:
    """``samples`` with their beginning faded in from zero."""
    return samples * _ramp(min(round(_FADE_SECS * rate_hz), samples.size), samples.size)


def _ramp(fade: int, size: int) -> Samples:
    """``(size,)``: half a Hann window over the first ``fade`` samples, then ones."""
    gains = np.ones(size, np.float32)
    gains[:fade] = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))
    return gains
