"""What an engine of each kind must be able to do, and what it says of itself. Implementations stand in `serve`.

Audio crosses these lines as ``(num_samples,) float32`` in [-1, 1] at 16 kHz mono unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Recognition, Seconds, SoundEvent, Span, Turn, Word

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RecognizerCapabilities:
    languages: tuple[str, ...]
    word_timestamps: bool
    word_confidence: bool
    punctuation: bool
    max_utterance_secs: Seconds


@dataclass(frozen=True, slots=True)
class DiarizerCapabilities:
    max_speakers: int | None
    overlap: bool


@dataclass(frozen=True, slots=True)
class EventDetectorCapabilities:
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What serves a slot: shown by ``status``, ``/ready`` and in every result's revision."""

    slot: str
    engine: str
    model: str
    revision: str
    capabilities: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Recognizer(Protocol):
    """Speech to words. Raises EngineFailure for an utterance it cannot process; a bad one never spoils its batch."""

    @property
    def info(self) -> EngineInfo: ...

    def recognize(self, utterances: Sequence[Samples]) -> list[Recognition]:
        """One Recognition an utterance, in order; word times count from the utterance's start."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VoiceWindows:
    """Speaker evidence of one block of a recording, small enough to keep for hours of audio.

    ``centers_secs``: ``(num_windows,) float64``, middle of each window from the start of the recording.
    ``embeddings``: ``(num_windows, dim) float32``, L2-normalised.
    """

    centers_secs: NDArray[np.float64]
    embeddings: NDArray[np.float32]


class Diarizer(Protocol):
    """Who spoke when, in two steps so that a long file is observed block by block and resolved once."""

    @property
    def info(self) -> EngineInfo: ...

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """Evidence of one block that starts at ``offset_secs``; ``speech`` is in seconds from the block's start."""
        ...

    def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span]) -> list[Turn]:
        """Turns of the whole recording; ``speech`` and turns in seconds from its start, sorted by start."""
        ...


class EventDetector(Protocol):
    """Sounds that are not words."""

    @property
    def info(self) -> EngineInfo: ...

    def detect(self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds) -> list[SoundEvent]:
        """Events sorted by start, in seconds from the start of the recording."""
        ...
