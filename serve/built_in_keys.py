"""The keys that every home has, in ``HOME/keys``, and their rows in the ledger."""

from __future__ import annotations

import hashlib
import logging
from typing import Final

from schemas.errors import Conflict
from schemas.scopes import ADMIN, OPERATOR, USER
from schemas.settings import Settings
from serve.ledger_actor import remote_ledger
from serve.supervisor.instance import ensure_key

BUILT_IN_KEYS: Final = (
    ("default", "default", (USER,)),
    ("operator", "operator", (OPERATOR, ADMIN, USER)),
    ("admin", "operator", (ADMIN,)),
    ("node", "operator", (OPERATOR,)),
)
"""(name, account, scopes) of the keys in ``HOME/keys``. People use the first three, workers `node`."""

logger = logging.getLogger("fluxions.deploy")


async def ensure_keys(settings: Settings) -> None:
    """Record the keys that every home has: for users (account ``default``), for workers, and for the management of keys.

    A revoked key stays revoked and does not prevent the start: whoever revoked it has other keys.
    """
    ledger = remote_ledger()
    for name, account, scopes in BUILT_IN_KEYS:
        key = ensure_key(settings.home, name)
        if await ledger.keys.find(hashlib.sha256(key.encode()).hexdigest()) is None:
            try:
                await ledger.keys.create(account, name, scopes, key)
            except Conflict:
                logger.warning("the key in %s/keys/%s was revoked; replace the file to have one again", settings.home, name)
