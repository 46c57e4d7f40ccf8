"""Audio formats of Realtime clients: s16le at 24 kHz, or G.711 at 8 kHz."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from audio import g711
from audio.pcm import to_float, to_int16
from audio.resample import Resampler
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples

WireFormat = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
_LAWS: Final[dict[str, g711.Law]] = {"audio/pcmu": "mu", "audio/pcma": "a"}


def rate_of(form: WireFormat) -> int:
    """Samples a second."""
    return g711.RATE_HZ if form in _LAWS else SPEECH_RATE_HZ


def bytes_per_sample(form: WireFormat) -> int:
    """2 for PCM, 1 for G.711."""
    return 1 if form in _LAWS else 2


def decode(sound: bytes, form: WireFormat) -> Samples:
    """``(num_samples,) float32`` at the format's rate. PCM must have an even number of bytes."""
    if form in _LAWS:
        return to_float(g711.decode(sound, _LAWS[form]))
    return to_float(np.frombuffer(sound, "<i2"))


def encode(samples: Samples, form: WireFormat) -> bytes:
    """``(num_samples,) float32`` at the format's rate as bytes."""
    whole = to_int16(samples)
    return g711.encode(whole, _LAWS[form]) if form in _LAWS else whole.tobytes()


def converted(samples: Samples, rate_hz: int, form: WireFormat) -> bytes:
    """Complete audio at ``rate_hz`` as bytes of another format."""
    resampler = Resampler(rate_of(form))
    return encode(np.concatenate((resampler.feed(samples, rate_hz), resampler.finish())), form)


class WireEncoder:
    """Encodes a stream at 24 kHz to a client's format; the output lags by the resampling filter's delay."""

    def __init__(self, form: WireFormat) -> None:
        self._form: WireFormat = form
        self._resampler = Resampler(rate_of(form))

    def feed(self, pcm: bytes) -> bytes:
        """``pcm`` is s16le at 24 kHz mono."""
        if self._form == "audio/pcm":
            return pcm
        return encode(self._resampler.feed(to_float(np.frombuffer(pcm, "<i2")), SPEECH_RATE_HZ), self._form)

    def finish(self) -> bytes:
        """The remaining bytes."""
        return encode(self._resampler.finish(), self._form)
