"""What a gateway and its ledger do on a small disk that fills up: ``python -m tests.support.full_disk FOLDER``.

Run by `tests.integration.test_full_disk` in a mount namespace of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx

from lakehouse.ledger.ledger import Ledger
from schemas.errors import StorageFull
from schemas.settings import ServerSettings, Settings, StorageSettings
from tests.contract.gateway import USER_KEY, Running, running
from tests.e2e import recordings

PAGE = bytes(4096)


def settings_of(home: Path, reserve_bytes: int = 0) -> Settings:
    return Settings(server=ServerSettings(home=home), storage=StorageSettings(reserve_bytes=reserve_bytes))


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(PAGE)
        except OSError:
            return


async def submit(client: httpx.AsyncClient, seed: int) -> httpx.Response:
    return await client.post("/submit", content=recordings.sentence(0, seed=seed), params={"cache": False})


async def listed(client: httpx.AsyncClient) -> set[int]:
    answer = await client.get("/transcriptions", params={"limit": 100})
    return {one["id"] for one in answer.raise_for_status().json()["transcriptions"]}


async def until_taken(client: httpx.AsyncClient, seed: int) -> int:
    """The id of a submit that is repeated as a client repeats it, for as long as an instance may need to recover."""
    async with asyncio.timeout(30):
        while (answer := await submit(client, seed)).status_code != 200:
            assert answer.status_code in (503, 507), answer.text
            await asyncio.sleep(0.2)
    return int(answer.json()["id"])


async def fills_up(gateway: Running, folder: Path) -> set[int]:
    """Acknowledged ids, before the disk was full and after there was room again."""
    async with gateway.client() as client:
        taken = {(await submit(client, seed)).raise_for_status().json()["id"] for seed in range(3)}
        fill(folder / "filler")
        for seed in range(3, 6):
            refused = await submit(client, seed)
            assert refused.status_code == 507, refused.text
            assert refused.json()["error"]["code"] == "storage_full"
            assert refused.headers["x-should-retry"] == "true"
        try:
            await gateway.ledger.jobs.cancel("default", min(taken))
            raise AssertionError("a commit succeeded on a full disk")
        except StorageFull:
            pass
        assert await listed(client) == taken, "what was acknowledged can be read while the disk is full"
        assert not list((folder / "home" / "data" / "objects" / "tmp").glob("*")), "a refused upload left its bytes"
        (folder / "filler").unlink()
        taken.add(await until_taken(client, 9))
        assert (await gateway.ledger.jobs.cancel("default", min(taken))).status == "cancelled"
        return taken


async def is_short(home: Path, reserve_bytes: int) -> tuple[str, int]:
    """(what `/ready` says of the space, status of a submit)."""
    async with running(home, settings_of(home, reserve_bytes)) as gateway, gateway.client(USER_KEY) as client:
        said: dict[str, Any] = (await client.get("/ready")).raise_for_status().json()["storage"]
        return said["state"], (await submit(client, 20)).status_code


async def main(folder: Path) -> None:
    home = folder / "home"
    async with running(home, settings_of(home)) as gateway:
        taken = await fills_up(gateway, folder)
    ledger = await Ledger.open(settings_of(home))
    try:
        jobs = {job_id: await ledger.jobs.watch("default", job_id, 0, None, 0) for job_id in taken}
        assert len(jobs) == 4
    finally:
        await ledger.close()
    free = shutil.disk_usage(folder).free
    for name, reserve_bytes, expected in (
        ("a", free // 4, ("short", 200)),
        ("b", free, ("full", 507)),
        ("c", 1024, ("ok", 200)),
    ):
        found = await is_short(folder / name, reserve_bytes)
        assert found == expected, (name, found)


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(Path(sys.argv[1])), 100))
