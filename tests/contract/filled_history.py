"""A history with something of everything."""

from __future__ import annotations

import datetime as dt

from lakehouse.storage.result_objects import lease_key, put_result
from schemas.domain import Job
from schemas.records import Conversation, ConversationTurn, ToolCall, TtsRender
from tests.contract.gateway import Running
from tests.support.lakehouse_kit import new_job, outcome, transcript

NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)


def render(hours: float, voice: str = "maeve.h736bab09a", account: str = "default") -> TtsRender:
    at = NOON + dt.timedelta(hours=hours)
    return TtsRender(account, voice, "Good evening.", 842, 58.4, 0.0123, "tts/1.opus", "e", 0.7, created_at=at)


def conversation(session: str, hours: float, turns: int = 2) -> tuple[Conversation, list[ConversationTurn], list[ToolCall]]:
    began = NOON + dt.timedelta(hours=hours)
    said = [
        ConversationTurn(("user", "assistant")[n % 2], f"turn {n} about the dentist", began + dt.timedelta(seconds=n))
        for n in range(turns)
    ]
    call = ToolCall("calendar", {"range": "today"}, "2 events", began + dt.timedelta(seconds=7))
    ended = began + dt.timedelta(seconds=312.4)
    voice = "maeve.h736bab09a"
    return Conversation("default", session, began, ended, 312.4, voice, created_at=began), said, [call]


async def transcribed(gateway: Running, content: str = "interview", account: str = "default") -> Job:
    ledger, objects = gateway.ledger, gateway.services.objects
    new = new_job(content, account=account)
    await objects.put_bytes(new.audio_key, content.encode())
    await ledger.jobs.create(new)
    claim = await ledger.jobs.claim("w", 5)
    assert claim is not None
    key, said = lease_key(claim.job, claim.lease), transcript("Good morning, dentists.")
    playback = f"playback/{account}/{new.sha256}.opus"
    await put_result(objects, key, said)
    await objects.put_bytes(playback, b"OggS")
    done = outcome(claim.job, result_key=key, playback_key=playback)
    return await ledger.jobs.complete(claim.job.id, claim.lease, done, said)


async def fill(gateway: Running) -> None:
    """Adds two transcriptions of today, one of them failed; five renders, one an hour; two conversations between."""
    await transcribed(gateway)
    await gateway.ledger.jobs.create(new_job("broken", account="default"))
    claim = await gateway.ledger.jobs.claim("w", 5)
    assert claim is not None
    await gateway.ledger.jobs.fail(claim.job.id, claim.lease, "The recording is silent.", retryable=False)
    await gateway.services.objects.put_bytes("tts/1.opus", b"OggS")
    for hours in range(5):
        await gateway.ledger.records.add_renders(
            [render(hours, "abraham.h736bab09a" if hours == 3 else "maeve.h736bab09a")]
        )
    for session, hours in (("sess_abc", 0.5), ("sess_def", 1.5)):
        await gateway.ledger.records.add_conversation(*conversation(session, hours))
