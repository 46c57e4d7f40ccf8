"""Decoding of untrusted media to raw s16le mono, each file in a child process of its own with limits.

A child's libraries take a tenth of a second to load, so one child always waits, loaded, for the next file. It serves one
file and ends: whatever a file did to it is gone with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Self

from audio.protocol import BEGUN, Decoded, DecodeJob, Refusal, dump_line, load_report
from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import InvalidAudio, Unavailable
from schemas.settings import LimitSettings

__all__ = ["Decoded", "Decoder"]

_MAX_STARTS = 3
"""Children that may die before they had their job, one after the other, until the machine is to blame."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class Decoder:
    """Decodes files, as many at once as callers ask for. Belongs to the event loop it is used in.

    The thread that runs that loop must outlive the work: on Linux a child is killed when the thread that started it ends.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._spare: asyncio.Task[Process] | None = None

    async def __aenter__(self) -> Self:
        self._spare = asyncio.create_task(_start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the waiting child. Files still in work end with their own callers."""
        spare, self._spare = self._spare, None
        if spare is not None:
            # One that could not be started has nothing to end.
            with contextlib.suppress(OSError):
                await _end(await spare)

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
            child = await self._take()
            try:
                async with asyncio.timeout(self._limits.decode_wall_secs):
                    report = await _converse(child, job)
            except TimeoutError:
                secs = self._limits.decode_wall_secs
                return Refusal(f"decoding the recording took longer than {secs:g} s; split it", "decode_limit")
            finally:
                await _end(child)
            if report is not None:
                return report
        raise Unavailable("the decoder does not start; see `fluxions doctor`")

    async def _take(self) -> Process:
        """The waiting child, or a new one; the next begins to load at once."""
        if self._spare is None:
            raise RuntimeError("the decoder is closed")
        ready, self._spare = self._spare, asyncio.create_task(_start())
        try:
            return await asyncio.shield(ready)
        except asyncio.CancelledError:
            ready.add_done_callback(_kill_when_started)
            raise
        except OSError as error:
            raise Unavailable(f"the decoder cannot be started: {error.strerror}") from error


async def _start() -> Process:
    root = str(Path(__file__).parents[1])
    # No secret of this process is the child's business, and one thread is all that it may have.
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    env |= {"PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "audio.child", str(os.getpid())),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=env,
        start_new_session=True,
    )


async def _converse(child: Process, job: DecodeJob) -> Decoded | Refusal | None:
    """The child's report, or what its end means; None if it ended before it had its job."""
    assert child.stdin is not None  # noqa: S101 - both are pipes by construction
    assert child.stdout is not None  # noqa: S101
    # A child that is gone is told by its missing first line.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(dump_line(job))
        await child.stdin.drain()
    try:
        if await child.stdout.readline() != BEGUN:
            return None
        return load_report(await child.stdout.readline())
    except (ValueError, TypeError, KeyError):
        return _died(await child.wait())


def _died(returncode: int) -> Refusal:
    if returncode == -signal.SIGXCPU:
        return Refusal("decoding the recording takes more CPU time than one may have; split it", "decode_limit")
    if returncode == -signal.SIGKILL:
        return Refusal(
            "the system stopped the decoder, most likely for want of memory; split the recording", "decode_limit"
        )
    return Refusal("the recording crashed its decoder: it is damaged; export it again", "unreadable_audio")


async def _end(child: Process) -> None:
    """Kills it if it lives, then takes its exit status and closes its pipes."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    await child.communicate()


def _kill_when_started(task: asyncio.Task[Process]) -> None:
    if not task.cancelled() and task.exception() is None and task.result().returncode is None:
        with contextlib.suppress(ProcessLookupError):
            task.result().kill()
