"""Who asks: an API key, raw as the seed shows it or after ``Bearer``. Keys are found by hash, never kept or logged."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader

from schemas.domain import ApiKey
from schemas.errors import Forbidden, Unauthenticated

_CACHED_KEYS = 10_000
OPERATOR = "operator"

_header = APIKeyHeader(name="Authorization", auto_error=False, description="The API key itself, without `Bearer`.")


@dataclass(frozen=True, slots=True)
class Principal:
    """The account a request speaks for, and what its key opens."""

    account: str
    key_id: str
    scopes: tuple[str, ...]


class KeyRing:
    """Looks keys up by hash and remembers known ones for ``ttl_secs``, so a revocation bites within that time."""

    def __init__(self, find: Callable[[str], Awaitable[ApiKey | None]], ttl_secs: float) -> None:
        self._find = find
        self._ttl_secs = ttl_secs
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()

    async def principal(self, authorization: str | None) -> Principal:
        """Raises Unauthenticated, saying which of missing, empty or unknown it was."""
        if authorization is None:
            raise Unauthenticated(
                "no API key was sent; put it in the Authorization header, as it is", code="missing_api_key"
            )
        key = authorization.removeprefix("Bearer ").strip()
        if not key or key == "Bearer":
            raise Unauthenticated("the Authorization header is empty; put your API key in it", code="empty_api_key")
        found = await self._lookup(hashlib.sha256(key.encode()).hexdigest())
        if found is None or found.revoked_at is not None:
            raise Unauthenticated("this API key is unknown or was revoked; check it or ask for a new one")
        return Principal(found.account, found.id, found.scopes)

    async def _lookup(self, key_hash: str) -> ApiKey | None:
        at, known = self._known.get(key_hash, (0.0, None))
        if known is not None and time.monotonic() - at < self._ttl_secs:
            return known
        found = await self._find(key_hash)
        if found is None or found.revoked_at is not None:
            self._known.pop(key_hash, None)
            return found
        self._known[key_hash] = (time.monotonic(), found)
        self._known.move_to_end(key_hash)
        if len(self._known) > _CACHED_KEYS:
            self._known.popitem(last=False)
        return found


async def user(request: Request, _: Annotated[str | None, Depends(_header)]) -> Principal:
    """FastAPI dependency of every protected route. The scheme documents the header; it takes an empty one for none."""
    authorization = request.headers.get("authorization")
    return await request.app.state.services.keys.principal(authorization)  # type: ignore[no-any-return]


async def maybe_user(request: Request, authorization: Annotated[str | None, Depends(_header)]) -> Principal | None:
    """FastAPI dependency of routes that need no key; one that is sent must be known."""
    return None if authorization is None else await user(request, authorization)


async def operator(principal: Annotated[Principal, Depends(user)]) -> Principal:
    """FastAPI dependency of the operator API."""
    if OPERATOR not in principal.scopes:
        raise Forbidden("this key has no operator scope; use the operator key of this instance", code="operator_only")
    return principal


User = Annotated[Principal, Depends(user)]
MaybeUser = Annotated[Principal | None, Depends(maybe_user)]
Operator = Annotated[Principal, Depends(operator)]
