"""The key with which workers, maintenance and archive runs ask the gateway.

URL and key come from the environment or HOME, never from arguments.
"""

from __future__ import annotations

import os
from pathlib import Path

from clients.archives import ArchiveClient
from schemas.errors import Unauthenticated
from schemas.settings import Settings


def worker_key_file(home: Path) -> Path:
    """The file of a key that has the scope `operator` alone: whoever gets it from a worker can manage no keys.

    A machine that was set up for an earlier version has another key, in ``HOME/keys/operator``.
    """
    node, earlier = home / "keys" / "node", home / "keys" / "operator"
    return earlier if earlier.exists() and not node.exists() else node


def connect(settings: Settings) -> ArchiveClient:
    """A client of the gateway for an archive run. Raises Unauthenticated if there is no key."""
    key = settings.archives.operator_key.get_secret_value()
    path = worker_key_file(settings.home)
    if not key:
        try:
            key = path.read_text().strip()
        except OSError:
            raise Unauthenticated(f"no key of scope operator: set FLUXIONS_OPERATOR_KEY, or keep one in {path}") from None
    return ArchiveClient(os.environ.get("FLUXIONS_URL", settings.server.url), key)
