"""A lowered priority holds for children too, and for the session where Linux shares the processor between sessions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.priority import BACKGROUND_NICENESS
from tests.support.processes import python

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
GROUPED = Path("/proc/self/autogroup")

needs_autogroups = pytest.mark.skipif(not GROUPED.exists(), reason="this system does not weigh sessions")


def here() -> int:
    """The niceness that what is started from here begins with; other tests may have raised it."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def run(program: str, *, leads: bool) -> str:
    return str(python(program, text=True, start_new_session=leads, cwd=ROOT).stdout.strip())


def test_a_lowered_priority_holds_for_children() -> None:
    program = (
        "import os, subprocess, sys\nfrom runtime.priority import lower_priority\nlower_priority(); lower_priority()\n"
        "print(subprocess.check_output([sys.executable, '-c', 'import os; print(os.getpriority(0, 0))'], text=True))"
    )
    assert run(program, leads=False) == str(max(here(), BACKGROUND_NICENESS))


@needs_autogroups
@pytest.mark.parametrize(("steps", "least"), [("lower_priority", BACKGROUND_NICENESS), ("lower_session_priority", 0)])
def test_a_session_has_the_niceness_of_its_leader(steps: str, least: int) -> None:
    program = f"from runtime import priority\npriority.{steps}()\nprint(open('{GROUPED}').read())"
    assert run(program, leads=True).endswith(f" nice {max(here(), least)}")


@needs_autogroups
def test_a_session_is_left_alone_by_those_who_do_not_lead_it() -> None:
    before = GROUPED.read_text()
    run("from runtime.priority import lower_priority\nlower_priority()", leads=False)
    assert GROUPED.read_text() == before
