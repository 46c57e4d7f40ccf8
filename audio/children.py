"""The parent's side of `audio.nursery` and `audio.child`: how decoding children are born, spoken to and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import TypeAlias

from audio.protocol import BEGUN, Decoded, DecodeJob, Refusal, dump_line, load_report

_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Nursery:
    """The process that has the libraries loaded; it ends when ``control`` is closed."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls) -> Nursery:
        """Raises OSError."""
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
        """The ends of a new child: see `Child`. Raises OSError, a ConnectionError if the nursery has ended."""
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


class Child:
    """One child: ``talk`` is where it hears its jobs and reports; by ``leash`` the nursery tells how it ended.

    The nursery kills the child when the leash is let go.
    """

    def __init__(self, talk: _Stream, leash: _Stream) -> None:
        self.files = 0
        """How many it was given."""
        self._talk, self._told = talk
        self._leash_end, self._leash = leash

    @classmethod
    async def of(cls, talk: socket.socket, leash: socket.socket) -> Child:
        try:
            return cls(await asyncio.open_unix_connection(sock=talk), await asyncio.open_unix_connection(sock=leash))
        except BaseException:
            talk.close()
            leash.close()
            raise

    async def converse(self, job: DecodeJob) -> Decoded | Refusal | None:
        """The child's report, or what its end means; None if it ended before it had its job."""
        self.files += 1
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
