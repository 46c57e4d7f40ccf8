"""The embedded synthesiser: espeak-ng spoken clause by clause, shaped to a voice, with cues made by signal processing."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from itertools import groupby
from typing import Final

import numpy as np

from audio.pcm import to_float
from audio.resample import Resampler
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import EngineInfo, Part, Passage, Samples, VoiceProfile
from serve.tts.cues import render_cue
from serve.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody
from serve.tts.joins import Trimmer, silence
from serve.tts.shaping import Equalizer
from serve.tts.voices import describe

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
_PAUSE_BEFORE_CUE_SECS, _PAUSE_AFTER_CUE_SECS = 0.08, 0.12
_LETTER_A: Final = re.compile(r"(?<=\b[B-Z] )A\b|\bA(?= [A-Z]\b)")
_LEVEL: Final = np.float32(0.8)

# espeak-ng reads commands inside the text: control-A, a number, a letter (S rate, P pitch, A amplitude).
_COMMAND: Final = "\x01{rate}S\x01{pitch}P\x01{volume}A"
_EMPHASIS_RATE, _EMPHASIS_PITCH, _EMPHASIS_VOLUME = 0.78, 22, 140
_ELONGATED_RATE: Final = 0.55


class EmbeddedSynthesizer:
    """espeak-ng behind the Synthesizer protocol. Clauses of concurrent renders take turns at the one library."""

    def __init__(self) -> None:
        """Loads the library. Raises EngineFailure."""
        self._espeak = Espeak()

    @property
    def info(self) -> EngineInfo:
        return describe()

    def render(self, passage: Passage, voice: VoiceProfile, temperature: float) -> Generator[Samples, None, None]:
        """See `Synthesizer.render`. espeak-ng samples nothing, so ``temperature`` changes nothing."""
        for index, (cue, parts) in enumerate(groupby(passage.parts, key=lambda part: part.cue)):
            if cue is None:
                for clause in clauses(tuple(parts)):
                    yield from self._say(clause, voice)
            else:
                yield silence(_PAUSE_BEFORE_CUE_SECS if index else 0.0)
                for take, _ in enumerate(parts):
                    yield np.concatenate((render_cue(cue, voice, take), silence(_PAUSE_AFTER_CUE_SECS)))
        if passage.pause_secs:
            yield silence(passage.pause_secs)

    def _say(self, clause: tuple[Part, ...], voice: VoiceProfile) -> Iterator[Samples]:
        resampler, trimmer = Resampler(SPEECH_RATE_HZ), Trimmer(SPEECH_RATE_HZ)
        equalizer = Equalizer(voice.equalizer_db)
        source_rate_hz = round(ESPEAK_RATE_HZ * voice.formant_scale)
        prosody = prosody_of(voice)
        for chunk in self._espeak.render(marked_up(clause, prosody), voice.base, prosody):
            converted = resampler.feed(to_float(chunk.samples) * _LEVEL, source_rate_hz)
            if (ready := trimmer.feed(equalizer.feed(converted))).size:
                yield ready
        rest = np.concatenate((equalizer.feed(resampler.finish()), equalizer.finish()))
        yield np.concatenate((trimmer.feed(rest), trimmer.finish()))
        if (pause := pause_within(clause)) > 0:
            yield silence(pause)


def prosody_of(voice: VoiceProfile) -> Prosody:
    """espeak-ng's parameters; the resampling that moves the formants changes the rate as well, which is undone here."""
    return Prosody(rate_wpm=round(voice.rate_wpm / voice.formant_scale), pitch=voice.pitch, pitch_range=voice.pitch_range)


def clauses(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    """Words as parts of one word each, up to and with a mark at which a reader pauses."""
    clause: list[Part] = []
    for part in parts:
        for word in part.text.split():
            clause.append(Part(word, None, part.emphasis, part.elongated))
            if word.rstrip("\"'”’)").endswith(_CLAUSE_MARKS):
                yield tuple(clause)
                clause = []
    if clause:
        yield tuple(clause)


def pause_within(clause: tuple[Part, ...]) -> Seconds:
    return _PAUSE_IN_PASSAGE_SECS.get(clause[-1].text.rstrip("\"'”’)")[-1:], 0.0)


def letter_names(text: str) -> str:
    """``A B C`` with its first letter named; espeak-ng would take it for the article."""
    return _LETTER_A.sub("ay", text)


def marked_up(clause: tuple[Part, ...], prosody: Prosody) -> str:
    """The clause with espeak-ng's commands where its words are emphasised or drawn out."""
    said: list[str] = []
    normal = _COMMAND.format(rate=prosody.rate_wpm, pitch=prosody.pitch, volume=prosody.volume)
    for (emphasis, elongated), words in groupby(clause, key=lambda part: (part.emphasis, part.elongated)):
        text = letter_names(" ".join(word.text for word in words))
        if emphasis or elongated:
            rate = prosody.rate_wpm * (_EMPHASIS_RATE if emphasis else 1) * (_ELONGATED_RATE if elongated else 1)
            pitch = min(99, prosody.pitch + (_EMPHASIS_PITCH if emphasis else 0))
            volume = _EMPHASIS_VOLUME if emphasis else prosody.volume
            text = _COMMAND.format(rate=max(80, round(rate)), pitch=pitch, volume=volume) + text + normal
        said.append(text)
    return " ".join(said)
