"""Cloned voices: few and small, so all are in memory; every state of them is a row of ``voices``, the last one counts."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import fields, replace

from lakehouse.commits import Row, TableWriter
from lakehouse.ledger.clock import Clock
from lakehouse.reads import TableReader
from schemas.domain import Voice
from schemas.errors import Conflict, NotFound

_NAMES = tuple(f.name for f in fields(Voice))


class VoiceBook:
    """Voices by id. A deleted one is as if it had never been, but for its rows."""

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._by_id: dict[str, Voice] = {}
        self._last = dt.datetime.fromtimestamp(0, dt.UTC)
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        frame = await asyncio.to_thread(TableReader(self._writer.uri).collect, lambda table: table)
        voices = [_from_row(row) for row in frame.iter_rows(named=True)]
        for voice in sorted(voices, key=_moment):
            self._by_id[voice.id] = voice
            self._last = _moment(voice)

    def get(self, voice_id: str) -> Voice | None:
        voice = self._by_id.get(voice_id)
        return voice if voice is not None and voice.deleted_at is None else None

    def of_account(self, account: str) -> list[Voice]:
        """Newest first."""
        mine = [voice for voice in self._by_id.values() if voice.account == account and voice.deleted_at is None]
        return sorted(mine, key=_moment, reverse=True)

    async def put(self, voice: Voice) -> Voice:
        """Add or replace; ``created_at`` is set here. Raises Conflict if the id is another account's."""
        async with self._lock:
            held = self._by_id.get(voice.id)
            if held is not None and held.account != voice.account:
                raise Conflict(f"the voice id {voice.id} is taken", code="voice_taken", param="id")
            return await self._write(replace(voice, created_at=self._next_moment(), deleted_at=None))

    async def delete(self, account: str, voice_id: str) -> Voice:
        """Raises NotFound, also for another account's."""
        async with self._lock:
            voice = self.get(voice_id)
            if voice is None or voice.account != account:
                raise NotFound(f"there is no voice {voice_id} in your account", code="voice_not_found", param="id")
            return await self._write(replace(voice, deleted_at=self._next_moment()))

    async def _write(self, voice: Voice) -> Voice:
        row: Row = {name: getattr(voice, name) for name in _NAMES}
        await self._writer.append([row | {"parameters": json.dumps(voice.parameters)}])
        self._by_id[voice.id] = voice
        return voice

    def _next_moment(self) -> dt.datetime:
        """Strictly growing, for the order of a voice's states must be told from their times alone."""
        self._last = max(self._clock.utc(), self._last + dt.timedelta(milliseconds=1))
        return self._last


def _moment(voice: Voice) -> dt.datetime:
    moment = voice.deleted_at or voice.created_at
    assert moment is not None  # noqa: S101 - the column has no nulls
    return moment


def _from_row(row: Row) -> Voice:
    moments = {name: row[name] and row[name].astimezone(dt.UTC) for name in ("created_at", "deleted_at")}
    return Voice(**{**{name: row[name] for name in _NAMES}, **moments, "parameters": json.loads(row["parameters"])})
