"""How a process of an archive finds the gateway and its key: in its own environment or HOME, never in what it is told."""

from __future__ import annotations

import os

from flows.archive_client import ArchiveClient
from schemas.errors import Unauthenticated
from schemas.settings import Settings


def connect(settings: Settings) -> ArchiveClient:
    """Raises Unauthenticated where this process was given no key."""
    key = settings.archives.operator_key.get_secret_value()
    path = settings.home / "keys" / "operator"
    if not key:
        try:
            key = path.read_text().strip()
        except OSError:
            raise Unauthenticated(f"no operator key: set FLUXIONS_OPERATOR_KEY, or keep one in {path}") from None
    return ArchiveClient(os.environ.get("FLUXIONS_URL", settings.server.url), key)
