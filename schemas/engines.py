"""The interface of each kind of engine, and how an engine describes itself. Implementations are in `serve.engines`.

Audio is ``(num_samples,) float32`` in [-1, 1] at 16 kHz mono unless a docstring says otherwise; rendered speech is 24 kHz
mono.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.domain import (
    AS_SPOKEN,
    Recognition,
    RecognizeOptions,
    Seconds,
    Slot,
    SoundEvent,
    Span,
    SpeakerHint,
    Turn,
    Word,
)
from schemas.speech import Cue, Passage, VoiceProfile

if TYPE_CHECKING:  # Settings take a quarter of a second to import, and decoding children do not need them.
    from schemas.settings import EngineSettings

Samples = NDArray[np.float32]

LISTENING_VERSION: Final = 2
"""Increased when recordings are cut differently, or text is assembled differently; part of every result's revision."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which model an engine loads, on which device, and with which settings."""

    slot: Slot
    engine: str
    model: str
    """A folder, a ``.nemo`` file, or a hub name, ``owner/name`` or ``owner/name@revision``."""
    settings: EngineSettings
    variable: str
    """The setting that names the model, for messages."""
    cache: Path
    """Folder for values cached between starts, such as digests of model files."""
    remote: bool = False
    """Whether another server has the model. ``model`` is its name there, and no files are needed on this machine."""


@dataclass(frozen=True, slots=True)
class RecognizerCapabilities:
    """What a recogniser can do; shown by `/v1/models`."""

    languages: tuple[str, ...]
    word_timestamps: bool
    word_confidence: bool
    punctuation: bool
    max_utterance_secs: Seconds
    max_batch: int = 1
    """Largest batch of utterances of one call; 1 if it processes them one by one."""
    detects_language: bool = False
    """Whether it detects the language. If not, one of ``languages`` must be given, or it knows only one."""
    takes_language: bool = False
    """Whether a request may give one of several ``languages``; the only one may always be given."""
    translates: bool = False
    """Whether it can translate its languages to English."""
    takes_prompt: bool = False
    """Whether ``prompt`` and ``keyterms`` have an effect."""


@dataclass(frozen=True, slots=True)
class DiarizerCapabilities:
    """What a diariser can do; shown by `/v1/models`."""

    max_speakers: int | None
    overlap: bool


@dataclass(frozen=True, slots=True)
class EventDetectorCapabilities:
    """What a detector of sound events can do; shown by `/v1/models`."""

    tags: tuple[str, ...]
    acoustic: bool = False
    """Whether it analyses audio; if not, `EventDetector.observe` need not be called."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The engine of a slot, as ``status`` and ``/ready`` show it; its revision is part of every result."""

    slot: str
    engine: str
    model: str
    revision: str
    capabilities: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As `/operator/status` and `/ready` show it."""
        return asdict(self)


class Recognizer(Protocol):
    """Speech to words. An utterance that cannot be processed raises EngineFailure and does not affect the others."""

    @property
    def info(self) -> EngineInfo:
        """Name, model, revision and capabilities."""
        ...

    def recognize(self, utterances: Sequence[Samples], options: RecognizeOptions = AS_SPOKEN) -> list[Recognition]:
        """One Recognition an utterance, in order; word times count from the utterance's start.

        An engine uses those of ``options`` that its capabilities name. Raises InvalidParameter for a language it lacks.
        """
        ...

    def check(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter for options that its capabilities allow but that exceed a limit, as a long prompt."""
        ...

    def close(self) -> None:
        """Free resources outside this process's memory."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceWindows:
    """Speaker features of one block of a recording, small enough to hold for hours of audio.

    A window stands for one speaker: about a second of speech, or, from an engine that separates speakers itself, all
    speech of one speaker in the block.

    ``centers_secs``: ``(num_windows,) float64``, middle of each window from the start of the recording.
    ``embeddings``: ``(num_windows, dim) float32``, L2-normalised.
    ``activity``: ``(num_frames, num_windows) uint8``, probability that the speaker of a window speaks in a frame, in
    255ths; the engine knows the length of a frame. Has no frames where windows are about a second long.
    ``start_secs``: start of the first frame.
    ``narrow``: the block came over a telephone line, as far as the engine looks for that.
    """

    centers_secs: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    activity: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    start_secs: Seconds = 0.0
    narrow: bool = False

    def shifted(self, secs: Seconds) -> VoiceWindows:
        """The same features, shifted by ``secs``."""
        return replace(self, centers_secs=self.centers_secs + secs, start_secs=self.start_secs + secs)


class Diarizer(Protocol):
    """Who spoke when, in two steps: each block of a recording is observed, then the whole recording is resolved once."""

    @property
    def info(self) -> EngineInfo:
        """Name, model, revision and capabilities."""
        ...

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """Features of one block that starts at ``offset_secs``; ``speech`` is in seconds from the block's start."""
        ...

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns of the whole recording; ``speech`` and turns in seconds from its start, sorted by start.

        ``hint`` bounds the number of speakers.
        """
        ...


class EventDetector(Protocol):
    """Sounds that are not words, in two steps: each block is observed, then the events of the whole recording are found."""

    @property
    def info(self) -> EngineInfo:
        """Name, model, revision and capabilities."""
        ...

    def observe(self, samples: Samples, offset_secs: Seconds = 0.0) -> list[SoundEvent]:
        """Events in the audio of a block that starts at ``offset_secs``, sorted by start, in seconds from the recording's
        start; none from an engine that does not analyse audio."""
        ...

    def detect(
        self,
        speech: Sequence[Span],
        words: Sequence[Word],
        duration_secs: Seconds,
        heard: Sequence[SoundEvent] = (),
    ) -> list[SoundEvent]:
        """Events of the whole recording sorted by start: those that follow from speech and words, and ``heard``, those
        that `observe` found."""
        ...


@dataclass(frozen=True, slots=True)
class SynthesizerCapabilities:
    """What a synthesiser can do; shown by `/v1/models`."""

    languages: tuple[str, ...]
    cues: tuple[Cue, ...]
    temperature: bool
    """Whether the sampling temperature has an effect."""
    matches_voices: bool
    """Whether a voice can be derived from a reference clip."""
    prompt_secs: Seconds = 0.0
    """Longest reference clip that the engine uses as a prompt, s; 0 if it derives a voice in another way."""
    speed: bool = False
    """Whether the speed can be set; if not, `Synthesizer.render` is called with 1 only."""
    whole_passages: bool = False
    """Whether a passage is returned only when all of it is rendered; a stream then begins with short passages."""


class Synthesizer(Protocol):
    """Text to speech."""

    @property
    def info(self) -> EngineInfo:
        """Name, model, revision and capabilities."""
        ...

    def render(
        self, passage: Passage, voice: VoiceProfile, temperature: float, speed: float = 1.0
    ) -> Generator[Samples, None, None]:
        """The passage and the pause after it, in pieces of ``(num_samples,) float32`` at 24 kHz as they are rendered.

        ``speed`` is relative to the voice's own, 0.5 to 2. Closing the generator stops the rendering. While its caller
        waits for a turn, an engine yields empty pieces, so that the generator can be closed then too. Safe to call from
        several threads. Raises EngineFailure, and InvalidParameter for a voice that it cannot use.
        """
        ...

    def close(self) -> None:
        """End threads and processes that it has started."""
        ...
