"""`POST /operator/import/{kind}`: history brought in from elsewhere, one JSON object a line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from lakehouse import importing
from lakehouse.importing import Kind
from lakehouse.ledger.records import Recorded
from lakehouse.results import put_result
from schemas.api.imports import ImportReport, LineError
from schemas.domain import Job, Transcript
from schemas.errors import PayloadTooLarge
from serve.gateway.auth import Operator
from serve.gateway.services import Services, services
from serve.gateway.voices import canonical_voice

router = APIRouter(prefix="/operator", tags=["operator"])

LINE_MAX_BYTES = 64 * 1024 * 1024
"""A transcript of ten hours with all its words takes about 20 MiB."""
BATCH_LINES = 500
BATCH_BYTES = 8 * 1024 * 1024
MAX_ERRORS = 1000

_Account = Annotated[
    str, Query(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$", description="Who it belongs to.")
]


@router.post("/import/{kind}")
async def import_history(
    kind: Kind,
    request: Request,
    _: Operator,
    s: Annotated[Services, Depends(services)],
    account: _Account,
    first_line: Annotated[int, Query(ge=1, description="Number of the body's first line in its file.")] = 1,
) -> ImportReport:
    """Body: lines in the shapes of `/history`. Bad lines are reported, the rest is imported; twice changes nothing."""
    report = ImportReport(imported=0, unchanged=0, failed=0, errors=[])
    async for batch in _batches(request.stream(), first_line):
        parsed: list[tuple[Any, str]] = []
        for number, line in batch:
            try:
                parsed.append(importing.parse_line(kind, line))
            except ValueError as error:
                report.failed += 1
                if len(report.errors) < MAX_ERRORS:
                    report.errors.append(LineError(line=number, message=str(error)))
        for _row_id, is_new in await _IMPORT[kind](s, account, parsed):
            report.imported += is_new
            report.unchanged += not is_new
    return report


async def _conversations(s: Services, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
    ended = [importing.conversation(account, line) for line, _ in parsed]
    named = [replace(e, conversation=replace(e.conversation, voice=_voice(e.conversation.voice))) for e in ended]
    return await s.ledger.import_conversations(account, named)


async def _renders(s: Services, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
    renders = [importing.render(account, line, identity) for line, identity in parsed]
    return await s.ledger.import_renders(account, [replace(r, voice=canonical_voice(r.voice)) for r in renders])


async def _transcriptions(s: Services, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
    finished: list[tuple[Job, Transcript | None]] = [importing.transcription(account, *item) for item in parsed]
    known = await s.ledger.known_imports(account, [identity for _, identity in parsed])
    seen: set[str | None] = set(known)
    # Results first: a row must never name an object that is not there.
    for job, transcript in finished:
        if transcript is not None and job.result_key is not None and job.import_key not in seen:
            await put_result(s.objects, job.result_key, transcript)
        seen.add(job.import_key)
    return await s.ledger.import_jobs(account, [job for job, _ in finished])


_IMPORT = {"conversations": _conversations, "tts": _renders, "transcriptions": _transcriptions}


def _voice(voice: str | None) -> str | None:
    return None if voice is None else canonical_voice(voice)


async def _batches(chunks: AsyncIterator[bytes], first_line: int) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Numbered lines that are not blank, some hundreds at once. Raises PayloadTooLarge for an endless one."""
    number, batch, size = first_line, [], 0
    async for line in _lines(chunks):
        if line.strip():
            batch.append((number, line))
            size += len(line)
        number += 1
        if len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, last = bytes(rest).split(b"\n")
            for line in whole:
                yield line
            rest = bytearray(last)
        if len(rest) > LINE_MAX_BYTES:
            raise PayloadTooLarge(f"a line is longer than the {LINE_MAX_BYTES} bytes accepted")
    if rest:
        yield bytes(rest)
