"""Lengths read off headers, against files that FFmpeg wrote."""

from __future__ import annotations

import functools
import io

import av
import numpy as np
import pytest

from audio.durations import duration_secs

pytestmark = pytest.mark.unit

SECS = 4.3

WRITTEN = [
    ("wav", "pcm_s16le", 16_000),
    ("wav", "pcm_s16le", 44_100),
    ("w64", "pcm_s16le", 16_000),
    ("aiff", "pcm_s16be", 44_100),
    ("caf", "pcm_s16le", 48_000),
    ("caf", "alac", 48_000),
    ("au", "pcm_mulaw", 8_000),
    ("flac", "flac", 44_100),
    ("mp4", "aac", 48_000),
    ("mov", "alac", 44_100),
    ("ogg", "libopus", 48_000),
    ("ogg", "flac", 16_000),
    ("mp3", "libmp3lame", 44_100),
    ("mp3", "libmp3lame", 16_000),
    ("adts", "aac", 44_100),
    ("matroska", "libopus", 48_000),
    ("webm", "libopus", 48_000),
]


@functools.cache
def written(container: str, codec: str, rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    rng = np.random.default_rng(3)
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout="mono")
        frame_form = stream.format.name if stream.format else "s16"
        samples = (rng.normal(0, 3000, int(SECS * rate_hz))).astype(np.int16)
        resampler = av.AudioResampler(format=frame_form, layout="mono", rate=rate_hz)
        for at in range(0, samples.size, 4096):
            frame = av.AudioFrame.from_ndarray(samples[None, at : at + 4096], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, at
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def told(data: bytes) -> float | None:
    return duration_secs(lambda at, count: data[at : at + count], len(data))


@pytest.mark.parametrize(("container", "codec", "rate_hz"), WRITTEN)
def test_a_length_is_read_from_the_header(container: str, codec: str, rate_hz: int) -> None:
    assert told(written(container, codec, rate_hz)) == pytest.approx(SECS, rel=0.03, abs=0.06)


def test_what_is_no_recording_has_no_length() -> None:
    assert told(b"") is None
    assert told(b"%PDF-1.7 and so on") is None
    assert told(b"RIFF\x10\x00\x00\x00WAVEfmt ") is None


@pytest.mark.parametrize(("container", "codec", "rate_hz"), WRITTEN)
def test_a_cut_or_damaged_header_never_raises(container: str, codec: str, rate_hz: int) -> None:
    data = written(container, codec, rate_hz)[:3000]
    rng = np.random.default_rng(5)
    for size in range(0, 400, 7):
        told(data[:size])
    for _ in range(60):
        spoilt = bytearray(data)
        for at in rng.integers(8, 300, 6):
            spoilt[at] = int(rng.integers(256))
        length = told(bytes(spoilt))
        assert length is None or length >= 0
