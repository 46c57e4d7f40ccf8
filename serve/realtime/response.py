"""One response: the output of a language model, as text or synthesised while it is generated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.api.realtime.server_events import rate_limits_updated, response_body, response_event, usage_body
from schemas.domain import Seconds
from schemas.errors import EngineFailure, FluxionsError, Unavailable
from schemas.language_model import ChatDelta, ChatRequest, ChatUsage, FinishReason, ToolCallFragment
from schemas.speech import RenderRequest, VoiceProfile
from serve.realtime.conversation_engines import ConversationEngines
from serve.realtime.event_writer import EventWriter
from serve.realtime.failures import log_unexpected
from serve.realtime.items import Item, Status, new_id
from serve.realtime.output_items import Call, SpokenMessage, WrittenMessage
from serve.realtime.paced_render import Paces, at_tempo
from serve.realtime.playout import Playout
from serve.realtime.prompt import estimated_tokens
from serve.realtime.response_config import ResponseConfig
from serve.realtime.sound_places import SoundPlaces
from serve.realtime.stage import Stage

logger = logging.getLogger(__name__)

CancelReason = Literal["turn_detected", "client_cancelled"]
_INCOMPLETE: Final[dict[FinishReason, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class ResponseTimes:
    """Times of a response by the session's clock, s; None for events that did not occur."""

    began: Seconds
    speech_ended: Seconds | None = None
    """End of speech of the turn that the response answers."""
    turn_ended: Seconds | None = None
    first_token: Seconds | None = None
    first_made: Seconds | None = None
    first_sound: Seconds | None = None
    """When the first audio was sent, which may be later than its synthesis."""
    ended: Seconds | None = None


class Response:
    """Runs as a task. `cancel` ends it at once: its last events are sent before `cancel` returns."""

    def __init__(
        self,
        *,
        config: ResponseConfig,
        stage: Stage,
        writer: EventWriter,
        engines: ConversationEngines,
        prompt: Callable[[], Awaitable[ChatRequest | None]],
        voice: Callable[[], Awaitable[VoiceProfile]],
        paces: Paces,
        conversation_id: str | None,
        clock: Callable[[], Seconds],
        stall_secs: Seconds,
        playout: Callable[[], Playout],
        on_sound: Callable[[Response, bytes], None],
        on_done: Callable[[Response], None],
    ) -> None:
        self.id = new_id("resp")
        self.config = config
        self.stage = stage
        self.times = ResponseTimes(clock())
        self.spoken: SpokenMessage | None = None
        self.places = SoundPlaces()
        """Where its sound lies in the recording of the conversation."""
        self.status = "in_progress"
        self._writer = writer
        self._engines = engines
        self._prompt = prompt
        self._voice = voice
        self._paces = paces
        self._conversation_id = conversation_id
        self._clock = clock
        self._stall_secs = stall_secs
        self._playout = playout
        self._on_sound = on_sound
        self._on_done = on_done
        self._message: WrittenMessage | SpokenMessage | None = None
        self._calls: dict[int, Call] = {}
        self._outputs: list[WrittenMessage | SpokenMessage | Call] = []
        self._profile: VoiceProfile | None = None
        self._finish: FinishReason = "stop"
        self._usage: ChatUsage | None = None
        self._input_tokens = 0
        self._deltas = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether `response.done` was sent."""
        return self.status != "in_progress"

    @property
    def message(self) -> Item | None:
        """The spoken or written message; None for a response that only calls functions."""
        return self._message.item if self._message is not None else None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The functions it called."""
        return tuple(self._calls.values())

    @property
    def is_stopped(self) -> bool:
        """Whether its engines were stopped."""
        return self._task is None or self._task.done()

    def start(self) -> None:
        """Announce and start it."""
        self.stage.emit(response_event("response.created", self._body(None, None)))
        self._task = asyncio.create_task(self._run(), name=self.id)

    def cancel(self, reason: CancelReason) -> None:
        """End it as cancelled: close open items, drop queued audio, and stop the engines."""
        if self.is_over:
            return
        self._writer.drop_audio(self.id)
        self._end("cancelled", {"type": "cancelled", "reason": reason}, "incomplete")
        self._stop()

    def drop(self) -> None:
        """Discard a held response without any event."""
        self.stage.drop()
        self.status = "cancelled"
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def closed(self) -> None:
        """Wait until its engines were stopped."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._answer()
        except ExceptionGroup as group:
            self._fail(_first_of(group))
        except Exception as error:
            self._fail(error)

    async def _answer(self) -> None:
        request = await self._prompt()
        if request is None:
            self._end("completed", None, "completed")
            return
        self._input_tokens = sum(estimated_tokens(message) for message in request.messages)
        if self.config.modality == "audio":
            self._profile = await self._voice()
        async with asyncio.TaskGroup() as group:
            await self._read(request, group)
        self._complete()

    async def _read(self, request: ChatRequest, group: asyncio.TaskGroup) -> None:
        async with aclosing(self._engines.chat(request)) as deltas:
            while True:
                try:
                    async with asyncio.timeout(self._stall_secs):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    raise Unavailable(
                        f"the language model said nothing for {self._stall_secs:g} s", code="model_stalled"
                    ) from None
                self._take(delta, group)
        if self._message is not None:
            self._message.finish()

    def _take(self, delta: ChatDelta, group: asyncio.TaskGroup) -> None:
        self._finish = delta.finish or self._finish
        self._usage = delta.usage or self._usage
        if not delta.text and delta.call is None:
            return
        self._deltas += 1
        if self.times.first_token is None:
            self.times.first_token = self._clock()
        if delta.text:
            self._take_text(delta.text, group)
        if delta.call is not None:
            self._take_call(delta.call)

    def _take_text(self, text: str, group: asyncio.TaskGroup) -> None:
        if self._message is None:
            text = text.lstrip()
            if not text:
                return
            self._message = self._open_message()
            self._outputs.append(self._message)
            group.create_task(self._message.speak())
        self._message.write(text)

    def _open_message(self) -> WrittenMessage | SpokenMessage:
        index = len(self._outputs)
        if self._profile is None:
            return WrittenMessage(self.stage, self.id, index)
        profile = self._profile

        def render(text: str, ahead_secs: Seconds | None) -> Any:
            speed, tempo = self._paces(self.config.speed)
            request = RenderRequest(profile, text, verify=False, streamed=True, speed=speed, ahead_secs=ahead_secs)
            return at_tempo(self._engines.render(request), tempo)

        self.spoken = SpokenMessage(
            self.stage,
            self.id,
            index,
            render=render,
            language=profile.language,
            form=self.config.format.type,
            playout=self._playout(),
            on_made=self._made,
            on_sound=self._sent,
        )
        return self.spoken

    def _made(self) -> None:
        if self.times.first_made is None:
            self.times.first_made = self._clock()

    def _sent(self, pcm: bytes) -> None:
        if self.times.first_sound is None:
            self.times.first_sound = self._clock()
        self._on_sound(self, pcm)

    def _take_call(self, fragment: ToolCallFragment) -> None:
        call = self._calls.get(fragment.index)
        if call is None:
            name = fragment.name or ""
            call = Call(self.stage, self.id, len(self._outputs), name, fragment.call_id)
            self._calls[fragment.index] = call
            self._outputs.append(call)
            if self._message is not None:
                self._message.pause()
            if self.spoken is not None:
                # The client executes the call when the response is done, and should not wait for the playback.
                self.spoken.playout.hurry()
        call.write(fragment.arguments)

    def _complete(self) -> None:
        broken = [call for call in self._calls.values() if call.item.arguments.strip() and not call.is_readable]
        if reason := _INCOMPLETE.get(self._finish):
            self._end("incomplete", {"type": "incomplete", "reason": reason}, "incomplete")
        elif broken:
            self._fail(EngineFailure("the model called a function with arguments that are not JSON", code="broken_call"))
        else:
            self._end("completed", None, "completed")

    def _fail(self, error: BaseException) -> None:
        if self.is_over:
            return
        known = error if isinstance(error, FluxionsError) else FluxionsError("something broke on our side; try again")
        if known is error:
            logger.warning("response %s failed: %s", self.id, known.code)
        else:
            log_unexpected(logger, self.id, error)
        said = {"type": known.type, "code": known.code, "message": known.message}
        self._end("failed", {"type": "failed", "error": said}, "incomplete")

    def _end(self, status: str, details: dict[str, Any] | None, items: Status) -> None:
        """Close all items and send `response.done`, once."""
        if self.is_over:
            return
        for output in self._outputs:
            output.close(items)
        usage = self._usage or ChatUsage(self._input_tokens if self._deltas else 0, 0, self._deltas)
        self.status = status
        self.times.ended = self._clock()
        body = self._body(details, usage_body(usage.input_tokens, usage.cached_tokens, usage.output_tokens))
        self.stage.emit(response_event("response.done", body))
        self.stage.emit(rate_limits_updated())
        self.stage.do(lambda: self._on_done(self))

    def _body(self, details: dict[str, Any] | None, usage: dict[str, Any] | None) -> dict[str, Any]:
        return response_body(
            response_id=self.id,
            status=self.status,
            details=details,
            output=[output.item.body() for output in self._outputs],
            conversation_id=self._conversation_id,
            modality=self.config.modality,
            max_output_tokens=self.config.max_output_tokens,
            audio=self.config.audio_body(),
            metadata=self.config.metadata,
            usage=usage,
        )


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group. Errors of `schemas.errors` have precedence over others."""
    leaves = [_first_of(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, FluxionsError)), leaves[0])
