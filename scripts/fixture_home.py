"""Writes the home of today's format for the upgrade tests.

``python -m scripts.fixture_home tests/data/homes/format-1.tar.xz``, once for each format, by the code that has it. The
file is never changed, because later code must read it.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tarfile
import tempfile
from pathlib import Path

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects
from tests.support.furnished_home import furnish
from tests.support.lakehouse_kit import home
from tests.support.stored_rows import stored_rows


async def _write(folder: Path) -> bytes:
    settings = home(folder)
    ledger = await Ledger.open(settings)
    try:
        await furnish(ledger, Objects.of(settings))
    finally:
        await ledger.close()
    return stored_rows(settings)


def main(target: Path) -> None:
    """Write the archive: the folder ``data`` of the home, and ``rows.json``, what was in its tables."""
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(_write(Path(folder)))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w:xz") as archive:
            archive.add(Path(folder) / "data", "data")
            member = tarfile.TarInfo("rows.json")
            member.size = len(rows)
            archive.addfile(member, io.BytesIO(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
