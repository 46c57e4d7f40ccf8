"""The blocking side of a table writer: one Delta handle, commits with a mark, the flush, and checkpoints.

Every commit carries a *mark*, the version of the table's app transaction ``app_id``. Before anything is sent again after an
error, the table is reopened and asked whether that mark is in it already: Delta itself would accept the same transaction
twice on a fresh handle. It does refuse a handle that has not seen the last mark, so a commit thought lost that lands late
is always noticed before the next one succeeds.

A handle gets slower with each commit since the checkpoint it was opened on, and gains nothing by checkpoints written later.
So after each checkpoint the handle is opened anew.
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
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Schema,
    Transaction,
    WriterProperties,
)
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

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
        self._handle: DeltaTable
        self._stale = False
        self.version = -1
        self.mark = -1
        try:
            self._open()
        except TableNotFoundError:
            self._create(location)
            self._open()
        self._fit_columns()
        # A killed process flushed every commit but perhaps its last, and whoever reads that one now may rely on it.
        if self._flushed and (self._flushed / "_delta_log" / f"{self.version:020d}.json").exists():
            fsync_commits(self._flushed, self.version, self.version)
        self._durable_version = self.version
        self.checkpointed = self.version - self.version % checkpoint_interval

    def _fit_columns(self) -> None:
        """Add nullable columns that a table from an earlier version of this program lacks; their rows have null there.

        Raises Conflict for one that differs otherwise, before anything is read or written wrongly.
        """
        found = {field.name for field in self._handle.schema().fields}
        columns = {column.name: column for column in self.table.schema}
        differing = found ^ set(columns)
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
            self._handle.alter.add_columns(added.fields, post_commithook_properties=_NO_HOOKS)
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
            raise CommitError(self.table.name, []) from error
        finally:
            # The kept handle has not seen this version.
            self._stale = True
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
            raise CommitError(self.table.name, []) from error
        finally:
            # The kept handle has not seen this version.
            self._stale = True
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
        self._stale = True

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
        # Cleared first: a checkpoint that ends meanwhile must not be missed.
        self._stale = False
        self._handle = DeltaTable(self.uri)
        self.version = self._handle.version()
        found = self._handle.transaction_version(self._app_id)
        self.mark = -1 if found is None else found

    def _write(self, data: pa.Table, mark: int) -> None:
        # Delta's own writer plans a query for every append: of one row, 16 ms against 7 for the same file named here.
        frame = pl.from_arrow(data)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table it always is
        file = write_file(self._store, f"part-{uuid.uuid4().hex}.parquet", frame, self.table)
        self._handle.create_write_transaction(
            [AddAction(file.path, file.size_bytes, {}, int(time.time() * 1000), True, file.stats)],
            mode="append",
            schema=self._handle.schema(),
            commit_properties=CommitProperties(app_transactions=[Transaction(self._app_id, mark)]),
            post_commithook_properties=_NO_HOOKS,
        )
        # A handle does not take note of a transaction made of actions.
        self._handle.update_incremental()
        self.version, self.mark = self._handle.version(), mark

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
