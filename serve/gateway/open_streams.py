"""Limits of open WebSockets and event streams: for a key, for an account, for an address without a key, and in total.

The key of a socket may come in its first message. Until then the socket counts for its address, afterwards for its key and
account. Each gateway replica counts separately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

from schemas.settings import LimitSettings
from serve.gateway.access_watch import Access, Tell
from serve.gateway.anonymous_limits import network_of
from serve.gateway.auth import Principal
from serve.rate_limits import over_limit

_WAIT_SECS: Final = 5.0
_ALL: Final = "all"

Holder = tuple[str, str]
"""A limit that an open stream counts against: a kind ("key", "account", "address" or "all") and a name."""


class OpenStreams:
    """Counts in memory. For one event loop only."""

    def __init__(self, settings: LimitSettings) -> None:
        each = settings.streams_per_client
        self._most = {"key": each, "address": each, "account": settings.streams_per_account, _ALL: settings.streams}
        self._open: Counter[Holder] = Counter()

    @contextmanager
    def opened(self, principal: Principal | None, host: str | None) -> Iterator[OpenStream]:
        """Held while a socket or a stream of events is open. Raises RateLimited."""
        stream = OpenStream(self, host)
        stream.count_for((_ALL, ""), *(_owners(principal) if principal is not None else (stream.address,)))
        try:
            yield stream
        finally:
            stream.count_for()

    def exchange(self, old: tuple[Holder, ...], new: tuple[Holder, ...]) -> None:
        """Count for ``new`` instead of ``old``. Raises RateLimited, and changes nothing then."""
        for kind, name in set(new) - set(old):
            most = self._most[kind]
            if self._open[kind, name] >= most:
                whom = "of all clients" if kind == _ALL else f"of one {kind}"
                raise over_limit(f"{most} open sockets and streams {whom}", _WAIT_SECS, most)
        self._open.update(new)
        self._open.subtract(old)
        self._open = +self._open  # removes names with a count of 0


class OpenStream:
    """One open socket or stream, and whom it counts for."""

    def __init__(self, streams: OpenStreams, host: str | None) -> None:
        self._streams = streams
        self._counts_for: tuple[Holder, ...] = ()
        self.address: Holder = ("address", network_of(host))

    def belongs_to(self, principal: Principal) -> None:
        """Count it for a client that has shown its key only now. Raises RateLimited."""
        self.count_for((_ALL, ""), *_owners(principal))

    def count_for(self, *holders: Holder) -> None:
        """Count it for ``holders`` alone. Raises RateLimited."""
        self._streams.exchange(self._counts_for, holders)
        self._counts_for = holders


class OpenSocket:
    """One open socket: it counts for its client, and ends with its client's key or token."""

    def __init__(self, stream: OpenStream, access: Access) -> None:
        self._stream = stream
        self._access = access

    def belongs_to(self, principal: Principal) -> None:
        """Say whose it is, once the key is known. Raises RateLimited."""
        self._stream.belongs_to(principal)
        self._access.principal = principal

    def while_valid(self, tell: Tell) -> AbstractAsyncContextManager[None]:
        """Cancels the block once the key or token is no longer valid, and tells the client. Raises Unauthenticated,
        Forbidden then.
        """
        return self._access.while_valid(tell)


def _owners(principal: Principal) -> tuple[Holder, Holder]:
    return ("key", principal.key_id), ("account", principal.account)
