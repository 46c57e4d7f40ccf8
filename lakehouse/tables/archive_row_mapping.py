"""Archive runs and their files to table rows and back."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict, fields
from typing import Any

from lakehouse.tables.row_mapping import options_from_row, options_row
from schemas.archives import Archive, ArchiveCounts, ArchiveFile, ArchiveKind, ArchiveStatus, FileStatus

Row = dict[str, Any]

_COUNTS = tuple(f.name for f in fields(ArchiveCounts))
_CONVERTED = ("kind", "status", "options", "counts", "created_at", "updated_at")
_PLAIN = tuple(f.name for f in fields(Archive) if f.name not in _CONVERTED)
_FILE_PLAIN = tuple(f.name for f in fields(ArchiveFile) if f.name not in ("key", "status", "updated_at"))


def archive_row(seq: int, archive: Archive) -> Row:
    """A row of ``archives``; ``seq`` orders the states of all runs."""
    return {
        "seq": seq,
        **{name: getattr(archive, name) for name in _PLAIN},
        **asdict(archive.counts),
        "created_at": archive.created_at,
        "updated_at": archive.updated_at,
        "kind": archive.kind.value,
        "status": archive.status.value,
        **options_row(archive.options),
    }


def archive_from_row(row: Row) -> Archive:
    """A run from a row; further columns are ignored."""
    return Archive(
        kind=ArchiveKind(row["kind"]),
        status=ArchiveStatus(row["status"]),
        options=options_from_row(row),
        counts=ArchiveCounts(**{name: row[name] for name in _COUNTS}),
        created_at=row["created_at"].astimezone(dt.UTC),
        updated_at=row["updated_at"].astimezone(dt.UTC),
        **{name: row[name] for name in _PLAIN},
    )


def file_row(seq: int, file: ArchiveFile) -> Row:
    """A row of ``archive_files``; ``seq`` orders the states of all files."""
    return {
        "seq": seq,
        "item": file.key,
        "status": file.status.value,
        "updated_at": file.updated_at,
        **{name: getattr(file, name) for name in _FILE_PLAIN},
    }


def file_from_row(row: Row) -> ArchiveFile:
    """A file from a row; further columns are ignored.

    Strings that many files share are interned: a run may have a million.
    """
    return ArchiveFile(
        key=row["item"],
        status=FileStatus(row["status"]),
        updated_at=row["updated_at"].astimezone(dt.UTC),
        **{
            **{name: row[name] for name in _FILE_PLAIN},
            "account": sys.intern(row["account"]),
            "metadata": sys.intern(row["metadata"]),
            "location": row["item"] if row["location"] == row["item"] else row["location"],
        },
    )
