"""Where webhooks may lead: to addresses of the internet, by URLs that can be used, and no further than their receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import Response

from schemas.webhooks import Happened, Webhook
from tests.contract.gateway import running
from tests.contract.test_webhooks import deliveries, made, sending, until_settled
from tests.contract.webhook_receiver import Receiver, receiving

pytestmark = pytest.mark.security


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made_here:
        yield made_here


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/x", "https://", "nonsense", "http://user:word@example.org/", "https://example.org/a b",
     "http://example.org:0/", "http://xn--a/", "http://[::1/",
     "http://example.org/#part", f"https://example.org/{'x' * 2000}"],
)  # fmt: skip
async def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    async with running(tmp_path) as gateway, gateway.client() as client:
        answer = await client.post("/v1/webhooks", json={"url": url})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "url")
        unknown = await client.post("/v1/webhooks", json={"url": "https://example.org", "events": ["no.such"]})
        assert unknown.status_code == 422


async def test_nothing_is_sent_to_a_private_network_unless_the_operator_allows_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with sending(tmp_path, private=False) as (_, client):
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
            webhook = await made(client, url)
            await client.post(f"/v1/webhooks/{webhook['id']}/test")
            async with asyncio.timeout(60):
                while not (found := await deliveries(client, webhook))[0]["attempts"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert found[0]["response_status"] is None
            assert found[0]["error"]
    assert receiver.got == []


async def test_a_url_that_no_client_can_use_stops_nobody_s_deliveries(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as (gateway, client):
        for number, url in enumerate(("http://xn--a/", "http://[::1/", "nothing", "")):
            webhook = Webhook(f"wh_{number}", "other", url, ("voice.created",))
            await gateway.ledger.webhooks.put(webhook)
            await gateway.ledger.webhooks.publish(Happened("other", f"evt_{number}", "webhook.test", {}), webhook.id)
            async with asyncio.timeout(60):
                while not (tried := (await gateway.ledger.webhooks.deliveries("other", webhook.id, 1))[0]).attempt:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert tried.error is not None
        mine = await made(client, receiver.url)
        await client.post(f"/v1/webhooks/{mine['id']}/test")
        assert [one["status"] for one in await until_settled(client, mine)] == ["delivered"]


async def test_a_redirect_of_a_receiver_is_not_followed(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda number, event: Response(status_code=307, headers={"Location": receiver.url})
    async with sending(tmp_path) as (_, client):
        webhook = await made(client, receiver.url)
        await client.post(f"/v1/webhooks/{webhook['id']}/test")
        async with asyncio.timeout(60):
            while not (found := await deliveries(client, webhook))[0]["attempts"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert (found[0]["response_status"], len(receiver.got)) == (307, 1)
