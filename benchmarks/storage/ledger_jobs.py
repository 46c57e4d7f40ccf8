"""`fluxions bench jobs`: the time of one ledger for a whole job, from its submission to the tables, in process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.result_objects import result_objects
from schemas.domain import JobOptions, NewJob, Outcome, Progress, Segment, Transcript, Word
from schemas.settings import ServerSettings, Settings, StorageSettings

_WORDS_PER_SEC = 2.5
_SEGMENT_WORDS = 40
_TEXT = ("most", "people", "speak", "at", "about", "this", "many", "words", "a", "minute")


def transcript_of(duration_secs: float, words_per_sec: float = _WORDS_PER_SEC) -> Transcript:
    """A transcript as long as that of speech at 150 words a minute, in segments of 40 words."""
    words = [
        Word(_TEXT[number % len(_TEXT)], round(number / words_per_sec, 2), round((number + 0.9) / words_per_sec, 2), 0.93)
        for number in range(max(1, int(duration_secs * words_per_sec)))
    ]
    parts = [tuple(words[at : at + _SEGMENT_WORDS]) for at in range(0, len(words), _SEGMENT_WORDS)]
    segments = tuple(
        Segment(number % 2, number // 2, " ".join(word.text for word in part), part[0].start_secs, part[-1].end_secs, part)
        for number, part in enumerate(parts)
    )
    text = "\n".join(f"SPEAKER_{segment.speaker}: {segment.text}" for segment in segments)
    return Transcript(text, segments, (), "en", 2, len(segments), duration_secs, 1.0, "bench")


def result_bytes_per_audio_hour() -> int:
    """Bytes of the three result objects of an hour of speech."""
    return sum(map(len, result_objects("results/bench/1-1.json", transcript_of(3600.0)).values()))


def measure(folder: Path, *, jobs: int, at_once: int, duration_secs: float, reports: int) -> list[Measure]:
    """Runs ``jobs`` of ``duration_secs`` of audio through a new ledger in ``folder``, ``at_once`` of them together."""
    settings = Settings(server=ServerSettings(home=folder), storage=StorageSettings(storage_url="", fsync=True))
    return asyncio.run(_measure(settings, jobs, at_once, transcript_of(duration_secs), reports))


async def _measure(settings: Settings, jobs: int, at_once: int, transcript: Transcript, reports: int) -> list[Measure]:
    ledger = await Ledger.open(settings)
    try:
        began, loop_began, process_began = time.perf_counter(), time.thread_time(), time.process_time()
        numbers = iter(range(jobs))
        await asyncio.gather(*(_work(ledger, numbers, transcript, reports) for _ in range(at_once)))
        wall, loop = time.perf_counter() - began, time.thread_time() - loop_began
        process = time.process_time() - process_began
    finally:
        await ledger.close()
    return [
        Measure("jobs", jobs / wall, "/s"),
        Measure("event loop, for a job", loop / jobs * 1e3, "ms of a core"),
        Measure("whole process, for a job", process / jobs * 1e3, "ms of a core"),
    ]


async def _work(ledger: Ledger, numbers: Iterator[int], transcript: Transcript, reports: int) -> None:
    for number in numbers:
        await ledger.jobs.create(_new_job(number))
        claim = await ledger.jobs.claim("bench", 30.0)
        assert claim is not None  # noqa: S101 - this task has just added one
        job = claim.job
        await ledger.jobs.leased(job.id, claim.lease)
        for report in range(reports):
            await ledger.jobs.report(job.id, claim.lease, Progress("transcribing", report / reports), 0, ())
        await ledger.jobs.renew(job.id, claim.lease)
        outcome = Outcome.of(transcript, f"results/bench/{job.id}-1.json", None)
        await ledger.jobs.complete(job.id, claim.lease, outcome, transcript)


def _new_job(number: int) -> NewJob:
    sha256 = f"{number:064x}"
    return NewJob(
        account=f"account-{number % 100}",
        filename="bench.wav",
        content_type="audio/wav",
        sha256=sha256,
        size_bytes=100_000,
        audio_key=f"audio/bench/{sha256}",
        options=JobOptions(),
        use_cache=True,
        engine_revision="bench",
    )
