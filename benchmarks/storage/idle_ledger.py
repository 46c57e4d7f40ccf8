"""A ledger without new rows, for measuring reads of tables alone."""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.ledger.change_log import Changes, Position


class IdleLedger:
    """A `lakehouse.history.follower.ChangeSource`: all acknowledged rows are in the tables."""

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        """By table, no rows; a reader without a position gets one, and opens the newest version."""
        here = Position("idle", 0)
        return {name: Changes(here, [], 0 if position is None else None) for name, position in since.items()}
