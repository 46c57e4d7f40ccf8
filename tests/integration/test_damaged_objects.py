"""Stored bytes that changed by themselves: found when they are read for work, said, never transcribed, and mended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clients.connection import connect
from flows.archives.worker_context import pipeline_context
from flows.worker import RefusedKey, Worker
from lakehouse.storage.objects import audio_key
from lakehouse.storage.result_objects import put_result
from schemas.errors import DamagedObject
from tests.e2e import recordings
from tests.integration.test_long_files import Instance, instance
from tests.support.lakehouse_kit import outcome, transcript

pytestmark = pytest.mark.integration


def flip_a_bit(here: Instance, key: str) -> Path:
    path = here.home / "data" / "objects" / key
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


async def test_a_flipped_bit_fails_the_job_reaches_no_engine_and_sending_again_mends_it(tmp_path: Path) -> None:
    sent = recordings.sentence(0)
    async with instance(tmp_path) as here:
        job_id = await here.submit(sent)
        settings, ledger = here.gateway.services.settings, here.gateway.ledger
        job = await ledger.jobs.watch("default", job_id, 2**31, None, 0)
        assert job.status == "submitted"
        (key,) = [key async for key, _ in here.gateway.services.objects.list("audio")]
        damaged = flip_a_bit(here, key)
        async with pipeline_context(settings, {"default"}) as (context, client):
            claimed = await client.claim("worker", 5)
            assert claimed is not None
            assert key == audio_key("default", claimed.sha256)
            worker = Worker(settings, context, client, tmp_path, RefusedKey(tmp_path / "keys" / "operator", client))
            await worker._slots.acquire()
            await asyncio.wait_for(worker._process(claimed), 60)
        body = await here.get(job_id)
        assert body["status"] == "failed"
        assert "damaged in the store" in body["error_message"]
        assert not [path for path in here.asked if "recognize" in path or "diarization" in path]
        # The very bytes again: they replace the damaged ones instead of being taken for them.
        await here.submit(sent)
        assert damaged.read_bytes() == sent


async def test_a_result_that_is_no_json_any_more_is_reported_as_damaged(tmp_path: Path) -> None:
    async with instance(tmp_path) as here:
        job_id = await here.submit(recordings.sentence(0))
        client = connect(here.gateway.services.settings)
        try:
            claimed = await client.claim("worker", 5)
        finally:
            await client.close()
        assert claimed is not None
        s = here.gateway.services
        job = await s.ledger.jobs.leased(job_id, claimed.lease)
        done = outcome(job)
        await put_result(s.objects, done.result_key, transcript())
        await s.ledger.jobs.complete(job_id, claimed.lease, done, transcript())
        path = here.home / "data" / "objects" / done.result_key
        path.write_bytes(path.read_bytes()[:-20])
        refused = await here.client.get(f"/transcriptions/{job_id}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (DamagedObject.status, "damaged_object")
