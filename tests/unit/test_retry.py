"""When clients try again: only what is safe, with growing pauses, and never beyond their patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from clients import retry
from clients.retry import Patience
from schemas.errors import Conflict, FluxionsError, RateLimited, ServerUnreachable, Unavailable

pytestmark = pytest.mark.unit

QUICK = Patience(total_secs=10.0, first_pause_secs=0.01, longest_pause_secs=0.04)


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def once() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return once


def waited(once: Callable[[], str], patience: Patience = QUICK, *, idempotent: bool) -> tuple[str, list[float]]:
    pauses: list[float] = []
    return retry.call(once, patience, idempotent=idempotent, server="here", wait=pauses.append), pauses


NO_CONNECTION = httpx.ConnectError("refused")
BROKEN = httpx.ReadError("reset")
AWAY = Unavailable("starting")
LIMITED = RateLimited("slower")
GONE = Conflict("moved on")


@pytest.mark.parametrize(
    ("error", "idempotent"),
    [(NO_CONNECTION, False), (NO_CONNECTION, True), (LIMITED, False), (LIMITED, True), (BROKEN, True), (AWAY, True)],
)
def test_what_is_safe_is_tried_again(error: Exception, idempotent: bool) -> None:
    done, pauses = waited(failing(error, error), idempotent=idempotent)
    assert done == "done"
    assert len(pauses) == 2


@pytest.mark.parametrize(("error", "idempotent"), [(BROKEN, False), (AWAY, False), (GONE, False), (GONE, True)])
def test_what_may_have_been_done_or_stays_wrong_is_not(error: Exception, idempotent: bool) -> None:
    raised = ServerUnreachable if isinstance(error, httpx.TransportError) else type(error)
    with pytest.raises(raised):
        waited(failing(error), idempotent=idempotent)


def test_pauses_double_up_to_a_bound_and_vary() -> None:
    _, pauses = waited(failing(*[AWAY] * 6), idempotent=True)
    most = [0.01, 0.02, 0.04, 0.04, 0.04, 0.04]
    assert all(least <= pause <= bound for least, pause, bound in zip([m / 2 for m in most], pauses, most, strict=True))
    assert len(set(pauses)) > 1


def test_retry_after_is_obeyed_unless_disabled() -> None:
    limited = RateLimited("slower", retry_after_secs=3.0)
    _, pauses = waited(failing(limited), idempotent=False)
    assert pauses == [3.0]
    eager = Patience(10.0, 0.01, 0.04, obeys_retry_after=False)
    _, pauses = waited(failing(limited), eager, idempotent=False)
    assert pauses[0] <= 0.01


def test_patience_ends_with_the_error_of_the_last_attempt() -> None:
    with pytest.raises(Unavailable, match="later"):
        waited(failing(AWAY, Unavailable("later", retry_after_secs=60)), idempotent=True)
    began = time.monotonic()
    with pytest.raises(ServerUnreachable, match=r"no answer from here \(ReadError\)"):
        retry.call(failing(*[BROKEN] * 1000), Patience(0.2, 0.01, 0.05), idempotent=True, server="here")
    assert time.monotonic() - began < 5


async def test_the_same_for_asyncio() -> None:
    once = failing(BROKEN, AWAY, NO_CONNECTION)

    async def later() -> str:
        await asyncio.sleep(0)
        return once()

    assert await retry.call_async(later, QUICK, idempotent=True, server="here") == "done"
    with pytest.raises(FluxionsError, match="moved on"):
        await retry.call_async(_raise, QUICK, idempotent=True, server="here")


async def _raise() -> str:
    raise GONE
