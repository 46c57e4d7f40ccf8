"""Taking in a batch of finished files: each item read, its result written, then one word to the ledger about all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from lakehouse.objects import at_once
from lakehouse.results import attempt_key, playback_key, result_objects
from schemas.api.archives import EndedBody
from schemas.archives import FileEnd, FileOutcome
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import InvalidRequest
from serve.gateway.bodies import well_formed
from serve.gateway.services import Services


@dataclass(frozen=True, slots=True)
class _Ready:
    """The end of a file as the ledger takes it, and the objects that must be there before."""

    end: FileEnd
    objects: dict[str, bytes] = field(default_factory=dict)


async def finish_items(s: Services, archive_id: int, items: Sequence[Any]) -> list[FileOutcome]:
    """One outcome each, in order; an item that cannot be taken has an ``error`` and spoils no other."""
    read = [_read(item) for item in items]
    leases = [(one.job_id, one.lease) for one in read if isinstance(one, EndedBody)]
    held = iter(await s.ledger.leased_files(archive_id, leases))
    jobs = [next(held) if isinstance(one, EndedBody) else one for one in read]
    ends = await at_once(_end(s, job, one) for job, one in zip(jobs, read, strict=True))
    ready = [one for one in ends if isinstance(one, _Ready)]
    await s.objects.put_many({key: data for one in ready for key, data in one.objects.items()})
    results = [one.end.result for one in ready]
    await s.objects.flush([r.playback_key for r in results if isinstance(r, Outcome) and r.playback_key is not None])
    outcomes = dict(zip(map(id, ready), await s.ledger.finish_files(archive_id, [r.end for r in ready]), strict=True))
    # A job that moved on, perhaps because it was deleted: its words must not stay behind.
    await at_once(s.objects.delete(key) for one in ready if outcomes[id(one)].error for key in one.objects)
    return [outcomes[id(one)] if isinstance(one, _Ready) else one for one in ends]


def _read(item: Any) -> EndedBody | FileOutcome:
    try:
        return EndedBody.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        job_id = item.get("job_id") if isinstance(item, dict) else None
        where = ".".join(map(str, first["loc"])) or "object"
        message = f"{where}: {first['msg']}"
        return FileOutcome(job_id if isinstance(job_id, int) else 0, error="bad_frame", message=message)


async def _end(s: Services, job: Job | FileOutcome, ended: EndedBody | FileOutcome) -> _Ready | FileOutcome:
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
        transcript, objects = await asyncio.to_thread(_result, ended.transcript or {}, key)
    except InvalidRequest as error:
        return FileOutcome(ended.job_id, error=error.code, message=error.message)
    outcome = Outcome.of(transcript, key, playback if await s.objects.exists(playback) else None)
    return _Ready(FileEnd(ended.job_id, ended.lease, outcome, transcript), objects)


def _result(data: dict[str, Any], key: str) -> tuple[Transcript, dict[str, bytes]]:
    """A transcript as it was sent, and its objects. Raises InvalidRequest."""
    with well_formed():
        transcript = Transcript.from_json(data)
        return transcript, result_objects(key, transcript)
