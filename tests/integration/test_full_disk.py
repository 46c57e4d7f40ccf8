"""A disk that fills up: submits are refused cleanly, nothing acknowledged is lost, and service returns by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

# A tmpfs of this test alone: in a mount namespace of its own, which needs root or user namespaces.
UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
IN_A_SMALL_DISK = 'mount -t tmpfs -o size=20m none "$1" && exec "$2" -m tests.support.full_disk "$1"'


def test_a_full_disk_refuses_what_is_new_keeps_what_is_acknowledged_and_recovers(tmp_path: Path) -> None:
    can_mount = subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=30, check=False)
    if can_mount.returncode:
        pytest.skip("this machine allows no mount namespace, so there is no small disk")
    argv = [*UNSHARE, "sh", "-c", IN_A_SMALL_DISK, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
