"""A job under way: how far it is, what streams while it works, and stopping it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.result_objects import lease_key, put_result
from schemas.domain import Claim, JobStatus, Progress, Segment
from schemas.errors import Conflict
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, Running
from tests.integration.test_decode import wav
from tests.support.lakehouse_kit import home, new_job, outcome, transcript

pytestmark = pytest.mark.contract

REPORT = {"stage": "transcribing", "fraction": 0.5, "eta_secs": 12.34}
BLOCKS = [[[0, 0, "good morning", 0.5, 1.5]], [[0, 0, "dentists", 61.0, 62.0], [0, 1, "all", 63.0, 64.0]]]


async def claimed(gateway: Running, content: str = "interview") -> Claim:
    await gateway.ledger.jobs.create(new_job(content, account="default"))
    claim = await gateway.ledger.jobs.claim("w", 0)
    assert claim is not None
    return claim


async def report(gateway: Running, claim: Claim, **changes: Any) -> httpx.Response:
    path, params = f"/operator/jobs/{claim.job.id}/progress", {"lease": claim.lease}
    async with gateway.client(OPERATOR_KEY) as operator:
        return await operator.post(path, params=params, json={**REPORT, **changes})


async def finish(gateway: Running, claim: Claim) -> None:
    key = lease_key(claim.job, claim.lease)
    await put_result(gateway.services.objects, key, transcript())
    await gateway.ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job, result_key=key), transcript())


def parsed(body: str) -> list[tuple[str, dict[str, Any]]]:
    """(event, data) of a stream, comments left out."""
    found = []
    for record in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in record.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_progress_is_shown_while_a_job_is_processed_and_only_then(
    gateway: Running, client: httpx.AsyncClient
) -> None:
    await gateway.ledger.jobs.create(new_job(account="default"))
    assert "progress" not in (await client.get("/transcriptions/1")).json()
    claim = await gateway.ledger.jobs.claim("w", 0)
    assert claim is not None
    assert (await client.get("/transcriptions/1")).json()["progress"] == {"stage": "starting", "fraction": 0.0}
    assert (await report(gateway, claim)).json() == {"blocks": 0}
    shown = (await client.get("/transcriptions/1")).json()["progress"]
    assert shown == {"stage": "transcribing", "fraction": 0.5, "eta_secs": 12.3}
    await finish(gateway, claim)
    assert "progress" not in (await client.get("/transcriptions/1")).json()
    assert (await report(gateway, claim)).status_code == 409


@pytest.mark.parametrize("wrong", [{"fraction": 1.5}, {"stage": "No Such"}, {"eta_secs": -1}, {"blocks": [[["x"]]]}])
async def test_a_report_that_cannot_be_is_refused(gateway: Running, wrong: dict[str, Any]) -> None:
    claim = await claimed(gateway)
    assert (await report(gateway, claim, **wrong)).status_code == 422
    assert (await report(gateway, claim)).status_code == 200


async def test_blocks_come_once_in_order_and_never_with_a_hole(gateway: Running) -> None:
    claim = await claimed(gateway)
    assert (await report(gateway, claim, blocks=BLOCKS[1:], first_block=1)).json() == {"blocks": 0}
    assert (await report(gateway, claim, blocks=BLOCKS[:1])).json() == {"blocks": 1}
    assert (await report(gateway, claim, blocks=BLOCKS)).json() == {"blocks": 2}
    seen = await gateway.ledger.jobs.watch("default", claim.job.id, 1, None, 0)
    assert seen.blocks == ((Segment(0, 0, "dentists", 61.0, 62.0), Segment(0, 1, "all", 63.0, 64.0)),)


async def test_events_stream_progress_blocks_and_segments_and_end_with_the_status(
    gateway: Running, client: httpx.AsyncClient
) -> None:
    claim = await claimed(gateway)
    stream = asyncio.create_task(client.get("/transcriptions/1/events"))
    await watched_by_a_stream(gateway.ledger)
    await report(gateway, claim, blocks=BLOCKS[:1])
    await watched_by_a_stream(gateway.ledger)
    await report(gateway, claim, fraction=0.75, blocks=BLOCKS[1:], first_block=1)
    await watched_by_a_stream(gateway.ledger)
    await finish(gateway, claim)
    response = await asyncio.wait_for(stream, 60)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = parsed(response.text)
    assert [name for name, _ in events] == [
        "status", "progress", "progress", "block", "progress", "block", "segment", "segment", "status",
    ]  # fmt: skip
    assert events[0][1] == {"id": 1, "status": "processing"}
    assert [data["fraction"] for name, data in events if name == "progress"] == [0.0, 0.5, 0.75]
    assert events[3][1] == {"block": 0, "segments": [{"text": "good morning", "start": 0.5, "end": 1.5}]}
    assert events[6][1]["speaker"] == "0"
    assert events[-1][1] == {"id": 1, "status": "completed"}
    again = await client.get("/transcriptions/1/events", headers={"Last-Event-ID": "no such id"})
    assert [name for name, _ in parsed(again.text)] == ["segment", "segment", "status"]


async def test_a_get_that_waits_is_answered_when_the_job_is_over(gateway: Running, client: httpx.AsyncClient) -> None:
    claim = await claimed(gateway)
    waiting = asyncio.create_task(client.get("/transcriptions/1", params={"wait_secs": 50}))
    await watched_by_a_stream(gateway.ledger)
    await report(gateway, claim)  # a change that is not the end
    await watched_by_a_stream(gateway.ledger)
    await finish(gateway, claim)
    answer = (await asyncio.wait_for(waiting, 60)).json()
    assert (answer["status"], answer["segments"][0]["speaker"]) == ("completed", "0")
    assert (await client.get("/transcriptions/1", params={"wait_secs": 50})).json() == {**answer, "audio_url": ANY}
    assert (await client.get("/transcriptions/2", params={"wait_secs": 50})).status_code == 404


async def test_a_get_waits_no_longer_than_it_asks_and_sees_a_deletion(gateway: Running, client: httpx.AsyncClient) -> None:
    await claimed(gateway)
    early = (await client.get("/transcriptions/1", params={"wait_secs": 0.01})).json()
    assert (early["status"], early["progress"]["stage"]) == ("processing", "starting")
    waiting = asyncio.create_task(client.get("/transcriptions/1", params={"wait_secs": 50}))
    await watched_by_a_stream(gateway.ledger)
    assert (await client.delete("/transcriptions/1")).status_code == 200
    assert (await asyncio.wait_for(waiting, 60)).status_code == 404


async def test_a_job_under_way_is_asked_of_the_ledger_alone(
    gateway: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = (await client.post("/submit", content=wav(bytes(32_000), rate_hz=16_000))).json()
    with monkeypatch.context() as without_history:
        without_history.setattr(gateway.services.history, "get", None)
        assert (await client.get("/transcriptions/1")).json()["status"] == sent["status"] == "submitted"
        assert (await client.post("/transcriptions/1/cancel")).status_code == 200
        ended = (await client.get("/transcriptions/1")).json()
    assert ended["status"] == "cancelled"
    assert (await client.get("/transcriptions/1")).json() == ended


@pytest.mark.parametrize("secs", ["-1", "55.1", "nan", "inf", "long"])
async def test_a_wait_that_cannot_be_is_refused(client: httpx.AsyncClient, secs: str) -> None:
    refused = await client.get("/transcriptions/1", params={"wait_secs": secs})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "wait_secs")


async def test_bytes_that_are_no_ascii_are_no_error_in_a_query(client: httpx.AsyncClient) -> None:
    assert (await client.get("/transcriptions/1?%DF=%DF&wait_secs=1")).status_code == 404


async def test_a_reconnected_stream_continues_after_its_last_block(gateway: Running, client: httpx.AsyncClient) -> None:
    claim = await claimed(gateway)
    await report(gateway, claim, blocks=BLOCKS)
    stream = asyncio.create_task(client.get("/transcriptions/1/events", headers={"Last-Event-ID": "1"}))
    await watched_by_a_stream(gateway.ledger)
    await client.post("/transcriptions/1/cancel")
    events = parsed((await asyncio.wait_for(stream, 60)).text)
    assert [data["block"] for name, data in events if name == "block"] == [1]
    assert events[-1] == ("status", {"id": 1, "status": "cancelled"})


async def test_a_silent_stream_says_that_it_lives_and_ends_with_a_deletion(
    gateway: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.services.transcriptions.WATCH_SECS", 0.05)
    await claimed(gateway)
    stream = asyncio.create_task(client.get("/transcriptions/1/events"))
    first = await watched_by_a_stream(gateway.ledger)
    async with asyncio.timeout(60):
        while await watched_by_a_stream(gateway.ledger) is first:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await client.delete("/transcriptions/1")
    text = (await asyncio.wait_for(stream, 60)).text
    assert text.count(": still here\n\n") >= 1
    assert parsed(text)[-1] == ("status", {"id": 1, "status": "deleted"})


async def test_a_processing_job_is_cancelled_and_its_worker_learns_it(gateway: Running, client: httpx.AsyncClient) -> None:
    claim = await claimed(gateway)
    answer = await client.post("/transcriptions/1/cancel")
    assert (answer.status_code, answer.json()) == (200, {"id": 1, "status": "cancelled"})
    assert (await client.post("/transcriptions/1/cancel")).json() == {"id": 1, "status": "cancelled"}
    assert (await client.get("/transcriptions/1")).json()["status"] == "cancelled"
    with pytest.raises(Conflict):
        await gateway.ledger.jobs.renew(1, claim.lease)
    with pytest.raises(Conflict):
        await gateway.ledger.jobs.complete(1, claim.lease, outcome(claim.job), transcript())


async def test_a_cancelled_waiting_job_is_never_claimed(gateway: Running, client: httpx.AsyncClient) -> None:
    await gateway.ledger.jobs.create(new_job("one", account="default"))
    await gateway.ledger.jobs.create(new_job("two", account="default"))
    assert (await client.post("/transcriptions/1/cancel")).status_code == 200
    claim = await gateway.ledger.jobs.claim("w", 0)
    assert claim is not None
    assert claim.job.id == 2
    assert await gateway.ledger.jobs.claim("w", 0) is None


async def test_what_is_final_cannot_be_cancelled_and_strangers_see_nothing(
    gateway: Running, client: httpx.AsyncClient
) -> None:
    claim = await claimed(gateway)
    async with gateway.client(OTHER_KEY) as stranger:
        assert (await stranger.post("/transcriptions/1/cancel")).status_code == 404
        assert (await stranger.get("/transcriptions/1/events")).status_code == 404
    await finish(gateway, claim)
    refused = await client.post("/transcriptions/1/cancel")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "already_final")
    assert (await client.post("/transcriptions/7/cancel")).status_code == 404


async def test_a_cancellation_outlives_the_ledger_and_progress_does_not(tmp_path: Any) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    await ledger.jobs.create(new_job("one"))
    await ledger.jobs.create(new_job("two"))
    await ledger.jobs.cancel("ada", 1)
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    await ledger.jobs.report(2, claim.lease, Progress("transcribing", 0.5), 0, [(Segment(0, 0, "a", 0.0, 1.0),)])
    await ledger.close()
    ledger = await Ledger.open(settings)
    try:
        assert (await ledger.jobs.watch("ada", 1, 0, None, 0)).status is JobStatus.CANCELLED
        assert (await ledger.jobs.watch("ada", 2, 0, None, 0)).progress == Progress("starting")
        # The worker is told that blocks are missing here, and sends them again.
        assert (
            await ledger.jobs.report(2, claim.lease, Progress("transcribing", 0.6), 1, [(Segment(0, 0, "b", 2.0, 3.0),)])
            == 0
        )
    finally:
        await ledger.close()


async def watched_by_a_stream(ledger: Ledger) -> object:
    """Wait until a stream has sent what is known and waits for more; which of its waits it is."""
    async with asyncio.timeout(60):
        while not ledger._board._waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return next(iter(ledger._board._waiting[1]))
