"""Marks drawn-out and stressed words in the text: ``so...``, ``*really*``.

A word is drawn out where one of its sounds is held far longer than usual for the speaker. It is stressed where loudness and
pitch together exceed the speaker's usual range. Speakers with few words have no norm, and words of low confidence get no
mark. The constants were chosen on rendered voices with planted marks, with no marks in recorded readings as a condition;
docs/quality.md has results on other voices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from audio.pcm import PcmFile
from audio.prosody import Prosody, measure
from schemas.domain import Seconds, Segment, Word

MIN_WORDS: Final = 12
"""Least number of words for a speaker's norm."""
MIN_CONFIDENCE: Final = 0.35

HELD_SECS: Seconds = 0.08
HELD_TIMES: Final = 2.0
HELD_STRETCH: Final = 1.5
"""A word is drawn out if two ratios exceed these: the length of its longest held sound to the ninth decile of the speaker's
words (at least ``HELD_SECS``), and the length of the word to the speaker's expected one."""

STRESS: Final = 4.4
STRESS_EACH: Final = 0.7
"""A word is stressed if the deviations of loudness, pitch and half its stretch, in spreads, sum to the first value, and
both loudness and pitch reach the second."""
ABOVE_SEMITONES: Final = 1.0
BESIDE_SECS: Seconds = 1.5
"""It must be louder than the words beside it, and higher by this much, because pitch is high at the start of sentences."""
_AT_MOST: Final = 3.0
_LEVEL_DB, _SEMITONES, _LOG_STRETCH = 2.0, 1.2, 0.3
"""Least spreads, so that small deviations of a monotonous speaker do not count as stress."""

_END: Final = re.compile(r"^(?P<word>.*?)(?P<mark>[.,;:?!…]*)$", re.DOTALL)


def marked(segments: Sequence[Segment], pcm: PcmFile) -> tuple[Segment, ...]:
    """The same segments with marks in their ``words``; ``text`` has none. Reads the audio of every word."""
    spoken = [(segment.speaker, word) for segment in segments for word in segment.words]
    found = measure(pcm, [word for _, word in spoken])
    norms = {
        speaker: Norm.of([prosody for (who, _), prosody in zip(spoken, found, strict=True) if who == speaker])
        for speaker in {who for who, _ in spoken}
    }
    written = iter(
        [
            _written(word, found[at], [found[i] for i in _beside(spoken, at)], norms[speaker])
            for at, (speaker, word) in enumerate(spoken)
        ]
    )
    return tuple(replace(segment, words=tuple(next(written) for _ in segment.words)) for segment in segments)


def _beside(spoken: Sequence[tuple[int, Word]], at: int) -> list[int]:
    """Indices of the same speaker's words just before and after."""
    speaker, word = spoken[at]
    return [
        i
        for i in (at - 1, at + 1)
        if 0 <= i < len(spoken) and spoken[i][0] == speaker and abs(spoken[i][1].start_secs - word.start_secs) < BESIDE_SECS
    ]


@dataclass(frozen=True, slots=True)
class Norm:
    """A speaker's usual prosody: medians and spreads (median absolute deviation, scaled to that of a normal)."""

    num_words: int
    level_db: float
    level_spread: float
    pitch: float
    pitch_spread: float
    log_stretch: float
    held_secs: Seconds
    """Ninth decile of the longest held sound in a word."""

    @classmethod
    def of(cls, words: Sequence[Prosody]) -> Norm:
        level, level_spread = _center([w.level_db for w in words])
        pitch, pitch_spread = _center([w.pitch_semitones for w in words if not math.isnan(w.pitch_semitones)])
        log_stretch, _ = _center([math.log(w.stretch) for w in words if w.stretch > 0])
        held = float(np.percentile([w.held_secs for w in words], 90))
        return cls(len(words), level, max(level_spread, _LEVEL_DB), pitch, max(pitch_spread, _SEMITONES), log_stretch, held)

    def is_drawn_out(self, word: Prosody) -> bool:
        """Whether a sound of the word is held unusually long."""
        held_long = word.held_secs >= HELD_TIMES * max(self.held_secs, HELD_SECS)
        return held_long and word.stretch >= HELD_STRETCH * math.exp(self.log_stretch)

    def is_stressed(self, word: Prosody, beside: Sequence[Prosody]) -> bool:
        """Whether the word is stressed, also compared with those ``beside`` it; never one without a voiced sound."""
        if any(
            word.level_db < other.level_db or word.pitch_semitones < other.pitch_semitones + ABOVE_SEMITONES
            for other in beside
        ):
            return False
        louder = (word.level_db - self.level_db) / self.level_spread
        higher = (word.pitch_semitones - self.pitch) / self.pitch_spread
        if not min(louder, higher) >= STRESS_EACH or word.stretch <= 0:
            return False
        longer = (math.log(word.stretch) - self.log_stretch) / _LOG_STRETCH
        return min(louder, _AT_MOST) + min(higher, _AT_MOST) + min(longer, _AT_MOST) / 2 >= STRESS


def _center(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    median = float(np.median(values))
    return median, 1.4826 * float(np.median(np.abs(np.asarray(values) - median)))


def _written(word: Word, prosody: Prosody, beside: Sequence[Prosody], norm: Norm) -> Word:
    if norm.num_words < MIN_WORDS or word.confidence < MIN_CONFIDENCE:
        return word
    ending = _END.match(word.text)
    assert ending is not None  # noqa: S101  # it matches everything
    text, mark = ending["word"], ending["mark"]
    if norm.is_stressed(prosody, beside):
        text = f"*{text}*"
    if norm.is_drawn_out(prosody):
        text, mark = f"{text}...", mark.strip(".,;:…")
    return replace(word, text=text + mark)
