"""kill -9 of the ledger in the middle of runs: every file is one transcription, every acknowledged end stays."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import polars as pl
import pytest

from lakehouse.storage.location import Location
from tests.support.lakehouse_kit import home
from tests.support.processes import started_async

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
FILES = 40
KILLED_AFTER = (5, 12, 23)
"""Acknowledged ends of each life; the last life goes on to the end."""

# Transcribes FILES files in batches of five, each batch made again by a second run; says what was acknowledged.
VICTIM = """
import asyncio, sys
from pathlib import Path
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects
from tests.support.archive_kit import AGAIN, NEWER, REVISION, RUN, Worker, again, source
from tests.support.lakehouse_kit import home

async def carry_out(worker, files, text, revision):
    begun = await worker.begin(*files, revision=revision)
    leased = [one for one in begun if one.lease is not None]
    ends = [await worker.end(one, text, revision) for one in leased]
    done = await worker.ledger.archives.finish_files(worker.archive.id, ends)
    assert all(one.error is None for one in done), done
    for one in done:
        print(worker.archive.id, one.job_id, flush=True)
    return [one.lease.job_id if one.lease else one.file.transcription_id for one in begun]

async def main():
    settings = home(Path(sys.argv[1]), fsync=True, checkpoint_interval=10)
    ledger = await Ledger.open(settings)
    first = Worker(ledger, Objects.of(settings), await ledger.archives.open(RUN, REVISION))
    second = Worker(ledger, first.objects, await ledger.archives.open(AGAIN, NEWER))
    for number in range(0, int(sys.argv[2]), 5):
        files = [source(f"f{n}") for n in range(number, number + 5)]
        ids = await carry_out(first, files, "the first reading", REVISION)
        await carry_out(second, [again(i, f) for i, f in zip(ids, files)], "the second reading", NEWER)
    await ledger.close()

asyncio.run(main())
"""


async def live(folder: Path, kill_after: int | None) -> list[str]:
    """What one life of the ledger acknowledged; it is killed after so many lines, or ends by itself."""
    argv = (sys.executable, "-c", VICTIM, str(folder), str(FILES))
    async with started_async(*argv, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(90):
            while kill_after is not None and len(lines) < kill_after:
                line = await process.stdout.readline()
                assert line, "the ledger ended by itself"
                lines.append(line.decode().strip())
            if kill_after is not None:
                process.send_signal(signal.SIGKILL)
            rest = await process.stdout.read()
            await process.wait()
    assert kill_after is not None or process.returncode == 0
    return lines + rest.decode().split("\n")[:-1]


async def test_every_file_is_done_once_whenever_the_ledger_is_killed(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for kill_after in (*KILLED_AFTER, None):
        acknowledged += await live(tmp_path, kill_after)
    # Nothing acknowledged was done again; what was committed and not acknowledged is a batch of each life at most.
    assert len(set(acknowledged)) == len(acknowledged)
    assert 2 * FILES - 5 * len(KILLED_AFTER) <= len(acknowledged) <= 2 * FILES

    location = Location.of(home(tmp_path))
    transcriptions = pl.scan_delta(location.table_uri("transcriptions")).select("id", "revision", "filename").collect()
    assert sorted(transcriptions.rows()) == sorted(
        (job_id, revision, name)
        for revision in (0, 1)
        for job_id, name in transcriptions.select("id", "filename").unique().iter_rows()
    )
    assert transcriptions["filename"].n_unique() == transcriptions["id"].n_unique() == FILES
    segments = pl.scan_delta(location.table_uri("segments")).select("id", "revision", "position").collect()
    assert segments.n_unique() == len(segments) == 2 * FILES
    files = pl.scan_delta(location.table_uri("archive_files")).sort("seq").collect()
    latest = files.unique(["archive_id", "item"], keep="last")
    assert set(latest["status"]) == {"completed"}
    assert len(latest) == 2 * FILES
    assert files["seq"].n_unique() == len(files)
