"""Encodes to WAV, raw PCM, Ogg Opus, FLAC, MP3 and AAC, as a stream or as a complete file."""

from __future__ import annotations

import asyncio
import io
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
from audio.raw_pcm import RawFormat, wav_header
from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ

Format: TypeAlias = Literal["wav", "opus", "flac", "mp3", "aac", "pcm"]
Pcm: TypeAlias = NDArray[np.int16]
"""``(num_samples,) int16`` mono."""

MEDIA_TYPES: dict[Format, str] = {
    "wav": "audio/wav",
    "opus": "audio/ogg; codecs=opus",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}

_BITS_PER_SEC: dict[Format, int] = {"mp3": 64_000, "aac": 64_000}
_SAMPLE_FORMATS: dict[Format, str] = {"mp3": "s16p", "aac": "fltp"}
_CONTAINERS: dict[Format, str] = {"opus": "ogg", "aac": "adts"}
_OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
_MPEG_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_PLAYBACK_BLOCK_SAMPLES = 10 * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class _Opus:
    """Options of libopus. ``effort`` is its complexity, 0 to 10; ``page_secs`` is the length of an Ogg page."""

    application: str
    effort: int
    frame_ms: int
    page_secs: float
    bits_per_sec: int = 32_000


_LIVE = _Opus("voip", effort=5, frame_ms=20, page_secs=0.1)
_COMPLETE = _Opus("voip", effort=10, frame_ms=20, page_secs=1.0)
# Playback copies are encoded while recognisers need the cores. These options take a seventh of the time of those above.
# Effort 1 takes a third more time than effort 0 and is no better (segmental SNR of speech 15.5 dB instead of 16.2).
_PLAYBACK = _Opus("audio", effort=0, frame_ms=60, page_secs=1.0)


class _Drain:
    """A file-like object for a muxer that cannot seek back; `take` returns the bytes written since, in order."""

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
    """One track encoded by FFmpeg into ``file``; a track of two channels gets interleaved samples, and is not
    resampled.
    """

    def __init__(self, file: Any, fmt: Format, rate_hz: int, opus: _Opus, channels: int = 1) -> None:
        self._channels = channels
        self._layout = "stereo" if channels == 2 else "mono"
        self._rate_hz = rate_hz
        self._coded_hz = _coded_rate(fmt, rate_hz)
        self._resampler = Resampler(self._coded_hz)
        options = {"flush_packets": "1"}
        if fmt == "opus":
            options["page_duration"] = str(round(opus.page_secs * 1_000_000))
        self._container = av.open(file, mode="w", format=_CONTAINERS.get(fmt, fmt), options=options)
        codec = {"opus": "libopus", "mp3": "libmp3lame"}.get(fmt, fmt)
        samples = _SAMPLE_FORMATS.get(fmt, "s16")
        stream = self._container.add_stream(codec, rate=self._coded_hz, layout=self._layout, format=samples)
        assert isinstance(stream, AudioStream)  # noqa: S101 - the codecs above are audio codecs
        self._stream = stream
        if fmt in _BITS_PER_SEC:
            stream.bit_rate = _BITS_PER_SEC[fmt]
        if fmt == "opus":
            stream.bit_rate = opus.bits_per_sec * channels
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
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout=self._layout)
        frame.sample_rate = self._coded_hz
        frame.pts = self._sent
        self._sent += len(samples) // self._channels
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


class Encoder:
    """A stream: `feed` it mono int16 at ``rate_hz`` and send what each call returns; `finish` returns the rest.

    WAV streams declare the largest possible size, because sent bytes cannot be rewritten; players read to the end.
    Ogg pages are a tenth of a second, so the first audio is not delayed.
    """

    def __init__(self, fmt: Format, rate_hz: int, *, cheap: bool = False, channels: int = 1) -> None:
        """``cheap``: Opus options that take a fifth of the time, for copies that are encoded concurrently with other work.

        Two ``channels``, which need Opus at one of its own rates, are fed as ``(2 * num_samples,)``, interleaved.
        """
        self.media_type = MEDIA_TYPES[fmt]
        self._drain = _Drain()
        self._muxed: _Muxed | None = None
        if fmt == "wav":
            self._drain.write(wav_header(RawFormat("s16le", rate_hz)))
        elif fmt != "pcm":
            self._muxed = _Muxed(self._drain, fmt, rate_hz, _PLAYBACK if cheap else _LIVE, channels)

    def feed(self, samples: Pcm) -> bytes:
        """Encode ``(num_samples,) int16``; returns the bytes that are complete."""
        if self._muxed is None:
            self._drain.write(samples.astype("<i2", copy=False).tobytes())
        else:
            self._muxed.feed(samples)
        return self._drain.take()

    def finish(self) -> bytes:
        """The remaining bytes of the file."""
        if self._muxed is not None:
            self._muxed.finish()
        return self._drain.take()


class FileEncoder:
    """A complete file written piece by piece: `feed` it mono int16; `finish` puts the true length into its header.

    ``file`` is open for writing, seekable and empty; it is not closed, and is incomplete before `finish`.
    """

    def __init__(self, fmt: Format, rate_hz: int, file: IO[bytes]) -> None:
        self._file, self._fmt, self._rate_hz = file, fmt, rate_hz
        self._num_samples = 0
        self._muxed = None if fmt in ("wav", "pcm") else _Muxed(file, fmt, rate_hz, _COMPLETE)
        if fmt == "wav":
            file.write(wav_header(RawFormat("s16le", rate_hz)))

    def feed(self, samples: Pcm) -> None:
        """Encode ``(num_samples,) int16``."""
        self._num_samples += len(samples)
        if self._muxed is None:
            self._file.write(samples.astype("<i2", copy=False).tobytes())
        else:
            self._muxed.feed(samples)

    def finish(self) -> None:
        """Complete the file, its header included."""
        if self._muxed is not None:
            self._muxed.finish()
        elif self._fmt == "wav":
            self._file.seek(0)
            self._file.write(wav_header(RawFormat("s16le", self._rate_hz), 2 * self._num_samples))
            self._file.seek(0, io.SEEK_END)


def encode(samples: Pcm, fmt: Format, rate_hz: int) -> bytes:
    """A complete file whose header has its true length, from ``(num_samples,) int16`` mono at ``rate_hz``."""
    raw = samples.astype("<i2", copy=False).tobytes()
    if fmt == "pcm":
        return raw
    if fmt == "wav":
        return wav_header(RawFormat("s16le", rate_hz), len(raw)) + raw
    file = io.BytesIO()
    muxed = _Muxed(file, fmt, rate_hz, _COMPLETE)
    muxed.feed(samples)
    muxed.finish()
    return file.getvalue()


async def encode_playback(pcm: Path, target: Path) -> None:
    """Encode the file ``pcm``, raw s16le 16 kHz mono, to the Ogg Opus file ``target`` (32 kb/s), in a thread and in
    bounded memory. Raises OSError if either file cannot be used. Cancelling the call stops the thread within a block and
    leaves no ``target``.
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
    """The codec's sample rate: ``rate_hz`` if the codec supports it, else the next higher supported rate, else the
    highest.
    """
    rates = {"opus": _OPUS_RATES_HZ, "mp3": _MPEG_RATES_HZ, "aac": _MPEG_RATES_HZ}.get(fmt)
    if rates is None:
        return rate_hz
    return next((rate for rate in rates if rate >= rate_hz), rates[-1])
