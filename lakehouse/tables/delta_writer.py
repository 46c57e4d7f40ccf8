"""Blocking writes to one Delta table: commits, flushes to disk, and checkpoints.

Every commit sets ``txn_version``, the version of the table's app transaction ``app_id`` (Delta protocol, "Transaction
Identifiers"). After an error the new log entries are read, to find whether the commit succeeded, before it is sent again.
A commit takes the Delta version after the last version read, and each version can be taken only once. So a late arrival
of a commit that seemed lost is always noticed before the next commit succeeds.

If another process may become the writer while this process is paused, each writer begins with a fence: a commit without
rows, whose number is one above the highest fence so far. A pending commit of an earlier writer aims at a version that the
fence, or a commit before the fence, has taken, so it fails. The earlier writer then reads the new log entries, finds
another writer's fence, and stops.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Schema,
    WriterProperties,
)
from deltalake.exceptions import TableNotFoundError
from obstore.exceptions import AlreadyExistsError

from lakehouse.storage.fsync import fsync_with_parents
from lakehouse.storage.location import Location
from lakehouse.tables import delta_log
from lakehouse.tables.delta_fsync import fsync_checkpoint, fsync_commits, write_commits_anew
from lakehouse.tables.file_replacement import ROW_GROUP_ROWS, DataFile, FileReplacement, write_file
from lakehouse.tables.open_table import open_table
from lakehouse.tables.opened_table import OpenedTable
from schemas.errors import Conflict, Unavailable
from schemas.tables import Table

log = logging.getLogger(__name__)

Row = dict[str, Any]

RETRY_DELAYS_SECS = (0.05, 0.2, 0.8)
WRITER_PROPERTIES = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=ROW_GROUP_ROWS)
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_ONCE = CommitProperties(max_commit_retries=0)
"""Commit at the version after the last version read, or not at all, because a fence may be in between."""

_ACTIONS_A_COMMIT = 16
"""Most actions of checkpoints that are written for each commit, on average. A checkpoint for each 20 commits took three
times the processor time of the first 22,700 commits themselves. Opening a table reads up to a sixteenth as many log
entries as it has files: 1,400 in .3 s."""


class DeltaWriter:
    """Used from one thread at a time, except `write_checkpoint`."""

    def __init__(
        self,
        table: Table,
        location: Location,
        *,
        app_id: str,
        checkpoint_interval: int,
        guard: Callable[[], None],
        fenced: bool = False,
        retention_hours: int | None = None,
    ) -> None:
        """``retention_hours``: how long the log names files that the table has no more; None for Delta's own week."""
        self.table = table
        self.uri = location.table_uri(table.name)
        self._app_id = app_id
        self._interval = checkpoint_interval
        self._guard = guard
        self._store = location.store(f"tables/{table.name}")
        self._flushed = Path(self.uri) if location.fsync else None
        self._stale = False
        self._flush_failed = False
        self._removed_at = -1
        """No later version removed files."""
        self._fence: int | None = None
        """The number of this writer's fence; None if no other process can become the writer."""
        self.version = -1
        """Delta version of the last commit."""
        self.txn_version = -1
        """App transaction version of the last commit; -1 before the first."""
        self.opened: OpenedTable | None
        """The table as it was opened, until those who need it have read it."""
        self._columns: frozenset[str]
        self._properties: dict[str, str] = {}
        retention = {} if retention_hours is None else _retention(retention_hours)
        try:
            handle = self._open()
        except TableNotFoundError:
            self._create(location, retention)
            handle = self._open()
        found = self.version
        if fenced:
            handle = self._set_fence(handle)
        handle = self._fit_properties(self._fit_columns(handle), retention)
        self.opened = OpenedTable(handle, self.version, table, None if location.folder else self._store)
        # A killed process has flushed every commit except perhaps its last. Readers may rely on the last commit from now
        # on. It is written anew, because its flush may have failed.
        if self._flushed and (self._flushed / delta_log.entry_path(found)).exists():
            write_commits_anew(self._flushed, found, self.version)
        self._durable_version = self.version
        self.checkpointed, self._checkpoint_actions = delta_log.last_checkpoint(self._store)

    def _fit_columns(self, handle: DeltaTable) -> DeltaTable:
        """Add nullable columns that a table from an earlier version of this program lacks; their rows have null there.

        Raises Conflict if a column differs in any other way.
        """
        columns = {column.name: column for column in self.table.schema}
        differing = self._columns ^ set(columns)
        if not all(name in columns and columns[name].nullable for name in differing):
            names = ", ".join(sorted(differing))
            raise Conflict(
                f"the table {self.table.name} at {self.uri} differs in its columns ({names}): it belongs to another "
                "version of Fluxions; run that version, or choose another FLUXIONS_HOME",
                code="other_version",
            )
        if differing:
            latest = self._latest()
            added = Schema.from_arrow(pa.schema([column for column in self.table.schema if column.name in differing]))
            properties = self._commit_properties
            latest.alter.add_columns(added.fields, commit_properties=properties, post_commithook_properties=_NO_HOOKS)
            log.info("the table %s has new columns: %s", self.table.name, ", ".join(sorted(differing)))
            return self._open()
        return handle

    def _fit_properties(self, handle: DeltaTable, wanted: dict[str, str]) -> DeltaTable:
        if any(self._properties.get(name) != value for name, value in wanted.items()):
            latest, once = self._latest(), self._commit_properties
            latest.alter.set_table_properties(wanted, False, commit_properties=once, post_commithook_properties=_NO_HOOKS)
            return self._open()
        return handle

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether enough versions were committed since the last checkpoint: `checkpoint_interval`, or more in a table of
        many files, because a checkpoint names each of them."""
        return self.version - self.checkpointed >= max(self._interval, self._checkpoint_actions // _ACTIONS_A_COMMIT)

    def commit(self, rows: list[Row], txn_version: int) -> list[int]:
        """Add ``rows`` to the table exactly once in spite of errors, and flush them to disk.

        Returns the transaction versions that were read from the table meanwhile. They tell whether an earlier commit that
        was reported as failed is in the table after all. Raises CommitError, with the same versions, when all attempts or
        the flush failed.
        """
        data = pa.Table.from_pylist(rows, schema=self.table.schema)
        seen: list[int] = []
        for delay in (*RETRY_DELAYS_SECS, None):
            try:
                if self._stale:
                    self._catch_up()
                    seen.append(self.txn_version)
                self._guard()
                self._mend()
                if self.txn_version < txn_version:
                    self._write(data, txn_version)
                break
            except BaseException as error:
                # A panic of the native library is no Exception; KeyboardInterrupt never reaches this thread.
                self._stale = True
                if delay is None:
                    raise CommitError(self.table.name, seen) from error
                log.warning("commit to %s: %s; trying again in %.2f s", self.table.name, type(error).__name__, delay)
                time.sleep(delay)
        self._flush(seen)
        return seen

    def delete(self, predicate: str) -> None:
        """Remove the rows for which an SQL ``predicate`` is true, durably. May be repeated.

        Their bytes stay in files of older versions until a vacuum. Raises CommitError.
        """
        try:
            handle = self._latest()
            handle.delete(
                predicate,
                writer_properties=WRITER_PROPERTIES,
                commit_properties=self._commit_properties,
                post_commithook_properties=_NO_HOOKS,
            )
        except BaseException as error:
            self._stale = True
            raise CommitError(self.table.name, []) from error
        self.version = self._removed_at = handle.version()
        self._flush([])

    def replace_files(self, change: FileReplacement) -> bool:
        """Replace files in one commit, durably. Returns False and changes nothing if a file to remove no longer exists.

        Raises CommitError.
        """
        try:
            self._catch_up()
            self._guard()
            self._mend()
            # Nothing but this writer's own deletions and replacements removes files, so the table is not asked again.
            if self._removed_at > change.version and not self._has(change.removed):
                return False
            delta_log.append_replacement(self._store, self.version + 1, change, int(time.time() * 1000))
        except BaseException as error:
            self._stale = True
            raise CommitError(self.table.name, []) from error
        self.version = self._removed_at = self.version + 1
        self._flush([])
        return True

    def _has(self, files: Sequence[DataFile]) -> bool:
        """Whether all ``files`` are in the table."""
        handle = open_table(self.uri, version=self.version)
        return {file.path for file in files} <= set(pl.DataFrame(handle.get_add_actions())["path"])

    def write_checkpoint(self) -> None:
        """Write a checkpoint. It uses its own handle, so it may run beside commits."""
        handle = open_table(self.uri)
        handle.create_checkpoint()
        if self._flushed:
            fsync_checkpoint(self._flushed, handle.version())
        self.checkpointed, self._checkpoint_actions = delta_log.last_checkpoint(self._store)

    def _create(self, location: Location, retention: dict[str, str]) -> None:
        configuration: dict[str, str | None] = {
            "delta.checkpointInterval": str(self._interval),
            "delta.dataSkippingStatsColumns": ",".join(self.table.stats),
            **retention,
        }
        DeltaTable.create(self.uri, self.table.schema, mode="ignore", configuration=configuration, name=self.table.name)
        if self._flushed and location.folder:
            fsync_commits(self._flushed, 0, 0)
            fsync_with_parents(self._flushed, location.folder)

    def _open(self) -> DeltaTable:
        """Read the committed state. Raises Conflict for a table that this program cannot write."""
        handle = open_table(self.uri)
        delta_log.check_appendable(handle)
        found = handle.transaction_version(self._app_id)
        self.version, self.txn_version = handle.version(), -1 if found is None else found
        self._removed_at = self.version
        self._columns = frozenset(field.name for field in handle.schema().fields)
        self._properties = {name: value for name, value in handle.metadata().configuration.items() if value is not None}
        self._stale = False
        return handle

    def _catch_up(self) -> None:
        """Read the commits after the last version read.

        Raises Unavailable(code="lock_lost") at another writer's fence.
        """
        while (entry := delta_log.read_entry(self._store, self.version + 1)) is not None:
            if self._fence is not None and entry.txns.get(delta_log.FENCE_ID, self._fence) != self._fence:
                raise Unavailable("another ledger writes this storage now; this ledger stops writing", code="lock_lost")
            if not entry.plain:
                self._open()
                continue
            self.version += 1
            self.txn_version = entry.txns.get(self._app_id, self.txn_version)
            if entry.removes:
                self._removed_at = self.version
        self._stale = False

    def _latest(self) -> DeltaTable:
        """The table as it is now, if this writer may commit to it. Raises Unavailable(code="lock_lost")."""
        if self._fence is None:
            handle = open_table(self.uri)
        else:
            self._catch_up()
            handle = open_table(self.uri, version=self.version)
        self._guard()
        self._mend()
        return handle

    @property
    def _commit_properties(self) -> CommitProperties | None:
        return None if self._fence is None else _ONCE

    def _set_fence(self, handle: DeltaTable) -> DeltaTable:
        """Commit a fence after the version that ``handle`` has read. Returns the version before it, which has its rows.

        Earlier writers may still commit before the fence; their rows are then read. The table is not read again after the
        fence, because nothing can be between it and the version before: a bucket answers each read late, and a machine that
        takes the ledger over opens every table.
        """
        while self._fence is None:
            self._guard()
            found = handle.transaction_version(delta_log.FENCE_ID)
            number, now_ms = 0 if found is None else found + 1, int(time.time() * 1000)
            version = self.version + 1
            try:
                delta_log.append(self._store, version, None, app_id=delta_log.FENCE_ID, txn_version=number, now_ms=now_ms)
            except AlreadyExistsError:
                log.info("a commit to %s came before the fence", self.table.name)
                handle = self._open()
            else:
                self.version, self._fence = version, number
        return handle

    def _write(self, data: pa.Table, txn_version: int) -> None:
        frame = pl.from_arrow(data)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table it always is
        name = f"part-{uuid.uuid4().hex}.parquet"
        file = None if frame.is_empty() else write_file(self._store, name, frame, self.table)
        version, now_ms = self.version + 1, int(time.time() * 1000)
        delta_log.append(self._store, version, file, app_id=self._app_id, txn_version=txn_version, now_ms=now_ms)
        self.version, self.txn_version = version, txn_version

    def _flush(self, seen: list[int]) -> None:
        try:
            if self._flushed:
                fsync_commits(self._flushed, self._durable_version + 1, self.version)
        except OSError as error:
            self._stale = self._flush_failed = True
            raise CommitError(self.table.name, seen) from error
        self._durable_version = self.version

    def _mend(self) -> None:
        """Make the commit durable whose flush failed, before the next commit. Raises OSError, ValueError."""
        if self._flushed and self._flush_failed:
            write_commits_anew(self._flushed, self._durable_version + 1, self.version)
            self._durable_version, self._flush_failed = self.version, False


def _retention(hours: int) -> dict[str, str]:
    """Properties of a table whose files of older versions are kept for ``hours``.

    Without them checkpoints name removed files for a week, and the log is kept for 30 days: a table with eight commits a
    minute would be opened by listing 300,000 entries. Entries stay twice as long as files, because exports read them.
    """
    return {
        "delta.deletedFileRetentionDuration": f"interval {hours} hours",
        "delta.logRetentionDuration": f"interval {2 * hours} hours",
    }


class CommitError(Exception):
    """A commit that was not acknowledged. ``seen``: transaction versions, as `DeltaWriter.commit` returns them."""

    def __init__(self, table: str, seen: list[int]) -> None:
        super().__init__(f"commit to {table} failed")
        self.seen = seen
