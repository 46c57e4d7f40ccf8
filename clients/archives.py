"""The operator API of archives over HTTP: batches of files are begun, renewed and finished.

Every call may be repeated: files are identified by their keys, and a repeated call gets the same answer.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from clients.operator import ClaimedJob, OperatorClient
from schemas import wire
from schemas.archives import (
    SMALL_FILE_BYTES,
    Archive,
    ArchiveFile,
    ArchiveReport,
    ArchiveStatus,
    BeginState,
    Begun,
    EndedFile,
    FileDiff,
    FileFailure,
    FileOutcome,
    FileStatus,
    NewArchive,
    NotedFile,
    Selected,
    SourceFile,
)
from schemas.domain import JobOptions, Seconds, Transcript

BASE = "/operator/archives"
_PAGE_ROWS = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BegunFile:
    """The answer to beginning a file: ``job`` if it is LEASED, the known ``file`` if it is DONE."""

    source: SourceFile
    state: BeginState
    job: ClaimedJob | None = None
    file: ArchiveFile | None = None
    retry_after_secs: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A recording for which a cached result may exist."""

    account: str
    sha256: str
    options: JobOptions = field(default_factory=JobOptions)


class ArchiveClient(OperatorClient):
    """The operator API of archives, in addition to the methods of `OperatorClient`. Raises as `OperatorClient` does."""

    def __init__(self, url: str, key: str, **options: Any) -> None:
        super().__init__(url, key, **options)
        self._playbacks: dict[str, bytes] = {}
        """Small playback copies of files that are not finished yet, by lease."""

    async def open_archive(self, new: NewArchive) -> Archive:
        """A new run, or the earlier one with the same parameters, which is resumed."""
        return _parsed(Archive, await self._json("POST", BASE, json=asdict(new)))

    async def archives(self) -> list[Archive]:
        """All runs, newest first."""
        return _parsed(list[Archive], (await self._json("GET", BASE))["archives"])

    async def archive(self, archive_id: int) -> Archive:
        """One run with its counts. Raises NotFound."""
        return _parsed(Archive, await self._json("GET", f"{BASE}/{archive_id}"))

    async def known(self, archive_id: int, keys: Sequence[str]) -> dict[str, ArchiveFile]:
        """The run's files with these keys (100 at most), by key; unknown ones are absent."""
        answer = await self._json("POST", f"{BASE}/{archive_id}/known", json={"keys": list(keys)})
        return {file.key: file for file in _parsed(list[ArchiveFile], answer["files"])}

    async def begin(
        self, archive_id: int, worker: str, files: Sequence[SourceFile], *, retry_failed: bool = False
    ) -> list[BegunFile]:
        """Lease ``files`` (100 at most) for work; one answer each, in order.

        ``worker`` identifies this attempt at the batch. Files that are leased to ``worker`` stay leased when the call is
        repeated. ``retry_failed``: whether files that failed or were cancelled are begun again. Raises
        Conflict(code="archive_ended") if the run is no longer running.
        """
        body = {"worker": worker, "retry_failed": retry_failed, "files": [asdict(file) for file in files]}
        answer = await self._json("POST", f"{BASE}/{archive_id}/begin", json=body)
        begun, revision = _parsed(list[Begun], answer["files"]), str(answer["engine_revision"])
        return [_begun(source, one, revision) for source, one in zip(files, begun, strict=True)]

    async def upload(self, archive_id: int, account: str, sha256: str, source: Path) -> None:
        """Send the bytes that have this SHA-256. Raises InvalidRequest, PayloadTooLarge, Conflict(code="other_content")."""
        await self._send_file(f"{BASE}/{archive_id}/audio/{sha256}", {"account": account}, source)

    async def upload_many(self, archive_id: int, files: Sequence[tuple[SourceFile, Path]]) -> list[FileFailure | None]:
        """Send small recordings (`PORTION_BYTES` and 100 at most) in one call.

        Returns the reason of the refusal or None for each.
        """
        heads = [{"account": s.account, "sha256": s.sha256, "size_bytes": s.size_bytes} for s, _ in files]
        contents = [path.read_bytes() for _, path in files]
        answer = await self._json("POST", f"{BASE}/{archive_id}/audio", content=wire.pack({"files": heads}, *contents))
        return [FileFailure(one["error"], one["message"]) if one else None for one in answer["files"]]

    async def store_playback(self, job: ClaimedJob, source: Path, peaks: bytes) -> None:
        """Send the playback copy with its waveform, or hold a small copy back until `finish` sends it: see `playback`.

        The waveform of a small copy is not sent, because the server computes it quickly when it is requested.
        """
        small = _small(source)
        if small is None:
            await super().store_playback(job, source, peaks)
        else:
            self._playbacks[job.lease] = small

    def playback(self, lease: str) -> bytes:
        """Take the playback copy that was held back for this lease; empty if there is none."""
        return self._playbacks.pop(lease, b"")

    async def renew_files(self, archive_id: int, leases: Mapping[int, str], waiting: Collection[int] = ()) -> set[int]:
        """Extend leases (job id to lease, 100 at most). Returns the job ids of lost leases: work on these must stop.

        Jobs in ``waiting`` are those on which no work was begun.
        """
        rows = [{"job_id": job_id, "lease": lease} for job_id, lease in leases.items()]
        body = {"leases": rows, "waiting": sorted(leases.keys() & set(waiting))}
        return set((await self._json("POST", f"{BASE}/{archive_id}/renew", json=body))["lost"])

    async def finish(self, archive_id: int, ended: Sequence[EndedFile]) -> list[FileOutcome]:
        """Report finished files (100 at most), which are recorded in one commit; one answer each, in order.

        A file that is not accepted has an ``error`` and does not affect the others. Repeating a call changes nothing.
        """
        content = wire.pack({"files": [_ended(one) for one in ended]}, *(one.playback for one in ended))
        answer = await self._json("POST", f"{BASE}/{archive_id}/finish", content=content)
        return _parsed(list[FileOutcome], answer["files"])

    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None:
        """Release files without a result. Others may begin them at once; the attempt does not count."""
        body = {"leases": [{"job_id": job_id, "lease": lease} for job_id, lease in leases.items()]}
        await self._json("POST", f"{BASE}/{archive_id}/release", json=body)

    async def note(self, archive_id: int, noted: Sequence[NotedFile]) -> None:
        """Record files (100 at most) as failed or skipped without an attempt. Completed files stay as they are."""
        await self._json("POST", f"{BASE}/{archive_id}/note", json={"files": [asdict(one) for one in noted]})

    async def end_archive(self, archive_id: int, status: ArchiveStatus, message: str | None = None) -> Archive:
        """End the run as COMPLETED or FAILED. Repeating the call changes nothing."""
        body = {"status": status, "message": message}
        return _parsed(Archive, await self._json("POST", f"{BASE}/{archive_id}/end", json=body))

    async def files(self, archive_id: int, status: FileStatus | None = None) -> AsyncIterator[ArchiveFile]:
        """Every file of a run, or those in one state, by key."""
        after: str | None = None
        while True:
            asked = {"status": status, "after": after, "limit": _PAGE_ROWS}
            params = {name: value for name, value in asked.items() if value is not None}
            page = await self._json("GET", f"{BASE}/{archive_id}/files", params=params)
            for file in _parsed(list[ArchiveFile], page["files"]):
                yield file
            after = page["next_after"]
            if after is None:
                return

    async def archive_report(self, archive_id: int) -> ArchiveReport:
        """Counts, hours, speed, cost and failures of a run. Raises NotFound."""
        return _parsed(ArchiveReport, await self._json("GET", f"{BASE}/{archive_id}/report"))

    async def answered(self, questions: Sequence[Question]) -> tuple[list[bool], str]:
        """Whether a cached result exists for each of 100 recordings at most, and the engines' revision. Changes nothing."""
        body = {"files": [asdict(one) for one in questions]}
        answer = await self._json("POST", f"{BASE}/cached", json=body)
        return list(answer["cached"]), str(answer["engine_revision"])

    async def select(
        self, where: str, account: str | None = None, *, include_current: bool = False
    ) -> AsyncIterator[Selected]:
        """Transcriptions for which the SQL condition ``where`` holds, by id; without ``include_current`` only those that
        the present engines did not make. Raises InvalidParameter(param="where") for SQL that is wrong.
        """
        after = 0
        while True:
            body = {"where": where, "account": account, "include_current": include_current, "after": after}
            page = await self._json("POST", f"{BASE}/select", json={**body, "limit": _PAGE_ROWS})
            for found in _parsed(list[Selected], page["transcriptions"]):
                yield found
            if page["next_after"] is None:
                return
            after = page["next_after"]

    async def diff(self, archive_id: int) -> AsyncIterator[FileDiff]:
        """Old and new revision of every file a reprocessing completed, by key."""
        after: str | None = None
        while True:
            params = {} if after is None else {"after": after}
            page = await self._json("GET", f"{BASE}/{archive_id}/diff", params=params)
            for file in _parsed(list[FileDiff], page["files"]):
                yield file
            after = page["next_after"]
            if after is None:
                return


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _parsed(kind: type[T], data: Any) -> T:
    return _adapter(kind).validate_python(data)  # type: ignore[no-any-return, arg-type]


def _begun(source: SourceFile, begun: Begun, engine_revision: str) -> BegunFile:
    job: ClaimedJob | None = None
    if begun.lease is not None:
        job = ClaimedJob(
            id=begun.lease.job_id,
            attempt=begun.lease.attempt,
            lease=begun.lease.lease,
            lease_secs=begun.lease.lease_secs,
            filename=source.filename,
            size_bytes=source.size_bytes,
            sha256=source.sha256,
            options=source.options,
            engine_revision=engine_revision,
            account=source.account,
        )
    return BegunFile(source, begun.state, job, begun.file, begun.retry_after_secs)


def _small(path: Path) -> bytes | None:
    """The contents of a small file, else None."""
    return path.read_bytes() if path.stat().st_size <= SMALL_FILE_BYTES else None


def _ended(one: EndedFile) -> dict[str, Any]:
    what = "transcript" if isinstance(one.result, Transcript) else "failure"
    return {"job_id": one.job_id, "lease": one.lease, what: one.result, "playback_bytes": len(one.playback)}
