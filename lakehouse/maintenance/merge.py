"""Merges files: small files from commits become sorted runs, and runs become fewer and larger.

A run is a set of files that do not overlap, sorted by the table's key. The small files are merged into a new run,
together with every run that is at most `GROWTH` times as large as the input merged so far. So each remaining run is more
than `GROWTH` times as large as the next smaller one: ten million rows are about ten runs at most, and the number of times
a row is rewritten grows with the logarithm of the table (a log-structured merge tree, O'Neil et al. 1996, with
size-tiered compaction).

Events are sorted by time instead, so their full files overlap no later file and are never rewritten. Memory is bounded by
the small files of one step and one file: runs are read range by range.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from obstore.store import ObjectStore

from lakehouse.tables.file_replacement import (
    DataFile,
    FileReplacement,
    NewFile,
    newest_files,
    run_path,
    scan_files,
    write_file,
)
from schemas.tables import Table

GROWTH = 2
_SAMPLES_PER_FILE = 256
_FILES_AT_ONCE = 256
"""Small files that are read together. Until all are read, each takes 40 kB: 1.1 GiB for 22,700 files of three rows."""

_SORT_KEYS = {
    "job_events": ("seq",),
    "transcriptions": ("account", "id", "revision"),
    "conversations": ("account", "id", "revision"),
    "segments": ("account", "id", "revision", "position"),
    "archive_files": ("archive_id", "item", "seq"),
    "voice_consents": ("seq",),
    "speakers": ("seq",),
    "webhooks": ("seq",),
    "webhook_deliveries": ("seq",),
}
_WIDE_FILE_ROWS = {"segments": 50_000}

Bound = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """When to merge and how large files grow."""

    min_tail_files: int = 8
    """With fewer small files nothing is merged: rewriting them would cost more than readers gain."""
    file_rows: int = 250_000

    def of(self, table: Table) -> MergePolicy:
        """The policy for a table. Tables with words of transcripts have files of fewer rows."""
        return replace(self, file_rows=min(self.file_rows, _WIDE_FILE_ROWS.get(table.name, self.file_rows)))

    @property
    def max_tail_rows(self) -> int:
        """Rows of small files that one step reads into memory."""
        return 2 * self.file_rows


def sort_key(table: Table) -> tuple[str, ...]:
    """The columns that a table's runs are sorted by."""
    return _SORT_KEYS.get(table.name, ("account", "id"))


def merge_step(uri: str, store: ObjectStore, table: Table, policy: MergePolicy) -> FileReplacement | None:
    """The next replacement that merges files, with the new files written; None if there is nothing to merge. Blocks.

    Repeated steps terminate: each leaves fewer small files, and no step is made for fewer than `min_tail_files`.
    """
    version, files = newest_files(uri, table)
    tail, runs = _plan(files, table, policy)
    if not tail:
        return None
    key = sort_key(table)
    # Ranges are cut by two columns at most, so rows of one (account, id) stay together.
    cut = key[:2]
    parts = (tail[first : first + _FILES_AT_ONCE] for first in range(0, len(tail), _FILES_AT_ONCE))
    fresh = pl.concat(scan_files(uri, part, table).collect().rechunk() for part in parts)
    fresh = fresh.sort(key, maintain_order=True)
    written: list[NewFile] = []
    new_run = uuid.uuid4().hex
    for low, high in _ranges(uri, table, fresh, runs, cut, policy.file_rows):
        frames = [fresh.filter(_within(cut, low, high))]
        frames += [
            scan_files(uri, f, table).filter(_within(cut, low, high)).collect() for f in _touching(runs, cut, low, high)
        ]
        merged = pl.concat(frames).sort(key, maintain_order=True)
        for piece in merged.iter_slices(policy.file_rows):
            if piece.height:
                written.append(write_file(store, run_path(new_run, len(written)), piece, table))
    return FileReplacement([*tail, *(file for run in runs for file in run)], written, data_change=False, version=version)


def _plan(files: Sequence[DataFile], table: Table, policy: MergePolicy) -> tuple[list[DataFile], list[list[DataFile]]]:
    """(small files to merge, runs to merge them with); both empty if there are too few small files."""
    tail = [file for file in files if file.run is None]
    if len(tail) < policy.min_tail_files:
        return [], []
    runs: dict[str, list[DataFile]] = {}
    for file in files:
        settled = sort_key(table) == ("seq",) and file.num_rows >= policy.file_rows // 2
        if file.run is not None and not settled:
            runs.setdefault(file.run, []).append(file)
    taken: list[DataFile] = []
    rows = 0
    for file in tail:
        if taken and rows + file.num_rows > policy.max_tail_rows:
            break
        taken.append(file)
        rows += file.num_rows
    absorbed: list[list[DataFile]] = []
    for _, run in sorted((sum(file.num_rows for file in run), run) for run in _ordered(runs)):
        held = sum(file.num_rows for file in run)
        if held > GROWTH * rows:
            break
        absorbed.append(run)
        rows += held
    return taken, absorbed


def _ordered(runs: dict[str, list[DataFile]]) -> Iterator[list[DataFile]]:
    yield from (sorted(files, key=lambda file: file.path) for files in runs.values())


def _ranges(
    uri: str, table: Table, fresh: pl.DataFrame, runs: Sequence[Sequence[DataFile]], cut: Sequence[str], file_rows: int
) -> list[tuple[Bound | None, Bound | None]]:
    """Ranges of keys, [low, high) with None for no bound, of about ``file_rows`` rows each.

    They are cut at a sample of the keys: every ``step``-th of each input, so each input adds at most ``step`` rows of
    error.
    """
    step = max(1, file_rows // _SAMPLES_PER_FILE)
    samples = [fresh.select(cut).gather_every(step)]
    samples += [scan_files(uri, run, table).select(cut).gather_every(step).collect() for run in runs]
    keys = pl.concat(samples).sort(cut)
    # A little less than a full file. Otherwise nearly every range would become a full file and a tiny one.
    every = max(1, int(0.9 * file_rows) // step)
    marks: list[Bound] = list(dict.fromkeys(keys.gather_every(every).rows()))[1:]
    return list(zip([None, *marks], [*marks, None], strict=True))


def _touching(
    runs: Sequence[Sequence[DataFile]], cut: Sequence[str], low: Bound | None, high: Bound | None
) -> Iterator[list[DataFile]]:
    """For each run, the files that may have rows of a range."""
    for run in runs:
        files = [file for file in run if _may_touch(file, cut, low, high)]
        if files:
            yield files


def _may_touch(file: DataFile, cut: Sequence[str], low: Bound | None, high: Bound | None) -> bool:
    """Whether a file's bounds leave it open. Those of the second column count if the first has one value in the file: else
    each range of an account with many files would read all of them."""
    least, most = [file.low.get(column) for column in cut], [file.high.get(column) for column in cut]
    if least[0] is None or most[0] is None:
        return True
    known = len(cut) if least[0] == most[0] and None not in (*least, *most) else 1
    return (low is None or tuple(most[:known]) >= low[:known]) and (high is None or tuple(least[:known]) <= high[:known])


def _within(cut: Sequence[str], low: Bound | None, high: Bound | None) -> pl.Expr:
    wanted = pl.lit(value=True)
    if low is not None:
        # The first comparison is implied by the second, but Parquet readers can skip row groups by it.
        wanted = wanted & (pl.col(cut[0]) >= low[0]) & ~_before(cut, low)
    if high is not None:
        wanted = wanted & (pl.col(cut[0]) <= high[0]) & _before(cut, high)
    return wanted


def _before(cut: Sequence[str], bound: Bound) -> pl.Expr:
    """True for rows whose key is less than ``bound``, compared column by column."""
    first: pl.Expr = pl.col(cut[0]) < bound[0]
    if len(cut) == 1:
        return first
    tied: pl.Expr = (pl.col(cut[0]) == bound[0]) & (pl.col(cut[1]) < bound[1])
    return first | tied
