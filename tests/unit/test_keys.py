"""API keys: their form, their hashes, and that a revoked one stays closed."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import re
from pathlib import Path

import pytest

from lakehouse.ledger.ledger import Ledger
from schemas.errors import Conflict, InvalidParameter, NotFound, Unauthenticated
from schemas.settings import AuthSettings
from serve.gateway.auth import KeyRing
from serve.gateway.client_tokens import ClientTokens
from tests.support.lakehouse_kit import home

pytestmark = pytest.mark.unit


def all_contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_a_key_opens_by_its_hash_until_it_is_revoked(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    key, plaintext = await ledger.keys.create("ada", "laptop", ("user",))
    other, _ = await ledger.keys.create("ada", "phone", ("user", "operator"))
    assert re.fullmatch(r"fx_[A-Za-z0-9_-]{43}", plaintext)
    assert key.key_hash == hashlib.sha256(plaintext.encode()).hexdigest()
    assert plaintext.startswith(key.prefix)
    assert await ledger.keys.find(key.key_hash) == key
    assert await ledger.keys.find(hashlib.sha256(b"fx_other").hexdigest()) is None
    revoked = await ledger.keys.revoke(key.id)
    assert await ledger.keys.revoke(key.id) == revoked
    await ledger.close()

    ledger = await Ledger.open(settings)
    try:
        assert await ledger.keys.find(key.key_hash) is None
        assert await ledger.keys.all() == [revoked, other] or await ledger.keys.all() == [other, revoked]
        assert await ledger.keys.find(other.key_hash) == other
        with pytest.raises(NotFound):
            await ledger.keys.revoke("key_unknown")
    finally:
        await ledger.close()


async def test_plaintext_is_stored_nowhere(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    _, plaintext = await ledger.keys.create("ada", "laptop", ("user",))
    await ledger.close()
    contents = all_contents(tmp_path)
    assert contents
    assert not any(plaintext.encode() in content for content in contents)


async def test_a_chosen_key_is_made_once(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        first, _ = await ledger.keys.create("default", "first", ("user",), "fx_chosen-by-hand")
        assert (await ledger.keys.create("default", "again", ("user",), "fx_chosen-by-hand"))[0] == first
        with pytest.raises(Conflict):
            await ledger.keys.create("bob", "again", ("user",), "fx_chosen-by-hand")
        await ledger.keys.revoke(first.id)
        with pytest.raises(Conflict):
            await ledger.keys.create("default", "again", ("user",), "fx_chosen-by-hand")
    finally:
        await ledger.close()


async def test_of_a_key_is_shown_no_more_than_its_ends(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        key, plaintext = await ledger.keys.create("ada", "laptop", ("user",))
        assert (key.prefix, key.ending) == (plaintext[:8], plaintext[-4:])
        short, _ = await ledger.keys.create("ada", "chosen", ("user",), "fx_abc")
        assert (short.prefix, short.ending) == ("f", None)
    finally:
        await ledger.close()


async def test_no_second_exchange_gives_an_old_key_more_time(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        key, _ = await ledger.keys.create("ada", "laptop", ("user",))
        ends = []
        for grace_secs in (60.0, 3600.0, 30.0):
            await ledger.keys.rotate(key.id, grace_secs)
            old = await ledger.keys.find(key.key_hash)
            assert old is not None
            assert old.expires_at is not None
            ends.append(old.expires_at)
        assert ends[1] == ends[0]
        assert ends[2] < ends[0]
    finally:
        await ledger.close()


async def test_a_cached_key_ends_when_it_expires(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    ring = KeyRing(ledger.keys, ClientTokens(bytes(32)), None, AuthSettings(key_cache_secs=60.0))
    try:
        ends_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        key, plaintext = await ledger.keys.create("ada", "laptop", ("user",), expires_at=ends_at)
        assert (await ring.principal(plaintext)).key_id == key.id
        await asyncio.sleep((ends_at - dt.datetime.now(dt.UTC)).total_seconds() + 0.01)
        with pytest.raises(Unauthenticated):
            await ring.principal(plaintext)
    finally:
        await ledger.close()


async def test_a_token_ends_in_time_and_never_does_more_than_its_key(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    tokens = ClientTokens(bytes(32))
    ring = KeyRing(ledger.keys, tokens, None, AuthSettings())
    try:
        key, _ = await ledger.keys.create("ada", "laptop", ("transcribe",))
        wide, _ = tokens.make(key.id, ("transcribe", "operator"), 60)
        assert (await ring.principal(wide)).scopes == {"transcribe"}
        ended, _ = tokens.make(key.id, ("transcribe",), -2)
        with pytest.raises(Unauthenticated) as refused:
            await ring.principal(ended)
        assert refused.value.code == "token_ended"
    finally:
        await ledger.close()


@pytest.mark.parametrize(("scopes", "key"), [((), None), (("root",), None), (("user",), "with blank"), (("user",), "")])
async def test_bad_keys_are_refused(tmp_path: Path, scopes: tuple[str, ...], key: str | None) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        with pytest.raises(InvalidParameter):
            await ledger.keys.create("ada", "laptop", scopes, key)
    finally:
        await ledger.close()
