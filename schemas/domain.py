"""The values that all rooms share: frozen dataclasses, times in seconds as floats, speakers as small integers from 0.

Pydantic models of requests and responses are in `schemas.api`, Arrow schemas of tables in `schemas.tables`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from schemas.redaction import NO_REDACTION, Redaction

Seconds: TypeAlias = float
"""Time from the start of the recording, or a length of time, in seconds."""

SAMPLE_RATE_HZ = 16_000
"""Rate of all audio on its way to recogniser, diariser and event detector: 16 kHz mono."""

SPEECH_RATE_HZ = 24_000
"""Rate of all audio that synthesisers return: 24 kHz mono s16le."""

Task: TypeAlias = Literal["transcribe", "translate"]
"""Transcribe in the language that is spoken, or translate to English."""

Slot: TypeAlias = Literal["recognizer", "diarizer", "event_detector", "synthesizer", "language_model"]
Lane: TypeAlias = Literal["interactive", "interim", "archive"]
"""Priority of a request to an engine: interactive ones are served first, then interim results of live streams, which newer
ones replace, then archives."""


class JobStatus(StrEnum):
    """The state of a job. ``CANCELLED`` and ``DELETED`` are not in the API contract."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"

    @property
    def is_final(self) -> bool:
        """Whether the job is over."""
        return self not in (JobStatus.SUBMITTED, JobStatus.PROCESSING)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording, ``start_secs`` inclusive, ``end_secs`` exclusive."""

    start_secs: Seconds
    end_secs: Seconds

    @property
    def duration_secs(self) -> Seconds:
        """Its length."""
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
    """Spoken while another speaker is more prominent. Without such turns, one speaker speaks at a time."""


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """A non-speech sound. ``tag`` is one of the nine of the API contract, without brackets (``"breath"``)."""

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
class RecognizeOptions:
    """Hints to a recogniser about an utterance; all utterances of one batch have the same."""

    language: str | None = None
    """ISO 639-1 code of the speech; None lets the engine detect it."""
    prompt: str = ""
    """Text in the style and vocabulary of the recording, as if it came before it."""
    keyterms: tuple[str, ...] = ()
    """Names and jargon that are likely to be said."""
    task: Task = "transcribe"


AS_SPOKEN: Final = RecognizeOptions()
"""No hints: transcribe in the language that the engine detects."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """The words of one utterance; times count from the utterance's first sample."""

    words: tuple[Word, ...]
    language: str | None = None
    """ISO 639-1 code of the language that the engine detected or was given."""
    punctuated: bool = False
    """Whether the engine writes capitals and punctuation itself, so that its words are not changed."""
    language_probability: float | None = None
    """Probability of a detected language, in [0, 1]; None where the language was given, or the engine has none."""
    engine_secs: Seconds = 0.0
    """Wall time of the engine for this utterance's batch; all utterances of a batch have the same value."""


@dataclass(frozen=True, slots=True)
class TranscriptWarning:
    """A problem with a recording that was transcribed nevertheless."""

    code: str
    """Stable, for programs: ``truncated_audio``, ``damaged_audio``, ``missing_audio``, ``wrong_header``."""
    message: str
    at_secs: Seconds | None = None
    """Its position in the recording, if it has one."""


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
    turns: tuple[Turn, ...] = ()
    """The diariser's turns, which may overlap for different speakers."""
    warnings: tuple[TranscriptWarning, ...] = ()
    engine_secs: Seconds = 0.0
    """Time in which at least one engine worked on the recording, measured in the replicas."""
    audio_track: int | None = None
    """Audio track that was transcribed, from 0; None for a recording with only one."""

    def to_json(self) -> dict[str, Any]:
        """The content of the result object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Transcript:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for other JSON."""
        segments = tuple(Segment(**{**s, "words": tuple(Word(**w) for w in s["words"])}) for s in data["segments"])
        events = tuple(SoundEvent(**e) for e in data["events"])
        turns = tuple(Turn(**t) for t in data.get("turns", ()))
        warnings = tuple(TranscriptWarning(**w) for w in data.get("warnings", ()))
        return cls(**{**data, "segments": segments, "events": events, "turns": turns, "warnings": warnings})


@dataclass(frozen=True, slots=True)
class SpeakerHint:
    """The number of speakers, if the client knows it: ``least`` to ``most``, None for no bound."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a recording. ``fraction`` is in [0, 1]; ``eta_secs`` is None while it is unknown."""

    stage: str
    fraction: float = 0.0
    eta_secs: Seconds | None = None


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The client's options of a transcription; part of its cache key."""

    non_speech: bool = False
    speakers: SpeakerHint = SpeakerHint()
    recognize: RecognizeOptions = AS_SPOKEN
    strict: bool = False
    """Whether a truncated or damaged recording fails, instead of being transcribed as far as possible."""
    audio_track: int | None = None
    """Audio track to transcribe, from 0; None for the default track, or else the track with most speech."""
    redaction: Redaction = NO_REDACTION

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> JobOptions:
        """The inverse of `dataclasses.asdict`, for values that were stored as JSON."""
        recognize = {**data["recognize"], "keyterms": tuple(data["recognize"]["keyterms"])}
        return cls(
            data["non_speech"],
            SpeakerHint(**data["speakers"]),
            RecognizeOptions(**recognize),
            data["strict"],
            data.get("audio_track"),
            Redaction.from_json(data.get("redaction")),
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """An uploaded recording for which the ledger creates a job."""

    account: str
    filename: str
    content_type: str
    sha256: str
    size_bytes: int
    audio_key: str
    options: JobOptions
    use_cache: bool
    engine_revision: str
    """Revision of the present engines; with account, sha256 and options it is the key of the whole-file cache."""
    submission: str | None = None
    """Identifies this submission: a caller that lost the answer and repeats the call gets the same job."""
    is_repeated: bool = False
    """Whether this submission may have made a job long ago, so that the table is searched for it."""
    archive_id: int | None = None
    """Archive run it is part of."""
    join: bool = False
    """Whether an unfinished job of the account for the same recording and options is returned instead of a new one."""
    fetch_lease: str = ""
    """The lease of a gateway that still fetches the recording; ``sha256``, ``size_bytes``, ``audio_key`` are empty then."""


@dataclass(frozen=True, slots=True)
class FetchedRecording:
    """The recording of a job that was created before it arrived. ``engine_revision`` is that of `NewJob`."""

    sha256: str
    size_bytes: int
    audio_key: str
    engine_revision: str


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
    error_code: str | None = None
    engine_revision: str | None = None
    result_key: str | None = None
    playback_key: str | None = None
    audio_duration_secs: Seconds | None = None
    audio_format: str | None = None
    processing_secs: Seconds | None = None
    engine_secs: Seconds | None = None
    """Time in which at least one engine worked on the recording, measured in the replicas."""
    language: str | None = None
    num_chunks: int | None = None
    num_segments: int | None = None
    num_speakers: int | None = None
    warnings: tuple[TranscriptWarning, ...] = ()
    cost_usd: float | None = None
    import_key: str | None = None
    archive_id: int | None = None
    """Archive run that made this revision; its jobs never wait in the queue of clients' jobs."""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A worker's report on a finished job, which the ledger converts to the job's final row."""

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
    engine_secs: Seconds = 0.0
    warnings: tuple[TranscriptWarning, ...] = ()

    @classmethod
    def of(cls, transcript: Transcript, result_key: str, playback_key: str | None) -> Outcome:
        """The outcome of a transcript whose result and, if there is one, playback copy are stored."""
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
            engine_secs=transcript.engine_secs,
            warnings=transcript.warnings,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A job leased to a worker until ``expires_at``; every later call about it must send ``lease``."""

    job: Job
    lease: str
    lease_secs: Seconds
