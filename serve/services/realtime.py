"""Opens realtime sessions, a bounded number per replica, with the engines and the voices of their accounts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from audio.vad import VoiceActivity
from lakehouse.history.history import History
from runtime.foretold_end import Work
from schemas.api.realtime.session_config import Audio, AudioOutput, Config, RealtimeConfig, TranscriptionConfig, merged
from schemas.domain import Seconds
from schemas.errors import Unavailable
from schemas.settings import Settings
from schemas.speech import VoiceProfile
from schemas.turn_taking import EndOfTurnDetector
from serve.account_slots import SESSION_SHARE, AccountSlots
from serve.engines.end_of_turn.smart_turn import build as build_end_of_turn
from serve.realtime.client_messages import invalid
from serve.realtime.connection import Ending, Receive, converse
from serve.realtime.conversation_engines import ConversationEngines, context_tokens
from serve.realtime.conversation_log import ConversationLog
from serve.realtime.event_writer import EventWriter, Send
from serve.realtime.items import new_id
from serve.realtime.session import Session
from serve.realtime.session_parts import FindVoice, SessionParts, check_voice
from serve.services.conversation_recorder import ConversationRecorder
from serve.services.earlier_turns import NOTHING, Earlier, earlier
from serve.services.metered_engines import MeteredEngines
from serve.services.speech import Speech
from serve.services.spoken_chars import SpokenChars
from serve.services.voice_names import VoiceNames

logger = logging.getLogger(__name__)

_WATCH_SECS: Final[Seconds] = 0.1
DEFAULT_MODEL: Final = "fluxions-realtime"
"""The model's name in sessions that name none; any name is accepted."""


class Realtime:
    """The sessions of one gateway replica. For its event loop only."""

    def __init__(
        self,
        settings: Settings,
        engines: ConversationEngines,
        speech: Speech,
        spoken: SpokenChars,
        voice_names: VoiceNames,
        recorder: ConversationRecorder,
        history: History,
    ) -> None:
        self._history = history
        self._build_end_of_turn = partial(build_end_of_turn, settings)
        self._usd_per_hour = settings.jobs.usd_per_audio_hour
        self._usd_per_char = settings.speech.usd_per_million_chars / 1e6
        self._settings = settings.realtime
        self._window_secs = settings.engines.utterance_max_secs
        self._engines = engines
        self._speech = speech
        self._spoken = spoken
        self._voice_names = voice_names
        self._recorder = recorder
        self._end_of_turn: EndOfTurnDetector | None = None
        self._activity: VoiceActivity | None = None
        self._loading = asyncio.Lock()
        self._slots = AccountSlots(settings.realtime.realtime_sessions, "sessions", SESSION_SHARE)
        self._open = 0
        self._leaving = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._work = Work(settings.home)
        self._watching: asyncio.Task[None] | None = None

    @property
    def open_sessions(self) -> int:
        """The number of open sessions."""
        return self._open

    async def config_of(self, session: Mapping[str, Any], account: str) -> Config:
        """The initial settings of a client secret's session. Raises InvalidRequest, naming the field."""
        kind = session.get("type", "realtime")
        model = session.get("model")
        try:
            base = self._config(model if isinstance(model, str) else None, kind if isinstance(kind, str) else None)
            config = merged(base, {"type": base.type, **session})
        except ValidationError as error:
            raise invalid(error.errors(), session, "session") from None
        if isinstance(config, RealtimeConfig):
            await check_voice(self._voices_of(account), config.audio.output.voice_id)
        return config

    def _voices_of(self, account: str) -> FindVoice:
        async def find(name: str) -> VoiceProfile:
            return await self._speech.voice(self._voice_names.voice(name), account)

        return find

    async def earlier(self, account: str, conversation_id: str | None) -> Earlier:
        """What a session knows that continues this conversation. Raises NotFound."""
        if not conversation_id:
            return NOTHING
        return await earlier(self._history, account, conversation_id, await context_tokens(self._engines))

    def config(self, model: str | None, intent: str | None) -> Config:
        """The initial settings of a session. Raises InvalidRequest, naming the parameter."""
        try:
            return self._config(model, intent)
        except ValidationError as error:
            raise invalid(error.errors(), {"model": model}) from None

    def _config(self, model: str | None, intent: str | None) -> Config:
        if intent == "transcription":
            return TranscriptionConfig()
        voice = self._speech.built_in[0].voice_id
        return RealtimeConfig(model=model or DEFAULT_MODEL, audio=Audio(output=AudioOutput(voice=voice)))

    @asynccontextmanager
    async def room(self, account: str) -> AsyncIterator[None]:
        """Reserve a place for a session. Raises Unavailable if all are taken, RateLimited if the account has its share."""
        if self._leaving.is_set():
            raise Unavailable("this server is going away; connect again", code="server_going_away", retry_after_secs=2)
        if self._open >= self._settings.realtime_sessions:
            raise Unavailable(
                f"{self._open} sessions are open here, and no more are taken; try again soon",
                code="too_many_sessions",
                retry_after_secs=5,
            )
        with self._slots.slot(account):
            self._entered()
            try:
                yield
            finally:
                self._left()

    def _entered(self) -> None:
        self._open += 1
        self._is_empty.clear()
        if self._watching is None:
            try:
                self._work.begin()
            except OSError as error:  # as on a full disk; the end of the process then closes the sockets
                logger.warning("sessions will not be told of the server's end: %s", error.strerror)
            self._watching = asyncio.create_task(self._watch(), name="the end of the server")

    def _left(self) -> None:
        self._open -= 1
        if not self._open:
            self._is_empty.set()
            self._work.end()
            if self._watching is not None:
                self._watching.cancel()
                self._watching = None

    async def _watch(self) -> None:
        """Announce the server's end once its supervisor has foretold it."""
        while not self._work.is_foretold:  # noqa: ASYNC110 - another process foretells it
            await asyncio.sleep(_WATCH_SECS)
        self._leaving.set()

    async def run(
        self,
        account: str,
        config: Config,
        send: Send,
        receive: Receive,
        *,
        earlier: Earlier = NOTHING,
        beta: bool = False,
        store_audio: bool = True,
        eager: bool | None = None,
    ) -> Ending:
        """Run one session until it ends. It continues what is ``earlier``; ``beta`` selects the beta protocol. Without
        ``store_audio`` only its text is kept. ``eager``: instead of FLUXIONS_REALTIME_EAGER."""
        writer, session_id = EventWriter(send), new_id("sess")
        activity = await self._voice_activity()
        parts = SessionParts(
            engines=MeteredEngines(self._engines, self._spoken, account),
            activity=activity,
            end_of_turn=self._end_of_turn,
            voice=self._voices_of(account),
            paces=self._speech.paces,
            settings=self._settings if eager is None else self._settings.model_copy(update={"realtime_eager": eager}),
            window_secs=self._window_secs,
            clock=time.monotonic,
            log=await self._log(account, session_id, config, store_audio, earlier.conversation_id),
        )
        session = Session(parts, writer, config, session_id)
        for item in earlier.items:
            session.conversation.add(item)
        if beta:
            session.speak_beta()
        longest_secs = self._settings.realtime_session_secs
        return await converse(session, writer, receive, longest_secs=longest_secs, leaving=self._leaving)

    async def _log(
        self, account: str, session_id: str, config: Config, store_audio: bool, continues: str | None
    ) -> ConversationLog | None:
        """The record of the session; None for transcription sessions, or if the ledger is unavailable."""
        if not isinstance(config, RealtimeConfig):
            return None
        try:
            voice = await self._voices_of(account)(config.audio.output.voice_id)
            stores = store_audio and self._settings.realtime_store_audio
            record = await self._recorder.begin(
                account, session_id, voice.voice_id, store_audio=stores, continues=continues
            )
        except Unavailable:
            logger.warning("session %s is not in the history: the ledger is away", session_id)
            return None
        return ConversationLog(record, time.monotonic, self._usd_per_hour, self._usd_per_char)

    async def _voice_activity(self) -> VoiceActivity:
        """The voice activity detector.

        It is loaded at the first use, together with the end-of-turn detector, and shared by all sessions.
        """
        async with self._loading:
            if self._activity is None:
                self._activity = await asyncio.to_thread(VoiceActivity)
                try:
                    self._end_of_turn = await asyncio.to_thread(self._build_end_of_turn)
                except Unavailable as error:
                    logger.warning("semantic_vad is not available: %s", error.message)
        return self._activity

    async def drain(self, timeout_secs: Seconds) -> None:
        """Announce the shutdown to all sessions, and wait at most ``timeout_secs`` until they have ended."""
        self._leaving.set()
        try:
            async with asyncio.timeout(timeout_secs):
                await self._is_empty.wait()
        except TimeoutError:
            pass  # the end of the process closes their sockets
