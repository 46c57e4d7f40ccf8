"""Objects of voices, consents and speakers go with them: deleted, replaced or refused, and also after a failure."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lakehouse.ledger.item_objects import RETRY_SECS, object_keys
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects
from schemas.errors import Conflict, Forbidden
from schemas.records import Speaker, Voice, VoiceConsent
from schemas.settings import LimitSettings, Settings
from tests.support.lakehouse_kit import ManualClock, home

pytestmark = pytest.mark.security

ITEMS: dict[str, Callable[[str, str], Any]] = {
    "voices": lambda name, stem: Voice(
        name, "ada", "mine", "words", 50, 4.0, f"{stem}.wav", {}, "e", "yes", f"{stem}.c.wav"
    ),
    "consents": lambda name, stem: VoiceConsent(name, "ada", "Ada", "en", f"{stem}.wav", 2.0),
    "speakers": lambda name, stem: Speaker(name, "ada", name, f"{stem}.wav", 2.0, "yes", f"{stem}.c.wav"),
}


class Home:
    """A ledger with one kind of item, and its objects."""

    def __init__(self, ledger: Ledger, settings: Settings, kind: str) -> None:
        self.ledger = ledger
        self.items: Any = getattr(ledger, kind)
        self._objects = Objects.of(settings)
        self._kind = kind

    async def put(self, name: str, stem: str | None = None) -> Any:
        """Store an item as a gateway does: its objects first."""
        item = ITEMS[self._kind](name, f"voices/ada/{stem or name}")
        for key in object_keys(item):
            await self._objects.put_bytes(key, b"sound")
        return await self.items.put(item)

    async def stored(self) -> set[str]:
        return {key async for key, _ in self._objects.list("voices")}


@asynccontextmanager
async def opened(folder: Path, kind: str, clock: ManualClock | None = None, most: int = 9) -> AsyncIterator[Home]:
    settings = home(folder).model_copy(update={"limits": LimitSettings(**{f"{kind}_per_account": most})})
    ledger = await Ledger.open(settings, clock=clock)
    try:
        yield Home(ledger, settings, kind)
    finally:
        await ledger.close()


@pytest.mark.parametrize("kind", ITEMS)
async def test_of_items_that_are_refused_nothing_is_left(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind, most=1) as at:
        made = await asyncio.gather(*(at.put(f"n-{number}") for number in range(4)), return_exceptions=True)
        assert sum(isinstance(one, Conflict) for one in made) == 3
        (kept,) = await at.items.of_account("ada")
        assert await at.stored() == object_keys(kept)
        await at.ledger.deletions.account("ada")
        with pytest.raises(Forbidden):
            await at.put("later")
        assert await at.stored() == set()


async def test_a_replaced_voice_keeps_its_new_clip_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, "voices") as at:
        await at.put("u-1", "first")
        made = await at.put("u-1", "second")
        assert await at.stored() == object_keys(made) == {"voices/ada/second.wav", "voices/ada/second.c.wav"}
        await at.items.put(made)  # as a gateway that got no answer
        assert await at.stored() == object_keys(made)


def refuses(at: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the ledger's store removes nothing."""

    async def fails(_: str) -> None:
        raise OSError("the disk does not answer")

    monkeypatch.setattr(at.ledger._item_objects, "_delete", fails)


@pytest.mark.parametrize("kind", ITEMS)
async def test_an_erasure_is_repeated_until_it_is_done(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    async with opened(tmp_path, kind, clock) as at:
        await at.put("n-1")
        refuses(at, monkeypatch)
        await at.items.delete("ada", "n-1")
        clock.advance(RETRY_SECS)
        assert await at.stored()
        monkeypatch.undo()
        async with asyncio.timeout(60):
            while await at.stored():
                clock.advance(RETRY_SECS)
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ITEMS)
async def test_what_a_ledger_did_not_erase_the_next_one_does(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, kind) as at:
        await at.put("n-1")
        kept = await at.put("n-2")
        refuses(at, monkeypatch)
        await at.items.delete("ada", "n-1")
        assert len(await at.stored()) == 2 * len(object_keys(kept))
    async with opened(tmp_path, kind) as at:
        assert await at.stored() == object_keys(kept)


async def test_what_no_row_names_is_removed_from_each_folder(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects, folder = Objects.of(settings), Path(settings.storage_url) / "objects"
    ledger = await Ledger.open(settings)
    try:
        for name in ("renders/ada", "conversations/ada", "voices/ada", "realtime-secrets", "idempotency/x"):
            await objects.put_bytes(f"{name}/1", b"of nobody")
        long_ago = time.time() - 3 * 86_400
        for path in folder.rglob("*"):
            os.utime(path, (long_ago, long_ago))
        async with asyncio.timeout(60):
            await ledger.maintenance.run("orphans", 30)
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    finally:
        await ledger.close()
