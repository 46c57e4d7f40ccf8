"""A STUB that replaces the engines, for `fluxions bench archive` only, to measure the overhead of an archive.

Recordings are read, hashed, sent, decoded, analysed for speech, encoded and reported as usual. Recogniser and diariser are
replaced by one invented word. A Dask worker loads this module only where a cluster is started with
``DASK_DISTRIBUTED__WORKER__PRELOAD=benchmarks.platform.archive_stub``; no setting and no other module names it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clients import connection
from clients.archives import ArchiveClient
from schemas.domain import AS_SPOKEN, Lane, Recognition, RecognizeOptions, Seconds, Span, SpeakerHint, Turn, Word
from schemas.engines import EngineInfo, VoiceWindows
from schemas.speech_engines import Timed

CALLS = "FLUXIONS_BENCH_CALLS"
"""Environment variable with the path of a file that grows by one byte for each window "recognised"."""

_WORD = Word("stub", 0.0, 0.1)


class StubEngines(ArchiveClient):
    """An archive client that sends everything to the gateway except requests to engines."""

    async def recognizer(self) -> EngineInfo:
        return EngineInfo("recognizer", "stub", "", "stub", {"detects_language": False})

    async def recognize(self, pcm: bytes, lane: Lane = "archive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        with Path(os.environ[CALLS]).open("ab", buffering=0) as calls:  # noqa: ASYNC230 - one byte
            calls.write(b".")
        return Recognition((_WORD,))

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "archive"
    ) -> Timed[VoiceWindows]:
        return Timed(VoiceWindows(np.array([offset_secs]), np.ones((1, 1), np.float32)), 0.0)

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint
    ) -> Timed[list[Turn]]:
        return Timed([Turn(0, span.start_secs, span.end_secs) for span in speech], 0.0)


def dask_setup(_: object) -> None:
    """Called by Dask at the start of each worker: its batches use the stub's client."""
    connection.ArchiveClient = StubEngines  # type: ignore[attr-defined]
