"""Taking in a batch of finished files: each item read, its result written, then one word to the ledger about all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from lakehouse.results import attempt_key, playback_key, put_result, result_keys
from schemas.api.archives import EndedBody
from schemas.archives import FileEnd, FileOutcome
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import InvalidRequest
from serve.gateway.bodies import well_formed
from serve.gateway.services import Services

T = TypeVar("T")

_AT_ONCE = 8
"""Objects written or looked for at a time: enough to keep a store busy, few enough to leave it to clients too."""


async def finish_items(s: Services, archive_id: int, items: Sequence[Any]) -> list[FileOutcome]:
    """One outcome each, in order; an item that cannot be taken has an ``error`` and spoils no other."""
    read = [_read(item) for item in items]
    held = iter(
        await s.ledger.leased_files(archive_id, [(one.job_id, one.lease) for one in read if isinstance(one, EndedBody)])
    )
    jobs = [next(held) if isinstance(one, EndedBody) else one for one in read]
    ends = await at_once(_end(s, job, one) for job, one in zip(jobs, read, strict=True))
    outcomes = iter(await s.ledger.finish_files(archive_id, [end for end in ends if isinstance(end, FileEnd)]))
    answers = [next(outcomes) if isinstance(end, FileEnd) else end for end in ends]
    # A job that moved on, perhaps because it was deleted: its words must not stay behind.
    lost = [end.result for end, answer in zip(ends, answers, strict=True) if isinstance(end, FileEnd) and answer.error]
    unneeded = [key for result in lost if isinstance(result, Outcome) for key in result_keys(result.result_key)]
    await at_once(s.objects.delete(key) for key in unneeded)
    return answers


async def at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of ``work``, in order, some of it at a time."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(awaitable: Awaitable[T]) -> T:
        async with places:
            return await awaitable

    return await asyncio.gather(*(one(awaitable) for awaitable in work))


def _read(item: Any) -> EndedBody | FileOutcome:
    try:
        return EndedBody.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        job_id = item.get("job_id") if isinstance(item, dict) else None
        where = ".".join(map(str, first["loc"])) or "object"
        message = f"{where}: {first['msg']}"
        return FileOutcome(job_id if isinstance(job_id, int) else 0, error="bad_frame", message=message)


async def _end(s: Services, job: Job | FileOutcome, ended: EndedBody | FileOutcome) -> FileEnd | FileOutcome:
    """The end as the ledger takes it, its result in the store; the outcome where there is nothing to take."""
    if isinstance(ended, FileOutcome):
        return ended
    if isinstance(job, FileOutcome):
        return job
    if ended.failure is not None:
        return FileEnd(ended.job_id, ended.lease, ended.failure.value())
    try:
        with well_formed():
            transcript = Transcript.from_json(ended.transcript or {})
    except InvalidRequest as error:
        return FileOutcome(ended.job_id, error=error.code, message=error.message)
    key, playback = attempt_key(job, job.attempt), playback_key(job)
    await put_result(s.objects, key, transcript)
    outcome = Outcome.of(transcript, key, playback if await s.objects.exists(playback) else None)
    return FileEnd(ended.job_id, ended.lease, outcome, transcript)
