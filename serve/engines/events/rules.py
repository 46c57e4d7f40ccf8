"""The embedded event detector: events that follow from voice activity and recognised words.

A pause is a gap in the speech; a hesitation is a filler word that the recogniser wrote. Breath, laughter, sighs and the
other tags need an acoustic classifier and are never reported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from schemas.domain import Seconds, SoundEvent, Span, Word
from schemas.engines import EngineInfo, EventDetectorCapabilities, Samples

PAUSE: Final = "pause"
HESITATION: Final = "hesitation"

MIN_PAUSE_SECS: Final = 1.0
"""Least length of a pause; shorter gaps are usual at ends of sentences."""

FILLERS: Final = frozenset({"ah", "eh", "em", "er", "erm", "hm", "hmm", "mm", "uh", "uhm", "um"})
"""Fillers. Assent (``mhm``, ``uh-huh``) and surprise (``oh``, ``huh``) count as words."""

_VERSION: Final = 1


def describe() -> EngineInfo:
    return EngineInfo(
        slot="event_detector",
        engine="rules",
        model="pause-and-fillers",
        revision=f"rules-{_VERSION}",
        capabilities=asdict(EventDetectorCapabilities(tags=(PAUSE, HESITATION))),
    )


class RuleEventDetector:
    """A `schemas.engines.EventDetector` that uses speech and words only, not the audio."""

    @property
    def info(self) -> EngineInfo:
        return describe()

    def observe(self, samples: Samples, offset_secs: Seconds = 0.0) -> list[SoundEvent]:
        """Always empty: the audio is not analysed."""
        return []

    def detect(
        self,
        speech: Sequence[Span],
        words: Sequence[Word],
        duration_secs: Seconds,
        heard: Sequence[SoundEvent] = (),
    ) -> list[SoundEvent]:
        """Pauses between the first and the last speech of the recording, and hesitations, sorted by start."""
        return by_start([*pauses(speech, duration_secs), *hesitations(words, duration_secs)])


def by_start(events: Sequence[SoundEvent]) -> list[SoundEvent]:
    return sorted(events, key=lambda event: (event.start_secs, event.end_secs))


def pauses(speech: Sequence[Span], duration_secs: Seconds) -> list[SoundEvent]:
    found: list[SoundEvent] = []
    heard_until: Seconds | None = None
    for span in sorted(speech, key=lambda s: s.start_secs):
        start = min(span.start_secs, duration_secs)
        if heard_until is not None and start - heard_until >= MIN_PAUSE_SECS:
            found.append(SoundEvent(PAUSE, heard_until, start))
        heard_until = max(heard_until or 0.0, span.end_secs)
    return found


def hesitations(words: Sequence[Word], duration_secs: Seconds) -> list[SoundEvent]:
    return [
        SoundEvent(HESITATION, word.start_secs, min(word.end_secs, duration_secs), word.confidence)
        for word in words
        if is_filler(word.text) and word.start_secs < duration_secs
    ]


def is_filler(word: str) -> bool:
    return word.lower().strip(".,!?…-") in FILLERS
