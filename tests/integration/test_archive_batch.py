"""One batch of an archive against a real gateway: what a worker that dies in the middle has used up of its files."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from flows.archives.batch import Batch
from flows.archives.batch_spec import BatchSpec
from flows.archives.sources.entries import Entry
from flows.archives.sources.local import FolderSource
from flows.archives.worker_context import pipeline_context
from schemas.archives import NewArchive
from schemas.domain import JobOptions
from tests.e2e import recordings
from tests.integration.test_archive_flow import at_least, platform
from tests.integration.test_long_files import Gate, until

pytestmark = pytest.mark.integration

RECOGNIZE = "/operator/recognize"
IN_HAND = 4


async def test_a_worker_that_dies_has_attempted_the_files_in_its_hands_and_no_other(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    for number in range(3 * IN_HAND):
        (calls / f"{number:02}.wav").write_bytes(recordings.sentence(number % 4, seed=number))
    async with platform(tmp_path) as here:
        here.gates[RECOGNIZE] = Gate(0)
        settings, ledger = here.gateway.services.settings, here.gateway.ledger
        assert settings.archives.archive_files_at_once == IN_HAND
        entries = tuple(entry for entry in FolderSource(calls) if isinstance(entry, Entry))
        async with pipeline_context(settings, {"default"}) as (context, client):
            archive = await client.open_archive(NewArchive("default", "calls", str(calls)))
            spec = BatchSpec(archive.id, "default", JobOptions(), "batch-1", retry_failed=False, entries=entries)
            work = asyncio.create_task(Batch(spec, context, client, settings, tmp_path).run())
            await at_least(here, "processing", len(entries))

            async def in_hand() -> bool:
                return here.asked[RECOGNIZE] >= IN_HAND

            await until(in_hand, "the files in hand")
            await client.renew_files(archive.id, {})  # answered after every earlier renewal
            attempted = [job for job in range(1, len(entries) + 1) if ledger.lease_expiry._leases.was_used(job)]
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        here.failing[RECOGNIZE] = 1000  # Nobody waits for the answers any more.
        here.gates[RECOGNIZE].open()
    assert len(attempted) == IN_HAND
