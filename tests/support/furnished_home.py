"""A home with something of every kind in it: rows in every table, and the objects that they name."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects, audio_key
from lakehouse.storage.result_objects import lease_key, playback_key, put_result
from schemas.archives import ArchiveKind, FileFailure, NewArchive, NotedFile
from schemas.domain import Job
from schemas.records import (
    AuditEvent,
    Conversation,
    ConversationEnd,
    ConversationTurn,
    Speaker,
    ToolCall,
    TtsRender,
    Voice,
    VoiceConsent,
)
from schemas.webhooks import Happened, Webhook
from tests.support.lakehouse_kit import REVISION, new_job, outcome, transcript, until_projected

ACCOUNT = "ada"


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def submitted(ledger: Ledger, objects: Objects, content: str) -> Job:
    """A job whose recording is stored."""
    stored = await objects.put_stream(_chunks(content.encode()), limit_bytes=10**6)
    await objects.adopt(stored, audio_key(ACCOUNT, stored.sha256))
    return await ledger.jobs.create(new_job(content))


async def completed(ledger: Ledger, objects: Objects, content: str) -> Job:
    """A job that is done, with its result and playback copy."""
    await submitted(ledger, objects, content)
    claim = await ledger.jobs.claim("worker", 0)
    assert claim is not None
    job = claim.job
    done = transcript(f"Good morning, this is {content}.")
    key = lease_key(job, claim.lease)
    await put_result(objects, key, done)
    await objects.put_bytes(playback_key(job), f"playback of {content}".encode())
    result = outcome(job, result_key=key, playback_key=playback_key(job))
    return await ledger.jobs.complete(job.id, claim.lease, result, done)


async def rendered(ledger: Ledger, objects: Objects, name: str) -> int:
    """The id of a render with its recording."""
    key = f"renders/{ACCOUNT}/{name}.opus"
    await objects.put_bytes(key, f"render {name}".encode())
    render = TtsRender(ACCOUNT, "maeve", f"Say {name}.", 9, 1.5, 0.0, key, REVISION, 0.9)
    return (await ledger.records.add_renders([render]))[0]


async def furnish(ledger: Ledger, objects: Objects) -> None:
    """One thing of every kind, and a job that is done and one that waits."""
    now = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
    await completed(ledger, objects, "one")
    await rendered(ledger, objects, "one")
    await ledger.deletions.render(ACCOUNT, await rendered(ledger, objects, "deleted"))
    await ledger.records.begin_conversation(Conversation(ACCOUNT, "sess_1", now, voice="maeve"))
    await ledger.records.add_entry(ACCOUNT, "sess_1", "turn-1", ConversationTurn("user", "What is the time?", now))
    await ledger.records.add_entry(ACCOUNT, "sess_1", "call-1", ToolCall("clock", {"zone": "UTC"}, "ten", now))
    await objects.put_bytes(f"conversations/{ACCOUNT}/sess_1.opus", b"both sides")
    end = ConversationEnd(now + dt.timedelta(seconds=9), 9.0, 0.1, f"conversations/{ACCOUNT}/sess_1.opus")
    await ledger.records.end_conversation(ACCOUNT, "sess_1", end)
    await objects.put_bytes(f"voices/{ACCOUNT}/u-ada-1.wav", b"clip")
    voice = Voice("u-ada-1", ACCOUNT, "mine", "Hello.", 12, 1.0, f"voices/{ACCOUNT}/u-ada-1.wav", {"profile": {}}, REVISION)
    await ledger.voices.put(voice)
    await objects.put_bytes(f"voices/{ACCOUNT}/cons_1.wav", b"I agree")
    await objects.put_bytes(f"voices/{ACCOUNT}/spk_1.wav", b"clip of Ada")
    await ledger.speakers.put(Speaker("spk_1", ACCOUNT, "Ada", f"voices/{ACCOUNT}/spk_1.wav", 2.0))
    await ledger.consents.put(VoiceConsent("cons_1", ACCOUNT, "Ada", "en", f"voices/{ACCOUNT}/cons_1.wav", 1.0))
    await ledger.keys.create(ACCOUNT, "laptop", ("user",), "fx_of_a_test_home")
    await ledger.webhooks.put(Webhook("wh_1", ACCOUNT, "https://example.org/hook", ("transcription.completed",)))
    await ledger.webhooks.publish(Happened(ACCOUNT, "evt_1", "transcription.completed", {"id": 1}))
    await ledger.records.add_audit([AuditEvent(ACCOUNT, "key", "POST /v1/webhooks", "/v1/webhooks", 200, "127.0.0.1", "r")])
    run = await ledger.archives.open(NewArchive(ACCOUNT, "summer", "/recordings", ArchiveKind.TRANSCRIBE), REVISION)
    failure = FileFailure("not_audio", "It is no recording.")
    await ledger.archives.note_files(
        run.id, [NotedFile("/recordings/a.txt", "/recordings/a.txt", ACCOUNT, "a.txt", failure)]
    )
    await until_projected(ledger)
    await submitted(ledger, objects, "waiting")
