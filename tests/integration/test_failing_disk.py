"""A disk whose fsync fails, or takes long: submits are refused cleanly or wait, and nothing acknowledged is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.disk_faults import can_inject
from tests.support.processes import ROOT

pytestmark = pytest.mark.integration


def test_a_disk_that_cannot_be_flushed_acknowledges_nothing_and_recovers(tmp_path: Path) -> None:
    if not can_inject():
        pytest.skip("there is no strace that may trace processes here, so fsync cannot be made to fail")
    argv = [sys.executable, "-m", "tests.support.failing_disk", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
