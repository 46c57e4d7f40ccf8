"""kill -9 of a ledger between the commit of a change and that of its event: the event is sent all the same, and once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from lakehouse.ledger.ledger import Ledger
from schemas.webhooks import Attempt
from tests.support.lakehouse_kit import home
from tests.support.processes import started_async

pytestmark = pytest.mark.chaos

# It is killed when the event of the type in its second argument is to be committed.
VICTIM = """
import asyncio, datetime as dt, os, signal, sys
from pathlib import Path
from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.webhooks.outbox import Outbox
from schemas.archives import ArchiveStatus, NewArchive
from schemas.records import Conversation, ConversationEnd, Voice
from schemas.webhooks import Webhook
from tests.support.lakehouse_kit import home

NOW = dt.datetime.now(dt.UTC)
FATAL = sys.argv[2]
commit = Outbox.flushed

async def flushed(self):
    if any(one.type == FATAL for one in self._made):
        os.kill(os.getpid(), signal.SIGKILL)
    await commit(self)

async def main():
    Outbox.flushed = flushed
    ledger = await Ledger.open(home(Path(sys.argv[1]), fsync=True))
    kinds = ("archive.completed", "voice.created", "voice.deleted", "conversation.ended")
    await ledger.webhooks.put(Webhook("wh_1", "ada", "https://example.org", kinds))
    await ledger.voices.put(Voice("u-1", "ada", "Ada", "hello", 50, 4.0, "voices/ada/1.wav", {}, "espeak-1"))
    await ledger.voices.delete("ada", "u-1")
    talk = Conversation("ada", "sess_1", NOW)
    await ledger.records.begin_conversation(talk)
    end = ConversationEnd(dt.datetime.now(dt.UTC), 4.0)
    await ledger.records.end_conversation("ada", "sess_1", end)
    run = await ledger.archives.open(NewArchive("ada", "summer", "/recordings"), "engines-1")
    await ledger.archives.end(run.id, ArchiveStatus.COMPLETED, None)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("voice.created", {"id": "u-1", "object": "voice", "name": "Ada"}),
        ("voice.deleted", {"id": "u-1", "object": "voice", "name": "Ada"}),
        ("conversation.ended", {"id": "sess_1", "object": "conversation", "duration_secs": 4.0}),
        ("archive.completed", {"id": 1, "object": "archive", "name": "summer", "status": "completed"}),
    ],
)
async def test_the_event_of_a_committed_change_outlives_a_kill(tmp_path: Path, kind: str, data: dict[str, Any]) -> None:
    async with started_async(sys.executable, "-c", VICTIM, str(tmp_path), kind) as process:
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL
    sent: list[str] = []
    for _ in range(2):
        ledger = await Ledger.open(home(tmp_path, fsync=True))
        try:
            due = await ledger.webhooks.due(10, 0)
            if not sent:
                event = next(json.loads(one.delivery.payload) for one in due if one.delivery.type == kind)
                assert event["data"] == data
            sent += [one.delivery.type for one in due]
            await ledger.webhooks.settle([Attempt(one.delivery.id, 1, 204) for one in due])
        finally:
            await ledger.close()
    assert len(sent) == len(set(sent))
