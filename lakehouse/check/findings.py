"""Findings of checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of findings. `--repair` repairs those in `REPAIRABLE`."""

    UNREADABLE_TABLE = "unreadable_table"
    MISSING_FILE = "missing_file"
    DAMAGED_FILE = "damaged_file"
    REPEATED_ROW = "repeated_row"
    ROW_WITHOUT_OWNER = "row_without_owner"
    WRONG_COUNT = "wrong_count"
    UNPROJECTED_JOB = "unprojected_job"
    WRONG_LEASE = "wrong_lease"
    WRONG_LEXEMES = "wrong_lexemes"
    MISSING_OBJECT = "missing_object"
    MISSING_VIEW = "missing_view"
    DAMAGED_OBJECT = "damaged_object"
    ORPHANED_OBJECT = "orphaned_object"
    DAMAGED_INDEX = "damaged_index"
    UNFINISHED_FILE = "unfinished_file"
    ABANDONED_SCRATCH = "abandoned_scratch"


REPAIRABLE = frozenset(
    {
        Kind.MISSING_VIEW,
        Kind.DAMAGED_OBJECT,
        Kind.ORPHANED_OBJECT,
        Kind.DAMAGED_INDEX,
        Kind.UNFINISHED_FILE,
        Kind.ABANDONED_SCRATCH,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``where`` is the table, row, object or folder. No field contains text of a user."""

    kind: Kind
    where: str
    sentence: str
