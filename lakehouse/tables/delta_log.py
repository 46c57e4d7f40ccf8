"""Appends to a Delta table by writing log entries directly.

The writer that creates the log entry of a version commits that version. delta-rs plans every transaction, lists the log
and reads it again, which takes about ten times as long as writing the entry. A writer that only adds files does not need
this (Delta protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md): the version must follow a version that
the writer has read, and the store must refuse to create an existing entry. All other operations are left to delta-rs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import obstore
import orjson
from deltalake import DeltaTable
from obstore.store import ObjectStore

from lakehouse.tables.file_replacement import FileReplacement, NewFile
from schemas.errors import Conflict

MAX_WRITER_VERSION: Final = 2
"""Tables with a higher version have features (change feeds, generated columns) that `append` does not support."""


FENCE_ID: Final = "fence"
"""The app transaction that counts the writers of a table, see `lakehouse.tables.delta_writer`."""


def entry_path(version: int) -> str:
    """Path of the log entry for ``version`` within the table's folder."""
    return f"_delta_log/{version:020d}.json"


def log_version(path: str) -> int | None:
    """The table version of a log entry or a checkpoint; None for another file."""
    name = path.rpartition("/")[2]
    return int(name[:20]) if name[:20].isdigit() and name[20:21] == "." else None


def last_checkpoint(store: ObjectStore) -> tuple[int, int]:
    """(version of the newest checkpoint, number of actions in it); (0, 0) if there is none, or it is not known which."""
    try:
        found = orjson.loads(bytes(obstore.get(store, "_delta_log/_last_checkpoint").bytes()))
        return int(found["version"]), int(found["size"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0, 0


def append(store: ObjectStore, version: int, file: NewFile | None, *, app_id: str, txn_version: int, now_ms: int) -> None:
    """Commit ``file``, or no data, as ``version`` of the table in ``store``, with ``txn_version`` for the app transaction
    ``app_id``.

    ``now_ms``: milliseconds since 1970 UTC. Raises obstore.exceptions.AlreadyExistsError if another writer was first; after
    any other error the entry may exist.
    """
    actions = [_commit_info(now_ms), {"txn": {"appId": app_id, "version": txn_version, "lastUpdated": now_ms}}]
    if file is not None:
        actions.append(_add(file, now_ms, data_change=True))
    _create(store, version, actions)


def append_replacement(store: ObjectStore, version: int, change: FileReplacement, now_ms: int) -> None:
    """Commit ``change`` as ``version``. The files that it removes must be in the table. Raises as `append`."""
    actions = [_commit_info(now_ms)]
    actions += [_add(file, now_ms, data_change=change.data_change) for file in change.added]
    actions += [
        {
            "remove": {
                "path": file.path,
                "deletionTimestamp": now_ms,
                "dataChange": change.data_change,
                "extendedFileMetadata": True,
                "partitionValues": {},
                "size": file.size_bytes,
            }
        }
        for file in change.removed
    ]
    _create(store, version, actions)


def _commit_info(now_ms: int) -> dict[str, Any]:
    return {
        "commitInfo": {
            "timestamp": now_ms,
            "operation": "WRITE",
            "operationParameters": {"mode": "Append", "partitionBy": "[]"},
            "engineInfo": "fluxions",
        }
    }


def _add(file: NewFile, now_ms: int, *, data_change: bool) -> dict[str, Any]:
    return {
        "add": {
            "path": file.path,
            "partitionValues": {},
            "size": file.size_bytes,
            "modificationTime": now_ms,
            "dataChange": data_change,
            "stats": file.stats,
        }
    }


def _create(store: ObjectStore, version: int, actions: list[dict[str, Any]]) -> None:
    obstore.put(store, entry_path(version), b"\n".join(map(orjson.dumps, actions)), mode="create")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The fields of a log entry that concern writers.

    ``txns``: version of each app transaction. ``plain``: whether the entry changes only rows. ``removes``: whether it
    removes a file.
    """

    txns: dict[str, int]
    plain: bool
    removes: bool


def read_entry(store: ObjectStore, version: int) -> LogEntry | None:
    """The log entry of ``version`` of the table in ``store``; None if this version is not committed. Blocks."""
    try:
        lines = bytes(obstore.get(store, entry_path(version)).bytes()).splitlines()
    except FileNotFoundError:
        return None
    actions = [orjson.loads(line) for line in lines if line.strip()]
    txns = {action["txn"]["appId"]: int(action["txn"]["version"]) for action in actions if "txn" in action}
    plain = not any("protocol" in action or "metaData" in action for action in actions)
    return LogEntry(txns, plain, any("remove" in action for action in actions))


def check_appendable(table: DeltaTable) -> None:
    """Raises Conflict for a table whose protocol requires more of a writer than `append` supports."""
    wanted = table.protocol().min_writer_version
    if wanted > MAX_WRITER_VERSION:
        raise Conflict(
            f"the table at {table.table_uri} asks for Delta writer version {wanted}, and this program writes up to "
            f"{MAX_WRITER_VERSION}: a tool enabled a table feature; restore an earlier copy, or set another FLUXIONS_HOME",
            code="other_protocol",
        )
