"""A pocketsphinx decoder in a process of its own, and the handle its owner holds.

pocketsphinx keeps the GIL for the whole of an utterance, seconds at a time; in a replica's own process that would leave it
deaf to health checks and queue probes. The child (``python -m serve.asr.decoder_process``) loads one decoder (0.4 s, 91 MB)
and answers requests over its standard pipes until its input ends.

Frames both ways: a little-endian u32 length, then that many bytes. A request is s16le PCM at 16 kHz mono. A reply is
JSON, ``{"words": [[word, first_frame, last_frame, probability], ...]}`` with frames of 10 ms, last one inclusive, or
``{"error": message}``. The first reply comes unasked when the decoder is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from typing import Any, BinaryIO, Final

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.errors import EngineFailure
from schemas.priority import session_steps_back
from serve.processes import module_env

_LENGTH: Final = struct.Struct("<I")
_START_SECS: Final = 120.0
_DECODE_BASE_SECS: Final = 60.0
_DECODE_PER_AUDIO_SEC: Final = 10.0
"""A reply is given up after 60 s and ten times the audio's length; the decoder runs five times faster than real time."""

_PR_SET_PDEATHSIG: Final = 1
_LARGE_PAGES: Final = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The search jumps about in 60 MB of heap: in pages of 2 MB, where Linux has them, it is 3 to 5 % faster."""

DECODER_OPTIONS: Final[dict[str, Any]] = {"samprate": SAMPLE_RATE_HZ, "loglevel": "FATAL"}

Word = tuple[str, int, int, float]


class DecoderDied(EngineFailure):
    """The child ended, or had to be ended, before it answered."""


class DecoderProcess:
    """One child. Not thread-safe, and to be started from a thread that outlives it: Linux ends it with that thread."""

    def __init__(self) -> None:
        """Starts the child and waits until its decoder is loaded. Raises DecoderDied."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "serve.asr.decoder_process", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**module_env(), **_LARGE_PAGES},
            start_new_session=True,
        )
        self._reply(time.monotonic() + _START_SECS)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child.poll() is None

    def decode(self, pcm: bytes) -> list[Word]:
        """Words and fillers of one utterance of s16le PCM. Raises DecoderDied, or EngineFailure if it was refused."""
        allowed = _DECODE_BASE_SECS + _DECODE_PER_AUDIO_SEC * len(pcm) / (2 * SAMPLE_RATE_HZ)
        assert self._child.stdin is not None  # noqa: S101  # Popen was given a pipe
        if not self.is_running:
            raise DecoderDied("the decoder process has ended")
        try:
            _write(self._child.stdin, pcm)
        except OSError as error:
            raise DecoderDied("the decoder process ended before it took the utterance") from error
        reply = self._reply(time.monotonic() + allowed)
        if "error" in reply:
            raise EngineFailure(f"pocketsphinx refused the utterance: {reply['error']}")
        return [(str(w), int(first), int(last), float(p)) for w, first, last, p in reply["words"]]

    def close(self) -> None:
        """Ends the child at once; it holds nothing worth saving."""
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._child.wait()

    def _reply(self, deadline: Seconds) -> dict[str, Any]:
        try:
            (length,) = _LENGTH.unpack(self._read_exactly(_LENGTH.size, deadline))
            reply: dict[str, Any] = json.loads(self._read_exactly(length, deadline))
        except DecoderDied:
            self.close()
            raise
        return reply

    def _read_exactly(self, size: int, deadline: Seconds) -> bytes:
        assert self._child.stdout is not None  # noqa: S101  # Popen was given a pipe
        descriptor = self._child.stdout.fileno()
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise DecoderDied("the decoder process did not answer in time")
            piece = os.read(descriptor, size - len(data))
            if not piece:
                raise DecoderDied("the decoder process ended before it answered")
            data += piece
        return data


def _write(stream: BinaryIO | Any, payload: bytes) -> None:
    stream.write(_LENGTH.pack(len(payload)) + payload)
    stream.flush()


def _die_with(parent_pid: int) -> None:
    """Asks Linux to end this process with the thread that started it; elsewhere the end of input does, if later."""
    # Ctrl-C reaches the whole foreground group; the owner decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it ended before the request took hold
            sys.exit(0)


def _decode(decoder: Any, pcm: bytes) -> list[Word]:
    # Noise estimates outlive an utterance; without a fresh front end a transcript would depend on what came before it.
    decoder.reinit_feat()
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()
    # No segmentation at all, where the utterance is too short for a single frame.
    return [(s.word, s.start_frame, s.end_frame, s.prob) for s in decoder.seg() or ()]


def main() -> None:
    """Serves one owner, whose process id is the only argument."""
    _die_with(int(sys.argv[1]))
    session_steps_back()
    # Replies go to a private copy of standard output; whatever else is printed goes to standard error.
    with open(os.dup(1), "wb") as replies:  # noqa: PTH123  # a descriptor, not a path
        os.dup2(2, 1)
        requests = sys.stdin.buffer
        import pocketsphinx

        decoder = pocketsphinx.Decoder(**DECODER_OPTIONS)
        _write(replies, b"{}")
        while len(header := requests.read(_LENGTH.size)) == _LENGTH.size:
            pcm = requests.read(_LENGTH.unpack(header)[0])
            try:
                reply: dict[str, Any] = {"words": _decode(decoder, pcm)}
            except RuntimeError as error:
                reply = {"error": str(error)}
            _write(replies, json.dumps(reply).encode())


if __name__ == "__main__":
    main()
