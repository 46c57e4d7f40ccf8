"""livekit's `RealtimeModel` with only its base URL and key changed: five spoken turns, a tool call, an interruption."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins.openai.realtime import RealtimeModel
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

from schemas.domain import SPEECH_RATE_HZ
from tests.clients.conftest import Conversing
from tests.clients.realtime_script import DEADLINE_SECS, TURNS, pcm

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]


@function_tool
async def get_agenda(day: str) -> str:
    """The topics of a committee on a day."""
    return "money"


class _Conversation:
    """What an agent does with a session: it plays messages, executes calls, and truncates what was interrupted."""

    def __init__(self, session: llm.RealtimeSession) -> None:
        self._session = session
        self._generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        self.interruptions = 0
        self.transcripts: list[str] = []
        self.errors: list[Any] = []
        session.on("generation_created", self._generations.put_nowait)
        session.on("input_speech_started", self._on_speech)
        session.on("input_audio_transcription_completed", self._on_transcript)
        session.on("error", self.errors.append)

    def _on_speech(self, _: Any) -> None:
        self.interruptions += 1

    def _on_transcript(self, event: Any) -> None:
        if event.is_final:
            self.transcripts.append(event.transcript.lower())

    def say(self, text: str) -> None:
        sound = pcm(text)
        self._session.push_audio(rtc.AudioFrame(sound, SPEECH_RATE_HZ, 1, len(sound) // 2))

    async def _generation(self) -> llm.GenerationCreatedEvent:
        async with asyncio.timeout(DEADLINE_SECS):
            return await self._generations.get()

    async def message(self) -> tuple[llm.MessageGeneration, llm.GenerationCreatedEvent]:
        generation = await self._generation()
        return await anext(aiter(generation.message_stream)), generation

    async def heard(self) -> str:
        """Play the next message to its end; returns its text."""
        message, _ = await self.message()
        secs = 0.0
        async for frame in message.audio_stream:
            secs += frame.duration
        assert secs > 0.3
        return "".join([str(text) async for text in message.text_stream])

    async def call(self) -> None:
        """Execute the next call, and ask for an answer with its result."""
        generation = await self._generation()
        (call,) = [call async for call in generation.function_stream]
        assert (call.name, call.arguments) == ("get_agenda", '{"day": "Monday"}')
        context = self._session.chat_ctx.copy()
        context.items.append(llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="money", is_error=False))
        await self._session.update_chat_ctx(context)
        self._session.generate_reply()


async def test_livekit_holds_a_conversation(conversing: Conversing) -> None:
    async with asyncio.timeout(DEADLINE_SECS), aiohttp.ClientSession() as http:
        model = RealtimeModel(
            base_url=f"{conversing.url}/v1",
            api_key=conversing.key,
            http_session=http,
            turn_detection=ServerVad(type="server_vad", interrupt_response=True),
        )
        session = model.session()
        talk = _Conversation(session)
        try:
            await session.update_instructions("You know the agenda.")
            await session.update_tools([get_agenda])
            talk.say(TURNS[0])
            assert await talk.heard() == "I see what you mean. "
            talk.say(TURNS[1])
            await talk.call()
            assert await talk.heard() == "They will talk about money. "
            talk.say(TURNS[2])
            story, _ = await talk.message()
            await anext(aiter(story.audio_stream))
            speeches = talk.interruptions
            talk.say(TURNS[3])
            assert await talk.heard() == "I see what you mean. "
            assert talk.interruptions > speeches
            session.truncate(message_id=story.message_id, modalities=["audio"], audio_end_ms=100)
            talk.say(TURNS[4])
            assert await talk.heard() == "I see what you mean. "
        finally:
            await session.aclose()
    assert talk.errors == []
    assert len(talk.transcripts) == len(TURNS)
    assert "committee" in talk.transcripts[1]
    known = [message.content for message in conversing.asked[-1].messages if message.role == "assistant"]
    assert not any("evening" in text for text in known), "what was not heard is remembered"
