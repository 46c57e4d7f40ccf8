"""Untrusted media to mono samples by FFmpeg (PyAV). Runs in a decoding child only.

FFmpeg gets an open file and the name of one demuxer, never a path. Every nested open is refused, so playlists, data
references and network protocols have no effect. Only the decoders named here run, so video is never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NoReturn

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition

from audio.decoding.damage import Damage, breaks_off
from audio.decoding.file_parts import FilePart, LivePart
from audio.decoding.file_view import FileView
from audio.decoding.losses import LossFinder
from audio.decoding.mixing import Mixer
from audio.decoding.timeline import Placed, Timeline
from audio.raw_pcm import MAX_RATE_HZ, MIN_RATE_HZ, MOST_CHANNELS
from schemas.domain import Seconds, TranscriptWarning
from schemas.engines import Samples
from schemas.errors import InvalidAudio

_MOST_READ_ERRORS = 20
"""Errors in a row after which a container counts as ended: after most of them FFmpeg finds the next packet."""

# fmt: off
_DECODERS = frozenset({
    "aac", "aac_latm", "ac3", "eac3", "adpcm_g726", "adpcm_g726le", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms",
    "alac", "amrnb", "amrwb", "flac", "g722", "g729", "gsm", "gsm_ms", "libopencore_amrnb", "libopencore_amrwb",
    "adpcm_swf", "libopus", "libspeex", "libvorbis", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float",
    "nellymoser", "opus", "speex", "vorbis", "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice",
}) | frozenset(name for name in av.codecs_available if name.startswith("pcm_"))
# fmt: on

# fmt: off
KINDS = {
    "wav": "WAV", "w64": "W64", "flac": "FLAC", "mp3": "MP3", "ogg": "Ogg", "aac": "AAC", "mov": "MP4",
    "matroska": "WebM or MKV", "aiff": "AIFF", "caf": "CAF", "au": "AU", "amr": "AMR", "asf": "WMA", "flv": "FLV",
    "avi": "AVI", "ac3": "AC-3", "eac3": "E-AC-3", "mpegts": "MPEG-TS", "mpeg": "MPEG-PS",
}
# fmt: on
"""Names of file types, as users know them, by demuxer."""

_FULL_SCALE = {"u8": 128.0, "s16": 32_768.0, "s32": 2_147_483_648.0, "s64": 2.0**63}


_MONO_PCM = b"fmt \x10\x00\x00\x00\x01\x00\x01\x00"
"""Bytes from position 12 of a WAV file with one channel of PCM samples."""


_LIVE: Final = {"probesize": "32", "analyzeduration": "0"}
"""Live streams have all parameters in their header; probing would wait for seconds of audio."""


def _probing(file: FileView) -> dict[str, str]:
    """Probing options. FFmpeg looks for DTS in the start of WAV files, which takes longer than decoding some seconds.

    DTS in WAV always has two channels, so a mono file needs no probing.
    """
    head = file.read(24)
    file.seek(0)
    return {"probesize": "32"} if head[12:] == _MONO_PCM else {}


def _refuse_nested(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a recording may not open other files")


class Recording:
    """One audio track of a part of a file. Raises InvalidAudio for defects of the file; MemoryError passes through.

    ``track`` counts audio tracks from 0; None takes the one that the container flags as its default, else the first.
    """

    def __init__(self, part: FilePart | LivePart, track: int | None = None) -> None:
        self._demuxer = part.demuxer
        self._has_length = part.has_length
        self._mixer = Mixer()
        self.warnings: tuple[TranscriptWarning, ...] = part.warnings
        """Defects that `blocks` found; complete once `blocks` is exhausted."""
        try:
            self._container = av.open(
                part.view,
                mode="r",
                format=self._demuxer,
                options={
                    "codec_whitelist": ",".join(sorted(_DECODERS)),
                    **(_LIVE if isinstance(part, LivePart) else _probing(part.view)),
                },
                metadata_errors="replace",
                io_open=_refuse_nested,
            )
        except av.error.MemoryError:
            raise MemoryError from None
        except (av.error.EOFError, av.error.OSError) as error:
            raise _unreadable(self._demuxer, ends=not isinstance(error, PermissionError)) from None
        except (av.error.FFmpegError, ValueError, PermissionError):
            raise _unreadable(self._demuxer, ends=False) from None
        tracks = self._container.streams.audio
        if not tracks:
            raise InvalidAudio("the file holds no audio track; send one with sound", code="no_audio_track")
        if track is not None and track >= len(tracks):
            raise InvalidAudio(
                f"audio_track {track}: the file has {len(tracks)} audio tracks, counted from 0", code="no_such_track"
            )
        flagged = [number for number, one in enumerate(tracks) if one.disposition & Disposition.default]
        self.tracks = len(tracks)
        self.default_track = flagged[0] if len(flagged) == 1 else None
        """The one track that the container flags as its default; None where it flags none or several."""
        self.track = (self.default_track or 0) if track is None else track
        self._stream = tracks[self.track]
        self._check_track()
        start, length = _micros(self._container.start_time), _micros(self._container.duration)
        # Matroska's length counts from zero; other containers' lengths count from the earliest track.
        end = length if length is None or self._demuxer == "matroska" else length + (start or 0.0)
        self._timeline = Timeline(self._demuxer, start, end)
        self._losses = LossFinder(self._demuxer, part.losses, part.holes)

    def _check_track(self) -> None:
        context = self._stream.codec_context
        if context is None or context.name not in _DECODERS:
            name = context.name if context is not None else "an unknown codec"
            raise InvalidAudio(
                f"audio coded as {name} in {KINDS[self._demuxer]} is not supported; convert it to FLAC or Opus",
                code="unreadable_audio",
            )
        if not context.channels and not context.sample_rate:
            raise InvalidAudio(
                f"the file starts like {KINDS[self._demuxer]}, and no sound in it can be decoded; export it again",
                code="unreadable_audio",
            )
        _check_channels(context.channels)
        # Some decoders know the rate only after the first frame.
        if context.sample_rate:
            _check_rate(context.sample_rate)
        context.thread_count = 1
        self.codec: str = context.codec.canonical_name
        self.channels: int = context.channels
        self.rate_hz: int = context.sample_rate

    @property
    def declared_secs(self) -> Seconds | None:
        """Length by a FLAC header, which counts samples; None if the header has no count, or for other containers."""
        if self._demuxer != "flac" or not self._stream.duration or not self._stream.time_base:
            return None
        return float(self._stream.duration * self._stream.time_base)

    def blocks(self) -> Iterator[tuple[Samples, int]]:
        """Pairs of ``(num_samples,) float32`` mono and their sample rate, one block a frame, at the times of the file's
        clock. Damaged or missing audio becomes silence; a truncated recording ends early. `warnings` name both
        afterwards. Raises InvalidAudio if nothing can be decoded, or more than `damage.MAX_DAMAGED` of the packets are
        damaged.
        """
        damage = Damage()
        try:
            for packet in self._packets(damage):
                damage.packets += 1
                self._losses.look(packet, self._timeline)
                frames = self._frames(packet)
                if frames is None:
                    damage.add(self._timeline.position_secs)
                    self._timeline.damaged()
                    continue
                if packet.size:
                    damage.end_run()
                for frame in frames:
                    yield from self._samples(self._timeline.place(frame))
            yield from self._samples(self._timeline.finish())
        except av.error.MemoryError:
            raise MemoryError from None
        except av.error.FFmpegError:
            yield from self._samples(self._timeline.finish())
            if not self._timeline.position_secs:
                raise InvalidAudio(
                    "the recording breaks off at its start: it holds no sound; record it again, or send the whole file",
                    code="unreadable_audio",
                ) from None
            self.warnings = (*self.warnings, breaks_off(self._timeline.position_secs, "what follows cannot be read"))
        self.warnings = damage.judge(self._demuxer, self._timeline, self.warnings, has_length=self._has_length)

    def _packets(self, damage: Damage) -> Iterator[Packet[AudioStream]]:
        """All packets that can be read, also behind damage in the container.

        Raises FFmpegError if reading cannot continue.
        """
        errors, ended = 0, False
        while not ended:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    yield packet
                ended = True
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                errors += 1
                if errors > _MOST_READ_ERRORS:
                    raise
                damage.add(self._timeline.position_secs)
                self._timeline.damaged()

    @staticmethod
    def _frames(packet: Packet[AudioStream]) -> list[AudioFrame] | None:
        """The frames of a packet; None for a damaged one.

        Decoders report damage by various errors, but not by MemoryError.
        """
        try:
            return packet.decode()
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            return None

    def _samples(self, placed: list[Placed]) -> Iterator[tuple[Samples, int]]:
        for one in placed:
            samples, rate_hz = self._mono(one.frame)
            if one.silence_secs:
                yield from _silence(one.silence_secs, rate_hz)
            yield samples[round(one.drop_secs * rate_hz) :], rate_hz

    def _mono(self, frame: AudioFrame) -> tuple[Samples, int]:
        _check_channels(frame.layout.nb_channels)
        _check_rate(frame.sample_rate)
        self.rate_hz = self.rate_hz or frame.sample_rate
        values = frame.to_ndarray()
        kind = frame.format.packed.name
        if frame.format.is_packed:
            values = values.reshape(-1, frame.layout.nb_channels).T
        if kind in _FULL_SCALE:
            mono = self._mixer.mix(values, frame.sample_rate)
            return (mono - np.float32(128.0 if kind == "u8" else 0.0)) / np.float32(_FULL_SCALE[kind]), frame.sample_rate
        with np.errstate(over="ignore", invalid="ignore"):
            mono = self._mixer.mix(values, frame.sample_rate)
        if not np.isfinite(mono).all():
            raise InvalidAudio(
                f"at {self._timeline.position_secs:.1f} s the recording holds samples that are no numbers (NaN or "
                "infinite); "
                "export it again, as 16-bit if you can",
                code="invalid_samples",
            )
        return mono, frame.sample_rate


def _unreadable(demuxer: str, *, ends: bool) -> InvalidAudio:
    """The refusal of a file that cannot be opened. ``ends``: whether the file ends behind its header."""
    kind = KINDS[demuxer]
    if ends:
        return InvalidAudio(f"the file is a {kind} header that holds no sound; record it again", code="empty_audio")
    return InvalidAudio(
        f"the file starts like {kind}, but its header cannot be read; export it again", code="unreadable_audio"
    )


def _silence(secs: Seconds, rate_hz: int) -> Iterator[tuple[Samples, int]]:
    left = round(secs * rate_hz)
    while left > 0:
        yield np.zeros(min(left, rate_hz), np.float32), rate_hz
        left -= rate_hz


def _micros(found: int | None) -> Seconds | None:
    return None if found is None else found / 1_000_000


def _check_channels(channels: int) -> None:
    if not 1 <= channels <= MOST_CHANNELS:
        raise InvalidAudio(
            f"the recording has {channels} channels and at most {MOST_CHANNELS} are mixed; send fewer",
            code="too_many_channels" if channels > MOST_CHANNELS else "unreadable_audio",
        )


def _check_rate(rate_hz: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidAudio(
            f"the recording declares a sample rate of {rate_hz} Hz; rates of {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are read",
            code="unreadable_audio",
        )
