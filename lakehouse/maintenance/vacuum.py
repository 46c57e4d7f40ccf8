"""Vacuum: removes data files that no recent version of a table names, and expired log entries.

This removes deleted rows from older versions, and the files of a killed merge. Older versions can no longer be read.
"""

from __future__ import annotations

from lakehouse.tables.open_table import open_table
from schemas.errors import InvalidParameter


def vacuum(uri: str, retention_hours: int) -> int:
    """Remove data files that no version of the last ``retention_hours`` names, and return their number. Blocks.

    No version names a file that is written and not yet committed either, so the time must exceed that of any commit,
    merge or reader's snapshot. Raises InvalidParameter for less than an hour.
    """
    if retention_hours < 1:
        raise InvalidParameter("files of the last hour may be in use; vacuum keeps at least those", param="retention_hours")
    handle = open_table(uri)
    # Delta's own minimum of a week is meant for writers that run for days. This writer's commits are short.
    gone = handle.vacuum(retention_hours, dry_run=False, enforce_retention_duration=False, full=True)
    handle.cleanup_metadata()
    return len(gone)
