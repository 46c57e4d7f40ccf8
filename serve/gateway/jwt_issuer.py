"""Verifies tokens of an identity provider (JWT, RFC 7519) with its public keys (JWKS, RFC 7517)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any, Final

import jwt

from schemas.errors import Unauthenticated, Unavailable
from schemas.scopes import USER_SCOPES
from schemas.settings import AuthSettings

_ASYMMETRIC: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASHED: Final = "jwt-"
_FETCH_SECS: Final = 5.0
_KEPT_SECS: Final = 600
"""How long fetched keys are used. A key that the provider withdrew is refused after that time."""
_COOLDOWN_SECS: Final = 10.0
"""Least time between two fetches because of unknown keys, so that tokens with invented key ids cause few fetches."""


class JwtIssuer:
    """One identity provider. Its keys are fetched every ten minutes, and when a token names an unknown key."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        # With a shared secret everyone who can verify a token could create one.
        self._algorithms = [name for name in settings.jwt_algorithm_list if name in _ASYMMETRIC]
        self._keys = jwt.PyJWKClient(
            settings.jwt_jwks_url, lifespan=_KEPT_SECS, timeout=_FETCH_SECS, cooldown_duration=_COOLDOWN_SECS
        )

    @classmethod
    def of(cls, settings: AuthSettings) -> JwtIssuer | None:
        """The configured issuer, or None."""
        return cls(settings) if settings.jwt_jwks_url else None

    async def claims(self, token: str) -> tuple[str, str, frozenset[str], int]:
        """(account, subject, scopes, Unix time up to which it is accepted) of a token.

        Raises Unauthenticated, and Unavailable if keys cannot be fetched.
        """
        found = await asyncio.to_thread(self._checked, token)
        subject = str(found.get("sub", ""))
        account = str(found.get(self._settings.jwt_account_claim) or subject)
        if not account:
            raise Unauthenticated(f"this token names no account: it has no claim {self._settings.jwt_account_claim}")
        # An account name in the form of a hashed name could equal the hash of another account's name.
        if not _ACCOUNT.fullmatch(account) or account.startswith(_HASHED):
            account = f"{_HASHED}{hashlib.sha256(account.encode()).hexdigest()[:32]}"
        return account, subject, self._scopes(found), int(int(found["exp"]) + self._settings.jwt_leeway_secs)

    def _scopes(self, found: dict[str, Any]) -> frozenset[str]:
        """The scopes, restricted to those of users."""
        said = found.get(self._settings.jwt_scopes_claim)
        if said is None:
            return frozenset(USER_SCOPES)
        words = said.split() if isinstance(said, str) else [str(word) for word in said] if isinstance(said, list) else []
        named = frozenset(words)
        return frozenset(USER_SCOPES) if "user" in named else named & frozenset(USER_SCOPES)

    def _checked(self, token: str) -> dict[str, Any]:
        settings = self._settings
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            return jwt.decode(
                token,
                key.key,
                algorithms=self._algorithms,
                audience=settings.jwt_audience or None,
                issuer=settings.jwt_issuer or None,
                leeway=settings.jwt_leeway_secs,
                options={"require": ["exp"], "verify_aud": bool(settings.jwt_audience)},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable("the identity provider's keys cannot be fetched; try again") from error
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("this token has expired; sign in again", code="token_ended") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated("this token was not issued by the identity provider for this server") from None
