"""History from other systems, as JSON Lines: parsed, checked, and recorded in batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Final

from lakehouse import imports
from lakehouse.imports import Kind
from lakehouse.ledger.interface import JobLedger, Recorded, RecordLedger
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import put_result
from schemas.api.imports import ImportReport, LineError
from schemas.domain import Job, Transcript
from schemas.errors import PayloadTooLarge
from serve.engines.tts.voices import canonical_voice

LINE_MAX_BYTES: Final = 64 * 1024 * 1024
"""A transcript of ten hours with all its words takes about 20 MiB."""
BATCH_LINES: Final = 500
BATCH_BYTES: Final = 8 * 1024 * 1024
MAX_ERRORS: Final = 1000


class HistoryImport:
    """Imports lines; lines that were imported before change nothing."""

    def __init__(self, jobs: JobLedger, records: RecordLedger, objects: Objects) -> None:
        self._jobs = jobs
        self._records = records
        self._objects = objects

    async def run(self, kind: Kind, account: str, chunks: AsyncIterator[bytes], first_line: int) -> ImportReport:
        """Import the lines of a body. Bad lines are reported, numbered from ``first_line``, and do not stop the others.

        Raises PayloadTooLarge for a line over `LINE_MAX_BYTES`.
        """
        report = ImportReport(imported=0, unchanged=0, failed=0, errors=[])
        async for batch in batches(chunks, first_line):
            parsed: list[tuple[Any, str]] = []
            for number, line in batch:
                try:
                    parsed.append(imports.parse_line(kind, line))
                except ValueError as error:
                    report.failed += 1
                    if len(report.errors) < MAX_ERRORS:
                        report.errors.append(LineError(line=number, message=str(error)))
            for _row_id, is_new in await self._record(kind, account, parsed):
                report.imported += is_new
                report.unchanged += not is_new
        return report

    async def _record(self, kind: Kind, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
        if kind == "conversations":
            return await self._conversations(account, parsed)
        if kind == "tts":
            return await self._renders(account, parsed)
        return await self._transcriptions(account, parsed)

    async def _conversations(self, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
        ended = [imports.conversation(account, line) for line, _ in parsed]
        named = [replace(e, conversation=replace(e.conversation, voice=_voice(e.conversation.voice))) for e in ended]
        return await self._records.import_conversations(account, named)

    async def _renders(self, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
        renders = [imports.render(account, line, identity) for line, identity in parsed]
        return await self._records.import_renders(account, [replace(r, voice=canonical_voice(r.voice)) for r in renders])

    async def _transcriptions(self, account: str, parsed: Sequence[tuple[Any, str]]) -> list[Recorded]:
        finished: list[tuple[Job, Transcript | None]] = [imports.transcription(account, *item) for item in parsed]
        known = await self._jobs.known_imports(account, [identity for _, identity in parsed])
        seen: set[str | None] = set(known)
        # Results are written first, because a row must never name an object that does not exist.
        for job, transcript in finished:
            if transcript is not None and job.result_key is not None and job.import_key not in seen:
                await put_result(self._objects, job.result_key, transcript)
            seen.add(job.import_key)
        return await self._jobs.import_finished(account, [job for job, _ in finished])


def _voice(voice: str | None) -> str | None:
    return None if voice is None else canonical_voice(voice)


async def batches(chunks: AsyncIterator[bytes], first_line: int) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Numbered lines that are not blank, in portions. Raises PayloadTooLarge for a line over `LINE_MAX_BYTES`."""
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
