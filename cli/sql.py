"""`fluxions sql`: Polars SQL over the home's tables, in this process. Needs no running server, and writes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import HomeOption, JsonOption, load_settings
from cli.output import note, print_json, print_table

if TYPE_CHECKING:
    import polars as pl

SHOWN_ROWS = 200


def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT over the tables; see --describe.")] = None,
    account: Annotated[str, typer.Option("--account", help="Account whose rows are shown.")] = "default",
    operator: Annotated[bool, typer.Option("--operator", help="Show every account and every table.")] = False,
    describe: Annotated[bool, typer.Option("--describe", help="Print every table and column with its meaning.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write Parquet to FILE.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query the tables in SQL.

    Examples:

      fluxions sql "select status, count(*) as jobs from transcriptions group by status"

      fluxions sql "select account, sum(cost_usd) as usd from tts_renders group by account" --operator --csv
    """
    from lakehouse import sql as tables
    from lakehouse.storage.location import Location

    owner = None if operator else account
    if describe:
        _describe(tables.describe(owner), as_json=as_json)
        return
    if query is None:
        raise typer.BadParameter("give a query, or --describe")
    if sum((as_csv, as_json, parquet is not None)) > 1:
        raise typer.BadParameter("choose one of --json, --csv and --parquet")
    frame = tables.query(Location.of(load_settings(home)), query, owner)
    if parquet is not None:
        frame.write_parquet(parquet)
        note(f"{frame.height} rows in {parquet}")
    elif as_csv:
        sys.stdout.write(_inert(_flat(frame)).write_csv())
    elif as_json:
        print_json(_rows(frame))
    else:
        print_table("", frame.columns, [list(row.values()) for row in _rows(frame.head(SHOWN_ROWS))])
        shown = f", {SHOWN_ROWS} shown" if frame.height > SHOWN_ROWS else ""
        note(f"{frame.height} rows{shown}")


def _describe(columns: list[tuple[str, str, str, bool, str]], *, as_json: bool) -> None:
    if as_json:
        names = ("table", "column", "type", "nullable", "meaning")
        print_json([dict(zip(names, column, strict=True)) for column in columns])
        return
    for table in dict.fromkeys(column[0] for column in columns):
        mine = [(name, f"{kind}?" if null else kind, doc) for owner, name, kind, null, doc in columns if owner == table]
        print_table(table, ("column", "type (? may be null)", "meaning"), mine)


def _rows(frame: pl.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON values, with times as ISO 8601."""
    import json

    return json.loads(_timed(frame).write_json())  # type: ignore[no-any-return]


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists and structs as JSON, because CSV has neither."""
    import json

    import polars as pl

    timed = _timed(frame)
    nested = [name for name, kind in timed.schema.items() if kind.is_nested()]
    rows = timed.select(nested).to_dicts() if nested else []
    return timed.with_columns(
        pl.Series(name, [None if row[name] is None else json.dumps(row[name], default=str) for row in rows], pl.String)
        for name in nested
    )


def _inert(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts that a spreadsheet would take for a formula, with an apostrophe in front (OWASP, "CSV injection")."""
    import polars as pl

    return frame.with_columns(pl.col(pl.String).str.replace(r"^([=+\-@\t\r])", "'${1}"))


def _timed(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
