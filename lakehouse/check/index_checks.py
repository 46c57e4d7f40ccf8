"""Compares the files that are made from tables (indexes of rows and words, blocks of rows) with their checksums."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lakehouse.check.findings import Finding, Kind
from lakehouse.check.object_checks import is_sampled
from lakehouse.storage.array_file import check_arrays
from lakehouse.storage.derived_files import derived_files


def check_indexes(folder: Path, share: float) -> Iterator[Finding]:
    """Damaged files in the folders of tables below ``folder``, of the share (0 to 1) that is read. Blocks."""
    for path in derived_files(folder):
        if is_sampled(path.name, share):
            try:
                check_arrays(path)
            except FileNotFoundError:
                continue  # Its data file was merged meanwhile.
            except (OSError, ValueError):
                yield Finding(Kind.DAMAGED_INDEX, str(path), "it is not what was written; gateways make it again")


def remove_index(finding: Finding) -> bool:
    """Remove a damaged file. The next reader makes it again; a gateway that has mapped it keeps it until it ends."""
    Path(finding.where).unlink(missing_ok=True)
    return True
