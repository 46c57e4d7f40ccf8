"""What SQL may ask for: values of the tables that are open, and nothing of the machine."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import sql
from lakehouse.sql_guard import check_query
from schemas.errors import InvalidParameter

pytestmark = pytest.mark.unit

ROWS = pl.LazyFrame({"id": [1, 2], "status": ["completed", "failed"]})
TABLES = ("turns", "tts_renders")


def chosen(condition: str) -> list[int]:
    with sql.refusals("where"):
        return sql.where("transcriptions", ROWS, condition).collect()["id"].to_list()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.csv"
    path.write_text("id\nroot:x:0\n")
    return path


@pytest.mark.parametrize(
    "reads",
    [
        "read_csv('{}')",
        "`read_csv`('{}')",
        "read_csv($${}$$)",
        "read_csv($tag${}$tag$)",
        "READ_CSV(E'{}')",
        "\"read_csv\"\n('{}')",
        "read_csv/*(*/('{}')",
        "read_csv(N'{}')",
        "read_parquet('http://127.0.0.1:1/x')",
        "`read_ndjson`($$http://127.0.0.1:1/x$$)",
        "`{}`",
        "'{}'",
        '"{}"',
        "generate_series(1, 1000000000)",
        "TABLE(read_csv('{}'))",
    ],
)
def test_no_way_of_writing_it_reads_a_file_or_a_url(secret: Path, reads: str) -> None:
    reads = reads.format(secret)
    for condition in (
        f"id in (select cast(id as int) from {reads})",
        f"1 = 1) union all (select * from {reads} where (1 = 1)",
        f"exists (select 1 from transcriptions t join {reads} r on t.id = r.id)",
    ):
        with pytest.raises(InvalidParameter) as refusal:
            chosen(condition)
        assert refusal.value.param == "where"
        assert "root:x" not in refusal.value.message
    for query in (f"select * from {reads}", f"from {reads}", f"with t as (select * from {reads}) select * from t"):
        with pytest.raises(InvalidParameter):
            check_query(query, TABLES)


@pytest.mark.parametrize(
    "query",
    [
        "select * from turns; select 1",
        "explain select 1",
        "show tables",
        "table turns",
        "select * into t from turns",
        "with t as (delete from turns) select 1",
        "(insert into turns values (1))",
        "select * from main.turns",
        "select * from api_keys",
        "select * from turns where id in (select id from api_keys)",
        "select * from turns, lateral (select * from api_keys) k",
        "select * from turns tablesample (10)",
        "select setting('x')",
        "copy turns to 'x'",
        "select * from turns union all table turns",
        "select * from table(unnest([1, 2]))",
        "select * from turns pivot (sum(id) for role in ('user'))",
        "select 'open",
        "",
    ],
)
def test_other_statements_tables_and_functions_are_refused(query: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        check_query(query, TABLES)
    assert refusal.value.param == "query"


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("select count(*) from turns", {"turns"}),
        ('with t as (select * from "turns") select upper(role) from t group by 1', {"turns"}),
        ("select a.id from turns a left join `tts_renders` b using (account)", {"turns", "tts_renders"}),
        ("select 'read_csv(' as a -- delete from x\n from turns where b = 'o''hara' /* ; */", {"turns"}),
        ("select id, row_number() over (partition by account order by id) from turns union all select 1, 2", {"turns"}),
        ("select * exclude (text) from turns where created_at > '2026-01-01'::timestamp order by id limit 3", {"turns"}),
        ("select w from turns, unnest([1, 2]) as q(w)", {"turns"}),
        ("select 1", set()),
        ("values (1), (2)", set()),
    ],
)
def test_queries_over_the_tables_pass(query: str, tables: set[str]) -> None:
    assert check_query(query, TABLES) == tables


def test_a_condition_is_one_expression_however_it_ends() -> None:
    assert chosen("id > 1") == [2]
    assert chosen("status = 'completed' -- those that are done") == [1]
    assert chosen("id in (select max(id) from transcriptions)") == [2]
    for condition in (
        "",
        "1) or (1",
        "true) order by (id",
        "true) limit (1",
        "true; select 1",
        "true) group by (id",
        "(",
        "(" * 9999,
    ):
        with pytest.raises(InvalidParameter):
            chosen(condition)


@given(st.text(max_size=60) | st.text("()`'\"$-/*; selectfromwherejoinreadcsv,=1", max_size=60))
def test_any_text_is_answered_or_refused(text: str) -> None:
    for call in (lambda: chosen(text), lambda: check_query(text, TABLES)):
        try:
            call()
        except InvalidParameter:
            continue
