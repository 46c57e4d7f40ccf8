"""The decoding child: an untrusted file to raw s16le mono. `audio.nursery` forks it.

It waits for a job on standard input, lays limits on itself, and reports one line on standard output; see
`audio.protocol`. If all went well it waits for another. End of input means that it is not needed any more.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audio import sandbox
from audio.demux import Recording
from audio.lengths import TOLERANCE_SECS, check_complete, truncated
from audio.pcm import to_int16
from audio.protocol import BEGUN, Decoded, DecodeJob, Refusal, dump_line, load_job
from audio.resample import Resampler
from audio.sniff import HEAD_BYTES, SUPPORTED, refuse, sniff
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import InvalidAudio

_BLOCK_SECS = 0.5
_MIN_BUDGET_BYTES = 10 * SAMPLE_RATE_HZ * 2
"""Decoded bytes any file may have whatever its size: the ratio means little for a file of a few bytes."""


class _Output:
    """Joins frames into blocks worth resampling, writes them, and keeps count against the job's limits."""

    def __init__(self, file: BinaryIO, job: DecodeJob, source_bytes: int) -> None:
        self.num_samples = 0
        self._file = file
        self._job = job
        self._budget_bytes = max(job.max_ratio * source_bytes, _MIN_BUDGET_BYTES)
        self._resampler = Resampler(job.rate_hz)
        self._held: list[Samples] = []
        self._held_samples = 0
        self._rate_hz = job.rate_hz

    def feed(self, samples: Samples, rate_hz: int) -> None:
        if rate_hz != self._rate_hz:
            self._resample()
            self._rate_hz = rate_hz
        self._held.append(samples)
        self._held_samples += len(samples)
        if self._held_samples >= _BLOCK_SECS * rate_hz:
            self._resample()

    def finish(self) -> None:
        self._resample()
        self._write(self._resampler.finish())

    def _resample(self) -> None:
        if self._held:
            samples = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
            self._held, self._held_samples = [], 0
            self._write(self._resampler.feed(samples, self._rate_hz))

    def _write(self, samples: Samples) -> None:
        self.num_samples += len(samples)
        if self.num_samples > self._job.max_audio_secs * self._job.rate_hz:
            raise InvalidAudio(
                f"the recording is longer than {self._job.max_audio_secs:g} s, the longest accepted; split it",
                code="too_long",
            )
        if self.num_samples * 2 > self._budget_bytes:
            raise InvalidAudio(
                f"the recording unpacks to over {self._job.max_ratio:g} times its size, more than any real one; "
                "send it as FLAC or Opus at an ordinary rate",
                code="decode_limit",
            )
        self._file.write(to_int16(samples).tobytes())


def decode(job: DecodeJob) -> Decoded:
    """Raises InvalidAudio for the file's faults, MemoryError at the memory limit, OSError for the machine's faults."""
    with Path(job.source).open("rb") as source, Path(job.target).open("wb") as target:
        size = os.fstat(source.fileno()).st_size
        head = source.read(HEAD_BYTES)
        source.seek(0)
        refuse(head, size)
        demuxer = sniff(head)
        if demuxer is None:
            raise InvalidAudio(f"this is not a recording we can read; send {SUPPORTED}", code="not_audio")
        check_complete(source, demuxer, size)
        recording = Recording(source, demuxer)
        output = _Output(target, job, size)
        for samples, rate_hz in recording.blocks():
            output.feed(samples, rate_hz)
        output.finish()
    if output.num_samples == 0:
        raise InvalidAudio("the recording holds no sound at all: zero samples; record it again", code="empty_audio")
    held_secs = output.num_samples / job.rate_hz
    if recording.declared_secs and recording.declared_secs - held_secs > TOLERANCE_SECS:
        raise truncated(recording.declared_secs, held_secs)
    return Decoded(output.num_samples, held_secs, recording.codec, demuxer, recording.rate_hz, recording.channels)


def report_on(job: DecodeJob) -> Decoded | Refusal:
    """`decode`, with every way it can end as a value."""
    try:
        return decode(job)
    except InvalidAudio as error:
        return Refusal(error.message, error.code)
    except MemoryError:
        return Refusal(
            "decoding the recording takes more memory than one may have; convert it to WAV or FLAC", "decode_limit"
        )
    except OSError as error:
        if error.errno == errno.EFBIG:
            return Refusal("the recording unpacks to more than a recording may hold; split it", "decode_limit")
        return Refusal(f"decoding failed on this machine: {error.strerror}", None)


def serve() -> None:
    """The child's whole life. Its limits are laid once: files after the first share what is left of its CPU time."""
    limited = False
    while line := sys.stdin.buffer.readline():
        job = load_job(line)
        _say(BEGUN)
        if not limited:
            # A block beyond the longest recording may be on its way when the count is checked.
            sandbox.limit(job.memory_bytes, job.cpu_secs, int((job.max_audio_secs + 60) * job.rate_hz * 2))
            limited = True
        report = report_on(job)
        _say(dump_line(report))
        if isinstance(report, Refusal):
            return  # Nobody believes it any more.


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
