"""What steps back does so for all it starts, and before other sessions where Linux weighs those first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.priority import BACKGROUND_NICENESS

ROOT = Path(__file__).parents[2]
GROUPED = Path("/proc/self/autogroup")

needs_autogroups = pytest.mark.skipif(not GROUPED.exists(), reason="this system does not weigh sessions")


def here() -> int:
    """The niceness that what is started from here begins with; other tests may have raised it."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def run(program: str, *, leads: bool) -> str:
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=leads, cwd=ROOT
    )
    return found.stdout.strip()


def test_what_steps_back_takes_its_children_along() -> None:
    program = (
        "import os, subprocess, sys\nfrom schemas.priority import step_back\nstep_back(); step_back()\n"
        "print(subprocess.check_output([sys.executable, '-c', 'import os; print(os.getpriority(0, 0))'], text=True))"
    )
    assert run(program, leads=False) == str(max(here(), BACKGROUND_NICENESS))


@needs_autogroups
@pytest.mark.parametrize(("steps", "least"), [("step_back", BACKGROUND_NICENESS), ("session_steps_back", 0)])
def test_a_session_stands_where_its_leader_does(steps: str, least: int) -> None:
    program = f"from schemas import priority\npriority.{steps}()\nprint(open('{GROUPED}').read())"
    assert run(program, leads=True).endswith(f" nice {max(here(), least)}")


@needs_autogroups
def test_a_session_is_left_alone_by_those_who_do_not_lead_it() -> None:
    before = GROUPED.read_text()
    run("from schemas.priority import step_back\nstep_back()", leads=False)
    assert GROUPED.read_text() == before
