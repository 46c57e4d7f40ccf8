"""The speech engines as Ray Serve deployments: calls through their handles, with our own errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

from ray.serve.handle import DeploymentHandle

from schemas.domain import (
    AS_SPOKEN,
    Lane,
    Recognition,
    RecognizeOptions,
    Seconds,
    Slot,
    SoundEvent,
    Span,
    SpeakerHint,
    Turn,
    Word,
)
from schemas.engines import EngineInfo, VoiceWindows
from schemas.errors import FluxionsError, Unavailable
from schemas.language_model import ChatDelta, ChatRequest
from schemas.settings import Settings
from schemas.speech import RenderedChunk, RenderRequest, VoiceProfile
from schemas.speech_engines import SlotStatus, Timed
from serve.engines.idle_slots import IdleSlots
from serve.engines.language_models.deployment import chat
from serve.engines.placement import archive_places
from serve.engines.registry import SLOTS, describe_slot
from serve.engines.status import probe_slots
from serve.engines.tts.deployment import stream


class RayEngines:
    """The engines behind Ray Serve handles: a `schemas.speech_engines.Engines`.

    Requests of archives wait here once they fill half of the places in a slot's replicas, so an interactive request
    always finds a place. In the replica, the interactive request is served before waiting archive requests.
    """

    def __init__(
        self,
        settings: Settings,
        recognizer: DeploymentHandle[Any],
        diarizer: DeploymentHandle[Any],
        events: DeploymentHandle[Any],
        synthesizer: DeploymentHandle[Any],
        language_model: DeploymentHandle[Any],
    ) -> None:
        self._settings = settings
        self._recognizer = recognizer
        self._diarizer = diarizer
        self._events = events
        self._synthesizer = synthesizer
        self._language_model = language_model
        self._handles: dict[Slot, DeploymentHandle[Any]] = {
            "recognizer": recognizer,
            "diarizer": diarizer,
            "event_detector": events,
            "synthesizer": synthesizer,
            "language_model": language_model,
        }
        self._idle = IdleSlots(settings, self._handles)
        self._archive: dict[Slot, asyncio.Semaphore] = {
            slot: asyncio.Semaphore(archive_places(settings, slot)) for slot in ("recognizer", "diarizer", "event_detector")
        }

    async def recognizer(self) -> EngineInfo:
        """See `Engines.recognizer`."""
        return await _info(self._recognizer)

    async def check_options(self, options: RecognizeOptions) -> None:
        """See `Engines.check_options`."""
        await _result(self._recognizer.check_options.remote(options))

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        """See `Engines.recognize`."""
        async with self._place("recognizer", lane):
            response = self._recognizer.recognize.remote(pcm, lane, options)
            return await _result(response)  # type: ignore[no-any-return]

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "interactive"
    ) -> Timed[VoiceWindows]:
        """See `Engines.observe`."""
        async with self._place("diarizer", lane):
            response = self._diarizer.observe.remote(pcm, list(speech), offset_secs, lane)
            return await _result(response)  # type: ignore[no-any-return]

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint
    ) -> Timed[list[Turn]]:
        """See `Engines.resolve`."""
        response = self._diarizer.resolve.remote(list(windows), list(speech), hint)
        return await _result(response)  # type: ignore[no-any-return]

    async def event_detector(self) -> EngineInfo:
        """See `Engines.event_detector`."""
        return await _info(self._events)

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> Timed[list[SoundEvent]]:
        """See `Engines.observe_events`."""
        async with self._place("event_detector", lane):
            return await _result(self._events.observe.remote(pcm, offset_secs, lane))  # type: ignore[no-any-return]

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> Timed[list[SoundEvent]]:
        """See `Engines.detect_events`."""
        response = self._events.detect.remote(list(speech), list(words), duration_secs, list(heard))
        return await _result(response)  # type: ignore[no-any-return]

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        """See `Engines.render`."""
        with unwrapped_errors():
            chunks = cast("AsyncGenerator[RenderedChunk, None]", stream(self._synthesizer.options(stream=True), request))
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None, str]:
        """See `Engines.match_voice`."""
        profile, similarity = await _result(self._synthesizer.match.remote(pcm, voice_id))
        info: EngineInfo = await _result(self._synthesizer.info.remote())
        return profile, similarity, info.revision

    async def language_model(self) -> EngineInfo:
        """See `Engines.language_model`."""
        return await _info(self._language_model)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """See `Engines.chat`."""
        with unwrapped_errors():
            async with aclosing(chat(self._language_model.options(stream=True), request)) as deltas:
                async for delta in deltas:
                    yield delta

    async def slots(self) -> list[SlotStatus]:
        """See `Engines.slots`."""
        idle = await self._idle.found()
        ask = {slot: partial(self._described if slot in idle else self._info_of, slot) for slot in SLOTS}
        return await probe_slots(self._settings, ask)

    async def _info_of(self, slot: Slot) -> EngineInfo:
        return await _info(self._handles[slot])

    async def _described(self, slot: Slot) -> EngineInfo:
        return await asyncio.to_thread(describe_slot, self._settings, slot)

    def _place(self, slot: Slot, lane: Lane) -> AbstractAsyncContextManager[Any]:
        return self._archive[slot] if lane == "archive" else nullcontext()


async def _info(handle: DeploymentHandle[Any]) -> EngineInfo:
    return await _result(handle.info.remote())  # type: ignore[no-any-return]


async def _result(response: Any) -> Any:
    """Await a handle's response; if the call is cancelled, the request in the replica is cancelled too.

    Raises as `unwrapped_errors` does.
    """
    with unwrapped_errors():
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise


@contextmanager
def unwrapped_errors() -> Iterator[None]:
    """Raises the replica's error as our own error type, and Unavailable for a replica that died."""
    from ray.exceptions import RayActorError, RayTaskError

    try:
        yield
    except RayTaskError as error:  # Ray's class for it is also a subclass of the cause's, but has another constructor
        if isinstance(error.cause, FluxionsError):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise Unavailable("an engine's process died and is restarting; try again", retry_after_secs=2) from error
