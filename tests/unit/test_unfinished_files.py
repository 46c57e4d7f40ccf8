"""Files that a killed process had begun to write into a local store: in no listing, and removed when they are old."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import obstore
import pytest

from lakehouse.maintenance.unfinished_files import remove_unfinished
from lakehouse.storage.location import Location
from runtime.children import module_env
from tests.support.processes import started

pytestmark = pytest.mark.unit

CUT_OFF = """
import asyncio, sys
from lakehouse.storage.location import Location
from lakehouse.storage.objects import PART_BYTES, Objects

async def chunks():
    for _ in range(3):
        yield bytes(PART_BYTES)
    print("sent", flush=True)
    await asyncio.Event().wait()

asyncio.run(Objects(Location(sys.argv[1], fsync=False)).put_stream(chunks(), limit_bytes=2**40))
"""


def test_an_upload_of_a_killed_process_is_removed_when_it_is_old(tmp_path: Path) -> None:
    location = Location(str(tmp_path), fsync=False)
    argv = (sys.executable, "-c", CUT_OFF, str(tmp_path))
    with started(argv, env=module_env(), stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"sent\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(60)
    (left,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert left.parent == tmp_path / "objects" / "tmp"
    assert [meta for batch in obstore.list(location.store()) for meta in batch] == [], "no listing has it"

    day_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    assert remove_unfinished(location, day_ago) == 0
    assert left.exists()
    os.utime(left, (day_ago.timestamp() - 60,) * 2)
    assert remove_unfinished(location, day_ago) == 1
    assert not left.exists()
    assert remove_unfinished(Location("s3://bucket/home", fsync=False), day_ago) == 0
