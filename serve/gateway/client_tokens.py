"""Short-lived tokens for browsers and WebSockets, with some scopes of the key they are created with.

A token is signed with a secret of the home (HS256) and not stored. It becomes invalid with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import jwt

from schemas.domain import Seconds
from schemas.errors import Unauthenticated

PREFIX: Final = "fxt_"
_AUDIENCE: Final = "fluxions client"
_ALGORITHM: Final = "HS256"


@dataclass(frozen=True, slots=True)
class ClientToken:
    """The content of a token."""

    key_id: str
    scopes: tuple[str, ...]
    ends_at: int
    """Unix time."""


class ClientTokens:
    """Creates and verifies tokens."""

    def __init__(self, home_secret: bytes) -> None:
        # The home's secret also signs links; each use has a separate key.
        self._secret = hmac.new(home_secret, b"client tokens", hashlib.sha256).digest()

    def make(self, key_id: str, scopes: Iterable[str], secs: Seconds) -> tuple[str, int]:
        """A token and its Unix time of expiry."""
        ends_at = int(time.time() + secs)
        claims = {"aud": _AUDIENCE, "sub": key_id, "scope": " ".join(sorted(scopes)), "exp": ends_at}
        return PREFIX + jwt.encode(claims, self._secret, _ALGORITHM), ends_at

    def read(self, token: str) -> ClientToken:
        """Verify a token. Raises Unauthenticated if it is invalid or expired."""
        try:
            claims = jwt.decode(
                token.removeprefix(PREFIX),
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "sub", "scope"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("this token has expired; create a new one", code="token_ended") from None
        except jwt.InvalidTokenError:
            raise Unauthenticated("this token was not issued by this server, or was changed") from None
        return ClientToken(str(claims["sub"]), tuple(str(claims["scope"]).split()), int(claims["exp"]))
