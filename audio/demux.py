"""Untrusted media to mono samples by FFmpeg (PyAV). Runs in a decoding child only.

FFmpeg gets an open file and the name of one demuxer, never a path: any nested open is refused, so playlists, data
references and network protocols lead nowhere. Only the decoders named here run, so a film's video is never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NoReturn

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from schemas.domain import Seconds
from schemas.engines import Samples
from schemas.errors import InvalidAudio

MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000

STREAMING = frozenset({"mp3", "aac", "ogg", "amr"})
"""Containers made to be joined and left anywhere: a damaged or cut packet is silence there, not the end of the file."""

MAX_DAMAGED = 0.1
"""Share of damaged packets above which even a streaming container counts as unreadable."""

# fmt: off
_DECODERS = frozenset({
    "aac", "aac_latm", "ac3", "eac3", "adpcm_g726", "adpcm_g726le", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms",
    "alac", "amrnb", "amrwb", "flac", "g722", "g729", "gsm", "gsm_ms", "libopencore_amrnb", "libopencore_amrwb",
    "libopus", "libspeex", "libvorbis", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "speex",
    "vorbis",
}) | frozenset(name for name in av.codecs_available if name.startswith("pcm_"))
# fmt: on

_FULL_SCALE = {"u8": 128.0, "s16": 32_768.0, "s32": 2_147_483_648.0, "s64": 2.0**63}


_MONO_PCM = b"fmt \x10\x00\x00\x00\x01\x00\x01\x00"
"""From byte 12 of a WAV file: one channel, of plain samples."""


def _probing(file: BinaryIO) -> dict[str, str]:
    """FFmpeg looks for DTS in the start of WAV files, which takes longer than to decode some seconds of them.

    DTS claims two channels: one is believed to be what its header says.
    """
    head = file.read(24)
    file.seek(0)
    return {"probesize": "32"} if head[12:] == _MONO_PCM else {}


def _refuse_nested(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a recording may not open other files")


class Recording:
    """The first audio track of an open file. Raises InvalidAudio for whatever is wrong with it, MemoryError as it is."""

    def __init__(self, file: BinaryIO, demuxer: str) -> None:
        self._demuxer = demuxer
        self._decoded_secs: Seconds = 0.0
        try:
            self._container = av.open(
                file,
                mode="r",
                format=demuxer,
                options={"codec_whitelist": ",".join(sorted(_DECODERS)), **_probing(file)},
                metadata_errors="replace",
                io_open=_refuse_nested,
            )
        except av.error.MemoryError:
            raise MemoryError from None
        except (av.error.FFmpegError, ValueError, PermissionError) as error:
            raise InvalidAudio(f"the {demuxer} header cannot be read ({_reason(error)})", code="unreadable_audio") from None
        if not self._container.streams.audio:
            raise InvalidAudio("the file holds no audio track; send one with sound", code="no_audio_track")
        self._stream = self._container.streams.audio[0]
        self._check_track()

    def _check_track(self) -> None:
        context = self._stream.codec_context
        if context is None or context.name not in _DECODERS:
            name = context.name if context is not None else "unknown"
            raise InvalidAudio(
                f"audio coded as {name} is not supported; convert it to FLAC or Opus", code="unreadable_audio"
            )
        _check_channels(context.channels)
        # Some decoders learn the rate from their first frame.
        if context.sample_rate:
            _check_rate(context.sample_rate)
        context.thread_count = 1
        self.codec: str = context.codec.canonical_name
        self.channels: int = context.channels
        self.rate_hz: int = context.sample_rate

    @property
    def declared_secs(self) -> Seconds | None:
        """Length by a FLAC header, which counts samples; None if it does not, or for any other container."""
        if self._demuxer != "flac" or not self._stream.duration or not self._stream.time_base:
            return None
        return float(self._stream.duration * self._stream.time_base)

    def blocks(self) -> Iterator[tuple[Samples, int]]:
        """``(num_samples,) float32`` mono at the rate beside it: the mean of the channels, one block a frame."""
        packets = damaged = 0
        last_was_damaged = False
        try:
            for packet in self._container.demux(self._stream):
                packets += 1
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError as error:
                    if self._demuxer not in STREAMING:
                        raise self._broken(error) from None
                    damaged, last_was_damaged = damaged + 1, True
                    yield from self._silence(packet)
                    continue
                last_was_damaged = last_was_damaged and not packet.size
                for frame in frames:
                    yield self._mono(frame)
        except av.error.MemoryError:
            raise MemoryError from None
        except av.error.FFmpegError as error:
            raise self._broken(error) from None
        # The last packet of a stream that was cut is often incomplete, and that is no damage.
        if damaged - last_was_damaged > MAX_DAMAGED * packets:
            raise InvalidAudio(f"{damaged} of the recording's {packets} packets are damaged", code="unreadable_audio")

    def _mono(self, frame: AudioFrame) -> tuple[Samples, int]:
        _check_channels(frame.layout.nb_channels)
        _check_rate(frame.sample_rate)
        self.rate_hz = self.rate_hz or frame.sample_rate
        values = frame.to_ndarray()
        kind = frame.format.packed.name
        if frame.format.is_packed:
            values = values.reshape(-1, frame.layout.nb_channels).T
        with np.errstate(over="ignore", invalid="ignore"):
            mono: Samples = values.mean(axis=0, dtype=np.float32) if len(values) > 1 else values[0].astype(np.float32)
        if kind in _FULL_SCALE:
            mono = (mono - np.float32(128.0 if kind == "u8" else 0.0)) / np.float32(_FULL_SCALE[kind])
        elif not np.isfinite(mono).all():
            raise InvalidAudio(
                f"at {self._decoded_secs:.1f} s the recording holds samples that are no numbers (NaN or infinite); "
                "export it again, as 16-bit if you can",
                code="invalid_samples",
            )
        self._decoded_secs += len(mono) / frame.sample_rate
        return mono, frame.sample_rate

    def _silence(self, packet: Packet[AudioStream]) -> Iterator[tuple[Samples, int]]:
        """As long as the damaged packet says it was, so that what follows keeps its time."""
        if not packet.duration or not packet.time_base or not self.rate_hz:
            return
        secs = min(float(packet.duration * packet.time_base), 1.0)
        self._decoded_secs += secs
        yield np.zeros(round(secs * self.rate_hz), np.float32), self.rate_hz

    def _broken(self, error: Exception) -> InvalidAudio:
        at = f"at {self._decoded_secs:.1f} s" if self._decoded_secs else "at its start"
        return InvalidAudio(
            f"the recording breaks off {at} ({_reason(error)}); send the whole file, undamaged",
            code="truncated_audio" if self._decoded_secs else "unreadable_audio",
        )


def _check_channels(channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise InvalidAudio(
            f"the recording has {channels} channels and at most {MAX_CHANNELS} are mixed; send fewer",
            code="too_many_channels" if channels > MAX_CHANNELS else "unreadable_audio",
        )


def _check_rate(rate_hz: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidAudio(
            f"the recording declares a sample rate of {rate_hz} Hz; rates of {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are read",
            code="unreadable_audio",
        )


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
