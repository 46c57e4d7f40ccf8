"""The feed of acknowledged rows that readers in other processes follow; see `lakehouse.ledger.change_log`."""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.ledger.change_log import ChangeLog, Changes, Position
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.index_specs import INDEX_SPECS
from lakehouse.tables.row_mapping import job_row
from schemas.domain import Job


class ChangeFeed:
    """One change log for each table that readers follow.

    Rows of ``transcriptions`` enter it with the event of a job, long before they are written to that table. Rows of the
    other tables enter it when they are committed.
    """

    def __init__(self, writers: Mapping[str, TableWriter], live: LiveJobs, clock: Clock) -> None:
        self._writers = writers
        self._live = live
        self._logs = ChangeLog.several(list(INDEX_SPECS), clock)
        for name in INDEX_SPECS.keys() - {"transcriptions"}:
            writers[name].on_committed = self._logs[name].add

    def on_job_committed(self, job: Job) -> None:
        """Add a job's new state."""
        self._logs["transcriptions"].add([job_row(job)])

    def restart(self, table: str) -> None:
        """Make all readers reopen a table from which rows were erased."""
        self._logs[table].restart()

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        """See `RecordLedger.changes`."""
        return {name: self._logs[name].since(position) or self._whole(name) for name, position in since.items()}

    def _whole(self, table: str) -> Changes:
        # Position, version and live jobs are read without an await between: every acknowledged row is in the table of that
        # version, among the live jobs, or after the position.
        rows = [job_row(entry.job) for entry in self._live] if table == "transcriptions" else []
        return Changes(self._logs[table].position, rows, self._writers[table].version)
