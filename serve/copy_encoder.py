"""Opus copies of renders, encoded in a process of its own.

On a thread of the gateway an encoder takes the GIL anew for each packet, behind all that streams sound meanwhile: it took
60 ms where 9 are enough, and fell behind the renders. The child (``python -m serve.copy_encoder``) steps back behind what
people wait for, and ends with its input.

A request is a little-endian u32 number of a copy, u8 1 for its end, u32 length, and that many bytes of s16le PCM at 24 kHz
mono; the answer is a u32 length and Ogg Opus. A copy that is dropped ends with an answer nobody keeps.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Final

from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import EngineFailure
from schemas.priority import step_back
from serve.processes import module_env

_REQUEST: Final = struct.Struct("<IBI")
_ANSWER: Final = struct.Struct("<I")


class CopyEncoder:
    """Keeps one child, started when it is first needed and again when it has died. Requests are answered in order."""

    def __init__(self) -> None:
        self._child: Process | None = None
        self._turn = asyncio.Lock()
        self._numbers = itertools.count()

    def open(self) -> CopyStream:
        return CopyStream(self, next(self._numbers) % 2**32)

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def start(self) -> None:
        """Have the child load while there is nothing to encode yet. Raises OSError."""
        async with self._turn:
            await self._running()

    async def ask(self, number: int, born: Process | None, pcm: bytes, *, last: bool) -> tuple[Process, bytes]:
        """The child that has the copy, and what it gave. ``born``: the one that had it until now.

        Raises EngineFailure if that one is gone, OSError if none can be started.
        """
        async with self._turn:
            child = await self._running()
            if born is not None and born is not child:
                raise EngineFailure("the process that encoded this copy has ended")
            assert child.stdin is not None  # noqa: S101 - it was given pipes
            assert child.stdout is not None  # noqa: S101
            try:
                child.stdin.write(_REQUEST.pack(number, last, len(pcm)) + pcm)
                await child.stdin.drain()
                (size,) = _ANSWER.unpack(await child.stdout.readexactly(_ANSWER.size))
                return child, await child.stdout.readexactly(size)
            except BaseException as error:
                await self._end()  # What it says next would be the answer to something else.
                if isinstance(error, (OSError, EOFError)):
                    raise EngineFailure("the process that encodes copies has ended") from error
                raise

    async def close(self) -> None:
        """End the child once it has answered; another is started if one is needed."""
        async with self._turn:
            await self._end()

    async def _running(self) -> Process:
        if self._child is None or not self.is_running:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "serve.copy_encoder"),
                stdin=PIPE,
                stdout=PIPE,
                env=module_env(),
                start_new_session=True,
            )
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


class CopyStream:
    """One copy: ``feed`` it s16le PCM at 24 kHz mono, keep what each call gives, then `finish` or `drop` it."""

    def __init__(self, encoder: CopyEncoder, number: int) -> None:
        self._encoder = encoder
        self._number = number
        self._child: Process | None = None

    async def feed(self, pcm: bytes) -> bytes:
        """Raises EngineFailure, OSError."""
        return await self._ask(pcm, last=False)

    async def finish(self, pcm: bytes = b"") -> bytes:
        """The rest, after ``pcm``. Raises as `feed`."""
        return await self._ask(pcm, last=True)

    async def drop(self) -> None:
        """Nothing more comes of it."""
        if self._child is not None:
            with suppress(EngineFailure, OSError):
                await self.finish()

    async def _ask(self, pcm: bytes, *, last: bool) -> bytes:
        self._child, encoded = await self._encoder.ask(self._number, self._child, pcm, last=last)
        return encoded


def main() -> None:
    step_back()
    import numpy as np

    from audio.encode import Encoder

    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    copies: dict[int, Encoder] = {}
    while len(header := requests.read(_REQUEST.size)) == _REQUEST.size:
        number, last, size = _REQUEST.unpack(header)
        if number not in copies:
            copies[number] = Encoder("opus", SPEECH_RATE_HZ, cheap=True)
        encoded = copies[number].feed(np.frombuffer(requests.read(size), "<i2"))
        if last:
            encoded += copies.pop(number).finish()
        answers.write(_ANSWER.pack(len(encoded)) + encoded)
        answers.flush()


if __name__ == "__main__":
    main()
