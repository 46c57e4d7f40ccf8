"""What a gateway and its ledger do on a disk that cannot be flushed, or only slowly: ``python -m tests.support.failing_disk
FOLDER``.

Run by `tests.integration.test_failing_disk`, in a process of its own because that process is traced.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx

from lakehouse.ledger.ledger import Ledger
from schemas.settings import ServerSettings, Settings, StorageSettings
from tests.contract.gateway import running
from tests.support.disk_faults import failing_fsync
from tests.support.full_disk import listed, submit, until_taken
from tests.support.lakehouse_kit import read_jobs

SLOW = "delay_exit=300000"
"""300 ms for each fsync; a submit needs seven and more."""


def settings_of(home: Path) -> Settings:
    return Settings(server=ServerSettings(home=home), storage=StorageSettings(fsync=True))


async def fails(client: httpx.AsyncClient) -> set[int]:
    """Acknowledged ids, before the disk failed and after it was well again."""
    taken = {(await submit(client, seed)).raise_for_status().json()["id"] for seed in range(2)}
    with failing_fsync("error=EIO"):
        for seed in range(2, 4):
            refused = await submit(client, seed)
            assert refused.status_code == 503, refused.text
            assert refused.headers["x-should-retry"] == "true"
        assert taken <= await listed(client), "what was acknowledged can be read"
    return taken | {await until_taken(client, seed) for seed in range(2, 4)}


async def is_slow(client: httpx.AsyncClient) -> int:
    """The id of a submit that waited for a slow disk, while reads did not."""
    with failing_fsync(SLOW):
        submitting = asyncio.create_task(submit(client, 9))
        reads = 0
        while not submitting.done():
            await listed(client)
            reads += not submitting.done()
    assert reads, "nothing was read while a submit waited for the disk"
    return int((await submitting).raise_for_status().json()["id"])


async def main(folder: Path) -> None:
    async with running(folder, settings_of(folder)) as gateway, gateway.client() as client:
        taken = await fails(client)
        taken.add(await is_slow(client))
        assert len(taken) == 5
        assert not list((folder / "data" / "objects" / "tmp").glob("*")), "a refused upload left its bytes"
    ledger = await Ledger.open(settings_of(folder))
    try:
        _, jobs = await read_jobs(ledger, "default", 100, 0)
    finally:
        await ledger.close()
    assert taken <= {job.id for job in jobs}
    assert len(jobs) == len({job.id for job in jobs})


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(Path(sys.argv[1])), 100))
