"""A program that answers requests in a process of its own: restarts, cancelled requests, and its end with its parent."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest

from runtime.child_program import ChildEnded, ChildProgram
from tests.support.processes import started

pytestmark = pytest.mark.unit

ECHO = "tests.support.child_echo"


@pytest.fixture
async def child() -> AsyncIterator[ChildProgram]:
    async with ChildProgram(ECHO) as child:
        yield child
    assert not child.is_running


async def test_requests_are_answered_in_order_by_one_process(child: ChildProgram) -> None:
    asked = await asyncio.gather(*(child.ask({"n": n}, bytes([n]) * 100_000) for n in range(5)))
    assert [(answer.head["n"], answer.head["asked"], answer.body[:1]) for _, answer in asked] == [
        (n, n + 1, bytes([n])) for n in range(5)
    ]
    assert len({answer.head["pid"] for _, answer in asked}) == 1
    assert {life for life, _ in asked} == {1}


async def test_what_a_child_prints_is_no_answer(child: ChildProgram) -> None:
    _, answer = await child.ask({"do": "print"}, b"sound")
    assert answer.body == b"sound"


async def test_a_child_that_died_is_started_again_but_not_for_what_needs_the_old_one(child: ChildProgram) -> None:
    life, before = await child.ask({})
    with pytest.raises(ChildEnded):
        await child.ask({"do": "die"})
    with pytest.raises(ChildEnded):
        await child.ask({}, life=life)
    _, after = await child.ask({})
    assert after.head["pid"] != before.head["pid"]
    assert after.head["asked"] == 1


async def test_a_cancelled_request_leaves_the_next_one_its_own_answer(child: ChildProgram) -> None:
    _, before = await child.ask({})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await child.ask({"do": "sleep"})
    assert not psutil.pid_exists(before.head["pid"])
    _, answer = await child.ask({"n": 2})
    assert answer.head["n"] == 2


async def test_a_child_that_takes_too_long_is_ended() -> None:
    async with ChildProgram(ECHO, answer_secs=2.0) as child:
        with pytest.raises(ChildEnded, match="2 s"):
            await child.ask({"do": "sleep"})
        assert not child.is_running


def test_a_child_at_work_ends_with_its_parent() -> None:
    program = (
        "import asyncio, sys\nfrom runtime.child_program import ChildProgram\n"
        "async def main():\n"
        f"  child = ChildProgram({ECHO!r})\n"
        "  print((await child.ask({}))[1].head['pid'], flush=True)\n"
        "  await child.ask({'do': 'sleep'})\n"
        "asyncio.run(main())\n"
    )
    with started([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait(20)
        assert not psutil.wait_procs([child], timeout=20)[1]


async def test_a_child_that_is_ended_for_good_answers_no_one_however_busy_it_was(child: ChildProgram) -> None:
    _, before = await child.ask({})
    busy, waiting = (asyncio.create_task(child.ask({"do": "sleep"})) for _ in range(2))
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await child.end_for_good()
        for asked in (busy, waiting):
            with pytest.raises(ChildEnded):
                await asked
        with pytest.raises(ChildEnded):
            await child.ask({})
    assert not psutil.pid_exists(before.head["pid"])
