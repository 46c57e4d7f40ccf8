"""The status of each slot: ready, still loading, or unable to serve and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from schemas.domain import Slot
from schemas.engines import EngineInfo
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import Settings
from schemas.speech_engines import SlotStatus
from serve.engines.registry import SLOTS, choice, describe_slot, num_replicas

NOT_READY: Final = "not_ready"
"""Code of the error whose message has the reason of each slot that is not ready."""

LOADING: Final = "loading"
"""Code of the error while some slots are still loading and nothing is wrong."""

_ANSWER_SECS: Final = 4.0
"""A loaded engine answers within this time. After it the engine counts as loading."""


async def probe_slots(settings: Settings, ask: Mapping[Slot, Callable[[], Awaitable[EngineInfo]]]) -> list[SlotStatus]:
    """The status of all slots, requested concurrently; takes 4 s at most."""
    return list(await asyncio.gather(*(_probe(settings, slot, ask[slot]) for slot in SLOTS)))


async def _probe(settings: Settings, slot: Slot, ask: Callable[[], Awaitable[EngineInfo]]) -> SlotStatus:
    chosen, (_, replicas) = choice(settings, slot), num_replicas(settings, slot)
    try:
        info = await asyncio.wait_for(_asked(ask), _ANSWER_SECS)
    except TimeoutError:
        problem = f"{slot}: the engine {chosen.engine} is loading {chosen.model or 'its model'}"
        return SlotStatus(slot, chosen.engine, chosen.model, replicas, None, problem, loading=True)
    except FluxionsError as error:
        return SlotStatus(slot, chosen.engine, chosen.model, replicas, None, error.message)
    return SlotStatus(slot, info.engine, info.model, replicas, info)


async def _asked(ask: Callable[[], Awaitable[EngineInfo]]) -> EngineInfo:
    return await ask()


def infos(statuses: Sequence[SlotStatus]) -> list[EngineInfo]:
    """The engines of all slots. Raises Unavailable with the reason of each slot that is not ready."""
    wrong = [status.problem for status in statuses if status.problem is not None and not status.loading]
    loading = [status.problem for status in statuses if status.problem is not None and status.loading]
    if wrong:
        raise Unavailable("; ".join(wrong), code=NOT_READY, retry_after_secs=2)
    if loading:
        raise Unavailable("; ".join(loading), code=LOADING, retry_after_secs=2)
    return [status.info for status in statuses if status.info is not None]


def preflight_problems(settings: Settings) -> list[str]:
    """Reasons why slots cannot be ready, as far as they are known without loading a model; one line each.

    Raises InvalidParameter for a choice that does not exist.
    """
    found = []
    for slot in SLOTS:
        try:
            describe_slot(settings, slot)
        except Unavailable as error:
            found.append(error.message)
    return found
