"""The Delta tables: every column with its type and what it means; a promise to analysts.

Layout (facts measured on Delta 1.6 and Polars 2.1): not partitioned, ZSTD-1, row groups of 4,096 rows, statistics on the
columns a reader prunes by. Ids and ``created_at`` are allocated together by the one writer, so id order is time order.
"""

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
SOUND_EVENT = pa.struct(
    [
        pa.field("tag", pa.string(), nullable=False),
        pa.field("start_secs", pa.float64(), nullable=False),
        pa.field("end_secs", pa.float64(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("speaker", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its folder name, columns, what a row is, and the columns readers prune by."""

    name: str
    row: str
    schema: pa.Schema
    stats: tuple[str, ...] = ("id", "account", "created_at")


def _column(name: str, kind: pa.DataType, doc: str, *, null: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={"doc": doc})


_ACCOUNT = _column("account", pa.string(), "Owner; every read is filtered by it.")
_CREATED = _column("created_at", TIMESTAMP, "When it was accepted, UTC, milliseconds; allocated with the id.")

_JOB_COLUMNS: list[pa.Field] = [
    _column("id", pa.int64(), "Transcription id; grows with time."),
    _ACCOUNT,
    _column("status", pa.string(), "submitted, processing, completed, failed, cancelled or deleted."),
    _CREATED,
    _column("updated_at", TIMESTAMP, "When the row was last changed, UTC."),
    _column("filename", pa.string(), "Name the client gave the recording; never a path of ours."),
    _column("content_type", pa.string(), "Media type the client declared."),
    _column("sha256", pa.string(), "SHA-256 of the bytes sent, hex."),
    _column("size_bytes", pa.int64(), "Size of the bytes sent."),
    _column("audio_key", pa.string(), "Object that holds the very bytes sent; empty for one brought in without them."),
    _column("non_speech", pa.bool_(), "Whether non-speech sounds were asked for."),
    _column("min_speakers", pa.int32(), "Fewest speakers the client said there are.", null=True),
    _column("max_speakers", pa.int32(), "Most speakers the client said there are.", null=True),
    _column("use_cache", pa.bool_(), "Whether a cached result was welcome."),
    _column("cached", pa.bool_(), "Whether the result came from an earlier job."),
    _column("cached_from", pa.int64(), "Id of the job whose result was used.", null=True),
    _column("attempt", pa.int32(), "How often a worker has started it."),
    _column("worker", pa.string(), "Lease of the worker that has or had it.", null=True),
    _column("error_message", pa.string(), "Why it failed, in words for the client.", null=True),
    _column("engine_revision", pa.string(), "Engines, models and decoding options that made the result.", null=True),
    _column("result_key", pa.string(), "Object that holds the full result as JSON.", null=True),
    _column("playback_key", pa.string(), "Object that holds the Ogg Opus playback copy.", null=True),
    _column("audio_duration_secs", pa.float64(), "Length of the decoded recording, s.", null=True),
    _column("audio_format", pa.string(), "Codec of the playback copy.", null=True),
    _column("processing_secs", pa.float64(), "Time from claim to result, s.", null=True),
    _column("language", pa.string(), "ISO 639-1 code of the speech.", null=True),
    _column("num_chunks", pa.int32(), "Utterances handed to the recogniser.", null=True),
    _column("num_segments", pa.int32(), "Segments in the result.", null=True),
    _column("num_speakers", pa.int32(), "Speakers in the result.", null=True),
    _column("cost_usd", pa.float64(), "Price, USD; 0 for a cached result.", null=True),
    _column(
        "import_key",
        pa.string(),
        "Identity within the account of the sending or import that made it; repeating that changes nothing.",
        null=True,
    ),
    _column("archive_id", pa.int64(), "Archive run that made this revision; null for one a client sent.", null=True),
]

JOB_EVENTS = Table(
    "job_events",
    "one change of one job, as the full row after it; the truth from which transcriptions are projected",
    pa.schema(
        [
            _column("seq", pa.int64(), "Order of events; no gaps matter, no repeats occur."),
            *_JOB_COLUMNS,
            _column("revision", pa.int32(), "Counts reprocessings of the same recording, from 0 (null: 0).", null=True),
        ]
    ),
    ("seq", "id", "account", "created_at"),
)

TRANSCRIPTIONS = Table(
    "transcriptions",
    "one finished job (completed, failed or cancelled)",
    pa.schema(
        [
            *_JOB_COLUMNS,
            _column("revision", pa.int32(), "Counts reprocessings of the same recording, from 0; the highest counts."),
        ]
    ),
)

SEGMENTS = Table(
    "segments",
    "one speaker's utterance within a transcription",
    pa.schema(
        [
            _column("id", pa.int64(), "Id of the transcription."),
            _ACCOUNT,
            _CREATED,
            _column("revision", pa.int32(), "Revision of the transcription this belongs to."),
            _column("position", pa.int32(), "Place among all segments of the transcription, from 0, by start."),
            _column("speaker", pa.int32(), "Speaker, from 0 in order of first word."),
            _column("segment_idx", pa.int32(), "Place among this speaker's segments, from 0."),
            _column("text", pa.string(), "What was said, without non-speech tags."),
            _column("start_secs", pa.float64(), "Start of the first word, s."),
            _column("end_secs", pa.float64(), "End of the last word, s."),
            _column("words", pa.list_(WORD), "Words with times and confidence."),
            _column("lexemes", pa.string(), "English lexemes of the text for search, one each position."),
        ]
    ),
)

API_KEYS = Table(
    "api_keys",
    "one state of one API key; the last row of an id counts",
    pa.schema(
        [
            _column("id", pa.string(), "Key id, for listing and revoking."),
            _ACCOUNT,
            _CREATED,
            _column("name", pa.string(), "Label given by the operator."),
            _column("prefix", pa.string(), "First characters of the key, to tell keys apart."),
            _column("key_hash", pa.string(), "SHA-256 of the key, hex; the key itself is stored nowhere."),
            _column("scopes", pa.list_(pa.string()), "What it opens: `user`, `operator`."),
            _column("revoked_at", TIMESTAMP, "When it was revoked, UTC.", null=True),
        ]
    ),
)

TTS_RENDERS = Table(
    "tts_renders",
    "one authenticated speech render",
    pa.schema(
        [
            _column("id", pa.int64(), "Render id; grows with time."),
            _ACCOUNT,
            _CREATED,
            _column("voice", pa.string(), "Canonical voice id."),
            _column("text", pa.string(), "Text that was spoken, as the client sent it."),
            _column("lexemes", pa.string(), "English lexemes of the text for search, one each position."),
            _column("chars", pa.int32(), "Characters billed."),
            _column("audio_secs", pa.float64(), "Length of the audio, s."),
            _column("cost_usd", pa.float64(), "Price, USD."),
            _column("audio_key", pa.string(), "Object that holds the Ogg Opus copy.", null=True),
            _column("engine_revision", pa.string(), "Engine, model and options that spoke."),
            _column("temperature", pa.float64(), "Sampling temperature asked for."),
            _column("verified", pa.bool_(), "Whether chunks were re-checked by recognition."),
            _column("chunks", pa.int32(), "Chunks the text was split into."),
            _column("retries", pa.int32(), "Chunks rendered again because they misread the text."),
            _column("word_error_rate", pa.float64(), "Worst accepted chunk's word error rate.", null=True),
            _column(
                "import_key", pa.string(), "Identity within the account; recording it twice changes nothing.", null=True
            ),
        ]
    ),
)

CONVERSATIONS = Table(
    "conversations",
    "one voice conversation, written when it ends",
    pa.schema(
        [
            _column("id", pa.int64(), "Order of the conversation; grows with time. Not shown to clients."),
            _ACCOUNT,
            _CREATED,
            _column("session_id", pa.string(), "Id clients know it by (`sess_…`)."),
            _column("voice", pa.string(), "Canonical voice id.", null=True),
            _column("started_at", TIMESTAMP, "When it began, UTC."),
            _column("ended_at", TIMESTAMP, "When it ended, UTC.", null=True),
            _column("duration_secs", pa.float64(), "Length, s.", null=True),
            _column("turn_count", pa.int32(), "Turns in it."),
            _column("cost_usd", pa.float64(), "Price, USD.", null=True),
        ]
    ),
)

TURNS = Table(
    "turns",
    "one turn of a conversation",
    pa.schema(
        [
            _column("id", pa.int64(), "Turn id; grows with time."),
            _ACCOUNT,
            _CREATED,
            _column("session_id", pa.string(), "Conversation it belongs to."),
            _column("role", pa.string(), "user, assistant or system."),
            _column("text", pa.string(), "What was said."),
            _column("lexemes", pa.string(), "English lexemes of the text for search, one each position."),
        ]
    ),
)

TOOL_CALLS = Table(
    "tool_calls",
    "one tool invocation within a conversation",
    pa.schema(
        [
            _column("id", pa.int64(), "Tool call id; grows with time."),
            _ACCOUNT,
            _CREATED,
            _column("session_id", pa.string(), "Conversation it belongs to."),
            _column("tool", pa.string(), "Name of the tool."),
            _column("args", pa.string(), "Arguments, as JSON."),
            _column("result", pa.string(), "Result in words.", null=True),
        ]
    ),
)

VOICES = Table(
    "voices",
    "one state of one cloned voice; the last row of an id counts",
    pa.schema(
        [
            _column("id", pa.string(), "Voice id (`u-<user>-<hash>`)."),
            _ACCOUNT,
            _CREATED,
            _column("name", pa.string(), "Display label."),
            _column("text", pa.string(), "Transcript of the reference clip."),
            _column("frames", pa.int32(), "Frames of the reference, 12.5 a second."),
            _column("seconds", pa.float64(), "Length of the reference, s."),
            _column("reference_key", pa.string(), "Object that holds the reference clip, 24 kHz mono WAV."),
            _column("parameters", pa.string(), "What the engine derived from the reference, as JSON."),
            _column("engine_revision", pa.string(), "Engine the parameters belong to."),
            _column("consent_statement", pa.string(), "What the speaker agreed to, in words.", null=True),
            _column("consent_key", pa.string(), "Object that holds the recorded consent.", null=True),
            _column("deleted_at", TIMESTAMP, "When it was deleted, UTC.", null=True),
        ]
    ),
)

_SEQ = _column("seq", pa.int64(), "Order of changes; the last row of a run or file counts.")
_UPDATED = _column("updated_at", TIMESTAMP, "When it changed, UTC.")

ARCHIVES = Table(
    "archives",
    "one change of one archive run; the last row of an id counts",
    pa.schema(
        [
            _SEQ,
            _column("id", pa.int64(), "Archive id; grows with time."),
            _ACCOUNT,
            _CREATED,
            _UPDATED,
            _column("name", pa.string(), "Label given by the operator."),
            _column("kind", pa.string(), "transcribe, or reprocess."),
            _column("source", pa.string(), "Where the files come from, as the operator wrote it."),
            _column("non_speech", pa.bool_(), "Whether non-speech sounds were asked for."),
            _column("min_speakers", pa.int32(), "Fewest speakers the operator said there are."),
            _column("max_speakers", pa.int32(), "Most speakers the operator said there are.", null=True),
            _column("include_current", pa.bool_(), "Whether what the present engines made is done again too."),
            _column("fingerprint", pa.string(), "Hash of account, kind, source and options: the same run again."),
            _column("engine_revision", pa.string(), "Engines it was last opened with."),
            _column("status", pa.string(), "running, completed, cancelled or failed."),
            _column("message", pa.string(), "Why it failed.", null=True),
            *(
                _column(name, pa.int64(), f"Files that were {name} at this change.")
                for name in ("waiting", "processing", "completed", "failed", "skipped", "cached")
            ),
            _column("audio_secs", pa.float64(), "Length of all completed recordings, s."),
            _column("processing_secs", pa.float64(), "Time from claim to result of all completed ones, s."),
            _column("cost_usd", pa.float64(), "Price of all completed ones, USD."),
        ]
    ),
)

ARCHIVE_FILES = Table(
    "archive_files",
    "one change of one file of an archive run; the last row of an archive_id and item counts",
    pa.schema(
        [
            _SEQ,
            _column("archive_id", pa.int64(), "Run it belongs to."),
            _ACCOUNT,
            _UPDATED,
            _column("item", pa.string(), "Names the file within the run."),
            _column("version", pa.string(), "Tells without reading the file whether it changed."),
            _column("location", pa.string(), "Where it lies, as its source tells it."),
            _column("filename", pa.string(), "Name of the recording."),
            _column("metadata", pa.string(), "A manifest's own columns, as JSON."),
            _column("status", pa.string(), "waiting, processing, completed, failed or skipped."),
            _column("reason", pa.string(), "Why it failed or was skipped, as a code.", null=True),
            _column("message", pa.string(), "The same in words.", null=True),
            _column("attempts", pa.int32(), "How often a worker has started it."),
            _column("transcription_id", pa.int64(), "The transcription it became.", null=True),
            _column("revision", pa.int32(), "Revision of the transcription that the run made.", null=True),
            _column("sha256", pa.string(), "SHA-256 of its bytes, hex.", null=True),
            _column("size_bytes", pa.int64(), "Size of its bytes.", null=True),
            _column("audio_secs", pa.float64(), "Length of the decoded recording, s.", null=True),
            _column("processing_secs", pa.float64(), "Time from claim to result, s.", null=True),
            _column("cached", pa.bool_(), "Whether an earlier result answered it."),
            _column("cost_usd", pa.float64(), "Price, USD; 0 for a cached result.", null=True),
        ]
    ),
    ("seq", "archive_id", "account", "updated_at"),
)

TABLES: tuple[Table, ...] = (
    JOB_EVENTS,
    TRANSCRIPTIONS,
    SEGMENTS,
    TTS_RENDERS,
    CONVERSATIONS,
    TURNS,
    TOOL_CALLS,
    VOICES,
    ARCHIVES,
    ARCHIVE_FILES,
    API_KEYS,
)


def table(name: str) -> Table:
    """The table of that name. Raises KeyError."""
    return next(t for t in TABLES if t.name == name)
