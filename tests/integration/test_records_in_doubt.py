"""A record whose commit raised is in the tables once after it was sent again, whether that commit had landed or not."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.tables import delta_writer
from lakehouse.tables.delta_writer import DeltaWriter
from schemas.errors import Unavailable
from schemas.records import (
    Conversation,
    ConversationEnd,
    ConversationTurn,
    EndedConversation,
    ToolCall,
    TtsRender,
)
from tests.support.lakehouse_kit import home

pytestmark = pytest.mark.integration

AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
TALK = Conversation("ada", "sess_1", AT, AT, 1.0)
ASKED = ConversationTurn("user", "Will it rain?", AT)
CALLED = ToolCall("forecast", {}, None, AT)
RENDER = TtsRender("ada", "maeve", "Good morning.", 13, 1.0, 0.0, None, "revision", 0.9, import_key="0123")


@dataclass
class Store:
    """Whether answers of the storage are lost, and whether a write arrives before its answer is lost."""

    is_cut: bool = False
    arrives: bool = True


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    cut = Store()
    write, catch_up = DeltaWriter._write, DeltaWriter._catch_up

    def writes(self: DeltaWriter, data: pa.Table, txn_version: int) -> None:
        before = self.version, self.txn_version
        if not cut.is_cut or cut.arrives:
            write(self, data, txn_version)
        if cut.is_cut:
            self.version, self.txn_version = before
            raise ConnectionError("the answer was lost")

    def catches_up(self: DeltaWriter) -> None:
        if cut.is_cut:
            raise ConnectionError("no way to ask")
        catch_up(self)

    monkeypatch.setattr(DeltaWriter, "_write", writes)
    monkeypatch.setattr(DeltaWriter, "_catch_up", catches_up)
    monkeypatch.setattr(delta_writer, "RETRY_DELAYS_SECS", (0.01,))
    return cut


async def _begin(ledger: Ledger) -> int:
    return await ledger.records.begin_conversation(TALK)


def _rows(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_delta(next(str(path) for path in folder.rglob(table) if (path / "_delta_log").is_dir()))


CALLS: dict[str, tuple[str, Callable[[Ledger], Awaitable[object]]]] = {
    "render": ("tts_renders", lambda ledger: ledger.records.add_renders([RENDER])),
    "imported render": ("tts_renders", lambda ledger: ledger.records.import_renders("ada", [RENDER])),
    "imported conversation": (
        "turns",
        lambda ledger: ledger.records.import_conversations("ada", [EndedConversation(TALK, [ASKED])]),
    ),
    "beginning": ("conversations", _begin),
    "turn": ("turns", lambda ledger: ledger.records.add_entry("ada", "sess_1", "0", ASKED)),
    "tool call": ("tool_calls", lambda ledger: ledger.records.add_entry("ada", "sess_1", "1", CALLED)),
    "end": (
        "conversations",
        lambda ledger: ledger.records.end_conversation("ada", "sess_1", ConversationEnd(AT, 1.0)),
    ),
}
INSIDE = ("turn", "tool call", "end")
"""Calls about a conversation that has begun."""


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("call", CALLS)
async def test_what_is_sent_again_is_recorded_once(tmp_path: Path, store: Store, call: str, arrives: bool) -> None:
    table, send = CALLS[call]
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    try:
        if call in INSIDE:
            await _begin(ledger)
        store.is_cut, store.arrives = True, arrives
        with pytest.raises(Unavailable):
            await asyncio.wait_for(send(ledger), 30)
        store.is_cut = False
        answers = [await asyncio.wait_for(send(ledger), 30) for _ in range(2)]
        if not call.startswith("imported"):  # an import says which of its records are new
            assert answers[0] == answers[1]
    finally:
        await ledger.close()
    found = _rows(tmp_path, table)
    assert len(found) == (2 if call == "end" else 1), found
    assert found.select({"id", "revision"} & set(found.columns)).is_unique().all()


async def test_rows_of_a_closed_account_are_not_kept_for_a_repeated_call(tmp_path: Path, store: Store) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        store.is_cut = True
        with pytest.raises(Unavailable):
            await asyncio.wait_for(ledger.records.add_renders([RENDER]), 30)
        store.is_cut = False
        assert ledger.records._renders._tried
        ledger.records.forget("ada")
        assert not ledger.records._renders._tried
    finally:
        await ledger.close()
