"""Scratch folders: their process's own, and gone with it, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.children import module_env
from runtime.scratch import remove_abandoned, scratch_folder
from tests.support.processes import started

pytestmark = pytest.mark.unit

HOLDER = """
import sys, time
from pathlib import Path
from runtime.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "worker") as folder:
    (folder / "decoded.s16").write_bytes(b"sound")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_private_and_ends_with_its_use(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "scratch", "worker") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        (folder / "a").write_bytes(b"1")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_process_may_have_several_folders_of_a_kind(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "clip") as one:
        with scratch_folder(tmp_path, "clip") as other:
            assert one != other
        assert one.exists()
        assert not other.exists()


def test_the_folder_of_a_killed_process_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", HOLDER, str(tmp_path))
    with started(argv, env=module_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().decode().strip())
        with scratch_folder(tmp_path, "worker"):
            assert (folder / "decoded.s16").exists()
        holder.kill()
        holder.wait(60)
        assert folder.exists()
        with scratch_folder(tmp_path, "archive"):
            assert folder.exists(), "another kind is somebody else's"
        with scratch_folder(tmp_path, "worker"):
            assert not folder.exists()


def test_a_process_id_that_was_given_anew_saves_no_folder(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "worker") as folder:
        start, own = folder.name.split(f"-{os.getpid()}-")
        boot, ticks = own.split(".", 1)
        earlier = tmp_path / f"{start}-{os.getpid()}-{boot}.1{ticks}"
        earlier.mkdir()
        strange = tmp_path / f"{start}-{os.getpid()}-notes"
        strange.mkdir()
        assert remove_abandoned(tmp_path, "worker") == [earlier]
        assert folder.exists()
        assert strange.exists()
