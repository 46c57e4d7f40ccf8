"""What serves each slot right now: ready, still loading, or unable to, and then why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.engines import EngineInfo, Slot
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import Settings
from serve.engines import SLOTS, choice, describe_slot, num_replicas

NOT_READY: Final = "not_ready"
"""Code of the error that says of each slot that cannot serve why not."""

LOADING: Final = "loading"
"""Code of the error when nothing is wrong, and some slots are not loaded yet."""

_ANSWER_SECS: Final = 4.0
"""An engine that is loaded says so at once; one that takes longer is loading."""


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """``info`` is there when the slot serves, ``problem`` when it does not."""

    slot: Slot
    engine: str
    model: str
    replicas: int
    """Most replicas it may have."""
    info: EngineInfo | None
    problem: str | None = None
    loading: bool = False


async def look(settings: Settings, ask: Mapping[Slot, Callable[[], Awaitable[EngineInfo]]]) -> list[SlotStatus]:
    """Asks all slots together; takes some seconds at most, whatever they do."""
    return list(await asyncio.gather(*(_look(settings, slot, ask[slot]) for slot in SLOTS)))


async def _look(settings: Settings, slot: Slot, ask: Callable[[], Awaitable[EngineInfo]]) -> SlotStatus:
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
    """What serves every slot. Raises Unavailable with every slot's reason where one does not serve."""
    wrong = [status.problem for status in statuses if status.problem is not None and not status.loading]
    loading = [status.problem for status in statuses if status.problem is not None and status.loading]
    if wrong:
        raise Unavailable("; ".join(wrong), code=NOT_READY, retry_after_secs=2)
    if loading:
        raise Unavailable("; ".join(loading), code=LOADING, retry_after_secs=2)
    return [status.info for status in statuses if status.info is not None]


def foreseen(settings: Settings) -> list[str]:
    """Why slots cannot serve, as far as can be known without loading a model: a line for each.

    Raises InvalidParameter for a choice that does not exist.
    """
    found = []
    for slot in SLOTS:
        try:
            describe_slot(settings, slot)
        except Unavailable as error:
            found.append(error.message)
    return found


def slot_json(status: SlotStatus) -> dict[str, Any]:
    """A slot as `/v1/models` shows it."""
    info = status.info
    return {
        "id": status.model or status.engine,
        "object": "model",
        "slot": status.slot,
        "engine": status.engine,
        "revision": info.revision if info else None,
        "capabilities": info.capabilities if info else {},
        "replicas": status.replicas,
        "ready": info is not None,
        "problem": status.problem,
    }
