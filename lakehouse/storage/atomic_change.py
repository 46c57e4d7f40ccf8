"""Changes a small object based on its present content, without losing concurrent changes.

In a local folder a ``flock`` is held while an object is changed and flushed; the kernel releases it however the process
ends. A bucket replaces an object only if it still has the version that was read.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import ObjectStore

from schemas.errors import Unavailable

if TYPE_CHECKING:
    from obstore import UpdateVersion

Change = Callable[[bytes | None], bytes]
"""A function from an object's content, None if it does not exist, to the new content. Its errors end the change."""

_LOCK = "changes.lock"
_TRIES = 20


async def change_object(
    store: ObjectStore, folder: Path | None, key: str, make: Change, flush: Callable[[], None]
) -> bytes:
    """Replace an object's content by the result of ``make``, and return the result.

    ``folder`` holds the lock of a local store. ``flush`` makes a change of a local store durable. It may write the object
    anew, so it runs within the lock. ``make`` is called again after a concurrent change, and after a bucket's answer was
    lost although the change was made. So ``make`` must refuse a change that may not be made twice. Raises Unavailable
    after twenty calls, and the errors of the store.
    """
    if folder is not None:
        return await asyncio.to_thread(_change_locally, store, folder / _LOCK, key, make, flush)
    for _ in range(_TRIES):
        found, version = await _read(store, key)
        made = make(found)
        try:
            await obstore.put_async(store, key, made, mode=version or "create")
        except (AlreadyExistsError, PreconditionError):
            continue
        return made
    raise Unavailable("others are changing the same object; nothing was changed, try again", retry_after_secs=2)


async def _read(store: ObjectStore, key: str) -> tuple[bytes | None, UpdateVersion | None]:
    """An object's content and version; None for both if it does not exist."""
    try:
        found = await obstore.get_async(store, key)
    except FileNotFoundError:
        return None, None
    version: UpdateVersion = {}
    if e_tag := found.meta["e_tag"]:
        version["e_tag"] = e_tag
    if number := found.meta["version"]:
        version["version"] = number
    return bytes(await found.bytes_async()), version


def _change_locally(store: ObjectStore, lock: Path, key: str, make: Change, flush: Callable[[], None]) -> bytes:
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            found: bytes | None = bytes(obstore.get(store, key).bytes())
        except FileNotFoundError:
            found = None
        made = make(found)
        obstore.put(store, key, made)
        flush()
        return made
