"""What the platform talks about inside: frozen values, seconds as floats, speakers as small integers.

Pydantic models at the edges are in `schemas.api`, Arrow schemas at rest in `schemas.tables`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

Seconds: TypeAlias = float
"""Time from the start of the recording, or a length of time, in seconds."""

SAMPLE_RATE_HZ = 16_000
"""Rate of all audio inside the listening path: 16 kHz mono."""

SPEECH_RATE_HZ = 24_000
"""Rate of all audio the speaking path returns: 24 kHz mono s16le."""

Lane: TypeAlias = Literal["interactive", "archive"]
"""Who asks an engine, in the order they are served: someone who waits, or work that can wait."""


class JobStatus(StrEnum):
    """The way of a job, as the seed names it. ``CANCELLED`` and ``DELETED`` are ours."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.SUBMITTED, JobStatus.PROCESSING)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording, ``start_secs`` inclusive, ``end_secs`` exclusive."""

    start_secs: Seconds
    end_secs: Seconds

    @property
    def duration_secs(self) -> Seconds:
        return self.end_secs - self.start_secs


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word. ``confidence`` is in [0, 1]."""

    text: str
    start_secs: Seconds
    end_secs: Seconds
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of one speaker; turns of different speakers may overlap."""

    speaker: int
    start_secs: Seconds
    end_secs: Seconds
    overlap: bool = False
    """Spoken while another is more prominent. The turns without these are an exclusive view: one speaker at a time."""


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """A non-speech sound. ``tag`` is one of the seed's nine, without brackets (``"breath"``)."""

    tag: str
    start_secs: Seconds
    end_secs: Seconds
    confidence: float = 1.0
    speaker: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One speaker's utterance. ``segment_idx`` counts that speaker's own segments from 0."""

    speaker: int
    segment_idx: int
    text: str
    start_secs: Seconds
    end_secs: Seconds
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a recogniser heard in one utterance; times count from the utterance's first sample."""

    words: tuple[Word, ...]
    language: str | None = None
    punctuated: bool = False
    """Whether the engine writes capitals and marks itself, so that its words stay as they are."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A finished transcription: the result object's content."""

    text: str
    segments: tuple[Segment, ...]
    events: tuple[SoundEvent, ...]
    language: str
    num_speakers: int
    num_chunks: int
    audio_duration_secs: Seconds
    processing_secs: Seconds
    engine_revision: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Transcript:
        segments = tuple(Segment(**{**s, "words": tuple(Word(**w) for w in s["words"])}) for s in data["segments"])
        events = tuple(SoundEvent(**e) for e in data["events"])
        return cls(**{**data, "segments": segments, "events": events})


@dataclass(frozen=True, slots=True)
class SpeakerHint:
    """How many speakers there are, as far as the client knows: ``least`` to ``most``, None for no bound."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work on a recording is. ``fraction`` is in [0, 1]; ``eta_secs`` is None while it cannot be told."""

    stage: str
    fraction: float = 0.0
    eta_secs: Seconds | None = None


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What the client asked of a transcription; part of its cache key."""

    non_speech: bool = False
    speakers: SpeakerHint = SpeakerHint()


@dataclass(frozen=True, slots=True)
class NewJob:
    """An uploaded recording on its way into the ledger, before it has an id."""

    account: str
    filename: str
    content_type: str
    sha256: str
    size_bytes: int
    audio_key: str
    options: JobOptions
    use_cache: bool
    engine_revision: str
    """Revision that would compute it now; with account, sha256 and options it is the key of the whole-file cache."""
    submission: str | None = None
    """Names this one sending: a caller that lost the answer and asks again gets the job it made, not a second one."""
    archive_id: int | None = None
    """Archive run it is part of."""


@dataclass(frozen=True, slots=True)
class Job:
    """One transcription job: a full row of ``job_events`` and, when final, of ``transcriptions``."""

    id: int
    account: str
    status: JobStatus
    created_at: dt.datetime
    updated_at: dt.datetime
    filename: str
    content_type: str
    sha256: str
    size_bytes: int
    audio_key: str
    options: JobOptions = field(default_factory=JobOptions)
    use_cache: bool = True
    cached: bool = False
    cached_from: int | None = None
    attempt: int = 0
    worker: str | None = None
    error_message: str | None = None
    engine_revision: str | None = None
    result_key: str | None = None
    playback_key: str | None = None
    audio_duration_secs: Seconds | None = None
    audio_format: str | None = None
    processing_secs: Seconds | None = None
    language: str | None = None
    num_chunks: int | None = None
    num_segments: int | None = None
    num_speakers: int | None = None
    cost_usd: float | None = None
    import_key: str | None = None
    archive_id: int | None = None
    """Archive run that made this revision; its jobs never wait in the queue of clients' jobs."""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker reports of a finished job; the ledger turns it into the job's final row."""

    engine_revision: str
    result_key: str
    playback_key: str | None
    audio_duration_secs: Seconds
    audio_format: str | None
    processing_secs: Seconds
    language: str
    num_chunks: int
    num_segments: int
    num_speakers: int

    @classmethod
    def of(cls, transcript: Transcript, result_key: str, playback_key: str | None) -> Outcome:
        """What a transcript says of its job; its result and, if there is one, its playback copy are stored."""
        return cls(
            engine_revision=transcript.engine_revision,
            result_key=result_key,
            playback_key=playback_key,
            audio_duration_secs=transcript.audio_duration_secs,
            audio_format="opus" if playback_key else None,
            processing_secs=transcript.processing_secs,
            language=transcript.language,
            num_chunks=transcript.num_chunks,
            num_segments=len(transcript.segments),
            num_speakers=transcript.num_speakers,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A job handed to a worker until ``expires_at``; every later word about it must show ``lease``."""

    job: Job
    lease: str
    lease_secs: Seconds


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as stored: the hash opens doors, the prefix is for people to tell keys apart."""

    id: str
    account: str
    name: str
    prefix: str
    key_hash: str
    scopes: tuple[str, ...]
    created_at: dt.datetime
    revoked_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class TtsRender:
    """One authenticated speech render, as the ledger takes it; the ledger gives it its id.

    ``import_key`` is its identity within the account: recording it again changes nothing. ``created_at`` is set for
    renders from elsewhere only; else it is allocated with the id.
    """

    account: str
    voice: str
    text: str
    chars: int
    audio_secs: Seconds
    cost_usd: float
    audio_key: str | None
    engine_revision: str
    temperature: float
    verified: bool = False
    chunks: int = 1
    retries: int = 0
    word_error_rate: float | None = None
    import_key: str | None = None
    created_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """One voice conversation that ended; ``session_id`` is its identity within the account."""

    account: str
    session_id: str
    started_at: dt.datetime
    ended_at: dt.datetime | None = None
    duration_secs: Seconds | None = None
    voice: str | None = None
    cost_usd: float | None = None
    created_at: dt.datetime | None = None
    turn_count: int | None = None
    """Turns it had; None counts those recorded with it."""


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """One turn of a conversation; ``role`` is user, assistant or system."""

    role: str
    text: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool invocation within a conversation; ``args`` is what JSON can say."""

    tool: str
    args: dict[str, Any]
    result: str | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Voice:
    """One cloned voice. ``frames`` counts 12.5 a second of the reference clip, which is 24 kHz mono WAV."""

    id: str
    account: str
    name: str
    text: str
    frames: int
    seconds: Seconds
    reference_key: str
    parameters: dict[str, Any]
    engine_revision: str
    consent_statement: str | None = None
    consent_key: str | None = None
    created_at: dt.datetime | None = None
    """Set by the ledger."""
    deleted_at: dt.datetime | None = None
