"""Media files for tests: a staircase of pitches that shows where each second of a recording came out, and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples

BASE_HZ = 500.0
STEP_HZ = 250.0


def staircase(secs: int, rate_hz: int) -> Samples:
    """A tone that is `STEP_HZ` higher in each second."""
    at = np.arange(secs * rate_hz) / rate_hz
    pitch = BASE_HZ + STEP_HZ * np.floor(at)
    return np.asarray(0.4 * np.sin(2 * np.pi * np.cumsum(pitch) / rate_hz), np.float32)


def seconds_in(samples: Samples) -> list[int | None]:
    """Which second of the staircase is in the middle of each second of ``samples`` at 16 kHz; None for silence."""
    found: list[int | None] = []
    for start in range(0, samples.size - SAMPLE_RATE_HZ // 2, SAMPLE_RATE_HZ):
        middle = samples[start + 4_800 : start + 11_200]
        if np.sqrt(np.mean(middle**2)) < 0.02:
            found.append(None)
            continue
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
        pitch = float(spectrum.argmax()) * SAMPLE_RATE_HZ / middle.size
        found.append(round((pitch - BASE_HZ) / STEP_HZ))
    return found


def encode(
    path: Path,
    muxer: str,
    codec: str,
    rate_hz: int,
    *tracks: Samples,
    start_secs: Seconds = 0.0,
    layout: str = "mono",
    default: int | None = None,
    options: dict[str, str] | None = None,
    bit_rate: int | None = None,
) -> Path:
    """Write each of ``tracks``, mono at ``rate_hz``, as an audio track of its own. ``default``: the one that is flagged."""
    with av.open(str(path), "w", format=muxer, options=options or {}) as container:
        streams: list[Any] = []
        for number in range(len(tracks)):
            stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
            if bit_rate:
                stream.bit_rate = bit_rate
            if default is not None:
                stream.disposition = int(number == default)
            streams.append(stream)
        step = rate_hz // 10
        for start in range(0, max(map(len, tracks)), step):
            for stream, samples in zip(streams, tracks, strict=True):
                part = samples[None, start : start + step]
                if part.size:
                    channels = stream.codec_context.channels
                    sound = AudioFrame.from_ndarray(np.repeat(part, channels, axis=0), format="fltp", layout=layout)
                    sound.sample_rate, sound.pts = rate_hz, start + round(start_secs * rate_hz)
                    container.mux(stream.encode(sound))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def packets(path: Path, demuxer: str | None = None) -> list[tuple[int, int]]:
    """(offset, size) of each packet of sound."""
    with av.open(str(path), format=demuxer) as container:
        return [(p.pos, p.size) for p in container.demux(audio=0) if p.pos is not None and p.size]
