"""SQL over the tables as they lie, by Polars: read-only, and of one account's rows unless everything is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import polars as pl
from deltalake import DeltaTable

from lakehouse.location import Location
from schemas.errors import InvalidParameter
from schemas.tables import TABLES

OPERATOR_TABLES = frozenset({"api_keys", "job_events"})
"""Tables of the platform's own affairs: hashes of keys, names of workers."""
_BEGINNINGS = frozenset({"select", "with", "from", "explain", "show", "values", "("})
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^']|'')*')|"(?P<quoted>(?:[^"]|"")*)"|(?P<word>\w+)|(?P<other>\S)""",
    re.DOTALL,
)


def query(location: Location, sql: str, account: str | None) -> pl.DataFrame:
    """The answer to one SELECT. ``account`` limits every table to its rows; None sees all rows of all tables.

    Opens the tables named, at their newest version. Blocks. Raises InvalidParameter(param="query") for SQL that is wrong,
    that would write, or that would read files.
    """
    words = list(_words(sql))
    _check(words)
    names = [table.name for table in TABLES if table.name in words and (account is None or _visible(table.name))]
    frames = {name: _frame(location, name, account) for name in names}
    known = ", ".join(table.name for table in TABLES if account is None or _visible(table.name))
    with refusals("query", f"; tables: {known}"), pl.SQLContext(frames, register_globals=False) as context:
        return context.execute(sql, eager=True)


def where(name: str, rows: pl.LazyFrame, condition: str) -> pl.LazyFrame:
    """``rows``, known as ``name``, for which an SQL condition holds. Raises InvalidParameter(param="where").

    Collect it within `refusals`: some mistakes show only then.
    """
    words = list(_words(condition))
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if depth < 0 or word == ";":
            raise InvalidParameter("one condition is meant, as it stands behind WHERE", param="where")
    if not words or depth:
        raise InvalidParameter("the condition is empty, or a parenthesis is not closed", param="where")
    _check(["select", *words], "where")
    with refusals("where"), pl.SQLContext({name: rows}, register_globals=False) as context:
        # On a line of its own, for a comment may end the condition.
        return context.execute(f"SELECT * FROM {name} WHERE (\n{condition}\n)", eager=False)  # noqa: S608


@contextmanager
def refusals(param: str, tables: str = "") -> Iterator[None]:
    """What Polars finds wrong with SQL is the asker's mistake: InvalidParameter says what."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        hint = tables if "not found" in str(error) else ""
        raise InvalidParameter(f"{str(error).strip().splitlines()[0]}{hint}", param=param) from error


def describe(account: str | None) -> list[tuple[str, str, str, bool, str]]:
    """(table, column, type, whether it may be null, meaning) of every column an account, or an operator, can ask for."""
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
    frame = pl.scan_delta(DeltaTable(uri))
    return frame if account is None else frame.filter(pl.col("account") == account)


def _words(sql: str) -> Iterator[str]:
    """Words, names without their quotes, and signs; no comments and no strings."""
    for match in _TOKEN.finditer(sql):
        if match["quoted"] is not None:
            yield match["quoted"].lower()
        elif match["word"] or match["other"]:
            yield match.group().lower()


def _check(words: list[str], param: str = "query") -> None:
    if not words or words[0] not in _BEGINNINGS:
        raise InvalidParameter("only queries are answered: begin with SELECT or WITH", param=param)
    for name, sign in pairwise(words):
        if sign == "(" and name.startswith("read_"):
            raise InvalidParameter(f"{name}() would read a file; only the tables can be asked", param=param)
