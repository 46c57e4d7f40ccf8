"""Client secrets of realtime sessions: short-lived keys for browsers, which can only open sessions.

A secret is stored under its hash, with its account and initial session, so that every replica can look it up.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from lakehouse.storage.objects import Objects
from schemas.errors import InvalidRequest, NotFound, Unauthenticated

PREFIX: Final = "ek_"
FOLDER: Final = "realtime-secrets"


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission of a secret: sessions of ``account`` with the initial settings ``session``."""

    id: str
    """An identifier that does not reveal the secret."""
    account: str
    session: Mapping[str, Any]
    expires_at: int
    key_id: str | None = None
    """The id of the key that created the secret, which becomes invalid with that key. None if an identity provider's
    token created the secret.
    """
    session_ends_at: int | None = None
    """Unix time at which its sessions end, if a token created the secret: when that token expires."""


class ClientSecrets:
    """Creates and looks up secrets. Maintenance removes expired ones."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def create(
        self,
        account: str,
        session: Mapping[str, Any],
        lifetime_secs: int,
        key_id: str | None = None,
        session_ends_at: int | None = None,
    ) -> tuple[str, Grant]:
        """A new secret and its grant; it opens any number of sessions until it expires.

        Raises InvalidRequest for a session with half a surrogate pair, which JSON can name and Unicode text cannot hold.
        """
        value = PREFIX + secrets.token_hex(24)
        grant = Grant(_id(value), account, session, int(time.time()) + lifetime_secs, key_id, session_ends_at)
        body = {
            "account": account,
            "session": dict(session),
            "expires_at": grant.expires_at,
            "key_id": key_id,
            "session_ends_at": session_ends_at,
        }
        try:
            stored = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            raise InvalidRequest(f"session: {error}", code="invalid_value", param="session") from None
        await self._objects.put_bytes(_key(value), stored)
        return value, grant

    async def find(self, value: str) -> Grant:
        """The grant of a secret. Raises Unauthenticated for an unknown or expired secret."""
        try:
            body = orjson.loads(await self._objects.get_bytes(_key(value)))
        except NotFound:
            raise Unauthenticated("this client secret is unknown; make another one", code="invalid_api_key") from None
        grant = Grant(
            _id(value),
            body["account"],
            body["session"],
            body["expires_at"],
            body.get("key_id"),
            body.get("session_ends_at"),
        )
        if time.time() >= grant.expires_at:
            raise Unauthenticated("this client secret has expired; make another one", code="expired_api_key")
        return grant


def _key(value: str) -> str:
    return f"{FOLDER}/{_hash(value)}"


def _id(value: str) -> str:
    return _hash(value)[:16]


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
