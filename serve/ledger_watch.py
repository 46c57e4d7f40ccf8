"""Detects a paused or stuck ledger, which Ray does not detect, and has Ray start it again."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import Final

from schemas.settings import Settings
from serve.ledger_actor import NAMESPACE, answers, restart
from serve.replica_logs import configure_actor

NAME: Final = "ledger-watch"
LOOK_EVERY_SECS: Final = 1.0
_CHECK_SECS: Final = 2.5
_CHECKS: Final = 3
"""Number of consecutive unanswered checks after which the ledger is restarted: about 10 s."""
_CHECKS_AFTER_RESTART: Final = 20

logger = logging.getLogger("fluxions.deploy")


class LedgerWatch:
    """Counts the checks that the ledger did not answer."""

    def __init__(self) -> None:
        self._left = _CHECKS

    def look(self) -> None:
        """Check once. It counts checks and not seconds, so that a suspended machine does not look like a failure."""
        self._left = _CHECKS if asyncio.run(answers(_CHECK_SECS)) else self._left - 1
        if self._left == 0:
            logger.error("the ledger does not answer; starting it again")
            restart()
            self._left = _CHECKS_AFTER_RESTART


class LedgerWatchActor:
    """Watches the ledger where no process of ours runs beside Ray's. It looks every second, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        configure_actor(settings)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        watch = LedgerWatch()
        try:
            while True:
                watch.look()
                time.sleep(LOOK_EVERY_SECS)
        finally:
            os._exit(1)  # Ray starts this process again, and with it the watch.


def start_watch(settings: Settings) -> None:
    """Start the actor, or find the running one. Ray starts it again wherever it dies."""
    import ray

    actor = ray.remote(LedgerWatchActor).options(
        name=NAME, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, max_restarts=-1, num_cpus=0
    )
    actor.remote(settings)
