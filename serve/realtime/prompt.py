"""Builds the prompt of a conversation for a language model, and truncates it to the context window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.api.realtime.session_config import FunctionTool, RetentionRatio, ToolChoiceFunction
from schemas.errors import InvalidRequest
from schemas.language_model import ChatMessage, NamedTool, Tool, ToolCall, ToolChoice
from serve.realtime.items import Item

UNANSWERED: Final = "(no result has come yet)"
"""The result of a call that the client has not answered: strict servers refuse a call without a result."""
_CHARS_PER_TOKEN: Final = 3.0
_MESSAGE_TOKENS: Final = 6
_ANSWER_TOKENS: Final = 512
"""Tokens reserved for a response without a limit."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Messages that belong together, such as a call and its result, and the ids of their items."""

    item_ids: tuple[str, ...]
    messages: tuple[ChatMessage, ...]

    @property
    def tokens(self) -> int:
        """Estimated number of tokens, rather too high than too low."""
        return sum(estimated_tokens(message) for message in self.messages)


def units(items: Sequence[Item]) -> list[Unit]:
    """The messages of ``items`` in order, without empty ones.

    Consecutive calls are one message, which their results follow directly, wherever they are in the conversation.
    """
    results = {item.call_id: item for item in items if item.type == "function_call_output"}
    called = {item.call_id for item in items if item.type == "function_call"}
    found: list[Unit] = []
    calls: list[Item] = []
    for item in items:
        if item.type == "function_call":
            calls.append(item)
            continue
        if calls and not (item.type == "function_call_output" and item.call_id in called):
            _add_calls(found, calls, results)
            calls = []
        if item.type == "message" and (text := item.text()):
            found.append(Unit((item.id,), (ChatMessage(item.role or "user", text),)))
        elif item.type == "function_call_output" and item.call_id not in called and item.output:
            found.append(Unit((item.id,), (ChatMessage("system", f"A tool returned: {item.output}"),)))
    _add_calls(found, calls, results)
    return found


def _add_calls(found: list[Unit], calls: Sequence[Item], results: dict[str, Item]) -> None:
    """Append one message for all ``calls``; it includes the assistant's text before them."""
    if not calls:
        return
    said = ""
    ids: tuple[str, ...] = ()
    if found and (before := found[-1].messages[-1]).role == "assistant" and not before.tool_calls:
        said, ids = before.content, found.pop().item_ids
    asked = ChatMessage("assistant", said, tuple(ToolCall(c.call_id, c.name, c.arguments or "{}") for c in calls))
    answers = [
        ChatMessage("tool", results[c.call_id].output if c.call_id in results else UNANSWERED, tool_call_id=c.call_id)
        for c in calls
    ]
    answered = tuple(results[c.call_id].id for c in calls if c.call_id in results)
    found.append(Unit((*ids, *(c.id for c in calls), *answered), (asked, *answers)))


def estimated_tokens(message: ChatMessage) -> int:
    """Estimated number of tokens of a message, rather too high than too low."""
    chars = len(message.content) + sum(len(call.name) + len(call.arguments) + 16 for call in message.tool_calls)
    return _MESSAGE_TOKENS + round(chars / _CHARS_PER_TOKEN)


class ContextWindow:
    """Selects the items of a conversation that the model gets.

    Dropped items stay dropped, so that the beginning of the prompt changes seldom. Engines cache the beginning.
    """

    def __init__(self) -> None:
        self._left_out: set[str] = set()

    def messages(
        self,
        items: Sequence[Item],
        instructions: str,
        truncation: str | RetentionRatio,
        context_tokens: int | None,
        max_tokens: int | None,
    ) -> tuple[ChatMessage, ...]:
        """The prompt. ``context_tokens`` is the limit for prompt and response together, None for no limit.

        Raises InvalidRequest with code ``context_length_exceeded`` if truncation is ``disabled`` and it does not fit.
        """
        head = (ChatMessage("system", instructions),) if instructions else ()
        kept = [unit for unit in units(items) if not self._left_out.intersection(unit.item_ids)]
        limit = self._limit(truncation, context_tokens, max_tokens, head)
        if limit is not None and _tokens(kept) > limit:
            if truncation == "disabled":
                raise InvalidRequest(
                    f"the conversation has about {_tokens(kept)} tokens and the model reads {limit}; delete items",
                    code="context_length_exceeded",
                )
            share = truncation.retention_ratio if isinstance(truncation, RetentionRatio) else 1.0
            kept = self._cut(kept, round(limit * share))
        return (*head, *(message for unit in kept for message in unit.messages))

    def _limit(
        self,
        truncation: str | RetentionRatio,
        context_tokens: int | None,
        max_tokens: int | None,
        head: Iterable[ChatMessage],
    ) -> int | None:
        limits = []
        if context_tokens is not None:
            taken = sum(estimated_tokens(message) for message in head) + min(
                max_tokens or _ANSWER_TOKENS, context_tokens // 2
            )
            limits.append(max(0, context_tokens - taken))
        if isinstance(truncation, RetentionRatio) and truncation.token_limits and truncation.token_limits.post_instructions:
            limits.append(truncation.token_limits.post_instructions)
        return min(limits) if limits else None

    def _cut(self, kept: list[Unit], limit: int) -> list[Unit]:
        """The latest units within ``limit`` tokens, at least the last one."""
        tokens = _tokens(kept)
        while len(kept) > 1 and tokens > limit:
            tokens -= kept[0].tokens
            self._left_out.update(kept[0].item_ids)
            kept = kept[1:]
        return kept


def _tokens(kept: Iterable[Unit]) -> int:
    return sum(unit.tokens for unit in kept)


def tools_of(offered: Sequence[FunctionTool]) -> tuple[Tool, ...]:
    """A session's tools in the form for the model."""
    return tuple(Tool(tool.name, tool.description, tool.parameters) for tool in offered)


def choice_of(chosen: str | ToolChoiceFunction) -> ToolChoice:
    """A session's tool choice in the form for the model."""
    if isinstance(chosen, ToolChoiceFunction):
        return NamedTool(chosen.name)
    return chosen  # type: ignore[return-value]  # the schema allows just these
