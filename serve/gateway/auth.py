"""Authentication by API key or token, sent as it is or after ``Bearer``.

Keys and tokens are neither stored nor logged.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader

from lakehouse.ledger.key_interface import KeyLedger
from schemas.domain import Seconds
from schemas.errors import Forbidden, InvalidRequest, Unauthenticated
from schemas.records import ApiKey
from schemas.scopes import ADMIN, OPERATOR, USER, granted
from schemas.settings import AuthSettings
from serve.gateway.client_tokens import PREFIX, ClientTokens
from serve.gateway.jwt_issuer import JwtIssuer

_CACHED_KEYS = 10_000

_header = APIKeyHeader(name="Authorization", auto_error=False, description="The API key itself, without `Bearer`.")


@dataclass(frozen=True, slots=True)
class Principal:
    """The account that a request acts for, and what its key may be used for (`schemas.scopes`)."""

    account: str
    key_id: str
    scopes: frozenset[str]
    is_key: bool = True
    """Whether a key was sent, and not a token."""
    ends_at: int | None = None
    """Unix time at which the sent token expires; None for a key."""
    api_key_id: str | None = None
    """The key that was sent, or that the token was made with; None for an identity provider's token."""

    def require(self, scope: str) -> None:
        """Raises Forbidden if the key does not have this scope."""
        if scope in self.scopes:
            return
        if scope in (OPERATOR, ADMIN) and OPERATOR not in self.scopes:
            raise Forbidden(
                "this key does not have the scope operator; use the operator key of this instance", code="operator_only"
            )
        raise Forbidden(f"this key does not have the scope {scope}; use a key that has it", code="missing_scope")


def without_scheme(authorization: str) -> str:
    """The key or token in an Authorization header, with or without ``Bearer``, in any case (RFC 9110, section 11.1)."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else authorization.strip()


class KeyRing:
    """Knows keys by their hashes, tokens made from them, and an identity provider's tokens.

    Known keys are cached for FLUXIONS_KEY_CACHE_SECS, so a revocation takes effect within that time.
    """

    def __init__(self, keys: KeyLedger, tokens: ClientTokens, issuer: JwtIssuer | None, settings: AuthSettings) -> None:
        self.tokens = tokens
        self._token_max_secs = settings.token_max_secs
        self._keys = keys
        self._issuer = issuer
        self._ttl_secs = settings.key_cache_secs
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._used: dict[str, dt.datetime] = {}
        self._jwt_local_accounts = settings.jwt_local_accounts
        self._local: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        """Whether an account of an identity provider's tokens also has keys here, and when the ledger was asked."""

    async def principal(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header.

        Raises Unauthenticated for a missing, empty or unknown key or token, Forbidden for a token of an identity provider
        that names an account with keys of its own.
        """
        if authorization is None:
            raise Unauthenticated(
                "no API key was sent; put it in the Authorization header, as it is", code="missing_api_key"
            )
        key = without_scheme(authorization)
        if not key:
            raise Unauthenticated("the Authorization header is empty; put your API key in it", code="empty_api_key")
        if key.startswith(PREFIX):
            return await self._of_token(key)
        if self._issuer is not None and key.count(".") == 2:
            account, subject, scopes, ends_at = await self._issuer.claims(key)
            await self._check_not_local(account)
            subject_id = f"jwt {hashlib.sha256(subject.encode()).hexdigest()[:16]}"
            return Principal(account, subject_id, scopes, is_key=False, ends_at=ends_at)
        key_hash = hashlib.sha256(key.encode()).hexdigest()
        found = await self._lookup(key_hash, lambda: self._keys.find(key_hash))
        return Principal(found.account, found.id, granted(found.scopes), api_key_id=found.id)

    async def check_key(self, key_id: str, scope: str) -> None:
        """Raises Unauthenticated if the key with this id is no longer valid, Forbidden if it does not have this scope."""
        key = await self._lookup(key_id, lambda: self._keys.find_id(key_id))
        Principal(key.account, key.id, granted(key.scopes)).require(scope)

    def issue_token(self, key: Principal, scopes: Iterable[str], secs: Seconds) -> tuple[str, list[str], dt.datetime]:
        """A token with some of the key's scopes: the token, its scopes, and the time of its end.

        Raises Forbidden if ``key`` is a token or lacks a scope, InvalidRequest if ``secs`` is too long.
        """
        if not key.is_key:
            raise Forbidden("a token cannot create tokens; use the key", code="not_a_key")
        if secs > self._token_max_secs:
            raise InvalidRequest(f"seconds: a token lasts at most {self._token_max_secs} s", param="seconds")
        wanted = sorted(granted(scopes) - {USER})
        for scope in wanted:
            key.require(scope)
        token, ends_at = self.tokens.make(key.key_id, wanted, secs)
        return token, wanted, dt.datetime.fromtimestamp(ends_at, dt.UTC)

    async def note_uses(self) -> None:
        """Tell the ledger when keys were last used. Called periodically."""
        if self._used:
            used, self._used = self._used, {}
            await self._keys.used(used)

    async def _of_token(self, token: str) -> Principal:
        said = self.tokens.read(token)
        key = await self._lookup(said.key_id, lambda: self._keys.find_id(said.key_id))
        scopes = frozenset(said.scopes) & granted(key.scopes)
        return Principal(key.account, key.id, scopes, is_key=False, ends_at=said.ends_at, api_key_id=key.id)

    async def _check_not_local(self, account: str) -> None:
        """Raises Forbidden for an account that has keys here, unless FLUXIONS_JWT_LOCAL_ACCOUNTS allows such accounts."""
        if self._jwt_local_accounts:
            return
        at, is_local = self._local.get(account, (0.0, True))
        if account not in self._local or time.monotonic() - at >= self._ttl_secs:
            is_local = await self._keys.has_key(account)
            self._local[account] = (time.monotonic(), is_local)
            self._local.move_to_end(account)
            if len(self._local) > _CACHED_KEYS:
                self._local.popitem(last=False)
        if is_local:
            raise Forbidden(
                "this token names an account that has keys of this server; use one of those keys, or have the operator set "
                "FLUXIONS_JWT_LOCAL_ACCOUNTS",
                code="local_account",
            )

    async def _lookup(self, name: str, find: Callable[[], Awaitable[ApiKey | None]]) -> ApiKey:
        """The key with this hash or id, from the cache or by ``find``."""
        at, known = self._known.get(name, (0.0, None))
        now = dt.datetime.now(dt.UTC)
        if known is None or time.monotonic() - at >= self._ttl_secs:
            known = await find()
        if known is None or not known.is_open(now):
            self._known.pop(name, None)
            raise Unauthenticated("this API key is unknown, was revoked or has expired; check it or ask for a new one")
        if known is not self._known.get(name, (0.0, None))[1]:
            self._known[name] = (time.monotonic(), known)
        self._known.move_to_end(name)
        if len(self._known) > _CACHED_KEYS:
            self._known.popitem(last=False)
        self._used[known.id] = now
        return known


async def user(request: Request, _: Annotated[str | None, Depends(_header)]) -> Principal:
    """FastAPI dependency of every protected route.

    The gate has authenticated the request before. A request that did not pass the gate is refused.
    """
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise Unauthenticated("no API key was sent; put it in the Authorization header, as it is", code="missing_api_key")
    return principal


async def maybe_user(request: Request, _: Annotated[str | None, Depends(_header)]) -> Principal | None:
    """FastAPI dependency of routes that need no key. A key that is sent must be valid."""
    return getattr(request.state, "principal", None)


async def operator(principal: Annotated[Principal, Depends(user)]) -> Principal:
    """FastAPI dependency of the operator API."""
    principal.require(OPERATOR)
    return principal


async def admin(principal: Annotated[Principal, Depends(user)]) -> Principal:
    """FastAPI dependency of the routes about keys."""
    principal.require(ADMIN)
    return principal


User = Annotated[Principal, Depends(user)]
MaybeUser = Annotated[Principal | None, Depends(maybe_user)]
Operator = Annotated[Principal, Depends(operator)]
Admin = Annotated[Principal, Depends(admin)]
