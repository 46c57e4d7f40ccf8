"""Speech synthesis: voices, texts in passages, and rendered audio, all of it at 24 kHz mono."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from schemas.domain import (
    SPEECH_RATE_HZ,
    Seconds,
)

DEFAULT_TEMPERATURE: Final = 0.9
"""Temperature of a render that sets none; models sound best with it."""

MIN_SPEED: Final = 0.5
MAX_SPEED: Final = 2.0

Cue = Literal["sigh", "laugh", "gasp", "sniff", "cough", "hesitate", "breath"]
"""Sounds that a text may request in square brackets."""


@dataclass(frozen=True, slots=True)
class VoicePrompt:
    """A recording of a speaker and its transcript, which an engine continues in the same voice.

    ``pcm`` is s16le at 24 kHz mono.
    """

    pcm: bytes
    text: str


@dataclass(frozen=True, slots=True)
class VoiceProfile:
    """The parameters of one voice for an engine. Small; `to_json` leaves out the prompt only."""

    voice_id: str
    base: str
    """espeak-ng's name of the voice this one is made from; empty for a voice that consists of its prompt only."""
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    """Pitch and its range on the engine's scale of 0 to 99; 50 is that of ``base``."""
    f0_hz: float = 110.0
    """Median pitch of the finished voice, Hz; cues are rendered at it."""
    formant_scale: float = 1.0
    """Resonances relative to ``base``: 1.1 is a vocal tract a tenth shorter."""
    equalizer_db: tuple[float, ...] = ()
    """Gains at the bands of the engine's equaliser, dB; empty for none."""
    preview_text: str = ""
    speaker: int = 0
    """The speaker's number, for a model that numbers its speakers."""
    language: str = "en-us"
    """BCP 47 tag, lower-case, of the language and accent it speaks."""
    style: tuple[tuple[str, float], ...] = ()
    """For an engine that mixes styles: name and weight of each, e.g. ``(("af_heart", 1.0),)``."""
    style_offset: tuple[float, ...] = ()
    """Added to the mixture: one number for each dimension of the engine's styles (256 for Kokoro); empty for none."""
    prompt: VoicePrompt | None = None
    """Stored as a separate object and loaded when the voice is used."""

    def to_json(self) -> dict[str, Any]:
        """As it is stored in the table `voices`."""
        return {name: value for name, value in asdict(self).items() if name != "prompt"}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> VoiceProfile:
        """The inverse of `to_json`; fields it does not have get their defaults."""
        return cls(
            **{
                **fields,
                "equalizer_db": tuple(fields.get("equalizer_db", ())),
                "style": tuple((str(name), float(weight)) for name, weight in fields.get("style", ())),
                "style_offset": tuple(fields.get("style_offset", ())),
            }
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a passage: words as they are spoken, or a cue (then ``text`` is empty). ``pace`` is relative to that of the
    render."""

    text: str = ""
    cue: Cue | None = None
    emphasis: bool = False
    elongated: bool = False
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit of rendering and verification: a sentence, or a clause of a long one.

    ``end`` is where it ends in the text as it was sent, in characters; ``pause_secs`` is the silence after it.
    """

    parts: tuple[Part, ...]
    end: int
    pause_secs: Seconds

    @property
    def words(self) -> tuple[str, ...]:
        """The words to be spoken, in order, lower-case, without punctuation."""
        spoken = " ".join(part.text for part in self.parts)
        cleaned = "".join(c if _is_in_word(c) else " " for c in spoken.lower().replace("’", "'"))
        return tuple(word for token in cleaned.replace("-", " ").split() if (word := token.strip("'")))


def _is_in_word(character: str) -> bool:
    """Whether a character belongs to a word. Hindi vowel signs are marks, not letters."""
    return character.isalnum() or character in "'-" or unicodedata.category(character).startswith("M")


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One text to be rendered, from character ``start`` on. ``max_secs`` limits the length of the whole text's audio;
    None or 0 estimates a limit from the text's length.

    A render ends after the passage that completes ``window_secs`` of audio, so that hours of it are not rendered
    ahead of a slow listener; the last chunk says where to continue.
    """

    voice: VoiceProfile
    text: str
    temperature: float = DEFAULT_TEMPERATURE
    max_secs: Seconds | None = None
    verify: bool = True
    start: int = 0
    window_secs: Seconds = 60.0
    streamed: bool = False
    """Whether the audio is played while it is rendered, so that the first of it has priority over other work."""
    ahead_secs: Seconds | None = None
    """Of a streamed text that continues another: audio before it that is still to be played. None for one that begins."""
    speed: float = 1.0
    """Speed relative to the voice's own, `MIN_SPEED` to `MAX_SPEED`."""


@dataclass(frozen=True, slots=True)
class RenderedChunk:
    """A piece of rendered audio. A passage is one chunk if it is verified before it is sent, else several.

    ``pcm`` is s16le at 24 kHz mono. The chunk with ``ends_passage`` has the passage's ``words``, its verdict, and
    ``next_start``, where the text continues, or None after its last chunk.
    """

    pcm: bytes
    ends_passage: bool = False
    words: tuple[str, ...] = ()
    next_start: int | None = None
    retries: int = 0
    word_error_rate: float | None = None
    """Word error rate of the rendering that was sent; None if it was not verified."""
    passed: bool | None = None

    @property
    def duration_secs(self) -> Seconds:
        """Length of its audio."""
        return len(self.pcm) / 2 / SPEECH_RATE_HZ
