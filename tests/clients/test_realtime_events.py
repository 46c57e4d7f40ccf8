"""Every event that the server sends passes the strict types of `openai` (in the kit of these tests) and `openai-agents`."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from agents.realtime.openai_realtime import get_server_event_type_adapter

from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import EngineFailure
from tests.support.realtime_kit import TEXT, WEATHER, ScriptedEngines, Talk, calling, endless, written
from tests.unit.test_realtime_audio_in import TURN, spoken

pytestmark = pytest.mark.clients

KINDS = {
    "session.created",
    "session.updated",
    "error",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.retrieved",
    "conversation.item.deleted",
    "conversation.item.truncated",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
    "input_audio_buffer.committed",
    "input_audio_buffer.cleared",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "rate_limits.updated",
    "response.created",
    "response.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
}


async def _everything(talk: Talk) -> None:
    """A conversation in which every type of event occurs."""
    endlessly, _ = endless()
    talk.engines.answers = [
        calling(("get_weather", '{"city": "Oslo"}')),
        written("It rains in Oslo. "),
        written("In words."),
        endlessly,
        written("Yes."),
        written("Are you there?"),
    ]
    talk.engines.hears = ["How is the weather?"] * 4
    turns = {"type": "server_vad", "idle_timeout_ms": 5000}
    await talk.update(tools=[WEATHER], audio={"input": {"transcription": {"model": "x"}, "turn_detection": turns}})
    await talk.hear(spoken(TURN, 0.5, 0.8))
    await talk.until("response.done")
    output = {"type": "function_call_output", "call_id": "call_0", "output": "rain"}
    await talk.send("conversation.item.create", item=output)
    said = (await talk.ask())["response"]["output"][0]["id"]
    await talk.send("conversation.item.truncate", item_id=said, content_index=0, audio_end_ms=100)
    for kind in ("retrieve", "delete", "delete"):
        await talk.send(f"conversation.item.{kind}", item_id=said)
    await talk.until("error")
    await talk.send("input_audio_buffer.clear")
    await talk.ask(**TEXT)
    await talk.send("response.create", response={"conversation": "none", **TEXT})
    await talk.until("response.output_text.delta")
    await talk.send("response.cancel", response_id=talk.of("response.created")[-1]["response"]["id"])
    talk.engines.hears = [EngineFailure("it could not hear")] * 4
    await talk.hear(spoken(TURN, 0.5, 0.8))
    await talk.until("conversation.item.input_audio_transcription.failed")
    await talk.ask()
    talk.clock.now += 60
    for _ in range(60):
        # The idle time begins when the answers are over, which may be in the middle of this silence.
        await talk.hear(np.zeros(SPEECH_RATE_HZ, np.float32), 0.5)
        await asyncio.sleep(0.01)
        if talk.of("input_audio_buffer.timeout_triggered"):
            return


async def every_event() -> list[dict[str, Any]]:
    """Events of all types, which passed the types of `openai`."""
    async with Talk(ScriptedEngines()) as talk:
        await _everything(talk)
    assert {event["type"] for event in talk.events} == KINDS
    return talk.events


async def test_every_kind_of_event_passes() -> None:
    adapter = get_server_event_type_adapter()
    for event in await every_event():
        assert adapter.validate_python(event).type == event["type"]
