"""How an archive's flow speaks to the gateway: batches of files begun, renewed and ended, as patient as `OperatorClient`.

Needs the gateway's URL and an operator key, nothing else. Every call may be repeated: files are known by their keys, and
what was begun or ended before is answered as it was.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from flows.client import ClaimedJob, OperatorClient
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
from schemas.domain import JobOptions, Lane, Recognition, Seconds, SoundEvent, Span, Transcript
from schemas.engines import VoiceWindows

_BASE = "/operator/archives"
_PAGE_ROWS = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BegunFile:
    """What became of a file: ``job`` to work on if LEASED, ``file`` as it is known if DONE."""

    source: SourceFile
    state: BeginState
    job: ClaimedJob | None = None
    file: ArchiveFile | None = None
    retry_after_secs: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A recording about which is asked whether an earlier result would answer it."""

    account: str
    sha256: str
    options: JobOptions = field(default_factory=JobOptions)


class ArchiveClient(OperatorClient):
    """The operator API of archives, and all that an `OperatorClient` can do. Raises as that does."""

    def __init__(self, url: str, key: str, **options: Any) -> None:
        super().__init__(url, key, **options)
        self._playbacks: dict[str, bytes] = {}
        """By lease: small copies of files that are not handed in yet."""

    async def recognize(self, pcm: bytes, lane: Lane = "archive") -> Recognition:
        return await super().recognize(pcm, lane)

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "archive"
    ) -> VoiceWindows:
        return await super().observe(pcm, speech, offset_secs, lane)

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "archive") -> list[SoundEvent]:
        return await super().observe_events(pcm, offset_secs, lane)

    async def open_archive(self, new: NewArchive) -> Archive:
        """The run asked for: a new one, or the same one as before, which goes on."""
        return _parsed(Archive, await self._json("POST", _BASE, json=asdict(new)))

    async def archives(self) -> list[Archive]:
        """All runs, newest first."""
        return _parsed(list[Archive], (await self._json("GET", _BASE))["archives"])

    async def archive(self, archive_id: int) -> Archive:
        """Raises NotFound."""
        return _parsed(Archive, await self._json("GET", f"{_BASE}/{archive_id}"))

    async def known(self, archive_id: int, keys: Sequence[str]) -> dict[str, ArchiveFile]:
        """What the run knows of these keys (100 at most), by key; unknown ones are absent."""
        answer = await self._json("POST", f"{_BASE}/{archive_id}/known", json={"keys": list(keys)})
        return {file.key: file for file in _parsed(list[ArchiveFile], answer["files"])}

    async def begin(
        self, archive_id: int, worker: str, files: Sequence[SourceFile], *, retry_failed: bool = False
    ) -> list[BegunFile]:
        """Ask for work on ``files`` (100 at most); one answer each, in order.

        ``worker`` names this one attempt at the batch: asked again under the same name, files it holds are leased to it
        still. ``retry_failed``: whether files that failed or were cancelled are begun again. Raises Conflict(code=
        "archive_ended") if the run is no longer running.
        """
        body = {"worker": worker, "retry_failed": retry_failed, "files": [asdict(file) for file in files]}
        answer = await self._json("POST", f"{_BASE}/{archive_id}/begin", json=body)
        begun, revision = _parsed(list[Begun], answer["files"]), str(answer["engine_revision"])
        return [_begun(source, one, revision) for source, one in zip(files, begun, strict=True)]

    async def upload(self, archive_id: int, account: str, sha256: str, source: Path) -> None:
        """Send the bytes that have this SHA-256. Raises InvalidRequest, PayloadTooLarge, Conflict(code="other_content")."""
        await self._send_file(f"{_BASE}/{archive_id}/audio/{sha256}", {"account": account}, source)

    async def upload_many(self, archive_id: int, files: Sequence[tuple[SourceFile, Path]]) -> list[FileFailure | None]:
        """Send small recordings (`PORTION_BYTES` and 100 at most) with one call; why one was refused, in order."""
        heads = [{"account": s.account, "sha256": s.sha256, "size_bytes": s.size_bytes} for s, _ in files]
        contents = [path.read_bytes() for _, path in files]
        answer = await self._json("POST", f"{_BASE}/{archive_id}/audio", content=wire.pack({"files": heads}, *contents))
        return [FileFailure(one["error"], one["message"]) if one else None for one in answer["files"]]

    async def store_playback(self, job: ClaimedJob, source: Path) -> None:
        """Send the playback copy, or keep a small one to travel with the transcript: `playback` gives it."""
        small = _small(source)
        if small is None:
            await super().store_playback(job, source)
        else:
            self._playbacks[job.lease] = small

    def playback(self, lease: str) -> bytes:
        """The copy that was kept for this lease, once; empty if there is none."""
        return self._playbacks.pop(lease, b"")

    async def renew_files(self, archive_id: int, leases: Mapping[int, str]) -> set[int]:
        """Extend leases (job id to lease, 100 at most); gives the ids of those that are lost: stop working on them."""
        body = {"leases": [{"job_id": job_id, "lease": lease} for job_id, lease in leases.items()]}
        return set((await self._json("POST", f"{_BASE}/{archive_id}/renew", json=body))["lost"])

    async def finish(self, archive_id: int, ended: Sequence[EndedFile]) -> list[FileOutcome]:
        """Hand in what became of leased files (100 at most), in one commit; one answer each, in order.

        A file that is not taken (``error``) spoils no other. Repeating a call changes nothing.
        """
        content = wire.pack({"files": [_ended(one) for one in ended]}, *(one.playback for one in ended))
        answer = await self._json("POST", f"{_BASE}/{archive_id}/finish", content=content)
        return _parsed(list[FileOutcome], answer["files"])

    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None:
        """Hand files back untouched, when work stops: others may begin them at once, and it counts as no attempt."""
        body = {"leases": [{"job_id": job_id, "lease": lease} for job_id, lease in leases.items()]}
        await self._json("POST", f"{_BASE}/{archive_id}/release", json=body)

    async def note(self, archive_id: int, noted: Sequence[NotedFile]) -> None:
        """Record files (100 at most) that never came to work, with their reasons. A file that is completed stays so."""
        await self._json("POST", f"{_BASE}/{archive_id}/note", json={"files": [asdict(one) for one in noted]})

    async def end_archive(self, archive_id: int, status: ArchiveStatus, message: str | None = None) -> Archive:
        """Say how the run ended: COMPLETED or FAILED. Ending it twice the same way is one."""
        body = {"status": status, "message": message}
        return _parsed(Archive, await self._json("POST", f"{_BASE}/{archive_id}/end", json=body))

    async def cancel_archive(self, archive_id: int) -> Archive:
        """Stop a run: files in work are cancelled, leases are lost. One that has ended stays as it is."""
        return _parsed(Archive, await self._json("POST", f"{_BASE}/{archive_id}/cancel"))

    async def files(self, archive_id: int, status: FileStatus | None = None) -> AsyncIterator[ArchiveFile]:
        """Every file of a run, or those in one state, by key."""
        after: str | None = None
        while True:
            asked = {"status": status, "after": after, "limit": _PAGE_ROWS}
            params = {name: value for name, value in asked.items() if value is not None}
            page = await self._json("GET", f"{_BASE}/{archive_id}/files", params=params)
            for file in _parsed(list[ArchiveFile], page["files"]):
                yield file
            after = page["next_after"]
            if after is None:
                return

    async def archive_report(self, archive_id: int) -> ArchiveReport:
        return _parsed(ArchiveReport, await self._json("GET", f"{_BASE}/{archive_id}/report"))

    async def answered(self, questions: Sequence[Question]) -> tuple[list[bool], str]:
        """(for each of 100 at most whether an earlier result answers it, the engines' revision). Changes nothing."""
        body = {"files": [asdict(one) for one in questions]}
        answer = await self._json("POST", f"{_BASE}/cached", json=body)
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
            page = await self._json("POST", f"{_BASE}/select", json={**body, "limit": _PAGE_ROWS})
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
            page = await self._json("GET", f"{_BASE}/{archive_id}/diff", params=params)
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
            non_speech=source.options.non_speech,
            speakers=source.options.speakers,
            engine_revision=engine_revision,
        )
    return BegunFile(source, begun.state, job, begun.file, begun.retry_after_secs)


def _small(path: Path) -> bytes | None:
    """The contents, unless they are to travel alone."""
    return path.read_bytes() if path.stat().st_size <= SMALL_FILE_BYTES else None


def _ended(one: EndedFile) -> dict[str, Any]:
    what = "transcript" if isinstance(one.result, Transcript) else "failure"
    return {"job_id": one.job_id, "lease": one.lease, what: one.result, "playback_bytes": len(one.playback)}
