"""The items of a conversation: messages, function calls and their results."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.api.realtime.client_events import (
    ClientItem,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
)
from schemas.domain import Seconds
from schemas.errors import InvalidRequest
from serve.realtime.heard_text import SpokenPassage, heard_text

Status = Literal["in_progress", "completed", "incomplete"]


def new_id(prefix: str) -> str:
    """A new id such as ``item_0123456789abcdef01234567``, at most 32 characters."""
    return f"{prefix}_{uuid.uuid4().hex[: 31 - len(prefix)]}"


@dataclass(slots=True)
class TextContent:
    """Written text. The assistant's has the type ``output_text``."""

    text: str

    def body(self, role: str) -> dict[str, Any]:
        """As events show it."""
        return {"type": "output_text" if role == "assistant" else "input_text", "text": self.text}

    def known(self) -> str:
        """The text as the language model gets it."""
        return self.text


@dataclass(slots=True)
class HeardContent:
    """Audio of a user. ``pcm`` is s16le at 16 kHz mono, as the recogniser gets it, or empty if it is no longer kept."""

    pcm: bytes
    duration_secs: Seconds
    transcript: str | None = None
    """The recognised text; None until then, and if recognition failed."""
    show_transcript: bool = False
    """Whether the client asked for transcripts."""
    recognised: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once `transcript` is final."""

    def body(self, role: str) -> dict[str, Any]:
        """The form in events: without audio, and always with the key ``transcript``."""
        return {"type": "input_audio", "transcript": self.transcript if self.show_transcript else None}

    def known(self) -> str:
        """The text as the language model gets it."""
        return self.transcript or ""


@dataclass(slots=True)
class SpokenContent:
    """Audio of the assistant. ``pcm`` is s16le at 24 kHz mono, or empty if it is no longer kept."""

    transcript: str = ""
    passages: list[SpokenPassage] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    duration_secs: Seconds = 0.0
    heard_secs: Seconds | None = None
    """Length of the audio that the user can have heard, s; None for all of it."""
    sent_secs: Seconds | None = None
    """Length of the audio before it was truncated, s."""
    heard_chars: int | None = None
    """Characters of the transcript that were heard, if this was found by recognition."""
    settled: asyncio.Event | None = None
    """Set once the heard part is known; None if it is not searched by recognition."""
    truncated: bool = False
    """Whether the client has reported the length that was played."""

    def body(self, role: str) -> dict[str, Any]:
        """The form in events. A truncated part has no transcript, which would contain more than was heard."""
        return {"type": "output_audio"} if self.truncated else {"type": "output_audio", "transcript": self.transcript}

    def known(self) -> str:
        """The part of the transcript that the user heard."""
        if self.heard_chars is not None:
            return self.transcript[: self.heard_chars]
        return self.transcript if self.heard_secs is None else heard_text(self.transcript, self.passages, self.heard_secs)


Content = TextContent | HeardContent | SpokenContent


@dataclass(slots=True)
class Item:
    """One item. A message has ``role`` and ``content``; a call ``name``, ``call_id`` and ``arguments``; its result
    ``call_id`` and ``output``."""

    id: str
    type: Literal["message", "function_call", "function_call_output"]
    status: Status = "completed"
    role: Literal["user", "assistant", "system"] | None = None
    content: list[Content] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""

    def body(self) -> dict[str, Any]:
        """As events show it."""
        ids = {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status}
        if self.type == "message":
            role = self.role or "user"
            return {**ids, "role": role, "content": [part.body(role) for part in self.content]}
        if self.type == "function_call":
            return {**ids, "name": self.name, "call_id": self.call_id, "arguments": self.arguments}
        return {**ids, "call_id": self.call_id, "output": self.output}

    def text(self) -> str:
        """The text of a message as the language model gets it."""
        return "\n".join(known for part in self.content if (known := part.known()))


def item_of(sent: ClientItem, sound: Mapping[int, HeardContent], place: str) -> Item:
    """A client's item. ``sound`` has the decoded audio of its parts by index; ``place`` is the field's path for errors.

    Raises InvalidRequest for audio that was not decoded.
    """
    item_id = sent.id or new_id("item")
    if isinstance(sent, FunctionCall):
        call_id = sent.call_id or new_id("call")
        return Item(item_id, "function_call", name=sent.name, call_id=call_id, arguments=sent.arguments)
    if isinstance(sent, FunctionCallOutput):
        return Item(item_id, "function_call_output", call_id=sent.call_id, output=sent.output)
    content: list[Content] = []
    for index, part in enumerate(sent.content):
        if not isinstance(part, InputAudio):
            content.append(TextContent(part.text))
        elif index in sound:
            content.append(sound[index])
        elif part.transcript is not None:
            content.append(TextContent(part.transcript))
        else:
            param = f"{place}.content[{index}].transcript"
            raise InvalidRequest(
                f"{param}: audio is accepted here only with its transcript", code="invalid_value", param=param
            )
    return Item(item_id, "message", role=sent.role, content=content)
