"""Live audio as browsers send it: Opus in Ogg or WebM."""

from __future__ import annotations

import io

import av
import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples


def contained(samples: Samples, container: str) -> bytes:
    """Mono ``float32`` at 16 kHz as Opus in ``container``, ogg or webm; a WebM of unknown length, as MediaRecorder's is."""
    file = io.BytesIO()
    live = {"live": "1"} if container == "webm" else {"page_duration": "100000"}
    with av.open(file, "w", format=container, options=live) as made:
        stream = made.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples[None] * 32767).astype("<i2"), format="s16", layout="mono")
        frame.rate = SAMPLE_RATE_HZ
        for resampled in av.AudioResampler("s16", "mono", 48_000, frame_size=960).resample(frame):
            made.mux(stream.encode(resampled))
        made.mux(stream.encode(None))
    return file.getvalue()


def tone(secs: float) -> Samples:
    """440 Hz at 16 kHz."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(secs * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)).astype(np.float32)
