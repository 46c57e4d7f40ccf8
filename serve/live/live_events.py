"""The options of a live stream, and the events of its recognition. Times are seconds from the beginning of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from schemas.domain import RecognizeOptions, Seconds, Word
from schemas.errors import FluxionsError


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Options of a stream."""

    recognize: RecognizeOptions
    interim: bool = True
    """Whether there are results before an utterance has ended."""
    endpoint_secs: Seconds = 0.5
    """Silence that ends an utterance."""
    unfinished_secs: Seconds | None = None
    """If set, silence of `endpoint_secs` ends an utterance only if the end-of-turn model takes it for finished. Silence
    of this length ends any utterance.
    """
    speakers: bool = False
    """Whether speakers are distinguished."""
    interim_secs: Seconds = 0.5
    """New audio between interim results."""
    longest_secs: Seconds = 13.0
    """Length after which an utterance is split."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech started."""

    at_secs: Seconds


@dataclass(frozen=True, slots=True)
class InterimResult:
    """An utterance so far. Its first ``stable`` words stay the same in later interim results."""

    start_secs: Seconds
    end_secs: Seconds
    words: tuple[Word, ...]
    stable: int


@dataclass(frozen=True, slots=True)
class FinalResult:
    """The final result of an utterance, or of a part of a long one."""

    start_secs: Seconds
    end_secs: Seconds
    words: tuple[Word, ...]
    speaker: int
    speech_final: bool
    """Whether silence or the client ended it, rather than its length."""
    by_client: bool = False
    """Whether the client ended it."""
    end_confidence: float = 1.0
    """Confidence that the speaker had finished, (0, 1]."""
    language: str | None = None
    """Code of the language that was detected or given."""


LiveEvent: TypeAlias = SpeechStarted | InterimResult | FinalResult | FluxionsError
