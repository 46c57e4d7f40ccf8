"""Cloned voices.

They are few and small, so all are in memory; ``voices`` has a row for each state, and the last is current.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from dataclasses import fields, replace

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock, IncreasingTimes
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.interface import Publish
from lakehouse.ledger.item_limits import ItemLimit
from lakehouse.ledger.item_objects import ERASED_AGAIN, ItemObjects, object_keys
from lakehouse.tables.group_commit import Row, TableWriter
from lakehouse.tables.predicates import quoted
from schemas.errors import Conflict, Forbidden, NotFound, Unavailable
from schemas.records import Voice
from schemas.webhooks import EventType, Happened

logger = logging.getLogger(__name__)

_NAMES = tuple(f.name for f in fields(Voice))


class VoiceStore:
    """Voices by id. Implements `ItemLedger`."""

    def __init__(
        self,
        writer: TableWriter,
        clock: Clock,
        tasks: ChangeTasks,
        publish: Publish,
        closed: ClosedAccounts,
        limit: ItemLimit,
        objects: ItemObjects,
    ) -> None:
        self._closed = closed
        self._limit = limit
        self._writer = writer
        self._objects = objects
        self._clock = clock
        self._tasks = tasks
        self._publish = publish
        self._by_id: dict[str, Voice] = {}
        self._names: dict[str, str] = {}
        """Erasures of voices that were deleted and not yet erased when the ledger opened."""
        self._times = IncreasingTimes(clock)
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read all voices from the table."""
        frame = await asyncio.to_thread(self._writer.reader().collect, lambda table: table, self._writer.version)
        voices = [_from_row(row) for row in frame.iter_rows(named=True)]
        for voice in sorted(voices, key=_moment):
            if voice.deleted_at is not None and voice.id in self._by_id:
                self._names[voice.id] = self._by_id[voice.id].name
            self._by_id[voice.id] = voice
            self._times.restore(_moment(voice))
        lately = self._clock.utc() - ERASED_AGAIN
        for voice in self._by_id.values():
            if voice.deleted_at is not None and voice.deleted_at > lately:
                await self._erase_left(voice)

    async def put(self, item: Voice) -> Voice:
        """See `ItemLedger.put`."""
        return await self._tasks.run(self._put(item))

    async def check_room(self, account: str) -> None:
        """See `ItemLedger.check_room`."""
        self._limit.check(len(await self.of_account(account)))

    async def get(self, account: str, item_id: str) -> Voice:
        """See `ItemLedger.get`."""
        return self._owned(account, item_id)

    async def of_account(self, account: str) -> list[Voice]:
        """See `ItemLedger.of_account`."""
        own = [voice for voice in self._by_id.values() if voice.account == account and voice.deleted_at is None]
        return sorted(own, key=_moment, reverse=True)

    async def delete(self, account: str, item_id: str) -> Voice:
        """See `ItemLedger.delete`."""
        return await self._tasks.run(self._delete(account, item_id))

    async def events_since(self, moment: dt.datetime) -> list[Happened]:
        """See `EventSource`."""
        changed = [voice for voice in self._by_id.values() if _moment(voice) >= moment]
        return [_event(replace(voice, name=voice.name or self._names.get(voice.id, ""))) for voice in changed]

    def forget(self, account: str) -> None:
        """Drop an account's voices from memory. The caller erases rows and objects."""
        for voice in [one for one in self._by_id.values() if one.account == account]:
            del self._by_id[voice.id]

    async def _put(self, voice: Voice) -> Voice:
        try:
            made, held = await self._stored(voice)
        except (Conflict, Forbidden):
            await self._objects.erase(object_keys(voice) - object_keys(self._by_id.get(voice.id)))
            raise
        await self._objects.erase(object_keys(held) - object_keys(made))
        await self._publish(_event(made))
        return made

    async def _stored(self, voice: Voice) -> tuple[Voice, Voice | None]:
        """The voice as it was stored, and the one with its id that it replaced."""
        self._closed.check(voice.account)
        async with self._lock:
            held = self._by_id.get(voice.id)
            if held is not None and held.account != voice.account:
                raise Conflict(f"the voice id {voice.id} is taken", code="voice_taken", param="id")
            if held is None or held.deleted_at is not None:
                await self.check_room(voice.account)
            return await self._write(replace(voice, created_at=self._times.next(), deleted_at=None)), held

    async def _delete(self, account: str, voice_id: str) -> Voice:
        async with self._lock:
            gone = replace(self._owned(account, voice_id), deleted_at=self._times.next())
            # The row keeps no words of the speaker. The keys of the objects stay until the objects are erased.
            blank = replace(gone, name="", text="", parameters={}, consent_statement=None)
            await self._write(blank)
            # Published before the earlier rows are erased: until then the event can be made again with the voice's name.
            await self._publish(_event(gone))
            # Within the lock, so that a new clone of the same clip is written after this.
            await self._erase_left(blank)
            return gone

    def _owned(self, account: str, voice_id: str) -> Voice:
        voice = self._by_id.get(voice_id)
        if voice is None or voice.deleted_at is not None or voice.account != account:
            raise NotFound(f"there is no voice {voice_id[:80]} in your account", code="voice_not_found", param="id")
        return voice

    async def _erase_left(self, voice: Voice) -> None:
        """Erase earlier rows and objects of a deleted voice.

        After a failure, `load` erases the rows again.
        """
        try:
            await self._writer.delete(f"id = {quoted(voice.id)} AND deleted_at IS NULL")
        except Unavailable as error:
            logger.warning("rows of a deleted voice could not be erased yet: %s", error.code)
        await self._objects.erase(object_keys(voice))

    async def _write(self, voice: Voice) -> Voice:
        row: Row = {name: getattr(voice, name) for name in _NAMES}
        await self._writer.append([row | {"parameters": json.dumps(voice.parameters)}])
        self._by_id[voice.id] = voice
        return voice


def _event(voice: Voice) -> Happened:
    """The event of the voice's last change."""
    at = _moment(voice)
    kind: EventType = "voice.created" if voice.deleted_at is None else "voice.deleted"
    data = {"id": voice.id, "object": "voice", "name": voice.name}
    return Happened(voice.account, f"evt_v{voice.id}_{int(at.timestamp() * 1000)}", kind, data, at=at)


def _moment(voice: Voice) -> dt.datetime:
    moment = voice.deleted_at or voice.created_at
    assert moment is not None  # noqa: S101 - the column has no nulls
    return moment


def _from_row(row: Row) -> Voice:
    moments = {name: row[name] and row[name].astimezone(dt.UTC) for name in ("created_at", "deleted_at")}
    return Voice(**{**{name: row[name] for name in _NAMES}, **moments, "parameters": json.loads(row["parameters"])})
