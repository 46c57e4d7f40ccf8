"""Results of an archive's files, received in batches.

Each item is parsed and its objects are written; then one call of the ledger records all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from lakehouse.ledger.interface import ArchiveLedger, JobLedger
from lakehouse.storage.objects import Objects, at_once
from lakehouse.storage.result_objects import lease_key, playback_key, result_objects
from schemas import wire
from schemas.api.archives import EndedBody
from schemas.api.parsing import first_problem, well_formed
from schemas.archives import BATCH_FILES, FileEnd, FileOutcome
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import InvalidParameter, InvalidRequest
from serve.services.job_results import has_result


@dataclass(frozen=True, slots=True)
class _PreparedEnd:
    """The end of a file as the ledger takes it, and the objects that must be stored before, by key.

    ``views`` belong to this lease alone. ``playback`` is shared by all jobs that have the same recording. With ``is_again``
    the result was written before, so that it may have been recorded, and answer for other jobs from the cache.
    """

    end: FileEnd
    job: Job
    views: dict[str, bytes] = field(default_factory=dict)
    playback: dict[str, bytes] = field(default_factory=dict)
    is_again: bool = False


class ArchiveResults:
    """Stores what workers send back for an archive's files."""

    def __init__(self, objects: Objects, archives: ArchiveLedger, jobs: JobLedger) -> None:
        self._objects = objects
        self._archives = archives
        self._jobs = jobs

    async def finish(self, archive_id: int, body: bytes) -> list[FileOutcome]:
        """One outcome for each item, in order.

        An item that is refused has an ``error`` and does not affect the others. ``body`` is packed: the items as JSON,
        then their playback copies. Raises InvalidRequest for any other body.
        """
        items, copies = _parse(body)
        leases = [(one.job_id, one.lease) for one in items if isinstance(one, EndedBody)]
        leased = iter(await self._archives.leased_files(archive_id, leases))
        jobs = [next(leased) if isinstance(one, EndedBody) else one for one in items]
        ends = await at_once(self._prepare(*one) for one in zip(jobs, items, copies, strict=True))
        prepared = [one for one in ends if isinstance(one, _PreparedEnd)]
        await self._write(prepared)
        recorded = await self._archives.finish_files(archive_id, [one.end for one in prepared])
        outcomes = dict(zip(map(id, prepared), recorded, strict=True))
        await self._remove_refused([one for one in prepared if outcomes[id(one)].error])
        return [outcomes[id(one)] if isinstance(one, _PreparedEnd) else one for one in ends]

    async def _remove_refused(self, refused: Sequence[_PreparedEnd]) -> None:
        """Remove what was written for refused ends, unless it is the result of the job: an end may be repeated."""
        new = [one for one in refused if not one.is_again]
        kept = await at_once(has_result(self._jobs, one.job, lease_key(one.job, one.end.lease)) for one in new)
        lost = [one for one, is_kept in zip(new, kept, strict=True) if not is_kept]
        await at_once(self._objects.delete(key) for one in lost for key in one.views)

    async def _write(self, prepared: Sequence[_PreparedEnd]) -> None:
        """Write the objects, and flush them together with the playback copies that were sent before."""
        contents = {key: data for one in prepared for key, data in {**one.views, **one.playback}.items()}
        await self._objects.write_many(contents)
        results = [one.end.result for one in prepared]
        playback = {r.playback_key for r in results if isinstance(r, Outcome) and r.playback_key is not None}
        await self._objects.flush(sorted(playback.union(contents)))

    async def _prepare(
        self, job: Job | FileOutcome, ended: EndedBody | FileOutcome, copy: memoryview
    ) -> _PreparedEnd | FileOutcome:
        """The objects and the record of an item, or the outcome of an item that is refused."""
        if isinstance(ended, FileOutcome):
            return ended
        if isinstance(job, FileOutcome):
            return job
        if ended.failure is not None:
            return _PreparedEnd(FileEnd(ended.job_id, ended.lease, ended.failure.value()), job)
        key, playback = lease_key(job, ended.lease), playback_key(job)
        try:
            # Hours of words take a second to parse, so the event loop must not do it.
            transcript, views = await asyncio.to_thread(_result, ended.transcript or {}, key)
        except InvalidRequest as error:
            return FileOutcome(ended.job_id, error=error.code, message=error.message)
        outcome = Outcome.of(transcript, key, playback if copy or await self._objects.exists(playback) else None)
        sent = {playback: bytes(copy)} if copy else {}
        end = FileEnd(ended.job_id, ended.lease, outcome, transcript)
        return _PreparedEnd(end, job, views, sent, is_again=await self._objects.exists(key))


def _parse(body: bytes) -> tuple[list[EndedBody | FileOutcome], list[memoryview]]:
    """The items of a body, and the playback copy of each, which may be empty. Raises InvalidRequest."""
    head, tail = wire.unpack(body, head_max_bytes=len(body))
    with well_formed():
        items = [_parse_item(item) for item in list(head["files"])]
    if len(items) > BATCH_FILES:
        raise InvalidParameter(f"at most {BATCH_FILES} files end in one call, not {len(items)}", param="files")
    return items, wire.portions(tail, [one.playback_bytes if isinstance(one, EndedBody) else 0 for one in items])


def _parse_item(item: Any) -> EndedBody | FileOutcome:
    try:
        return EndedBody.model_validate(item)
    except ValidationError as error:
        job_id = item.get("job_id") if isinstance(item, dict) else None
        job_id = job_id if isinstance(job_id, int) else 0
        return FileOutcome(job_id, error="bad_frame", message=first_problem(error))


def _result(data: dict[str, Any], key: str) -> tuple[Transcript, dict[str, bytes]]:
    """A transcript as it was sent, and its objects. Raises InvalidRequest."""
    with well_formed():
        transcript = Transcript.from_json(data)
        return transcript, result_objects(key, transcript)
