"""Third-party Realtime clients with only address and key changed: five spoken turns, a tool call, an interruption."""

from __future__ import annotations

import asyncio
import base64
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from cli.talk_session import Captions, settings_of, talk_from_file
from clients.public import Target
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.settings import LimitSettings
from tests.clients.conftest import Conversing
from tests.clients.realtime_script import DEADLINE_SECS, TURNS, pcm
from tests.support.speech import say, silence

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]


async def _speak(connection: AsyncRealtimeConnection, text: str) -> None:
    sound = pcm(text)
    for at in range(0, len(sound), 9600):
        await connection.input_audio_buffer.append(audio=base64.b64encode(sound[at : at + 9600]).decode())


class _Heard:
    """What the official client received in one conversation."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self._connection = connection
        self.transcripts: list[str] = []
        self.answers: list[str] = []
        self.statuses: list[str | None] = []
        self.sound = 0

    async def until(self, kind: str) -> Any:
        async with asyncio.timeout(DEADLINE_SECS):
            async for event in self._connection:
                assert event.type != "error", event
                if event.type == "conversation.item.input_audio_transcription.completed":
                    self.transcripts.append(event.transcript.lower())
                elif event.type == "response.output_audio.delta":
                    self.sound += len(base64.b64decode(event.delta))
                elif event.type == "response.output_audio_transcript.done":
                    self.answers.append(event.transcript)
                elif event.type == "response.done":
                    self.statuses.append(event.response.status)
                if event.type == kind:
                    return event
        raise AssertionError(f"no {kind} came")


async def test_the_official_client_holds_a_conversation(conversing: Conversing) -> None:
    tool = {
        "type": "function",
        "name": "get_agenda",
        "description": "What a committee talks about.",
        "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
    }
    client = AsyncOpenAI(base_url=f"{conversing.url}/v1", api_key=conversing.key)
    async with client, client.realtime.connect(model="gpt-realtime") as connection:
        heard = _Heard(connection)
        await heard.until("session.created")
        audio: Any = {"input": {"transcription": {"model": "whisper-1", "language": "en"}}, "output": {"voice": "marin"}}
        settings: Any = {"type": "realtime", "tools": [tool], "audio": audio}
        await connection.session.update(session=settings)
        await heard.until("session.updated")
        await _speak(connection, TURNS[0])
        await heard.until("response.done")
        await _speak(connection, TURNS[1])
        done = await heard.until("response.done")
        (call,) = done.response.output
        assert call.type == "function_call", (heard.transcripts, [len(one.tools) for one in conversing.asked])
        assert (call.type, call.name, call.arguments) == ("function_call", "get_agenda", '{"day": "Monday"}')
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "money"}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        await heard.until("response.done")
        assert heard.answers[-1].strip() == "They will talk about money."
        await _speak(connection, TURNS[2])
        delta = await heard.until("response.output_audio.delta")
        await _speak(connection, TURNS[3])
        await heard.until("input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=100)
        await heard.until("conversation.item.truncated")
        while heard.statuses[-1] != "completed" or "children" not in heard.transcripts[-1]:
            await heard.until("response.done")
        await _speak(connection, TURNS[4])
        await heard.until("response.done")
        assert len(heard.transcripts) == len(TURNS)
        assert "committee" in heard.transcripts[1]
        assert heard.sound > SPEECH_RATE_HZ
        known = [message.content for message in conversing.asked[-1].messages if message.role == "assistant"]
        assert not any("evening" in text for text in known), "what was not heard is remembered"


async def test_openai_agents_hold_a_conversation(conversing: Conversing) -> None:
    days: list[str] = []

    @function_tool
    def get_agenda(day: str) -> str:
        """The topics of a committee on a day."""
        days.append(day)
        return "money"

    agent = RealtimeAgent(name="Clerk", instructions="You know the agenda.", tools=[get_agenda])
    address = conversing.url.replace("http", "ws", 1)
    settings: Any = {"turn_detection": {"type": "server_vad", "interrupt_response": True}}
    config: Any = {
        "api_key": conversing.key,
        "url": f"{address}/v1/realtime?model=gpt-realtime",
        "initial_model_settings": settings,
    }
    counts: dict[str, int] = {}
    async with await RealtimeRunner(agent).run(model_config=config) as session:
        events = session.__aiter__()

        async def until(kind: str) -> Any:
            async with asyncio.timeout(DEADLINE_SECS):
                while True:
                    event = await anext(events)
                    counts[event.type] = counts.get(event.type, 0) + 1
                    assert event.type != "error", event
                    if event.type == kind:
                        return event

        for number, turn in enumerate(TURNS):
            await session.send_audio(pcm(turn))
            if number == 1:
                await until("tool_end")
                await until("audio_end")
            elif number == 2:
                await until("audio")
            else:
                await until("audio_end")
        assert days == ["Monday"]
        assert counts["audio_interrupted"] >= 1
    users = [message.content for message in conversing.asked[-1].messages if message.role == "user"]
    assert len(users) == len(TURNS)


async def test_talk_says_a_file_and_writes_both_sides(
    conversing: Conversing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "said.wav", tmp_path / "both.wav"
    with wave.open(str(source), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((np.concatenate((silence(0.3), say(TURNS[0]))) * 32767).astype("<i2").tobytes())
    server = Target(conversing.url, conversing.key)
    async with asyncio.timeout(DEADLINE_SECS):
        settings = settings_of("You are polite.", "harry")
        await talk_from_file(server, "fluxions", settings, source, target, LimitSettings(), Captions())
    with wave.open(str(target)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, SPEECH_RATE_HZ)
        sides = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).astype(np.int32)
    loud = [np.flatnonzero(np.abs(sides[:, side]) > 1000) for side in (0, 1)]
    assert loud[0][-1] < loud[1][0], "the answer comes after what was said"
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("you: ")
    assert shown[-1] == "model: I see what you mean. "
    assert conversing.asked[0].messages[0].content == "You are polite."
