"""Building blocks of table schemas: types of nested values, and columns that several tables have."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

WORD = pa.struct(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("start_secs", pa.float64(), nullable=False),
        pa.field("end_secs", pa.float64(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
    ]
)
WARNING = pa.struct(
    [
        pa.field("code", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("at_secs", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its folder name, columns, what a row is, and the columns readers prune by."""

    name: str
    row: str
    schema: pa.Schema
    stats: tuple[str, ...] = ("id", "account", "created_at")


def column(name: str, kind: pa.DataType, doc: str, *, null: bool = False) -> pa.Field:
    """A column with its meaning; ``null`` where a row may have no value."""
    return pa.field(name, kind, nullable=null, metadata={"doc": doc})


ACCOUNT = column("account", pa.string(), "Account of the row; every read is filtered by it.")
CREATED = column("created_at", TIMESTAMP, "When it was accepted, UTC, milliseconds; allocated with the id.")

RECOGNIZE_COLUMNS: list[pa.Field] = [
    column("asked_language", pa.string(), "Language code the client gave; null lets the engine detect it.", null=True),
    column("prompt", pa.string(), "Text the client gave as an example of style and vocabulary; null for none.", null=True),
    column("keyterms", pa.list_(pa.string()), "Names and jargon the client expects; null for none.", null=True),
    column("task", pa.string(), "transcribe or translate; null in old rows: transcribe.", null=True),
    column("strict", pa.bool_(), "Whether a damaged recording fails; null in old rows.", null=True),
    column("audio_track", pa.int32(), "Audio track the client chose, from 0; null lets the pipeline choose.", null=True),
    column("redact", pa.list_(pa.string()), "Kinds of personal data that were removed; null for none.", null=True),
    column("redact_audio", pa.bool_(), "Whether the playback copy is silent there; null in rows from before.", null=True),
    column(
        "keep_original", pa.bool_(), "Whether a redacted recording was kept as sent; null in rows from before.", null=True
    ),
]
