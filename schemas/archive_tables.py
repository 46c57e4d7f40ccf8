"""The tables of archive runs: the runs, and their files."""

from __future__ import annotations

import pyarrow as pa

from schemas.table_columns import ACCOUNT, CREATED, RECOGNIZE_COLUMNS, TIMESTAMP, Table, column

_SEQ = column("seq", pa.int64(), "Order of changes; the last row of a run or file counts.")
_UPDATED = column("updated_at", TIMESTAMP, "When it changed, UTC.")

ARCHIVES = Table(
    "archives",
    "one change of one archive run; the last row of an id counts",
    pa.schema(
        [
            _SEQ,
            column("id", pa.int64(), "Archive id; grows with time."),
            ACCOUNT,
            CREATED,
            _UPDATED,
            column("name", pa.string(), "Label given by the operator."),
            column("kind", pa.string(), "transcribe, or reprocess."),
            column("source", pa.string(), "Where the files come from, as the operator wrote it."),
            column("non_speech", pa.bool_(), "Whether non-speech sounds were requested."),
            column("min_speakers", pa.int32(), "Least number of speakers, as the operator gave it."),
            column("max_speakers", pa.int32(), "Largest number of speakers, as the operator gave it.", null=True),
            *RECOGNIZE_COLUMNS,
            column("include_current", pa.bool_(), "Whether results of the present engines are made again as well."),
            column("fingerprint", pa.string(), "Hash of account, kind, source and options, by which a run is continued."),
            column("engine_revision", pa.string(), "Engines of the server when it was last opened."),
            column("status", pa.string(), "running, completed, cancelled or failed."),
            column("message", pa.string(), "Why it failed.", null=True),
            *(
                column(name, pa.int64(), f"Files that were {name} at this change.")
                for name in ("waiting", "processing", "completed", "failed", "skipped", "cached")
            ),
            column("audio_secs", pa.float64(), "Length of all completed recordings, s."),
            column("processing_secs", pa.float64(), "Time from claim to result of all completed ones, s."),
            column("cost_usd", pa.float64(), "Price of all completed ones, USD."),
        ]
    ),
)

ARCHIVE_FILES = Table(
    "archive_files",
    "one change of one file of an archive run; the last row of an archive_id and item counts",
    pa.schema(
        [
            _SEQ,
            column("archive_id", pa.int64(), "Run it belongs to."),
            ACCOUNT,
            _UPDATED,
            column("item", pa.string(), "Key of the file within the run."),
            column(
                "version", pa.string(), "Version of the file; changes with its content, and is known without reading it."
            ),
            column("location", pa.string(), "Address of the file in its source."),
            column("filename", pa.string(), "Name of the recording."),
            column("metadata", pa.string(), "Further columns of a manifest, JSON."),
            column("status", pa.string(), "waiting, processing, completed, failed or skipped."),
            column("reason", pa.string(), "Why it failed or was skipped, as a code.", null=True),
            column("message", pa.string(), "The reason as text.", null=True),
            column("attempts", pa.int32(), "Number of attempts by workers."),
            column("transcription_id", pa.int64(), "Id of its transcription.", null=True),
            column("revision", pa.int32(), "Revision of the transcription that the run made.", null=True),
            column("sha256", pa.string(), "SHA-256 of its bytes, hex.", null=True),
            column("size_bytes", pa.int64(), "Size of its bytes.", null=True),
            column("audio_secs", pa.float64(), "Length of the decoded recording, s.", null=True),
            column("processing_secs", pa.float64(), "Time from claim to result, s.", null=True),
            column("cached", pa.bool_(), "Whether the result is that of an earlier job."),
            column("cost_usd", pa.float64(), "Price, USD; 0 for a cached result.", null=True),
        ]
    ),
    ("seq", "archive_id", "account", "updated_at"),
)
