"""Flushing files and folders together: each once, all before it returns, and a replaced file before its folder."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from lakehouse.storage.fsync import FileFlush, fsync_all, fsync_path, fsync_together

pytestmark = pytest.mark.unit


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """Each flushed path, with the inode that the first file of the tests had then."""
    found: list[tuple[Path, int]] = []
    fsync = os.fsync

    def recorded(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        file = path / "one" if path.is_dir() else path
        fsync(fd)
        found.append((path, file.stat().st_ino if file.exists() else 0))

    monkeypatch.setattr(os, "fsync", recorded)
    return found


def _files(folder: Path) -> list[Path]:
    files = [folder / "a" / "b" / "one", folder / "a" / "b" / "two", folder / "a" / "three"]
    files[0].parent.mkdir(parents=True)
    for file in files:
        file.write_bytes(b"bytes")
    return files


def test_each_file_and_each_of_its_folders_is_flushed_once(tmp_path: Path, flushed: list[tuple[Path, int]]) -> None:
    files = _files(tmp_path)
    fsync_all(files, tmp_path)
    assert sorted(path for path, _ in flushed) == sorted([*files, tmp_path, tmp_path / "a", tmp_path / "a" / "b"])


def test_the_folder_of_a_file_that_is_replaced_is_flushed_after_it(
    tmp_path: Path, flushed: list[tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, flush = _files(tmp_path), FileFlush()
    recorded = os.fsync

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="the disk failed"):
        fsync_all(files, tmp_path, flush)
    monkeypatch.setattr(os, "fsync", recorded)
    before = files[0].stat().st_ino
    fsync_all(files, tmp_path, flush)
    after = files[0].stat().st_ino
    assert after != before, "it was written anew"
    assert [inode for path, inode in flushed if path == files[0].parent][-1] == after


def test_an_error_is_raised_after_the_others_have_ended(tmp_path: Path) -> None:
    files = _files(tmp_path)
    begun, refused = threading.Event(), threading.Event()
    ended: list[Path] = []

    def flush(path: Path) -> None:
        if path == files[0]:
            assert begun.wait(60)
            refused.set()
            raise OSError(errno.EIO, "the disk failed")
        begun.set()
        assert refused.wait(60)
        fsync_path(path)
        ended.append(path)

    with pytest.raises(OSError, match="the disk failed"):
        fsync_together(files, flush)
    assert sorted(ended) == sorted(files[1:])
