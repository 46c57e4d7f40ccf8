"""Converts chunks of a streamed chat completion to `ChatDelta`, tolerating the differences between servers.

Fragments of calls are keyed by index; the first non-empty id and name count. A whole call may come in one chunk, the last
chunk may have no choices, the finish reason may be ``stop`` after calls, and some servers leave out the index, the id or
the reason.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import EngineFailure
from schemas.language_model import ChatDelta, ChatUsage, FinishReason, ToolCallFragment
from serve.engines.language_models.reasoning import SpokenText

_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""All other reasons, such as ``stop`` and ``eos``, count as ``stop``."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Function(_Read):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(_Read):
    index: int | None = Field(None, ge=0, le=1000)
    id: str | None = None
    function: _Function | None = None


class _Delta(_Read):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(_Read):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(_Read):
    cached_tokens: int | None = None


class _Usage(_Read):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(_Read):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


class ChunkReader:
    """Reads the chunks of one answer. ``who`` names the model in error messages."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._text = SpokenText()
        self._calls: dict[int, _OpenCall] = {}
        self.has_ended = False
        """Whether the finish reason was returned."""

    def read(self, chunk: dict[str, Any]) -> Iterator[ChatDelta]:
        """The deltas of one chunk. Raises EngineFailure for an invalid chunk."""
        try:
            parsed = _Chunk.model_validate(chunk)
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise EngineFailure(f"{self._who} sent a chunk that cannot be read: {field} is wrong") from error
        for choice in parsed.choices or ():
            if choice.index == 0 and not self.has_ended:
                yield from self._choice(choice)
        if parsed.usage is not None:
            details = parsed.usage.prompt_tokens_details
            cached = (details.cached_tokens if details else None) or 0
            yield ChatDelta(usage=ChatUsage(parsed.usage.prompt_tokens, cached, parsed.usage.completion_tokens))

    def finish(self) -> Iterator[ChatDelta]:
        """The deltas at the end of the stream: the finish reason ``stop``, unless a chunk had a reason."""
        if not self.has_ended:
            yield from self._end("stop")

    def _choice(self, choice: _Choice) -> Iterator[ChatDelta]:
        delta = choice.delta or _Delta()
        for piece in (delta.content, delta.refusal):
            if piece and (spoken := self._text.feed(piece)):
                yield ChatDelta(text=spoken)
        calls = delta.tool_calls or ()
        if delta.function_call is not None:
            calls = (*calls, _Call(index=0, function=delta.function_call))
        for call in calls:
            fragment = self._call(call)
            if fragment is not None:
                yield ChatDelta(call=fragment)
        if choice.finish_reason:
            yield from self._end(_REASONS.get(choice.finish_reason, "stop"))

    def _end(self, reason: FinishReason) -> Iterator[ChatDelta]:
        if rest := self._text.finish():
            yield ChatDelta(text=rest)
        self.has_ended = True
        called = any(call.is_open for call in self._calls.values())
        if reason == "stop" and called:
            reason = "tool_calls"
        elif reason == "tool_calls" and not called:
            reason = "stop"
        yield ChatDelta(finish=reason)

    def _call(self, call: _Call) -> ToolCallFragment | None:
        index = self._index(call)
        known = self._calls.setdefault(index, _OpenCall())
        function = call.function or _Function()
        arguments = function.arguments or ""
        return known.add(index, call.id, function.name, arguments if isinstance(arguments, str) else json.dumps(arguments))

    def _index(self, call: _Call) -> int:
        """The index of a call; without one, a new index for a new id, else that of the last call."""
        if call.index is not None:
            return call.index
        last = max(self._calls, default=-1)
        if last < 0 or (call.id and call.id != self._calls[last].call_id):
            return last + 1
        return last


class _OpenCall:
    """One call that is being received. Nothing is returned before its name is known."""

    def __init__(self) -> None:
        self.call_id: str | None = None
        self.is_open = False
        self._held = ""

    def add(self, index: int, call_id: str | None, name: str | None, arguments: str) -> ToolCallFragment | None:
        self.call_id = self.call_id or call_id or None
        if self.is_open:
            return ToolCallFragment(index, arguments=arguments) if arguments else None
        self._held += arguments
        if not name:
            return None
        self.is_open = True
        self.call_id = self.call_id or new_call_id()
        return ToolCallFragment(index, self.call_id, name, self._held)


def new_call_id() -> str:
    """An id for a call without one."""
    return f"call_{uuid.uuid4().hex[:24]}"
