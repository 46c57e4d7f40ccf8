"""pipecat's `OpenAIRealtimeLLMService`: five spoken turns, a tool call, an interruption; and its types of all events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.domain import SPEECH_RATE_HZ
from tests.clients import pipecat_environment
from tests.clients.conftest import Conversing
from tests.clients.realtime_script import TURNS, pcm
from tests.clients.test_realtime_events import every_event

pytestmark = [
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="session"),
    pipecat_environment.needed,
]

PROGRAM = "pipecat_conversation.py"


async def test_pipecat_holds_a_conversation(conversing: Conversing, tmp_path: Path) -> None:
    for number, turn in enumerate(TURNS):
        (tmp_path / f"{number}.pcm").write_bytes(pcm(turn))
    address = conversing.url.replace("http", "ws", 1)
    found = await pipecat_environment.run(PROGRAM, f"{address}/v1/realtime", conversing.key, str(tmp_path))
    assert found["errors"] == []
    assert found["days"] == ["Monday"]
    assert len(found["transcripts"]) == len(TURNS)
    assert "committee" in found["transcripts"][1].lower()
    assert 'They will talk about "money".' in found["said"]
    assert found["interruptions"] >= 1
    assert found["sound"] > 2 * SPEECH_RATE_HZ
    known = [message.content for message in conversing.asked[-1].messages if message.role == "assistant"]
    assert not any("evening" in text for text in known), "what was not heard is remembered"


async def test_every_kind_of_event_passes_pipecats_types() -> None:
    sent = await every_event()
    lines = "\n".join(json.dumps(event) for event in sent)
    assert await pipecat_environment.run(PROGRAM, "--events", stdin=lines.encode()) == [
        "input_audio_buffer.timeout_triggered"
    ]
