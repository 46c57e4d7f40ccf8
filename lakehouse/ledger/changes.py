"""What readers in other processes have not seen yet: the last rows acknowledged, by table.

A reader holds a table as of some version, and the rows acknowledged since, up to a *position* in this log. Before each read
it asks for the rows after its position. Rows enter the log before their writer hears of them, so whatever was acknowledged
before the question is in the answer. A reader that fell behind, or that comes from an earlier life of the ledger, is told
to open the table anew: the version it must at least hold, and the rows that are not in the tables yet.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

KEPT_ROWS = 8192
"""Rows kept of each table; a reader that is further behind opens the table anew."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """How much of a table's log a reader knows; ``epoch`` is one life of the ledger."""

    epoch: str
    count: int


@dataclass(frozen=True, slots=True)
class Changes:
    """``rows``, in order of acknowledgement, bring a reader to ``position``; a later row of an id replaces an earlier one.

    With ``version``, they apply to a snapshot of the table that holds at least that version, and to nothing else.
    """

    position: Position
    rows: list[Row]
    version: int | None = None


class ChangeLog:
    """The log of one table."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._count = 0
        self._rows: deque[Row] = deque(maxlen=KEPT_ROWS)

    @classmethod
    def several(cls, tables: Sequence[str]) -> dict[str, ChangeLog]:
        """Logs of ``tables`` in one new epoch."""
        epoch = secrets.token_hex(8)
        return {table: cls(epoch) for table in tables}

    @property
    def position(self) -> Position:
        return Position(self._epoch, self._count)

    def add(self, rows: Sequence[Row]) -> None:
        self._rows.extend(rows)
        self._count += len(rows)

    def since(self, position: Position | None) -> Changes | None:
        """What a reader at ``position`` lacks; None if that cannot be told from what is kept."""
        if position is None or position.epoch != self._epoch:
            return None
        missing = self._count - position.count
        if missing > len(self._rows):
            return None
        return Changes(self.position, list(islice(self._rows, len(self._rows) - missing, None)))
