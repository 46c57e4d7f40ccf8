"""Ends sockets, event streams and long requests once the key or token that they were opened with is no longer valid.

A key may be revoked or expire, a token may end, and an account may be deleted while a socket is open. One question to the
ledger for all that is open is asked every `FLUXIONS_KEY_CACHE_SECS`, and no more often than once a second.

A token's end ends sockets and event streams. A request that was begun with it is carried out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from lakehouse.ledger.key_interface import KeyLedger
from schemas.domain import Seconds
from schemas.errors import FluxionsError, Forbidden, Unauthenticated
from serve.gateway.auth import Principal

_LEAST_INTERVAL_SECS: Final[Seconds] = 1.0

Tell = Callable[[FluxionsError], Awaitable[None]]
"""Tells a client why its socket ends, and closes it."""

logger = logging.getLogger(__name__)


class Access:
    """What one socket or request was opened with."""

    def __init__(self, principal: Principal | None, *, ends_with_token: bool) -> None:
        self.principal = principal
        """None as long as no key is known; then nothing ends it."""
        self._ends_with_token = ends_with_token
        self._blocks: list[asyncio.Timeout] = []
        self._refusal: FluxionsError | None = None
        self._tell: Tell | None = None
        self._telling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def while_valid(self, tell: Tell | None = None) -> AsyncIterator[None]:
        """Cancels the block once the access is no longer valid. Raises Unauthenticated, Forbidden then.

        Of blocks within each other the innermost one is cancelled, and the next one if it is still there a second later.
        ``tell`` is called at once with the error, because what the block does at its end may take seconds.
        """
        self._tell = tell
        # A timeout that is due when `end` says so: asyncio tells its cancellation from that of others.
        block = asyncio.timeout(None)
        try:
            async with block:
                self._blocks.append(block)
                try:
                    yield
                finally:
                    self._blocks.remove(block)
        except Exception as error:
            # What the block does at its end may fail as well: nothing is recorded for a deleted account, and nothing can be
            # sent over a socket that `tell` has closed.
            if self._refusal is None or not block.expired():
                raise
            raise self._refusal from error
        finally:
            if self._telling is not None:
                await self._telling

    def end(self, refusal: FluxionsError) -> None:
        """End the innermost block of `while_valid` that has not been ended yet, with ``refusal``."""
        if self._refusal is None:
            self._refusal = refusal
            if self._tell is not None:
                self._telling = asyncio.create_task(_told(self._tell, refusal))
        block = next((one for one in reversed(self._blocks) if one.when() is None), None)
        if block is not None:
            block.reschedule(asyncio.get_running_loop().time())

    def is_refusal(self, error: BaseException) -> bool:
        """Whether this has ended with ``error``."""
        return error is self._refusal

    def token_has_ended(self) -> bool:
        """Whether it was opened with a token that has ended since, and ends with it."""
        ends_at = self.principal.ends_at if self.principal is not None and self._ends_with_token else None
        return ends_at is not None and time.time() >= ends_at


async def _told(tell: Tell, refusal: FluxionsError) -> None:
    try:
        await tell(refusal)
    except Exception as error:  # the client may have left, or its socket may be closing
        logger.info("a client was not told why its socket ends: %s", type(error).__name__)


class AccessWatch:
    """Watches what is open at one gateway replica. For one event loop only."""

    def __init__(self, keys: KeyLedger, key_cache_secs: Seconds) -> None:
        self._keys = keys
        self._interval_secs = max(key_cache_secs, _LEAST_INTERVAL_SECS)
        self._open: set[Access] = set()

    @contextmanager
    def opened(self, principal: Principal | None, *, ends_with_token: bool = True) -> Iterator[Access]:
        """Watched while this is held. Of a socket the principal may be set later."""
        access = Access(principal, ends_with_token=ends_with_token)
        self._open.add(access)
        try:
            yield access
        finally:
            self._open.discard(access)

    async def run(self) -> None:
        """Watch until cancelled. While the ledger is away, only tokens end."""
        while True:
            await asyncio.sleep(self._interval_secs)
            try:
                await self._look()
            except FluxionsError as error:
                logger.warning("the ledger was not asked whether keys of open sockets are valid: %s", error.code)
            except Exception as error:  # whatever happens, the next look must come
                logger.error("keys of open sockets were not checked: %s", type(error).__name__)  # noqa: TRY400

    async def _look(self) -> None:
        watched = {access: access.principal for access in self._open if access.principal is not None}
        for access in watched:
            if access.token_has_ended():
                access.end(Unauthenticated("the token that this was opened with has ended", code="token_ended"))
        key_ids = {one.api_key_id for one in watched.values() if one.api_key_id is not None}
        accounts = {one.account for one in watched.values()}
        if not watched:
            return
        closed_keys, closed_accounts = await self._keys.closed(key_ids, accounts)
        for access, principal in watched.items():
            if principal.account in closed_accounts:
                access.end(Forbidden("this account was deleted", code="account_deleted"))
            elif principal.api_key_id in closed_keys:
                access.end(Unauthenticated("the key that this was opened with was revoked or has expired"))
