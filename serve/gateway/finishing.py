"""Taking in a batch of finished files: each item read, its result and playback copy written, then one word to the ledger
about all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from lakehouse.objects import at_once
from lakehouse.results import attempt_key, playback_key, result_objects
from schemas import wire
from schemas.api.archives import EndedBody
from schemas.archives import BATCH_FILES, FileEnd, FileOutcome
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import InvalidParameter, InvalidRequest
from serve.gateway.bodies import first_problem, well_formed
from serve.gateway.services import Services


@dataclass(frozen=True, slots=True)
class _Ready:
    """The end of a file as the ledger takes it, and the objects that must be there before.

    ``views`` are this attempt's own; the playback copy belongs to all jobs with the same recording.
    """

    end: FileEnd
    views: dict[str, bytes] = field(default_factory=dict)
    playback: dict[str, bytes] = field(default_factory=dict)


async def finish_items(s: Services, archive_id: int, body: bytes) -> list[FileOutcome]:
    """One outcome each, in order; an item that cannot be taken has an ``error`` and spoils no other.

    Raises InvalidRequest for a body that is no batch.
    """
    read, copies = _opened(body)
    leases = [(one.job_id, one.lease) for one in read if isinstance(one, EndedBody)]
    held = iter(await s.ledger.leased_files(archive_id, leases))
    jobs = [next(held) if isinstance(one, EndedBody) else one for one in read]
    ends = await at_once(_end(s, job, one, copy) for job, one, copy in zip(jobs, read, copies, strict=True))
    ready = [one for one in ends if isinstance(one, _Ready)]
    await _write(s, ready)
    outcomes = dict(zip(map(id, ready), await s.ledger.finish_files(archive_id, [r.end for r in ready]), strict=True))
    # A job that moved on, perhaps because it was deleted: its words must not stay behind.
    await at_once(s.objects.delete(key) for one in ready if outcomes[id(one)].error for key in one.views)
    return [outcomes[id(one)] if isinstance(one, _Ready) else one for one in ends]


async def _write(s: Services, ready: Sequence[_Ready]) -> None:
    """All objects on the disk, and playback copies that were sent before."""
    contents = {key: data for one in ready for key, data in {**one.views, **one.playback}.items()}
    await s.objects.write_many(contents)
    results = [one.end.result for one in ready]
    relied_on = {r.playback_key for r in results if isinstance(r, Outcome) and r.playback_key is not None}
    await s.objects.flush(sorted(relied_on.union(contents)))


def _opened(body: bytes) -> tuple[list[EndedBody | FileOutcome], list[memoryview]]:
    """The items of a body, and the playback copy of each, which may be empty. Raises InvalidRequest."""
    head, tail = wire.unpack(body, head_max_bytes=len(body))
    with well_formed():
        read = [_read(item) for item in list(head["files"])]
    if len(read) > BATCH_FILES:
        raise InvalidParameter(f"at most {BATCH_FILES} files end in one call, not {len(read)}", param="files")
    return read, wire.portions(tail, [one.playback_bytes if isinstance(one, EndedBody) else 0 for one in read])


def _read(item: Any) -> EndedBody | FileOutcome:
    try:
        return EndedBody.model_validate(item)
    except ValidationError as error:
        job_id = item.get("job_id") if isinstance(item, dict) else None
        job_id = job_id if isinstance(job_id, int) else 0
        return FileOutcome(job_id, error="bad_frame", message=first_problem(error))


async def _end(
    s: Services, job: Job | FileOutcome, ended: EndedBody | FileOutcome, copy: memoryview
) -> _Ready | FileOutcome:
    """What to write and to tell; the outcome where there is nothing to take."""
    if isinstance(ended, FileOutcome):
        return ended
    if isinstance(job, FileOutcome):
        return job
    if ended.failure is not None:
        return _Ready(FileEnd(ended.job_id, ended.lease, ended.failure.value()))
    key, playback = attempt_key(job, job.attempt), playback_key(job)
    try:
        # The words of hours take a second, in which others must be served.
        transcript, views = await asyncio.to_thread(_result, ended.transcript or {}, key)
    except InvalidRequest as error:
        return FileOutcome(ended.job_id, error=error.code, message=error.message)
    outcome = Outcome.of(transcript, key, playback if copy or await s.objects.exists(playback) else None)
    sent = {playback: bytes(copy)} if copy else {}
    return _Ready(FileEnd(ended.job_id, ended.lease, outcome, transcript), views, sent)


def _result(data: dict[str, Any], key: str) -> tuple[Transcript, dict[str, bytes]]:
    """A transcript as it was sent, and its objects. Raises InvalidRequest."""
    with well_formed():
        transcript = Transcript.from_json(data)
        return transcript, result_objects(key, transcript)
