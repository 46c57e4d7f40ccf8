"""Statistics of the ledger and a consistent set of table versions, for commands that read while a server writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.storage.location import Location
    from schemas.settings import Settings


def ledger_stats(settings: Settings) -> dict[str, Any] | None:
    """`LedgerStats` of the server of HOME; None if no server runs. Blocks. Raises the server's errors."""
    from cli.options import locate
    from clients.public import Client
    from serve.supervisor.supervisor import instance

    if instance(settings.home) is None:
        return None
    with Client(locate(None, None, settings.home, operator=True)) as client:
        return dict(client.get("/operator/status")["jobs"])


async def stored_versions(location: Location) -> dict[str, int]:
    """The last Delta version by table. Raises NotFound where there are no tables."""
    from lakehouse.backup.snapshot_paths import current_versions
    from schemas.errors import NotFound

    found = await asyncio.to_thread(current_versions, location)
    if not found:
        raise NotFound(f"there are no tables at {location.root}", code="no_tables")
    return found


async def table_versions(settings: Settings, location: Location) -> dict[str, int]:
    """Delta version by table.

    The server of HOME names a consistent set; without a server these are the latest versions. Raises NotFound where there
    are no tables, and the server's errors.
    """
    stats = await asyncio.to_thread(ledger_stats, settings)
    return dict(stats["tables"]) if stats else await stored_versions(location)
