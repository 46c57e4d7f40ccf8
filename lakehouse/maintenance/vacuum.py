"""Vacuum: removing files that no recent version of a table names, and log entries past their time.

That takes with it what a deletion left in older versions, what a killed merge wrote in vain, and the reach of time travel.
"""

from __future__ import annotations

from deltalake import DeltaTable

from schemas.errors import InvalidParameter


def vacuum(uri: str, retention_hours: int) -> int:
    """Remove data files unnamed for ``retention_hours``; gives how many. Blocks.

    A file that is written and not yet committed is unnamed as well, so the time must exceed that of any commit or merge,
    and of any reader's snapshot. Raises InvalidParameter for less than an hour.
    """
    if retention_hours < 1:
        raise InvalidParameter("files of the last hour may be in use; vacuum keeps at least those", param="retention_hours")
    handle = DeltaTable(uri)
    # Delta's own least is a week, for writers unlike this one that run for days.
    gone = handle.vacuum(retention_hours, dry_run=False, enforce_retention_duration=False, full=True)
    handle.cleanup_metadata()
    return len(gone)
