"""Latency of search for the newest 20 hits among one account's turns, and of PostgreSQL for the same queries.

Tables are written and indexes built in child processes, so the memory measured is that of a gateway that opens them.
Queries alternate between both systems within one run, so that other load affects both. PostgreSQL gets a temporary table,
one connection with prepared statements, a GIN index on (account, tsvector) and a B-tree on (account, time). Ours always
makes snippets; PostgreSQL is measured without and with ``ts_headline``.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.measure import Measure, Note, percentile
from benchmarks.storage.idle_ledger import IdleLedger
from benchmarks.storage.search_rows import Corpus
from lakehouse.history.history import History
from lakehouse.search import Search
from lakehouse.storage.location import Location
from schemas.tables import TURNS

if TYPE_CHECKING:
    import psycopg

LIMIT = 20
ACCOUNT = "heavy"
_COLUMNS = ("id", "account", "created_at", "session_id", "role", "text")
_SQL = """select id, session_id, role, text, created_at from turns
where account = %(account)s and tsv @@ websearch_to_tsquery('english', %(text)s)
order by created_at desc, id desc limit %(limit)s"""
_SQL_MARKED = """select *, ts_headline('english', text, websearch_to_tsquery('english', %(text)s)) from (
select id, session_id, role, text, created_at from turns
where account = %(account)s and tsv @@ websearch_to_tsquery('english', %(text)s)
order by created_at desc, id desc limit %(limit)s) found"""


def measure(*, turns: int, others: int, rounds: int, dsn: str | None, note: Note) -> list[Measure]:
    """Latencies by kind of query over ``turns`` turns of one account beside ``others`` of a second one.

    Raises RuntimeError if PostgreSQL finds other turns.
    """
    with tempfile.TemporaryDirectory(prefix="fluxions-bench-") as folder:
        children = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
        with children:
            note(f"writing {turns} turns of one account, {others} of another")
            children.submit(_write, folder, turns, others).result()
            note("building indexes")
            found = children.submit(_build, folder).result()
        note("asking")
        found += [Measure(name, _mebibytes(Path(folder) / name), "MiB") for name in ("tables", "indexes")]
        with _postgres(dsn) as connection:
            return found + asyncio.run(_measure(folder, turns, others, rounds, connection))


def _write(folder: str, turns: int, others: int) -> None:
    for account, count, first_id, seed in _accounts(turns, others):
        Corpus(seed).write(Location(folder, fsync=False).table_uri(TURNS.name), account, count, first_id)


def _accounts(turns: int, others: int) -> list[tuple[str, int, int, int]]:
    """(account, number of turns, first id, seed) of each account."""
    return [(ACCOUNT, turns, 1, 7), ("other", others, turns + 1, 8)]


def _build(folder: str) -> list[Measure]:
    return asyncio.run(_built(folder))


async def _built(folder: str) -> list[Measure]:
    """The first searches of an account, which start its indexes, and the memory of building them."""
    async with _opened(folder) as search:
        rare = Corpus().queries()["rare word"][0]
        await search.turns("nobody", rare, LIMIT)
        before = _memory()
        began = time.perf_counter()
        await search.turns(ACCOUNT, rare, LIMIT)
        answered = time.perf_counter()
        await search.wait_until_indexed()
        done = time.perf_counter()
    return [
        Measure("first query, without indexes (a rare word)", (answered - began) * 1000, "ms"),
        Measure("building indexes", done - answered, "s"),
        Measure("private memory more while building, at its end", _memory()[0] - before[0], "MiB"),
    ]


@asynccontextmanager
async def _opened(folder: str) -> AsyncIterator[Search]:
    indexes = Path(folder) / "indexes"
    history = History(Location(folder, fsync=False), IdleLedger(), index_folder=indexes)
    yield Search(history, index_folder=indexes)
    await history.close()


async def _measure(
    folder: str, turns: int, others: int, rounds: int, connection: psycopg.Connection[Any] | None
) -> list[Measure]:
    queries = Corpus().queries()
    before = _memory()
    began = time.perf_counter()
    async with _opened(folder) as search:
        await search.turns(ACCOUNT, queries["no such word"][0], LIMIT)
        found = [Measure("opening tables and indexes", time.perf_counter() - began, "s")]
        # The first round warms caches, and is not counted.
        for text in itertools.chain(*queries.values()):
            await search.turns(ACCOUNT, text, LIMIT)
        after = _memory()
        for number, name in enumerate(("private memory", "shared memory (mapped files)")):
            found.append(Measure(f"{name} more than before opening", after[number] - before[number], "MiB"))
        if connection is not None:
            _fill(connection, turns, others)
        for kind, texts in queries.items():
            found += await _asked(search, connection, kind, texts, rounds)
    return found


async def _asked(
    search: Search, connection: psycopg.Connection[Any] | None, kind: str, texts: Sequence[str], rounds: int
) -> list[Measure]:
    took: dict[str, list[float]] = {}
    for counted, text in itertools.product(range(rounds + 1), texts):
        for who, took_ms in (await _each(search, connection, text)).items():
            took.setdefault(who, []).extend([took_ms] * bool(counted))
    found = [measure for who, every_ms in took.items() for measure in _summary(kind, who, every_ms)]
    for who in list(took)[1:]:
        ratio = percentile(took["ours"], 0.5) / percentile(took[who], 0.5)
        found.append(Measure(f"{kind}: ours / {who}", ratio, "ratio of p50"))
    return found


async def _each(search: Search, connection: psycopg.Connection[Any] | None, text: str) -> dict[str, float]:
    """Latency of each system, ms."""
    began = time.perf_counter()
    hits = await search.turns(ACCOUNT, text, LIMIT)
    took = {"ours": (time.perf_counter() - began) * 1000}
    if connection is None:
        return took
    asked = {"account": ACCOUNT, "text": text, "limit": LIMIT}
    for who, sql in (("PostgreSQL", _SQL), ("PostgreSQL with ts_headline", _SQL_MARKED)):
        began = time.perf_counter()
        rows = connection.execute(sql, asked).fetchall()
        took[who] = (time.perf_counter() - began) * 1000
        if [row[0] for row in rows] != [hit.row["id"] for hit in hits]:
            raise RuntimeError(f"PostgreSQL finds other turns for {text!r}")
    return took


def _summary(kind: str, who: str, took_ms: Sequence[float]) -> list[Measure]:
    return [Measure(f"{kind}: {who} p{round(share * 100)}", percentile(took_ms, share), "ms") for share in (0.5, 0.95)]


def _memory() -> tuple[float, float]:
    """(private, shared) resident memory of this process, MiB. Pages of mapped files are shared."""
    info = psutil.Process().memory_info()
    return (info.rss - info.shared) / 2**20, info.shared / 2**20


def _mebibytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


@contextmanager
def _postgres(dsn: str | None) -> Iterator[psycopg.Connection[Any] | None]:
    if dsn is None:
        yield None
        return
    import psycopg

    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as connection:
        yield connection


def _fill(connection: psycopg.Connection[Any], turns: int, others: int) -> None:
    connection.execute("create extension if not exists btree_gin")
    connection.execute(
        "create temp table turns (id bigint primary key, account text, created_at timestamptz, session_id text, role text,"
        " text text, tsv tsvector generated always as (to_tsvector('english', text)) stored)"
    )
    with connection.cursor().copy(f"copy turns ({','.join(_COLUMNS)}) from stdin (format csv)") as copy:
        for account, count, first_id, seed in _accounts(turns, others):
            for frame in Corpus(seed).frames(account, count, first_id):
                lines = frame.select(_COLUMNS)
                copy.write(lines.write_csv(include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.6f+00"))
    connection.execute("create index on turns using gin (account, tsv)")
    connection.execute("create index on turns (account, created_at desc, id desc)")
    connection.execute("vacuum analyze turns")
