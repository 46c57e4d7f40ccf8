"""Scopes of keys. Every route requires one of them, or is public (`serve.gateway.access`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.errors import InvalidRequest

OPERATOR: Final = "operator"
"""Workers and archives: claim jobs, use the engines, import."""
ADMIN: Final = "admin"
"""Managing keys, and reading the audit."""
USER_SCOPES: Final = ("transcribe", "speak", "history", "realtime")
USER: Final = "user"
"""Stands for all of `USER_SCOPES`."""
SCOPES: Final = (*USER_SCOPES, OPERATOR, ADMIN, USER)


def check_scopes(scopes: Iterable[str]) -> None:
    """Raises InvalidRequest for an unknown scope."""
    unknown = set(scopes) - set(SCOPES)
    if unknown:
        raise InvalidRequest(f"scopes: there is no scope {min(unknown)!r}; use {', '.join(SCOPES)}", param="scopes")


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes that a key's scopes stand for."""
    named = frozenset(scopes)
    return named | frozenset(USER_SCOPES) if USER in named else named
