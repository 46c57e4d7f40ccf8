"""``python -m tests.support.paused_ledger HOME URL``: a ledger that creates jobs and prints each that it acknowledged.

It prints ``lost`` for each that is refused because another ledger has the storage, and ends after three of them.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from lakehouse.ledger.ledger import Ledger
from schemas.cluster_settings import ClusterSettings
from schemas.errors import Unavailable
from tests.support.lakehouse_kit import home, new_job

LEASE_SECS = 2.0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(folder: Path, url: str) -> None:
    """Create jobs until the storage is lost."""
    settings = home(folder, storage_url=url).model_copy(
        update={"cluster": ClusterSettings(ledger_lease_secs=LEASE_SECS, shared_storage=True)}
    )
    ledger = await Ledger.open(settings)
    lost = 0
    for number in itertools.count():
        try:
            job = await ledger.jobs.create(new_job(f"old {number}"))
        except Unavailable:
            lost += 1
            say("lost")
            if lost == 3:
                await asyncio.wait_for(ledger.lost(), 30)
                return
        else:
            say(f"{job.id} {job.filename}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
