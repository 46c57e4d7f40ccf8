"""Detects a gateway that no longer answers although every child process runs, for example after a failed redeploy."""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx

_EVERY_SECS = 5.0
_CHECK_TIMEOUT_SECS = 3.0
_CHECKS = 12
_CHECKS_AFTER_RESTART = 24


@dataclass
class GatewayWatch:
    """Requests ``url`` every 5 s.

    It counts checks and not seconds, so that a suspended machine does not look like a failure.
    """

    url: str
    checks_left: int = _CHECKS
    next_at: float = 0.0
    """By time.monotonic()."""

    def restarted(self) -> None:
        """Allow a restarted cluster 24 checks, which take at least two minutes."""
        self.checks_left = max(self.checks_left, _CHECKS_AFTER_RESTART)

    def lost(self) -> bool:
        """Whether the gateway answered none of the last 12 checks, which take at least a minute.

        If so, the count begins again.
        """
        if time.monotonic() < self.next_at:
            return False
        self.checks_left = _CHECKS if answers(self.url) else self.checks_left - 1
        self.next_at = time.monotonic() + _EVERY_SECS
        if self.checks_left > 0:
            return False
        self.checks_left = _CHECKS_AFTER_RESTART
        return True


def answers(url: str) -> bool:
    """Whether the gateway itself answers, with any status. The proxy's own pages are not JSON and do not count."""
    try:
        answer = httpx.get(url, timeout=_CHECK_TIMEOUT_SECS, trust_env=False)
    except httpx.HTTPError:
        return False
    return bool(answer.headers.get("content-type", "").startswith("application/json"))
