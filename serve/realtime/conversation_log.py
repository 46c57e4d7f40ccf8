"""Writes a session into its account's history: finished turns, tool calls, and the audio of both sides.

A response is finished when, by the clock, it has been played, or when it was interrupted. Only then is it known how much
of the response was heard.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Final, Protocol, TypeAlias

import orjson

from audio.pcm import to_int16
from audio.resample import Resampler
from audio.wire_formats import WireFormat, bytes_per_sample, decode, rate_of
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.records import ConversationTurn, ToolCall, TurnLatencies
from serve.realtime.hearing import HeardTurn
from serve.realtime.items import Item, SpokenContent
from serve.realtime.response import Response
from serve.realtime.sound_places import SoundPlaces
from telemetry.metrics import AUDIO, TURN_LATENCY

_CUT_SECS: Final[Seconds] = 1.0
"""How long a client may take to truncate an interrupted response."""
_WORDS_SECS: Final[Seconds] = 5.0
"""How long the search for the last heard word may take after that."""
_DRIFT_SECS: Final[Seconds] = 0.5
"""Pause of the client's stream after which further audio is placed by the clock."""


Place: TypeAlias = tuple[Seconds | None, Seconds | None]
"""Start and end in the recording, s."""
NOWHERE: Final[Place] = (None, None)
"""The place of what is not in the recording."""


class RecordedConversation(Protocol):
    """See `serve.services.conversation_recorder.RecordedConversation`."""

    def turn(self, turn: ConversationTurn) -> None:
        """Record a finished turn."""
        ...

    def tool_call(self, call: ToolCall) -> None:
        """Record a tool call."""
        ...

    def user_sound(self, at_secs: Seconds, pcm: bytes) -> None:
        """Add the user's audio, s16le at 24 kHz mono."""
        ...

    def model_sound(self, at_secs: Seconds, pcm: bytes) -> None:
        """Add the model's audio at the time at which it is played."""
        ...

    def cut_model_sound(self, at_secs: Seconds) -> None:
        """Remove the model's audio after that time."""
        ...

    async def end(self, *, duration_secs: Seconds, cost_usd: float | None) -> None:
        """End the conversation."""
        ...


@dataclass(slots=True)
class _Waiting:
    """A response that is still playing, or that the client may still truncate."""

    response: Response
    handle: asyncio.TimerHandle
    ended_at: dt.datetime | None = None
    """When it was interrupted; None for one that is played to its end."""


class ConversationLog:
    """The log of one session. Times are on its clock, which begins at 0. For the session's event loop only."""

    def __init__(
        self, record: RecordedConversation, clock: Callable[[], Seconds], usd_per_hour: float, usd_per_char: float
    ) -> None:
        self._record = record
        self._clock = clock
        self._began = clock()
        self._usd_per_hour = usd_per_hour
        self._usd_per_char = usd_per_char
        self._spoken_chars = 0
        self._user_places = SoundPlaces()
        self._speech_ended: Seconds | None = None
        """End of the speech of the user's latest turn."""
        self._turn_ended: Seconds | None = None
        self._waiting: dict[str, _Waiting] = {}
        """By the ids of the responses' items."""
        self._settling: set[asyncio.Task[None]] = set()
        self._calls: dict[str, tuple[Item, dt.datetime]] = {}
        self._resampler = Resampler(SPEECH_RATE_HZ)
        self._form: WireFormat | None = None
        self._odd = b""
        """The beginning of a sample whose end comes in the next piece."""
        self._user_at: Seconds = 0.0
        self._model_at: Seconds = 0.0

    @property
    def _now(self) -> Seconds:
        return self._clock() - self._began

    def user_sound(self, sound: bytes, form: WireFormat) -> None:
        """Audio that the client appended, in its format."""
        sound = self._odd + sound if form == self._form else sound
        whole = len(sound) - len(sound) % bytes_per_sample(form)
        self._form, self._odd = form, sound[whole:]
        samples = self._resampler.feed(decode(sound[:whole], form), rate_of(form))
        secs = len(samples) / SPEECH_RATE_HZ
        if abs(self._now - secs - self._user_at) > _DRIFT_SECS:
            self._user_at = max(self._user_at, self._now - secs)
        self._record.user_sound(self._user_at, to_int16(samples).tobytes())
        self._user_places.add(self._user_at, secs)
        self._user_at += secs
        AUDIO.labels("in", "realtime").inc(secs)

    def model_sound(self, response: Response, pcm: bytes) -> None:
        """Audio of ``response`` sent to the client, s16le at 24 kHz mono; it plays after the audio sent before it."""
        self._model_at = max(self._model_at, self._now)
        self._record.model_sound(self._model_at, pcm)
        secs = len(pcm) / 2 / SPEECH_RATE_HZ
        response.places.add(self._model_at, secs)
        self._model_at += secs

    def place_of(self, turn: HeardTurn) -> Place:
        """Where the turn's speech is in the recording, with the padding before it."""
        places = self._user_places
        return _place(places.begin(turn.speech_began_secs, turn.padding_secs), places.end(turn.speech_ended_secs))

    def turn_ended(self, silence_secs: Seconds) -> None:
        """The user's turn ended after that much silence."""
        self._turn_ended = self._now
        self._speech_ended = self._now - silence_secs

    def user_said(self, text: str, place: Place = NOWHERE) -> None:
        """The text of a user turn, and where it was spoken."""
        if text.strip():
            self._record.turn(ConversationTurn("user", text, _utc_now(), start_secs=place[0], end_secs=place[1]))

    def answered(self, response: Response, playing_secs: Seconds, *, was_cut: bool) -> None:
        """A response is complete; it is recorded after its playback, or shortly after its interruption."""
        for call in response.calls:
            if call.item.status == "completed":
                self._calls[call.item.call_id] = (call.item, _utc_now())
        if response.calls and response.times.first_sound is None and response.times.speech_ended is not None:
            # What is said with the results answers the same speech.
            self._speech_ended = self._speech_ended or response.times.speech_ended - self._began
        message = response.message
        if message is None:
            return
        self._finish(message.id)
        handle = self._later(_CUT_SECS if was_cut else playing_secs, message.id)
        self._waiting[message.id] = _Waiting(response, handle, _utc_now() if was_cut else None)

    def interrupted(self) -> None:
        """The user interrupts: the playing response is recorded soon."""
        self._record.cut_model_sound(self._now)
        self._model_at = min(self._model_at, self._now)
        for item_id, waiting in self._waiting.items():
            waiting.handle.cancel()
            waiting.handle = self._later(_CUT_SECS, item_id)
            waiting.ended_at = waiting.ended_at or _utc_now()

    def _later(self, secs: Seconds, item_id: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(secs, self._due, item_id)

    def _due(self, item_id: str) -> None:
        """Record a response, once it is known which of its words were heard."""
        task = asyncio.ensure_future(self._settled(item_id))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settled(self, item_id: str) -> None:
        waiting = self._waiting.get(item_id)
        spoken = waiting.response.spoken if waiting is not None else None
        if spoken is not None and spoken.spoken.settled is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WORDS_SECS):
                    await spoken.spoken.settled.wait()
        self._finish(item_id)

    def tool_returned(self, call_id: str, result: str) -> None:
        """The client sent the result of a call."""
        if (found := self._calls.pop(call_id, None)) is not None:
            self._write_call(*found, result)

    def _write_call(self, item: Item, called_at: dt.datetime, result: str | None) -> None:
        arguments: Any = orjson.loads(item.arguments)
        self._record.tool_call(ToolCall(item.name, arguments, result, called_at))

    def _finish(self, item_id: str, until_secs: Seconds = inf) -> None:
        """Record a response, of which nothing was played after ``until_secs``."""
        found = self._waiting.pop(item_id, None)
        if found is None:
            return
        found.handle.cancel()
        response = found.response
        message = response.message
        if message is None:
            return
        part = message.content[0]
        said, heard = (part.transcript, part.known()) if isinstance(part, SpokenContent) else (part.known(), part.known())
        self._spoken_chars += len(said) if isinstance(part, SpokenContent) else 0
        start_secs, end_secs = _played(response, until_secs)
        turn = ConversationTurn(
            "assistant",
            heard,
            # Turns are listed by their times, and the user's next one may be recorded already.
            found.ended_at or _utc_now(),
            latencies=self._latencies(response),
            words_said=len(said.split()),
            words_heard=len(heard.split()),
            interrupted=response.status == "cancelled" or len(heard) < len(said.rstrip()),
            start_secs=start_secs,
            end_secs=end_secs,
        )
        self._record.turn(turn)
        _observe(turn.latencies)

    def _latencies(self, response: Response) -> TurnLatencies:
        """Latencies of a response from the end of speech; empty if it does not respond to speech."""
        origin = response.times.speech_ended
        if origin is None:
            return TurnLatencies()
        times = response.times

        def after(at: Seconds | None) -> Seconds | None:
            return None if at is None else max(0.0, at - origin)

        return TurnLatencies(
            after(times.turn_ended), after(times.first_token), after(times.first_made), after(times.first_sound)
        )

    def begin_answer(self, response: Response) -> None:
        """A response to the latest turn begins to count."""
        if self._speech_ended is not None and self._turn_ended is not None:
            response.times.speech_ended = self._began + self._speech_ended
            response.times.turn_ended = self._began + self._turn_ended
        self._speech_ended = None

    async def end(self) -> None:
        """Record the remaining turns, and end the conversation."""
        for task in self._settling:
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        for item_id in list(self._waiting):
            self._finish(item_id, self._now)
        for item, called_at in self._calls.values():
            self._write_call(item, called_at, None)
        self._calls.clear()
        cost = self._user_places.length_secs * self._usd_per_hour / 3600 + self._spoken_chars * self._usd_per_char
        await self._record.end(duration_secs=self._now, cost_usd=round(cost, 9))


def _played(response: Response, until_secs: Seconds) -> Place:
    """Where the part of the response that was heard is in the recording, which ends at ``until_secs``."""
    places, message = response.places, response.spoken
    heard_secs = message.spoken.heard_secs if message is not None else None
    length_secs = places.length_secs
    start_secs = places.begin(0.0)
    end_secs = places.end(length_secs if heard_secs is None else min(heard_secs, length_secs))
    if start_secs is None or end_secs is None:
        return NOWHERE
    return _place(min(start_secs, until_secs), min(end_secs, until_secs))


def _place(*bounds: Seconds | None) -> Place:
    start_secs, end_secs = (None if secs is None else round(secs, 3) for secs in bounds)
    return start_secs, end_secs


def _observe(latencies: TurnLatencies) -> None:
    for step, secs in asdict(latencies).items():
        if secs is not None:
            TURN_LATENCY.labels(step.removesuffix("_secs")).observe(secs)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
