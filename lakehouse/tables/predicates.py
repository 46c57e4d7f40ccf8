"""Parts of SQL predicates for `lakehouse.tables.group_commit.TableWriter.delete`."""

from __future__ import annotations


def quoted(text: str) -> str:
    """``text`` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
