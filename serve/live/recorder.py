"""Records a live stream as a transcription in the history, with its audio on request."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from tempfile import TemporaryFile
from typing import IO, Final

from audio.pcm import to_int16
from audio.raw_pcm import RawFormat, wav_header
from lakehouse.ledger.interface import JobLedger
from lakehouse.storage.objects import Objects, audio_key
from lakehouse.storage.result_objects import put_result, result_key
from schemas.domain import SAMPLE_RATE_HZ, Job, JobOptions, JobStatus, RecognizeOptions, Segment, Transcript
from schemas.engines import Samples
from schemas.spacing import join_words
from serve.live.live_events import FinalResult

_PIECE_BYTES: Final = 256 * 1024


class LiveRecorder:
    """Collects the final results of one stream, and its audio in a temporary file if ``store``."""

    def __init__(self, jobs: JobLedger, objects: Objects, account: str, engine_revision: str, *, store: bool) -> None:
        self._jobs = jobs
        self._objects = objects
        self._account = account
        self._engine_revision = engine_revision
        self._began = time.monotonic()
        self._segments: list[Segment] = []
        self._counts: dict[int, int] = {}
        self._languages: Counter[str] = Counter()
        """Words by the language in which they were recognised."""
        self._sound: IO[bytes] | None = TemporaryFile() if store else None  # noqa: SIM115 - closed by `finish`

    def add_audio(self, samples: Samples) -> None:
        """Append audio, ``(num_samples,) float32`` at 16 kHz."""
        if self._sound is not None:
            self._sound.write(to_int16(samples).tobytes())

    def add_result(self, final: FinalResult) -> None:
        """Add a final result."""
        if final.words:
            number = self._counts.get(final.speaker, 0)
            self._counts[final.speaker] = number + 1
            text = join_words(word.text for word in final.words)
            first, last = final.words[0].start_secs, final.words[-1].end_secs
            if final.language is not None:
                self._languages[final.language] += len(final.words)
            self._segments.append(Segment(final.speaker, number, text, first, last, final.words))

    async def finish(self, audio_secs: float, recognize: RecognizeOptions, name: str) -> int | None:
        """Record the transcription and return its id; None without speech and stored audio."""
        try:
            if not self._segments and self._sound is None:
                return None
            return await self._record(audio_secs, recognize, name)
        finally:
            if self._sound is not None:
                self._sound.close()

    async def _record(self, audio_secs: float, recognize: RecognizeOptions, name: str) -> int:
        identity = uuid.uuid4().hex
        digest, size_bytes, key = hashlib.sha256(identity.encode()).hexdigest(), 0, ""
        if self._sound is not None:
            samples_bytes = self._sound.seek(0, os.SEEK_END)
            header = wav_header(RawFormat("s16le", SAMPLE_RATE_HZ), samples_bytes)
            sound = _wav(header, self._sound)
            stored = await self._objects.put_stream(sound, limit_bytes=len(header) + samples_bytes)
            digest, size_bytes, key = stored.sha256, stored.size_bytes, audio_key(self._account, stored.sha256)
            await self._objects.adopt(stored, key)
        transcript = Transcript(
            text="\n".join(f"SPEAKER_{segment.speaker}: {segment.text}" for segment in self._segments),
            segments=tuple(self._segments),
            events=(),
            language=recognize.language or next((language for language, _ in self._languages.most_common(1)), "en"),
            num_speakers=len(self._counts),
            num_chunks=len(self._segments),
            audio_duration_secs=audio_secs,
            processing_secs=round(time.monotonic() - self._began, 3),
            engine_revision=self._engine_revision,
        )
        result = result_key(self._account, f"live-{identity}")
        await put_result(self._objects, result, transcript)
        now = dt.datetime.now(dt.UTC)
        job = Job(
            id=0,
            account=self._account,
            status=JobStatus.COMPLETED,
            created_at=now,
            updated_at=now,
            filename=name,
            content_type="audio/wav",
            sha256=digest,
            size_bytes=size_bytes,
            audio_key=key,
            options=JobOptions(recognize=recognize),
            use_cache=False,
            engine_revision=f"live+{self._engine_revision}",
            result_key=result,
            audio_duration_secs=audio_secs,
            processing_secs=transcript.processing_secs,
            language=transcript.language,
            num_chunks=transcript.num_chunks,
            num_segments=len(transcript.segments),
            num_speakers=transcript.num_speakers,
            cost_usd=0.0,
            import_key=f"live-{identity}",
        )
        ((job_id, _),) = await self._jobs.import_finished(self._account, [job])
        return job_id


async def _wav(header: bytes, samples: IO[bytes]) -> AsyncIterator[bytes]:
    """A WAV file of ``samples`` from their beginning, in pieces."""
    yield header
    samples.seek(0)
    while piece := await asyncio.to_thread(samples.read, _PIECE_BYTES):
        yield piece
