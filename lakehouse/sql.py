"""Read-only SQL over the tables, by Polars. A query sees one account's rows, or all rows for an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from deltalake import DeltaTable

from lakehouse.sql_guard import check_condition, check_query
from lakehouse.storage.location import Location
from lakehouse.tables.open_table import open_table
from schemas.errors import InvalidParameter
from schemas.tables import TABLES

OPERATOR_TABLES = frozenset({"api_keys", "job_events", "audit_events", "deletions"})
"""Tables that accounts cannot query: they have key hashes, names of workers and actions of operators."""


def query(location: Location, sql: str, account: str | None) -> pl.DataFrame:
    """The result of one SELECT. ``account`` limits every table to its rows; None allows all rows of all tables.

    Opens the newest version of the tables that are named. Blocks. Raises InvalidParameter(param="query") for SQL that is
    malformed, that would write, or that asks for more than the tables (`lakehouse.sql_guard`).
    """
    open_tables = [table.name for table in TABLES if account is None or _visible(table.name)]
    frames = {name: _frame(location, name, account) for name in sorted(check_query(sql, open_tables))}
    with refusals("query"), pl.SQLContext(frames, register_globals=False) as context:
        return context.execute(sql, eager=True)


def where(name: str, rows: pl.LazyFrame, condition: str) -> pl.LazyFrame:
    """The ``rows``, named ``name`` in the condition, for which an SQL condition holds.

    Collect the result within `refusals`, because Polars finds some errors only then. Raises
    InvalidParameter(param="where").
    """
    sql = check_condition(name, condition)
    with refusals("where"), pl.SQLContext({name: rows}, register_globals=False) as context:
        return context.execute(sql, eager=False)


@contextmanager
def refusals(param: str) -> Iterator[None]:
    """Turn Polars' errors about SQL into InvalidParameter, with its message."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise InvalidParameter(str(error).strip().splitlines()[0], param=param) from error


def describe(account: str | None) -> list[tuple[str, str, str, bool, str]]:
    """(table, column, type, whether it may be null, description) of every column open to an account, or to an operator."""
    return [
        (table.name, column.name, str(column.type), column.nullable, (column.metadata or {}).get(b"doc", b"").decode())
        for table in TABLES
        if account is None or _visible(table.name)
        for column in table.schema
    ]


def _visible(name: str) -> bool:
    return name not in OPERATOR_TABLES


def _frame(location: Location, name: str, account: str | None) -> pl.LazyFrame:
    uri = location.table_uri(name)
    if not DeltaTable.is_deltatable(uri):
        raise InvalidParameter(f"there are no tables in {location.root}; start the platform there once", param="home")
    frame = pl.scan_delta(open_table(uri))
    return frame if account is None else frame.filter(pl.col("account") == account)
