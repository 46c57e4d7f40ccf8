"""The session of one socket: handles the client's events in order, and connects audio input to responses."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, assert_never

from pydantic import ValidationError

from schemas.api.realtime import server_events as events
from schemas.api.realtime.client_events import (
    AppendAudio,
    CancelResponse,
    ClearAudio,
    ClientEvent,
    CommitAudio,
    CreateItem,
    CreateResponse,
    DeleteItem,
    ResponseParams,
    RetrieveItem,
    TruncateItem,
    UpdateSession,
)
from schemas.api.realtime.session_config import Config, RealtimeConfig, merged
from schemas.errors import FluxionsError, InvalidRequest
from serve.realtime.beta_dialect import from_ga, is_beta_session, to_ga
from serve.realtime.client_messages import client_event, decoded, event_id_of, invalid
from serve.realtime.conversation import Conversation
from serve.realtime.event_writer import EventWriter
from serve.realtime.failures import log_unexpected
from serve.realtime.heard_words import HeardWords
from serve.realtime.hearing import Hearing
from serve.realtime.input_audio import decoded_sound
from serve.realtime.item_sound import retrieved
from serve.realtime.items import new_id
from serve.realtime.recognition import Recognition
from serve.realtime.responding import Responding
from serve.realtime.session_parts import SessionParts, check_voice
from serve.realtime.turn_detectors import check_detection, detector_of
from serve.realtime.user_turns import UserTurns

logger = logging.getLogger(__name__)


class Session:
    """For one event loop only. `take` is called with one message after the other, and `close` at the end."""

    def __init__(self, parts: SessionParts, writer: EventWriter, config: Config, session_id: str | None = None) -> None:
        self.id = session_id or new_id("sess")
        self.expires_at = int(time.time() + parts.settings.realtime_session_secs)
        self.conversation = Conversation()
        self.config = config
        self._is_beta = False
        self._parts = parts
        self._writer = writer
        self._recognition = Recognition(parts.engines, parts.activity, parts.window_secs)
        self._recognition.configure(config.input.transcription)
        self._heard_words = HeardWords(self._recognition.words)
        self._responding = Responding(parts, writer, self.conversation, lambda _: self._turns.on_response_done())
        self._turns = UserTurns(
            parts.settings, parts.log, writer, self.conversation, self._responding, self._recognition, lambda: self.config
        )
        self._hearing = Hearing(
            parts.activity,
            config.input,
            listener=self._turns,
            detector=partial(detector_of, parts.end_of_turn, self._recognition.ends_sentence),
            recognize=self._recognition.text,
            window_secs=parts.window_secs,
            max_turn_secs=parts.settings.realtime_turn_secs,
        )

    def speak_beta(self) -> None:
        """Switch to the beta protocol."""
        self._is_beta = True
        self._writer.translate = from_ga

    def open(self) -> None:
        """Send `session.created`."""
        self._writer.send(events.session_event("session.created", self._body()))

    def _body(self) -> dict[str, Any]:
        return self.config.body(self.id, self.expires_at)

    async def take(self, message: str | bytes) -> None:
        """Handle one message of the client. Errors in it are sent to the client; the session continues."""
        event_id: str | None = None
        try:
            body = decoded(message)
            event_id = event_id_of(body)
            if self._is_beta or is_beta_session(body):
                self.speak_beta()
                body = to_ga(body)
            await self._do(client_event(body))
        except FluxionsError as error:
            self._refuse(error, event_id)
        except Exception as error:
            log_unexpected(logger, self.id, error)
            self._refuse(FluxionsError("something broke on our side; try again"), event_id)

    def _refuse(self, error: FluxionsError, event_id: str | None) -> None:
        kind = error.type if error.type == "server_error" else "invalid_request_error"
        self._writer.send(
            events.error_event(kind=kind, code=error.code, message=error.message, param=error.param, event_id=event_id)
        )

    async def _do(self, event: ClientEvent) -> None:
        if not isinstance(event, AppendAudio):
            self._turns.forget_prepared()
        match event:
            case AppendAudio():
                await self._append(decoded_sound(event.audio, "audio"))
            case CommitAudio():
                self._turns.commit(self._hearing.commit())
            case ClearAudio():
                self._hearing.clear()
                self._writer.send(events.cleared())
            case UpdateSession():
                await self._update(event.session)
            case CreateItem():
                self._turns.create_item(event.item, event.previous_item_id)
            case RetrieveItem():
                item = self.conversation.retrieve(event.item_id)
                self._writer.send(events.item_retrieved(retrieved(item, self.config)))
            case TruncateItem():
                spoken = self.conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
                self._heard_words.find(spoken)
                self._writer.send(events.item_truncated(event.item_id, event.content_index, event.audio_end_ms))
            case DeleteItem():
                self.conversation.delete(event.item_id)
                self._writer.send(events.item_deleted(event.item_id))
            case CreateResponse():
                self._respond(event.response)
            case CancelResponse():
                self._responding.cancel(event.response_id, "client_cancelled")
                self._responding.bound_heard()
            case _:
                assert_never(event)

    async def _append(self, sound: bytes) -> None:
        if self._parts.log is not None:
            self._parts.log.user_sound(sound, self.config.input.format.type)
        await self._hearing.append(sound)

    async def _update(self, changes: Mapping[str, Any]) -> None:
        if "type" not in changes:
            raise InvalidRequest(
                "session.type: a session needs one, `realtime` or `transcription`",
                code="missing_required_parameter",
                param="session.type",
            )
        try:
            config = merged(self.config, changes)
        except ValidationError as error:
            raise invalid(error.errors(), changes, "session") from None
        await self._check(config)
        self.config = config
        self._recognition.configure(config.input.transcription)
        self._hearing.update(config.input)
        self._writer.send(events.session_event("session.updated", self._body()))

    async def _check(self, config: Config) -> None:
        """Raises InvalidRequest for settings that engines do not support, and for settings that can no longer change."""
        if config.type != self.config.type and (len(self.conversation) or self._responding.latest):
            raise InvalidRequest("session.type: cannot be changed any more", code="invalid_value", param="session.type")
        check_detection(self._parts.end_of_turn, config.input)
        if config.input.transcription != self.config.input.transcription:
            await self._recognition.check(config.input.transcription)
        if not isinstance(config, RealtimeConfig):
            return
        before = self.config.audio.output.voice_id if isinstance(self.config, RealtimeConfig) else None
        voice_id = config.audio.output.voice_id
        if voice_id == before:
            return
        if self._responding.has_spoken:
            raise InvalidRequest(
                "session.audio.output.voice: cannot be changed once the assistant has spoken",
                code="cannot_update_voice",
                param="session.audio.output.voice",
            )
        await check_voice(self._parts.voice, voice_id)

    def _respond(self, asked: ResponseParams) -> None:
        if not isinstance(self.config, RealtimeConfig):
            raise InvalidRequest(
                "a transcription session creates no responses; open a session of type `realtime`",
                code="invalid_event",
                param="type",
            )
        self._responding.create(self.config, asked)

    async def close(self) -> None:
        """Stop all engines that work for the session."""
        self._hearing.close()
        await self._heard_words.close()
        await self._turns.close()
        await self._responding.close()
        if self._parts.log is not None:
            await self._parts.log.end()
