"""The Delta tables: every column with its type and meaning; a stable interface for analysts.

Layout (chosen by measurements on Delta 1.6 and Polars 2.1): not partitioned, ZSTD-1, row groups of 4,096 rows, statistics
on the columns that readers prune by. The one writer allocates ids and ``created_at`` together, so id order is time order.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.archive_tables import ARCHIVE_FILES, ARCHIVES
from schemas.deletion_tables import DELETIONS
from schemas.table_columns import ACCOUNT, CREATED, RECOGNIZE_COLUMNS, TIMESTAMP, WARNING, WORD, Table, column
from schemas.webhook_tables import WEBHOOK_DELIVERIES, WEBHOOKS

__all__ = ["JOB_EVENTS", "TABLES", "TRANSCRIPTIONS", "TURNS", "Table", "table"]

_JOB_COLUMNS: list[pa.Field] = [
    column("id", pa.int64(), "Transcription id; grows with time."),
    ACCOUNT,
    column("status", pa.string(), "submitted, processing, completed, failed, cancelled or deleted."),
    CREATED,
    column("updated_at", TIMESTAMP, "When the row was last changed, UTC."),
    column("filename", pa.string(), "Name of the recording, as the client gave it."),
    column("content_type", pa.string(), "Media type the client declared."),
    column("sha256", pa.string(), "SHA-256 of the bytes sent, hex; empty while a URL is fetched, and if it could not be."),
    column("size_bytes", pa.int64(), "Size of the bytes sent."),
    column(
        "audio_key",
        pa.string(),
        "Object with the recording as sent; empty for an imported transcription without one, and where `sha256` is.",
    ),
    column("non_speech", pa.bool_(), "Whether the client requested non-speech sounds."),
    column("min_speakers", pa.int32(), "Least number of speakers, as the client gave it.", null=True),
    column("max_speakers", pa.int32(), "Largest number of speakers, as the client gave it.", null=True),
    *RECOGNIZE_COLUMNS,
    column("use_cache", pa.bool_(), "Whether a cached result may be used."),
    column("cached", pa.bool_(), "Whether the result came from an earlier job."),
    column("cached_from", pa.int64(), "Id of the job whose result was used.", null=True),
    column("attempt", pa.int32(), "Number of attempts by workers."),
    column("worker", pa.string(), "Latest lease, which names its worker.", null=True),
    column("error_message", pa.string(), "Why it failed, as the client reads it.", null=True),
    column("error_code", pa.string(), "The same as a code for programs; null in rows from before.", null=True),
    column("engine_revision", pa.string(), "Engines, models and decoding options of the result.", null=True),
    column("result_key", pa.string(), "Object with the full result, JSON.", null=True),
    column("playback_key", pa.string(), "Object with the playback copy, Ogg Opus.", null=True),
    column("audio_duration_secs", pa.float64(), "Length of the decoded recording, s.", null=True),
    column("audio_format", pa.string(), "Codec of the playback copy.", null=True),
    column("processing_secs", pa.float64(), "Time from claim to result, s.", null=True),
    column("engine_secs", pa.float64(), "Time of computation in the engines' replicas, s.", null=True),
    column("language", pa.string(), "ISO 639-1 code of the speech.", null=True),
    column("num_chunks", pa.int32(), "Utterances that were recognised.", null=True),
    column("num_segments", pa.int32(), "Segments in the result.", null=True),
    column("num_speakers", pa.int32(), "Speakers in the result.", null=True),
    column("warnings", pa.list_(WARNING), "Defects of the recording; null or empty if there are none.", null=True),
    column("cost_usd", pa.float64(), "Price, USD; 0 for a cached result.", null=True),
    column(
        "import_key",
        pa.string(),
        "Identity of the submission or import within the account; repeating either changes nothing.",
        null=True,
    ),
    column("archive_id", pa.int64(), "Archive run that made this revision; null for jobs of clients.", null=True),
]

JOB_EVENTS = Table(
    "job_events",
    "one change of one job, as the full row after it; the source of `transcriptions`",
    pa.schema(
        [
            column("seq", pa.int64(), "Order of events; each number occurs once, and numbers may be missing."),
            *_JOB_COLUMNS,
            column("revision", pa.int32(), "Counts reprocessings of the same recording, from 0 (null: 0).", null=True),
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
            column("revision", pa.int32(), "Counts reprocessings of the same recording, from 0; the highest counts."),
        ]
    ),
)

SEGMENTS = Table(
    "segments",
    "one speaker's utterance within a transcription",
    pa.schema(
        [
            column("id", pa.int64(), "Id of the transcription."),
            ACCOUNT,
            CREATED,
            column("revision", pa.int32(), "Revision of the transcription."),
            column("position", pa.int32(), "Index among all segments of the transcription by start, from 0."),
            column("speaker", pa.int32(), "Speaker, from 0 in order of first word."),
            column("segment_idx", pa.int32(), "Index among this speaker's segments, from 0."),
            column("text", pa.string(), "Text, without tags of non-speech sounds."),
            column("start_secs", pa.float64(), "Start of the first word, s."),
            column("end_secs", pa.float64(), "End of the last word, s."),
            column("words", pa.list_(WORD), "Words with times and confidence."),
            column("lexemes", pa.string(), "English lexemes of the text for search, one each position."),
        ]
    ),
)

API_KEYS = Table(
    "api_keys",
    "one state of one API key; the last row of an id counts",
    pa.schema(
        [
            column("id", pa.string(), "Key id, for listing and revoking."),
            ACCOUNT,
            CREATED,
            column("name", pa.string(), "Label given by the operator."),
            column("prefix", pa.string(), "First characters of the key, to tell keys apart."),
            column("key_hash", pa.string(), "SHA-256 of the key, hex; the key itself is stored nowhere."),
            column(
                "scopes",
                pa.list_(pa.string()),
                "Scopes of the key, see `schemas/scopes.py`; `user` stands for all scopes of users.",
            ),
            column("revoked_at", TIMESTAMP, "When it was revoked, UTC.", null=True),
            column("ending", pa.string(), "Last four characters of the key.", null=True),
            column("expires_at", TIMESTAMP, "When it expires, UTC; null for never.", null=True),
            column("last_used_at", TIMESTAMP, "When it was last used, UTC, to the hour.", null=True),
            column("updated_at", TIMESTAMP, "When this state was written, UTC; the latest counts.", null=True),
        ]
    ),
)

TTS_RENDERS = Table(
    "tts_renders",
    "one authenticated speech render",
    pa.schema(
        [
            column("id", pa.int64(), "Render id; grows with time."),
            ACCOUNT,
            CREATED,
            column("voice", pa.string(), "Canonical voice id."),
            column("text", pa.string(), "Text that was spoken, as the client sent it."),
            column("lexemes", pa.string(), "English lexemes of the text for search, one each position."),
            column("chars", pa.int32(), "Characters billed."),
            column("audio_secs", pa.float64(), "Length of the audio, s."),
            column("cost_usd", pa.float64(), "Price, USD."),
            column("audio_key", pa.string(), "Object that holds the Ogg Opus copy.", null=True),
            column("engine_revision", pa.string(), "Engine, model and options of the render."),
            column("temperature", pa.float64(), "Requested sampling temperature."),
            column("verified", pa.bool_(), "Whether chunks were verified."),
            column("chunks", pa.int32(), "Chunks the text was split into."),
            column("retries", pa.int32(), "Chunks rendered again because verification failed."),
            column("word_error_rate", pa.float64(), "Word error rate of the worst accepted chunk.", null=True),
            column(
                "import_key",
                pa.string(),
                "Identity within the account; recording the render again changes nothing.",
                null=True,
            ),
        ]
    ),
)

CONVERSATIONS = Table(
    "conversations",
    "one state of one voice conversation, at its beginning or after its end; the highest revision of an id counts",
    pa.schema(
        [
            column("id", pa.int64(), "Internal id; grows with time."),
            ACCOUNT,
            CREATED,
            column("session_id", pa.string(), "Id that clients see (`sess_…`)."),
            column("voice", pa.string(), "Canonical voice id.", null=True),
            column("started_at", TIMESTAMP, "When it began, UTC."),
            column("ended_at", TIMESTAMP, "When it ended, UTC.", null=True),
            column("duration_secs", pa.float64(), "Length, s.", null=True),
            column("turn_count", pa.int32(), "Number of turns; 0 during the conversation."),
            column("cost_usd", pa.float64(), "Price, USD.", null=True),
            column("revision", pa.int32(), "0 during the conversation, 1 after its end (null: 1).", null=True),
            column("audio_key", pa.string(), "Object with the audio of both sides, stereo Ogg Opus, user left.", null=True),
            column("title", pa.string(), "How the user's first words begin; null during the conversation.", null=True),
            column("continues", pa.string(), "Session id of the conversation that it continues.", null=True),
        ]
    ),
)

TURNS = Table(
    "turns",
    "one turn of a conversation",
    pa.schema(
        [
            column("id", pa.int64(), "Turn id; grows with time."),
            ACCOUNT,
            CREATED,
            column("session_id", pa.string(), "Conversation it belongs to."),
            column("role", pa.string(), "user, assistant or system."),
            column("text", pa.string(), "Text; of an assistant's turn, the part that was played."),
            column("lexemes", pa.string(), "English lexemes of the text for search, one each position."),
            column("entry_key", pa.string(), "Identity within the conversation; null for an imported turn.", null=True),
            column("words_said", pa.int32(), "Number of words in the assistant's whole response.", null=True),
            column("words_heard", pa.int32(), "Number of its words that were played.", null=True),
            column("interrupted", pa.bool_(), "Whether the user interrupted the response.", null=True),
            column("end_of_turn_secs", pa.float64(), "End of the user's speech to the end of the turn, s.", null=True),
            column("first_token_secs", pa.float64(), "End of the user's speech to the first token, s.", null=True),
            column("first_sound_secs", pa.float64(), "End of the user's speech to the first sound made, s.", null=True),
            column("first_sent_secs", pa.float64(), "End of the user's speech to the first sound sent, s.", null=True),
            column("start_secs", pa.float64(), "Start of its speech in the conversation's recording, s.", null=True),
            column("end_secs", pa.float64(), "End of its speech that was heard, in the recording, s.", null=True),
        ]
    ),
)

TOOL_CALLS = Table(
    "tool_calls",
    "one tool invocation within a conversation",
    pa.schema(
        [
            column("id", pa.int64(), "Tool call id; grows with time."),
            ACCOUNT,
            CREATED,
            column("session_id", pa.string(), "Conversation it belongs to."),
            column("tool", pa.string(), "Name of the tool."),
            column("args", pa.string(), "Arguments, as JSON."),
            column("result", pa.string(), "Result, as text.", null=True),
            column("entry_key", pa.string(), "Identity within the conversation; null for an imported call.", null=True),
        ]
    ),
)

VOICES = Table(
    "voices",
    "one state of one cloned voice; the last row of an id counts",
    pa.schema(
        [
            column("id", pa.string(), "Voice id (`u-<user>-<hash>`)."),
            ACCOUNT,
            CREATED,
            column("name", pa.string(), "Display label."),
            column("text", pa.string(), "Transcript of the reference clip."),
            column("frames", pa.int32(), "Frames of the reference, 12.5 a second."),
            column("seconds", pa.float64(), "Length of the reference, s."),
            column("reference_key", pa.string(), "Object with the reference clip, 24 kHz mono WAV."),
            column("parameters", pa.string(), "Parameters that the engine derived from the reference, JSON."),
            column("engine_revision", pa.string(), "Engine of the parameters."),
            column("consent_statement", pa.string(), "Text of the speaker's consent.", null=True),
            column("consent_key", pa.string(), "Object with the recorded consent.", null=True),
            column("deleted_at", TIMESTAMP, "When it was deleted, UTC.", null=True),
        ]
    ),
)

VOICE_CONSENTS = Table(
    "voice_consents",
    "one state of a recorded consent to the cloning of a voice; the last row of an id counts",
    pa.schema(
        [
            column("seq", pa.int64(), "Order of rows."),
            column("id", pa.string(), "Consent id (`cons_<hex>`)."),
            ACCOUNT,
            column("name", pa.string(), "Display label."),
            column("language", pa.string(), "Language of the recording, BCP 47."),
            column("recording_key", pa.string(), "Object with the recording, 24 kHz mono WAV."),
            column("seconds", pa.float64(), "Length of the recording, s."),
            column("created_at", TIMESTAMP, "When it was added, UTC."),
            column("deleted_at", TIMESTAMP, "When it was deleted, UTC.", null=True),
        ]
    ),
    ("seq", "account", "created_at"),
)

SPEAKERS = Table(
    "speakers",
    "one state of a speaker that an account knows; the last row of an id counts",
    pa.schema(
        [
            column("seq", pa.int64(), "Order of rows."),
            column("id", pa.string(), "Speaker id (`spk_<hex>`)."),
            ACCOUNT,
            column("name", pa.string(), "The person's name."),
            column("reference_key", pa.string(), "Object that holds the reference clip, 16 kHz mono WAV."),
            column("seconds", pa.float64(), "Length of the clip, s."),
            column("consent_statement", pa.string(), "What the speaker agreed to, in words.", null=True),
            column("consent_key", pa.string(), "Object that holds the recorded consent.", null=True),
            column("created_at", TIMESTAMP, "When it was added, UTC."),
            column("deleted_at", TIMESTAMP, "When it was deleted, UTC.", null=True),
        ]
    ),
    ("seq", "account", "created_at"),
)

AUDIT_EVENTS = Table(
    "audit_events",
    "one recorded action: changes of keys, tokens and voices, deletions, imports, requests of operators",
    pa.schema(
        [
            column("id", pa.int64(), "Event id; grows with time."),
            column("account", pa.string(), "Account of the key that was used."),
            CREATED,
            column("key_id", pa.string(), "Key of the request; for a token its key, or `jwt` and a hash."),
            column("action", pa.string(), "Method and path, with `*` for ids."),
            column("target", pa.string(), "Path of the request, with ids."),
            column("status", pa.int32(), "HTTP status of the answer."),
            column("address", pa.string(), "Address of the client, as seen by the gateway or a trusted proxy."),
            column("request_id", pa.string(), "Id of the request, also in the response and the logs."),
        ]
    ),
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
    VOICE_CONSENTS,
    SPEAKERS,
    ARCHIVES,
    ARCHIVE_FILES,
    API_KEYS,
    WEBHOOKS,
    WEBHOOK_DELIVERIES,
    AUDIT_EVENTS,
    DELETIONS,
)


def table(name: str) -> Table:
    """The table of that name. Raises KeyError."""
    return next(t for t in TABLES if t.name == name)
