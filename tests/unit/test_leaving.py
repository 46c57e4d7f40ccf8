"""A replica of the gateway tells its application that it ends, before it closes the sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from ray.serve._private import replica

from serve.gateway import leaving
from tests.support.application_loop import application_loop

pytestmark = pytest.mark.unit


class _Replica(replica.Replica):
    """Ray's, without what it serves."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def _stop_accepting_direct_ingress(self) -> None:
        self._done.append("closed")

    async def _drain_ongoing_requests(self, *_: Any, **__: Any) -> None:
        self._done.append("drained")


@pytest.fixture
def application() -> Iterator[asyncio.AbstractEventLoop]:
    """The application's event loop."""
    with application_loop() as loop:
        yield loop


async def _drained(tell: leaving.Tell, loop: asyncio.AbstractEventLoop | None, done: list[str]) -> None:
    leaving.install(tell, lambda: loop)
    async with asyncio.timeout(60):
        await _Replica(done)._drain_behind_haproxy(0.05)


async def test_the_application_is_told_in_its_loop_before_sockets_are_closed(
    application: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica.Replica, "_drain_behind_haproxy", replica.Replica._drain_behind_haproxy)
    done: list[str] = []

    async def tell() -> None:
        assert asyncio.get_running_loop() is application
        await asyncio.sleep(0.01)
        done.append("told")

    await _drained(tell, application, done)
    assert done == ["told", "closed", "drained"]


async def test_a_replica_ends_also_where_telling_fails_or_hangs(
    application: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica.Replica, "_drain_behind_haproxy", replica.Replica._drain_behind_haproxy)
    monkeypatch.setattr(leaving, "TOLD_SECS", 0.05)

    async def broken() -> None:
        raise ValueError

    async def hanging() -> None:
        await asyncio.sleep(30)

    for tell, loop in ((broken, application), (hanging, application), (broken, None)):
        done: list[str] = []
        await _drained(tell, loop, done)
        assert done == ["closed", "drained"]
