"""Bodies of `/submit` and `/transcriptions`, field for field as the API contract shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, Field

from schemas.domain import Job, JobStatus, Progress, Segment, SoundEvent, Transcript, TranscriptWarning, Turn, Word
from schemas.times import iso

_LABEL: Final = re.compile(r"^SPEAKER_(\d+):", re.MULTILINE)


class QueryUrls(BaseModel):
    """Where to poll the job; both addresses are the same."""

    get: str
    status: str


class SubmitUrl(BaseModel):
    """A recording to fetch. The body may also have the options of the query."""

    url: str = Field(max_length=2048, pattern=r"^https?://", description="URL of the recording: http:// or https://.")


class SubmitResponse(BaseModel):
    """The answer to a recording that was accepted."""

    id: int
    status: JobStatus
    created_at: str
    original_audio_url: str | None = Field(
        None, description="Signed URL of the bytes as sent; absent while they are fetched, and if they are erased."
    )
    query_urls: QueryUrls
    cached: bool
    callback_secret: str | None = Field(None, description="With `callback_url`: the secret that verifies its events.")


class WordBody(BaseModel):
    """A word; times in seconds from the start of the recording."""

    word: str
    start: float
    end: float
    confidence: float

    @classmethod
    def of(cls, word: Word) -> WordBody:
        """The body for the domain value; times rounded to 10 ms."""
        return cls(
            word=word.text,
            start=round(word.start_secs, 2),
            end=round(word.end_secs, 2),
            confidence=round(word.confidence, 3),
        )


class SegmentBody(BaseModel):
    """Words of one speaker, at most a sentence."""

    speaker: str
    text: str
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    segment_idx: int = Field(description="Counts this speaker's own segments from 0.")
    speaker_name: str | None = Field(None, description="With `name_speakers`: the name, if the account knows the speaker.")
    words: list[WordBody] | None = None

    @classmethod
    def of(cls, segment: Segment, *, words: bool) -> SegmentBody:
        """The body for the domain value; with its words if ``words``."""
        return cls(
            speaker=str(segment.speaker),
            text=segment.text,
            start=round(segment.start_secs, 2),
            end=round(segment.end_secs, 2),
            segment_idx=segment.segment_idx,
            words=[WordBody.of(w) for w in segment.words] if words else None,
        )


class SoundEventBody(BaseModel):
    """A non-speech sound; times in seconds from the start of the recording."""

    tag: str
    start: float
    end: float
    confidence: float
    speaker: str | None = None

    @classmethod
    def of(cls, event: SoundEvent) -> SoundEventBody:
        """The body for the domain value; times rounded to 10 ms."""
        return cls(
            tag=event.tag,
            start=round(event.start_secs, 2),
            end=round(event.end_secs, 2),
            confidence=round(event.confidence, 3),
            speaker=None if event.speaker is None else str(event.speaker),
        )


class TurnBody(BaseModel):
    """A stretch of one speaker, as the diariser found it; turns of different speakers may overlap."""

    speaker: str = Field(description="The same as in `segments`.")
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    overlap: bool = Field(description="Whether another speaker is more prominent at the same time.")

    @classmethod
    def of(cls, turn: Turn) -> TurnBody:
        """The body for the domain value; times rounded to 10 ms."""
        start, end = round(turn.start_secs, 2), round(turn.end_secs, 2)
        return cls(speaker=str(turn.speaker), start=start, end=end, overlap=turn.overlap)


class WarningBody(BaseModel):
    """A problem with a recording that was transcribed nevertheless."""

    code: str = Field(description="truncated_audio or damaged_audio.")
    message: str
    at_secs: float | None = Field(None, description="Position in the recording, if there is one.")

    @classmethod
    def of(cls, warning: TranscriptWarning) -> WarningBody:
        """The body for the domain value; its position rounded to milliseconds."""
        return cls(code=warning.code, message=warning.message, at_secs=_rounded(warning.at_secs))


class ProgressBody(BaseModel):
    """The progress of a job."""

    stage: str = Field(description="starting, fetching, listening, waiting, transcribing, speakers or finishing.")
    fraction: float = Field(ge=0, le=1, description="Share of the work that is done.")
    eta_secs: float | None = Field(None, description="Estimated seconds until the end; absent until they can be estimated.")

    @classmethod
    def of(cls, progress: Progress) -> ProgressBody:
        """The body for the domain value; the estimate rounded to 0.1 s."""
        eta = None if progress.eta_secs is None else round(progress.eta_secs, 1)
        return cls(stage=progress.stage, fraction=round(progress.fraction, 4), eta_secs=eta)


class TranscriptionBody(BaseModel):
    """One job. Fields of the result are absent until it is completed; `error_message` is present when it failed."""

    id: int
    status: JobStatus
    created_at: str
    updated_at: str
    filename: str
    audio_duration: float | None = None
    audio_format: str | None = None
    processing_time: float | None = None
    engine_secs: float | None = Field(None, description="Of the processing time: while at least one engine worked on it.")
    language: str | None = None
    non_speech: bool
    num_chunks: int | None = None
    num_segments: int | None = None
    num_speakers: int | None = None
    text: str | None = None
    segments: list[SegmentBody] | None = None
    events: list[SoundEventBody] | None = None
    turns: list[TurnBody] | None = None
    audio_track: int | None = Field(
        None, description="Which audio track was transcribed, from 0; absent where the file has only one."
    )
    speaker_names: dict[str, str] | None = Field(None, description="With `name_speakers`: names by speaker.")
    warnings: list[WarningBody] | None = Field(None, description="Present once it is completed; empty if all is well.")
    audio_url: str | None = Field(None, description="Signed URL of the Ogg Opus playback copy.")
    cached: bool
    error_message: str | None = None
    error_code: str | None = Field(None, description="With `error_message`, for programs: docs/errors.md.")
    progress: ProgressBody | None = Field(None, description="While it is processing.")

    @classmethod
    def of(cls, job: Job, transcript: Transcript | None, audio_url: str | None, *, words: bool) -> TranscriptionBody:
        """The body for a job; ``transcript`` is None until it is completed. ``words``: include the words of segments."""
        body = cls(
            id=job.id,
            status=job.status,
            created_at=iso(job.created_at),
            updated_at=iso(job.updated_at),
            filename=job.filename,
            audio_duration=_rounded(job.audio_duration_secs),
            audio_format=job.audio_format,
            processing_time=_rounded(job.processing_secs),
            engine_secs=_rounded(job.engine_secs),
            language=job.language,
            non_speech=job.options.non_speech,
            num_chunks=job.num_chunks,
            num_segments=job.num_segments,
            num_speakers=job.num_speakers,
            audio_url=audio_url,
            cached=job.cached,
            error_message=job.error_message,
            error_code=job.error_code,
        )
        if transcript is not None:
            body.text = transcript.text
            body.segments = [SegmentBody.of(s, words=words) for s in transcript.segments]
            body.events = [SoundEventBody.of(e) for e in transcript.events] if job.options.non_speech else None
            body.turns = [TurnBody.of(t) for t in transcript.turns]
            body.audio_track = transcript.audio_track
            body.warnings = [WarningBody.of(w) for w in job.warnings]
        return body

    def name_speakers(self, names: Mapping[int, str]) -> None:
        """Add the names of speakers to segments and text."""
        self.speaker_names = {str(speaker): name for speaker, name in names.items()}
        for segment in self.segments or ():
            segment.speaker_name = self.speaker_names.get(segment.speaker)
        if self.text is not None:
            self.text = named_text(self.text, names)


class TranscriptionItem(BaseModel):
    """One row of the list."""

    id: int
    status: JobStatus
    created_at: str
    filename: str
    audio_duration: float | None
    audio_format: str | None
    processing_time: float | None
    num_speakers: int | None
    num_segments: int | None
    original_audio_url: str | None = Field(description="Null for an imported transcription, which has no recording.")
    language: str | None
    warnings: list[WarningBody]

    @classmethod
    def of(cls, job: Job, original_audio_url: str | None) -> TranscriptionItem:
        """The body for a job."""
        return cls(
            id=job.id,
            status=job.status,
            created_at=iso(job.created_at),
            filename=job.filename,
            audio_duration=_rounded(job.audio_duration_secs),
            audio_format=job.audio_format,
            processing_time=_rounded(job.processing_secs),
            num_speakers=job.num_speakers,
            num_segments=job.num_segments,
            original_audio_url=original_audio_url,
            language=job.language,
            warnings=[WarningBody.of(w) for w in job.warnings],
        )


class DeletedBody(BaseModel):
    """The answer to a deletion."""

    object: Literal["transcription"] = "transcription"
    id: int
    deleted: Literal[True] = True


class TranscriptionList(BaseModel):
    """A page of jobs, newest first."""

    total: int
    limit: int
    offset: int
    transcriptions: list[TranscriptionItem]


def named_text(text: str, names: Mapping[int, str]) -> str:
    """A transcript's ``text`` with names instead of the labels ``SPEAKER_n`` at the beginning of lines."""
    return _LABEL.sub(lambda label: f"{names.get(int(label[1]), f'SPEAKER_{label[1]}')}:", text)


def _rounded(secs: float | None) -> float | None:
    return None if secs is None else round(secs, 3)


class CancelledBody(BaseModel):
    """The answer to a cancellation."""

    id: int
    status: JobStatus
