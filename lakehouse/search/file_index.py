"""Makes the search index of one data file, for a process that does nothing else."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_group_cache import RowGroupCache
from lakehouse.history.table_parts import FilePart
from lakehouse.search.index_builder import build
from lakehouse.search.postings import SEARCH_INDEX
from lakehouse.search.shown_rows import SHOWN
from lakehouse.storage.derived_files import DerivedFiles
from lakehouse.tables.index_specs import INDEX_SPECS
from schemas.tables import table as table_named


def store_file_index(folder: Path, table: str, uri: str) -> None:
    """Store the index of the data file ``uri`` below ``folder``, as `IndexCache` finds it, unless it is there.

    Blocks, as long as `build`. Raises OSError if it cannot be stored, FileNotFoundError for a file that was vacuumed.
    """
    schema = pl.Schema(table_named(table).schema)
    part = FilePart.load(uri, INDEX_SPECS[table], schema, RowGroupCache(0), IndexFiles(folder / table))
    DerivedFiles(folder / table).load(uri, SEARCH_INDEX, lambda: build(part, SHOWN[table]))
