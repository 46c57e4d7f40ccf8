"""The queue of a replica, with three lanes: interactive requests, interim results of live streams, and archives.

The lanes are served in this order, first come first served within a lane; a running batch is finished. So an
interactive request waits for the running batch and for earlier interactive ones, never for an archive's queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, get_args

from schemas.domain import Lane, Seconds

T = TypeVar("T")
R = TypeVar("R")

Choose = Callable[[Sequence[Seconds]], Sequence[int]]
"""From the lengths of the items in a lane, oldest first, to the indices of those in the next batch; the oldest is first."""

_ORDER: Final[tuple[Lane, ...]] = get_args(Lane)


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    item: T
    length_secs: Seconds
    group: Hashable


class Lanes(Generic[T]):
    """The order of waiting items, without clock or event loop."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._waiting: dict[Lane, deque[Entry[T]]] = {lane: deque() for lane in _ORDER}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, item: T, length_secs: Seconds, lane: Lane, group: Hashable = None) -> None:
        self._waiting[lane].append(Entry(item, length_secs, group))

    def take(self, takers: int = 1) -> list[T]:
        """The next batch, of one lane and one group, the lane's oldest item first; empty if none waits.

        ``takers``: number of idle threads; an equal share of the lane is left to each of the others.
        """
        for waiting in self._waiting.values():
            if waiting:
                places = [place for place, entry in enumerate(waiting) if entry.group == waiting[0].group]
                chosen = self._choose([waiting[place].length_secs for place in places])
                share = -(-len(waiting) // takers)
                taken = sorted({0, *(places[choice] for choice in chosen[:share])})
                items = [waiting[place].item for place in taken]
                for place in reversed(taken):
                    del waiting[place]
                return items
        return []


@dataclass(frozen=True, slots=True)
class _Request(Generic[T, R]):
    item: T
    done: asyncio.Future[R]
    begun: Callable[[], None]


class Admission(Generic[T, R]):
    """Runs ``work`` on as many threads as the engine has ``workers``, batch after batch, in the order of `Lanes`.

    ``work`` gets items of one lane and group and returns, in order, a result or the error of each. A batch is formed of the
    waiting items when a thread is free: batches grow under load, and an idle engine starts at once.
    """

    def __init__(
        self, work: Callable[[list[T]], Sequence[R | Exception]], choose: Choose, name: str, workers: int = 1
    ) -> None:
        self._work = work
        self._lanes: Lanes[_Request[T, R]] = Lanes(choose)
        self._workers = workers
        self._num_working = 0
        """Number of threads that work on a batch."""
        self._num_serving = 0
        """Tasks that take batches: at most one for each thread."""
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(
        self,
        item: T,
        length_secs: Seconds,
        lane: Lane,
        group: Hashable = None,
        begun: Callable[[], None] = lambda: None,
    ) -> R:
        """The result of one item; raises its error. Cancelling the call removes the item from the queue.

        ``begun`` is called when the item's batch is.
        """
        request: _Request[T, R] = _Request(item, asyncio.get_running_loop().create_future(), begun)
        self._lanes.put(request, length_secs, lane, group)
        if self._num_serving < self._workers:
            self._num_serving += 1
            task = asyncio.create_task(self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await request.done

    async def _serve(self) -> None:
        """Take and run batches until nothing waits."""
        try:
            while taken := self._lanes.take(self._workers - self._num_working):
                self._num_working += 1
                try:
                    await self._run(taken)
                finally:
                    self._num_working -= 1
        finally:
            self._num_serving -= 1

    async def _run(self, taken: list[_Request[T, R]]) -> None:
        batch = [request for request in taken if not request.done.done()]  # otherwise the call was cancelled
        if not batch:
            return
        for request in batch:
            request.begun()
        items = [request.item for request in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._threads, self._work, items)
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
    """Batches of one, for an engine that gains nothing from larger ones."""
    return (0,)
