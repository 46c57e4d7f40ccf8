"""Latency of search for the newest 20 hits among one account's turns, and of PostgreSQL for the same queries.

Queries alternate between both within one run, so that other load affects both. PostgreSQL gets a temporary table, one
connection with prepared statements, a GIN index on (account, tsvector) and a B-tree on (account, time). Ours always makes
snippets; PostgreSQL is measured without and with ``ts_headline``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.measure import Measure, percentile
from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history.history import History
from lakehouse.search import Search, lexemes
from lakehouse.search.stemming import stop_words
from lakehouse.storage.location import Location
from lakehouse.tables.delta_writer import WRITER_PROPERTIES
from schemas.tables import TURNS

if TYPE_CHECKING:
    import psycopg

LIMIT = 20
ACCOUNT = "heavy"
QUERIES_OF_A_KIND = 12
_BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_SYLLABLES = [a + b for a in "bdfglmnprst" for b in ("a", "e", "i", "o", "u", "an", "er")]
_SQL = """select id, session_id, role, text, created_at from turns
where account = %(account)s and tsv @@ websearch_to_tsquery('english', %(text)s)
order by created_at desc, id desc limit %(limit)s"""
_SQL_MARKED = """select *, ts_headline('english', text, websearch_to_tsquery('english', %(text)s)) from (
select id, session_id, role, text, created_at from turns
where account = %(account)s and tsv @@ websearch_to_tsquery('english', %(text)s)
order by created_at desc, id desc limit %(limit)s) found"""


class Corpus:
    """Turns of an invented language: English stop words between words with frequencies by Zipf's law. Seeded."""

    def __init__(self, seed: int = 7, num_words: int = 20_000) -> None:
        self._chance = random.Random(seed)  # noqa: S311 -- data, not secrets
        words = ("".join(self._chance.choices(_SYLLABLES, k=self._chance.randint(2, 4))) for _ in itertools.count())
        self.words = list(itertools.islice(dict.fromkeys(itertools.islice(words, 2 * num_words)), num_words))
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(num_words)))
        self._glue = sorted(stop_words())

    def text(self) -> str:
        num_words = self._chance.randint(3, 20)
        words = self._chance.choices(self.words, cum_weights=self._weights, k=num_words)
        return " ".join(part for word in words for part in (self._chance.choice(self._glue), word))

    def queries(self) -> dict[str, list[str]]:
        """Queries by kind; each word is drawn from a band of word frequencies."""

        def word(first: int, last: int) -> str:
            return self._chance.choice(self.words[first:last])

        kinds: dict[str, Callable[[], str]] = {
            "frequent word": lambda: word(0, 100),
            "word": lambda: word(100, 2000),
            "rare word": lambda: word(5000, 20_000),
            "two words": lambda: f"{word(0, 300)} {word(0, 300)}",
            "phrase": lambda: f'"{word(0, 50)} the {word(0, 50)}"',
            "or": lambda: f"{word(100, 2000)} or {word(100, 2000)}",
            "negation": lambda: f"{word(0, 300)} -{word(0, 100)}",
            "no such word": lambda: f"x{word(0, 100)}x",
        }
        return {kind: [make() for _ in range(QUERIES_OF_A_KIND)] for kind, make in kinds.items()}


def measure(*, turns: int, others: int, rounds: int, dsn: str | None) -> list[Measure]:
    """Latencies by kind of query over ``turns`` turns of one account beside ``others`` of a second one.

    Raises RuntimeError if PostgreSQL finds other turns.
    """
    corpus = Corpus()
    rows = [_row(corpus, number, ACCOUNT if number < turns else "other") for number in range(turns + others)]
    queries = corpus.queries()
    with tempfile.TemporaryDirectory(prefix="fluxions-bench-") as folder:
        location = Location(folder, fsync=False)
        table = pa.Table.from_pylist(rows, schema=TURNS.schema)
        write_deltalake(location.table_uri(TURNS.name), table, writer_properties=WRITER_PROPERTIES)
        if dsn is None:
            return asyncio.run(_ask(queries, rounds, location, None))
        import psycopg

        with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as connection:
            _fill(connection, rows)
            return asyncio.run(_ask(queries, rounds, location, connection))


def _row(corpus: Corpus, number: int, account: str) -> dict[str, Any]:
    text = corpus.text()
    at = _BEGAN + dt.timedelta(seconds=number)
    known = {"id": number, "account": account, "created_at": at, "text": text, "lexemes": lexemes(text)}
    filled = {field.name: None if field.nullable else "" for field in TURNS.schema}
    return {**filled, **known, "session_id": f"sess_{number // 20}", "role": ("user", "assistant")[number % 2]}


def _fill(connection: psycopg.Connection[Any], rows: Sequence[dict[str, Any]]) -> None:
    connection.execute("create extension if not exists btree_gin")
    connection.execute(
        "create temp table turns (id bigint primary key, account text, created_at timestamptz, session_id text, role text,"
        " text text, tsv tsvector generated always as (to_tsvector('english', text)) stored)"
    )
    columns = ("id", "account", "created_at", "session_id", "role", "text")
    with connection.cursor() as cursor, cursor.copy(f"copy turns ({','.join(columns)}) from stdin") as copy:
        for row in rows:
            copy.write_row([row[name] for name in columns])
    connection.execute("create index on turns using gin (account, tsv)")
    connection.execute("create index on turns (account, created_at desc, id desc)")
    connection.execute("vacuum analyze turns")


async def _ask(
    queries: dict[str, list[str]], rounds: int, location: Location, connection: psycopg.Connection[Any] | None
) -> list[Measure]:
    history = History(location, IdleLedger())
    search = Search(history)
    found = await _first(search, queries)
    for kind, texts in queries.items():
        took: dict[str, list[float]] = {}
        # The first round warms caches on both sides and is not counted.
        for counted, text in itertools.product(range(rounds + 1), texts):
            for who, took_ms in (await _each(search, connection, text)).items():
                took.setdefault(who, []).extend([took_ms] * bool(counted))
        for who, every_ms in took.items():
            found += _summary(kind, who, every_ms)
        for who in list(took)[1:]:
            ratio = percentile(took["ours"], 0.5) / percentile(took[who], 0.5)
            found.append(Measure(f"{kind}: ours / {who}", ratio, "ratio of p50"))
    await history.close()
    return found


async def _first(search: Search, queries: dict[str, list[str]]) -> list[Measure]:
    """First search of an account: opening the table, a query without index, building the index."""
    rare = queries["rare word"][0]
    began = time.perf_counter()
    await search.turns("nobody", rare, LIMIT)
    opened = time.perf_counter()
    await search.turns(ACCOUNT, rare, LIMIT)
    answered = time.perf_counter()
    await search.wait_until_indexed()
    made = time.perf_counter()
    return [
        Measure("opening the table", (opened - began) * 1000, "ms"),
        Measure("first query of the account (a rare word)", (answered - opened) * 1000, "ms"),
        Measure("index made after it", made - answered, "s"),
        Measure("memory of the index", search.index_bytes / 2**20, "MiB"),
    ]


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
