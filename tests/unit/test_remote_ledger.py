"""Calling the ledger over Ray: every method of the protocols is there, and an answer that is lost doubles nothing.

The actor is the real one on a real ledger. Only its Ray handle is replaced by one that loses answers, as a dying process
does.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import pytest
import ray
from ray.exceptions import RayActorError

from lakehouse.ledger.interface import LedgerClient
from lakehouse.ledger.ledger import Ledger
from schemas.errors import Conflict, NotFound, Unavailable
from schemas.records import TtsRender
from serve.ledger_actor import NOT_REPEATABLE, LedgerActor, remote_ledger
from tests.support.lakehouse_kit import home, new_job

RENDER = TtsRender("ada", "maeve", "Good morning.", 13, 1.5, 0.001, None, "engines-1", 0.7)


class LossyActor:
    """The actor's handle: carries every call out, and loses the answers to the next ``losing`` ones."""

    def __init__(self, actor: LedgerActor) -> None:
        self._actor = actor
        self.losing = 0
        self.num_calls = 0

    @property
    def call(self) -> LossyActor:
        return self

    async def remote(self, *args: Any) -> tuple[bool, Any]:
        self.num_calls += 1
        answer = await self._actor.call(*args)
        if self.losing:
            self.losing -= 1
            raise RayActorError
        return answer


@pytest.fixture
async def lossy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LossyActor]:
    actor = LedgerActor(home(tmp_path))
    handle = LossyActor(actor)
    monkeypatch.setattr(ray, "get_actor", lambda *_: handle)
    yield handle
    await actor.close()


pytestmark = pytest.mark.unit

PROTOCOLS = {part: get_origin(hint) or hint for part, hint in get_type_hints(LedgerClient).items()}


def methods(part: str) -> dict[str, Any]:
    return dict(member for member in inspect.getmembers(PROTOCOLS[part], inspect.isfunction) if member[0][0] != "_")


@pytest.mark.parametrize("part", PROTOCOLS)
def test_the_client_has_the_methods_of_the_protocol_and_no_others(part: str) -> None:
    assert set(vars(getattr(remote_ledger(), part))) == set(methods(part))


async def test_the_ledger_in_process_takes_the_arguments_that_the_protocols_name(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        for part in PROTOCOLS:
            for name, stated_method in methods(part).items():
                stated = inspect.signature(stated_method).parameters
                real = inspect.signature(getattr(getattr(ledger, part), name)).parameters
                assert [*stated][1:] == [*real], f"{part}.{name}"
    finally:
        await ledger.close()


async def test_a_call_whose_answer_is_lost_is_sent_again_and_a_render_is_added_once(lossy: LossyActor) -> None:
    ledger = remote_ledger()
    lossy.losing = 1
    (row_id,) = await ledger.records.add_renders([RENDER])
    assert lossy.num_calls == 2
    # The next id shows that the repeated call added no row.
    assert await ledger.records.add_renders([RENDER]) == [row_id + 1]


async def test_a_submission_whose_answer_is_lost_makes_one_job(lossy: LossyActor) -> None:
    ledger = remote_ledger()
    lossy.losing = 1
    job = await ledger.jobs.create(new_job(submission="sent-once"))
    assert (await ledger.maintenance.stats()).live_jobs == {"submitted": 1}
    assert job.id == 1


async def test_calls_that_must_not_be_repeated_are_sent_once(lossy: LossyActor) -> None:
    ledger = remote_ledger()
    assert await ledger.keys.all() == []
    assert ("keys", "create") in NOT_REPEATABLE
    lossy.losing = 1
    with pytest.raises(Unavailable, match="restarting"):
        await ledger.keys.create("ada", "laptop", ("user",))
    assert len(await ledger.keys.all()) == 1


async def test_refusals_arrive_as_the_ledger_raised_them(lossy: LossyActor) -> None:
    ledger = remote_ledger()
    with pytest.raises(NotFound, match="no transcription 7"):
        await ledger.jobs.delete("ada", 7)
    job = await ledger.jobs.create(new_job())
    with pytest.raises(Conflict) as caught:
        await ledger.jobs.complete(job_id=job.id, lease="none", outcome=None, transcript=None)  # type: ignore[arg-type]
    assert caught.value.code == "lease_lost"


async def test_a_fault_of_the_ledger_is_reported_at_once_and_not_as_a_restart(
    lossy: LossyActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray says ValueError where there is no actor; one that a method raises is another matter."""

    async def faulty(*_: Any) -> tuple[bool, Any]:
        lossy.num_calls += 1
        raise ValueError("a negative length")

    monkeypatch.setattr(lossy, "remote", faulty)
    with pytest.raises(ValueError, match="negative length"):
        await remote_ledger().keys.all()
    assert lossy.num_calls == 1


async def test_a_home_that_another_ledger_writes_is_unavailable_and_not_a_conflict(tmp_path: Path) -> None:
    """A worker takes a conflict for a lost lease, and a client for a job that moved on."""
    settings = home(tmp_path)
    other = await Ledger.open(settings)
    actor = LedgerActor(settings)
    ok, error = await actor.call("keys", "all", (), {})
    assert not ok
    assert isinstance(error, Unavailable)
    assert error.code == "home_locked"
    assert error.retryable
    await other.close()
    assert await actor.call("keys", "all", (), {}) == (True, [])
    await actor.close()
