"""The parent's side of `audio.decoding.fork_server`: how decoding children are spawned, given jobs and ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import TypeAlias

from audio.decoding.protocol import (
    FRAME_MAX_BYTES,
    JOB_FILES,
    STARTED,
    STREAM,
    STREAM_MAX_BYTES,
    Decoded,
    DecodeJob,
    DecodeLimits,
    Refusal,
    exit_status_from,
    limits_to_json,
    report_from_json,
)
from runtime import frames
from runtime.children import harmless_env, start, stop

_SERVER_ENDED = Refusal("the decoder of this stream was stopped; open the stream again", None)

_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class ForkServerProcess:
    """The process that has loaded the libraries. It ends when ``control`` is closed."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls) -> ForkServerProcess:
        """Raises OSError."""
        # Forking needs a process of one thread, so the libraries must not start theirs.
        env = harmless_env({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
        argv = (sys.executable, "-P", "-m", "audio.decoding.fork_server")
        control, theirs = socket.socketpair()
        with theirs:
            try:
                process = start(argv, env, stdin=theirs.fileno(), stdout=DEVNULL, stderr=DEVNULL)
            except BaseException:
                control.close()
                raise
        return cls(process, control)

    def spawn(self) -> tuple[socket.socket, socket.socket]:
        """The job channel and the lifetime socket of a new child. Raises OSError; ConnectionError if the server ended."""
        jobs, their_jobs = socket.socketpair()
        lifetime, their_lifetime = socket.socketpair()
        with their_jobs, their_lifetime:
            try:
                socket.send_fds(self.control, [b"."], [their_jobs.fileno(), their_lifetime.fileno()])
            except BaseException:
                jobs.close()
                lifetime.close()
                raise
        return jobs, lifetime

    def end(self) -> None:
        """End the server and its children."""
        self.control.close()
        stop(self.process)


class DecodingChild:
    """One forked child, with its job channel and its lifetime socket: closing the lifetime socket kills the child."""

    def __init__(self, channel: socket.socket, jobs: _Stream, lifetime: _Stream) -> None:
        self.files = 0
        """Number of jobs that the child was given."""
        self._channel = channel
        self._reports, self._jobs = jobs
        self._status, self._lifetime = lifetime

    @classmethod
    async def of(cls, jobs: socket.socket, lifetime: socket.socket) -> DecodingChild:
        """A child on the sockets from `ForkServerProcess.spawn`, in the running event loop."""
        try:
            return cls(
                jobs, await asyncio.open_unix_connection(sock=jobs), await asyncio.open_unix_connection(sock=lifetime)
            )
        except BaseException:
            jobs.close()
            lifetime.close()
            raise

    async def run(self, job: DecodeJob) -> Decoded | Refusal | None:
        """The child's report, or a refusal that explains its death; None if the child ended for a reason other than its
        file: it ended before it read its job, or with the fork server. The child has read an untrusted file, so an
        invalid report counts as its death.
        """
        self.files += 1
        try:
            self._hand_over(job)
        except OSError as error:
            if isinstance(error, ConnectionError):
                return None
            return Refusal(f"decoding failed on this machine: {error.strerror}", None)
        try:
            self._jobs.write(frames.encode(limits_to_json(job.limits)))
            started = await frames.read_async(self._reports, FRAME_MAX_BYTES)
            if started is None or started.head != STARTED:
                return None
            report = await frames.read_async(self._reports, FRAME_MAX_BYTES)
            if report is not None:
                return report_from_json(report.head)
        except ConnectionError:
            return None
        except (ValueError, TypeError, KeyError, EOFError):
            pass
        status = await self._exit_status()
        return None if status is None else _refusal(status)

    async def open_stream(self, limits: DecodeLimits) -> bool:
        """Make a live stream the child's job, for `feed`; False if the child ended before it read the job."""
        try:
            self._jobs.write(STREAM + frames.encode(limits_to_json(limits)))
            started = await frames.read_async(self._reports, FRAME_MAX_BYTES)
        except (ConnectionError, EOFError, ValueError):
            return False
        return started is not None and started.head == STARTED

    async def feed(self, data: bytes, *, last: bool) -> bytes | Refusal:
        """Raw s16le mono that ``data`` of the live stream completes, or the refusal of the stream."""
        try:
            self._jobs.write(frames.encode({"last": last}, data))
            await self._jobs.drain()
            answer = await frames.read_async(self._reports, FRAME_MAX_BYTES + STREAM_MAX_BYTES)
            if answer is not None:
                report = report_from_json(answer.head) if answer.head else answer.body
                return report if isinstance(report, (bytes, Refusal)) else answer.body
        except (ConnectionError, ValueError, TypeError, KeyError, EOFError):
            pass
        status = await self._exit_status()
        return _SERVER_ENDED if status is None else _refusal(status)

    def _hand_over(self, job: DecodeJob) -> None:
        """Open the job's files and pass them to the child, which may open no files.

        Raises OSError. The channel's send buffer is empty, because the child has reported on the job before.
        """
        with open(job.source, "rb") as source, open(job.target, "wb") as target:  # noqa: PTH123
            socket.send_fds(self._channel, [JOB_FILES], [source.fileno(), target.fileno()])

    async def end(self) -> None:
        """Kill the child, if it still runs; returns when it has ended."""
        with contextlib.suppress(OSError):
            self._lifetime.write_eof()
            await self._status.read()
        for stream in (self._jobs, self._lifetime):
            stream.close()
            with contextlib.suppress(OSError):
                await stream.wait_closed()

    async def _exit_status(self) -> int | None:
        """None if the fork server ended first, and with it the child."""
        try:
            status = await frames.read_async(self._status, FRAME_MAX_BYTES)
        except (EOFError, ConnectionError):
            return None
        return None if status is None else exit_status_from(status.head)


def _refusal(exit_status: int) -> Refusal:
    if exit_status == -signal.SIGXCPU:
        return Refusal("decoding the recording takes more CPU time than one may have; split it", "decode_limit")
    if exit_status == -signal.SIGKILL:
        return Refusal(
            "the system stopped the decoder, most likely because of a lack of memory; split the recording", "decode_limit"
        )
    return Refusal("the recording crashed its decoder: it is damaged; export it again", "unreadable_audio")
