"""Bodies of the operator API (`/operator`), used by its routes and by its clients alike.

Rows of spans, words, turns and events are arrays, to keep the bodies of long recordings small. Packed bodies
(`schemas.wire`) have one of these models as their head. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, Field

from schemas import wire
from schemas.api.options import OptionsBody, SpeakersBody
from schemas.domain import Claim, JobStatus, Progress, Recognition, Segment, SoundEvent, Span, Turn, Word
from schemas.engines import EngineInfo
from schemas.speech_engines import Timed

SpanRow: TypeAlias = tuple[float, float]
"""``[start, end]``."""
WordRow: TypeAlias = tuple[str, float, float, float]
"""``[text, start, end, confidence]``."""
TurnRow: TypeAlias = tuple[int, float, float, bool]
"""``[speaker, start, end, overlap]``."""
EventRow: TypeAlias = tuple[str, float, float, float]
"""``[tag, start, end, confidence]``."""
SegmentRow: TypeAlias = tuple[int, int, str, float, float]
"""``[speaker, index, text, start, end]``."""


class ClaimRequest(BaseModel):
    """A worker asks for a job."""

    worker: str = Field(min_length=1, max_length=200)
    wait_secs: float = Field(0.0, ge=0, le=55)
    audio_bytes: int = Field(
        0,
        ge=0,
        le=16 * 1024 * 1024,
        description="A recording that is not larger comes with its job, in a packed answer.",
    )


class ClaimedJobBody(BaseModel):
    """A job under a lease."""

    id: int
    attempt: int
    lease: str
    lease_secs: float
    filename: str
    size_bytes: int
    sha256: str
    options: OptionsBody
    engine_revision: str
    account: str = ""
    """The account of the job. Cached parts of a recording are not shared between accounts."""

    @classmethod
    def of(cls, claim: Claim, engine_revision: str) -> Self:
        """The body for a claim; ``engine_revision`` is that of the present engines."""
        job = claim.job
        return cls(
            id=job.id,
            attempt=job.attempt,
            lease=claim.lease,
            lease_secs=claim.lease_secs,
            filename=job.filename,
            size_bytes=job.size_bytes,
            sha256=job.sha256,
            options=OptionsBody.model_validate(asdict(job.options)),
            engine_revision=engine_revision,
            account=job.account,
        )


class ClaimAnswer(BaseModel):
    """The claimed job; null if none was waiting."""

    claim: ClaimedJobBody | None


class LeaseAnswer(BaseModel):
    """The answer to a renewal."""

    lease_secs: float


class JobStatusAnswer(BaseModel):
    """The status of a job after a call that ends work on it."""

    status: JobStatus


class StoredAnswer(BaseModel):
    """The answer to bytes that were stored."""

    status: Literal["stored"] = "stored"


class FailRequest(BaseModel):
    """Why a job could not be completed."""

    lease: str
    message: str = Field(min_length=1, max_length=2000)
    code: str = Field("transcription_failed", pattern=r"^[a-z_]{1,64}$")
    retryable: bool = False


class ProgressRequest(BaseModel):
    """The progress of a job. ``blocks`` are the segments of finished blocks, from number ``first_block`` on."""

    stage: str = Field(min_length=1, max_length=32, pattern=r"^[a-z]+$")
    fraction: float = Field(ge=0, le=1)
    eta_secs: float | None = Field(None, ge=0)
    first_block: int = Field(0, ge=0)
    blocks: list[list[SegmentRow]] = Field(default_factory=list, max_length=100_000)

    @classmethod
    def of(cls, progress: Progress, first_block: int, blocks: Sequence[Sequence[Segment]]) -> Self:
        """The body for the domain values; the words of segments are left out."""
        rows = [[(s.speaker, s.segment_idx, s.text, s.start_secs, s.end_secs) for s in block] for block in blocks]
        return cls(**asdict(progress), first_block=first_block, blocks=rows)

    def progress(self) -> Progress:
        """Stage, share of the work that is done, and time left."""
        return Progress(self.stage, self.fraction, self.eta_secs)

    def segments(self) -> list[tuple[Segment, ...]]:
        """The segments of each block."""
        return [tuple(Segment(*row) for row in block) for block in self.blocks]


class ProgressAnswer(BaseModel):
    """The number of blocks that the server has, so that the worker can send missing ones."""

    blocks: int


class RecognitionBody(BaseModel):
    """The words of one utterance; times count from its first sample."""

    words: list[WordRow]
    language: str | None
    punctuated: bool
    language_probability: float | None
    engine_secs: float

    @classmethod
    def of(cls, recognition: Recognition) -> Self:
        """The body for the domain value."""
        return cls(**wire.recognition_to_json(recognition))

    def value(self) -> Recognition:
        """The same as a domain value."""
        return wire.recognition_from_json(self.model_dump())


class ObserveHead(BaseModel):
    """Head of one block's audio for the diariser; ``speech`` counts from the block's start."""

    speech: list[SpanRow]
    offset_secs: float

    @classmethod
    def of(cls, speech: Sequence[Span], offset_secs: float) -> Self:
        """The head for the domain values."""
        return cls(speech=_spans(speech), offset_secs=offset_secs)

    def spans(self) -> list[Span]:
        """Speech as domain values."""
        return wire.spans_from_json(self.speech)


class ResolveHead(BaseModel):
    """Head of the voice windows of a whole recording."""

    speech: list[SpanRow]
    speakers: SpeakersBody

    def spans(self) -> list[Span]:
        """Speech as domain values."""
        return wire.spans_from_json(self.speech)


class TurnsAnswer(BaseModel):
    """Who spoke when; turns of different speakers may overlap."""

    turns: list[TurnRow]
    engine_secs: float

    @classmethod
    def of(cls, found: Timed[list[Turn]]) -> Self:
        """The body for the domain value."""
        return cls.model_validate({"turns": wire.turns_to_json(found.value), "engine_secs": found.engine_secs})

    def value(self) -> Timed[list[Turn]]:
        """The same as a domain value."""
        return Timed(wire.turns_from_json(self.turns), self.engine_secs)


class ObserveEventsHead(BaseModel):
    """Head of one block's audio for the event detector."""

    offset_secs: float


class EventsRequest(BaseModel):
    """A whole recording for the event detector; ``heard`` are the events found in the audio of its blocks."""

    speech: list[SpanRow]
    words: list[WordRow]
    duration_secs: float
    heard: list[EventRow]

    @classmethod
    def of(cls, speech: Sequence[Span], words: Sequence[Word], duration_secs: float, heard: Sequence[SoundEvent]) -> Self:
        """The body for the domain values."""
        rows = [(w.text, w.start_secs, w.end_secs, w.confidence) for w in words]
        return cls(speech=_spans(speech), words=rows, duration_secs=duration_secs, heard=_events(heard))

    def spans(self) -> list[Span]:
        """Speech as domain values."""
        return wire.spans_from_json(self.speech)

    def word_values(self) -> list[Word]:
        """Words as domain values."""
        return [Word(*row) for row in self.words]

    def heard_values(self) -> list[SoundEvent]:
        """The events of ``heard`` as domain values."""
        return wire.events_from_json(self.heard)


class EventsAnswer(BaseModel):
    """Events, sorted by start."""

    events: list[EventRow]
    engine_secs: float

    @classmethod
    def of(cls, found: Timed[list[SoundEvent]]) -> Self:
        """The body for the domain value."""
        return cls(events=_events(found.value), engine_secs=found.engine_secs)

    def value(self) -> Timed[list[SoundEvent]]:
        """The same as a domain value."""
        return Timed(wire.events_from_json(self.events), self.engine_secs)


class EngineBody(BaseModel):
    """The engine of a slot; the fields of `schemas.engines.EngineInfo`."""

    slot: str
    engine: str
    model: str
    revision: str
    capabilities: dict[str, Any]

    @classmethod
    def of(cls, info: EngineInfo) -> Self:
        """The body for the domain value."""
        return cls(**info.to_json())

    def value(self) -> EngineInfo:
        """The same as a domain value."""
        return EngineInfo(**self.model_dump())


def _spans(spans: Sequence[Span]) -> list[SpanRow]:
    return [(float(start), float(end)) for start, end in wire.spans_to_json(spans)]


def _events(events: Sequence[SoundEvent]) -> list[EventRow]:
    return [(tag, start, end, confidence) for tag, start, end, confidence in wire.events_to_json(events)]
