"""Decoding of untrusted media to raw s16le mono, each file in a child process of its own with limits.

A child's libraries take some tenths of a second of processor time to load, so a nursery loads them once and forks a child
for each file. A child serves one file and ends: whatever a file did to it is gone with it, and the nursery sees none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from types import TracebackType
from typing import Self, TypeAlias

from audio.protocol import BEGUN, Decoded, DecodeJob, Refusal, dump_line, load_report
from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import InvalidAudio, Unavailable
from schemas.settings import LimitSettings

__all__ = ["Decoded", "Decoder"]

_MAX_STARTS = 3
"""Children that may die before they had their job, one after the other, until the machine is to blame."""

_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class Decoder:
    """Decodes files, as many at once as callers ask for, in any thread and event loop.

    Its nursery starts when it is entered, or with the first file, and ends with it or with this process.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._nursery: _Nursery | None = None
        self._lock = threading.Lock()

    async def __aenter__(self) -> Self:
        with self._lock, contextlib.suppress(OSError):  # The first file tells.
            self._nursery = _Nursery.start()
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
        job = DecodeJob(
            source=str(source),
            target=str(target),
            max_audio_secs=self._limits.max_audio_secs,
            max_ratio=self._limits.max_decode_ratio,
            memory_bytes=self._limits.decode_memory_bytes,
            cpu_secs=self._limits.decode_cpu_secs,
            rate_hz=rate_hz,
        )
        done = False
        try:
            report = await self._run(job)
            if isinstance(report, Decoded):
                done = True
                return report
        finally:
            if not done:
                target.unlink(missing_ok=True)  # noqa: ASYNC240 - one system call, and it must not be cancelled
        if report.code is None:
            raise Unavailable(report.message)
        raise InvalidAudio(report.message, code=report.code)

    async def _run(self, job: DecodeJob) -> Decoded | Refusal:
        for _ in range(_MAX_STARTS):
            try:
                talk, leash = self._birth()
            except OSError as error:
                raise Unavailable(f"the decoder cannot be started: {error.strerror}") from error
            child = await _Child.of(talk, leash)
            try:
                async with asyncio.timeout(self._limits.decode_wall_secs):
                    report = await child.converse(job)
            except TimeoutError:
                secs = self._limits.decode_wall_secs
                return Refusal(f"decoding the recording took longer than {secs:g} s; split it", "decode_limit")
            finally:
                await child.end()
            if report is not None:
                return report
        raise Unavailable("the decoder does not start; see `fluxions doctor`")

    def _birth(self) -> tuple[socket.socket, socket.socket]:
        """The ends of a new child: see `_Child`. Raises OSError if none can be started."""
        with self._lock:
            if self._nursery is not None:
                try:
                    return self._nursery.birth()
                except (BrokenPipeError, ConnectionResetError):
                    self._nursery.end()
            self._nursery = _Nursery.start()
            return self._nursery.birth()


@dataclass(frozen=True, slots=True)
class _Nursery:
    """The process that has the libraries loaded; it ends when ``control`` is closed."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls) -> _Nursery:
        root = str(Path(__file__).parents[1])
        # No secret of this process is its business, and one thread is all that it may have.
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {"PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        argv = (sys.executable, "-P", "-m", "audio.nursery")
        control, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(
                    argv, stdin=theirs.fileno(), stdout=DEVNULL, stderr=DEVNULL, env=env, start_new_session=True
                )
            except BaseException:
                control.close()
                raise
        return cls(process, control)

    def birth(self) -> tuple[socket.socket, socket.socket]:
        talk, their_talk = socket.socketpair()
        leash, their_leash = socket.socketpair()
        with their_talk, their_leash:
            try:
                socket.send_fds(self.control, [b"."], [their_talk.fileno(), their_leash.fileno()])
            except BaseException:
                talk.close()
                leash.close()
                raise
        return talk, leash

    def end(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()


class _Child:
    """One child: ``talk`` is where it hears its job and reports; by ``leash`` the nursery tells how it ended.

    The nursery kills the child when the leash is let go.
    """

    def __init__(self, talk: _Stream, leash: _Stream) -> None:
        self._talk, self._told = talk
        self._leash_end, self._leash = leash

    @classmethod
    async def of(cls, talk: socket.socket, leash: socket.socket) -> _Child:
        try:
            return cls(await asyncio.open_unix_connection(sock=talk), await asyncio.open_unix_connection(sock=leash))
        except BaseException:
            talk.close()
            leash.close()
            raise

    async def converse(self, job: DecodeJob) -> Decoded | Refusal | None:
        """The child's report, or what its end means; None if it ended before it had its job."""
        try:
            self._told.write(dump_line(job))
            if await self._talk.readline() != BEGUN:
                return None
            return load_report(await self._talk.readline())
        except ConnectionError:
            return None  # It ended with its job unread.
        except (ValueError, TypeError, KeyError):
            return _died(int(await self._leash_end.readline() or -signal.SIGKILL))

    async def end(self) -> None:
        """Returns when the child has ended."""
        with contextlib.suppress(OSError):
            self._leash.write_eof()
            await self._leash_end.read()
        for stream in (self._told, self._leash):
            stream.close()
            with contextlib.suppress(OSError):
                await stream.wait_closed()


def _died(returncode: int) -> Refusal:
    if returncode == -signal.SIGXCPU:
        return Refusal("decoding the recording takes more CPU time than one may have; split it", "decode_limit")
    if returncode == -signal.SIGKILL:
        return Refusal(
            "the system stopped the decoder, most likely for want of memory; split the recording", "decode_limit"
        )
    return Refusal("the recording crashed its decoder: it is damaged; export it again", "unreadable_audio")
