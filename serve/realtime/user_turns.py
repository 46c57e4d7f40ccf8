"""User turns: they become items with transcripts, interrupt responses, and request responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.api.realtime import server_events as events
from schemas.api.realtime.client_events import ClientItem, ResponseParams
from schemas.api.realtime.session_config import Config, RealtimeConfig, ServerVad, TurnDetection
from schemas.domain import Seconds
from schemas.errors import FluxionsError
from schemas.settings import RealtimeSettings
from serve.realtime.backchannels import is_backchannel
from serve.realtime.conversation import Conversation
from serve.realtime.conversation_log import NOWHERE, ConversationLog, Place
from serve.realtime.event_writer import EventWriter
from serve.realtime.hearing import HeardTurn, transcript_of
from serve.realtime.item_sound import heard_sound
from serve.realtime.items import HeardContent, Item, TextContent, item_of, new_id
from serve.realtime.recognition import Recognition
from serve.realtime.responding import Responding
from serve.realtime.response import Response
from serve.realtime.turn_transcript import TurnTranscript

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Speech:
    """Speech that was not announced to the client yet."""

    item_id: str
    audio_start_ms: int


class UserTurns:
    """A `serve.realtime.hearing.Listener`. For its session's event loop only."""

    def __init__(
        self,
        settings: RealtimeSettings,
        log: ConversationLog | None,
        writer: EventWriter,
        conversation: Conversation,
        responding: Responding,
        recognition: Recognition,
        config: Callable[[], Config],
    ) -> None:
        self._settings = settings
        self._log = log
        self._writer = writer
        self._conversation = conversation
        self._responding = responding
        self._recognition = recognition
        self._config = config
        self._unsure: _Speech | None = None
        """Speech during a response that may be a backchannel; the response's audio is paused."""
        self._judging = 0
        self._may_begin = False
        """Whether speech may have begun in the last frame; the response's audio is paused until the detector decides."""
        self._prepared: Response | None = None
        """A response prepared for a turn that may have ended."""
        self._turn_waits = False
        """Whether a turn ended during a response that it may not interrupt."""
        self._position_ms = 0
        self._quiet_since_ms: int | None = None
        """Time since which the response has been played and nobody has spoken."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _detection(self) -> TurnDetection | None:
        return self._config().input.turn_detection

    def on_frame(self, position_ms: int, spoken_secs: Seconds, may_begin: bool) -> None:
        """See `Listener.on_frame`."""
        self._position_ms = position_ms
        self._may_begin = may_begin
        if may_begin and self._interrupts():
            self._responding.pause()
        else:
            self._resume_sound()
        if self._unsure is not None and spoken_secs >= self._settings.realtime_interrupt_secs:
            speech, self._unsure = self._unsure, None
            self._begin(speech)
            self._resume_sound()
        turns = self._detection
        if self._quiet_since_ms is None or not isinstance(turns, ServerVad) or turns.idle_timeout_ms is None:
            return
        if position_ms - self._quiet_since_ms >= turns.idle_timeout_ms:
            self._break_silence(self._quiet_since_ms)

    def on_speech_started(self, item_id: str, audio_start_ms: int) -> None:
        """See `Listener.on_speech_started`."""
        self._quiet_since_ms = None
        speech = _Speech(item_id, audio_start_ms)
        if self._interrupts() and self._settings.realtime_interrupt_secs and self._responding.is_talking:
            self._unsure = speech
            self._responding.pause()
        else:
            self._begin(speech)

    def _begin(self, speech: _Speech) -> None:
        self._writer.send(events.speech_started(speech.item_id, speech.audio_start_ms))
        if self._interrupts():
            self._responding.interrupt()

    def _interrupts(self) -> bool:
        turns = self._detection
        return turns is not None and turns.interrupt_response

    def _resume_sound(self) -> None:
        if self._unsure is None and not self._judging and not self._may_begin:
            self._responding.resume()

    def on_settled(self, transcript: TurnTranscript) -> None:
        """See `Listener.on_settled`."""
        config, turns = self._config(), self._detection
        answers = isinstance(config, RealtimeConfig) and turns is not None and turns.create_response
        busy = self._responding.active is not None or self._unsure is not None
        if answers and not busy and self._settings.realtime_eager and isinstance(config, RealtimeConfig):
            self.forget_prepared()
            self._prepared = self._responding.prepare(config, transcript.guess)

    def on_resumed(self) -> None:
        """See `Listener.on_resumed`."""
        self.forget_prepared()

    def forget_prepared(self) -> None:
        """Drop the prepared response, which no longer fits the conversation."""
        if self._prepared is not None:
            self._responding.drop(self._prepared)
        self._prepared = None

    def on_dropped(self) -> None:
        """See `Listener.on_dropped`."""
        self.forget_prepared()
        self._unsure, self._may_begin = None, False
        self._resume_sound()

    def on_speech_stopped(self, item_id: str, audio_end_ms: int, turn: HeardTurn) -> None:
        """See `Listener.on_speech_stopped`."""
        if self._unsure is not None:
            speech, self._unsure = self._unsure, None
            self._judging += 1
            self._run(self._judge(speech, audio_end_ms, turn))
            return
        self._end(audio_end_ms, turn, transcript_of(turn))

    async def _judge(self, speech: _Speech, audio_end_ms: int, turn: HeardTurn) -> None:
        """Decide on short speech during a response: a backchannel is dropped and the response resumes."""
        try:
            words = await transcript_of(turn)
        except FluxionsError as error:
            logger.warning("speech during an answer could not be recognised: %s", type(error).__name__)
            words = ""
        finally:
            self._judging -= 1
        if words and not is_backchannel(words):
            self._begin(speech)
            self._end(audio_end_ms, turn, _known(words))
        self._resume_sound()

    def _end(self, audio_end_ms: int, turn: HeardTurn, words: Awaitable[str]) -> None:
        prepared, self._prepared = self._prepared, None
        fits = prepared is not None and turn.transcript.is_settled and self._responding.active is None
        if self._log is not None:
            self._log.turn_ended(audio_end_ms / 1000 - turn.speech_ended_secs)
        self._writer.send(events.speech_stopped(turn.item_id, audio_end_ms, round(1000 * turn.speech_ended_secs)))
        self._commit(turn, words)
        if prepared is not None and fits:
            self._responding.adopt(prepared)
            return
        if prepared is not None:
            self._responding.drop(prepared)
        turns = self._detection
        if turns is not None and turns.create_response:
            self._answer_turn()

    def commit(self, turn: HeardTurn) -> None:
        """Make an item from a turn that the client commits. Raises InvalidRequest where the conversation is full."""
        self.on_dropped()
        if self._log is not None:
            self._log.turn_ended(0.0)
        self._commit(turn, transcript_of(turn))

    def _commit(self, turn: HeardTurn, words: Awaitable[str]) -> None:
        place = self._log.place_of(turn) if self._log is not None else NOWHERE
        content = HeardContent(turn.pcm + turn.rest, turn.duration_secs, show_transcript=self._shows_transcripts())
        item = Item(turn.item_id, "message", role="user", content=[content])
        self._writer.send(events.committed(item.id, self._conversation.last_id))
        self._add(item, None)
        self._run(self._transcribe(item.id, content, words, place))

    def create_item(self, sent: ClientItem, after: str | None) -> None:
        """Add a client's item. Raises InvalidRequest, naming the field."""
        sound = heard_sound(sent, self._config().input.format.type)
        self._add(item := item_of(sent, sound, "item"), after)
        for content in sound.values():
            content.show_transcript = self._shows_transcripts()
            self._run(self._transcribe(item.id, content, self._recognition.of_sound(content.pcm)))
        if self._log is None:
            return
        if item.type == "function_call_output":
            self._log.tool_returned(item.call_id, item.output)
        elif item.role == "user" and not sound:
            self._log.user_said(item.text())

    def _shows_transcripts(self) -> bool:
        return self._config().input.transcription is not None

    def _add(self, item: Item, after: str | None) -> None:
        previous = self._conversation.add(item, after)
        body = item.body()
        self._writer.send(events.item_event("conversation.item.added", body, previous))
        self._writer.send(events.item_event("conversation.item.done", body, previous))

    def _answer_turn(self, *, after_speech: bool = True) -> None:
        config = self._config()
        if not isinstance(config, RealtimeConfig):
            return
        if self._responding.active is not None:
            self._turn_waits = True
            return
        self._responding.create(config, ResponseParams(), after_speech=after_speech)

    def on_response_done(self) -> None:
        """After a response: respond to a turn that waited for its end, or wait for the user."""
        if self._responding.active is not None:
            return
        if self._turn_waits:
            self._turn_waits = False
            self._answer_turn()
        else:
            self._quiet_since_ms = self._position_ms + round(1000 * self._responding.playing_secs)

    def _break_silence(self, since_ms: int) -> None:
        """After the idle timeout: create a response, as if the silence were a turn."""
        self._quiet_since_ms = None
        if self._responding.active is not None:
            return
        item_id = new_id("item")
        self._writer.send(events.timeout_triggered(item_id, since_ms, self._position_ms))
        silent_secs = (self._position_ms - since_ms) / 1000
        notice = TextContent(f"The user has said nothing for {silent_secs:.0f} seconds.")
        self._add(Item(new_id("item"), "message", role="system", content=[notice]), None)
        content = HeardContent(b"", silent_secs, show_transcript=self._shows_transcripts())
        self._writer.send(events.committed(item_id, self._conversation.last_id))
        self._add(Item(item_id, "message", role="user", content=[content]), None)
        self._run(self._transcribe(item_id, content, _known("")))
        self._answer_turn(after_speech=False)

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _transcribe(self, item_id: str, content: HeardContent, words: Awaitable[str], place: Place = NOWHERE) -> None:
        try:
            content.transcript = await words
            if self._log is not None:
                self._log.user_said(content.transcript, place)
        except Exception as error:
            known = error if isinstance(error, FluxionsError) else FluxionsError("the recogniser failed; say it again")
            logger.warning("a turn could not be recognised: %s", type(error).__name__)
            if content.show_transcript:
                self._writer.send(events.transcription_failed(item_id, known.code, known.message))
        else:
            if content.show_transcript:
                if content.transcript:
                    self._writer.send(events.transcription_delta(item_id, content.transcript))
                self._writer.send(events.transcription_completed(item_id, content.transcript, content.duration_secs))
        finally:
            content.recognised.set()

    async def close(self) -> None:
        """Cancel pending transcripts."""
        self.forget_prepared()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _known(words: str) -> str:
    return words
