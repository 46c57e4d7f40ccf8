"""Objects in a local folder, and links that open them for a while."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, audio_key, checked
from lakehouse.storage.signed_urls import Signer, home_secret
from schemas.errors import InvalidRequest, NotFound, PayloadTooLarge, Unavailable

pytestmark = pytest.mark.unit

CHUNK = os.urandom(256 * 1024)


async def stream(count: int, fail_after: int | None = None) -> AsyncIterator[bytes]:
    for i in range(count):
        if i == fail_after:
            raise ConnectionResetError("the client went away")
        yield CHUNK


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(Location(str(tmp_path), fsync=True))


async def test_a_stream_is_hashed_and_adopted_under_its_content(objects: Objects, tmp_path: Path) -> None:
    stored = await objects.put_stream(stream(50), limit_bytes=50 * len(CHUNK))
    assert stored.sha256 == hashlib.sha256(CHUNK * 50).hexdigest()
    assert (stored.size_bytes, stored.head) == (50 * len(CHUNK), CHUNK[:4096])
    key = audio_key("ada", stored.sha256)
    await objects.adopt(stored, key)
    again = await objects.put_stream(stream(50), limit_bytes=50 * len(CHUNK))
    await objects.adopt(again, key)
    assert files(tmp_path) == [f"objects/{key}"]
    assert await objects.size(key) == 50 * len(CHUNK)
    part = b"".join([chunk async for chunk in await objects.open_range(key, 100, 2 * len(CHUNK) + 7)])
    assert part == (CHUNK * 3)[100 : 2 * len(CHUNK) + 7]
    assert [item async for item in objects.list("audio")] == [(key, 50 * len(CHUNK))]


async def test_an_object_that_could_not_be_flushed_is_written_anew_when_it_comes_again(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_failing, fsync = [True], os.fsync

    def failing(fd: int) -> None:
        if is_failing:
            raise OSError(errno.EIO, "the disk failed")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    stored = await objects.put_stream(stream(1), limit_bytes=len(CHUNK))
    with pytest.raises(Unavailable):
        await objects.adopt(stored, audio_key("ada", stored.sha256))
    assert files(tmp_path) == [], "an upload that was refused leaves nothing"
    with pytest.raises(Unavailable):
        await objects.put_new("idempotency/a/0", b"claim")
    path = tmp_path / "objects" / "idempotency" / "a" / "0"
    inode = path.stat().st_ino
    is_failing.clear()
    assert await objects.put_new("idempotency/a/0", b"claim")
    assert path.stat().st_ino != inode
    assert not await objects.put_new("idempotency/a/0", b"another claim")


async def test_an_empty_stream_is_an_empty_object(objects: Objects) -> None:
    stored = await objects.put_stream(stream(0), limit_bytes=1)
    assert (stored.size_bytes, stored.sha256) == (0, hashlib.sha256(b"").hexdigest())


async def test_too_large_and_broken_streams_leave_nothing(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLarge):
        await objects.put_stream(stream(50), limit_bytes=50 * len(CHUNK) - 1)
    with pytest.raises(ConnectionResetError):
        await objects.put_stream(stream(50, fail_after=49), limit_bytes=10**9)
    assert files(tmp_path) == []


async def test_a_cancelled_upload_leaves_nothing(objects: Objects, tmp_path: Path) -> None:
    sent = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield CHUNK
        sent.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(objects.put_stream(stalls(), limit_bytes=10**9))
    await asyncio.wait_for(sent.wait(), 60)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    async with asyncio.timeout(60):
        while files(tmp_path):  # noqa: ASYNC110 - the store drops its temporary file on a thread that tells nobody
            await asyncio.sleep(0.01)


async def test_what_is_missing_is_not_found(objects: Objects) -> None:
    for question in (objects.get_bytes("results/1.json"), objects.size("x"), objects.open_range("x", 0, 1)):
        with pytest.raises(NotFound):
            await question
    await objects.delete("x")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a\0b", "a b", "x" * 600]
)
def test_malformed_keys_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequest):
        checked(key)


@pytest.mark.parametrize("account", ["ada", "auth0|12/../34", "", "ü", "a" * 300, ".."])
def test_any_account_has_a_place_of_its_own(account: str) -> None:
    assert audio_key(account, "00ff") != audio_key(account + "x", "00ff")


async def test_put_and_get_small_objects(objects: Objects) -> None:
    await objects.put_bytes("results/1.json", b"one")
    await objects.put_bytes("results/1.json", b"two")
    assert await objects.get_bytes("results/1.json") == b"two"


async def test_changes_by_several_are_all_kept_and_what_a_change_raises_ends_it(objects: Objects, tmp_path: Path) -> None:
    other, key = Objects(Location(str(tmp_path), fsync=True)), "results/count"

    def one_more(found: bytes | None) -> bytes:
        return str(int(found or b"0") + 1).encode()

    made = await asyncio.gather(*(store.change(key, one_more) for store in (objects, other) * 15))
    assert sorted(map(int, made)) == list(range(1, 31))
    assert await other.get_bytes(key) == b"30"

    def refuse(found: bytes | None) -> bytes:
        raise InvalidRequest(f"not on {found!r}")

    with pytest.raises(InvalidRequest, match="30"):
        await objects.change(key, refuse)
    assert await objects.get_bytes(key) == b"30"


async def test_a_change_that_is_written_anew_undoes_no_other(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, key = Objects(Location(str(tmp_path), fsync=True)), "results/names"
    fsync, is_failing = os.fsync, [True]
    others: list[threading.Thread] = []

    def failing(fd: int) -> None:
        if is_failing:
            raise OSError(errno.EIO, "the disk failed")
        if Path(f"/proc/self/fd/{fd}").readlink().name.endswith("#0"):  # the copy that is about to replace the object
            others.append(
                threading.Thread(target=lambda: asyncio.run(other.change(key, lambda found: (found or b"") + b"c")))
            )
            others[0].start()
            others[0].join(1.0)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Unavailable):
        await objects.change(key, lambda _: b"a")
    is_failing.clear()
    assert await objects.change(key, lambda found: (found or b"") + b"b") == b"ab"
    others[0].join(30)
    assert await objects.get_bytes(key) == b"abc"


async def test_a_link_opens_its_object_for_its_time_and_nothing_else(objects: Objects, tmp_path: Path) -> None:
    signer = Signer(objects, home_secret(tmp_path / "home"))
    parts = urlsplit(await signer.sign("audio/ada/00ff", "Übung & co.wav", 60))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    expires, signature, name = int(query["expires"]), query["signature"], query["filename"]
    assert name == "Übung & co.wav"
    assert signer.verify("GET", parts.path, expires, signature, name)
    assert signer.verify("HEAD", parts.path, expires, signature, name)
    assert not signer.verify("PUT", parts.path, expires, signature, name)
    assert not signer.verify("GET", parts.path + "0", expires, signature, name)
    assert not signer.verify("GET", parts.path, expires + 1, signature, name)
    assert not signer.verify("GET", parts.path, expires, signature, "evil.html")
    assert not signer.verify("GET", parts.path, expires, "é" + signature[1:], name)
    assert not Signer(objects, b"other secret").verify("GET", parts.path, expires, signature, name)
    late = urlsplit(await signer.sign("audio/ada/00ff", "", -1))
    old = parse_qs(late.query)
    assert not signer.verify("GET", late.path, int(old["expires"][0]), old["signature"][0])


def test_the_secret_is_created_once_and_is_private(tmp_path: Path) -> None:
    first = home_secret(tmp_path / "home")
    assert home_secret(tmp_path / "home") == first
    assert len(first) == 32
    assert (tmp_path / "home" / "secret").stat().st_mode & 0o777 == 0o600
    assert files(tmp_path) == ["home/secret"]
