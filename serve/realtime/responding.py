"""The responses of a session: one at a time in its conversation, and any number out of band."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from schemas.api.realtime.client_events import ItemReference, ResponseParams
from schemas.api.realtime.session_config import RealtimeConfig
from schemas.domain import Seconds
from schemas.errors import InvalidRequest
from schemas.language_model import ChatRequest
from schemas.speech import VoiceProfile
from serve.realtime.conversation import Conversation
from serve.realtime.conversation_engines import context_tokens
from serve.realtime.event_writer import EventWriter
from serve.realtime.items import HeardContent, Item, SpokenContent, TextContent, item_of
from serve.realtime.playout import Playout
from serve.realtime.prompt import ContextWindow, choice_of, tools_of
from serve.realtime.response import CancelReason, Response
from serve.realtime.response_config import ResponseConfig, response_config
from serve.realtime.session_parts import SessionParts
from serve.realtime.stage import Stage

PAUSE_SECS: Final[Seconds] = 3.0
"""The longest pause of a response whose client stops sending audio in the middle of speech, for example because it was
muted.
"""


class Responding:
    """Creates, cancels and tracks responses. For its session's event loop only."""

    def __init__(
        self,
        parts: SessionParts,
        writer: EventWriter,
        conversation: Conversation,
        on_done: Callable[[Response], None],
    ) -> None:
        self._parts = parts
        self._writer = writer
        self._conversation = conversation
        self._on_done = on_done
        self._window = ContextWindow()
        self._beside: set[Response] = set()
        self.active: Response | None = None
        self.latest: Response | None = None
        """The latest response of the conversation, finished or not; its audio may still be playing."""
        self._has_spoken = False
        self._sounds = asyncio.Event()
        """Unset while audio is paused."""
        self._sounds.set()
        self._resumes: asyncio.TimerHandle | None = None
        self._dropped: set[Response] = set()
        self._context_known: int | None = None

    @property
    def playing_secs(self) -> Seconds:
        """How long the audio of the latest response still plays, if the client plays it as it arrives."""
        message = self.latest.spoken if self.latest is not None else None
        if message is None:
            return 0.0
        sent = message.spoken.duration_secs if message.spoken.heard_secs is None else message.spoken.heard_secs
        return max(0.0, sent - message.playout.played_secs)

    @property
    def is_talking(self) -> bool:
        """Whether a response is playing."""
        active = self.active
        return self.playing_secs > 0 or (active is not None and active.times.first_sound is not None)

    @property
    def has_spoken(self) -> bool:
        """Whether any audio was sent."""
        running = (*self._beside, *([self.active] if self.active else []))
        return self._has_spoken or any(response.times.first_sound is not None for response in running)

    def create(self, session: RealtimeConfig, asked: ResponseParams, *, after_speech: bool = False) -> Response:
        """A started response. ``after_speech``: whether the response answers a turn, which may contain no words.

        Raises InvalidRequest while another one is active, or for references to unknown items.
        """
        config = response_config(session, asked)
        if not config.out_of_band and self.active is not None:
            raise InvalidRequest(
                f"the response {self.active.id} is in progress; wait for its response.done or cancel it",
                code="conversation_already_has_active_response",
            )
        items = self._given(config)
        response = self._built(config, lambda: self._prompt(config, items, after_speech))
        if config.out_of_band:
            self._beside.add(response)
        else:
            self._activate(response)
        response.start()
        return response

    def prepare(self, session: RealtimeConfig, words: Callable[[], Awaitable[str]]) -> Response:
        """A started response to ``words`` of a turn that may have ended. It sends and stores nothing before `adopt`; `drop`
        discards it."""
        config = response_config(session, ResponseParams())
        response = self._built(config, lambda: self._prepared_prompt(config, words), held=True)
        response.start()
        return response

    def adopt(self, response: Response) -> None:
        """Send the prepared response, since the turn has ended. No other may be active."""
        self._activate(response)
        response.stage.release()

    def _activate(self, response: Response) -> None:
        self.active = self.latest = response
        if self._parts.log is not None:
            self._parts.log.begin_answer(response)

    def drop(self, response: Response) -> None:
        """Discard the prepared response, since the turn goes on."""
        response.drop()
        self._dropped.add(response)
        self._dropped = {one for one in self._dropped if not one.is_stopped}

    def _built(
        self, config: ResponseConfig, prompt: Callable[[], Awaitable[ChatRequest | None]], *, held: bool = False
    ) -> Response:
        return Response(
            config=config,
            stage=Stage(self._writer, None if config.out_of_band else self._conversation, held=held),
            writer=self._writer,
            engines=self._parts.engines,
            prompt=prompt,
            voice=lambda: self._voice(config.voice_id),
            paces=self._parts.paces,
            conversation_id=None if config.out_of_band else self._conversation.id,
            clock=self._parts.clock,
            stall_secs=self._parts.settings.realtime_model_stall_secs,
            playout=self._playout,
            on_sound=self._sent if not config.out_of_band else lambda _, __: None,
            on_done=self._done,
        )

    def _playout(self) -> Playout:
        lead_secs = self._parts.settings.realtime_lead_secs
        return Playout(clock=self._parts.clock, lead_secs=lead_secs, sounds=self._sounds, room=self._writer.room)

    def pause(self) -> None:
        """Send no more audio until `resume`, which is called after `PAUSE_SECS` at the latest."""
        self._sounds.clear()
        if self._resumes is not None:
            self._resumes.cancel()
        self._resumes = asyncio.get_running_loop().call_later(PAUSE_SECS, self.resume)

    def resume(self) -> None:
        """Send audio again."""
        if self._resumes is not None:
            self._resumes.cancel()
            self._resumes = None
        self._sounds.set()

    def _sent(self, response: Response, pcm: bytes) -> None:
        if self._parts.log is not None:
            self._parts.log.model_sound(response, pcm)

    def cancel(self, response_id: str | None, reason: CancelReason) -> None:
        """Cancel the given response, or the active one. Raises InvalidRequest if there is none."""
        running = {r.id: r for r in (*self._beside, *([self.active] if self.active else []))}
        chosen = running.get(response_id) if response_id is not None else self.active
        if chosen is None:
            what = f"no response {response_id[:80]!r} is in progress" if response_id else "no response is in progress"
            raise InvalidRequest(f"Cancellation failed: {what}", code="response_cancel_not_active")
        chosen.cancel(reason)

    def interrupt(self) -> bool:
        """Cancel the active response because the user speaks, and record how much of the latest can have been heard.

        Returns whether anything was interrupted.
        """
        was_active = self.active is not None
        if self.active is not None:
            self.active.cancel("turn_detected")
        elif self.latest is not None:
            # Audio is generated faster than it is played; queued audio will not be heard.
            self._writer.drop_audio(self.latest.id)
        return self.bound_heard() or was_active

    def bound_heard(self) -> bool:
        """Bound the heard part of the latest response by the time since its first audio was sent.

        Returns whether the response was longer.
        """
        response = self.latest
        if response is None or response.spoken is None:
            return False
        spoken, played = response.spoken.spoken, response.spoken.playout.played_secs
        sent = spoken.duration_secs if spoken.heard_secs is None else spoken.heard_secs
        if spoken.truncated or played >= sent:
            return False
        spoken.heard_secs = played
        if self._parts.log is not None:
            self._parts.log.interrupted()
        return True

    def _done(self, response: Response) -> None:
        self._has_spoken |= response.times.first_sound is not None
        self._beside.discard(response)
        if self.active is response:
            self.active = None
        if self._parts.log is not None and not response.config.out_of_band:
            self._parts.log.answered(response, self.playing_secs, was_cut=response.status == "cancelled")
        self._on_done(response)

    async def _voice(self, voice_id: str) -> VoiceProfile:
        return await self._parts.voice(voice_id)

    def _given(self, config: ResponseConfig) -> Sequence[Item] | None:
        """The items that the response is to be based on; None for the conversation."""
        if config.input is None:
            return None
        items: list[Item] = []
        for place, sent in enumerate(config.input):
            if not isinstance(sent, ItemReference):
                items.append(item_of(sent, {}, f"response.input[{place}]"))
            elif (found := self._conversation.find(sent.id)) is not None:
                items.append(found)
            else:
                param = f"response.input[{place}].id"
                raise InvalidRequest(f"{param}: there is no item {sent.id[:80]!r}", code="invalid_value", param=param)
        return items

    async def _prompt(self, config: ResponseConfig, given: Sequence[Item] | None, after_speech: bool) -> ChatRequest | None:
        """The prompt for the model, once all words of the user are known; None if the turn contained no words."""
        items = list(self._conversation) if given is None else list(given)
        for item in items:
            for part in item.content:
                if isinstance(part, HeardContent):
                    await part.recognised.wait()
                elif isinstance(part, SpokenContent) and part.settled is not None:
                    await part.settled.wait()
        if after_speech and not _says_something(items):
            return None
        context = await self._context_tokens()
        messages = self._window.messages(items, config.instructions, config.truncation, context, config.max_tokens)
        return ChatRequest(
            messages, tools_of(config.tools), choice_of(config.tool_choice), config.temperature, config.max_tokens
        )

    async def _prepared_prompt(self, config: ResponseConfig, words: Callable[[], Awaitable[str]]) -> ChatRequest | None:
        before = list(self._conversation)
        said = Item("", "message", role="user", content=[TextContent(await words())])
        return await self._prompt(config, [*before, said], after_speech=True)

    async def _context_tokens(self) -> int | None:
        """See `context_tokens`; it is asked once, as the answer waits for it."""
        if self._context_known is None:
            self._context_known = await context_tokens(self._parts.engines)
        return self._context_known

    async def close(self) -> None:
        """Cancel all, and wait until their engines have stopped."""
        self.resume()
        running = [*self._beside, *([self.active] if self.active else [])]
        for response in running:
            response.cancel("client_cancelled")
        for response in (*running, *self._dropped):
            await response.closed()


def _says_something(items: Sequence[Item]) -> bool:
    """Whether the latest message of the user contains words."""
    latest = next((item for item in reversed(items) if item.role == "user"), None)
    return latest is not None and bool(latest.text().strip())
