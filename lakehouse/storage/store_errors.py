"""Converts errors of disks and object stores to `schemas.errors`: 507 if there is no room, else 503."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from obstore.exceptions import BaseError

from schemas.errors import StorageFull, Unavailable

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_SAID_OF_NO_ROOM: Final = ("no space left on device", "disk quota exceeded", "quotaexceeded", "insufficientcapacity")
"""Native libraries report an error of the system or the store as text, without its number."""


def is_out_of_space(error: BaseException | None) -> bool:
    """Whether an error or its cause is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(words in str(error).lower() for words in _SAID_OF_NO_ROOM):
            return True
        error = error.__cause__ or error.__context__
    return False


def storage_error(error: BaseException, what: str, code: str = "storage_unavailable") -> Unavailable:
    """The error for a client whose request met ``error`` in ``what``; nothing was acknowledged."""
    if is_out_of_space(error):
        return StorageFull(f"{what} has no space left; nothing was changed, try again when the operator has made room")
    return Unavailable(f"{what} cannot be used now; nothing was acknowledged, try again", code=code, retry_after_secs=2)


@contextmanager
def store_errors(what: str = "the object store") -> Iterator[None]:
    """Raises Unavailable or StorageFull for errors of a store; a missing object stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise storage_error(error, what) from error
