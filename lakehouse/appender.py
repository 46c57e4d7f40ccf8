"""The blocking side of a table writer: commits with a mark, the flush, and checkpoints.

Every commit carries a *mark*, the version of the table's app transaction ``app_id``. Before anything is sent again after an
error, the table is opened and asked whether that mark is in it already. A commit takes the version after the last one
seen, and a version is taken once: so a commit thought lost that lands late is always noticed before the next one succeeds.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import (
    DeltaTable,
    PostCommitHookProperties,
    Schema,
    WriterProperties,
)
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lakehouse import delta_log
from lakehouse.durable import fsync_checkpoint, fsync_commits, fsync_with_parents
from lakehouse.location import Location
from lakehouse.maintenance.files import Exchange, write_file
from schemas.errors import Conflict
from schemas.tables import Table

log = logging.getLogger(__name__)

Row = dict[str, Any]

RETRY_DELAYS_SECS = (0.05, 0.2, 0.8)
WRITER_PROPERTIES = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=4096)
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class Appender:
    """Used from one thread at a time, but for ``write_checkpoint``. ``version`` and ``mark`` say what is committed."""

    def __init__(
        self, table: Table, location: Location, *, app_id: str, checkpoint_interval: int, guard: Callable[[], None]
    ) -> None:
        self.table = table
        self.uri = location.table_uri(table.name)
        self._app_id = app_id
        self._interval = checkpoint_interval
        self._guard = guard
        self._store = location.store(f"tables/{table.name}")
        self._flushed = Path(self.uri) if location.fsync else None
        self._stale = False
        self.version = -1
        self.mark = -1
        self._columns: frozenset[str]
        try:
            self._open()
        except TableNotFoundError:
            self._create(location)
            self._open()
        self._fit_columns()
        # A killed process flushed every commit but perhaps its last, and whoever reads that one now may rely on it.
        if self._flushed and (self._flushed / delta_log.entry_path(self.version)).exists():
            fsync_commits(self._flushed, self.version, self.version)
        self._durable_version = self.version
        self.checkpointed = self.version - self.version % checkpoint_interval

    def _fit_columns(self) -> None:
        """Add nullable columns that a table from an earlier version of this program lacks; their rows have null there.

        Raises Conflict for one that differs otherwise, before anything is read or written wrongly.
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
            self._guard()
            added = Schema.from_arrow(pa.schema([column for column in self.table.schema if column.name in differing]))
            DeltaTable(self.uri).alter.add_columns(added.fields, post_commithook_properties=_NO_HOOKS)
            log.info("the table %s has new columns: %s", self.table.name, ", ".join(sorted(differing)))
            self._open()

    @property
    def checkpoint_is_due(self) -> bool:
        return self.version - self.checkpointed >= self._interval

    def commit(self, rows: list[Row], mark: int) -> list[int]:
        """Put ``rows`` into the table once, whatever errors come between, and flush them.

        Returns the marks the table was seen to hold on the way, by which the caller may learn that an earlier commit
        reported as failed is there after all. Raises CommitError, with the same marks, after all attempts or if the flush
        fails.
        """
        data = pa.Table.from_pylist(rows, schema=self.table.schema)
        seen: list[int] = []
        for delay in (*RETRY_DELAYS_SECS, None):
            try:
                self._guard()
                if self._stale:
                    self._open()
                    seen.append(self.mark)
                if self.mark < mark:
                    self._write(data, mark)
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
        """Remove the rows that an SQL ``predicate`` is true of, durably; doing it again changes nothing.

        Their bytes stay in files of older versions until those are vacuumed. Raises CommitError.
        """
        try:
            self._guard()
            handle = DeltaTable(self.uri)
            handle.delete(predicate, writer_properties=WRITER_PROPERTIES, post_commithook_properties=_NO_HOOKS)
        except BaseException as error:
            self._stale = True
            raise CommitError(self.table.name, []) from error
        self.version = handle.version()
        self._flush([])

    def exchange(self, change: Exchange) -> bool:
        """Put files in the place of others, durably, in one commit; False, and nothing done, if one of those is gone.

        Raises CommitError.
        """
        try:
            self._guard()
            handle = DeltaTable(self.uri)
            if not {file.path for file in change.out} <= set(pl.DataFrame(handle.get_add_actions())["path"]):
                return False
            now = int(time.time() * 1000)
            handle.create_write_transaction(
                [
                    *(AddAction(f.path, f.size_bytes, {}, now, change.data_change, f.stats) for f in change.into),
                    *(
                        RemoveAction(
                            path=f.path,
                            data_change=change.data_change,
                            deletion_timestamp=now,
                            size=f.size_bytes,
                            partition_values={},
                        )
                        for f in change.out
                    ),
                ],
                mode="append",
                schema=handle.schema(),
                post_commithook_properties=_NO_HOOKS,
            )
            # A handle does not take note of a transaction made of actions.
            handle.update_incremental()
        except BaseException as error:
            self._stale = True
            raise CommitError(self.table.name, []) from error
        self.version = handle.version()
        self._flush([])
        return True

    def write_checkpoint(self) -> None:
        """Write a checkpoint on a handle of its own; safe beside commits."""
        handle = DeltaTable(self.uri)
        handle.create_checkpoint()
        if self._flushed:
            fsync_checkpoint(self._flushed, handle.version())
        self.checkpointed = handle.version()

    def _create(self, location: Location) -> None:
        configuration: dict[str, str | None] = {
            "delta.checkpointInterval": str(self._interval),
            "delta.dataSkippingStatsColumns": ",".join(self.table.stats),
        }
        DeltaTable.create(self.uri, self.table.schema, mode="ignore", configuration=configuration, name=self.table.name)
        if self._flushed and location.folder:
            fsync_commits(self._flushed, 0, 0)
            fsync_with_parents(self._flushed, location.folder)

    def _open(self) -> None:
        """Learn what is committed. Raises Conflict for a table that only other programs may write."""
        handle = DeltaTable(self.uri)
        delta_log.check_appendable(handle)
        found = handle.transaction_version(self._app_id)
        self.version, self.mark = handle.version(), -1 if found is None else found
        self._columns = frozenset(field.name for field in handle.schema().fields)
        self._stale = False

    def _write(self, data: pa.Table, mark: int) -> None:
        frame = pl.from_arrow(data)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table it always is
        file = write_file(self._store, f"part-{uuid.uuid4().hex}.parquet", frame, self.table)
        version, now_ms = self.version + 1, int(time.time() * 1000)
        delta_log.append(self._store, version, file, app_id=self._app_id, mark=mark, now_ms=now_ms)
        self.version, self.mark = version, mark

    def _flush(self, seen: list[int]) -> None:
        # Not tried again for this commit: after a failed fsync the kernel may drop the pages and call the next a success.
        try:
            if self._flushed:
                fsync_commits(self._flushed, self._durable_version + 1, self.version)
        except OSError as error:
            self._stale = True
            raise CommitError(self.table.name, seen) from error
        self._durable_version = self.version


class CommitError(Exception):
    """A commit that was not acknowledged; ``seen`` as in ``Appender.commit``."""

    def __init__(self, table: str, seen: list[int]) -> None:
        super().__init__(f"commit to {table} failed")
        self.seen = seen
