"""Who goes next: a replica's queue with a lane for people who wait and one for archives.

Interactive work is served ahead of archive work, first come first served within a lane, and what has begun is finished: an
interactive request waits for the work in hand and for interactive ones before it, never for an archive's queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, get_args

from schemas.domain import Lane, Seconds

T = TypeVar("T")
R = TypeVar("R")

Choose = Callable[[Sequence[Seconds]], Sequence[int]]
"""Lengths of what waits in a lane, oldest first, to the places of those that go together; the oldest is always one."""

_ORDER: Final[tuple[Lane, ...]] = get_args(Lane)


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    item: T
    length_secs: Seconds


class Lanes(Generic[T]):
    """What waits, and what is to be taken next. No clock, no loop: only order."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._waiting: dict[Lane, deque[Entry[T]]] = {lane: deque() for lane in _ORDER}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, item: T, length_secs: Seconds, lane: Lane) -> None:
        self._waiting[lane].append(Entry(item, length_secs))

    def take(self) -> list[T]:
        """The next items to be worked on together, of one lane, the lane's oldest first; empty when nothing waits."""
        for waiting in self._waiting.values():
            if waiting:
                chosen = sorted({0, *self._choose([entry.length_secs for entry in waiting])})
                taken = [waiting[place].item for place in chosen]
                for place in reversed(chosen):
                    del waiting[place]
                return taken
        return []


@dataclass(frozen=True, slots=True)
class _Request(Generic[T, R]):
    item: T
    done: asyncio.Future[R]


class Admission(Generic[T, R]):
    """Runs ``work`` on one thread, batch after batch, in the order of `Lanes`.

    ``work`` gets items of one lane and gives, in order, a result or the error of each. A batch is whatever waits when the
    thread is free: under load batches grow by themselves, and an idle engine never lingers for company.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R | Exception]], choose: Choose, name: str) -> None:
        self._work = work
        self._lanes: Lanes[_Request[T, R]] = Lanes(choose)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._serving: asyncio.Task[None] | None = None

    async def submit(self, item: T, length_secs: Seconds, lane: Lane) -> R:
        """The result of one item; raises its error. A caller who goes away before the item's turn frees its place."""
        request: _Request[T, R] = _Request(item, asyncio.get_running_loop().create_future())
        self._lanes.put(request, length_secs, lane)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await request.done

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while taken := self._lanes.take():
            batch = [request for request in taken if not request.done.done()]  # else its caller has gone away
            if not batch:
                continue
            try:
                results = await loop.run_in_executor(self._thread, self._work, [request.item for request in batch])
            except Exception as error:
                results = [error] * len(batch)
            for request, result in zip(batch, results, strict=True):
                if request.done.done():
                    continue
                if isinstance(result, Exception):
                    request.done.set_exception(result)
                else:
                    request.done.set_result(result)


def one_at_a_time(_: Sequence[Seconds]) -> Sequence[int]:
    """The choice for an engine that gains nothing from batches."""
    return (0,)
