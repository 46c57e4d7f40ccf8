"""How a supervisor tells processes that they will be ended, and waits for their work."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.foretold_end import Work, foretell, forget, wait_until_finished
from tests.support.processes import started

pytestmark = pytest.mark.unit

HOLDER = """
import sys, time
from pathlib import Path
from runtime.foretold_end import Work
work = Work(Path(sys.argv[1]))
work.begin()
print("works", flush=True)
time.sleep(60)
"""


def test_only_who_has_work_learns_of_the_end(tmp_path: Path) -> None:
    one, other = Work(tmp_path), Work(tmp_path)
    one.begin()
    assert not one.is_foretold
    foretell(tmp_path)
    assert one.is_foretold
    assert not other.is_foretold
    other.begin()
    assert other.is_foretold
    one.end()
    assert not one.is_foretold
    forget(tmp_path)
    assert not other.is_foretold
    other.end()
    other.end()


def test_the_supervisor_waits_for_the_last_work_and_no_longer_than_it_may(tmp_path: Path) -> None:
    assert wait_until_finished(tmp_path, 0.0), "nobody has begun any"
    one, other = Work(tmp_path), Work(tmp_path)
    one.begin()
    other.begin()
    began = time.monotonic()
    assert not wait_until_finished(tmp_path, 0.2)
    assert time.monotonic() - began >= 0.2
    one.end()
    assert not wait_until_finished(tmp_path, 0.0)
    later = threading.Timer(0.2, other.end)
    later.start()
    assert wait_until_finished(tmp_path, 60)
    later.join(60)


def test_the_work_of_a_killed_process_is_over(tmp_path: Path) -> None:
    with started([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"works\n"
        assert not wait_until_finished(tmp_path, 0.0)
        holder.kill()
        assert wait_until_finished(tmp_path, 60)
