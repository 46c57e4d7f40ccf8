"""An append as one entry of Delta's log, written by us: who creates the entry of a version has committed it.

delta-rs plans every transaction, lists the log and reads it again: some ten times what the entry itself takes. A writer
that only adds files needs none of that (https://github.com/delta-io/delta/blob/master/PROTOCOL.md): the version must
follow one it has seen, and the store must refuse to create an entry that is there. Everything else is left to delta-rs.
"""

from __future__ import annotations

from typing import Final

import obstore
import orjson
from deltalake import DeltaTable
from obstore.store import ObjectStore

from lakehouse.maintenance.files import NewFile
from schemas.errors import Conflict

MAX_WRITER_VERSION: Final = 2
"""Tables that ask more of a writer (features such as change feeds or generated columns) are not ours to append to."""


def entry_path(version: int) -> str:
    """Of the log's entry for ``version``, within the table's folder."""
    return f"_delta_log/{version:020d}.json"


def append(store: ObjectStore, version: int, file: NewFile, *, app_id: str, mark: int, now_ms: int) -> None:
    """Commit ``file`` as ``version`` of the table in ``store``, and ``mark`` as what its app transaction has reached.

    Raises obstore.exceptions.AlreadyExistsError where another writer was first; after any other error it may be there.
    """
    actions = (
        {
            "commitInfo": {
                "timestamp": now_ms,
                "operation": "WRITE",
                "operationParameters": {"mode": "Append", "partitionBy": "[]"},
                "engineInfo": "fluxions",
            }
        },
        {
            "add": {
                "path": file.path,
                "partitionValues": {},
                "size": file.size_bytes,
                "modificationTime": now_ms,
                "dataChange": True,
                "stats": file.stats,
            }
        },
        {"txn": {"appId": app_id, "version": mark, "lastUpdated": now_ms}},
    )
    obstore.put(store, entry_path(version), b"\n".join(map(orjson.dumps, actions)), mode="create")


def check_appendable(table: DeltaTable) -> None:
    """Raises Conflict for a table whose protocol asks more of a writer than `append` knows."""
    wanted = table.protocol().min_writer_version
    if wanted > MAX_WRITER_VERSION:
        raise Conflict(
            f"the table at {table.table_uri} asks for Delta writer version {wanted}, and this program writes up to "
            f"{MAX_WRITER_VERSION}: a tool has switched on a feature of it; restore a copy from before, or choose another "
            "FLUXIONS_HOME",
            code="other_protocol",
        )
