"""The last acknowledged rows of each table, for readers in other processes.

A reader holds a snapshot of a table and the rows acknowledged since, up to a *position* in this log. Before each read the
reader asks for the rows after its position. Rows enter the log before their writer is told of the commit, so the answer
has everything that was acknowledged before the question. A reader that is too far behind, or that holds a position from
before a restart of the ledger, opens the table again: it gets the minimum table version, and the rows that are in no
table yet.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lakehouse.ledger.clock import Clock
from lakehouse.ledger.retained import Retained

LOG_ROWS = Retained(least=1024, most=8192, secs=900.0)
"""Rows held for each table; a reader that is further behind opens the table again. The time is well above the one after
which a reader that is asked takes a new snapshot.
"""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """The number of rows of a table's log that a reader has. ``epoch`` is a random name of one opening of the ledger."""

    epoch: str
    count: int


@dataclass(frozen=True, slots=True)
class Changes:
    """``rows``, in order of acknowledgement, bring a reader to ``position``; a later row of an id replaces an earlier one.

    With ``version``, they apply only to a snapshot of the table at that Delta version or a later one.
    """

    position: Position
    rows: list[Row]
    version: int | None = None


class ChangeLog:
    """The log of one table, oldest row first."""

    def __init__(self, epoch: str, clock: Clock) -> None:
        self._epoch = epoch
        self._clock = clock
        self._count = 0
        self._rows: deque[Row] = deque()
        self._added: deque[float] = deque()
        """The monotonic time of each row."""

    @classmethod
    def several(cls, tables: Sequence[str], clock: Clock) -> dict[str, ChangeLog]:
        """Logs of ``tables`` in one new epoch."""
        epoch = secrets.token_hex(8)
        return {table: cls(epoch, clock) for table in tables}

    @property
    def position(self) -> Position:
        """The position after the last row."""
        return Position(self._epoch, self._count)

    def add(self, rows: Sequence[Row]) -> None:
        """Append acknowledged rows, and forget old ones."""
        now = self._clock.monotonic()
        self._rows.extend(rows)
        self._added.extend([now] * len(rows))
        self._count += len(rows)
        while self._rows and LOG_ROWS.drops(len(self._rows), now - self._added[0]):
            self._rows.popleft()
            self._added.popleft()

    def restart(self) -> None:
        """Forget all rows and begin a new epoch, after rows were erased from the table: readers open it again."""
        self._epoch = secrets.token_hex(8)
        self._rows.clear()
        self._added.clear()

    def since(self, position: Position | None) -> Changes | None:
        """The rows after ``position``; None if the log does not reach back to it."""
        if position is None or position.epoch != self._epoch:
            return None
        missing = self._count - position.count
        if missing > len(self._rows):
            return None
        return Changes(self.position, list(islice(self._rows, len(self._rows) - missing, None)))
