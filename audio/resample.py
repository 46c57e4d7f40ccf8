"""Sample-rate conversion of a mono stream whose rate may change (chained Ogg, broken MP3)."""

from __future__ import annotations

import numpy as np
import soxr

from schemas.engines import Samples


class Resampler:
    """Mono ``float32`` at any rate in, mono ``float32`` at ``to_rate_hz`` out, by libsoxr at its HQ setting.

    Feed blocks of a tenth of a second or more, because each call costs about 10 µs, whatever its length.
    """

    def __init__(self, to_rate_hz: int) -> None:
        self._to_rate_hz = to_rate_hz
        self._from_rate_hz = to_rate_hz
        self._stream: soxr.ResampleStream | None = None

    def feed(self, samples: Samples, rate_hz: int) -> Samples:
        """``(num_samples,)`` at ``rate_hz``; returns the samples that are ready, which lag by the filter's delay."""
        head = np.zeros(0, np.float32)
        if rate_hz != self._from_rate_hz:
            head = self.finish()
            self._from_rate_hz = rate_hz
        if self._stream is None:
            if rate_hz == self._to_rate_hz:
                return np.concatenate((head, samples)) if len(head) else samples
            self._stream = soxr.ResampleStream(rate_hz, self._to_rate_hz, 1, dtype="float32", quality="HQ")
        body: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return np.concatenate((head, body)) if len(head) else body

    def finish(self) -> Samples:
        """The remaining samples; the resampler can be used again afterwards."""
        stream, self._stream = self._stream, None
        self._from_rate_hz = self._to_rate_hz
        if stream is None:
            return np.zeros(0, np.float32)
        tail: Samples = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        return tail
