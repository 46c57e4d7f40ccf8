"""Connects a process of an archive run to the gateway.

URL and key come from the environment or HOME, never from arguments.
"""

from __future__ import annotations

import os

from clients.archives import ArchiveClient
from schemas.errors import Unauthenticated
from schemas.settings import Settings


def connect(settings: Settings) -> ArchiveClient:
    """A client of the gateway. Raises Unauthenticated if there is no operator key."""
    key = settings.archives.operator_key.get_secret_value()
    path = settings.home / "keys" / "operator"
    if not key:
        try:
            key = path.read_text().strip()
        except OSError:
            raise Unauthenticated(f"no operator key: set FLUXIONS_OPERATOR_KEY, or keep one in {path}") from None
    return ArchiveClient(os.environ.get("FLUXIONS_URL", settings.server.url), key)
