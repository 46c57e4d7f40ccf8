"""Interactive work goes ahead, nobody is lost or served twice, and what is bad fails alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.domain import Lane
from schemas.errors import EngineFailure
from serve.engines.priority_queue import Admission, Lanes, one_at_a_time

pytestmark = pytest.mark.unit

LANES: tuple[Lane, ...] = ("interactive", "interim", "archive")

Steps = list[tuple[Lane, float] | None]
"""What happens to a queue: something comes, or (None) a batch is taken."""

steps = st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(LANES), st.floats(0.1, 30))), max_size=60)


def every_other(lengths: Sequence[float]) -> list[int]:
    return list(range(0, len(lengths), 2))


@given(steps, st.sampled_from((one_at_a_time, every_other)))
def test_lanes_keep_their_order(happening: Steps, choose: object) -> None:
    lanes: Lanes[int] = Lanes(choose)  # type: ignore[arg-type]
    waiting: dict[Lane, list[int]] = {lane: [] for lane in LANES}
    for number, step in enumerate([*happening, *[None] * len(happening)]):
        if step is not None:
            lanes.put(number, step[1], step[0])
            waiting[step[0]].append(number)
            continue
        taken = lanes.take()
        lane = next((lane for lane in LANES if waiting[lane]), None)
        if lane is None:
            assert taken == []
            continue
        assert taken[0] == waiting[lane][0], "the oldest of the first lane that waits"
        assert set(taken) <= set(waiting[lane]), "of one lane"
        assert taken == sorted(set(taken))
        waiting[lane] = [n for n in waiting[lane] if n not in taken]
        assert len(lanes) == sum(map(len, waiting.values()))
    assert len(lanes) == 0


class Engine:
    """Works on one batch at a time, and only as far as it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def work(self, batch: list[str]) -> list[str | Exception]:
        self.batches.append(batch)
        self.begun.release()
        assert self.may_end.acquire(timeout=60)
        return [EngineFailure(item) if item.startswith("bad") else item.upper() for item in batch]

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=60)


def everything(lengths: Sequence[float]) -> list[int]:
    return list(range(len(lengths)))


async def submitted(admission: Admission[str, str], item: str, lane: Lane) -> asyncio.Task[str]:
    task = asyncio.create_task(admission.submit(item, 1.0, lane))
    await asyncio.sleep(0)
    return task


async def test_an_interactive_request_waits_for_the_running_batch_only() -> None:
    engine = Engine()
    admission: Admission[str, str] = Admission(engine.work, one_at_a_time, "test")
    archive = [await submitted(admission, f"archive {n}", "archive") for n in range(3)]
    await engine.has_begun()
    person = await submitted(admission, "person", "interactive")
    engine.may_end.release(2)
    assert await person == "PERSON"
    engine.may_end.release(2)
    assert await asyncio.gather(*archive) == ["ARCHIVE 0", "ARCHIVE 1", "ARCHIVE 2"]
    assert engine.batches == [["archive 0"], ["person"], ["archive 1"], ["archive 2"]]


async def test_what_waits_while_the_engine_works_is_the_next_batch() -> None:
    engine = Engine()
    admission: Admission[str, str] = Admission(engine.work, everything, "test")
    first = await submitted(admission, "first", "archive")
    await engine.has_begun()
    later = [await submitted(admission, item, "archive") for item in ("a", "bad", "c")]
    engine.may_end.release(2)
    assert await first == "FIRST"
    assert await later[0] == "A"
    with pytest.raises(EngineFailure, match="bad"):
        await later[1]
    assert await later[2] == "C"
    assert engine.batches == [["first"], ["a", "bad", "c"]]


async def test_a_caller_who_goes_away_is_not_worked_for() -> None:
    engine = Engine()
    admission: Admission[str, str] = Admission(engine.work, one_at_a_time, "test")
    first = await submitted(admission, "first", "interactive")
    await engine.has_begun()
    gone, stays = [await submitted(admission, item, "interactive") for item in ("gone", "stays")]
    gone.cancel()
    engine.may_end.release(3)
    assert (await first, await stays) == ("FIRST", "STAYS")
    assert engine.batches == [["first"], ["stays"]]


async def test_an_engine_that_breaks_fails_its_batch_and_the_next_one_is_served() -> None:
    broken = [True]

    def work(batch: list[str]) -> list[str | Exception]:
        if broken.pop():
            broken.append(False)
            raise RuntimeError("broken")
        return list(batch)

    admission: Admission[str, str] = Admission(work, one_at_a_time, "test")
    with pytest.raises(RuntimeError, match="broken"):
        await admission.submit("one", 1.0, "archive")
    assert await admission.submit("two", 1.0, "archive") == "two"


async def test_as_many_batches_run_at_once_as_there_are_workers() -> None:
    engine = Engine()
    admission: Admission[str, str] = Admission(engine.work, everything, "test", workers=2)
    tasks = [asyncio.create_task(admission.submit(item, 1.0, "archive")) for item in ("a", "b", "c", "d", "e")]
    async with asyncio.timeout(30):
        await engine.has_begun()
        await engine.has_begun()
    assert sorted(map(len, engine.batches)) == [2, 3], "what waits is shared by the workers that are idle"
    engine.may_end.release(2)
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D", "E"]
    more = await submitted(admission, "f", "archive")
    engine.may_end.release()
    assert await more == "F", "an idle worker begins again"


@given(st.lists(st.tuples(st.sampled_from(LANES), st.sampled_from("xy")), min_size=1, max_size=30), st.integers(1, 4))
def test_a_batch_is_of_one_group_and_leaves_the_others_their_share(items: list[tuple[Lane, str]], takers: int) -> None:
    lanes: Lanes[int] = Lanes(everything)
    for number, (lane, group) in enumerate(items):
        lanes.put(number, 1.0, lane, group)
    seen: list[int] = []
    while taken := lanes.take(takers):
        left = [n for n in range(len(items)) if n not in seen and items[n][0] == items[taken[0]][0]]
        assert {items[n] for n in taken} == {items[taken[0]]}
        assert taken[0] == left[0]
        assert len(taken) <= -(-len(left) // takers)
        seen += taken
    assert sorted(seen) == list(range(len(items)))
