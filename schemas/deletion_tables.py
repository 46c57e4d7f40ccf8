"""The table of deletions that take several steps, from which interrupted deletions are completed."""

from __future__ import annotations

import pyarrow as pa

from schemas.table_columns import ACCOUNT, CREATED, TIMESTAMP, Table, column

DELETIONS = Table(
    "deletions",
    "one state of the deletion of a render, a conversation or an account: as accepted, and as done",
    pa.schema(
        [
            column("id", pa.int64(), "Deletion id; grows with time."),
            ACCOUNT,
            CREATED,
            column("kind", pa.string(), "render, conversation or account."),
            column("target", pa.string(), "Id of what is deleted."),
            column(
                "given_ids",
                pa.string(),
                "Highest allocated id of each table of records, as JSON: ids up to these are not allocated again.",
            ),
            column("done_at", TIMESTAMP, "When all of it was erased, UTC; null as accepted.", null=True),
        ]
    ),
)
