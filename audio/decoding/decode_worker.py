"""The decoding child: an untrusted file to raw s16le mono. `audio.decoding.fork_server` forks it.

The child gets a job and its open files over its standard input, limits and confines itself, and reports
(`audio.decoding.protocol`). After a success it waits for another job. It ends at the end of input.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from audio.decoding import confinement, sandbox
from audio.decoding.completeness import missing, secs_missing
from audio.decoding.demux import Recording
from audio.decoding.file_parts import FilePart, parts_of
from audio.decoding.file_view import FileView
from audio.decoding.protocol import STARTED, STREAM, Decoded, DecodeLimits, Refusal, limits_from_json, report_to_json
from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES, SUPPORTED
from audio.decoding.stream_worker import serve_stream
from audio.pcm import to_int16
from audio.resample import Resampler
from runtime import frames
from schemas.domain import SAMPLE_RATE_HZ, Seconds, TranscriptWarning
from schemas.engines import Samples
from schemas.errors import InvalidAudio

_LIMITS = frozenset({"too_long", "decode_limit"})
"""Codes of refusals that concern the file as a whole."""
_BLOCK_SECS = 0.5
_LOUDEST = 1.1
"""Peak, as a share of full scale, above which a block is attenuated. A resampled full-scale recording stays below it."""
_RELEASE = 10 ** (1 / 20)
"""Most growth of the gain from one block to the next: 1 dB."""
_MIN_BUDGET_BYTES = 10 * SAMPLE_RATE_HZ * 2
"""Decoded bytes that every file may have, because the ratio says little about a file of a few bytes."""


class _Output:
    """Joins frames into blocks, resamples and writes them, and checks the job's limits."""

    def __init__(self, file: BinaryIO, limits: DecodeLimits, source_bytes: int) -> None:
        self.num_samples = 0
        self._file = file
        self._limits = limits
        self._budget_bytes = max(limits.max_ratio * source_bytes, _MIN_BUDGET_BYTES)
        self._resampler = Resampler(limits.rate_hz)
        self._held: list[Samples] = []
        self._held_samples = 0
        self._rate_hz = limits.rate_hz
        self._gain = 1.0

    def feed(self, samples: Samples, rate_hz: int) -> None:
        if rate_hz != self._rate_hz:
            self._resample()
            self._rate_hz = rate_hz
        self._held.append(samples)
        self._held_samples += len(samples)
        if self._held_samples >= _BLOCK_SECS * rate_hz:
            self._resample()

    def flush(self) -> None:
        """Write all samples that were fed, so that `num_samples` counts them."""
        self._resample()
        self._write(self._resampler.finish())

    def _resample(self) -> None:
        if self._held:
            samples = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
            self._held, self._held_samples = [], 0
            self._write(self._resampler.feed(samples, self._rate_hz))

    def _write(self, samples: Samples) -> None:
        self.num_samples += len(samples)
        if self.num_samples > self._limits.max_audio_secs * self._limits.rate_hz:
            raise InvalidAudio(
                f"the recording is longer than {self._limits.max_audio_secs:g} s, the longest accepted; split it",
                code="too_long",
            )
        if self.num_samples * 2 > self._budget_bytes:
            raise InvalidAudio(
                f"the recording unpacks to over {self._limits.max_ratio:g} times its size, more than any real one; "
                "send it as FLAC or Opus at an ordinary rate",
                code="decode_limit",
            )
        self._file.write(to_int16(self._limited(samples)).tobytes())

    def _limited(self, samples: Samples) -> Samples:
        """A limiter for floating-point samples, which may be far beyond full scale.

        The gain falls at once, and rises slowly after a click.
        """
        peak = float(np.abs(samples).max(initial=0.0))
        if peak * self._gain > (_LOUDEST if self._gain == 1.0 else 1.0):
            self._gain = 1.0 / peak
        limited = samples if self._gain == 1.0 else np.asarray(samples * np.float32(self._gain), np.float32)
        self._gain = min(1.0, self._gain * _RELEASE)
        return limited


def decode(source_fd: int, target_fd: int, limits: DecodeLimits) -> Decoded:
    """Decode a file.

    Raises InvalidAudio for defects of the file, MemoryError at the memory limit, OSError for failures of the machine.
    """
    with os.fdopen(source_fd, "rb") as source, os.fdopen(target_fd, "wb") as target:
        size = os.fstat(source.fileno()).st_size
        whole = FileView(source, 0, size)
        reject_non_audio(whole.at(0, HEAD_BYTES), size)
        parts = parts_of(whole)
        if not parts:
            raise InvalidAudio(f"this is not a recording we can read; send {SUPPORTED}", code="not_audio")
        output = _Output(target, limits, size)
        warnings: list[TranscriptWarning] = []
        first = _decode_part(parts[0], output, limits, warnings)
        for part in parts[1:]:
            try:
                _decode_part(part, output, limits, warnings)
            except InvalidAudio as error:
                if error.code in _LIMITS:
                    raise
                warnings.append(_breaks_off(error, output.num_samples / limits.rate_hz))
                break
    if output.num_samples == 0:
        cut_off = next((w.message for w in warnings if w.code == "truncated_audio"), None)
        if cut_off:
            raise InvalidAudio(f"{cut_off}; send the whole file", code="truncated_audio")
        raise InvalidAudio("the recording holds no sound at all: zero samples; record it again", code="empty_audio")
    return Decoded(
        num_samples=output.num_samples,
        duration_secs=output.num_samples / limits.rate_hz,
        codec=first.codec,
        container=parts[0].demuxer,
        source_rate_hz=first.rate_hz,
        channels=first.channels,
        warnings=tuple(warnings),
        audio_track=first.track,
        audio_tracks=first.tracks,
        default_track=first.default_track,
    )


def _decode_part(part: FilePart, output: _Output, limits: DecodeLimits, warnings: list[TranscriptWarning]) -> Recording:
    """Append one of the recordings of a file to ``output``, and its warnings to ``warnings``."""
    cut_off = missing(part.view, part.demuxer)
    recording = Recording(part, limits.audio_track)
    began = output.num_samples
    for samples, rate_hz in recording.blocks():
        output.feed(samples, rate_hz)
    output.flush()
    held_secs = (output.num_samples - began) / limits.rate_hz
    if recording.declared_secs:
        cut_off = cut_off or secs_missing(recording.declared_secs, held_secs)
    offset = began / limits.rate_hz
    found = [replace(w, at_secs=None if w.at_secs is None else round(w.at_secs + offset, 3)) for w in recording.warnings]
    if cut_off and all(warning.code != "truncated_audio" for warning in found):
        found.append(TranscriptWarning("truncated_audio", cut_off, round(offset + held_secs, 3)))
    warnings += found
    return recording


def _breaks_off(error: InvalidAudio, at_secs: Seconds) -> TranscriptWarning:
    return TranscriptWarning(
        "truncated_audio", f"the recording breaks off at {at_secs:.1f} s: {error.message}", round(at_secs, 3)
    )


def report_on(source_fd: int, target_fd: int, limits: DecodeLimits) -> Decoded | Refusal:
    """Call `decode`, and return every outcome as a value."""
    try:
        return decode(source_fd, target_fd, limits)
    except InvalidAudio as error:
        return Refusal(error.message, error.code)
    except MemoryError:
        return Refusal("decoding the recording takes more memory than allowed; convert it to WAV or FLAC", "decode_limit")
    except OSError as error:
        if error.errno == errno.EFBIG:
            return Refusal("the recording unpacks to more than a recording may hold; split it", "decode_limit")
        return Refusal(f"decoding failed on this machine: {error.strerror}", None)


def serve() -> None:
    """The child's main loop: jobs in, reports out, until input ends or a job fails. A live stream is the last job.

    Limits and confinement are set once, so all jobs share one amount of CPU time.
    """
    channel = socket.socket(fileno=0)
    confined = False
    with channel, channel.makefile("rb") as jobs, channel.makefile("wb") as reports:
        while (asked := _asked(channel)) is not None and (frame := frames.read(jobs)) is not None:
            limits = limits_from_json(frame.head)
            frames.write(reports, STARTED)
            if not confined:
                # One block beyond the longest recording may be written before the count is checked.
                sandbox.limit(limits.memory_bytes, limits.cpu_secs, int((limits.max_audio_secs + 60) * limits.rate_hz * 2))
                confinement.confine()
                confined = True
            if isinstance(asked, bytes):
                serve_stream(jobs, reports, limits)
                return
            report = report_on(*asked, limits)
            frames.write(reports, report_to_json(report))
            if isinstance(report, Refusal):
                return  # The parent discards a child after a refusal.


def _asked(channel: socket.socket) -> tuple[int, int] | bytes | None:
    """The next job's input and output, `STREAM` for a live stream, or None at the end of the channel.

    The parent sends a job only after it has the report on the last one, so no byte of a job is buffered early.
    """
    kind, received, _, _ = socket.recv_fds(channel, 1, 2)
    if kind == STREAM:
        return STREAM
    return (received[0], received[1]) if len(received) == 2 else None
