"""Words drawn out and words stressed, marked as a reader would write them down: ``so...``, ``*really*``.

A word counts as drawn out where one of its sounds is held far longer than the speaker holds sounds, and as stressed where
it stands out in loudness and in height together, against that speaker's own spread. Whoever says too little has no norm,
and a word that was hardly heard carries no mark. Numbers below were chosen on rendered voices with planted marks, and so
that recorded readers who mark nothing get no marks; docs/quality.md has what they find in voices that had no part in it.
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
"""Fewer words of a speaker give no norm."""
MIN_CONFIDENCE: Final = 0.35

HELD_SECS: Seconds = 0.08
HELD_TIMES: Final = 2.0
HELD_STRETCH: Final = 1.5
"""A word is drawn out if a sound of it is held so many times as long as in nine tenths of the speaker's words, or as
``HELD_SECS`` where those are shorter, and the word takes so many times as long as this speaker would."""

STRESS: Final = 4.4
STRESS_EACH: Final = 0.7
"""A word is stressed if loudness, height and half its stretch add up to so many spreads, the first two reaching so many."""
ABOVE_SEMITONES: Final = 1.0
BESIDE_SECS: Seconds = 1.5
"""It is louder than the words beside it, and so much higher: a voice is high all through the start of a sentence."""
_AT_MOST: Final = 3.0
_LEVEL_DB, _SEMITONES, _LOG_STRETCH = 2.0, 1.2, 0.3
"""Least spreads: a monotonous speaker is no reason to take small things for stress."""

_END: Final = re.compile(r"^(?P<word>.*?)(?P<mark>[.,;:?!…]*)$", re.DOTALL)


def marked(segments: Sequence[Segment], pcm: PcmFile) -> tuple[Segment, ...]:
    """The same segments with marks in the words of their ``words``; ``text`` stays bare. Reads the sound of every word."""
    said = [(segment.speaker, word) for segment in segments for word in segment.words]
    found = measure(pcm, [word for _, word in said])
    norms = {
        speaker: Norm.of([prosody for (who, _), prosody in zip(said, found, strict=True) if who == speaker])
        for speaker in {who for who, _ in said}
    }
    written = iter(
        [
            _written(word, found[at], [found[i] for i in _beside(said, at)], norms[speaker])
            for at, (speaker, word) in enumerate(said)
        ]
    )
    return tuple(replace(segment, words=tuple(next(written) for _ in segment.words)) for segment in segments)


def _beside(said: Sequence[tuple[int, Word]], at: int) -> list[int]:
    """The places of the same speaker's words just before and after."""
    speaker, word = said[at]
    return [
        i
        for i in (at - 1, at + 1)
        if 0 <= i < len(said) and said[i][0] == speaker and abs(said[i][1].start_secs - word.start_secs) < BESIDE_SECS
    ]


@dataclass(frozen=True, slots=True)
class Norm:
    """How a speaker speaks: medians and spreads (median absolute deviation, scaled to a normal's)."""

    num_words: int
    level_db: float
    level_spread: float
    pitch: float
    pitch_spread: float
    log_stretch: float
    held_secs: Seconds
    """A longer sound is in one of its ten words."""

    @classmethod
    def of(cls, words: Sequence[Prosody]) -> Norm:
        level, level_spread = _center([w.level_db for w in words])
        pitch, pitch_spread = _center([w.pitch_semitones for w in words if not math.isnan(w.pitch_semitones)])
        log_stretch, _ = _center([math.log(w.stretch) for w in words if w.stretch > 0])
        held = float(np.percentile([w.held_secs for w in words], 90))
        return cls(len(words), level, max(level_spread, _LEVEL_DB), pitch, max(pitch_spread, _SEMITONES), log_stretch, held)

    def is_drawn_out(self, word: Prosody) -> bool:
        """Whether a sound of the word is held."""
        held_long = word.held_secs >= HELD_TIMES * max(self.held_secs, HELD_SECS)
        return held_long and word.stretch >= HELD_STRETCH * math.exp(self.log_stretch)

    def is_stressed(self, word: Prosody, beside: Sequence[Prosody]) -> bool:
        """Whether the word stands out, also from those ``beside`` it; one without a voiced sound never does."""
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
