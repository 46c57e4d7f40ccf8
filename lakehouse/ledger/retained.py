"""How much of what is finished the ledger keeps in memory."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.domain import Seconds


@dataclass(frozen=True, slots=True)
class Retained:
    """The newest ``least`` entries always, others until they are ``secs`` old, and never more than ``most``."""

    least: int
    most: int
    secs: Seconds

    def drops(self, entries: int, oldest_secs: Seconds) -> bool:
        """Whether the oldest of ``entries``, which is ``oldest_secs`` old, is to be forgotten."""
        return entries > self.most or (entries > self.least and oldest_secs > self.secs)
