"""Sound to bytes: WAV, raw PCM, Ogg Opus, FLAC and MP3, as a stream that is sent while it grows or as a complete file."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from audio.pcm import PcmFile, to_float, to_int16
from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ

Format: TypeAlias = Literal["wav", "opus", "flac", "mp3", "pcm"]
Pcm: TypeAlias = NDArray[np.int16]
"""``(num_samples,) int16`` mono."""

MEDIA_TYPES: dict[Format, str] = {
    "wav": "audio/wav",
    "opus": "audio/ogg; codecs=opus",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "pcm": "audio/pcm",
}

_MP3_BITS_PER_SEC = 64_000
_OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
_MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_UNKNOWN_SIZE = 0xFFFF_FFFF
_PLAYBACK_BLOCK_SAMPLES = 10 * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class _Opus:
    """How libopus is driven. ``effort`` is its complexity, 0 to 10; ``page_secs`` is what one Ogg page holds."""

    application: str
    effort: int
    frame_ms: int
    page_secs: float
    bits_per_sec: int = 32_000


_LIVE = _Opus("voip", effort=5, frame_ms=20, page_secs=0.1)
_COMPLETE = _Opus("voip", effort=10, frame_ms=20, page_secs=1.0)
# Every recording gets a playback copy, beside recognisers that want the cores: this takes a fifth of the time of those
# above, and three quarters of effort 3's, whose copies come no nearer to the sound (segmental SNR 16.0 dB for 15.9).
_PLAYBACK = _Opus("audio", effort=1, frame_ms=60, page_secs=1.0)


class _Drain:
    """What a muxer writes to when nothing can be rewritten: bytes come out at the other end, in order."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class _Muxed:
    """One mono track encoded by FFmpeg into ``file``."""

    def __init__(self, file: Any, fmt: Format, rate_hz: int, opus: _Opus) -> None:
        self._rate_hz = rate_hz
        self._coded_hz = _coded_rate(fmt, rate_hz)
        self._resampler = Resampler(self._coded_hz)
        options = {"flush_packets": "1"}
        if fmt == "opus":
            options["page_duration"] = str(round(opus.page_secs * 1_000_000))
        self._container = av.open(file, mode="w", format="ogg" if fmt == "opus" else fmt, options=options)
        codec = {"opus": "libopus", "mp3": "libmp3lame"}.get(fmt, fmt)
        stream = self._container.add_stream(
            codec, rate=self._coded_hz, layout="mono", format="s16p" if fmt == "mp3" else "s16"
        )
        assert isinstance(stream, AudioStream)  # noqa: S101 - the codecs above are audio codecs
        self._stream = stream
        if fmt == "mp3":
            stream.bit_rate = _MP3_BITS_PER_SEC
        if fmt == "opus":
            stream.bit_rate = opus.bits_per_sec
            stream.options = {
                "application": opus.application,
                "compression_level": str(opus.effort),
                "frame_duration": str(opus.frame_ms),
            }
        self._sent = 0

    def feed(self, samples: Pcm) -> None:
        if self._coded_hz != self._rate_hz:
            samples = to_int16(self._resampler.feed(to_float(samples), self._rate_hz))
        self._encode(samples)

    def finish(self) -> None:
        if self._coded_hz != self._rate_hz:
            self._encode(to_int16(self._resampler.finish()))
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()

    def close(self) -> None:
        self._container.close()

    def _encode(self, samples: Pcm) -> None:
        if not len(samples):
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate = self._coded_hz
        frame.pts = self._sent
        self._sent += len(samples)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


class Encoder:
    """A stream: `feed` it mono int16 at ``rate_hz`` and send what each call returns; `finish` returns the rest.

    WAV streams declare the largest possible size, as nothing can be rewritten once it is sent; players read on to the end.
    Ogg pages are a tenth of a second, so the first sound is not held back.
    """

    def __init__(self, fmt: Format, rate_hz: int, *, cheap: bool = False) -> None:
        """``cheap`` takes a fifth of the time for Opus, for copies made beside work that must not wait for them."""
        self.media_type = MEDIA_TYPES[fmt]
        self._drain = _Drain()
        self._muxed: _Muxed | None = None
        if fmt == "wav":
            self._drain.write(wav_header(rate_hz, None))
        elif fmt != "pcm":
            self._muxed = _Muxed(self._drain, fmt, rate_hz, _PLAYBACK if cheap else _LIVE)

    def feed(self, samples: Pcm) -> bytes:
        if self._muxed is None:
            self._drain.write(samples.astype("<i2", copy=False).tobytes())
        else:
            self._muxed.feed(samples)
        return self._drain.take()

    def finish(self) -> bytes:
        if self._muxed is not None:
            self._muxed.finish()
        return self._drain.take()


class FileEncoder:
    """A complete file written piece by piece: `feed` it mono int16; `finish` puts the true length into its header.

    ``file`` is open for writing, seekable and empty; it is left open, and holds nothing usable before `finish`.
    """

    def __init__(self, fmt: Format, rate_hz: int, file: IO[bytes]) -> None:
        self._file, self._fmt, self._rate_hz = file, fmt, rate_hz
        self._num_samples = 0
        self._muxed = None if fmt in ("wav", "pcm") else _Muxed(file, fmt, rate_hz, _COMPLETE)
        if fmt == "wav":
            file.write(wav_header(rate_hz, None))

    def feed(self, samples: Pcm) -> None:
        self._num_samples += len(samples)
        if self._muxed is None:
            self._file.write(samples.astype("<i2", copy=False).tobytes())
        else:
            self._muxed.feed(samples)

    def finish(self) -> None:
        if self._muxed is not None:
            self._muxed.finish()
        elif self._fmt == "wav":
            self._file.seek(0)
            self._file.write(wav_header(self._rate_hz, 2 * self._num_samples))
            self._file.seek(0, io.SEEK_END)


def encode(samples: Pcm, fmt: Format, rate_hz: int) -> bytes:
    """A complete file whose header tells its true length, from ``(num_samples,) int16`` mono at ``rate_hz``."""
    raw = samples.astype("<i2", copy=False).tobytes()
    if fmt == "pcm":
        return raw
    if fmt == "wav":
        return wav_header(rate_hz, len(raw)) + raw
    file = io.BytesIO()
    muxed = _Muxed(file, fmt, rate_hz, _COMPLETE)
    muxed.feed(samples)
    muxed.finish()
    return file.getvalue()


def wav_header(rate_hz: int, data_bytes: int | None) -> bytes:
    """44 bytes of RIFF header for s16le mono; None for a length not known yet."""
    riff, data = (_UNKNOWN_SIZE, _UNKNOWN_SIZE) if data_bytes is None else (36 + data_bytes, data_bytes)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16, b"data", data
    )


async def encode_playback(pcm: Path, target: Path) -> None:
    """Raw s16le 16 kHz mono at ``pcm`` to an Ogg Opus file at ``target`` (32 kb/s), in a thread and in bounded memory.

    Raises OSError if either cannot be used. A cancelled caller stops the thread within a block; no ``target`` is left then.
    """
    stop = threading.Event()
    try:
        await asyncio.to_thread(_encode_playback, pcm, target, stop)
    finally:
        stop.set()


def _encode_playback(pcm: Path, target: Path, stop: threading.Event) -> None:
    done = False
    try:
        with target.open("wb") as file:
            done = _encode_blocks(PcmFile(pcm), file, stop)
    finally:
        if not done:
            target.unlink(missing_ok=True)


def _encode_blocks(pcm: PcmFile, file: IO[bytes], stop: threading.Event) -> bool:
    muxed = _Muxed(file, "opus", SAMPLE_RATE_HZ, _PLAYBACK)
    for block in pcm.blocks(_PLAYBACK_BLOCK_SAMPLES):
        if stop.is_set():
            muxed.close()
            return False
        muxed.feed(block)
    muxed.finish()
    return True


def _coded_rate(fmt: Format, rate_hz: int) -> int:
    """The rate the codec takes that loses nothing: ``rate_hz`` itself, else the next one above, else its highest."""
    rates = {"opus": _OPUS_RATES_HZ, "mp3": _MP3_RATES_HZ}.get(fmt)
    if rates is None:
        return rate_hz
    return next((rate for rate in rates if rate >= rate_hz), rates[-1])
