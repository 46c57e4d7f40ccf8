"""Responses of `/v1/audio/transcriptions` and `/v1/audio/translations`, field for field as OpenAI's clients read them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, Field

from schemas.domain import Segment, Task, Transcript, Word
from schemas.language_names import language_name
from schemas.spacing import join_words, space_between

AUDIO_TOKENS_PER_SEC: Final = 10
"""Tokens a second of audio, where usage is in tokens: one for each 100 ms."""
_LEAST_PROBABILITY: Final = 1e-4


class DurationUsage(BaseModel):
    """The usage of a transcription."""

    type: Literal["duration"] = "duration"
    seconds: int = Field(description="Length of the recording, rounded up, s.")


class TokenUsage(BaseModel):
    """Usage in tokens, for events of a stream: 10 a second of audio, one a word."""

    type: Literal["tokens"] = "tokens"
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: dict[str, int]

    @classmethod
    def of(cls, transcript: Transcript) -> TokenUsage:
        """Of a finished transcription."""
        heard = math.ceil(transcript.audio_duration_secs * AUDIO_TOKENS_PER_SEC)
        written = sum(len(segment.text.split()) for segment in transcript.segments)
        return cls(
            input_tokens=heard,
            output_tokens=written,
            total_tokens=heard + written,
            input_token_details={"audio_tokens": heard, "text_tokens": 0},
        )


class LogProb(BaseModel):
    """Log probability of a word; words are used as tokens here."""

    token: str
    bytes: list[int]
    logprob: float = Field(description="Natural logarithm of the word's confidence.")

    @classmethod
    def of(cls, word: Word, before: str) -> LogProb:
        """The entry of a word after the word ``before``; it includes the space between them, if the script has one."""
        token = space_between(before, word.text) + word.text
        return cls(token=token, bytes=list(token.encode()), logprob=_logprob(word.confidence))


class TextBody(BaseModel):
    """``json``."""

    text: str
    logprobs: list[LogProb] | None = None
    usage: DurationUsage

    @classmethod
    def of(cls, transcript: Transcript, *, logprobs: bool) -> TextBody:
        """Of a finished transcription."""
        found = logprobs_of(transcript) if logprobs else None
        return cls(text=text_of(transcript), logprobs=found, usage=usage_of(transcript))


class VerboseWord(BaseModel):
    """A word; seconds from the start of the recording."""

    word: str
    start: float
    end: float


class VerboseSegment(BaseModel):
    """An utterance. ``tokens`` and ``seek`` are internal values of OpenAI's decoder, empty here."""

    id: int
    seek: int = 0
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float = Field(description="Mean over the words of the logarithm of their confidence.")
    compression_ratio: float = Field(description="Characters of the text for each that zlib leaves of it, as Whisper's.")
    no_speech_prob: float = 0.0

    @classmethod
    def of(cls, number: int, segment: Segment, temperature: float) -> VerboseSegment:
        """The body of a segment of the transcript."""
        logprobs = [_logprob(word.confidence) for word in segment.words] or [0.0]
        text = segment.text.encode()
        return cls(
            id=number,
            start=round(segment.start_secs, 2),
            end=round(segment.end_secs, 2),
            text=segment.text,
            temperature=temperature,
            avg_logprob=round(sum(logprobs) / len(logprobs), 4),
            compression_ratio=round(len(text) / len(zlib.compress(text)), 4),
        )


class VerboseBody(BaseModel):
    """``verbose_json``; segments or words that were not requested are absent."""

    task: Task
    language: str = Field(description="English name of the language, such as `english`.")
    duration: float
    text: str
    segments: list[VerboseSegment] | None = None
    words: list[VerboseWord] | None = None
    usage: DurationUsage

    @classmethod
    def of(
        cls, transcript: Transcript, task: Task, granularities: Sequence[Literal["word", "segment"]], temperature: float
    ) -> VerboseBody:
        """Of a finished transcription."""
        segments = in_order(transcript)
        utterances = [VerboseSegment.of(number, segment, temperature) for number, segment in enumerate(segments)]
        words = [_word(word) for segment in segments for word in segment.words]
        wanted = granularities or ("segment",)
        return cls(
            task=task,
            language="english" if task == "translate" else language_name(transcript.language),
            duration=round(transcript.audio_duration_secs, 2),
            text=text_of(transcript),
            segments=utterances if "segment" in wanted else None,
            words=words if "word" in wanted else None,
            usage=usage_of(transcript),
        )


class SpeakerSegment(BaseModel):
    """An utterance of one speaker; also an event of a stream."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    text: str
    speaker: str = Field(description="A, B, … in the order in which they speak, or the name of a known speaker.")


class DiarizedBody(BaseModel):
    """``diarized_json``."""

    task: Literal["transcribe"] = "transcribe"
    duration: float
    text: str
    segments: list[SpeakerSegment]
    usage: DurationUsage

    @classmethod
    def of(cls, transcript: Transcript, names: dict[int, str]) -> DiarizedBody:
        """Of a finished transcription; ``names`` are those of known speakers."""
        return cls(
            duration=round(transcript.audio_duration_secs, 2),
            text=text_of(transcript),
            segments=speaker_segments(transcript, names),
            usage=usage_of(transcript),
        )


class TextDelta(BaseModel):
    """New text in a stream."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: list[LogProb] | None = None
    segment_id: str | None = Field(None, description="With `diarized_json`.")


class TextDone(BaseModel):
    """The end of a stream, with the whole text."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    logprobs: list[LogProb] | None = None
    usage: TokenUsage


def in_order(transcript: Transcript) -> list[Segment]:
    """The segments of all speakers by start."""
    return sorted(transcript.segments, key=lambda segment: (segment.start_secs, segment.end_secs))


def text_of(transcript: Transcript) -> str:
    """The text without speakers."""
    return join_words(segment.text for segment in in_order(transcript))


def usage_of(transcript: Transcript) -> DurationUsage:
    """What the transcription is charged for."""
    return DurationUsage(seconds=math.ceil(transcript.audio_duration_secs))


def logprobs_of(transcript: Transcript) -> list[LogProb]:
    """One entry for each word of the text."""
    words = [word for segment in in_order(transcript) for word in segment.words]
    return [LogProb.of(word, before.text if before else "") for before, word in zip((None, *words), words, strict=False)]


def speaker_segments(transcript: Transcript, names: dict[int, str]) -> list[SpeakerSegment]:
    """Segments with speakers: letters by first segment, or names of known speakers."""
    segments = in_order(transcript)
    free = (_letter(number) for number in range(len(segments) + len(names)))
    letters = (letter for letter in free if letter not in names.values())
    labels: dict[int, str] = {}
    for segment in segments:
        if segment.speaker not in labels:
            labels[segment.speaker] = names.get(segment.speaker) or next(letters)
    return [
        SpeakerSegment(
            id=f"seg_{number:03d}",
            start=round(s.start_secs, 2),
            end=round(s.end_secs, 2),
            text=s.text,
            speaker=labels[s.speaker],
        )
        for number, s in enumerate(segments)
    ]


def event(body: BaseModel | dict[str, Any]) -> bytes:
    """One server-sent event in OpenAI's form: a line of data, without a name."""
    data = body.model_dump(exclude_none=True) if isinstance(body, BaseModel) else body
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _word(word: Word) -> VerboseWord:
    return VerboseWord(word=word.text, start=round(word.start_secs, 2), end=round(word.end_secs, 2))


def _letter(number: int) -> str:
    """A to Z, then AA, AB, …"""
    head, last = divmod(number, 26)
    return (_letter(head - 1) if head else "") + chr(ord("A") + last)


def _logprob(confidence: float) -> float:
    return round(math.log(min(1.0, max(confidence, _LEAST_PROBABILITY))), 4)
