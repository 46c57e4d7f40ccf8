"""A home whose tables were written before they had columns for recogniser options, warnings and engine time."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Collection
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from lakehouse.history.history import History
from lakehouse.ledger.archives.service import fingerprint
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from schemas.archives import NewArchive
from schemas.domain import Job, JobOptions, RecognizeOptions, SpeakerHint, TranscriptWarning
from schemas.records import Conversation, ConversationEnd, ConversationTurn, ToolCall
from schemas.redaction import Redaction
from schemas.settings import Settings
from schemas.tables import table
from tests.support.lakehouse_kit import home, new_job, outcome, read_job, transcript

pytestmark = pytest.mark.integration

NEW_COLUMNS = {
    *("asked_language", "prompt", "keyterms", "task", "strict", "audio_track", "engine_secs", "warnings"),
    *("redact", "redact_audio", "keep_original", "error_code"),
}
NEW_OF_CONVERSATIONS = {
    "conversations": {"revision", "audio_key", "title", "continues"},
    "turns": {
        *("entry_key", "words_said", "words_heard", "interrupted"),
        *("end_of_turn_secs", "first_token_secs", "first_sound_secs", "first_sent_secs"),
        *("start_secs", "end_secs"),
    },
    "tool_calls": {"entry_key"},
}
CHANGED = ("job_events", "transcriptions", "archives")
TOLD = JobOptions(
    True,
    SpeakerHint(2, 3),
    RecognizeOptions("es", "Dra. Ruiz.", ("Marta", "Iker"), "translate"),
    strict=True,
    audio_track=1,
    redaction=Redaction(("phone",), audio=True, keep_original=True),
)


async def finish(ledger: Ledger, options: JobOptions, content: str, **changes: object) -> Job:
    await ledger.jobs.create(new_job(content, options=options))
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    return await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job, **changes), transcript())


def as_before(settings: Settings, name: str, new: Collection[str] = NEW_COLUMNS) -> None:
    """Rewrite a table without the new columns, as an earlier version left it: same rows, same transaction marks."""
    uri = Location.of(settings).table_uri(name)
    handle = DeltaTable(uri)
    marks = {app: handle.transaction_version(app) for app in ("ledger", "project")}
    columns = [field for field in table(name).schema if field.name not in new]
    rows = pl.scan_delta(handle).select(field.name for field in columns).collect().to_arrow()
    shutil.rmtree(uri)
    configuration = {
        "delta.checkpointInterval": "20",
        "delta.dataSkippingStatsColumns": ",".join(table(name).stats),
    }
    DeltaTable.create(uri, pa.schema(columns), configuration=configuration, name=name)
    transactions = [Transaction(app, mark) for app, mark in marks.items() if mark is not None]
    write_deltalake(
        DeltaTable(uri),
        rows.cast(pa.schema(columns)),
        mode="append",
        commit_properties=CommitProperties(app_transactions=transactions),
    )


def test_a_run_without_new_options_is_the_run_it_was_before_there_were_any() -> None:
    """So that `fluxions archive run` of a home from before goes on instead of beginning anew."""
    before = {
        "account": "ada",
        "source": "/calls",
        "kind": "transcribe",
        "options": {"non_speech": False, "speakers": {"least": 1, "most": None}},
        "include_current": False,
    }
    known_by = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
    assert fingerprint(NewArchive("ada", "calls", "/calls"), "engines-1") == known_by
    assert fingerprint(NewArchive("ada", "calls", "/calls", options=JobOptions(strict=True)), "engines-1") != known_by


async def test_a_home_from_before_opens_answers_from_its_cache_and_takes_new_rows(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    old = await finish(ledger, JobOptions(non_speech=True), "old")
    archive = await ledger.archives.open(NewArchive("ada", "calls", "/calls"), "engines-1")
    await ledger.close()
    for name in CHANGED:
        as_before(settings, name)
        assert not NEW_COLUMNS & {f.name for f in DeltaTable(Location.of(settings).table_uri(name)).schema().fields}

    ledger = await Ledger.open(settings)
    try:
        found = await read_job(ledger, "ada", old.id)
        assert found is not None
        assert found.options == JobOptions(non_speech=True)
        assert (found.engine_secs, found.warnings) == (None, ())
        assert (await ledger.archives.find(archive.id)).options == JobOptions()

        again = await ledger.jobs.create(new_job("old", options=JobOptions(non_speech=True)))
        assert again.cached_from == old.id
        assert not (await ledger.jobs.create(new_job("old", options=TOLD))).cached
        claim = await ledger.jobs.claim("w", 0)
        assert claim is not None
        assert claim.job.options == TOLD
        warning = TranscriptWarning("truncated_audio", "it breaks off at 2.0 s", 2.0)
        done = await ledger.jobs.complete(
            claim.job.id, claim.lease, outcome(claim.job, warnings=(warning,), engine_secs=1.25), transcript()
        )
    finally:
        await ledger.close()

    # What was written after the change reads back, beside the rows from before, and answers in its turn.
    ledger = await Ledger.open(settings)
    try:
        assert await read_job(ledger, "ada", done.id) == done
        assert (done.options, done.warnings, done.engine_secs) == (TOLD, (warning,), 1.25)
        cached = await ledger.jobs.create(new_job("old", options=TOLD))
        assert (cached.cached_from, cached.warnings, cached.engine_secs) == (done.id, (warning,), 1.25)
        assert (await read_job(ledger, "ada", old.id)) == found
    finally:
        await ledger.close()
    rows = pl.scan_delta(Location.of(settings).table_uri("transcriptions")).sort("id").collect()
    assert rows["keyterms"].to_list()[0] is None
    assert ["Marta", "Iker"] in rows["keyterms"].to_list()


async def test_conversations_from_before_are_shown_beside_those_that_go_on(tmp_path: Path) -> None:
    settings = home(tmp_path)
    begun = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
    old = Conversation("ada", "sess_old", begun, begun + dt.timedelta(seconds=60), 60.0, "maeve.en-us")
    turn = ConversationTurn("user", "What is on my calendar?", begun)
    ledger = await Ledger.open(settings)
    await ledger.records.add_conversation(old, [turn], [ToolCall("calendar", {}, None, begun)])
    await ledger.close()
    for name, new in NEW_OF_CONVERSATIONS.items():
        as_before(settings, name, new)
    ledger = await Ledger.open(settings)
    try:
        await ledger.records.begin_conversation(Conversation("ada", "sess_new", begun, voice="maeve.en-us"))
        await ledger.records.add_entry("ada", "sess_new", "0", turn)
        history = History(Location.of(settings), ledger.records)
        found = await history.page("conversations", "ada", filters={"voice": "maeve.en-us"})
        assert [(row["session_id"], row["turn_count"], row["ended_at"]) for row in found.rows] == [
            ("sess_new", 0, None),
            ("sess_old", 1, old.ended_at),
        ]
        await ledger.records.end_conversation(
            "ada", "sess_new", ConversationEnd(begun, 5.0, 0.01, "conversations/a/b.opus")
        )
        found = await history.page("conversations", "ada")
        assert [(row["session_id"], row["turn_count"], row["title"]) for row in found.rows] == [
            ("sess_new", 1, turn.text),
            ("sess_old", 1, None),
        ]
        assert [turn["text"] for turn in await history.turns("ada", "sess_old", 10)] == [turn.text]
    finally:
        await ledger.close()
