"""The output items of one response while they are generated: text messages, spoken messages, and function calls."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Final, Protocol

import orjson

from audio.wire_formats import WireEncoder, WireFormat
from schemas.api.realtime.server_events import OutputContent, output_item_event
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.errors import EngineFailure, InvalidParameter
from schemas.speech import RenderedChunk
from serve.realtime.heard_text import SpokenPassage
from serve.realtime.items import Item, SpokenContent, Status, TextContent, new_id
from serve.realtime.playout import Playout
from serve.realtime.speech_chunks import SpeechChunks, speakable
from serve.realtime.stage import Stage

Render = Callable[[str, Seconds | None], AsyncGenerator[RenderedChunk, None]]
"""Synthesises a text. The second argument is the audio before the text that is still to be played, s; None for the first
text of a response.
"""
_GATHERED_CHARS: Final = 200
_CHARS_PER_SEC: Final = 15.0
_PIECE_BYTES: Final = 2 * SPEECH_RATE_HZ // 10
"""Audio of one event: .1 s."""


class OutputItem(Protocol):
    """An item that is being generated."""

    item: Item

    def close(self, status: Status) -> None:
        """Announce the end of the item; a second call has no effect."""
        ...


class _Opened:
    """Common part of all items: they are announced, and closed once."""

    def __init__(self, stage: Stage, response_id: str, index: int, item: Item) -> None:
        self.item = item
        self._stage = stage
        self._response_id = response_id
        self._index = index
        self._events = OutputContent(response_id, item.id, index)
        self._closed = False
        stage.emit(output_item_event("response.output_item.added", response_id, index, item.body()))
        stage.add(item)

    def _end(self, status: Status) -> None:
        self._closed = True
        self.item.status = status
        self._stage.complete(self.item)
        self._stage.emit(output_item_event("response.output_item.done", self._response_id, self._index, self.item.body()))


class WrittenMessage(_Opened):
    """A message as text."""

    def __init__(self, stage: Stage, response_id: str, index: int) -> None:
        super().__init__(stage, response_id, index, _message())
        self._content = TextContent("")
        self.item.content.append(self._content)
        stage.emit(self._events.part("response.content_part.added", "text", ""))

    def write(self, text: str) -> None:
        """More text."""
        self._content.text += text
        self._stage.emit(self._events.text_delta(text))

    def pause(self) -> None:
        """No text follows for some time."""

    def finish(self) -> None:
        """The text is over."""

    async def speak(self) -> None:
        """A text message is not spoken."""

    def close(self, status: Status) -> None:
        """See `OutputItem.close`."""
        if self._closed:
            return
        self._stage.emit(self._events.text_done(self._content.text))
        self._stage.emit(self._events.part("response.content_part.done", "text", self._content.text))
        self._end(status)


class SpokenMessage(_Opened):
    """A message as audio with its transcript. `write` collects text; `speak` synthesises it and sends it as it is played.
    The transcript of a piece is sent with its first audio, so that the transcript contains only pieces whose audio has
    begun."""

    def __init__(
        self,
        stage: Stage,
        response_id: str,
        index: int,
        *,
        render: Render,
        language: str,
        form: WireFormat,
        playout: Playout,
        on_made: Callable[[], None],
        on_sound: Callable[[bytes], None],
    ) -> None:
        super().__init__(stage, response_id, index, _message())
        self.spoken = SpokenContent()
        self.item.content.append(self.spoken)
        self.playout = playout
        self._render = render
        self._chunks = SpeechChunks(language)
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._encoder = WireEncoder(form)
        self._on_made = on_made
        self._on_sound = on_sound
        self._rendered_chars = 0
        """Characters of the pieces whose synthesis has begun; their audio may still wait to be sent."""
        self._settled_chars = 0
        self._settled_secs = 0.0
        """End of the last complete passage."""
        stage.emit(self._events.part("response.content_part.added", "audio", ""))

    def write(self, text: str) -> None:
        """More text to speak."""
        for piece in self._chunks.add(text):
            self._pieces.put_nowait(piece)

    def pause(self) -> None:
        """No text follows for some time: what was written is spoken without waiting for it."""
        for piece in self._chunks.finish():
            self._pieces.put_nowait(piece)

    def finish(self) -> None:
        """The text is over."""
        self.pause()
        self._pieces.put_nowait(None)

    async def speak(self) -> None:
        """Synthesise and send the written text until `finish`. Raises EngineFailure, Unavailable, in a group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._synthesise())
            await self._stage.released()
            await self.playout.run()

    async def _synthesise(self) -> None:
        is_first = True
        while (piece := await self._pieces.get()) is not None:
            # The first piece is synthesised alone, so that audio starts early.
            await self._say(piece if is_first else self._gathered(piece), None if is_first else self.playout.ahead_secs)
            is_first = False
        self.playout.add(lambda: self._send(self._encoder.finish()))
        self.playout.finish()

    def _gathered(self, piece: str) -> str:
        """``piece`` and other waiting pieces, so that the voice reads them as connected text."""
        while not self._pieces.empty():
            following = self._pieces.get_nowait()
            if following is None or len(piece) + len(following) > _GATHERED_CHARS:
                self._put_back(following)
                break
            piece += following
        return piece

    def _put_back(self, piece: str | None) -> None:
        waiting = [piece]
        while not self._pieces.empty():
            waiting.append(self._pieces.get_nowait())
        for one in waiting:
            self._pieces.put_nowait(one)

    async def _say(self, text: str, ahead_secs: Seconds | None) -> None:
        begin, is_queued = self._rendered_chars, False
        self._rendered_chars += len(text)
        try:
            async with aclosing(self._render(speakable(text), ahead_secs)) as chunks:
                async for chunk in chunks:
                    await self.playout.room()
                    if not is_queued:
                        self.playout.add(partial(self._send_transcript, text))
                        is_queued = True
                    self._queue_sound(chunk.pcm)
                    if chunk.ends_passage:
                        end = begin + (len(text) if chunk.next_start is None else chunk.next_start)
                        self.playout.add(partial(self._settle, end))
        except InvalidParameter as error:
            if error.code != "nothing_to_say":
                raise EngineFailure(f"the answer could not be spoken: {error.message}", code=error.code) from error
        if not is_queued:
            self.playout.add(partial(self._send_transcript, text))
        self.playout.add(partial(self._settle, begin + len(text)))

    def _settle(self, end: int, end_secs: Seconds | None = None) -> None:
        """Record that the audio of the transcript up to ``end`` is complete, or would have been at ``end_secs``."""
        if end > self._settled_chars:
            end_secs = self.spoken.duration_secs if end_secs is None else end_secs
            self.spoken.passages.append(SpokenPassage(self._settled_chars, end, self._settled_secs, end_secs))
            self._settled_chars, self._settled_secs = end, end_secs

    def _break_off(self) -> None:
        """Estimate from typical speaking rates how much of the last piece was spoken."""
        rest = len(self.spoken.transcript) - self._settled_chars
        if rest > 0:
            if not self.spoken.truncated:
                self.spoken.heard_secs = self.spoken.duration_secs
            estimated = self._settled_secs + rest / _CHARS_PER_SEC
            self._settle(len(self.spoken.transcript), max(self.spoken.duration_secs, estimated))

    def _send_transcript(self, text: str) -> None:
        self.spoken.transcript += text
        self._stage.emit(self._events.transcript_delta(text))

    def _queue_sound(self, pcm: bytes) -> None:
        if pcm:
            self._on_made()
        for at in range(0, len(pcm), _PIECE_BYTES):
            piece = pcm[at : at + _PIECE_BYTES]
            self.playout.add(partial(self._sound, piece), len(piece) / 2 / SPEECH_RATE_HZ)

    def _sound(self, pcm: bytes) -> None:
        self.spoken.pcm += pcm
        self.spoken.duration_secs += len(pcm) / 2 / SPEECH_RATE_HZ
        self._send(self._encoder.feed(pcm))
        self._on_sound(pcm)

    def _send(self, sound: bytes) -> None:
        if sound:
            self._stage.emit(self._events.audio_delta(base64.b64encode(sound).decode()))

    def close(self, status: Status) -> None:
        """See `OutputItem.close`."""
        if self._closed:
            return
        self._break_off()
        self._stage.emit(self._events.audio_done())
        self._stage.emit(self._events.transcript_done(self.spoken.transcript))
        self._stage.emit(self._events.part("response.content_part.done", "audio", self.spoken.transcript))
        self._end(status)


class Call(_Opened):
    """A call of a function that the client executes."""

    def __init__(self, stage: Stage, response_id: str, index: int, name: str, call_id: str | None) -> None:
        # Clients accept ids of at most 32 characters.
        call_id = call_id if call_id and len(call_id) <= 32 else new_id("call")
        item = Item(new_id("item"), "function_call", status="in_progress", name=name, call_id=call_id)
        super().__init__(stage, response_id, index, item)

    def write(self, arguments: str) -> None:
        """More of the arguments."""
        self.item.arguments += arguments
        if arguments:
            self._stage.emit(self._events.arguments_delta(self.item.call_id, arguments))

    def close(self, status: Status) -> None:
        """See `OutputItem.close`. A call whose arguments are no JSON object is incomplete, as no client can execute it."""
        if self._closed:
            return
        if not self.item.arguments.strip():
            self.write("{}")
        item = self.item
        self._stage.emit(self._events.arguments_done(item.call_id, item.name, item.arguments))
        self._end(status if self.is_readable else "incomplete")

    @property
    def is_readable(self) -> bool:
        """Whether the arguments are a JSON object."""
        try:
            return isinstance(orjson.loads(self.item.arguments), dict)
        except orjson.JSONDecodeError:
            return False


def _message() -> Item:
    return Item(new_id("item"), "message", status="in_progress", role="assistant")
