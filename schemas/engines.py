"""What an engine of each kind must be able to do, and what it says of itself. Implementations stand in `serve`.

Audio crosses these lines as ``(num_samples,) float32`` in [-1, 1] at 16 kHz mono unless a docstring says otherwise; what
is spoken is 24 kHz mono.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SPEECH_RATE_HZ, Recognition, Seconds, SoundEvent, Span, SpeakerHint, Turn, Word

if TYPE_CHECKING:  # Settings take a quarter of a second to load, and every decoding child would carry them.
    from schemas.settings import EngineSettings

Samples = NDArray[np.float32]

LISTENING_VERSION: Final = 2
"""Raised when a recording is cut otherwise, or otherwise written out of the same words; part of every result's revision."""

Slot = Literal["recognizer", "diarizer", "event_detector", "synthesizer"]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What an engine that loads a model is told: which, onto what, and how."""

    slot: Slot
    engine: str
    model: str
    """A folder, a ``.nemo`` file, or a hub name, ``owner/name`` or ``owner/name@revision``."""
    settings: EngineSettings
    variable: str
    """The setting that names the model, for messages."""
    cache: Path
    """Folder for what is worth keeping between starts, such as digests of model files."""


@dataclass(frozen=True, slots=True)
class RecognizerCapabilities:
    languages: tuple[str, ...]
    word_timestamps: bool
    word_confidence: bool
    punctuation: bool
    max_utterance_secs: Seconds
    max_batch: int = 1
    """Most utterances that one call works on together; 1 where it takes them one after the other."""


@dataclass(frozen=True, slots=True)
class DiarizerCapabilities:
    max_speakers: int | None
    overlap: bool


@dataclass(frozen=True, slots=True)
class EventDetectorCapabilities:
    tags: tuple[str, ...]
    acoustic: bool = False
    """Whether it listens to the sound itself; where not, `EventDetector.observe` need not be asked."""


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

    A window is a stretch that is taken to hold one voice: a second or so of speech, or all that an engine which parts
    voices itself heard of one of them in the block.

    ``centers_secs``: ``(num_windows,) float64``, middle of each window from the start of the recording.
    ``embeddings``: ``(num_windows, dim) float32``, L2-normalised.
    ``activity``: ``(num_frames, num_windows) uint8``, how probable it is that the voice of a window speaks in a frame, in
    255ths; the engine knows the length of a frame. Without frames where windows are short stretches.
    ``start_secs``: where the first frame begins.
    """

    centers_secs: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    activity: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    start_secs: Seconds = 0.0

    def shifted(self, secs: Seconds) -> VoiceWindows:
        """The same, all of it ``secs`` later."""
        return replace(self, centers_secs=self.centers_secs + secs, start_secs=self.start_secs + secs)


class Diarizer(Protocol):
    """Who spoke when, in two steps so that a long file is observed block by block and resolved once."""

    @property
    def info(self) -> EngineInfo: ...

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """Evidence of one block that starts at ``offset_secs``; ``speech`` is in seconds from the block's start."""
        ...

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns of the whole recording; ``speech`` and turns in seconds from its start, sorted by start.

        ``hint`` is what the client knows of the number of speakers.
        """
        ...


class EventDetector(Protocol):
    """Sounds that are not words, in two steps: each block is listened to, then all of the recording is put together."""

    @property
    def info(self) -> EngineInfo: ...

    def observe(self, samples: Samples, offset_secs: Seconds = 0.0) -> list[SoundEvent]:
        """What is heard in a block that starts at ``offset_secs``, sorted by start, in seconds from the recording's
        start; nothing from an engine that only reads."""
        ...

    def detect(
        self,
        speech: Sequence[Span],
        words: Sequence[Word],
        duration_secs: Seconds,
        heard: Sequence[SoundEvent] = (),
    ) -> list[SoundEvent]:
        """Events of the whole recording sorted by start: what speech and words show, and what was ``heard``."""
        ...


DEFAULT_TEMPERATURE: Final = 0.9
"""Of a render that asks for none; what models are made to sound best at."""

Cue = Literal["sigh", "laugh", "gasp", "sniff", "cough", "hesitate"]
"""The sounds a text may ask for in square brackets."""


@dataclass(frozen=True, slots=True)
class SynthesizerCapabilities:
    languages: tuple[str, ...]
    cues: tuple[Cue, ...]
    temperature: bool
    """Whether sampling temperature changes anything; where not, every value gives the same rendering."""
    matches_voices: bool
    """Whether a voice can be derived from a reference clip."""
    prompt_secs: Seconds = 0.0
    """Longest stretch of a reference clip that the engine speaks on from; 0 where it makes a voice otherwise."""


@dataclass(frozen=True, slots=True)
class VoicePrompt:
    """A stretch of somebody's speech and what is said in it, for an engine to speak on from in that voice.

    ``pcm`` is s16le at 24 kHz mono.
    """

    pcm: bytes
    text: str


@dataclass(frozen=True, slots=True)
class VoiceProfile:
    """All an engine needs to speak in one voice; small, and the same after `to_json` and `from_json` but for the prompt."""

    voice_id: str
    base: str
    """espeak-ng's name of the voice this one is made from; empty for a voice that is nothing but its prompt."""
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    """Pitch and its range on the engine's scale of 0 to 99; 50 is what ``base`` has."""
    f0_hz: float = 110.0
    """Median pitch of the finished voice: the register of its laughter and hesitations."""
    formant_scale: float = 1.0
    """Resonances relative to ``base``: 1.1 is a vocal tract a tenth shorter."""
    equalizer_db: tuple[float, ...] = ()
    """Gains at the bands of the engine's equaliser, dB; empty for none."""
    preview_text: str = ""
    speaker: int = 0
    """Which speaker it is to a model that numbers its speakers."""
    prompt: VoicePrompt | None = None
    """Kept as an object of its own, and put in when the voice is used."""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "prompt"}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> VoiceProfile:
        return cls(**{**fields, "equalizer_db": tuple(fields.get("equalizer_db", ()))})


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a passage: words as they are said, or a cue (then ``text`` is empty)."""

    text: str = ""
    cue: Cue | None = None
    emphasis: bool = False
    elongated: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """What is rendered, and checked, in one go: a sentence, or a clause of a long one.

    ``end`` is where it ends in the text as it was sent, in characters; ``pause_secs`` is the silence after it.
    """

    parts: tuple[Part, ...]
    end: int
    pause_secs: Seconds

    @property
    def words(self) -> tuple[str, ...]:
        """The words to be heard, in order, lower-case, without punctuation."""
        spoken = " ".join(part.text for part in self.parts)
        cleaned = "".join(c if c.isalnum() or c in "'-" else " " for c in spoken.lower().replace("’", "'"))
        return tuple(word for token in cleaned.replace("-", " ").split() if (word := token.strip("'")))


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One text to be spoken, from character ``start`` on. ``max_secs`` is a ceiling on the whole of it;
    None or 0 estimates one from the text's length.

    A render ends after the passage with which it has made ``window_secs`` of sound, so that nobody makes hours of it
    ahead of a slow listener; the last chunk says where to go on.
    """

    voice: VoiceProfile
    text: str
    temperature: float = DEFAULT_TEMPERATURE
    max_secs: Seconds | None = None
    verify: bool = True
    start: int = 0
    window_secs: Seconds = 60.0
    streamed: bool = False
    """Somebody listens while it is made: the first sound goes ahead of everything."""


@dataclass(frozen=True, slots=True)
class RenderedChunk:
    """Sound as it is made. A passage is one chunk when it is verified before it leaves, else several.

    ``pcm`` is s16le at 24 kHz mono. The chunk with ``ends_passage`` carries what was said in it: ``words``, the
    verdict, and ``next_start``, where the text goes on, or None after its last chunk.
    """

    pcm: bytes
    ends_passage: bool = False
    words: tuple[str, ...] = ()
    next_start: int | None = None
    retries: int = 0
    word_error_rate: float | None = None
    """Of the rendering that is heard; None where nothing was verified."""
    passed: bool | None = None

    @property
    def duration_secs(self) -> Seconds:
        return len(self.pcm) / 2 / SPEECH_RATE_HZ


class Synthesizer(Protocol):
    """Words to speech."""

    @property
    def info(self) -> EngineInfo: ...

    def render(self, passage: Passage, voice: VoiceProfile, temperature: float) -> Generator[Samples, None, None]:
        """The passage with the pause after it, in pieces of ``(num_samples,) float32`` at 24 kHz as they are made.

        Closing the generator stops the rendering; an engine that makes its caller wait gives empty pieces meanwhile, so
        that there are moments to close it. Safe to call from several threads. Raises EngineFailure.
        """
        ...
