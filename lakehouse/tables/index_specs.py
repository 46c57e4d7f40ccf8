"""The columns that readers of history index in memory, by table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """The columns of a table that readers index in memory, in addition to account, id and time."""

    table: str
    code: str | None = None
    """A column that lists are filtered by."""
    hashed: str | None = None
    """A column that rows are found by."""
    revised: bool = False
    """Whether a table may have several rows with one id. The row with the highest ``revision`` is current, unless it is
    deleted.
    """
    identity: tuple[str, ...] = ("id",)
    """The columns that name a row."""

    @property
    def unique(self) -> bool:
        """Whether an id names one row."""
        return self.identity == ("id",)

    @property
    def columns(self) -> list[str]:
        """All columns that the index is built from."""
        extra = [self.code, self.hashed, "revision" if self.revised else None]
        return ["account", "id", "created_at", *(name for name in extra if name)]


INDEX_SPECS: Final = {
    spec.table: spec
    for spec in (
        IndexSpec("transcriptions", code="status", revised=True),
        IndexSpec("tts_renders", code="voice"),
        IndexSpec("conversations", code="voice", hashed="session_id", revised=True),
        IndexSpec("turns", hashed="session_id"),
        IndexSpec("tool_calls", hashed="session_id"),
        IndexSpec("segments", identity=("id", "revision", "position")),
    )
}
"""The tables that readers follow, by name."""
