"""A realtime session without a socket: what it sends is collected and checked, its engines answer as they are told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from audio.vad import VoiceActivity
from schemas.api.realtime.session_config import Audio, AudioOutput, Config, RealtimeConfig
from schemas.domain import AS_SPOKEN, SPEECH_RATE_HZ, Lane, Recognition, RecognizeOptions, Word
from schemas.engines import EngineInfo, Samples
from schemas.language_model import ChatDelta, ChatMessage, ChatRequest, ChatUsage, ToolCallFragment
from schemas.settings import RealtimeSettings
from schemas.speech import RenderedChunk, RenderRequest, VoiceProfile
from serve.engines.tts.voices import find_voice
from serve.realtime.conversation_log import ConversationLog
from serve.realtime.event_writer import EventWriter
from serve.realtime.paced_render import Paces, as_rendered
from serve.realtime.session import Session
from serve.realtime.session_parts import SessionParts

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TEXT: dict[str, Any] = {"output_modalities": ["text"]}
UNPACED: dict[str, Any] = {"realtime_eager": False, "realtime_interrupt_secs": 0.0, "realtime_lead_secs": 60.0}
"""Settings of most tests: audio is sent as soon as it is made, and any speech interrupts it."""
DEADLINE_SECS = 60.0
SECS_PER_WORD = 0.25
Answer = Callable[[ChatRequest], AsyncGenerator[ChatDelta, None]]


@cache
def server_events() -> TypeAdapter[Any]:
    """The strict types of the official client."""
    return TypeAdapter(RealtimeServerEvent)


@cache
def activity() -> VoiceActivity:
    return VoiceActivity()


def written(*words: str, usage: ChatUsage | None = None, finish: Any = "stop") -> Answer:
    """A model that answers with these pieces of text."""

    async def answer(_: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        for word in words:
            yield ChatDelta(word)
        yield ChatDelta(finish=finish, usage=usage or ChatUsage(20, 5, len(words)))

    return answer


def calling(*calls: tuple[str, str], say: str = "") -> Answer:
    """A model that calls functions, each a name and its arguments, in pieces of some letters."""

    async def answer(_: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        if say:
            yield ChatDelta(say)
        for index, (name, arguments) in enumerate(calls):
            yield ChatDelta(call=ToolCallFragment(index, f"call_{index}", name))
            for at in range(0, len(arguments), 5):
                yield ChatDelta(call=ToolCallFragment(index, arguments=arguments[at : at + 5]))
        yield ChatDelta(finish="tool_calls", usage=ChatUsage(20, 0, 9))

    return answer


def endless() -> tuple[Answer, asyncio.Event]:
    """A model that never stops by itself, and what is set once it was stopped."""
    stopped = asyncio.Event()

    async def answer(_: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        try:
            while True:
                yield ChatDelta("It goes on and on. ")
                await asyncio.sleep(0.001)
        finally:
            stopped.set()

    return answer, stopped


def failing(error: Exception, *before: str) -> Answer:
    """A model that breaks off."""

    async def answer(_: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        for word in before:
            yield ChatDelta(word)
        raise error

    return answer


@dataclass
class ScriptedEngines:
    """Engines of a test of the protocol: a language model with a script, a recogniser that hears what it is told to, and a
    synthesiser that takes a quarter of a second of tone for each word."""

    answers: list[Answer] = field(default_factory=list)
    hears: list[str | Exception | Recognition] = field(default_factory=list)
    asked: list[ChatRequest] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    context_tokens: int | None = None
    otherwise: Answer = field(default_factory=lambda: written("Well, yes."))
    """Answers when there is no script left."""
    speech_gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Sound after the first piece of a render waits for it."""

    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the language model is asked."""

    def __post_init__(self) -> None:
        self.speech_gate.set()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        self.asked.append(request)
        self.was_asked.set()
        answer = self.answers.pop(0) if self.answers else self.otherwise
        async for delta in answer(request):
            yield delta

    async def language_model(self) -> EngineInfo:
        capabilities = {"tools": True, "context_tokens": self.context_tokens, "size": "none", "parallel": 4}
        return EngineInfo("language_model", "scripted", "script", "1", capabilities)

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        self.heard.append(pcm)
        said = self.hears.pop(0) if self.hears else "hello there"
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Recognition):
            return said
        return Recognition(tuple(Word(word, 0.0, 0.1) for word in said.split()), "en", punctuated=True)

    async def check_options(self, options: RecognizeOptions) -> None:
        from schemas.errors import InvalidParameter

        if options.language not in (None, "en", "de"):
            raise InvalidParameter(f"language: {options.language} is not spoken here", param="language")

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        self.rendered.append(request.text)
        self.speeds.append(request.speed)
        words = tuple(request.text.split())
        for number, _ in enumerate(words, 1):
            if number > 1:
                await self.speech_gate.wait()
            pcm = tone(SECS_PER_WORD)
            yield RenderedChunk(pcm, number == len(words), words if number == len(words) else ())


def tone(secs: float) -> bytes:
    times = np.arange(round(secs * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    return (8000 * np.sin(2 * np.pi * 200 * times)).astype("<i2").tobytes()


async def _voice(engine: str, voice_id: str) -> VoiceProfile:
    return find_voice(voice_id, engine)


class ScriptedEndOfTurn:
    """Says what it is told to; sure that a turn is over when it is told nothing."""

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.heard: list[int] = []
        self.info = EngineInfo("end_of_turn", "scripted", "script", "1", {})

    def probability(self, samples: Samples) -> float:
        self.heard.append(len(samples))
        return self.answers.pop(0) if self.answers else 1.0


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Talk:
    """A session and all that it sent. Every event is checked against the official client's types when it is sent."""

    def __init__(
        self,
        engines: ScriptedEngines,
        config: Config | None = None,
        *,
        clock: Clock | None = None,
        log: ConversationLog | None = None,
        paces: Paces = as_rendered,
        voices_of: str = "espeak",
        **settings: Any,
    ) -> None:
        self.engines = engines
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self.clock = clock or Clock()
        self.writer = EventWriter(self._receive)
        self.end_of_turn = ScriptedEndOfTurn()
        parts = SessionParts(
            engines=engines,
            activity=activity(),
            end_of_turn=self.end_of_turn,
            voice=partial(_voice, voices_of),
            paces=paces,
            settings=RealtimeSettings(**{**UNPACED, **settings}),
            window_secs=13.0,
            clock=self.clock,
            log=log,
        )
        config = config or RealtimeConfig(model="test", audio=Audio(output=AudioOutput(voice="maeve")))
        self.session = Session(parts, self.writer, config)
        self._seen = 0

    async def _receive(self, text: str) -> None:
        event = json.loads(text)
        server_events().validate_python(event)
        check_shape(event)
        self.events.append(event)
        self._changed.set()

    async def __aenter__(self) -> Talk:
        self._writing = asyncio.create_task(self.writer.run())
        self.session.open()
        await self.until("session.created")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        failed = self._writing.done() and self._writing.exception()
        self._writing.cancel()
        if failed:
            raise failed
        ids = [event["event_id"] for event in self.events]
        assert len(ids) == len(set(ids))
        created, done = (self.of(f"response.{kind}") for kind in ("created", "done"))
        ended = [event["response"]["id"] for event in done]
        assert len(ended) == len(set(ended)), "a response ended twice"
        assert set(ended) <= {event["response"]["id"] for event in created}
        assert all(event["response"]["usage"]["total_tokens"] >= 0 for event in done)

    async def send(self, kind: str, **fields: Any) -> None:
        await self.session.take(json.dumps({"type": kind, **fields}))

    async def until(self, *kinds: str, count: int = 1) -> dict[str, Any]:
        """The next event of one of these kinds, from the last one waited for on; fails after a deadline."""
        async with asyncio.timeout(DEADLINE_SECS):
            while True:
                while self._seen < len(self.events):
                    event = self.events[self._seen]
                    self._seen += 1
                    if event["type"] in kinds:
                        count -= 1
                        if not count:
                            return event
                if self._writing.done():
                    self._writing.result()
                self._changed.clear()
                await self._changed.wait()

    async def quiet(self) -> None:
        """Wait until all that was sent is here."""
        await self.writer.drained()

    def kinds(self, since: int = 0) -> list[str]:
        return [event["type"] for event in self.events[since:]]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] in kinds]

    def told(self, turn: int = -1) -> list[ChatMessage]:
        """What the model was asked, without the instructions."""
        return [message for message in self.engines.asked[turn].messages if message.role != "system"]

    async def update(self, **session: Any) -> dict[str, Any]:
        await self.send("session.update", session={"type": "realtime", **session})
        return await self.until("session.updated", "error")

    async def say(self, text: str, **fields: Any) -> dict[str, Any]:
        """A user's message in text."""
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content, **fields})
        return await self.until("conversation.item.done", "error")

    async def ask(self, **response: Any) -> dict[str, Any]:
        await self.send("response.create", response=response)
        return await self.until("response.done", "error")

    async def hear(self, samples: Samples, chunk_secs: float = 0.1, rate_hz: int = SPEECH_RATE_HZ) -> None:
        """Append ``(num_samples,) float32`` at ``rate_hz``, in chunks."""
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        step = 2 * round(chunk_secs * rate_hz)
        for at in range(0, len(pcm), step):
            await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm[at : at + step]).decode())


def check_shape(event: dict[str, Any]) -> None:
    """What clients in JavaScript refuse and the types of `openai` allow: null where a field should be absent, user audio
    without its transcript, times and places that are no integers."""
    response = event.get("response", {})
    for item in filter(None, (event.get("item"), *response.get("output", []))):
        refused = [name for name in ("status", "role", "name", "call_id", "arguments") if item.get(name, "") is None]
        assert not refused, (event["type"], refused)
        for content in item.get("content", []):
            expected = {"output_text", "output_audio"} if item.get("role") == "assistant" else {"input_text", "input_audio"}
            assert content["type"] in expected, (event["type"], content["type"])
            assert content["type"] != "input_audio" or "transcript" in content
    for name in ("part", "error") if event["type"] != "error" else ():
        assert None not in event.get(name, {}).values(), (event["type"], name)
    numbers = {name: value for name, value in event.items() if name.endswith(("_ms", "_index"))}
    assert all(type(value) is int for value in numbers.values()), numbers


def text_of(event: dict[str, Any]) -> str:
    """The text of a response's first message."""
    content = event["response"]["output"][0]["content"][0]
    return content.get("text") or content.get("transcript")


async def gather(*awaitables: Awaitable[Any]) -> Sequence[Any]:
    async with asyncio.timeout(DEADLINE_SECS):
        return await asyncio.gather(*awaitables)
