"""A STUB in the place of the engines, for `fluxions bench archive` only: what an archive costs around them.

Recordings are read, hashed, sent, decoded, searched for speech, encoded and handed in as ever; the recogniser and the
diariser are not asked, and answer one made-up word. A Dask worker loads this module only where a cluster is started with
``DASK_DISTRIBUTED__WORKER__PRELOAD=flows.stub_engines``; no setting and no other module names it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flows import archive_connecting
from flows.archive_client import ArchiveClient
from schemas.domain import Lane, Recognition, Seconds, Span, SpeakerHint, Turn, Word
from schemas.engines import VoiceWindows

CALLS = "FLUXIONS_BENCH_CALLS"
"""Environment variable with the path of a file that grows by one byte for each utterance "recognised"."""

_WORD = Word("stub", 0.0, 0.1)


class StubEngines(ArchiveClient):
    """Speaks with the gateway about everything but what is heard."""

    async def recognize(self, pcm: bytes, lane: Lane = "archive") -> Recognition:
        with Path(os.environ[CALLS]).open("ab", buffering=0) as calls:  # noqa: ASYNC230 - one byte
            calls.write(b".")
        return Recognition((_WORD,))

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "archive"
    ) -> VoiceWindows:
        return VoiceWindows(np.array([offset_secs]), np.ones((1, 1), np.float32))

    async def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint) -> list[Turn]:
        return [Turn(0, span.start_secs, span.end_secs) for span in speech]


def dask_setup(_: object) -> None:
    """Called by Dask in each worker as it starts: from here on its batches connect through the stub."""
    archive_connecting.ArchiveClient = StubEngines  # type: ignore[attr-defined]
