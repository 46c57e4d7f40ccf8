"""Latency of history reads as rows grow, and of PostgreSQL for the same queries over the same rows.

Queries alternate between both within one run, so that other load affects both. PostgreSQL gets one connection with
prepared statements, unlogged tables of the listed columns only, a primary key, and an index for every filter and order.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Measure, Note, percentile
from benchmarks.storage import history_rows
from benchmarks.storage.history_rows import HEAVY, Data
from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history.history import History
from lakehouse.storage.location import Location

if TYPE_CHECKING:
    import psycopg

LIMIT = 20
DEEP_PAGE = 500

_COLUMNS = {
    "transcriptions": "id,account,created_at,status,filename,audio_duration_secs,audio_format,language,num_segments,"
    "num_speakers,cost_usd",
    "tts_renders": "id,account,created_at,voice,chars,audio_secs,cost_usd,audio_key",
    "conversations": "id,account,created_at,voice,session_id,started_at,ended_at,duration_secs,turn_count,cost_usd",
}
_KINDS = {"id": "bigint", "created_at": "timestamptz", "started_at": "timestamptz", "ended_at": "timestamptz"}
_NUMBERS = ("audio_duration_secs", "num_segments", "num_speakers", "cost_usd", "chars", "audio_secs", "duration_secs")
_FILTERS = {"transcriptions": "status", "tts_renders": "voice", "conversations": "voice"}


@dataclass(frozen=True, slots=True)
class Question:
    """One query, as ``ours`` for history and as ``sql`` for PostgreSQL; both return (rows, total)."""

    name: str
    ours: Callable[[], Awaitable[tuple[list[Any], int]]]
    sql: list[tuple[str, tuple[Any, ...]]]


@dataclass(slots=True)
class Timings:
    """Times of all answers, s, by query."""

    ours: dict[str, list[float]] = field(default_factory=dict)
    postgres: dict[str, list[float]] = field(default_factory=dict)
    different: dict[str, int] = field(default_factory=dict)

    def measures(self) -> Iterator[Measure]:
        for name, ours in self.ours.items():
            theirs = self.postgres.get(name)
            for share in (0.5, 0.95):
                yield Measure(f"{name}, p{share * 100:.0f}", percentile(ours, share) * 1000, "ms")
                if theirs:
                    yield Measure(f"{name}, PostgreSQL p{share * 100:.0f}", percentile(theirs, share) * 1000, "ms")
            if theirs:
                ratio = percentile(ours, 0.5) / percentile(theirs, 0.5)
                yield Measure(f"{name}, p50 of PostgreSQL's", ratio, "times")


def measure(folder: str, num_rows: int, rounds: int, dsn: str | None, note: Note, *, narrow: bool = False) -> list[Measure]:
    """Build ``num_rows`` under ``folder``, ask ``rounds`` times each. Raises RuntimeError if answers differ."""
    note(f"writing {num_rows} transcriptions and as many renders and conversations again")
    data = history_rows.build(folder, num_rows, narrow=narrow)
    with _postgres(dsn) as connection:
        if connection is not None:
            note("copying the same rows to PostgreSQL")
            _fill(connection, data)
        note(f"asking {rounds} times")
        return asyncio.run(_measure(folder, data, rounds, connection))


async def _measure(folder: str, data: Data, rounds: int, connection: psycopg.Connection[Any] | None) -> list[Measure]:
    import psutil

    indexes = Path(folder) / "indexes"
    first = History(Location(folder, fsync=False), IdleLedger(), index_folder=indexes)
    found = [one async for one in _opened(first, "build indexes and open")]
    began = time.perf_counter()
    # Once without the clock, so that the row blocks of all files that are asked for are made.
    for asked in _rounds(first, data, rounds):
        for question in asked:
            await question.ours()
    await first.wait_until_stored()
    found.append(Measure("asking once and making row blocks", time.perf_counter() - began, "s"))
    await first.close()
    del first
    gc.collect()
    before = psutil.Process().memory_info().rss
    history = History(Location(folder, fsync=False), IdleLedger(), index_folder=indexes)
    found += [one async for one in _opened(history, "open")]
    held = psutil.Process().memory_info().rss - before
    snapshots = [s for s in (history.snapshot(name) for name in _COLUMNS) if s is not None]
    found.append(Measure("keys in memory", sum(s.num_bytes for s in snapshots) / 2**20, "MiB"))
    mapped = sum(path.stat().st_size for path in indexes.rglob("*") if path.is_file())
    found.append(Measure("keys in mapped files", mapped / 2**20, "MiB"))
    found.append(Measure("memory of the process for it", held / 2**20, "MiB"))
    timings = Timings()
    cold = History(Location(folder, fsync=False), IdleLedger(), cache_bytes=0, index_folder=indexes)
    for number, asked in enumerate(_rounds(history, data, rounds)):
        # The first round warms caches and connection on both sides.
        for question in (*asked, *_cold_questions(cold, HEAVY[number % len(HEAVY)])):
            await _ask(question, connection, timings if number else Timings())
    await history.close()
    await cold.close()
    if timings.different:
        raise RuntimeError(f"answers differ from PostgreSQL's: {timings.different}")
    return [*found, *timings.measures()]


async def _opened(history: History, title: str) -> AsyncIterator[Measure]:
    for name in _COLUMNS:
        began = time.perf_counter()
        await history.page(name, HEAVY[0])
        yield Measure(f"{title} {name}", time.perf_counter() - began, "s")


async def _ask(question: Question, connection: psycopg.Connection[Any] | None, timings: Timings) -> None:
    began = time.perf_counter()
    rows, total = await question.ours()
    timings.ours.setdefault(question.name, []).append(time.perf_counter() - began)
    if connection is None:
        return
    began = time.perf_counter()
    answers = [connection.execute(sql, parameters, prepare=True).fetchall() for sql, parameters in question.sql]
    timings.postgres.setdefault(question.name, []).append(time.perf_counter() - began)
    ids = [row[0] for row in answers[0]]
    if ids != rows or (len(answers) > 1 and answers[1][0][0] != total):
        timings.different[question.name] = timings.different.get(question.name, 0) + 1


def _rounds(history: History, data: Data, rounds: int) -> Iterator[list[Question]]:
    """The questions of each round, and of one more in front: the same in each call."""
    choose = random.Random(3)  # noqa: S311 - a fixed choice of questions, not a secret
    small = data.small_accounts(64)
    for number in range(rounds + 1):
        yield list(_questions(history, data, choose, HEAVY[number % len(HEAVY)], choose.choice(small)))


def _questions(history: History, data: Data, choose: random.Random, heavy: str, small: str) -> Iterator[Question]:
    own = data.ids("transcriptions", heavy)
    yield _get(history, heavy, int(own[choose.randrange(len(own))]))
    deep = min(DEEP_PAGE, max(1, len(own) // LIMIT))
    yield _list(history, "list, heavy, page 1", "transcriptions", heavy, 1)
    yield _list(
        history, "list, heavy, page 500" if deep == DEEP_PAGE else "list, heavy, last page", "transcriptions", heavy, deep
    )
    yield _list(history, "list, small, page 1", "transcriptions", small, 1)
    voice = f"voice-{choose.randrange(history_rows.NUM_VOICES)}"
    for kind, account in (("heavy", heavy), ("small", small)):
        yield _list(history, f"status, {kind}", "transcriptions", account, 1, "failed")
        yield _list(history, f"voice, {kind}", "tts_renders", account, 1, voice)
        yield _feed(history, f"feed, {kind}", account)


def _cold_questions(cold: History, heavy: str) -> Iterator[Question]:
    """Queries to a reader without a cache of row groups, so that each answer decodes its rows from files."""
    yield _list(cold, "list, heavy, nothing cached", "transcriptions", heavy, 1)
    yield _list(cold, "status, heavy, nothing cached", "transcriptions", heavy, 1, "failed")
    yield _list(cold, "voice, heavy, nothing cached", "tts_renders", heavy, 1, "voice-3")
    yield _feed(cold, "feed, heavy, nothing cached", heavy)


def _get(history: History, account: str, row_id: int) -> Question:
    async def ours() -> tuple[list[Any], int]:
        row = await history.get("transcriptions", account, row_id)
        return ([row["id"]] if row else []), 1

    sql = f"select {_COLUMNS['transcriptions']} from transcriptions where id = %s and account = %s"  # noqa: S608
    return Question("get by id", ours, [(sql, (row_id, account))])


def _list(history: History, title: str, name: str, account: str, page: int, value: str | None = None) -> Question:
    filters = {_FILTERS[name]: value} if value else None

    async def ours() -> tuple[list[Any], int]:
        found = await history.page(name, account, page=page, limit=LIMIT, filters=filters)
        return [row["id"] for row in found.rows], found.total

    where = f"from {name} where account = %s" + (f" and {_FILTERS[name]} = %s" if value else "")
    parameters = (account, value) if value else (account,)
    ordered = f"select {_COLUMNS[name]} {where} order by created_at desc, id desc limit %s offset %s"
    return Question(
        title, ours, [(ordered, (*parameters, LIMIT, (page - 1) * LIMIT)), (f"select count(*) {where}", parameters)]
    )


def _feed(history: History, title: str, account: str) -> Question:
    """The newest page of a year of all three types."""
    since = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
    until = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)

    async def ours() -> tuple[list[Any], int]:
        found = await history.feed(account, limit=LIMIT, since=since, until=until)
        return [row["id"] for _, row in found.rows], found.total

    where = "where account = %s and created_at between %s and %s"
    newest = f"{where} order by created_at desc, id desc limit {LIMIT}"
    parts = {
        "transcriptions": "status, filename, audio_duration_secs, cost_usd",
        "tts_renders": "voice, null, audio_secs, cost_usd",
        "conversations": "voice, session_id, duration_secs, cost_usd",
    }
    union = " union all ".join(
        f"(select id, created_at, {number} as kind, {columns} from {name} {newest})"  # noqa: S608
        for number, (name, columns) in enumerate(parts.items())
    )
    counts = " + ".join(f"(select count(*) from {name} {where})" for name in parts)  # noqa: S608
    arguments = (account, since, until) * len(parts)
    ordered = f"select * from ({union}) merged order by created_at desc, id desc, kind desc limit {LIMIT}"  # noqa: S608
    return Question(title, ours, [(ordered, arguments), (f"select {counts}", arguments)])


@contextmanager
def _postgres(dsn: str | None) -> Iterator[psycopg.Connection[Any] | None]:
    if dsn is None:
        yield None
        return
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def _fill(connection: psycopg.Connection[Any], data: Data) -> None:
    for name, columns in _COLUMNS.items():
        names = columns.split(",")
        kinds = ", ".join(f"{c} {_KINDS.get(c, 'double precision' if c in _NUMBERS else 'text')}" for c in names)
        connection.execute(f"drop table if exists {name}")
        connection.execute(f"create unlogged table {name} ({kinds})")
        with connection.cursor().copy(f"copy {name} ({columns}) from stdin (format csv)") as copy:
            for frame in history_rows.frames(data, name):
                copy.write(frame.select(names).write_csv(include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.6f+00"))
        connection.execute(f"alter table {name} add primary key (id)")
        connection.execute(f"create index on {name} (account, created_at desc, id desc)")
        connection.execute(f"create index on {name} (account, {_FILTERS[name]}, created_at desc, id desc)")
        connection.execute(f"vacuum analyze {name}")
