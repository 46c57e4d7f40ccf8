"""The interface of language models: requests, streamed answers, and the protocol of engines.

The values are those of a chat: messages with roles, tools that may be called, text and calls as they are generated. Engines
are in `serve.engines.language_models`; sessions reach them through `schemas.speech_engines.Engines.chat`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from schemas.engines import EngineInfo

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A finished call of a tool; ``arguments`` is the JSON text as the model wrote it, valid or not."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation.

    ``tool_calls`` belongs to the role assistant. ``tool_call_id`` belongs to the role tool, whose ``content`` is the tool's
    result. Every call needs its result before the next message of the role user: strict servers refuse it otherwise.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; ``parameters`` is the JSON schema of its arguments, an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The choice of exactly this tool."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request for one answer. ``None`` means the model's default: its temperature, its limit of tokens.

    ``tool_choice`` has no effect without ``tools``. ``max_tokens`` bounds what is generated, at least 1.
    """

    messages: tuple[ChatMessage, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCallFragment:
    """A piece of one call. Fragments of the same ``index`` make one call: ``arguments`` are joined in order.

    ``call_id`` and ``name`` are complete in the first fragment of an index, and None in later ones. Indices count from 0,
    and fragments of several calls may alternate.
    """

    index: int
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class ChatUsage:
    """Tokens of one answer; ``cached_tokens`` are those of ``input_tokens`` that were not computed again."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """A piece of an answer: text, a piece of a call, the reason of its end, or its usage.

    ``finish`` comes once, after all text and calls. It is ``tool_calls`` if there was a call, whatever the engine reports.
    ``usage`` comes at most once, with ``finish`` or after it. Reasoning is never in ``text``.
    """

    text: str = ""
    call: ToolCallFragment | None = None
    finish: FinishReason | None = None
    usage: ChatUsage | None = None


@dataclass(frozen=True, slots=True)
class LanguageModelCapabilities:
    """What a language model can do; shown by `/v1/models`."""

    tools: bool
    """Whether it can call tools. If not, offered tools are left out of the prompt."""
    context_tokens: int | None
    """Most tokens of prompt and answer together; None if the engine does not report it."""
    size: str
    """Size and abilities of the model, in words."""
    parallel: int
    """Answers that it generates at once; further requests wait."""


class LanguageModel(Protocol):
    """Generates answers as streams. Serves several independent requests at once."""

    @property
    def info(self) -> EngineInfo:
        """Name, model, revision and capabilities."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """The answer as it is generated. ``aclose()`` ends the generation within a token.

        A complete answer ends with ``finish``; an incomplete one raises. Raises InvalidRequest, with code
        ``context_length_exceeded`` if the messages exceed the model's context; Unavailable while the model cannot be
        reached, refuses, or exceeds a timeout of the settings; EngineFailure for an answer that is truncated or invalid.
        """
        ...

    async def close(self) -> None:
        """Ends threads and processes that it has started."""
        ...
