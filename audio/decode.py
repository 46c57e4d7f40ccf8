"""Decoding of untrusted media to raw s16le mono, in child processes with limits.

A child's libraries take some tenths of a second of processor time to load, so a nursery loads them once and forks children.
A child of a `Decoder` serves one file and ends: whatever a file did to it is gone with it, and the nursery sees none.
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

from audio.children import Child, Nursery
from audio.protocol import Decoded, DecodeJob, Refusal
from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import InvalidAudio, Unavailable
from schemas.settings import LimitSettings

__all__ = ["Decoded", "Decoder", "SeriesDecoder"]

_MAX_STARTS = 3
"""Children that may die before they had their job, one after the other, until the machine is to blame."""

_SERIES_FILES = 50
"""Files one child decodes at most; what its libraries might leak is gone after these."""


class Decoder:
    """Decodes files, as many at once as callers ask for, in any thread and event loop.

    Its nursery starts when it is entered, or with the first file, and ends with it or with this process.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._nursery: Nursery | None = None
        self._lock = threading.Lock()

    async def __aenter__(self) -> Self:
        with self._lock, contextlib.suppress(OSError):  # The first file tells.
            self._nursery = Nursery.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with self._lock:
            nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.end()

    async def decode(self, source: Path, target: Path, rate_hz: int = SAMPLE_RATE_HZ) -> Decoded:
        """Writes ``source`` to ``target`` as raw s16le mono at ``rate_hz``; no ``target`` is left behind by a failure.

        Raises InvalidAudio with a code of empty_audio, not_audio, playlist, no_audio_track, truncated_audio,
        invalid_samples, too_many_channels, too_long, decode_limit or unreadable_audio; Unavailable if this machine
        cannot decode anything just now. A cancelled caller takes the child with it.
        """
        with _none_left_by_failure(target):
            child, report = await self.begin(self.job(source, target, rate_hz))
            await child.end()
            return _decoded(report)

    def job(self, source: Path, target: Path, rate_hz: int = SAMPLE_RATE_HZ) -> DecodeJob:
        """What a child is told of one file, with this decoder's limits."""
        return DecodeJob(
            source=str(source),
            target=str(target),
            max_audio_secs=self._limits.max_audio_secs,
            max_ratio=self._limits.max_decode_ratio,
            memory_bytes=self._limits.decode_memory_bytes,
            cpu_secs=self._limits.decode_cpu_secs,
            rate_hz=rate_hz,
        )

    async def begin(self, job: DecodeJob) -> tuple[Child, Decoded | Refusal]:
        """A new child, and what it reports of its first job; it is the caller's to end. Raises Unavailable."""
        for _ in range(_MAX_STARTS):
            try:
                talk, leash = self._birth()
            except OSError as error:
                raise Unavailable(f"the decoder cannot be started: {error.strerror}") from error
            child = await Child.of(talk, leash)
            if (report := await self.ask(child, job)) is not None:
                return child, report
            await child.end()
        raise Unavailable("the decoder does not start; see `fluxions doctor`")

    async def ask(self, child: Child, job: DecodeJob) -> Decoded | Refusal | None:
        """What ``child`` reports of ``job``; None if it ended before it had it. A cancelled caller takes it along."""
        try:
            async with asyncio.timeout(self._limits.decode_wall_secs):
                return await child.converse(job)
        except TimeoutError:
            secs = self._limits.decode_wall_secs
            return Refusal(f"decoding the recording took longer than {secs:g} s; split it", "decode_limit")
        except BaseException:
            await child.end()
            raise

    def _birth(self) -> tuple[socket.socket, socket.socket]:
        """The ends of a new child: see `Child`. Raises OSError if none can be started."""
        with self._lock:
            if self._nursery is not None:
                try:
                    return self._nursery.birth()
                except (BrokenPipeError, ConnectionResetError):
                    self._nursery.end()
            self._nursery = Nursery.start()
            return self._nursery.birth()


class SeriesDecoder:
    """A `Decoder` for many small files of one account: a child that decoded one file goes on to another.

    To fork a child and see it end takes six times as long as to decode a second of WAV. Nothing but success is believed
    of a child that served before: what it refuses, or dies of, a new child is asked about, so no file answers for an
    earlier one. Belongs to the event loop it is used in; `close` ends its children.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._idle: list[Child] = []

    async def decode(self, source: Path, target: Path) -> Decoded:
        """As `Decoder.decode`, at 16 kHz."""
        with _none_left_by_failure(target):
            child, report = await self._report(self._decoder.job(source, target))
            if isinstance(report, Decoded) and child.files < _SERIES_FILES:
                self._idle.append(child)
            else:
                await child.end()
            return _decoded(report)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().end()

    async def _report(self, job: DecodeJob) -> tuple[Child, Decoded | Refusal]:
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


def _decoded(report: Decoded | Refusal) -> Decoded:
    """Raises InvalidAudio for the file's faults, Unavailable for the machine's."""
    if isinstance(report, Decoded):
        return report
    if report.code is None:
        raise Unavailable(report.message)
    raise InvalidAudio(report.message, code=report.code)
