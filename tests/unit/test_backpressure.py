"""An application waits while messages wait for its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ray.serve._private import replica
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy
from starlette.types import Message, Receive, Scope, Send

from serve.gateway import backpressure
from serve.gateway.backpressure import MAX_WAITING, Outbox
from tests.support.application_loop import application_loop

pytestmark = pytest.mark.unit


@pytest.fixture
def application() -> Iterator[asyncio.AbstractEventLoop]:
    """The application's event loop."""
    with application_loop() as loop:
        yield loop


async def test_no_more_than_the_bound_waits_for_a_client(application: asyncio.AbstractEventLoop) -> None:
    outbox, added = Outbox(), threading.Semaphore(0)
    num_added = 0

    async def add(_: Message) -> None:
        nonlocal num_added
        num_added += 1
        added.release()

    async def respond() -> None:
        send = outbox.bounded(add)
        for _ in range(3 * MAX_WAITING):
            await send({"type": "http.response.body"})

    outbox.sent()  # a message of Ray's own: it makes no room for a further one
    response = asyncio.run_coroutine_threadsafe(respond(), application)
    for sent in range(MAX_WAITING):
        for _ in range(MAX_WAITING if sent == 0 else 1):
            assert await asyncio.to_thread(added.acquire, timeout=10)
        await asyncio.sleep(0.01)
        assert num_added == MAX_WAITING + sent
        outbox.sent()
    assert not response.done()
    outbox.close()  # the client is gone
    await asyncio.wait_for(asyncio.wrap_future(response), 10)
    assert num_added == 3 * MAX_WAITING


async def test_a_replica_sends_no_faster_than_its_client_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    total, num_made, is_full, reads = 3 * MAX_WAITING, 0, asyncio.Event(), asyncio.Event()
    front: Any = replica.Replica
    wrapper: Any = replica.UserCallableWrapper
    queue: asyncio.Queue[Message] = asyncio.Queue()
    received: list[Message] = []

    async def call(_: object, __: object, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, as Ray calls it."""
        nonlocal num_made
        for number in range(total):
            await send({"type": "http.response.body", "number": number})
            num_made += 1
            if num_made == MAX_WAITING:
                is_full.set()

    async def asgi(_: object, scope: Scope, receive: Receive, send: Send) -> None:
        """Ray's side: an unbounded queue from the application to the client."""
        made = asyncio.ensure_future(wrapper._call_http_entrypoint(None, None, scope, receive, queue.put))
        for _ in range(total):
            await send(await queue.get())
        await made

    async def client(message: Message) -> None:
        await reads.wait()
        received.append(message)

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    monkeypatch.setattr(replica.Replica, "_direct_ingress_asgi", asgi)
    monkeypatch.setattr(replica.UserCallableWrapper, "_call_http_entrypoint", call)
    monkeypatch.setattr(replica, "ASGIDIReceiveProxy", ASGIDIReceiveProxy)
    backpressure.install()
    response = asyncio.ensure_future(front._direct_ingress_asgi(None, {"type": "http"}, nothing, client))
    await asyncio.wait_for(is_full.wait(), 10)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (num_made, received) == (MAX_WAITING, [])
    reads.set()
    await asyncio.wait_for(response, 10)
    assert [message["number"] for message in received] == list(range(total))
