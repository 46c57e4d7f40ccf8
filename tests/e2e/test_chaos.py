"""Deaths and pauses of random processes under load: no job is lost or doubled, and clients see no lasting error.

A short round with a fixed seed; `make chaos` runs many.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e import stack as stacks
from tests.support import chaos, chaos_checks

pytestmark = pytest.mark.e2e

VICTIMS = ("flows.worker", "LedgerActor", "Gateway", "RecognizerDeployment", "LedgerActor")
"""No job can use up its attempts by these."""


def test_random_deaths_under_load_lose_and_double_nothing(stack: stacks.Stack) -> None:
    chance, journal = random.Random(21), chaos.Journal()
    clients = chaos.Clients(stack, journal, speech=False, prefix="chaos")
    with clients.at_work():
        stacks.until(lambda: journal.accepted, "a first job", 60)
        for victim in chance.sample(VICTIMS, len(VICTIMS)):
            chaos.disturb(stack, victim, chance, journal, longest_stop_secs=4.0)
            time.sleep(chance.uniform(0.5, 2.0))  # at some moment of the recovery from the one before
    chaos_checks.settled(stack)
    counted = chaos_checks.check(stack, journal)
    assert len(journal.disturbed) == len(VICTIMS)
    assert counted["jobs"] >= 2


def test_a_running_server_is_checked_backed_up_and_restored(stack: stacks.Stack, tmp_path: Path) -> None:
    chaos_checks.settled(stack)
    assert stack.fluxions("check", "--all")["findings"] == []
    made = stack.fluxions("backup", str(tmp_path / "backups"), "--verify")
    assert made["files"] > 0
    assert made["missing"] == made["damaged"] == made["wrong"] == []
    restored = replace(stack, home=tmp_path / "home")
    assert restored.fluxions("restore", str(tmp_path / "backups"))["files"] == made["files"]
    assert restored.fluxions("check", "--all")["findings"] == []
