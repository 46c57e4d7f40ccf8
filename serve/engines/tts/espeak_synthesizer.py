"""The espeak engine: renders clause by clause with espeak-ng, adapted to a voice, with cues by signal processing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Final

import numpy as np

from audio.pcm import to_float
from audio.resample import Resampler
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import EngineInfo, Samples
from schemas.speech import Part, Passage, VoiceProfile
from serve.engines.tts.cues import render_cue
from serve.engines.tts.equalizer import Equalizer
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody
from serve.engines.tts.espeak_voices import describe
from serve.engines.tts.silence_trimming import Trimmer, silence
from serve.engines.tts.text.letter_names import letter_names

_PAUSE_IN_PASSAGE_SECS: Final = {
    ",": 0.13,
    ";": 0.2,
    ":": 0.2,
    "—": 0.2,
    "–": 0.2,
    "…": 0.4,
    ".": 0.28,
    "!": 0.28,
    "?": 0.28,
}
_CLAUSE_MARKS: Final = tuple(_PAUSE_IN_PASSAGE_SECS)
PAUSE_BEFORE_CUE_SECS, PAUSE_AFTER_CUE_SECS = 0.08, 0.12
_LEVEL: Final = np.float32(0.8)

# espeak-ng reads commands inside the text: control-A, a number, a letter (S rate, P pitch, A amplitude).
_COMMAND: Final = "\x01{rate}S\x01{pitch}P\x01{volume}A"
_EMPHASIS_RATE, _EMPHASIS_PITCH, _EMPHASIS_VOLUME = 0.78, 22, 140
_ELONGATED_RATE: Final = 0.55
_SLOWEST_WPM: Final = 80
"""espeak-ng speaks no slower."""


class EmbeddedSynthesizer:
    """espeak-ng as a Synthesizer. Clauses of concurrent renders alternate, because there is one library a process."""

    def __init__(self) -> None:
        """Loads the library. Raises EngineFailure."""
        self._espeak = Espeak()

    @property
    def info(self) -> EngineInfo:
        return describe()

    def render(
        self, passage: Passage, voice: VoiceProfile, temperature: float, speed: float = 1.0
    ) -> Generator[Samples, None, None]:
        """See `Synthesizer.render`. espeak-ng does not sample, so ``temperature`` has no effect."""
        for index, (cue, parts) in enumerate(groupby(passage.parts, key=lambda part: part.cue)):
            if cue is None:
                for clause in clauses(tuple(parts)):
                    yield from self._say(clause, voice, speed)
            else:
                yield silence(PAUSE_BEFORE_CUE_SECS if index else 0.0)
                for take, _ in enumerate(parts):
                    yield np.concatenate((render_cue(cue, voice, take), silence(PAUSE_AFTER_CUE_SECS)))
        if passage.pause_secs:
            yield silence(passage.pause_secs / speed)

    def close(self) -> None:
        """Does nothing: nothing outlives a render."""

    def _say(self, clause: tuple[Part, ...], voice: VoiceProfile, speed: float) -> Iterator[Samples]:
        resampler, trimmer = Resampler(SPEECH_RATE_HZ), Trimmer(SPEECH_RATE_HZ)
        equalizer = Equalizer(voice.equalizer_db)
        source_rate_hz = round(ESPEAK_RATE_HZ * voice.formant_scale)
        prosody = prosody_of(voice, speed)
        for chunk in self._espeak.render(marked_up(clause, prosody), voice.base, prosody):
            converted = resampler.feed(to_float(chunk.samples) * _LEVEL, source_rate_hz)
            if (ready := trimmer.feed(equalizer.feed(converted))).size:
                yield ready
        rest = np.concatenate((equalizer.feed(resampler.finish()), equalizer.finish()))
        yield np.concatenate((trimmer.feed(rest), trimmer.finish()))
        if (pause := pause_within(clause)) > 0:
            yield silence(pause / speed)


def prosody_of(voice: VoiceProfile, speed: float = 1.0) -> Prosody:
    """espeak-ng's parameters for a voice, corrected for the resampling that moves the formants and changes the rate."""
    rate_wpm = max(_SLOWEST_WPM, round(voice.rate_wpm * speed / voice.formant_scale))
    return Prosody(rate_wpm, voice.pitch, voice.pitch_range)


def clauses(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    """Clauses as parts of one word each, up to and including a punctuation mark at which a reader pauses."""
    clause: list[Part] = []
    for part in parts:
        for word in part.text.split():
            clause.append(replace(part, text=word))
            if word.rstrip("\"'”’)").endswith(_CLAUSE_MARKS):
                yield tuple(clause)
                clause = []
    if clause:
        yield tuple(clause)


def pause_within(clause: tuple[Part, ...]) -> Seconds:
    return _PAUSE_IN_PASSAGE_SECS.get(clause[-1].text.rstrip("\"'”’)")[-1:], 0.0)


def marked_up(clause: tuple[Part, ...], prosody: Prosody) -> str:
    """The clause with espeak-ng's commands where its words are emphasised, drawn out, or of another pace."""
    said: list[str] = []
    normal = _COMMAND.format(rate=prosody.rate_wpm, pitch=prosody.pitch, volume=prosody.volume)
    for (emphasis, elongated, pace), words in groupby(clause, lambda part: (part.emphasis, part.elongated, part.pace)):
        text = letter_names(" ".join(word.text for word in words))
        if emphasis or elongated or pace != 1.0:
            rate = prosody.rate_wpm * pace * (_EMPHASIS_RATE if emphasis else 1) * (_ELONGATED_RATE if elongated else 1)
            pitch = min(99, prosody.pitch + (_EMPHASIS_PITCH if emphasis else 0))
            volume = _EMPHASIS_VOLUME if emphasis else prosody.volume
            text = _COMMAND.format(rate=max(_SLOWEST_WPM, round(rate)), pitch=pitch, volume=volume) + text + normal
        said.append(text)
    return " ".join(said)
