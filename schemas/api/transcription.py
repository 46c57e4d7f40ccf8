"""Bodies of `/submit` and `/transcriptions`, field for field as the seed shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from schemas.domain import Job, JobStatus, Progress, Segment, SoundEvent, Transcript, Word
from schemas.times import iso


class QueryUrls(BaseModel):
    get: str
    status: str


class SubmitResponse(BaseModel):
    id: int
    status: JobStatus
    created_at: str
    original_audio_url: str = Field(description="Signed URL of the very bytes sent.")
    query_urls: QueryUrls
    cached: bool


class WordBody(BaseModel):
    word: str
    start: float
    end: float
    confidence: float

    @classmethod
    def of(cls, word: Word) -> WordBody:
        return cls(
            word=word.text,
            start=round(word.start_secs, 2),
            end=round(word.end_secs, 2),
            confidence=round(word.confidence, 3),
        )


class SegmentBody(BaseModel):
    speaker: str
    text: str
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    segment_idx: int = Field(description="Counts this speaker's own segments from 0.")
    words: list[WordBody] | None = None

    @classmethod
    def of(cls, segment: Segment, *, words: bool) -> SegmentBody:
        return cls(
            speaker=str(segment.speaker),
            text=segment.text,
            start=round(segment.start_secs, 2),
            end=round(segment.end_secs, 2),
            segment_idx=segment.segment_idx,
            words=[WordBody.of(w) for w in segment.words] if words else None,
        )


class SoundEventBody(BaseModel):
    tag: str
    start: float
    end: float
    confidence: float
    speaker: str | None = None

    @classmethod
    def of(cls, event: SoundEvent) -> SoundEventBody:
        return cls(
            tag=event.tag,
            start=round(event.start_secs, 2),
            end=round(event.end_secs, 2),
            confidence=round(event.confidence, 3),
            speaker=None if event.speaker is None else str(event.speaker),
        )


class ProgressBody(BaseModel):
    stage: str = Field(description="starting, fetching, listening, waiting, transcribing, speakers or finishing.")
    fraction: float = Field(ge=0, le=1, description="How much of the work is done.")
    eta_secs: float | None = Field(None, description="Seconds until it is done, once that can be told.")

    @classmethod
    def of(cls, progress: Progress) -> ProgressBody:
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
    language: str | None = None
    non_speech: bool
    num_chunks: int | None = None
    num_segments: int | None = None
    num_speakers: int | None = None
    text: str | None = None
    segments: list[SegmentBody] | None = None
    events: list[SoundEventBody] | None = None
    audio_url: str | None = Field(None, description="Signed URL of the Ogg Opus playback copy.")
    cached: bool
    error_message: str | None = None
    progress: ProgressBody | None = Field(None, description="While it is processing.")

    @classmethod
    def of(cls, job: Job, transcript: Transcript | None, audio_url: str | None, *, words: bool) -> TranscriptionBody:
        body = cls(
            id=job.id,
            status=job.status,
            created_at=iso(job.created_at),
            updated_at=iso(job.updated_at),
            filename=job.filename,
            audio_duration=_rounded(job.audio_duration_secs),
            audio_format=job.audio_format,
            processing_time=_rounded(job.processing_secs),
            language=job.language,
            non_speech=job.options.non_speech,
            num_chunks=job.num_chunks,
            num_segments=job.num_segments,
            num_speakers=job.num_speakers,
            audio_url=audio_url,
            cached=job.cached,
            error_message=job.error_message,
        )
        if transcript is not None:
            body.text = transcript.text
            body.segments = [SegmentBody.of(s, words=words) for s in transcript.segments]
            body.events = [SoundEventBody.of(e) for e in transcript.events] if job.options.non_speech else None
        return body


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
    original_audio_url: str | None = Field(description="Null for one brought in without its recording.")
    language: str | None

    @classmethod
    def of(cls, job: Job, original_audio_url: str | None) -> TranscriptionItem:
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
        )


class DeletedBody(BaseModel):
    object: Literal["transcription"] = "transcription"
    id: int
    deleted: Literal[True] = True


class TranscriptionList(BaseModel):
    total: int
    limit: int
    offset: int
    transcriptions: list[TranscriptionItem]


def _rounded(secs: float | None) -> float | None:
    return None if secs is None else round(secs, 3)
