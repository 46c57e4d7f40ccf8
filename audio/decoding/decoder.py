"""Decoding of untrusted media to raw s16le mono, in child processes with limits.

A child's libraries take some tenths of a second of processor time to load, so a fork server loads them once and forks
children. A child of a `Decoder` decodes one file and ends, so no file can affect another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from audio.decoding.fork_client import DecodingChild, ForkServerProcess
from audio.decoding.protocol import Decoded, DecodeJob, DecodeLimits, Refusal
from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import InvalidAudio, Unavailable
from schemas.settings import LimitSettings

__all__ = ["Decoded", "Decoder", "SeriesDecoder"]

_MAX_STARTS = 3
"""Number of consecutive children that may end for reasons other than their file. After these the failure counts as one of
the machine.
"""

DEFECTS = frozenset({"truncated_audio", "damaged_audio"})
"""Codes of warnings that fail a recording in strict mode."""

_DOES_NOT_START = "the decoder does not start; see `fluxions doctor`"

_SERIES_FILES = 50
"""Most files that one child decodes; bounds memory leaks of its libraries."""


class Decoder:
    """Decodes files, any number at once, in any thread and event loop.

    Its fork server starts when the decoder is entered, or with the first file. It ends with the decoder or this process.
    """

    def __init__(self, limits: LimitSettings, *, forks_ahead: bool = False) -> None:
        """``forks_ahead``: while the decoder is entered, an idle child waits for the next file, which therefore starts
        milliseconds earlier. Also, a file does not wait for the end of its child.
        """
        self._limits = limits
        self._forks_ahead = forks_ahead
        self._server: ForkServerProcess | None = None
        self._spare: tuple[socket.socket, socket.socket] | None = None
        """The sockets of a child that waits for its first job."""
        self._ending: set[asyncio.Task[None]] = set()
        """Children that have finished and are being ended."""
        self._lock = threading.Lock()

    async def __aenter__(self) -> Self:
        with self._lock, contextlib.suppress(OSError):  # A failure here is raised again for the first file.
            self._server = ForkServerProcess.start()
        self._fork_ahead()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with self._lock:
            server, self._server = self._server, None
            spare, self._spare = self._spare, None
        for end in spare or ():
            end.close()
        if self._ending:
            await asyncio.wait(self._ending)
        if server is not None:
            server.end()

    async def decode(
        self,
        source: Path,
        target: Path,
        rate_hz: int = SAMPLE_RATE_HZ,
        *,
        strict: bool = True,
        audio_track: int | None = None,
    ) -> Decoded:
        """Writes ``source`` to ``target`` as raw s16le mono at ``rate_hz``; a failure leaves no ``target``.

        ``strict``: a truncated or damaged recording fails. Otherwise it is decoded as far as possible, with warnings.
        ``audio_track`` counts from 0; None takes the default track, else the first. Raises InvalidAudio with a code of
        empty_audio, not_audio, playlist, no_audio_track, no_such_track, truncated_audio, damaged_audio, invalid_samples,
        too_many_channels, too_long, decode_limit or unreadable_audio; Unavailable if this machine cannot decode anything
        now. Cancelling the call kills the child.
        """
        with _none_left_by_failure(target):
            child, report = await self.begin(self.job(source, target, rate_hz, audio_track))
            if self._forks_ahead:
                self._end_later(child)
            else:
                await child.end()
            self._fork_ahead()
            return _decoded(report, strict=strict)

    def _end_later(self, child: DecodingChild) -> None:
        """End a child that has reported on its file, without waiting for it."""
        task = asyncio.create_task(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def job(self, source: Path, target: Path, rate_hz: int = SAMPLE_RATE_HZ, audio_track: int | None = None) -> DecodeJob:
        """The job for one file, with this decoder's limits."""
        return DecodeJob(str(source), str(target), self._job_limits(rate_hz, audio_track))

    def _job_limits(self, rate_hz: int = SAMPLE_RATE_HZ, audio_track: int | None = None) -> DecodeLimits:
        return DecodeLimits(
            max_audio_secs=self._limits.max_audio_secs,
            max_ratio=self._limits.max_decode_ratio,
            memory_bytes=self._limits.decode_memory_bytes,
            cpu_secs=self._limits.decode_cpu_secs,
            rate_hz=rate_hz,
            audio_track=audio_track,
        )

    async def open_stream(self) -> DecodingChild:
        """A new child that decodes one live stream. The caller must end it. Raises Unavailable."""
        for _ in range(_MAX_STARTS):
            child = await self._new_child()
            if await child.open_stream(self._job_limits()):
                return child
            await child.end()
        raise Unavailable(_DOES_NOT_START)

    async def begin(self, job: DecodeJob) -> tuple[DecodingChild, Decoded | Refusal]:
        """A new child and the report of its first job. The caller must end the child. Raises Unavailable."""
        for _ in range(_MAX_STARTS):
            child = await self._new_child()
            if (report := await self.ask(child, job)) is not None:
                return child, report
            await child.end()
        raise Unavailable(_DOES_NOT_START)

    async def _new_child(self) -> DecodingChild:
        try:
            jobs, lifetime = self._spawn()
        except OSError as error:
            raise Unavailable(f"the decoder cannot be started: {error.strerror}") from error
        return await DecodingChild.of(jobs, lifetime)

    async def ask(self, child: DecodingChild, job: DecodeJob) -> Decoded | Refusal | None:
        """The report of ``child`` on ``job``; None if the child ended for a reason other than the file.

        Cancelling the call kills the child.
        """
        try:
            async with asyncio.timeout(self._limits.decode_wall_secs):
                return await child.run(job)
        except TimeoutError:
            secs = self._limits.decode_wall_secs
            return Refusal(f"decoding the recording took longer than {secs:g} s; split it", "decode_limit")
        except BaseException:
            await child.end()
            raise

    def _fork_ahead(self) -> None:
        """Fork a child for the next file, if no child waits.

        If this fails, the next file forks its own child and raises the error.
        """
        with self._lock, contextlib.suppress(OSError):
            if self._forks_ahead and self._spare is None and self._server is not None:
                self._spare = self._server.spawn()

    def _spawn(self) -> tuple[socket.socket, socket.socket]:
        """The sockets of a new child, from a new fork server if the last has ended. Raises OSError."""
        with self._lock:
            if self._spare is not None:
                spare, self._spare = self._spare, None
                return spare
            if self._server is not None:
                try:
                    return self._server.spawn()
                except (BrokenPipeError, ConnectionResetError):
                    self._server.end()
            self._server = ForkServerProcess.start()
            return self._server.spawn()


class SeriesDecoder:
    """A `Decoder` for many small files of one account: a child decodes one file after another.

    Forking and ending a child takes six times as long as decoding a second of WAV. If a used child rejects a file or
    dies, a new child decodes that file again, so no file fails because of an earlier one. Belongs to the event loop it is
    used in; `close` ends its children.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._idle: list[DecodingChild] = []

    async def decode(self, source: Path, target: Path, *, strict: bool = True, audio_track: int | None = None) -> Decoded:
        """As `Decoder.decode`, at 16 kHz."""
        with _none_left_by_failure(target):
            child, report = await self._report(self._decoder.job(source, target, audio_track=audio_track))
            if isinstance(report, Decoded) and child.files < _SERIES_FILES:
                self._idle.append(child)
            else:
                await child.end()
            return _decoded(report, strict=strict)

    async def close(self) -> None:
        """End the children that wait for a next file."""
        while self._idle:
            await self._idle.pop().end()

    async def _report(self, job: DecodeJob) -> tuple[DecodingChild, Decoded | Refusal]:
        if self._idle:
            child = self._idle.pop()
            report = await self._decoder.ask(child, job)
            if isinstance(report, Decoded):
                return child, report
            await child.end()
        return await self._decoder.begin(job)


@contextlib.contextmanager
def _none_left_by_failure(target: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _decoded(report: Decoded | Refusal, *, strict: bool) -> Decoded:
    """Raises InvalidAudio for defects of the file, Unavailable for failures of the machine."""
    if isinstance(report, Decoded):
        first = next((warning for warning in report.warnings if warning.code in DEFECTS), None)
        if strict and first is not None:
            raise InvalidAudio(f"{first.message}; send the whole file, undamaged", code=first.code)
        return report
    if report.code is None:
        raise Unavailable(report.message)
    raise InvalidAudio(report.message, code=report.code)
