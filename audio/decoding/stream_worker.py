"""The decoding child's part for a live stream: Ogg or WebM in pieces, to raw s16le mono in pieces.

Each piece is answered with the samples that it completes. The demuxer reads more bytes only when it has consumed all
previous ones, so a piece is answered when the demuxer reads the next.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from audio.decoding.demux import Recording
from audio.decoding.file_parts import LivePart
from audio.decoding.protocol import CONTAINERS, MAGIC_BYTES, STREAM_MAX_BYTES, DecodeLimits, Refusal, report_to_json
from audio.pcm import to_int16
from audio.resample import Resampler
from runtime import frames
from schemas.engines import Samples
from schemas.errors import InvalidAudio


class _Answers:
    """Collects samples, resampled, until they are sent as the answer to a piece."""

    def __init__(self, reports: BinaryIO, rate_hz: int) -> None:
        self._reports = reports
        self._resampler = Resampler(rate_hz)
        self._ready: list[bytes] = []
        self._num_bytes = 0

    def feed(self, samples: Samples, rate_hz: int) -> None:
        self._add(self._resampler.feed(samples, rate_hz))

    def finish(self) -> None:
        self._add(self._resampler.finish())

    def send(self) -> None:
        frames.write(self._reports, {}, b"".join(self._ready))
        self._ready, self._num_bytes = [], 0

    def _add(self, samples: Samples) -> None:
        self._ready.append(to_int16(samples).tobytes())
        self._num_bytes += len(self._ready[-1])
        if self._num_bytes > STREAM_MAX_BYTES:
            raise InvalidAudio("a message of the stream unpacks to more than any real one", code="decode_limit")


class _Pieces:
    """A file of the pieces that arrive; it is not seekable, so the demuxer only reads forwards."""

    def __init__(self, pieces: BinaryIO, answers: _Answers) -> None:
        self._pieces = pieces
        self._answers = answers
        self._data = b""
        self._is_last = False
        self._owes_answer = False

    def head(self) -> bytes:
        """The first `MAGIC_BYTES`, or fewer at the end of the stream; they are read again afterwards."""
        while len(self._data) < MAGIC_BYTES and not self._is_last:
            self._next()
        return self._data[:MAGIC_BYTES]

    def read(self, num_bytes: int) -> bytes:
        while not self._data and not self._is_last:
            self._next()
        found, self._data = self._data[:num_bytes], self._data[num_bytes:]
        return found

    def _next(self) -> None:
        if self._owes_answer:
            self._answers.send()
        frame = frames.read(self._pieces)
        self._owes_answer = frame is not None
        self._is_last = frame is None or bool(frame.head["last"])
        self._data += frame.body if frame is not None else b""


def serve_stream(pieces: BinaryIO, reports: BinaryIO, limits: DecodeLimits) -> None:
    """Answer pieces until the last one, or with a `Refusal` what is wrong with the stream."""
    answers = _Answers(reports, limits.rate_hz)
    try:
        _decode(_Pieces(pieces, answers), answers)
        answers.send()
    except InvalidAudio as error:
        frames.write(reports, report_to_json(Refusal(error.message, error.code)))
    except MemoryError:
        refusal = Refusal("decoding the stream takes more memory than one may have", "decode_limit")
        frames.write(reports, report_to_json(refusal))


def _decode(pieces: _Pieces, answers: _Answers) -> None:
    head = pieces.head()
    if not head:
        return
    container = CONTAINERS.get(head)
    if container is None:
        raise InvalidAudio("the stream is neither Ogg nor WebM, by its first bytes", code="not_audio")
    recording = Recording(LivePart(pieces, container))
    if recording.codec not in ("opus", "vorbis"):
        raise InvalidAudio(f"live audio coded as {recording.codec} is not supported; send Opus", code="unreadable_audio")
    for samples, rate_hz in recording.blocks():
        answers.feed(np.ascontiguousarray(samples), rate_hz)
    answers.finish()
