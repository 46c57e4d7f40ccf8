"""Records conversations: a row after each turn, and the audio of both sides at the end.

Callers do not wait for the ledger: rows are queued and written in order. Failed writes are retried during the conversation
and for some time after it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
from typing import Final

from lakehouse.ledger.interface import RecordLedger
from lakehouse.storage.objects import Objects
from schemas.domain import Seconds
from schemas.errors import FluxionsError, Unavailable
from schemas.records import Conversation, ConversationEnd, ConversationTurn, LiveEntry, ToolCall
from schemas.times import now
from serve.services.conversation_sound import ConversationSound
from serve.services.opus_encoder_process import OpusEncoder

_RETRY_SECS: Final = (0.1, 0.5, 2.0, 5.0, 10.0)
_QUEUE: Final = 1000
"""Most queued rows while the ledger is unavailable; a conversation of an hour has fewer."""

logger = logging.getLogger(__name__)


class RecordedConversation:
    """One conversation in progress, from `ConversationRecorder.begin`. All methods except `end` return at once."""

    def __init__(
        self, records: RecordLedger, account: str, session_id: str, started_at: dt.datetime, sound: ConversationSound | None
    ) -> None:
        self.session_id = session_id
        self._records = records
        self._account = account
        self._started_at = started_at
        self._sound = sound
        self._keys = itertools.count()
        self._entries: asyncio.Queue[tuple[str, LiveEntry] | None] = asyncio.Queue(_QUEUE)
        self._writing = asyncio.create_task(self._write())
        self._end: asyncio.Task[None] | None = None

    def turn(self, turn: ConversationTurn) -> None:
        """Record a finished turn. Turns are stored in the order of calls."""
        self._add(turn)

    def tool_call(self, call: ToolCall) -> None:
        """Record a tool call with its result, if any."""
        self._add(call)

    def user_sound(self, at_secs: Seconds, pcm: bytes) -> None:
        """Add the user's audio, s16le at 24 kHz mono.

        ``at_secs`` counts from the conversation's start and never decreases.
        """
        if self._sound is not None:
            self._sound.user(at_secs, pcm)

    def model_sound(self, at_secs: Seconds, pcm: bytes) -> None:
        """Add the model's audio, s16le at 24 kHz mono, at the time at which it is played."""
        if self._sound is not None:
            self._sound.model(at_secs, pcm)

    def cut_model_sound(self, at_secs: Seconds) -> None:
        """Remove the model's audio after that time, which was not played."""
        if self._sound is not None:
            self._sound.cut_model(at_secs)

    async def end(self, *, duration_secs: Seconds, cost_usd: float | None = None) -> None:
        """Write queued rows, store the audio, and end the conversation, even if the caller is cancelled.

        Raises Unavailable if the ledger was unavailable for too long.
        """
        if self._end is None:
            self._end = asyncio.create_task(self._finish(duration_secs, cost_usd))
        await asyncio.shield(self._end)

    def _add(self, entry: LiveEntry) -> None:
        try:
            self._entries.put_nowait((f"{next(self._keys)}", entry))
        except asyncio.QueueFull:
            logger.error("an entry of a conversation is lost: the ledger has been away for too long")  # noqa: TRY400

    async def _finish(self, duration_secs: Seconds, cost_usd: float | None) -> None:
        await self._entries.put(None)
        await self._writing
        audio_key = None if self._sound is None else await self._sound.end(duration_secs)
        ended_at = self._started_at + dt.timedelta(seconds=round(duration_secs, 3))
        end = ConversationEnd(ended_at, round(duration_secs, 3), cost_usd, audio_key)
        for pause_secs in (*_RETRY_SECS, None):
            try:
                await self._records.end_conversation(self._account, self.session_id, end)
            except Unavailable:
                if pause_secs is None:
                    raise
                await asyncio.sleep(pause_secs)
            else:
                return

    async def _write(self) -> None:
        while (queued := await self._entries.get()) is not None:
            key, entry = queued
            for pause_secs in (*_RETRY_SECS, None):
                try:
                    await self._records.add_entry(self._account, self.session_id, key, entry)
                    break
                except Unavailable:
                    if pause_secs is None:
                        logger.error("an entry of a conversation could not be recorded: the ledger is away")  # noqa: TRY400
                        break
                    await asyncio.sleep(pause_secs)
                except FluxionsError as error:
                    logger.error("an entry of a conversation was refused: %s", error.code)  # noqa: TRY400
                    break


class ConversationRecorder:
    """Begins recorded conversations. If the gateway is killed, the ledger ends its conversations."""

    def __init__(self, objects: Objects, records: RecordLedger) -> None:
        self._objects = objects
        self._records = records
        self._encoder = OpusEncoder()

    async def begin(
        self, account: str, session_id: str, voice: str | None, *, store_audio: bool, continues: str | None = None
    ) -> RecordedConversation:
        """Begin a conversation and write its row. Raises Unavailable.

        ``voice`` is the canonical id, ``continues`` the session that it continues.
        """
        started_at = now()
        begun = Conversation(account, session_id, started_at, voice=voice, continues=continues)
        await self._records.begin_conversation(begun)
        sound = ConversationSound(self._objects, self._encoder, account, session_id) if store_audio else None
        return RecordedConversation(self._records, account, session_id, started_at, sound)

    async def close(self) -> None:
        """Stop the encoder, which is idle by now: sessions are closed before."""
        await self._encoder.end_for_good()
