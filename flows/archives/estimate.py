"""The estimate before a run: number of files, hours of audio, what is already done, expected time and cost."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES
from audio.durations import duration_secs
from clients.archives import ArchiveClient, Question
from flows.archives.batch_spec import is_settled, key_of
from flows.archives.sources.entries import Entry, Problem
from flows.archives.sources.factory import batches, open_source
from flows.archives.sources.fetch import NO_RECORDING, opened, redact_url, version
from schemas.archives import BATCH_FILES, Archive, ArchiveFile, ArchiveKind, ArchiveStatus, NewArchive
from schemas.domain import Seconds
from schemas.errors import FluxionsError
from schemas.settings import Settings

_AT_ONCE = 16
_READ_BYTES = 1024 * 1024
_SHOWN_PROBLEMS = 20
_RECENT_RUNS = 5


@dataclass
class Estimate:
    """Counts of files, and what the remaining ones will take. Files of unknown length count as average ones."""

    files: int = 0
    done: int = 0
    """Settled in an earlier run of the same archive, and unchanged."""
    cached: int = 0
    """Remaining files for which a cached result exists; known only if their bytes were hashed."""
    unread: int = 0
    """Remaining files that were not hashed, so that it is not known whether a cached result exists."""
    not_audio: int = 0
    problems: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)
    secs_left: Seconds = 0.0
    """Audio of remaining, uncached files of known length."""
    known: int = 0
    unknown: int = 0
    x_realtime: float | None = None
    usd_per_hour: float = 0.0

    @property
    def hours_left(self) -> float:
        """Hours of audio that remain, unknown lengths estimated."""
        average = self.secs_left / self.known if self.known else 0.0
        return (self.secs_left + average * self.unknown) / 3600

    def problem(self, where: str, code: str, message: str) -> None:
        """Count a file that cannot be used; the first 20 are listed."""
        self.problems += 1
        if len(self.examples) < _SHOWN_PROBLEMS:
            self.examples.append({"where": where, "code": code, "message": message})

    def to_json(self) -> dict[str, Any]:
        """As the command line and the program's `estimate` event show it."""
        secs = None if self.x_realtime is None else self.hours_left * 3600 / self.x_realtime
        return {
            "files": self.files,
            "done": self.done,
            "cached": self.cached,
            "unread": self.unread,
            "not_audio": self.not_audio,
            "problems": self.problems,
            "examples": self.examples,
            "left": self.files - self.done - self.cached - self.not_audio,
            "hours": round(self.hours_left, 4),
            "unknown_lengths": self.unknown,
            "x_realtime": self.x_realtime,
            "estimated_secs": None if secs is None else round(secs),
            "estimated_usd": round(self.hours_left * self.usd_per_hour, 4),
        }


async def estimate(
    client: ArchiveClient, settings: Settings, new: NewArchive, *, retry_failed: bool, hashing: bool
) -> Estimate:
    """Estimate the run ``new``. Reads the first bytes of each file; with ``hashing`` all bytes of local files, to look for
    cached results. Raises what the gateway and the source raise.
    """
    runs = await client.archives()
    found = Estimate(usd_per_hour=settings.jobs.usd_per_audio_hour, x_realtime=await _recent_pace(client, runs))
    same = [r for r in runs if (r.account, r.kind, r.source, r.options) == (new.account, new.kind, new.source, new.options)]
    earlier = same[0] if same else None
    if new.kind is ArchiveKind.REPROCESS:
        await _transcriptions(client, new, found)
        return found
    settled: dict[str, ArchiveFile] = {}
    if earlier is not None and earlier.status is not ArchiveStatus.RUNNING:
        # The ledger has the files of a run that has ended in its tables only, which are read page by page.
        settled = {file.key: file async for file in client.files(earlier.id) if file.status.is_settled}
    async for batch in batches(open_source(new.source, new.options), lambda: BATCH_FILES):
        for one in batch:
            if isinstance(one, Problem):
                found.problem(one.place or one.location, one.code, one.message)
        entries = [one for one in batch if isinstance(one, Entry)]
        known = settled
        if earlier is not None and earlier.status is ArchiveStatus.RUNNING:
            known = await client.known(earlier.id, [key_of(entry) for entry in entries])
        await _batch(client, new, entries, known, found, retry_failed=retry_failed, hashing=hashing)
    return found


async def _batch(
    client: ArchiveClient,
    new: NewArchive,
    entries: Sequence[Entry],
    known: dict[str, ArchiveFile],
    found: Estimate,
    *,
    retry_failed: bool,
    hashing: bool,
) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def probe(entry: Entry) -> _Probed | None:
        async with places:
            return await _probe(entry, known.get(key_of(entry)), retry_failed=retry_failed, hashing=hashing)

    probed = await asyncio.gather(*(probe(entry) for entry in entries))
    asked: list[Question] = []
    waiting: list[_Probed] = []
    for entry, seen in zip(entries, probed, strict=True):
        found.files += 1
        if seen is None:
            found.done += 1
        elif seen.error is not None:
            found.not_audio += seen.error.code in NO_RECORDING
            found.problem(entry.place or redact_url(entry.location), seen.error.code, seen.error.message)
        elif seen.sha256 is not None:
            asked.append(Question(entry.account or new.account, seen.sha256, entry.options or new.options))
            waiting.append(seen)
        else:
            found.unread += 1
            _count(seen.secs, found)
    answers = (await client.answered(asked))[0] if asked else []
    for seen, cached in zip(waiting, answers, strict=True):
        if cached:
            found.cached += 1
        else:
            _count(seen.secs, found)


@dataclass(frozen=True, slots=True)
class _Probed:
    """What was found out about one file. ``secs`` is None where its length is unknown, ``sha256`` where it was not read."""

    secs: Seconds | None = None
    sha256: str | None = None
    error: FluxionsError | None = None


async def _probe(entry: Entry, known: ArchiveFile | None, *, retry_failed: bool, hashing: bool) -> _Probed | None:
    """None if the file is settled and unchanged."""
    try:
        if known is not None and is_settled(known, await version(entry), retry_failed=retry_failed):
            return None
        return await asyncio.to_thread(_read, entry, hashing)
    except FluxionsError as error:
        return _Probed(error=error)


def _read(entry: Entry, hashing: bool) -> _Probed:
    with opened(entry) as file:
        if file is None:
            return _Probed()
        read, size = file
        reject_non_audio(read(0, HEAD_BYTES), size)
        sha256 = _hash(Path(entry.location)) if hashing and "://" not in entry.location else None
        return _Probed(duration_secs(read, size), sha256)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _count(secs: Seconds | None, found: Estimate) -> None:
    if secs is None:
        found.unknown += 1
    else:
        found.known += 1
        found.secs_left += secs


async def _transcriptions(client: ArchiveClient, new: NewArchive, found: Estimate) -> None:
    async for one in client.select(new.source, include_current=new.include_current):
        found.files += 1
        _count(one.audio_secs, found)


async def _recent_pace(client: ArchiveClient, runs: Sequence[Archive]) -> float | None:
    """Speed of recent runs with the present engines, times real time, weighted by audio; None without such runs."""
    revision = (await client.answered([]))[1]
    audio_secs = active_secs = 0.0
    for run in [r for r in runs if r.engine_revision == revision and r.counts.audio_secs][:_RECENT_RUNS]:
        report = await client.archive_report(run.id)
        if report.x_realtime:
            audio_secs += run.counts.audio_secs
            active_secs += run.counts.audio_secs / report.x_realtime
    return round(audio_secs / active_secs, 2) if active_secs else None
