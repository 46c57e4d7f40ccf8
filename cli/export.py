"""`fluxions export`: writes tables as Parquet files; a later export adds only newer rows."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import HomeOption, JsonOption, load_settings
from cli.output import print_json, print_table
from cli.stored_state import table_versions

if TYPE_CHECKING:
    from lakehouse.export import Exported, Selection
    from schemas.settings import Settings


def export(
    folder: Annotated[Path, typer.Argument(help="Empty folder, or one with an earlier export, which is continued.")],
    since: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only rows created at this time, UTC, or later."),
    ] = None,
    account: Annotated[str, typer.Option("--account", help="Account whose rows are exported.")] = "default",
    operator: Annotated[bool, typer.Option("--operator", help="Export every account and every table.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export tables as Parquet.

    The same command again adds only the rows that are newer than the last export. Needs no running server.

    Examples:

      fluxions export /mnt/analysis

      fluxions export /mnt/analysis-2026 --since 2026-01-01 --operator
    """
    from lakehouse.export import Selection

    settings = load_settings(home)
    moment = since.replace(tzinfo=dt.UTC) if since is not None else None
    done = asyncio.run(_exported(settings, folder, Selection(None if operator else account, moment)))
    if as_json:
        print_json({"folder": str(folder), "tables": [one.to_json() for one in done]})
        return
    print_table(str(folder), ("table", "what", "rows"), [[one.table, one.kind, one.rows] for one in done])


async def _exported(settings: Settings, folder: Path, selection: Selection) -> list[Exported]:
    from lakehouse.export import export as export_tables
    from lakehouse.sql import OPERATOR_TABLES
    from lakehouse.storage.location import Location

    location = Location.of(settings)
    versions = await table_versions(settings, location)
    if selection.account is not None:
        versions = {name: version for name, version in versions.items() if name not in OPERATOR_TABLES}
    return await asyncio.to_thread(export_tables, location, folder, versions, selection)
