"""SQL over the tables: one account's rows, nothing written, nothing else read; and the page that shows other readers."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest

from cli import output
from cli.main import main
from lakehouse import sql
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from schemas.errors import InvalidParameter
from schemas.records import Conversation, ConversationTurn, TtsRender
from schemas.settings import Settings
from schemas.tables import TABLES
from tests.support.lakehouse_kit import home, new_job, outcome, transcript

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text()
NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "analysis.ipynb"
NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)
RENDER = TtsRender("default", "maeve.h736bab09a", "Good evening.", 13, 1.5, 0.01, None, "e", 0.7, created_at=NOON)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Renders and conversations of two accounts, and one transcription."""
    settings = home(tmp_path_factory.mktemp("home"))

    async def fill() -> None:
        ledger = await Ledger.open(settings)
        for render in (RENDER, replace(RENDER, voice="o'hara"), replace(RENDER, account="eve", cost_usd=1.0)):
            await ledger.records.add_renders([render])
        for account in ("default", "eve"):
            said = [ConversationTurn("user", "hello", NOON), ConversationTurn("assistant", "hi, you", NOON)]
            await ledger.records.add_conversation(Conversation(account, f"sess_{account}", NOON), said)
        job = await ledger.jobs.create(new_job(account="default"))
        claim = await ledger.jobs.claim("w", 5)
        assert claim is not None
        await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
        await ledger.close()

    asyncio.run(fill())
    return settings


def ask(settings: Settings, query: str, account: str | None = "default") -> list[tuple[Any, ...]]:
    return sql.query(Location.of(settings), query, account).rows()


def test_an_account_sees_its_own_rows_and_an_operator_all(filled: Settings) -> None:
    count = "select count(*) from tts_renders"
    assert (ask(filled, count), ask(filled, count, "eve"), ask(filled, count, "nobody")) == ([(2,)], [(1,)], [(0,)])
    assert ask(filled, count, None) == [(3,)]
    joined = "select distinct t.account from turns t join conversations c on t.session_id = c.session_id"
    assert ask(filled, joined) == [("default",)]
    assert ask(filled, 'with t as (select * from "turns") select account from t group by account') == [("default",)]


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_parquet('/etc/passwd')",
        "select * from \"read_csv\" ('/etc/passwd')",
        "select * from read_json/* */('/etc/passwd')",
        "delete from tts_renders",
        "drop table tts_renders",
        "create table t as select 1",
        "/* select */ truncate table tts_renders",
        "select 1; select 2",
        "select * from api_keys",
        "select * from job_events",
        "select nothing from tts_renders",
        "select",
        "",
    ],
)
def test_what_is_no_query_over_the_accounts_tables_is_refused(filled: Settings, query: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        ask(filled, query)
    assert refusal.value.param == "query"


def test_words_of_texts_and_comments_are_no_reason_to_refuse(filled: Settings) -> None:
    query = "select 'read_csv(' as a -- delete from turns\n from tts_renders where voice = 'o''hara'"
    assert ask(filled, query) == [("read_csv(",)]


def test_every_column_has_a_meaning() -> None:
    described = sql.describe(None)
    assert [(table, column) for table, column, *_ in described] == [(t.name, c.name) for t in TABLES for c in t.schema]
    assert all(meaning.endswith(".") for *_, meaning in described)
    assert {table for table, *_ in sql.describe("default")}.isdisjoint(sql.OPERATOR_TABLES)


def test_the_command_line_prints_tables_json_csv_and_parquet(
    filled: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXIONS_HOME", str(filled.home))
    query = "select id, created_at, text, cost_usd from tts_renders order by id"
    assert main(["sql", query]) == output.OK
    out, err = capsys.readouterr()
    assert "Good evening." in out
    assert "2 rows" in err
    assert main(["sql", query, "--json"]) == output.OK
    rows = json.loads(capsys.readouterr().out)
    assert (rows[0]["created_at"], rows[0]["cost_usd"]) == ("2026-06-29T12:00:00.000Z", 0.01)
    assert main(["sql", "select id, words from segments order by position", "--csv"]) == output.OK
    (first, *_) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert json.loads(first["words"])[0]["text"] == "Good"
    assert main(["sql", "select '=1+1' as a, '-2' as b, '@x' as c, 'a=b' as d, -3 as e", "--csv"]) == output.OK
    assert capsys.readouterr().out.splitlines()[1] == "'=1+1,'-2,'@x,a=b,-3", "a spreadsheet computes none of them"
    assert main(["sql", query, "--operator", "--parquet", str(tmp_path / "out.parquet")]) == output.OK
    assert pl.read_parquet(tmp_path / "out.parquet").height == 3
    assert main(["sql", "drop table turns"]) == output.FAILED
    assert main(["sql", query, "--json", "--csv"]) == click.UsageError.exit_code
    assert main(["sql"]) == click.UsageError.exit_code
    capsys.readouterr()
    assert main(["sql", "--describe"]) == output.OK
    assert "Characters billed." in capsys.readouterr().out
    assert main(["sql", query, "--home", str(tmp_path / "empty")]) == output.FAILED
    assert "start the platform" in capsys.readouterr().err


def test_the_code_of_the_page_runs_on_the_tables_as_they_lie(filled: Settings) -> None:
    names: dict[str, Any] = {"home": filled.home}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 7
    assert names["by_voice"].rows() == [("maeve.h736bab09a", 1, 0.01), ("o'hara", 1, 0.01)]
    assert names["latest"].rows() == [(1, "completed", "bytes.wav", "en")]
    assert names["words"]["text"].to_list() == ["Good", "dentists.", "Morning."]
    assert names["longest"] == 5
    assert [(row[0], row[1]) for row in names["talk"]] == [("sess_default", 2)]
    assert names["per_day"].to_dict() == {NOON.date(): 4.5}
    assert names["first_rows"].height == 1
    assert names["as_of"].height == 3


def test_the_notebook_runs_on_the_tables_as_they_lie(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], len({cell["id"] for cell in notebook["cells"]})) == (4, len(notebook["cells"]))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "clear the outputs: they show somebody's data"
    monkeypatch.setenv("FLUXIONS_HOME", str(filled.home))
    names: dict[str, Any] = {}
    for cell in code:
        exec(cell, names)
    assert names["per_day"].select("account", "recordings", "hours").rows() == [("default", 1, pytest.approx(300 / 3600))]
    assert names["failures"].is_empty()
    assert names["speakers"].select("speaker", "words").rows() == [(0, 2), (1, 1)]
    assert names["answers"].select("account", "turns", "answers").rows() == [("default", 2, 1), ("eve", 2, 1)]
    assert sum(names["voices"]["renders"]) == 3


@pytest.mark.parametrize("line", re.findall(r"^fluxions (sql .+)$", PAGE, re.MULTILINE))
def test_the_command_lines_of_the_page_run(
    filled: Settings, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    monkeypatch.setenv("FLUXIONS_HOME", str(filled.home))
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == output.OK, capsys.readouterr().err


def test_the_page_names_every_table() -> None:
    rows = re.findall(r"^\| (`.+) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.partition("|")[0])} == {t.name for t in TABLES}
