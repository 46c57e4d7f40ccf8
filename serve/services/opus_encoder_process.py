"""Opus recordings of renders, encoded in a process of its own.

On a thread of the gateway an encoder would acquire the GIL for each packet, in competition with all streams: a recording
took 60 ms there instead of 9, and encoding fell behind the renders. The child (``python -m
serve.services.opus_encoder_process``) runs at low priority.

A request's head is ``{"recording": number, "last": bool, "channels": 1 or 2}`` and its body s16le PCM at 24 kHz. The
answer's body is the Ogg Opus that is complete so far. To abandon a recording, the parent ends it and ignores the last
answer.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runtime.child_program import ChildEnded, ChildProgram, serve
from runtime.priority import lower_priority
from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import EngineFailure

if TYPE_CHECKING:
    from audio.encode import Encoder
    from runtime.frames import Frame


class OpusEncoder:
    """Encodes any number of recordings in one child process, which is started at the first use."""

    def __init__(self) -> None:
        self._child = ChildProgram("serve.services.opus_encoder_process")
        self._numbers = itertools.count()

    def open(self, channels: int = 1) -> OpusRecording:
        """A new recording; one of two channels is fed left and right in turn."""
        return OpusRecording(self._child, next(self._numbers), channels)

    @property
    def is_running(self) -> bool:
        """Whether the child runs."""
        return self._child.is_running

    async def start(self) -> None:
        """Start the child ahead of the first audio. Raises OSError."""
        await self._child.start()

    async def close(self) -> None:
        """End the child after its current answer. A later call starts a new child."""
        await self._child.stop()

    async def end_for_good(self) -> None:
        """End the child at once. From now on every call for its recordings raises EngineFailure."""
        await self._child.end_for_good()


class OpusRecording:
    """One recording: pass s16le PCM at 24 kHz to `feed`, keep the bytes that each call returns, then call `finish` or
    `abandon`.
    """

    def __init__(self, child: ChildProgram, number: int, channels: int) -> None:
        self._child = child
        self._number = number
        self._channels = channels
        self._life: int | None = None

    async def feed(self, pcm: bytes) -> bytes:
        """The next bytes of Ogg Opus, perhaps none. Raises EngineFailure if the child has ended, OSError."""
        return await self._encode(pcm, last=False)

    async def finish(self, pcm: bytes = b"") -> bytes:
        """The rest, after ``pcm``. Raises as `feed`."""
        return await self._encode(pcm, last=True)

    async def abandon(self) -> None:
        """End the recording and discard the rest of its audio."""
        if self._life is not None:
            with suppress(EngineFailure, OSError):
                await self.finish()

    async def _encode(self, pcm: bytes, *, last: bool) -> bytes:
        head = {"recording": self._number, "last": last, "channels": self._channels}
        try:
            self._life, answer = await self._child.ask(head, pcm, life=self._life)
        except ChildEnded as error:
            raise EngineFailure("the process that encoded this recording has ended") from error
        return answer.body


def main() -> None:
    """The child: encodes until its input ends."""
    lower_priority()
    import numpy as np

    from audio.encode import Encoder

    recordings: dict[int, Encoder] = {}

    def answer(request: Frame) -> tuple[dict[str, Any], bytes]:
        number = request.head["recording"]
        if number not in recordings:
            recordings[number] = Encoder("opus", SPEECH_RATE_HZ, cheap=True, channels=request.head["channels"])
        encoded = recordings[number].feed(np.frombuffer(request.body, "<i2"))
        if request.head["last"]:
            encoded += recordings.pop(number).finish()
        return {}, encoded

    serve(answer)


if __name__ == "__main__":
    main()
